//! Objects that stand for another one: Swift's symbolic links. Such an object has no data and is of
//! [`Content::Segments`]; the items named here say what it leads to. A static link is good for one version alone.

use anello_storage::{Content, Error, ObjectInfo, ObjectPath, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::limits::LINKS_MAX;
use super::segments::{self, Gate};
use super::vault::Vault;

/// `container/object`, percent-encoded as the client has sent it.
pub const TARGET: &str = "x-object-sysmeta-symlink-target";

/// Its account, where it is another, percent-encoded.
pub const TARGET_ACCOUNT: &str = "x-object-sysmeta-symlink-target-account";

/// The tag of the only version that a static link leads to.
pub const TARGET_ETAG: &str = "x-object-sysmeta-symlink-target-etag";

/// The size of that version.
pub const TARGET_BYTES: &str = "x-object-sysmeta-symlink-target-bytes";

/// The tag of a large object that a static link leads to.
pub const TARGET_SLO_ETAG: &str = "x-object-sysmeta-symlink-slo-etag";

/// What stands as it is in a path.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The object.
    pub path: ObjectPath,
    /// `/v1/account/container/object` as the client has written it.
    pub location: String,
    /// The tag that it must have, where the link is static.
    pub etag: Option<String>,
}

/// An item of an object's metadata.
pub fn item<'a>(info: &'a ObjectInfo, name: &str) -> Option<&'a str> {
    info.metadata.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// Whether an object is a link.
pub fn is_link(info: &ObjectInfo) -> bool {
    info.content == Content::Segments && item(info, TARGET).is_some()
}

/// Where an object leads, if it is a link.
pub fn of(info: &ObjectInfo, account: &str) -> Option<Link> {
    let target = item(info, TARGET).filter(|_| is_link(info))?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
    let quoted_account = item(info, TARGET_ACCOUNT);
    let account = match quoted_account {
        Some(quoted) => decode(quoted)?,
        None => account.to_owned(),
    };
    let (container, object) = target.split_once('/')?;
    let path = ObjectPath::new(account.clone(), decode(container)?, decode(object)?);
    let location = match quoted_account {
        Some(quoted) => format!("/v1/{quoted}/{target}"),
        None => format!("/v1/{}/{target}", utf8_percent_encode(&account, QUOTED)),
    };
    Some(Link { path, location, etag: item(info, TARGET_ETAG).map(str::to_owned) })
}

/// The tag that a static link must name: that of a large object's list, and of others their own.
pub fn tag_of(info: &ObjectInfo) -> &str {
    segments::manifest_etag(info).unwrap_or(&info.etag)
}

/// The object that a path leads to in the end; the same where it is no link. Without a gate no way leads to another
/// account. [`Error::Missing`] and [`Error::Precondition`] say that there is nothing, and that the way there is too
/// long, denied, or to another version.
pub async fn resolve(store: &Vault, gate: Option<&dyn Gate>, path: &ObjectPath) -> Result<ObjectPath> {
    let mut path = path.clone();
    let mut wanted: Option<String> = None;
    for _ in 0..=LINKS_MAX {
        let Some(info) = store.object(&path).await? else { return Err(Error::Missing("object")) };
        let link = of(&info, &path.account);
        let tag = link.as_ref().and_then(|link| link.etag.as_deref()).unwrap_or_else(|| tag_of(&info));
        if wanted.as_deref().is_some_and(|wanted| wanted != tag) {
            return Err(Error::Precondition);
        }
        let Some(link) = link else { return Ok(path) };
        let is_open = match gate {
            Some(gate) => gate.may_read(&link.path).await,
            None => link.path.account == path.account,
        };
        if !is_open {
            return Err(Error::Precondition);
        }
        (path, wanted) = (link.path, link.etag);
    }
    Err(Error::Precondition)
}

#[cfg(test)]
mod tests {
    use anello_base::Timestamp;

    use super::*;

    fn link(items: &[(&str, &str)]) -> ObjectInfo {
        ObjectInfo {
            timestamp: Timestamp::ZERO,
            meta_timestamp: Timestamp::ZERO,
            size: 0,
            stored_size: 0,
            etag: String::new(),
            content_type: String::new(),
            content: Content::Segments,
            delete_at: None,
            metadata: items.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    #[test]
    fn a_link_leads_where_its_items_say() {
        let found = of(&link(&[(TARGET, "c%20d/a%2Fb"), (TARGET_ETAG, "abc")]), "AUTH_x").expect("a link");
        assert_eq!(found.path, ObjectPath::new("AUTH_x", "c d", "a/b"));
        assert_eq!(found.location, "/v1/AUTH_x/c%20d/a%2Fb");
        assert_eq!(found.etag.as_deref(), Some("abc"));
        let found = of(&link(&[(TARGET, "c/o"), (TARGET_ACCOUNT, "AUTH_y")]), "AUTH_x").expect("a link");
        assert_eq!((found.path.account.as_str(), found.location.as_str()), ("AUTH_y", "/v1/AUTH_y/c/o"));
        assert_eq!(of(&link(&[]), "AUTH_x"), None, "a large object is none");
        assert_eq!(of(&link(&[(TARGET, "c")]), "AUTH_x"), None);
        assert_eq!(of(&link(&[(TARGET, "c/%FF")]), "AUTH_x"), None);
    }
}
