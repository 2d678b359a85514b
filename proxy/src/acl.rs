//! Container access lists (`X-Container-Read`, `X-Container-Write`): cleaned when they are set, read when
//! somebody asks. An element is a referrer designation (`.r:*`, `.r:.example.com`, `.r:-thief.example.com`),
//! `.rlistings`, `project:user` (either may be `*`), or the name of a role.

use anello_api::identity::Caller;
use http::Uri;
use percent_encoding::percent_decode_str;

/// An access list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acl {
    /// Referrer designations in order, without `.r:`.
    referrers: Vec<String>,
    /// Everything else.
    groups: Vec<String>,
}

impl Acl {
    /// Reads a cleaned list.
    pub(crate) fn parse(text: &str) -> Self {
        let mut acl = Self::default();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            match item.strip_prefix(".r:") {
                Some(referrer) => acl.referrers.push(referrer.to_owned()),
                None => acl.groups.push(percent_decode_str(item).decode_utf8_lossy().into_owned()),
            }
        }
        acl
    }

    /// Whether an element `project:user` names the caller; by name only where `names` may be used.
    pub(crate) fn names(&self, caller: &Caller, names: bool) -> bool {
        let fits = |text: &str, id: Option<&str>, name: Option<&str>| {
            text == "*" || id == Some(text) || (names && name == Some(text))
        };
        // A project's or a user's name may itself hold a colon, so every split is tried.
        let names_caller = |group: &String| {
            group.match_indices(':').any(|(at, _)| {
                fits(&group[..at], caller.project_id.as_deref(), caller.project_name.as_deref())
                    && fits(&group[at + 1..], Some(&caller.user_id), Some(&caller.user_name))
            })
        };
        self.groups.iter().any(names_caller)
    }

    /// Whether any element needs names to be compared: only then is it worth asking whether they may be.
    pub(crate) fn has_members(&self) -> bool {
        self.groups.iter().any(|group| group.contains(':'))
    }

    /// Whether the list names one of the caller's roles.
    pub(crate) fn grants_role(&self, caller: &Caller) -> bool {
        self.groups.iter().any(|group| caller.roles.iter().any(|role| role.eq_ignore_ascii_case(group)))
    }

    /// Whether the list names a group.
    pub(crate) fn names_group(&self, group: &str) -> bool {
        self.groups.iter().any(|named| named == group)
    }

    /// What the referrer designations say of a request: `None` where they don't let it through, otherwise
    /// whether it may also list.
    pub(crate) fn referrer(&self, referrer: Option<&str>) -> Option<bool> {
        let host = referrer.and_then(host_of).unwrap_or_else(|| "unknown".into());
        let fits = |pattern: &str| pattern == host || (pattern.starts_with('.') && host.ends_with(pattern));
        let is_allowed = self.referrers.iter().fold(false, |allowed, pattern| match pattern.strip_prefix('-') {
            Some(denied) => allowed && !fits(denied),
            None => allowed || pattern == "*" || fits(pattern),
        });
        is_allowed.then(|| self.groups.iter().any(|group| group == ".rlistings"))
    }
}

/// Host of a `Referer`, in lower case.
fn host_of(referrer: &str) -> Option<String> {
    let host = referrer.parse::<Uri>().ok()?.host()?.to_ascii_lowercase();
    (!host.is_empty()).then_some(host)
}

/// Brings a list into the form that [`Acl::parse`] reads; says what is wrong with it otherwise. A list for
/// writing has no referrers.
pub(crate) fn clean(text: &str, is_for_writing: bool) -> Result<String, String> {
    let mut items = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let Some((first, second)) = item.split_once(':').map(|(first, second)| (first.trim(), second.trim())) else {
            items.push(item.to_owned());
            continue;
        };
        match first {
            ".r" | ".ref" | ".referer" | ".referrer" if is_for_writing => {
                return Err(format!("Referrers not allowed in write ACL: {item:?}"));
            }
            ".r" | ".ref" | ".referer" | ".referrer" => items.push(format!(".r:{}", clean_referrer(item, second)?)),
            _ if first.starts_with('.') => return Err(format!("Unknown designator {first:?} in ACL: {item:?}")),
            _ => items.push(item.to_owned()),
        }
    }
    Ok(items.join(","))
}

/// `[-]host`, `[-].domain` or `*`.
fn clean_referrer(item: &str, text: &str) -> Result<String, String> {
    let (sign, host) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest.trim()),
        None => ("", text),
    };
    let host = if host == "*" { host } else { host.strip_prefix('*').unwrap_or(host).trim() };
    if host.is_empty() || host == "." {
        return Err(format!("No host/domain value after referrer designation in ACL: {item:?}"));
    }
    Ok(format!("{sign}{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cleaned_or_refused() {
        for (text, want) in [
            ("bob, sue", Some("bob,sue")),
            ("bob,,,sue ,", Some("bob,sue")),
            (".referrer : *", Some(".r:*")),
            (".ref:*.example.com", Some(".r:.example.com")),
            (".r:*, .rlistings", Some(".r:*,.rlistings")),
            (".r: - *.thief.com", Some(".r:-.thief.com")),
            ("project:user,*:*", Some("project:user,*:*")),
            (".r:", None),
            (".r:-", None),
            (".r:*.", None),
            (".unknown:x", None),
        ] {
            assert_eq!(clean(text, false).ok().as_deref(), want, "{text:?}");
        }
        assert!(clean(".r:*", true).is_err(), "a write list with referrers would open writes to everybody");
    }

    #[test]
    fn referrers_are_applied_in_order() {
        let check = |acl: &str, referrer: Option<&str>, want: Option<bool>| {
            assert_eq!(Acl::parse(acl).referrer(referrer), want, "{acl} {referrer:?}");
        };
        check("", None, None);
        check(".r:*", None, Some(false));
        check(".r:*,.rlistings", None, Some(true));
        check(".rlistings", None, None);
        check(".r:.example.com", Some("http://www.example.com:80/x"), Some(false));
        check(".r:.example.com", Some("http://example.org/"), None);
        check(".r:.example.com", None, None);
        check(".r:*,.r:-.thief.com", Some("http://a.thief.com"), None);
        check(".r:*,.r:-thief.com", Some("http://thief.com"), None);
        check(".r:-thief.com,.r:*", Some("http://thief.com"), Some(false));
    }

    #[test]
    fn members_and_roles_are_found() {
        let caller = Caller {
            user_id: "u1".into(),
            user_name: "ann".into(),
            project_id: Some("p1".into()),
            project_name: Some("sea".into()),
            roles: vec!["Gardener".into()],
            ..Caller::default()
        };
        for (acl, names, want) in [
            ("p1:u1", false, true),
            ("*:u1", false, true),
            ("p1:*", false, true),
            ("*:*", false, true),
            ("sea:ann", false, false),
            ("sea:ann", true, true),
            ("sea:u1", true, true),
            ("p2:u1", true, false),
            ("p1", true, false),
        ] {
            assert_eq!(Acl::parse(acl).names(&caller, names), want, "{acl} {names}");
        }
        assert!(Acl::parse("gardener").grants_role(&caller) && !Acl::parse("cook").grants_role(&caller));
    }
}
