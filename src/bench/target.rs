//! The endpoint under load: where it is, and how one operation on it is asked and judged.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::bench::args::{Access, Endpoint};
use crate::bench::client::{Answer, ClientError, Connection, Sink};
use crate::bench::payload::Payload;
use crate::bench::s3::{self, S3, Signer};
use crate::bench::swift::{self, Swift};

/// The endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("{url:?}: {reason}")]
    Url { url: String, reason: String },
    #[error("authentication: {0}")]
    Auth(String),
    #[error("the container cannot be created: {0}")]
    Container(String),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A URL taken apart.
pub(crate) struct Location {
    pub(crate) address: SocketAddr,
    /// Value of the `Host` header.
    pub(crate) host: String,
    /// Without a slash at the end; empty for the root.
    pub(crate) path: String,
}

impl Location {
    pub(crate) fn parse(url: &str) -> Result<Self, TargetError> {
        let wrong = |reason: String| TargetError::Url { url: url.to_owned(), reason };
        let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http:// is spoken here".to_owned()));
        }
        let authority = uri.authority().ok_or_else(|| wrong("there is no host".to_owned()))?;
        let port = authority.port_u16().unwrap_or(80);
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let address = (name, port)
            .to_socket_addrs()
            .map_err(|error| wrong(error.to_string()))?
            .next()
            .ok_or_else(|| wrong("the host has no address".to_owned()))?;
        Ok(Self { address, host: authority.to_string(), path: uri.path().trim_end_matches('/').to_owned() })
    }
}

/// Where requests go.
pub(crate) struct Target {
    dialect: Dialect,
    address: SocketAddr,
}

enum Dialect {
    S3(S3),
    Swift(Swift),
}

/// A worker's own: its connection, signing state, and the room for a request's head.
pub(crate) struct Session {
    connection: Connection,
    signer: Signer,
    head: String,
    page: Vec<u8>,
}

/// How an operation ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// As it should, with so many bytes of content, or names of a listing.
    Good { amount: u64 },
    /// The key was not there.
    Missing,
    /// Answered with a failure.
    Failed(String),
    /// Answered with something else than what was stored.
    Wrong(String),
}

impl Target {
    /// Looks the endpoint up, and gets a token where one is needed.
    pub(crate) fn connect(endpoint: &Endpoint) -> Result<Self, TargetError> {
        match &endpoint.access {
            Access::S3 { endpoint: url, access_key, secret_key, region } => {
                let location = Location::parse(url)?;
                let dialect = Dialect::S3(S3 {
                    host: location.host,
                    bucket: endpoint.container.clone(),
                    access_key: access_key.clone(),
                    secret_key: secret_key.clone(),
                    region: region.clone(),
                });
                Ok(Self { dialect, address: location.address })
            }
            access => {
                let swift = runtime()?.block_on(Swift::connect(access, &endpoint.container))?;
                Ok(Self { address: swift.address(), dialect: Dialect::Swift(swift) })
            }
        }
    }

    /// Creates the container; one that is there already is good.
    pub(crate) fn create_container(&self) -> Result<(), TargetError> {
        let mut session = self.session();
        runtime()?.block_on(async {
            let answer =
                session.request(self, "PUT", "", "", Some((b"".as_slice(), EMPTY_SHA256)), Sink::Discard).await?;
            match answer.status {
                200..300 | 409 => Ok(()),
                status => Err(TargetError::Container(format!("{status} {}", session.connection.error_text()))),
            }
        })
    }

    pub(crate) fn session(&self) -> Session {
        Session {
            connection: Connection::new(self.address),
            signer: Signer::new(),
            head: String::with_capacity(1024),
            page: Vec::new(),
        }
    }

    /// For the report: never a secret.
    pub(crate) fn describe(&self) -> String {
        match &self.dialect {
            Dialect::S3(s3) => format!("S3 http://{}/{}", s3.host, s3.bucket),
            Dialect::Swift(swift) => {
                format!("Swift http://{}{}/{}", swift.location.host, swift.location.path, swift.container)
            }
        }
    }
}

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl Session {
    pub(crate) async fn put(
        &mut self,
        target: &Target,
        key: &str,
        payload: Payload<'_>,
    ) -> Result<Verdict, ClientError> {
        let body = Some((payload.bytes, payload.sha256));
        let answer = self.request(target, "PUT", key, "", body, Sink::Discard).await?;
        Ok(self.judge(answer, |_| Verdict::Good { amount: payload.bytes.len() as u64 }))
    }

    /// Reads an object; with `expected`, compares it.
    pub(crate) async fn get(
        &mut self,
        target: &Target,
        key: &str,
        expected: Option<&[u8]>,
    ) -> Result<Verdict, ClientError> {
        let sink = expected.map_or(Sink::Discard, Sink::Compare);
        let answer = self.request(target, "GET", key, "", None, sink).await?;
        Ok(self.judge(answer, |answer| match answer.matches {
            true => Verdict::Good { amount: answer.body_bytes },
            false => Verdict::Wrong(format!("GET {key}: {} bytes that were never stored so", answer.body_bytes)),
        }))
    }

    /// Asks for an object's head; with `expected`, compares its length.
    pub(crate) async fn head(
        &mut self,
        target: &Target,
        key: &str,
        expected: Option<u64>,
    ) -> Result<Verdict, ClientError> {
        let answer = self.request(target, "HEAD", key, "", None, Sink::Discard).await?;
        let length = self.connection.header("content-length").and_then(|value| value.parse().ok());
        Ok(self.judge(answer, |_| match expected {
            Some(expected) if length != Some(expected) => {
                Verdict::Wrong(format!("HEAD {key}: a length of {length:?} instead of {expected}"))
            }
            _ => Verdict::Good { amount: 0 },
        }))
    }

    pub(crate) async fn delete(&mut self, target: &Target, key: &str) -> Result<Verdict, ClientError> {
        let answer = self.request(target, "DELETE", key, "", None, Sink::Discard).await?;
        Ok(self.judge(answer, |_| Verdict::Good { amount: 0 }))
    }

    /// Lists up to `limit` names, page by page. The time is that of the exchanges: reading the pages is the
    /// generator's own work.
    pub(crate) async fn list(
        &mut self,
        target: &Target,
        prefix: &str,
        delimiter: Option<&str>,
        limit: u64,
        certain: u64,
    ) -> Result<(Verdict, Duration), ClientError> {
        let (mut found, mut spent, mut token) = (0, Duration::ZERO, None::<String>);
        loop {
            let query = match &target.dialect {
                Dialect::S3(_) => S3::list_query(prefix, delimiter, token.as_deref(), limit - found),
                Dialect::Swift(_) => Swift::list_query(prefix, delimiter, token.as_deref(), limit - found),
            };
            let mut page = std::mem::take(&mut self.page);
            page.clear();
            let began = Instant::now();
            let answer = self.request(target, "GET", "", &query, None, Sink::Collect(&mut page)).await?;
            spent += began.elapsed();
            let (names, next) = match &target.dialect {
                Dialect::S3(_) => s3::read_page(&String::from_utf8_lossy(&page)),
                Dialect::Swift(_) => swift::read_page(&String::from_utf8_lossy(&page)),
            };
            self.page = page;
            if !(200..300).contains(&answer.status) {
                return Ok((self.judge(answer, |_| Verdict::Missing), spent));
            }
            found += names;
            token = next;
            if token.is_none() || found >= limit || names == 0 {
                break;
            }
        }
        let verdict = if found < certain {
            Verdict::Wrong(format!("LIST {prefix}: {found} names where {certain} must be"))
        } else {
            Verdict::Good { amount: found }
        };
        Ok((verdict, spent))
    }

    fn judge(&self, answer: Answer, good: impl FnOnce(Answer) -> Verdict) -> Verdict {
        match answer.status {
            200..300 => good(answer),
            404 => Verdict::Missing,
            status => Verdict::Failed(format!("{status} {}", self.connection.error_text())),
        }
    }

    async fn request(
        &mut self,
        target: &Target,
        method: &str,
        key: &str,
        query: &str,
        body: Option<(&[u8], &str)>,
        sink: Sink<'_>,
    ) -> Result<Answer, ClientError> {
        self.head.clear();
        let length = body.map(|(bytes, _)| bytes.len() as u64);
        match &target.dialect {
            Dialect::S3(s3) => {
                let payload = length.zip(body.map(|(_, sha256)| sha256));
                s3.write_head(&mut self.signer, method, key, query, payload, &mut self.head);
            }
            Dialect::Swift(swift) => swift.write_head(method, key, query, length, &mut self.head),
        }
        let bytes = body.map_or(b"".as_slice(), |(bytes, _)| bytes);
        self.connection.exchange(self.head.as_bytes(), bytes, sink).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_or_refused() {
        let location = Location::parse("http://127.0.0.1:8080/v1/AUTH_a/").expect("a URL");
        assert_eq!((location.host.as_str(), location.path.as_str()), ("127.0.0.1:8080", "/v1/AUTH_a"));
        assert_eq!(Location::parse("http://[::1]").expect("a URL").address.to_string(), "[::1]:80");
        for url in ["https://127.0.0.1", "127.0.0.1:1", "http://", ""] {
            assert!(Location::parse(url).is_err(), "{url:?}");
        }
    }
}
