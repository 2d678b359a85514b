//! What other parts of Swift understand and this door does not (yet). Asking for it gets 501; to ignore it
//! would do something else than the client wants. What is here is not announced at `/info`.

use http::StatusCode;

use super::call::Call;
use super::fault::Fault;

/// Query parameters that stand for an operation of their own. (`symlink=get` asks for a link itself and not
/// for what it leads to: where there are no links it changes nothing, and clients send it unasked; so does `versions`, which lists all
/// versions, where there is one of each object.)
const PARAMETERS: [(&str, &str); 6] = [
    ("extract-archive", "archive extraction"),
    ("bulk-delete", "bulk deletion"),
    ("temp_url_sig", "temporary URLs"),
    ("temp_url_expires", "temporary URLs"),
    ("version-id", "object versioning"),
    ("swiftinfo_sig", "administrative information"),
];

/// Headers that turn something on; prefixes. Without a value they turn it off, which it is.
const HEADERS: [(&str, &str); 12] = [
    ("x-symlink-target", "symbolic links"),
    ("x-versions-location", "object versioning"),
    ("x-history-location", "object versioning"),
    ("x-versions-enabled", "object versioning"),
    ("x-container-sync-", "container synchronization"),
    ("x-account-access-control", "account access lists"),
    ("x-account-meta-temp-url-key", "temporary URLs"),
    ("x-container-meta-temp-url-key", "temporary URLs"),
    ("x-account-meta-quota-", "account quotas"),
    ("x-account-quota-", "account quotas"),
    ("x-container-meta-quota-", "container quotas"),
    ("x-container-meta-web-", "static web sites"),
];

/// Refuses a request that asks for anything of it.
pub(super) fn check(call: &Call) -> Result<(), Fault> {
    let refuse = |what| Err(Fault::because(StatusCode::NOT_IMPLEMENTED, format!("This server does not offer {what}.")));
    if let Some((_, what)) = PARAMETERS.iter().find(|(name, _)| call.query.get(name).is_some()) {
        return refuse(*what);
    }
    let is_write = ["PUT", "POST", "COPY"].contains(&call.method.as_str());
    for (name, value) in call.headers.iter().filter(|(_, value)| is_write && !value.is_empty()) {
        if let Some((_, what)) = HEADERS.iter().find(|(prefix, _)| name.as_str().starts_with(prefix)) {
            return refuse(*what);
        }
        let is_form = || value.as_bytes().to_ascii_lowercase().starts_with(b"multipart/form-data");
        if call.method == http::Method::POST && name == "content-type" && is_form() {
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
        let refuses = |method, uri, headers: &[(&str, &str)]| check(&call(method, uri, headers)).is_err();
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
