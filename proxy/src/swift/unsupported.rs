//! What other parts of Swift understand and this door does not (yet). Asking for it gets 501; to ignore it
//! would do something else than the client wants. What is here is not announced at `/info`.

use http::StatusCode;

use super::SwiftDoor;
use super::call::Call;
use super::config::{Middleware, SwiftConfig};
use super::fault::Fault;
use super::tempauth::ACCOUNT_ACL;

/// Query parameters that stand for an operation of their own. (`symlink=get` asks for a link itself and not
/// for what it leads to: where there are no links it changes nothing, and clients send it unasked; so does `versions`,
/// which lists all versions, where there is one of each object.)
const PARAMETERS: [(&str, &str, Option<Middleware>); 5] = [
    ("extract-archive", "archive extraction", Some(Middleware::Bulk)),
    ("bulk-delete", "bulk deletion", Some(Middleware::Bulk)),
    ("temp_url_sig", "temporary URLs", Some(Middleware::Tempurl)),
    ("temp_url_expires", "temporary URLs", Some(Middleware::Tempurl)),
    ("version-id", "object versioning", Some(Middleware::ObjectVersioning)),
];

/// Headers that turn something on; prefixes. Without a value they turn it off, which it is.
const HEADERS: [(&str, &str, Option<Middleware>); 13] = [
    ("x-symlink-target", "symbolic links", Some(Middleware::Symlink)),
    ("x-versions-location", "versioned writes", Some(Middleware::VersionedWrites)),
    ("x-history-location", "versioned writes", Some(Middleware::VersionedWrites)),
    ("x-versions-enabled", "object versioning", Some(Middleware::ObjectVersioning)),
    ("x-container-sync-", "container synchronization", Some(Middleware::ContainerSync)),
    ("x-account-meta-temp-url-key", "temporary URLs", Some(Middleware::Tempurl)),
    ("x-container-meta-temp-url-key", "temporary URLs", Some(Middleware::Tempurl)),
    ("x-account-meta-quota-", "account quotas", Some(Middleware::AccountQuotas)),
    ("x-account-quota-", "account quotas", Some(Middleware::AccountQuotas)),
    ("x-container-meta-quota-", "container quotas", Some(Middleware::ContainerQuotas)),
    ("x-container-meta-web-", "static web sites", Some(Middleware::Staticweb)),
    ("x-account-rfc-compliant-etags", "quoted entity tags", Some(Middleware::EtagQuoter)),
    ("x-container-rfc-compliant-etags", "quoted entity tags", Some(Middleware::EtagQuoter)),
];

/// Refuses a request that asks for anything of it.
pub(super) fn check(door: &SwiftDoor, call: &Call) -> Result<(), Fault> {
    if door.tempauth.is_none() && call.header(ACCOUNT_ACL).is_some_and(|list| !list.is_empty()) {
        return refuse("account access lists");
    }
    check_offers(&door.config, call)
}

fn refuse(what: &str) -> Result<(), Fault> {
    Err(Fault::because(StatusCode::NOT_IMPLEMENTED, format!("This server does not offer {what}.")))
}

fn check_offers(config: &SwiftConfig, call: &Call) -> Result<(), Fault> {
    let is_absent = |middleware: &Option<Middleware>| middleware.is_none_or(|it| !config.offers(it));
    let asked = PARAMETERS.iter().filter(|(name, ..)| call.query.get(name).is_some());
    if let Some((_, what, _)) = asked.into_iter().find(|(_, _, middleware)| is_absent(middleware)) {
        return refuse(what);
    }
    let is_write = ["PUT", "POST", "COPY"].contains(&call.method.as_str());
    for (name, value) in call.headers.iter().filter(|(_, value)| is_write && !value.is_empty()) {
        let asked = HEADERS.iter().find(|(prefix, ..)| name.as_str().starts_with(prefix));
        if let Some((_, what, _)) = asked.filter(|(_, _, middleware)| is_absent(middleware)) {
            return refuse(what);
        }
        let is_form = || value.as_bytes().to_ascii_lowercase().starts_with(b"multipart/form-data");
        if call.method == http::Method::POST
            && name == "content-type"
            && is_form()
            && !config.offers(Middleware::Formpost)
        {
            return refuse("uploads by web form");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swift::testing::call;

    #[test]
    fn what_is_not_offered_is_refused_and_never_ignored() {
        let nothing = SwiftConfig { pipeline: Vec::new(), ..SwiftConfig::default() };
        let refuses =
            |method, uri, headers: &[(&str, &str)]| check_offers(&nothing, &call(method, uri, headers)).is_err();
        assert!(refuses("PUT", "/v1/a?extract-archive=tar", &[]));
        assert!(refuses("POST", "/v1/a?bulk-delete", &[]));
        assert!(refuses("GET", "/v1/a/c/o?temp_url_sig=x&temp_url_expires=1", &[]));
        assert!(refuses("PUT", "/v1/a/c/o", &[("x-symlink-target", "c/o")]));
        assert!(refuses("POST", "/v1/a/c", &[("x-container-meta-quota-bytes", "1")]));
        assert!(!refuses("POST", "/v1/a/c", &[("x-versions-location", "")]));
        assert!(!refuses("GET", "/v1/a/c/o", &[("x-newest", "true")]));
        assert!(!refuses("HEAD", "/v1/a/c/o?symlink=get", &[]));
        assert!(!refuses("GET", "/v1/a/c?versions=true", &[]));
    }
}
