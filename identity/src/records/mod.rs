//! Where identity's records are kept: the seam between the room and its back ends, objects or a SQL database.
//!
//! A record is a few hundred bytes of JSON under a kind and an id. All that a back end must give is: each
//! write is durable before it returns, and a write with an expectation is one step with its check.

mod domains;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod memory;
mod objects;
mod snapshot;
mod sql;

use anello_base::Timestamp;
use anello_storage::store::ContainerState;
use bytes::Bytes;
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;
use md5::{Digest, Md5};

pub(crate) use domains::{DomainRecords, PLACED, domain_of};
pub use memory::MemoryRecords;
pub use objects::ObjectRecords;
pub use snapshot::{Copied, Snapshots};
pub use sql::SqlRecords;

use crate::error::Result;

/// Kinds of records. Each has a container of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Domains.
    Domain,
    /// Projects.
    Project,
    /// Users.
    User,
    /// Groups.
    Group,
    /// Who is in which group.
    Membership,
    /// Roles.
    Role,
    /// Which role implies which.
    Implication,
    /// Who holds which role where.
    Grant,
    /// Services of the catalog.
    Service,
    /// Endpoints of the catalog.
    Endpoint,
    /// Regions of the catalog.
    Region,
    /// EC2 keys and other credentials, sealed.
    Credential,
    /// Application credentials.
    ApplicationCredential,
    /// Roles that one user lends another.
    Trust,
    /// Requests that an application credential may make.
    AccessRule,
    /// What everybody may have of a resource.
    RegisteredLimit,
    /// What one project or domain may have of a resource.
    Limit,
    /// Policies that services fetch.
    Policy,
    /// Which policy is for what.
    PolicyAssociation,
    /// Endpoints chosen by what they are.
    EndpointGroup,
    /// Which endpoints a project sees.
    EndpointFilter,
    /// Where a domain's users come from.
    DomainConfig,
    /// Failed log-ins.
    Failure,
    /// What tokens are revoked.
    Revocation,
    /// Key repositories, sealed.
    Keys,
    /// Claims on names, see [`crate::directory`].
    Name,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 26] = [
        Self::Domain,
        Self::Project,
        Self::User,
        Self::Group,
        Self::Membership,
        Self::Role,
        Self::Implication,
        Self::Grant,
        Self::Service,
        Self::Endpoint,
        Self::Region,
        Self::Credential,
        Self::ApplicationCredential,
        Self::Trust,
        Self::AccessRule,
        Self::RegisteredLimit,
        Self::Limit,
        Self::Policy,
        Self::PolicyAssociation,
        Self::EndpointGroup,
        Self::EndpointFilter,
        Self::DomainConfig,
        Self::Failure,
        Self::Revocation,
        Self::Keys,
        Self::Name,
    ];

    /// The container that holds it.
    pub fn container(self) -> &'static str {
        match self {
            Self::Domain => "domains",
            Self::Project => "projects",
            Self::User => "users",
            Self::Group => "groups",
            Self::Membership => "memberships",
            Self::Role => "roles",
            Self::Implication => "implications",
            Self::Grant => "grants",
            Self::Service => "services",
            Self::Endpoint => "endpoints",
            Self::Region => "regions",
            Self::Credential => "credentials",
            Self::ApplicationCredential => "application_credentials",
            Self::Trust => "trusts",
            Self::AccessRule => "access_rules",
            Self::RegisteredLimit => "registered_limits",
            Self::Limit => "limits",
            Self::Policy => "policies",
            Self::PolicyAssociation => "policy_associations",
            Self::EndpointGroup => "endpoint_groups",
            Self::EndpointFilter => "endpoint_filters",
            Self::DomainConfig => "domain_configs",
            Self::Failure => "failures",
            Self::Revocation => "revocations",
            Self::Keys => "keys",
            Self::Name => "names",
        }
    }

    /// What people call one of them.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Project => "project",
            Self::User => "user",
            Self::Group => "group",
            Self::Membership => "user in group",
            Self::Role => "role",
            Self::Implication => "role inference",
            Self::Grant => "role assignment",
            Self::Service => "service",
            Self::Endpoint => "endpoint",
            Self::Region => "region",
            Self::Credential => "credential",
            Self::ApplicationCredential => "application credential",
            Self::Trust => "trust",
            Self::AccessRule => "access rule",
            Self::RegisteredLimit => "registered limit",
            Self::Limit => "limit",
            Self::Policy => "policy",
            Self::PolicyAssociation => "policy association",
            Self::EndpointGroup => "endpoint group",
            Self::EndpointFilter => "endpoint association",
            Self::DomainConfig => "domain configuration",
            Self::Failure => "failed log-in",
            Self::Revocation => "revocation event",
            Self::Keys => "key repository",
            Self::Name => "name",
        }
    }
}

/// One state of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Later versions have later timestamps.
    pub timestamp: Timestamp,
    /// [`etag`] of the data.
    pub etag: String,
}

/// What a write expects to find; otherwise it fails with [`crate::Error::Changed`] and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect<'a> {
    /// No matter what.
    Anything,
    /// Nothing there.
    Absent,
    /// The data with this [`etag`].
    Etag(&'a str),
}

/// The tag of a record's data: its MD5 in lower-case hex, so that it is known without asking the back end.
pub fn etag(data: &[u8]) -> String {
    hex::encode(Md5::digest(data))
}

/// How a kind's records stood at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As the store's replicas have them.
    Objects(ContainerState),
    /// How often they were written.
    Writes(u64),
    /// Each for itself, where they are in several places; `None` for one that does not answer.
    Several(Vec<Option<State>>),
}

impl State {
    /// Whether nothing has changed since `earlier`.
    pub fn is_still(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Objects(now), Self::Objects(earlier)) => now.is_still(earlier),
            (Self::Writes(now), Self::Writes(earlier)) => now == earlier,
            (Self::Several(now), Self::Several(earlier)) => {
                let is_still = |(now, earlier): (&Option<Self>, &Option<Self>)| match (now, earlier) {
                    (Some(now), Some(earlier)) => now.is_still(earlier),
                    // Nothing is learned of it, so that what is known stays.
                    (None, None) => true,
                    _ => false,
                };
                now.len() == earlier.len() && now.iter().zip(earlier).all(is_still)
            }
            _ => false,
        }
    }
}

/// A back end.
pub trait Records: Send + Sync + 'static {
    /// Makes what the kinds need (containers, tables). Idempotent.
    fn prepare(&self) -> BoxFuture<'_, Result<()>>;

    /// Every record of a kind, with its version, sorted by id.
    fn versions(&self, kind: Kind) -> BoxFuture<'_, Result<Vec<(String, Version)>>>;

    /// A record.
    fn get<'a>(&'a self, kind: Kind, id: &'a str) -> BoxFuture<'a, Result<Option<(Version, Bytes)>>>;

    /// Writes a record; when it returns, the record is durable.
    fn put<'a>(&'a self, kind: Kind, id: &'a str, data: Bytes, expect: Expect<'a>) -> BoxFuture<'a, Result<Version>>;

    /// Deletes a record; tells which version was deleted, `None` where nothing was there.
    fn delete<'a>(&'a self, kind: Kind, id: &'a str, expect: Expect<'a>) -> BoxFuture<'a, Result<Option<Timestamp>>>;

    /// What shows whether a kind's records have changed, without listing them; `None` where the back end can't tell.
    fn state(&self, _kind: Kind) -> BoxFuture<'_, Result<Option<State>>> {
        Box::pin(ready(Ok(None)))
    }

    /// Copies of a kind's records, as many at a time as are cheap to read together. What they are worth says
    /// [`Copied::is`]; an error ends them, and says nothing of the records.
    fn copies(&self, kind: Kind) -> BoxStream<'_, Result<Vec<Copied>>>;

    /// Whether a record belongs into the copies.
    fn is_copied(&self, _kind: Kind, _data: &[u8]) -> bool {
        true
    }

    /// Where the copies come from, if somebody has to write them.
    fn snapshots(&self) -> Option<&dyn Snapshots> {
        None
    }
}
