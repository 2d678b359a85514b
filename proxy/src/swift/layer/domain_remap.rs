//! Accounts and containers as host names: `container.account.storage-domain` stands for `/v1/account/container`.

use futures::future::BoxFuture;
use http::header::HOST;
use http::{Request, Response, Uri};
use serde_json::{Value, json};

use super::{ClientPath, Incoming, Layer, Next};
use crate::body::Body;
use crate::swift::SwiftDoor;
use crate::swift::config::DomainRemapConfig;
use crate::swift::fault::Fault;
use crate::swift::reply;

/// The middleware.
#[derive(Debug)]
pub(super) struct DomainRemap {
    config: DomainRemapConfig,
    /// What accounts' names begin with; the first is that of a host that does not say it.
    prefixes: Vec<String>,
}

impl DomainRemap {
    pub(super) fn new(config: DomainRemapConfig, prefixes: Vec<String>) -> Self {
        Self { config, prefixes }
    }

    /// The path that a host and a path stand for; `None` where the host is none of ours, and the reason where it
    /// makes no sense.
    fn remap(&self, host: &str, path: &str) -> Option<Result<String, Fault>> {
        let host = host.rsplit_once(':').map_or(host, |(name, port)| match port.parse::<u16>() {
            Ok(_) => name,
            Err(_) => host,
        });
        let below = self.config.storage_domain.iter().find_map(|domain| {
            let domain = domain.trim_matches('.');
            let (below, end) = host.split_at_checked(host.len().checked_sub(domain.len())?)?;
            below.strip_suffix('.').filter(|below| !below.is_empty() && end.eq_ignore_ascii_case(domain))
        })?;
        let parts: Vec<&str> = below.split('.').collect();
        let (container, account) = match parts[..] {
            [account] => (None, account),
            [container, account] => (Some(container), account),
            _ => return Some(Err(Fault::invalid("Bad domain in host header"))),
        };
        let account = self.account(account)?;
        // Old clients say the root as well.
        let path = match path.strip_prefix("/v1").filter(|_| self.config.mangle_client_paths) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        };
        let container = container.map(|container| format!("/{}", reply::quoted(container))).unwrap_or_default();
        let gap = if path.starts_with('/') { "" } else { "/" };
        Some(Ok(format!("/v1/{}{container}{gap}{path}", reply::quoted(&account))))
    }

    /// The account that a label of a host name stands for: letters have no case there, and some write a dash where the
    /// prefix ends.
    fn account(&self, label: &str) -> Option<String> {
        for prefix in &self.prefixes {
            let bare = prefix.trim_end_matches('_');
            let starts = label.get(..bare.len()).is_some_and(|start| start.eq_ignore_ascii_case(bare));
            if let Some(rest) = label.get(bare.len()..).filter(|_| starts)
                && let Some(rest) = rest.strip_prefix(['-', '_'])
            {
                return Some(format!("{prefix}{rest}"));
            }
        }
        let default = self.config.default_reseller_prefix.as_ref()?;
        Some(format!("{}_{label}", default.trim_end_matches('_')))
    }
}

impl Layer for DomainRemap {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        vec![("domain_remap", json!({"default_reseller_prefix": self.config.default_reseller_prefix}))]
    }

    fn answers(&self, _door: &SwiftDoor, host: &str, path: &str) -> bool {
        self.remap(host, path).is_some()
    }

    fn call<'a>(&'a self, mut request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            // Some write letters that no name has.
            let host = request.headers().get(HOST).and_then(|host| std::str::from_utf8(host.as_bytes()).ok());
            let host = host.or_else(|| request.uri().host()).unwrap_or("").to_owned();
            let path = request.uri().path().to_owned();
            if let Some(remapped) = self.remap(&host, &path) {
                let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
                let uri = format!("{}{query}", remapped?).parse::<Uri>();
                *request.uri_mut() = uri.map_err(|_| Fault::invalid("Bad domain in host header"))?;
                request.extensions_mut().insert(ClientPath(path));
            }
            Ok(next.run(request).await)
        })
    }
}

/// For the fuzzer: what is remapped is an account's or below.
#[cfg(feature = "fuzzing")]
pub(super) fn feed(host: &str, path: &str) {
    let layer = DomainRemap::new(DomainRemapConfig::default(), vec!["AUTH_".into()]);
    if let Some(Ok(remapped)) = layer.remap(host, path) {
        assert!(remapped.starts_with("/v1/AUTH_"), "{host:?} {path:?}: {remapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_paths() {
        let config = DomainRemapConfig {
            storage_domain: vec!["cloud.example".into()],
            default_reseller_prefix: Some("AUTH".into()),
            ..DomainRemapConfig::default()
        };
        let layer = DomainRemap::new(config, vec!["AUTH_".into()]);
        let check = |host: &str, path: &str, want: Option<Result<&str, u16>>| {
            let found = layer.remap(host, path).map(|found| found.map_err(|fault| fault.code()));
            assert_eq!(found, want.map(|want| want.map(str::to_owned)), "{host}{path}");
        };
        check("AUTH_a.cloud.example", "/c/o", Some(Ok("/v1/AUTH_a/c/o")));
        check("auth-a.cloud.example:8080", "/", Some(Ok("/v1/AUTH_a/")));
        check("c.auth-a.cloud.example", "/", Some(Ok("/v1/AUTH_a/c/")));
        check("c.auth-a.cloud.example", "/a%2Fb", Some(Ok("/v1/AUTH_a/c/a%2Fb")));
        check("c.a.CLOUD.example", "/o", Some(Ok("/v1/AUTH_a/c/o")));
        check("x.c.a.cloud.example", "/o", Some(Err(400)));
        check("cloud.example", "/v1/AUTH_a", None);
        check("127.0.0.1:8080", "/v1/AUTH_a", None);
        check("[::1]:8080", "/v1/AUTH_a", None);
        check("c.xcloud.example", "/o", None);
    }
}
