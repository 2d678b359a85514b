//! Sites under names of their own: where a request's host is below none of the storage domains, the name system is asked
//! whether it stands for one that is (CNAME). Answers are remembered for as long as they say. `domain_remap` behind this
//! layer makes an account or a container of the name that was found.

use std::net::{IpAddr, SocketAddr};

use futures::future::BoxFuture;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use http::header::{HOST, LOCATION};
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::{Value, json};

use super::{Incoming, Layer, Next};
use crate::body::Body;
use crate::swift::SwiftDoor;
use crate::swift::config::CnameLookupConfig;
use crate::swift::fault::Fault;
use crate::swift::limits::CNAME_CACHE_MAX;

/// The middleware.
pub(super) struct CnameLookup {
    config: CnameLookupConfig,
    /// `None` where the system names no server that could be asked.
    resolver: Option<TokioResolver>,
}

impl std::fmt::Debug for CnameLookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CnameLookup").field("config", &self.config).finish_non_exhaustive()
    }
}

impl CnameLookup {
    pub(super) fn new(config: CnameLookupConfig) -> Self {
        let build = |mut builder: ResolverBuilder<TokioRuntimeProvider>| {
            builder.options_mut().cache_size = CNAME_CACHE_MAX;
            builder.build()
        };
        let resolver = match config.nameservers.is_empty() {
            true => TokioResolver::builder_tokio().and_then(build),
            false => {
                let servers = config.nameservers.iter().map(|address| server(*address)).collect();
                let servers = ResolverConfig::from_parts(None, Vec::new(), servers);
                build(TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default()))
            }
        };
        let resolver = resolver.inspect_err(|error| tracing::error!(%error, "no name server can be asked for sites"));
        Self { config, resolver: resolver.ok() }
    }

    /// Whether a name is a storage domain or below one.
    fn is_ours(&self, name: &str) -> bool {
        self.config.storage_domain.iter().map(|domain| domain.trim_matches('.')).any(|domain| {
            let at = name.len().checked_sub(domain.len());
            let end = at.and_then(|at| name.split_at_checked(at));
            end.is_some_and(|(start, end)| {
                end.eq_ignore_ascii_case(domain) && (start.is_empty() || start.ends_with('.'))
            })
        })
    }

    /// Whether a name is to be looked up. Addresses and names without a domain are nobody's sites.
    fn is_foreign(&self, name: &str) -> bool {
        let is_address = name.parse::<IpAddr>().is_ok() || name.starts_with('[');
        !is_address && name.contains('.') && !self.is_ours(name)
    }

    /// What a name stands for, at one step; `None` where it stands for itself.
    async fn canonical(&self, name: &str) -> Option<String> {
        let resolver = self.resolver.as_ref()?;
        // With its last dot it is not searched for below the system's own domain.
        let found = match resolver.lookup(format!("{name}."), RecordType::CNAME).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, name, "a site's name stands for no other");
                return None;
            }
        };
        let name_of = |data: &RData| match data {
            RData::CNAME(name) => Some(name.to_ascii().trim_end_matches('.').to_owned()),
            _ => None,
        };
        found.answers().iter().find_map(|record| name_of(&record.data))
    }

    /// The name below a storage domain that a name stands for.
    async fn find(&self, name: &str) -> Result<String, Fault> {
        let mut name = name.to_owned();
        for _ in 0..self.config.lookup_depth {
            match self.canonical(&name).await.filter(|found| !found.eq_ignore_ascii_case(&name)) {
                None => return Err(Fault::invalid("CNAME lookup failed to resolve to a valid domain")),
                Some(found) if self.is_ours(&found) => return Ok(found),
                Some(found) => name = found,
            }
        }
        Err(Fault::invalid(format!("CNAME lookup failed after {} tries", self.config.lookup_depth)))
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connection = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// Name and port (with its colon) of a host.
fn split(host: &str) -> (&str, &str) {
    match host.rfind(':') {
        Some(at) if host[at + 1..].parse::<u16>().is_ok() => host.split_at(at),
        _ => (host, ""),
    }
}

impl Layer for CnameLookup {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        vec![("cname_lookup", json!({"lookup_depth": self.config.lookup_depth}))]
    }

    fn answers(&self, door: &SwiftDoor, host: &str, _path: &str) -> bool {
        let (name, _) = split(host);
        self.is_foreign(name) && !door.is_own_host(name)
    }

    fn call<'a>(&'a self, mut request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let asked = request.headers().get(HOST).and_then(|host| std::str::from_utf8(host.as_bytes()).ok());
            let asked = asked.or_else(|| request.uri().host()).unwrap_or("").to_owned();
            let (name, port) = split(&asked);
            if !self.is_foreign(name) || next.door().is_own_host(name) {
                return Ok(next.run(request).await);
            }
            let found = format!("{}{port}", self.find(name).await?);
            let value = HeaderValue::from_str(&found).map_err(|_| Fault::invalid("Bad domain in host header"))?;
            request.headers_mut().insert(HOST, value);
            let mut response = next.run(request).await;
            rename(response.headers_mut(), &found, &asked);
            Ok(response)
        })
    }
}

/// Redirections lead to the name that the client knows.
fn rename(headers: &mut HeaderMap, found: &str, asked: &str) {
    let Some(location) = headers.get(LOCATION).and_then(|location| location.to_str().ok()) else { return };
    let Some((scheme, rest)) = location.split_once("://") else { return };
    let renamed = rest.strip_prefix(found).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(Ok(renamed)) = renamed.map(|rest| HeaderValue::from_str(&format!("{scheme}://{asked}{rest}"))) {
        headers.insert(LOCATION, renamed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> CnameLookup {
        let storage_domain = vec!["cloud.example".into()];
        CnameLookup { config: CnameLookupConfig { storage_domain, ..CnameLookupConfig::default() }, resolver: None }
    }

    #[test]
    fn only_names_of_others_are_looked_up() {
        let layer = layer();
        for (host, want) in [
            ("www.example.org", true),
            ("www.example.org:8080", true),
            ("c.a.cloud.example", false),
            ("c.a.Cloud.Example:80", false),
            ("cloud.example", false),
            ("xcloud.example", true),
            ("localhost:8080", false),
            ("127.0.0.1:8080", false),
            ("[::1]:8080", false),
            ("", false),
        ] {
            assert_eq!(layer.is_foreign(split(host).0), want, "{host}");
        }
    }

    #[test]
    fn redirections_lead_to_the_name_that_was_asked_for() {
        let check = |location: &str, want: &str| {
            let mut headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).expect("a header"))]);
            rename(&mut headers, "c.a.cloud.example:80", "www.example.org:80");
            assert_eq!(headers[LOCATION], want);
        };
        check("http://c.a.cloud.example:80/x/", "http://www.example.org:80/x/");
        check("http://c.a.cloud.example:8080/x/", "http://c.a.cloud.example:8080/x/");
        check("/x/", "/x/");
    }
}
