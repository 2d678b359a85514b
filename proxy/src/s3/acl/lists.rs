//! Swift's lists of containers (`x-container-read`, `x-container-write`) as callers of S3 meet them: who reads objects
//! reads them through either door, who lists lists, who writes writes.

use anello_api::identity::Caller;
use anello_storage::ContainerInfo;

use super::list::{Grant, Grantee, Permission};
use crate::acl::Acl;

/// Container metadata that holds who may read.
pub(in crate::s3) const READ: &str = "x-container-read";
/// Container metadata that holds who may write.
pub(in crate::s3) const WRITE: &str = "x-container-write";

/// What somebody who does not own the bucket wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::s3) enum Wish {
    List,
    Read,
    Write,
}

/// Somebody who wants something.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::s3) struct Visitor<'a> {
    /// Who calls; `None` for anonymous callers.
    pub(in crate::s3) caller: Option<&'a Caller>,
    /// Whether he is of the project that owns the container; names of roles count for those only.
    pub(in crate::s3) is_own: bool,
    /// The page that led here, as the client says.
    pub(in crate::s3) referrer: Option<&'a str>,
    /// Whether what is given to the public doesn't count.
    pub(in crate::s3) is_public_ignored: bool,
}

/// Whether an item of a list is given to the public.
fn is_for_all(item: &str) -> bool {
    item == "*:*" || item.starts_with(".r:")
}

/// Whether a container's lists give anything to the public.
pub(super) fn is_public(container: &ContainerInfo) -> bool {
    let lists = container.metadata.iter().filter(|(name, _)| name == READ || name == WRITE);
    lists.flat_map(|(_, items)| items.split(',')).any(is_for_all)
}

/// Whether the container's lists let somebody do it who may not by role. Users and projects count by their ids: names
/// are unique within a domain only.
pub(in crate::s3) fn permits(container: &ContainerInfo, visitor: Visitor<'_>, wish: Wish) -> bool {
    let Visitor { caller, is_own, referrer, is_public_ignored } = visitor;
    let name = if wish == Wish::Write { WRITE } else { READ };
    let Some((_, text)) = container.metadata.iter().find(|(found, _)| found == name) else { return false };
    let items: Vec<_> = text.split(',').filter(|item| !(is_public_ignored && is_for_all(item))).collect();
    let acl = Acl::parse(&items.join(","));
    if caller.is_some_and(|caller| acl.names(caller, false) || (is_own && acl.grants_role(caller))) {
        return true;
    }
    let open = if wish == Wish::Write { None } else { acl.referrer(referrer) };
    open.is_some_and(|may_list| may_list || wish == Wish::Read)
}

/// What a container's lists give to the public, as S3 shows it.
pub(super) fn public_grants(container: &ContainerInfo, with_write: bool) -> Vec<Grant> {
    let has = |list: &str, item: &str| {
        let lists = container.metadata.iter().filter(|(name, _)| name == list);
        lists.flat_map(|(_, items)| items.split(',')).any(|found| found == item)
    };
    [
        (READ, ".r:*", Grant::new(Grantee::Everybody, Permission::Read)),
        (READ, "*:*", Grant::new(Grantee::Signed, Permission::Read)),
        (WRITE, "*:*", Grant::new(Grantee::Signed, Permission::Write)),
    ]
    .into_iter()
    .filter(|(list, item, _)| has(list, item) && (with_write || *list == READ))
    .map(|(_, _, grant)| grant)
    .collect()
}

#[cfg(test)]
mod tests {
    use anello_base::Timestamp;

    use super::*;

    fn container(read: &str, write: &str) -> ContainerInfo {
        ContainerInfo {
            created: Timestamp::ZERO,
            modified: Timestamp::ZERO,
            deleted: Timestamp::ZERO,
            object_count: 0,
            bytes_used: 0,
            policy: 0,
            metadata: [(READ, read), (WRITE, write)].map(|(name, list)| (name.to_owned(), list.to_owned())).into(),
        }
    }

    #[test]
    fn lists_open_what_they_say_and_no_more() {
        let signed = Caller { user_id: "u".into(), project_id: Some("p".into()), ..Caller::default() };
        let check = |read: &str, write: &str, caller: Option<&Caller>, want: [bool; 3]| {
            let container = container(read, write);
            let found = [Wish::List, Wish::Read, Wish::Write]
                .map(|wish| permits(&container, Visitor { caller, ..Visitor::default() }, wish));
            assert_eq!(found, want, "{read} {write} {}", caller.is_some());
            let ignoring = Visitor { caller, is_public_ignored: true, ..Visitor::default() };
            assert!(!permits(&container, ignoring, Wish::Read), "{read}");
        };
        check("", "", None, [false; 3]);
        check("", "", Some(&signed), [false; 3]);
        check(".r:*,.rlistings", "", None, [true, true, false]);
        check(".r:*", "", Some(&signed), [false, true, false]);
        check(".r:*,.rlistings", "*:*", None, [true, true, false]);
        check(".r:*,.rlistings", "*:*", Some(&signed), [true; 3]);
        check("*:*", "", None, [false; 3]);
        check("*:*", "", Some(&signed), [true, true, false]);
        assert_eq!(public_grants(&container("*:*,.r:*", "*:*"), true).len(), 3);
    }
}
