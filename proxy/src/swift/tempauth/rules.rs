//! What tempauth's users may do.

use super::{AccountAcl, Member, TempAuth};
use crate::acl::Acl;
use crate::swift::policy::Rule;

/// The group of those who own their account.
pub(super) const ADMIN: &str = ".admin";

/// The group of those who own every account.
const RESELLER_ADMIN: &str = ".reseller_admin";

/// The group of those who may read everything.
const RESELLER_READER: &str = ".reseller_reader";

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::swift) struct Asked<'a> {
    /// What it takes.
    pub(in crate::swift) rule: Rule,
    /// The account that it is in.
    pub(in crate::swift) account: &'a str,
    /// Whether it is about a container, or an object in one.
    pub(in crate::swift) is_in_container: bool,
    /// Whether it makes or deletes the account itself.
    pub(in crate::swift) is_management: bool,
}

/// How it is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::swift) enum Grant {
    /// As to somebody.
    Guest,
    /// As to the account's owner.
    Owner,
    /// As to the owner of all accounts.
    Reseller,
}

impl Asked<'_> {
    fn is_read(&self) -> bool {
        matches!(self.rule, Rule::AccountRead | Rule::ContainerRead | Rule::ObjectRead | Rule::VersionRead)
    }
}

impl TempAuth {
    /// What his groups alone let a user do.
    pub(in crate::swift) fn by_group(&self, member: &Member, asked: Asked<'_>) -> Option<Grant> {
        let prefix = self.prefix_of(asked.account)?;
        // The system's own have a dot behind the prefix.
        let is_reached = asked.account.len() > prefix.len() && !asked.account[prefix.len()..].starts_with('.');
        if is_reached && member.is_of(RESELLER_ADMIN) {
            return Some(Grant::Reseller);
        }
        if is_reached && asked.is_read() && member.is_of(RESELLER_READER) {
            return Some(Grant::Guest);
        }
        let has_all = self.required_group(prefix).is_none_or(|group| member.is_of(group));
        let is_own = member.is_of(asked.account) && has_all && !asked.is_management;
        (is_own && asked.rule != Rule::ResellerAdmin).then_some(Grant::Owner)
    }
}

/// Whether a container's list names him.
pub(in crate::swift) fn by_list(member: &Member, acl: &Acl) -> bool {
    member.groups.iter().any(|group| acl.names_group(group))
}

/// What an account's list lets a user do.
pub(in crate::swift) fn by_account(member: &Member, acl: &AccountAcl, asked: Asked<'_>) -> Option<Grant> {
    let names = |groups: &[String]| groups.iter().any(|group| member.is_of(group));
    if asked.rule == Rule::ResellerAdmin {
        return None;
    }
    if names(&acl.admin) {
        return Some(Grant::Owner);
    }
    let may_write = names(&acl.read_write) && (asked.is_in_container || asked.is_read());
    (may_write || (names(&acl.read_only) && asked.is_read())).then_some(Grant::Guest)
}
