//! `/endpoints/…`: which devices keep an account, a container or an object, for software that places work beside data.
//! The addresses name hosts and devices as the rings do; what answers there speaks this cluster's own protocol and not
//! HTTP. Nobody is asked who he is, so it is for gateways that only the cluster's own hosts reach.

use anello_storage::store::Whereabouts;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::{Incoming, Layer, Next};
use crate::body::Body;
use crate::swift::SwiftDoor;
use crate::swift::config::ListEndpointsConfig;
use crate::swift::fault::Fault;
use crate::swift::reply;

/// The middleware.
#[derive(Debug)]
pub(super) struct ListEndpoints {
    /// Ends with a slash.
    path: String,
}

/// How the list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A list.
    First,
    /// The list, and headers that go with requests to what is in it.
    Second,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    form: Form,
    account: String,
    container: Option<String>,
    object: Option<String>,
}

impl Asked {
    /// Reads what stands behind the middleware's own path.
    fn parse(path: &str) -> Result<Self, String> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let number = first.trim_start_matches('v').parse::<f64>().ok();
        let (form, rest) = match number {
            Some(1.0) => (Form::First, rest),
            Some(2.0) => (Form::Second, rest),
            // More of a version than of an account.
            _ if first.starts_with('v') && !first.contains('_') => {
                return Err(format!("Unsupported version '{first}'"));
            }
            _ => (Form::First, path),
        };
        let mut parts = rest.splitn(3, '/');
        let mut next = || match parts.next().filter(|part| !part.is_empty()) {
            None => Ok(None),
            Some(part) => match percent_decode_str(part).decode_utf8() {
                Ok(part) => Ok(Some(part.into_owned())),
                Err(_) => Err("The path is no UTF-8".to_owned()),
            },
        };
        let (account, container, object) = (next()?, next()?, next()?);
        let account = account.ok_or("No account specified")?;
        let object = object.filter(|_| container.is_some());
        Ok(Self { form, account, container, object })
    }

    fn answer(&self, found: &Whereabouts) -> Value {
        let names = [Some(&self.account), self.container.as_ref(), self.object.as_ref()];
        let path = names.into_iter().flatten().map(|name| reply::quoted(name)).collect::<Vec<_>>().join("/");
        let partition = found.partition;
        let endpoint = |device: &anello_storage::store::DeviceAddress| {
            format!("http://{}:{}/{}/{partition}/{path}", device.ip, device.port, device.device)
        };
        let endpoints: Vec<_> = found.devices.iter().map(endpoint).collect();
        let policy = found.policy.map(|index| ("X-Backend-Storage-Policy-Index".to_owned(), index.to_string().into()));
        match self.form {
            Form::First => json!(endpoints),
            Form::Second => json!({"endpoints": endpoints, "headers": Map::from_iter(policy)}),
        }
    }
}

impl ListEndpoints {
    pub(super) fn new(config: &ListEndpointsConfig) -> Self {
        Self { path: format!("{}/", config.list_endpoints_path.trim_end_matches('/')) }
    }
}

impl Layer for ListEndpoints {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        // As in Swift.
        Vec::new()
    }

    fn answers(&self, _door: &SwiftDoor, _host: &str, path: &str) -> bool {
        path.starts_with(&self.path)
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let Some(path) = request.uri().path().strip_prefix(&self.path) else { return Ok(next.run(request).await) };
            if request.method() != Method::GET {
                return Err(Fault::status(StatusCode::METHOD_NOT_ALLOWED).with("allow", "GET"));
            }
            let asked = Asked::parse(path).map_err(Fault::invalid)?;
            let (container, object) = (asked.container.as_deref(), asked.object.as_deref());
            let found = next.door().store.whereabouts(&asked.account, container, object).await?;
            Ok(reply::with_body(StatusCode::OK, "application/json", asked.answer(&found).to_string()))
        })
    }
}

/// For the fuzzer: what is read has an account, and an object only in a container.
#[cfg(feature = "fuzzing")]
pub(super) fn feed(path: &str) {
    if let Ok(asked) = Asked::parse(path) {
        assert!(!asked.account.is_empty() && (asked.object.is_none() || asked.container.is_some()), "{asked:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_with_and_without_a_version() {
        let check = |path: &str, want: Option<(Form, &str, Option<&str>, Option<&str>)>| {
            let found = Asked::parse(path).ok();
            let found = found.as_ref().map(|it| (it.form, &*it.account, it.container.as_deref(), it.object.as_deref()));
            assert_eq!(found, want, "{path}");
        };
        check("AUTH_a/c/o/p", Some((Form::First, "AUTH_a", Some("c"), Some("o/p"))));
        check("v1/AUTH_a/c", Some((Form::First, "AUTH_a", Some("c"), None)));
        check("v2/AUTH_a", Some((Form::Second, "AUTH_a", None, None)));
        check("v2.0/AUTH_a/c%20d/%E2%98%83", Some((Form::Second, "AUTH_a", Some("c d"), Some("☃"))));
        check("v_3/c", Some((Form::First, "v_3", Some("c"), None)));
        check("AUTH_a/", Some((Form::First, "AUTH_a", None, None)));
        for path in ["", "v1", "v2/", "v3/AUTH_a", "vx/a", "a/%FF"] {
            check(path, None);
        }
    }
}
