//! Entity tags of objects in quotes, as HTTP has them, for whole accounts or for containers
//! (`X-Account-Rfc-Compliant-Etags`, `X-Container-Rfc-Compliant-Etags`); without it Swift leaves most of them bare.

use anello_storage::Metadata;
use futures::future::BoxFuture;
use http::header::ETAG;
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::{Value, json};

use super::{Incoming, Layer, Next};
use crate::body::Body;
use crate::swift::SwiftDoor;
use crate::swift::call::{Call, is_true};
use crate::swift::config::{EtagQuoterConfig, Middleware};
use crate::swift::fault::Fault;
use crate::swift::metadata::{self, Kind};
use crate::swift::reply;
use crate::swift::target::Target;

/// The header, the one that takes it away, and where it is kept.
struct Names {
    header: &'static str,
    remove: &'static str,
    item: &'static str,
}

const OF_ACCOUNT: Names = Names {
    header: "x-account-rfc-compliant-etags",
    remove: "x-remove-account-rfc-compliant-etags",
    item: "x-account-sysmeta-rfc-compliant-etags",
};

const OF_CONTAINER: Names = Names {
    header: "x-container-rfc-compliant-etags",
    remove: "x-remove-container-rfc-compliant-etags",
    item: "x-container-sysmeta-rfc-compliant-etags",
};

fn names(kind: Kind) -> Names {
    if kind == Kind::Account { OF_ACCOUNT } else { OF_CONTAINER }
}

/// What a request changes of an account or container.
pub(in crate::swift) fn change(door: &SwiftDoor, call: &Call, kind: Kind) -> Option<(String, String)> {
    let Names { header, remove, item } = names(kind);
    let removes = call.header(remove).is_some_and(|value| !value.is_empty());
    let wanted = call.header(header).map(|value| match value {
        "" => "",
        value if is_true(value) => "True",
        _ => "False",
    });
    let wanted = if removes { Some("") } else { wanted };
    wanted.filter(|_| door.config.offers(Middleware::EtagQuoter)).map(|value| (item.to_owned(), value.to_owned()))
}

/// Shows what an account or container says.
pub(in crate::swift) fn show(door: &SwiftDoor, metadata: &Metadata, kind: Kind, headers: &mut HeaderMap) {
    let Names { header, item, .. } = names(kind);
    if let Some(value) = metadata::value(metadata, item).filter(|_| door.config.offers(Middleware::EtagQuoter)) {
        reply::set(headers, header, value);
    }
}

/// The middleware.
#[derive(Debug)]
pub(super) struct EtagQuoter {
    config: EtagQuoterConfig,
}

impl EtagQuoter {
    pub(super) fn new(config: EtagQuoterConfig) -> Self {
        Self { config }
    }

    /// Whether tags in a container are to be quoted.
    async fn applies(&self, door: &SwiftDoor, account: &str, container: &str) -> Result<bool, Fault> {
        let said = |metadata: &Metadata, item| metadata::value(metadata, item).map(is_true);
        let Some(info) = door.store.container_settings(account, container).await? else { return Ok(false) };
        if let Some(said) = said(&info.metadata, OF_CONTAINER.item) {
            return Ok(said);
        }
        let info = door.store.account_settings(account).await?;
        let said = info.and_then(|info| said(&info.metadata, OF_ACCOUNT.item));
        Ok(said.unwrap_or(self.config.enable_by_default))
    }
}

impl Layer for EtagQuoter {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        vec![("etag_quoter", json!({"enable_by_default": self.config.enable_by_default}))]
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let target = Target::parse(request.uri().path()).ok();
            let Some(Target::Object(path)) = target else { return Ok(next.run(request).await) };
            let applies = self.applies(next.door(), &path.account, &path.container).await?;
            let mut response = next.run(request).await;
            if applies && let Some(etag) = response.headers().get(ETAG).and_then(quoted) {
                response.headers_mut().insert(ETAG, etag);
            }
            Ok(response)
        })
    }
}

/// A tag in quotes; `None` where it is already.
fn quoted(etag: &HeaderValue) -> Option<HeaderValue> {
    let bare = etag.as_bytes();
    let is_quoted = (bare.starts_with(b"\"") || bare.starts_with(b"W/\"")) && bare.ends_with(b"\"") && bare.len() > 1;
    (!is_quoted).then(|| HeaderValue::from_bytes(&[b"\"", bare, b"\""].concat()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_not_quoted_again() {
        for (etag, want) in [("abc", Some("\"abc\"")), ("\"abc\"", None), ("W/\"abc\"", None), ("\"", Some("\"\"\""))] {
            let found = quoted(&HeaderValue::from_static(etag));
            assert_eq!(found.as_ref().map(HeaderValue::as_bytes), want.map(str::as_bytes), "{etag}");
        }
    }
}
