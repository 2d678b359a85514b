//! What a request is about, as its path says: `/v1/{account}/{container}/{object}`, `/info`, `/healthcheck`.
//!
//! The path is percent-decoded once and split then, as Swift does it; an object's name may hold `/`, and
//! nothing is normalized.

use anello_storage::ObjectPath;
use http::StatusCode;
use percent_encoding::percent_decode_str;

use super::fault::Fault;

/// The thing that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `/info`
    Info,
    /// `/healthcheck`
    Health,
    /// An account.
    Account(String),
    /// A container of an account.
    Container(String, String),
    /// An object.
    Object(ObjectPath),
}

impl Target {
    /// Reads a request's path.
    pub(super) fn parse(path: &str) -> Result<Self, Fault> {
        let decoded = percent_decode_str(path).decode_utf8().ok().filter(|path| !path.contains('\0'));
        let Some(path) = decoded else {
            return Err(Fault::because(StatusCode::PRECONDITION_FAILED, "Invalid UTF8 or contains NULL"));
        };
        match path.trim_end_matches('/') {
            "/info" => return Ok(Self::Info),
            "/healthcheck" => return Ok(Self::Health),
            _ => {}
        }
        let mut parts = path.strip_prefix('/').unwrap_or(&path).splitn(4, '/');
        let (version, account) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let (container, object) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        match (version, account, container, object) {
            (_, "", "", "") => Err(Fault::because(StatusCode::PRECONDITION_FAILED, "Bad URL")),
            ("v1" | "v1.0", account, "", "") => Ok(Self::Account(account.into())),
            ("v1" | "v1.0", account, container, "") if !account.is_empty() && !container.is_empty() => {
                Ok(Self::Container(account.into(), container.into()))
            }
            ("v1" | "v1.0", account, container, object) if !account.is_empty() && !container.is_empty() => {
                Ok(Self::Object(ObjectPath::new(account, container, object)))
            }
            _ => Err(Fault::status(StatusCode::NOT_FOUND)),
        }
    }

    /// The account that it is or lies in.
    pub(super) fn account(&self) -> Option<&str> {
        match self {
            Self::Info | Self::Health => None,
            Self::Account(account) | Self::Container(account, _) => Some(account),
            Self::Object(path) => Some(&path.account),
        }
    }

    /// Account and container that it is or lies in.
    pub(super) fn container(&self) -> Option<(&str, &str)> {
        match self {
            Self::Container(account, container) => Some((account, container)),
            Self::Object(path) => Some((&path.account, &path.container)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_never_normalized() {
        let object = |object: &str| Ok(Target::Object(ObjectPath::new("AUTH_a", "c", object)));
        let check = |path: &str, want: Result<Target, u16>| {
            assert_eq!(Target::parse(path).map_err(|fault| fault.code()), want, "{path}");
        };
        check("/info", Ok(Target::Info));
        check("/healthcheck", Ok(Target::Health));
        check("/v1/AUTH_a", Ok(Target::Account("AUTH_a".into())));
        check("/v1.0/AUTH_a/", Ok(Target::Account("AUTH_a".into())));
        check("/v1/AUTH_a/c", Ok(Target::Container("AUTH_a".into(), "c".into())));
        check("/v1/AUTH_a/c/", Ok(Target::Container("AUTH_a".into(), "c".into())));
        check("/v1/AUTH_a/c/o", object("o"));
        check("/v1/AUTH_a/c//o/../x/", object("/o/../x/"));
        check("/v1/AUTH_a/c/a%2Fb%20c+d%2541", object("a/b c+d%41"));
        check("/v1/AUTH_a/c/%E2%98%83", object("☃"));
        check("/v1/AUTH_a/c/%FF", Err(412));
        check("/v1/AUTH_a/c/a%00b", Err(412));
        check("/v1", Err(412));
        check("/v1/", Err(412));
        check("/info%20asdf", Err(412));
        check("/v1/AUTH_a//o", Err(404));
        check("/v1//c/o", Err(404));
        check("/v2/AUTH_a", Err(404));
    }
}
