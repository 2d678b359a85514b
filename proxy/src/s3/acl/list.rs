//! Access lists as S3 has them, of buckets and of objects: who may do what, how a list is kept, and what it permits.
//! `docs/formats/access-lists.md` has the stored form.

use anello_api::identity::Caller;
use s3s::{S3ErrorCode, S3Result, dto, s3_error};
use serde::{Deserialize, Serialize};

use crate::s3::limits::GRANTS_MAX;

const EVERYBODY: &str = "http://acs.amazonaws.com/groups/global/AllUsers";
const SIGNED: &str = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers";
const LOG_DELIVERY: &str = "http://acs.amazonaws.com/groups/s3/LogDelivery";

/// What may be permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::s3) enum Permission {
    FullControl,
    Read,
    ReadAcp,
    Write,
    WriteAcp,
}

impl Permission {
    pub(super) const ALL: [Self; 5] = [Self::FullControl, Self::Read, Self::ReadAcp, Self::Write, Self::WriteAcp];

    fn name(self) -> &'static str {
        match self {
            Self::FullControl => dto::Permission::FULL_CONTROL,
            Self::Read => dto::Permission::READ,
            Self::ReadAcp => dto::Permission::READ_ACP,
            Self::Write => dto::Permission::WRITE,
            Self::WriteAcp => dto::Permission::WRITE_ACP,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }
}

/// To whom something is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::s3) enum Grantee {
    /// A project, by its id.
    Project(String),
    Everybody,
    /// Everybody who signs.
    Signed,
    /// Who writes access logs.
    LogDelivery,
}

impl Grantee {
    fn is_public(&self) -> bool {
        matches!(self, Self::Everybody | Self::Signed)
    }

    fn of_uri(uri: &str) -> S3Result<Self> {
        match uri {
            EVERYBODY => Ok(Self::Everybody),
            SIGNED => Ok(Self::Signed),
            LOG_DELIVERY => Ok(Self::LogDelivery),
            _ => Err(s3_error!(InvalidArgument, "Invalid group uri")),
        }
    }

    fn of_id(id: &str) -> S3Result<Self> {
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if is_id { Ok(Self::Project(id.to_owned())) } else { Err(s3_error!(InvalidArgument, "Invalid id")) }
    }

    fn text(&self) -> String {
        match self {
            Self::Project(id) => format!("id:{id}"),
            Self::Everybody => "all".to_owned(),
            Self::Signed => "signed".to_owned(),
            Self::LogDelivery => "log-delivery".to_owned(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self::Everybody),
            "signed" => Some(Self::Signed),
            "log-delivery" => Some(Self::LogDelivery),
            _ => text.strip_prefix("id:").map(|id| Self::Project(id.to_owned())),
        }
    }

    fn shown(&self) -> dto::Grantee {
        let of = |kind: &'static str, id: Option<&String>, uri: Option<&str>| dto::Grantee {
            type_: dto::Type::from_static(kind),
            id: id.cloned(),
            display_name: id.cloned(),
            uri: uri.map(str::to_owned),
            email_address: None,
        };
        match self {
            Self::Project(id) => of(dto::Type::CANONICAL_USER, Some(id), None),
            Self::Everybody => of(dto::Type::GROUP, None, Some(EVERYBODY)),
            Self::Signed => of(dto::Type::GROUP, None, Some(SIGNED)),
            Self::LogDelivery => of(dto::Type::GROUP, None, Some(LOG_DELIVERY)),
        }
    }
}

/// A permission of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::s3) struct Grant {
    pub(super) to: Grantee,
    pub(super) permission: Permission,
}

impl Grant {
    pub(super) fn new(to: Grantee, permission: Permission) -> Self {
        Self { to, permission }
    }

    fn shown(&self) -> dto::Grant {
        let permission = Some(dto::Permission::from_static(self.permission.name()));
        dto::Grant { grantee: Some(self.to.shown()), permission }
    }
}

/// Grants as S3 shows them: groups first, and of each what is least first.
pub(super) fn shown(mut grants: Vec<Grant>) -> dto::Grants {
    use Permission::{FullControl, Read, ReadAcp, Write, WriteAcp};
    let rank = |permission| [Read, Write, ReadAcp, WriteAcp, FullControl].iter().position(|it| *it == permission);
    grants.sort_by_key(|grant| (matches!(grant.to, Grantee::Project(_)), rank(grant.permission)));
    grants.iter().map(Grant::shown).collect()
}

/// A bucket's or an object's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::s3) struct List {
    /// The project whose bucket or object it is.
    pub(super) owner: String,
    pub(super) grants: Vec<Grant>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    owner: String,
    grants: Vec<(String, String)>,
}

impl List {
    /// What there is where nobody said anything.
    pub(super) fn private(owner: &str) -> Self {
        let all = Grant::new(Grantee::Project(owner.to_owned()), Permission::FullControl);
        Self { owner: owner.to_owned(), grants: vec![all] }
    }

    /// Reads a list as it is stored; `None` where it makes no sense.
    pub(in crate::s3) fn parse(text: &str) -> Option<Self> {
        let Stored { owner, grants } = serde_json::from_str(text).ok()?;
        let grant = |(to, permission): (String, String)| {
            Some(Grant::new(Grantee::parse(&to)?, Permission::parse(&permission)?))
        };
        Some(Self { owner, grants: grants.into_iter().map(grant).collect::<Option<_>>()? })
    }

    pub(in crate::s3) fn text(&self) -> String {
        let grant = |grant: &Grant| (grant.to.text(), grant.permission.name().to_owned());
        let stored = Stored { owner: self.owner.clone(), grants: self.grants.iter().map(grant).collect() };
        serde_json::to_string(&stored).expect("strings are JSON")
    }

    /// A list that has a name of its own; `owner` is the bucket's or the object's.
    pub(super) fn canned(name: &str, owner: &str, bucket_owner: &str, is_bucket: bool) -> S3Result<Self> {
        use Permission::{FullControl, Read, ReadAcp, Write};
        let of_bucket = |permission| (Grantee::Project(bucket_owner.to_owned()), permission);
        let more = match name {
            "private" => vec![],
            "public-read" => vec![(Grantee::Everybody, Read)],
            "public-read-write" => vec![(Grantee::Everybody, Read), (Grantee::Everybody, Write)],
            "authenticated-read" => vec![(Grantee::Signed, Read)],
            "log-delivery-write" if is_bucket => vec![(Grantee::LogDelivery, Write), (Grantee::LogDelivery, ReadAcp)],
            "bucket-owner-read" | "bucket-owner-full-control" if owner == bucket_owner => vec![],
            "bucket-owner-read" if !is_bucket => vec![of_bucket(Read)],
            "bucket-owner-full-control" if !is_bucket => vec![of_bucket(FullControl)],
            _ => return Err(s3_error!(InvalidArgument, "The canned ACL {name:?} is not known.")),
        };
        let mut list = Self::private(owner);
        list.grants.extend(more.into_iter().map(|(to, permission)| Grant::new(to, permission)));
        Ok(list)
    }

    /// What the headers `x-amz-grant-…` give, in the order of [`Permission::ALL`].
    pub(super) fn of_headers(headers: &[Option<String>; 5], owner: &str) -> S3Result<Self> {
        let mut grants = Vec::new();
        for (permission, header) in Permission::ALL.into_iter().zip(headers) {
            for part in header.iter().flat_map(|text| text.split(',')) {
                let (kind, value) = part.split_once('=').ok_or_else(malformed_header)?;
                let to = match (kind.trim(), value.trim().trim_matches('"')) {
                    ("id", id) => Grantee::of_id(id)?,
                    ("uri", uri) => Grantee::of_uri(uri)?,
                    ("emailAddress", _) => return Err(nobody_by_email()),
                    _ => return Err(malformed_header()),
                };
                grants.push(Grant::new(to, permission));
            }
        }
        Self { owner: owner.to_owned(), grants }.checked()
    }

    /// A list in XML. It may not name another owner.
    pub(super) fn of_policy(policy: &dto::AccessControlPolicy, owner: &str) -> S3Result<Self> {
        let said = policy.owner.as_ref().and_then(|owner| owner.id.as_deref()).ok_or(S3ErrorCode::MalformedACLError)?;
        if said != owner {
            return Err(S3ErrorCode::AccessDenied.into());
        }
        let mut grants = Vec::new();
        for grant in policy.grants.iter().flatten() {
            let (Some(grantee), Some(permission)) = (&grant.grantee, &grant.permission) else {
                return Err(S3ErrorCode::MalformedACLError.into());
            };
            let to = match (&grantee.id, &grantee.uri, &grantee.email_address) {
                (Some(id), None, None) => Grantee::of_id(id)?,
                (None, Some(uri), None) => Grantee::of_uri(uri)?,
                (None, None, Some(_)) => return Err(nobody_by_email()),
                _ => return Err(S3ErrorCode::MalformedACLError.into()),
            };
            let permission = Permission::parse(permission.as_str()).ok_or(S3ErrorCode::MalformedACLError)?;
            grants.push(Grant::new(to, permission));
        }
        Self { owner: owner.to_owned(), grants }.checked()
    }

    fn checked(self) -> S3Result<Self> {
        match self.grants.len() > GRANTS_MAX {
            true => Err(s3_error!(MalformedACLError, "An access list has {GRANTS_MAX} grants at most.")),
            false => Ok(self),
        }
    }

    /// The owner as S3 shows it.
    pub(in crate::s3) fn shown_owner(&self) -> dto::Owner {
        dto::Owner { display_name: Some(self.owner.clone()), id: Some(self.owner.clone()) }
    }

    /// Whether anything is given to the public.
    pub(in crate::s3) fn is_public(&self) -> bool {
        self.grants.iter().any(|grant| grant.to.is_public())
    }

    /// Whether nothing is given to anybody but the owner.
    pub(super) fn is_private(&self) -> bool {
        self.grants.iter().all(|grant| matches!(&grant.to, Grantee::Project(id) if *id == self.owner))
    }

    /// Whether somebody may do something. `has_role` tells whether his role in his own project is one for it; what is
    /// given to a project counts for those alone. The owner may always see the list and change it.
    pub(in crate::s3) fn permits(
        &self,
        caller: Option<&Caller>,
        has_role: bool,
        wanted: Permission,
        is_public_ignored: bool,
    ) -> bool {
        let project = caller.and_then(|caller| caller.project_id.as_deref()).filter(|_| has_role);
        let is_for = |to: &Grantee| match to {
            Grantee::Project(id) => project == Some(id.as_str()),
            Grantee::Everybody => !is_public_ignored,
            Grantee::Signed => !is_public_ignored && caller.is_some(),
            Grantee::LogDelivery => false,
        };
        let is_of_list = matches!(wanted, Permission::ReadAcp | Permission::WriteAcp);
        let gives = |permission| permission == wanted || permission == Permission::FullControl;
        (is_of_list && project == Some(self.owner.as_str()))
            || self.grants.iter().any(|grant| gives(grant.permission) && is_for(&grant.to))
    }
}

fn malformed_header() -> s3s::S3Error {
    s3_error!(InvalidArgument, "A grant is to be of the form id=\"…\" or uri=\"…\".")
}

/// Projects have no addresses.
fn nobody_by_email() -> s3s::S3Error {
    s3_error!(UnresolvableGrantByEmailAddress, "The email address you provided does not match any account on record.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(project: &str) -> Caller {
        Caller { user_id: "u".into(), project_id: Some(project.into()), ..Caller::default() }
    }

    #[test]
    fn canned_lists_give_what_they_say_and_no_more() {
        let (owner, other) = (caller("sea"), caller("land"));
        let check = |name: &str, caller: Option<&Caller>, want: [bool; 4]| {
            let list = List::canned(name, "sea", "sea", true).expect(name);
            let wanted = [Permission::Read, Permission::Write, Permission::ReadAcp, Permission::WriteAcp];
            assert_eq!(wanted.map(|wanted| list.permits(caller, true, wanted, false)), want, "{name}");
            assert_eq!(List::parse(&list.text()), Some(list.clone()));
            if caller.is_none_or(|caller| caller.project_id.as_deref() != Some("sea")) {
                assert!(!list.permits(caller, true, Permission::Read, true), "{name}: public access is ignored");
            }
        };
        check("private", None, [false; 4]);
        check("private", Some(&other), [false; 4]);
        check("private", Some(&owner), [true; 4]);
        check("public-read", None, [true, false, false, false]);
        check("public-read-write", None, [true, true, false, false]);
        check("authenticated-read", None, [false; 4]);
        check("authenticated-read", Some(&other), [true, false, false, false]);
        check("log-delivery-write", Some(&other), [false; 4]);
        assert!(List::canned("aws-exec-read", "sea", "sea", true).is_err());
        assert!(List::canned("log-delivery-write", "sea", "sea", false).is_err());
    }

    /// Without this a reader of a project could write wherever the project may.
    #[test]
    fn what_is_given_to_a_project_is_for_those_who_have_the_role() {
        let headers = [None, Some("id=\"land\"".into()), None, Some("id=land, uri=\"x\"".into()), None];
        assert!(List::of_headers(&headers, "sea").is_err());
        let headers = [None, None, None, Some("id=land,id=\"lake\"".into()), None];
        let list = List::of_headers(&headers, "sea").expect("a list");
        assert!(list.permits(Some(&caller("lake")), true, Permission::Write, true));
        assert!(!list.permits(Some(&caller("lake")), false, Permission::Write, true));
        assert!(!list.permits(Some(&caller("sea")), true, Permission::Write, true), "the owner gave it away");
        assert!(list.permits(Some(&caller("sea")), true, Permission::WriteAcp, true));
    }
}
