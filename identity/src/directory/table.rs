//! The records of all kinds in memory, by id and by name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use anello_base::Timestamp;

use crate::model::{
    AccessRule, ApplicationCredential, Credential, Domain, DomainConfig, Endpoint, EndpointFilter, EndpointGroup,
    Failure, Grant, Group, Implication, Kept, Limit, Membership, Policy, PolicyAssociation, Project, Region,
    RegisteredLimit, Revocation, Role, Service, Trust, User,
};
use crate::records::Version;

/// Everything that identity knows.
#[derive(Default)]
pub(crate) struct View {
    /// Domains.
    pub(crate) domains: Table<Domain>,
    /// Projects.
    pub(crate) projects: Table<Project>,
    /// Users.
    pub(crate) users: Table<User>,
    /// Groups.
    pub(crate) groups: Table<Group>,
    /// Users in groups.
    pub(crate) memberships: Table<Membership>,
    /// Roles.
    pub(crate) roles: Table<Role>,
    /// Roles implied by roles.
    pub(crate) implications: Table<Implication>,
    /// Roles held.
    pub(crate) grants: Table<Grant>,
    /// Services.
    pub(crate) services: Table<Service>,
    /// Endpoints.
    pub(crate) endpoints: Table<Endpoint>,
    /// Regions.
    pub(crate) regions: Table<Region>,
    /// Credentials.
    pub(crate) credentials: Table<Credential>,
    /// Application credentials.
    pub(crate) application_credentials: Table<ApplicationCredential>,
    /// Trusts.
    pub(crate) trusts: Table<Trust>,
    /// Access rules.
    pub(crate) access_rules: Table<AccessRule>,
    /// Registered limits.
    pub(crate) registered_limits: Table<RegisteredLimit>,
    /// Limits.
    pub(crate) limits: Table<Limit>,
    /// Policies.
    pub(crate) policies: Table<Policy>,
    /// What policies are for.
    pub(crate) policy_associations: Table<PolicyAssociation>,
    /// Endpoint groups.
    pub(crate) endpoint_groups: Table<EndpointGroup>,
    /// Endpoints of projects.
    pub(crate) endpoint_filters: Table<EndpointFilter>,
    /// Configurations of domains.
    pub(crate) domain_configs: Table<DomainConfig>,
    /// Failed log-ins.
    pub(crate) failures: Table<Failure>,
    /// Revocations.
    pub(crate) revocations: Table<Revocation>,
}

impl View {
    /// A project, or the one that acts as the domain of this id.
    pub(crate) fn project(&self, id: &str) -> Option<Arc<Project>> {
        let acting = || self.domains.get(id).map(|domain| Arc::new(Project::acting_as(domain)));
        self.projects.get(id).cloned().or_else(acting)
    }
}

/// A record as it stands.
pub(super) struct Row<T> {
    pub(super) record: Arc<T>,
    pub(super) version: Version,
}

impl<T> Row<T> {
    /// Whether another source keeps the record.
    pub(super) fn is_foreign(&self) -> bool {
        self.version.etag == FOREIGN
    }
}

/// In the place of a tag: the record is no record of ours. No MD5 looks like it.
const FOREIGN: &str = "foreign";

/// The records of one kind.
pub(crate) struct Table<T> {
    rows: BTreeMap<String, Row<T>>,
    ids_by_name: HashMap<(String, String), String>,
    /// Ids behind the second ids of those that have one.
    second_ids: BTreeSet<(String, String)>,
    /// Versions up to these are deleted: what a slow reader brings later is not shown again.
    deleted: HashMap<String, Timestamp>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            ids_by_name: HashMap::new(),
            second_ids: BTreeSet::new(),
            deleted: HashMap::new(),
        }
    }
}

impl<T: Kept> Table<T> {
    /// A record by its id.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<T>> {
        self.rows.get(id).map(|row| &row.record)
    }

    /// A record by the scope and name that only it has.
    pub(crate) fn by_name(&self, scope: &str, name: &str) -> Option<&Arc<T>> {
        self.get(self.ids_by_name.get(&(scope.to_owned(), name.to_owned()))?)
    }

    /// The first of the records with this second id.
    pub(crate) fn by_second_id(&self, second: &str) -> Option<&Arc<T>> {
        let (found, id) = self.second_ids.range((second.to_owned(), String::new())..).next()?;
        self.get(id).filter(|_| found == second)
    }

    /// The records of a name in all of these scopes, sorted by id.
    pub(crate) fn named<'a>(&'a self, scopes: impl Iterator<Item = &'a str>, name: &str) -> Vec<(&'a str, &'a Arc<T>)> {
        let ids = scopes.filter_map(|scope| self.ids_by_name.get(&(scope.to_owned(), name.to_owned())));
        let mut found: Vec<_> = ids.filter_map(|id| Some((id.as_str(), self.get(id)?))).collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found
    }

    /// All records, sorted by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.rows.values().map(|row| &row.record)
    }

    /// All records with their ids, sorted by id.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, &Arc<T>)> {
        self.rows.iter().map(|(id, row)| (id.as_str(), &row.record))
    }

    /// The records whose ids begin with `prefix`.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &str) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let prefix = prefix.to_owned();
        let from = self.rows.range(prefix.clone()..);
        from.take_while(move |(id, _)| id.starts_with(&prefix)).map(|(_, row)| &row.record)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn row(&self, id: &str) -> Option<&Row<T>> {
        self.rows.get(id)
    }

    pub(super) fn versions(&self) -> impl Iterator<Item = (&str, &Version)> {
        self.rows.iter().filter(|(_, row)| !row.is_foreign()).map(|(id, row)| (id.as_str(), &row.version))
    }

    /// The first `count` records of ours behind an id.
    pub(super) fn own_after(&self, id: &str, count: usize) -> Vec<(String, Arc<T>, Version)> {
        let behind = self.rows.range::<str, _>((Bound::Excluded(id), Bound::Unbounded));
        let own = behind.filter(|(_, row)| !row.is_foreign()).take(count);
        own.map(|(id, row)| (id.clone(), Arc::clone(&row.record), row.version.clone())).collect()
    }

    /// Shows a record, unless a later version is shown or deleted already.
    pub(super) fn put(&mut self, record: Arc<T>, version: Version) {
        let id = record.id();
        let is_old = |later: Timestamp| later >= version.timestamp;
        if self.deleted.get(&id).copied().is_some_and(is_old) {
            return;
        }
        if let Some(row) = self.rows.get(&id) {
            if is_old(row.version.timestamp) {
                return;
            }
            self.forget_names(&id);
        }
        self.note_names(&id, &*record);
        self.rows.insert(id, Row { record, version });
    }

    /// Shows versions up to `deleted` of a record no more.
    pub(super) fn remove(&mut self, id: &str, deleted: Timestamp) {
        if self.rows.get(id).is_some_and(|row| row.version.timestamp <= deleted) {
            self.forget_names(id);
            self.rows.remove(id);
        }
        let until = self.deleted.entry(id.to_owned()).or_default();
        *until = deleted.max(*until);
    }

    /// Shows records of another source in the place of those of such a source that `is_own` picks; tells whether
    /// anything changed. A record of ours is never replaced.
    pub(super) fn replace_foreign(&mut self, records: Vec<T>, is_own: impl Fn(&T) -> bool) -> bool
    where
        T: PartialEq,
    {
        let new: HashSet<String> = records.iter().map(Kept::id).collect();
        let is_gone = |(id, row): &(&String, &Row<T>)| row.is_foreign() && is_own(&row.record) && !new.contains(*id);
        let gone: Vec<String> = self.rows.iter().filter(is_gone).map(|(id, _)| id.clone()).collect();
        let mut is_changed = !gone.is_empty();
        for id in gone {
            self.forget_names(&id);
            self.rows.remove(&id);
        }
        for record in records {
            let id = record.id();
            if self.rows.get(&id).is_some_and(|row| !row.is_foreign() || *row.record == record) {
                continue;
            }
            self.forget_names(&id);
            self.note_names(&id, &record);
            let version = Version { timestamp: Timestamp::ZERO, etag: FOREIGN.to_owned() };
            self.rows.insert(id, Row { record: Arc::new(record), version });
            is_changed = true;
        }
        is_changed
    }

    fn note_names(&mut self, id: &str, record: &T) {
        if let Some((scope, name)) = record.unique_name() {
            self.ids_by_name.insert((scope, name.to_owned()), id.to_owned());
        }
        self.second_ids.extend(record.second_id().map(|second| (second.to_owned(), id.to_owned())));
    }

    fn forget_names(&mut self, id: &str) {
        let Some(row) = self.rows.get(id) else { return };
        if let Some(second) = row.record.second_id() {
            self.second_ids.remove(&(second.to_owned(), id.to_owned()));
        }
        if let Some(name) = row.record.unique_name().map(|(scope, name)| (scope, name.to_owned()))
            && self.ids_by_name.get(&name).is_some_and(|owner| owner == id)
        {
            self.ids_by_name.remove(&name);
        }
    }

    /// What is remembered of deletions, to be dropped once no reader from before them is left.
    pub(super) fn deletions(&self) -> Vec<String> {
        self.deleted.keys().cloned().collect()
    }

    pub(super) fn drop_deletions(&mut self, ids: &[String]) {
        for id in ids {
            self.deleted.remove(id);
        }
    }
}
