//! Metadata between headers and the store. What is stored is chosen here by name, and so is what is shown:
//! `x-…-sysmeta-…` and `x-backend-…` of a request go nowhere, and those of the store are never shown.

use anello_storage::Metadata;
use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};

use super::dlo;
use super::fault::Fault;
use super::limits::{META_BYTES_MAX, META_COUNT_MAX, META_NAME_BYTES_MAX, META_VALUE_BYTES_MAX};
use super::octets;
use super::sync;
use crate::acl;

/// Where an account keeps the domain of its project.
pub(super) const PROJECT_DOMAIN: &str = "x-account-sysmeta-project-domain-id";

/// Where an account keeps its access list.
pub(super) const ACCOUNT_ACL_ITEM: &str = "x-account-sysmeta-core-access-control";

/// A container's access lists.
const ACCESS_LISTS: [&str; 2] = ["x-container-read", "x-container-write"];

/// Where a container's objects are copied to, and the key for it: for owners alone.
const SYNC: [&str; 2] = [sync::SYNC_TO, sync::SYNC_KEY];

/// User metadata that only owners set and see.
const KEYS: [&str; 4] = [
    "x-account-meta-temp-url-key",
    "x-account-meta-temp-url-key-2",
    "x-container-meta-temp-url-key",
    "x-container-meta-temp-url-key-2",
];

/// Headers of an object, besides its user metadata, that are kept and shown as they came.
const OBJECT_HEADERS: [&str; 7] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    dlo::MANIFEST,
    "x-robots-tag",
];

/// What metadata belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An account.
    Account,
    /// A container.
    Container,
    /// An object.
    Object,
}

impl Kind {
    /// What the names of its user metadata start with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Account => "x-account-meta-",
            Self::Container => "x-container-meta-",
            Self::Object => "x-object-meta-",
        }
    }

    fn remove_prefix(self) -> &'static str {
        match self {
            Self::Account => "x-remove-account-meta-",
            Self::Container => "x-remove-container-meta-",
            Self::Object => "x-remove-object-meta-",
        }
    }
}

/// A stored item's value.
pub(super) fn value<'a>(metadata: &'a Metadata, name: &str) -> Option<&'a str> {
    metadata.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// Sets an item of a sorted list, replacing one of the same name.
pub(super) fn set(metadata: &mut Metadata, name: String, value: String) {
    match metadata.binary_search_by(|(found, _)| found.as_str().cmp(&name)) {
        Ok(at) => metadata[at].1 = value,
        Err(at) => metadata.insert(at, (name, value)),
    }
}

/// The user metadata that a request carries, within the limits; sorted.
pub(super) fn user_items(headers: &HeaderMap, kind: Kind) -> Result<Metadata, Fault> {
    let prefix = kind.prefix();
    let mut items = Metadata::new();
    for name in headers.keys().filter(|name| name.as_str().starts_with(prefix)) {
        if name.as_str().len() == prefix.len() {
            return Err(Fault::invalid("Metadata name cannot be empty"));
        }
        if name.as_str().len() - prefix.len() > META_NAME_BYTES_MAX {
            return Err(Fault::invalid(format!("Metadata name too long: {name}")));
        }
        let value = received(headers, name.as_str(), kind)?;
        if octets::length(&value) > META_VALUE_BYTES_MAX {
            return Err(Fault::invalid(format!("Metadata value longer than {META_VALUE_BYTES_MAX}: {name}")));
        }
        set(&mut items, name.as_str().to_owned(), value);
    }
    check_total(&items, kind)?;
    Ok(items)
}

/// What a request changes in an account's or container's metadata; an empty value removes. Where an item is
/// both set and removed, setting wins. What only owners may change is left alone for others.
pub(super) fn changes(headers: &HeaderMap, kind: Kind, owner: bool) -> Result<Metadata, Fault> {
    let mut changes = Metadata::new();
    for name in headers.keys() {
        if let Some(item) = name.as_str().strip_prefix(kind.remove_prefix()).filter(|item| !item.is_empty()) {
            set(&mut changes, format!("{}{item}", kind.prefix()), String::new());
        }
    }
    for (name, value) in user_items(headers, kind)? {
        set(&mut changes, name, value);
    }
    if !owner {
        changes.retain(|(name, _)| !KEYS.contains(&name.as_str()));
    }
    if kind == Kind::Container && owner {
        for name in SYNC {
            if headers.contains_key(name) {
                set(&mut changes, name.into(), received(headers, name, kind)?);
            } else if headers.contains_key(name.replacen("x-", "x-remove-", 1).as_str()) {
                set(&mut changes, name.into(), String::new());
            }
        }
        for name in ACCESS_LISTS {
            if headers.contains_key(name) {
                let list = acl::clean(&received(headers, name, kind)?, name == "x-container-write");
                set(&mut changes, name.into(), list.map_err(Fault::invalid)?);
            } else if headers.contains_key(name.replacen("x-", "x-remove-", 1).as_str()) {
                set(&mut changes, name.into(), String::new());
            }
        }
    }
    Ok(changes)
}

/// Holds what `current` becomes by `changes` to the limits.
pub(super) fn check_changed(current: &Metadata, changes: &Metadata, kind: Kind) -> Result<(), Fault> {
    let mut after = current.clone();
    for (name, value) in changes {
        set(&mut after, name.clone(), value.clone());
    }
    after.retain(|(_, value)| !value.is_empty());
    check_total(&after, kind)
}

fn check_total(items: &Metadata, kind: Kind) -> Result<(), Fault> {
    let prefix = kind.prefix();
    let user_items = items.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    let (count, bytes) = user_items
        .fold((0, 0), |(count, bytes), (name, value)| (count + 1, bytes + name.len() + octets::length(value)));
    if count > META_COUNT_MAX {
        return Err(Fault::invalid(format!("Too many metadata items; max {META_COUNT_MAX}")));
    }
    if bytes > META_BYTES_MAX {
        return Err(Fault::invalid(format!("Total metadata too large; max {META_BYTES_MAX}")));
    }
    Ok(())
}

/// Everything that an object keeps of a request's headers; sorted.
pub(super) fn object_items(headers: &HeaderMap) -> Result<Metadata, Fault> {
    let mut items = user_items(headers, Kind::Object)?;
    for name in OBJECT_HEADERS.into_iter().filter(|name| headers.contains_key(*name)) {
        let value = received(headers, name, Kind::Object)?;
        if !value.is_empty() {
            set(&mut items, name.into(), value);
        }
    }
    Ok(items)
}

/// Whether an object's item is shown to (and comes from) clients.
pub(super) fn is_shown(name: &str) -> bool {
    name.starts_with(Kind::Object.prefix()) || OBJECT_HEADERS.contains(&name)
}

/// Puts an object's metadata into the headers of an answer.
pub(super) fn show_object(metadata: &Metadata, headers: &mut HeaderMap) {
    show(metadata.iter().filter(|(name, _)| is_shown(name)), headers);
}

/// Puts an account's or container's metadata into the headers of an answer; access lists for owners only.
pub(super) fn show_changes(metadata: &Metadata, kind: Kind, owner: bool, headers: &mut HeaderMap) {
    let is_shown = |name: &str| {
        let is_own = ACCESS_LISTS.contains(&name) || SYNC.contains(&name);
        let is_secret = KEYS.contains(&name) || is_own;
        (name.starts_with(kind.prefix()) || is_own) && (owner || !is_secret)
    };
    show(metadata.iter().filter(|(name, _)| is_shown(name)), headers);
}

fn show<'a>(items: impl Iterator<Item = &'a (String, String)>, headers: &mut HeaderMap) {
    for (name, value) in items {
        // What came in as a header goes out as one; what another door wrote and no header can carry does not.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&octets::to_bytes(value)))
        {
            headers.insert(name, value);
        }
    }
}

/// All values of a header as one, as RFC 9110 §5.3 joins them. Only an object's may be any bytes.
fn received(headers: &HeaderMap, name: &str, kind: Kind) -> Result<String, Fault> {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
    let joined = values.join(&b',');
    if kind != Kind::Object && std::str::from_utf8(&joined).is_err() {
        return Err(Fault::invalid("Metadata must be valid UTF-8"));
    }
    Ok(octets::to_text(&joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(items: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("name");
            (name, HeaderValue::from_bytes(value.as_bytes()).expect("value"))
        };
        items.iter().map(pair).collect()
    }

    fn items(list: &[(&str, &str)]) -> Metadata {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn setting_and_removing_are_told_apart() {
        let headers = headers(&[
            ("x-container-meta-b", "☃"),
            ("x-container-meta-a", ""),
            ("x-remove-container-meta-c", "x"),
            ("x-remove-container-meta-b", "x"),
            ("x-container-read", ".r:*, .rlistings"),
            ("x-remove-container-write", "x"),
            ("x-container-sysmeta-owner", "me"),
            ("x-backend-timestamp", "1"),
            ("x-object-meta-z", "1"),
        ]);
        let want = items(&[
            ("x-container-meta-a", ""),
            ("x-container-meta-b", "☃"),
            ("x-container-meta-c", ""),
            ("x-container-read", ".r:*,.rlistings"),
            ("x-container-write", ""),
        ]);
        assert_eq!(changes(&headers, Kind::Container, true).expect("valid"), want);
    }

    #[test]
    fn an_object_keeps_and_shows_nothing_of_the_doors_own() {
        let sent = headers(&[
            ("x-object-meta-color", "blue"),
            ("content-encoding", "gzip"),
            ("x-object-sysmeta-slo", "forged"),
            ("x-object-transient-sysmeta-x", "forged"),
            ("x-timestamp", "1"),
        ]);
        let kept = object_items(&sent).expect("valid");
        assert_eq!(kept, items(&[("content-encoding", "gzip"), ("x-object-meta-color", "blue")]));
        let mut shown = HeaderMap::new();
        show_object(&items(&[("x-object-sysmeta-acl", "secret"), ("x-object-meta-a", "1")]), &mut shown);
        assert_eq!(shown.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-object-meta-a"]);
    }

    #[test]
    fn only_an_objects_values_may_be_any_bytes() {
        let value = HeaderValue::from_bytes(b"caf\xe9").expect("a header's value");
        let sent = |name| HeaderMap::from_iter([(HeaderName::from_static(name), value.clone())]);
        let mut shown = HeaderMap::new();
        show_object(&object_items(&sent("x-object-meta-a")).expect("valid"), &mut shown);
        assert_eq!(shown, sent("x-object-meta-a"));
        let refused = changes(&sent("x-container-meta-a"), Kind::Container, true);
        assert_eq!(refused.map_err(|fault| fault.code()), Err(400));
    }

    #[test]
    fn limits_hold_at_their_edge() {
        let check = |count: usize, name: usize, value: usize, want: Result<(), u16>| {
            let named = |at: usize| {
                let name = format!("x-object-meta-{}", format!("{at:04}{}", "n".repeat(name)).split_at(name).0);
                (
                    HeaderName::from_bytes(name.as_bytes()).expect("name"),
                    HeaderValue::from_str(&"v".repeat(value)).expect("value"),
                )
            };
            let headers: HeaderMap = (0..count).map(named).collect();
            let found = user_items(&headers, Kind::Object).map(drop).map_err(|fault| fault.code());
            assert_eq!(found, want, "{count} items of {name} + {value}");
        };
        check(1, 128, 256, Ok(()));
        check(1, 129, 1, Err(400));
        check(1, 5, 257, Err(400));
        check(90, 5, 1, Ok(()));
        check(91, 5, 1, Err(400));
        check(16, 100, 156, Ok(()));
        check(16, 100, 157, Err(400));
    }

    #[test]
    fn limits_count_what_is_there_already() {
        let current: Metadata = (0..90).map(|at| (format!("x-account-meta-{at:02}"), "v".to_owned())).collect();
        let one_more = items(&[("x-account-meta-new", "v")]);
        let swapped = items(&[("x-account-meta-00", ""), ("x-account-meta-new", "v")]);
        assert_eq!(check_changed(&current, &one_more, Kind::Account).map_err(|fault| fault.code()), Err(400));
        assert!(check_changed(&current, &swapped, Kind::Account).is_ok());
    }
}
