//! Requests in Swift's form, with a token that is got once, before the load (tempauth or Keystone by
//! password). A token that ends during the run shows as errors 401.

use std::fmt::Write;
use std::net::SocketAddr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::bench::args::Access;
use crate::bench::client::{Connection, Sink};
use crate::bench::target::{Location, TargetError};

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Names of a page at most, by Swift's usual limit.
const PAGE_NAMES_MAX: u64 = 10_000;

/// Token and where the container is. Secret: no `Debug`.
pub(crate) struct Swift {
    pub(crate) location: Location,
    pub(crate) container: String,
    token: String,
}

impl Swift {
    /// Gets a token and the account's URL.
    pub(crate) async fn connect(access: &Access, container: &str) -> Result<Self, TargetError> {
        let (token, storage_url) = match access {
            Access::SwiftV1 { auth_url, user, password } => version_1(auth_url, user, password).await?,
            Access::SwiftV3 { auth_url, user, password, project, domain } => {
                version_3(auth_url, &password_request(user, password, project, domain)).await?
            }
            Access::S3 { .. } => return Err(TargetError::Auth("S3 needs no token".to_owned())),
        };
        Ok(Self { location: Location::parse(&storage_url)?, container: container.to_owned(), token })
    }

    /// The server's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.location.address
    }

    /// Writes the head of a request for `/…/container/key?query`.
    pub(crate) fn write_head(&self, method: &str, key: &str, query: &str, length: Option<u64>, out: &mut String) {
        let Location { host, path, .. } = &self.location;
        let separator = if key.is_empty() { "" } else { "/" };
        let mark = if query.is_empty() { "" } else { "?" };
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{method} {path}/{}{separator}{key}{mark}{query} HTTP/1.1\r\nhost: {host}\r\nx-auth-token: {}\r\n",
            self.container, self.token
        );
        if let Some(length) = length {
            let _ = write!(out, "content-length: {length}\r\ncontent-type: application/octet-stream\r\n");
        }
        out.push_str("\r\n");
    }

    /// The query of one page of a listing.
    pub(crate) fn list_query(prefix: &str, delimiter: Option<&str>, marker: Option<&str>, limit: u64) -> String {
        let encode = |value| utf8_percent_encode(value, QUERY);
        let mut query = format!("limit={}&prefix={}", limit.min(PAGE_NAMES_MAX), encode(prefix));
        // Writing to a String cannot fail.
        if let Some(delimiter) = delimiter {
            let _ = write!(query, "&delimiter={}", encode(delimiter));
        }
        if let Some(marker) = marker {
            let _ = write!(query, "&marker={}", encode(marker));
        }
        query
    }
}

/// Counts the names of a plain-text page; the marker of the next one.
pub(crate) fn read_page(page: &str) -> (u64, Option<String>) {
    let names = page.trim_end_matches('\n');
    if names.is_empty() {
        return (0, None);
    }
    (names.matches('\n').count() as u64 + 1, names.rsplit('\n').next().map(str::to_owned))
}

async fn version_1(auth_url: &str, user: &str, password: &str) -> Result<(String, String), TargetError> {
    let Location { address, host, path } = Location::parse(auth_url)?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nx-auth-user: {user}\r\nx-auth-key: {password}\r\n\r\n");
    let mut connection = Connection::new(address);
    let answer = connection.exchange(head.as_bytes(), b"", Sink::Discard).await?;
    match (answer.status, connection.header("x-auth-token"), connection.header("x-storage-url")) {
        (200..300, Some(token), Some(url)) => Ok((token.to_owned(), url.to_owned())),
        (status, ..) => Err(TargetError::Auth(format!("{status} {}", connection.error_text()))),
    }
}

fn password_request(user: &str, password: &str, project: &str, domain: &str) -> Value {
    let user = json!({"name": user, "password": password, "domain": {"name": domain}});
    json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"project": {"name": project, "domain": {"name": domain}}},
    }})
}

async fn version_3(auth_url: &str, request: &Value) -> Result<(String, String), TargetError> {
    let Location { address, host, path } = Location::parse(auth_url)?;
    let path = if path.ends_with("/v3") { path } else { format!("{path}/v3") };
    let body = request.to_string();
    let head = format!(
        "POST {path}/auth/tokens HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = Connection::new(address);
    let mut answer_body = Vec::new();
    let answer = connection.exchange(head.as_bytes(), body.as_bytes(), Sink::Collect(&mut answer_body)).await?;
    let (201, Some(token)) = (answer.status, connection.header("x-subject-token")) else {
        return Err(TargetError::Auth(format!("{} {}", answer.status, connection.error_text())));
    };
    let answer: Value = serde_json::from_slice(&answer_body).map_err(|error| TargetError::Auth(error.to_string()))?;
    let url = object_store_url(&answer)
        .ok_or_else(|| TargetError::Auth("the catalog has no public object-store endpoint".to_owned()))?;
    Ok((token.to_owned(), url))
}

fn object_store_url(answer: &Value) -> Option<String> {
    let service = answer["token"]["catalog"].as_array()?.iter().find(|service| service["type"] == "object-store")?;
    let endpoint = service["endpoints"].as_array()?.iter().find(|endpoint| endpoint["interface"] == "public")?;
    Some(endpoint["url"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gives_its_count_and_the_way_on() {
        assert_eq!(read_page("a\nb\nc\n"), (3, Some("c".to_owned())));
        assert_eq!(read_page(""), (0, None));
        assert_eq!(
            Swift::list_query("k/", Some("/"), Some("k/a b"), 20_000),
            "limit=10000&prefix=k/&delimiter=/&marker=k/a%20b"
        );
    }

    #[test]
    fn the_public_endpoint_of_the_catalog_is_taken() {
        let endpoint = |interface: &str, url: &str| json!({"interface": interface, "url": url});
        let catalog = json!([
            {"type": "identity", "endpoints": [endpoint("public", "http://a")]},
            {"type": "object-store", "endpoints": [endpoint("internal", "http://b"), endpoint("public", "http://c")]},
        ]);
        assert_eq!(object_store_url(&json!({"token": {"catalog": catalog}})), Some("http://c".to_owned()));
        assert_eq!(object_store_url(&json!({"token": {}})), None);
    }
}
