//! Which domains come from directories, and how the view follows them. A directory that does not answer leaves the
//! view as it was; log-ins of its users then wait for it and are told to come again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use ldap3::{SearchEntry, ldap_escape};

use super::settings::Groups;
use super::{Client, Settings, entry};
use crate::IdentityRoom;
use crate::error::{Error, Result};
use crate::limits::{DIRECTORY_READ_INTERVAL, DIRECTORY_REST};
use crate::model::{Domain, DomainConfig, Group, Membership, User};

/// Where a domain's users come from, where that is not the records.
#[derive(Clone)]
pub(crate) enum Source {
    Ldap(Arc<Client>),
    /// What the configuration names is not offered: nobody of the domain gets in, and nothing in it is changed.
    Unknown(String),
}

/// The domains that do not come from the records.
#[derive(Default)]
pub(crate) struct Sources {
    by_domain: RwLock<HashMap<String, Source>>,
}

impl Sources {
    /// Where a domain's users come from; `None` for the records.
    pub(crate) fn of(&self, domain_id: &str) -> Option<Source> {
        self.by_domain.read().unwrap_or_else(PoisonError::into_inner).get(domain_id).cloned()
    }

    fn all(&self) -> Vec<(String, Source)> {
        let known = self.by_domain.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(id, source)| (id.clone(), source.clone())).collect()
    }
}

/// What is read of a directory.
#[derive(Default)]
struct Read {
    users: Vec<User>,
    groups: Vec<Group>,
    memberships: Vec<Membership>,
}

impl IdentityRoom {
    /// Follows the configurations of domains. A directory whose settings stayed keeps its connection. Tells whether
    /// records are elsewhere now, so that they are to be read again.
    pub(crate) fn follow_configurations(&self) -> bool {
        let configurations: Vec<Arc<DomainConfig>> = self.directory.view().domain_configs.iter().cloned().collect();
        let (mut new, mut databases, mut moving) = (HashMap::new(), BTreeMap::new(), BTreeSet::new());
        for configuration in configurations {
            moving.extend(configuration.moving.as_ref().map(|_| configuration.domain_id.clone()));
            let groups = self.options_with_secrets(&configuration);
            let driver = groups.get("identity").and_then(|group| group.get("driver")).and_then(|it| it.as_str());
            let source = match driver {
                Some("sql") => match self.database(&groups) {
                    Ok(url) => {
                        databases.extend(url.map(|url| (configuration.domain_id.clone(), url)));
                        continue;
                    }
                    Err(unknown) => Source::Unknown(unknown),
                },
                None | Some("objects") => continue,
                Some("ldap") => Source::Ldap(self.client(&configuration.domain_id, Settings::new(&groups))),
                Some(other) => Source::Unknown(other.to_owned()),
            };
            new.insert(configuration.domain_id.clone(), source);
        }
        let gone: Vec<String> =
            self.sources.all().into_iter().map(|(id, _)| id).filter(|id| !new.contains_key(id)).collect();
        *self.sources.by_domain.write().unwrap_or_else(PoisonError::into_inner) = new;
        for domain_id in gone {
            self.show_read(&domain_id, Read::default());
        }
        self.records.set_moving(moving);
        self.records.follow(&databases)
    }

    /// The address of the database that a domain's options name; `None` where its records are with all others. An
    /// error, in words, for one that the server's configuration has not.
    pub(crate) fn database(&self, groups: &Groups) -> Result<Option<String>, String> {
        let name = groups.get("identity").and_then(|group| group.get("database")).and_then(|it| it.as_str());
        let url = |name: &str| self.config.databases.get(name).cloned().ok_or_else(|| format!("sql, database {name},"));
        name.map(url).transpose()
    }

    fn client(&self, domain_id: &str, settings: Settings) -> Arc<Client> {
        match self.sources.of(domain_id) {
            Some(Source::Ldap(client)) if *client.settings() == settings => client,
            _ => Arc::new(Client::new(settings)),
        }
    }

    /// A domain's options, with those that are never shown.
    pub(crate) fn options_with_secrets(&self, configuration: &DomainConfig) -> Groups {
        let mut groups = configuration.groups.clone();
        let sealed = configuration.sealed_secrets.as_deref();
        let opened = sealed.and_then(|sealed| self.signing_keys.open_sealed(sealed));
        let secrets: Groups = opened.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
        for (group, options) in secrets {
            groups.entry(group).or_default().extend(options);
        }
        groups
    }

    /// 403 for a change of what belongs to a directory, 503 while it is on its way to another back end. Before anything
    /// that goes with it is changed.
    pub(crate) fn check_writable(&self, domain_id: &str) -> Result<()> {
        self.records.check_settled(domain_id)?;
        match self.sources.of(domain_id) {
            None => Ok(()),
            Some(Source::Ldap(_)) => Err(Error::Forbidden("Users and groups of this domain are read-only.".to_owned())),
            Some(Source::Unknown(driver)) => {
                Err(Error::Forbidden(format!("The identity driver {driver} of this domain is not offered.")))
            }
        }
    }

    /// Follows the configurations of domains, and reads the directories for which it is time.
    pub(crate) async fn follow_directories(&self) {
        if self.follow_configurations()
            && let Err(error) = self.directory.refresh_moved().await
        {
            tracing::warn!(%error, "records of domains that have moved can't be read; it is tried again later");
        }
        self.read_those(Client::is_due).await;
    }

    /// Reads all directories of users now, however lately they were read: [`IdentityRoom::refresh`] does so once in
    /// [`DIRECTORY_READ_INTERVAL`].
    pub async fn read_directories(&self) {
        self.read_those(|_| true).await;
    }

    /// One that fails does not keep the others.
    async fn read_those(&self, is_wanted: impl Fn(&Client) -> bool) {
        for (domain_id, source) in self.sources.all() {
            let Source::Ldap(client) = source else { continue };
            if !is_wanted(&client) {
                continue;
            }
            let read = self.read_directory(&domain_id, &client).await;
            client.rest(if read.is_ok() { DIRECTORY_READ_INTERVAL } else { DIRECTORY_REST });
            if let Err(error) = read {
                tracing::warn!(%error, domain_id, "a directory of users can't be read; it is tried again later");
            }
        }
    }

    async fn read_directory(&self, domain_id: &str, client: &Client) -> Result<()> {
        let settings = client.settings();
        let users = client.search(&settings.tree("user"), settings.scope(), &settings.filter("user", "")).await?;
        let groups = client.search(&settings.tree("group"), settings.scope(), &settings.filter("group", "")).await?;
        let users = users.iter().filter_map(|it| entry::user(it, settings, domain_id)).collect();
        self.show_read(domain_id, read(users, &groups, settings, domain_id));
        Ok(())
    }

    fn show_read(&self, domain_id: &str, read: Read) {
        let view = &self.directory;
        // Groups that are gone, too: who was in them is in them no more.
        let mut groups: HashSet<String> = {
            let view = view.view();
            view.groups.iter().filter(|it| it.domain_id == domain_id).map(|it| it.id.clone()).collect()
        };
        groups.extend(read.groups.iter().map(|it| it.id.clone()));
        view.show_foreign(read.memberships, |it: &Membership| groups.contains(&it.group_id));
        view.show_foreign(read.groups, |group: &Group| group.domain_id == domain_id);
        view.show_foreign(read.users, |user: &User| user.domain_id == domain_id);
    }

    /// Checks a password in the domain's directory, after reading the user and his groups again. `None` where the
    /// directory has no such user.
    pub(crate) async fn bind(&self, domain_id: &str, name: &str, password: &str) -> Result<Option<(Arc<User>, bool)>> {
        let Some(Source::Ldap(client)) = self.sources.of(domain_id) else { return Ok(None) };
        self.directory.get::<Domain>(domain_id).ok_or(Error::Busy)?;
        let settings = client.settings();
        let attribute = settings.text("user_name_attribute").unwrap_or("sn");
        let narrow = format!("({attribute}={})", ldap_escape(name));
        let found = client.search(&settings.tree("user"), settings.scope(), &settings.filter("user", &narrow)).await?;
        // Two of one name are nobody: which of them it is would be a guess.
        let [one] = found.as_slice() else { return Ok(None) };
        let Some(user) = entry::user(one, settings, domain_id) else { return Ok(None) };
        let is_right = client.is_password(&one.dn, password).await?;
        if is_right {
            let member = if settings.flag("group_members_are_ids") {
                let attribute = settings.text("user_id_attribute").unwrap_or("cn");
                one.attrs.get(attribute).and_then(|values| values.first()).cloned().unwrap_or_default()
            } else {
                one.dn.clone()
            };
            let attribute = settings.text("group_member_attribute").unwrap_or("member");
            let narrow = format!("({attribute}={})", ldap_escape(member));
            let filter = settings.filter("group", &narrow);
            let groups = client.search(&settings.tree("group"), settings.scope(), &filter).await?;
            let fresh = read(vec![user.clone()], &groups, settings, domain_id);
            let id = user.id.clone();
            self.directory.show_foreign(fresh.users, |user: &User| user.id == id);
            self.directory.show_foreign(fresh.groups, |_: &Group| false);
            self.directory.show_foreign(fresh.memberships, |it: &Membership| it.user_id == id);
        }
        Ok(Some((Arc::new(user), is_right)))
    }
}

fn read(users: Vec<User>, groups: &[SearchEntry], settings: &Settings, domain_id: &str) -> Read {
    let members = entry::Members::new(&users);
    let (mut known, mut memberships) = (Vec::new(), Vec::new());
    for entry in groups {
        let Some((group, named)) = entry::group(entry, settings, domain_id) else { continue };
        let ids = named.iter().filter_map(|member| members.id(member, settings, domain_id));
        memberships.extend(ids.map(|user_id| Membership { user_id, group_id: group.id.clone() }));
        known.push(group);
    }
    Read { users, groups: known, memberships }
}
