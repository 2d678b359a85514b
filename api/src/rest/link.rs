//! Links in answers: absolute, and under the address that the client used, also behind a proxy that
//! terminates TLS or adds a path prefix.

use http::header::{HOST, HeaderMap};

/// Builds links below one service's public root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    base: String,
}

impl Links {
    /// The configured address where there is one; otherwise what the request says: scheme and host from
    /// `X-Forwarded-Proto` and `X-Forwarded-Host` or `Host`, then `X-Forwarded-Prefix`, then `mount`, the path under
    /// which the room was mounted.
    pub fn new(public_url: Option<&str>, headers: &HeaderMap, mount: &str) -> Self {
        if let Some(url) = public_url {
            return Self { base: url.trim_end_matches('/').to_owned() };
        }
        let first = |name: &str| headers.get(name)?.to_str().ok()?.split(',').next().map(str::trim);
        let scheme = match first("x-forwarded-proto") {
            Some("https") => "https",
            _ => "http",
        };
        let host = first("x-forwarded-host").or_else(|| first(HOST.as_str())).filter(|host| is_host(host));
        let prefix = first("x-forwarded-prefix").unwrap_or("").trim_end_matches('/');
        let host = host.unwrap_or("localhost");
        Self { base: format!("{scheme}://{host}{prefix}{}", mount.trim_end_matches('/')) }
    }

    /// The link to a path below the root; `path` begins with `/`.
    pub fn to(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// Whether the text can be a host with an optional port, so that nothing else gets into a link.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)], public_url: Option<&str>, want: &str) {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value"))).collect();
        assert_eq!(Links::new(public_url, &headers, "/identity").to("/v3"), want);
    }

    #[test]
    fn links_keep_the_address_that_the_client_used() {
        check(&[("host", "h:8080")], None, "http://h:8080/identity/v3");
        check(
            &[("host", "inner"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "cloud.example")],
            None,
            "https://cloud.example/identity/v3",
        );
        check(&[("host", "h"), ("x-forwarded-prefix", "/one/")], None, "http://h/one/identity/v3");
        check(&[("host", "h")], Some("https://c.example/id/"), "https://c.example/id/v3");
        check(&[("host", "evil\"><x")], None, "http://localhost/identity/v3");
    }
}
