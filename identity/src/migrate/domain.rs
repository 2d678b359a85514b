//! Moves the users and groups of one domain into a database of its own, or back to everything else, while all hosts go
//! on serving. Three changes of the domain's configuration part the steps, each durable before the next step begins:
//!
//! 1. *On their way:* from now on nobody changes them. Once every host knows, they are copied.
//! 2. *Arrived:* the options say where they are. Once every host knows, each copied record is removed where it was.
//! 3. *Settled:* they can be changed again.
//!
//! Killed anywhere, every host shows all of them, unchanged, from one end or the other, and the same command goes on
//! where it was. Before they have arrived it may also be told to leave them where they are. What a host
//! still wrote that was slower to learn of step 1 than it may be is carried over before it is removed; whom it deleted
//! may be back.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::IdentityRoom;
use crate::error::{Error, Result};
use crate::limits::LOADS_AT_ONCE_MAX;
use crate::model::{Domain, DomainConfig, Kept, Moving};
use crate::records::{Expect, Kind, PLACED, Records, SqlRecords, Version, domain_of};

/// What an operator calls the place of everything else.
const MAIN: &str = "main";

/// The options that say where users and groups are.
const GROUP: &str = "identity";
const DRIVER: &str = "driver";
const DATABASE: &str = "database";

/// What becomes of a record where it was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Stay,
    Remove,
}

/// One end of the way.
enum End<'a> {
    Main(&'a (dyn Records + 'static)),
    Database(SqlRecords),
}

impl Deref for End<'_> {
    type Target = dyn Records;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Main(records) => *records,
            Self::Database(records) => records,
        }
    }
}

impl IdentityRoom {
    /// Moves the users and groups of a domain (its id or name) to a database of the configuration, or to where
    /// everything else is (`main`), and tells how many; goes on with a move that was cut short. One that has not arrived
    /// may be called back, which tells `None`. `settle` is how long another host may take to learn of a changed
    /// configuration; zero where there is no other.
    pub async fn migrate_domain(&self, domain: &str, to: &str, settle: Duration) -> Result<Option<usize>> {
        let _one_at_a_time = self.migrating.lock().await;
        self.refresh().await?;
        let domain_id = self.domain_id(domain)?;
        let to = Some(to).filter(|to| *to != MAIN).map(str::to_owned);
        let Some(mut moving) = self.set_off(&domain_id, to).await? else { return Ok(None) };
        if !moving.has_arrived {
            tokio::time::sleep(settle).await;
            self.records.drain().await;
            self.carry_all(&domain_id, &moving, Then::Stay).await?;
            let arrived = Moving { has_arrived: true, ..moving.clone() };
            self.note(&domain_id, Some(moving), Some(arrived.clone())).await?;
            moving = arrived;
        }
        tokio::time::sleep(settle).await;
        self.carry_all(&domain_id, &moving, Then::Remove).await?;
        self.note(&domain_id, Some(moving), None).await?;
        self.directory.refresh_moved().await?;
        let view = self.directory.view();
        let users = view.users.iter().filter(|it| it.domain_id == domain_id).count();
        Ok(Some(users + view.groups.iter().filter(|it| it.domain_id == domain_id).count()))
    }

    fn domain_id(&self, domain: &str) -> Result<String> {
        let view = self.directory.view();
        let found = view.domains.get(domain).or_else(|| view.domains.by_name("", domain));
        let missing = || Error::Missing { what: Domain::KIND.noun(), id: domain.to_owned() };
        found.map(|domain| domain.id.clone()).ok_or_else(missing)
    }

    /// Step 1, or what a move that was cut short had reached; `None` where it was called back.
    async fn set_off(&self, domain_id: &str, to: Option<String>) -> Result<Option<Moving>> {
        let configuration = self.directory.get::<DomainConfig>(domain_id);
        if let Some(moving) = configuration.as_ref().and_then(|it| it.moving.clone()) {
            if moving.to == to {
                return Ok(Some(moving));
            }
            if moving.from == to && !moving.has_arrived {
                self.call_back(domain_id, moving).await?;
                return Ok(None);
            }
            let place = moving.to.as_deref().unwrap_or(MAIN);
            return Err(Error::Invalid(format!("the domain is on its way to {place}, where it has to arrive first")));
        }
        let from = place(configuration.as_deref())?;
        if from == to {
            return Err(Error::Invalid("the domain's users and groups are there already".to_owned()));
        }
        if from.is_some() && to.is_some() {
            return Err(Error::Invalid(format!("between two databases a domain goes by way of {MAIN}")));
        }
        if !self.of_domain(&*self.end(to.as_deref()).await?, domain_id).await?.is_empty() {
            return Err(Error::Invalid("there are users or groups of the domain where they are to go".to_owned()));
        }
        let moving = Moving { from, to, has_arrived: false };
        self.note(domain_id, None, Some(moving.clone())).await?;
        Ok(Some(moving))
    }

    /// They stay where they are. What was copied is removed, or is of no account where that fails.
    async fn call_back(&self, domain_id: &str, moving: Moving) -> Result<()> {
        let removed = async {
            let copies = self.end(moving.to.as_deref()).await?;
            for (kind, id) in self.of_domain(&*copies, domain_id).await? {
                copies.delete(kind, &id, Expect::Anything).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = removed.await {
            tracing::warn!(%error, domain_id, "copies of users and groups are left where they were to go");
        }
        self.note(domain_id, Some(moving), None).await
    }

    /// A back end by its name.
    async fn end(&self, name: Option<&str>) -> Result<End<'_>> {
        let Some(name) = name else { return Ok(End::Main(self.records.main())) };
        let url = self.config.databases.get(name);
        let url = url.ok_or_else(|| Error::Invalid(format!("the server's configuration has no database {name}")))?;
        let records = SqlRecords::connect(url).await?;
        records.prepare().await?;
        Ok(End::Database(records))
    }

    /// The domain's users and groups in a back end.
    async fn of_domain(&self, records: &dyn Records, domain_id: &str) -> Result<Vec<(Kind, String)>> {
        let mut own = Vec::new();
        for kind in PLACED {
            let listed = records.versions(kind).await?;
            let read = stream::iter(listed.into_iter().filter(|(id, _)| self.may_be_of(kind, id, domain_id)));
            let read = read.map(|(id, _)| async move {
                let found = records.get(kind, &id).await?;
                Ok::<_, Error>((id, found.and_then(|(_, data)| domain_of(&data))))
            });
            let read: Vec<_> = read.buffer_unordered(LOADS_AT_ONCE_MAX).try_collect().await?;
            own.extend(read.into_iter().filter(|(_, of)| of.as_deref() == Some(domain_id)).map(|(id, _)| (kind, id)));
        }
        Ok(own)
    }

    /// Whether a record is of the domain, or nobody here knows it: of what is known of others none is read.
    fn may_be_of(&self, kind: Kind, id: &str, domain_id: &str) -> bool {
        let view = self.directory.view();
        let known = match kind {
            Kind::User => view.users.get(id).map(|it| &it.domain_id),
            _ => view.groups.get(id).map(|it| &it.domain_id),
        };
        known.is_none_or(|known| known == domain_id)
    }

    /// Sees to it that every user and group of the domain is at the other end as it is here.
    async fn carry_all(&self, domain_id: &str, moving: &Moving, then: Then) -> Result<()> {
        let (from, to) = (self.end(moving.from.as_deref()).await?, self.end(moving.to.as_deref()).await?);
        let own = self.of_domain(&*from, domain_id).await?;
        let carried: Vec<_> = own.iter().map(|(kind, id)| carry(&*from, &*to, *kind, id, then)).collect();
        stream::iter(carried).buffer_unordered(LOADS_AT_ONCE_MAX).try_collect().await
    }

    /// Writes the step `now` behind the step `before` into the configuration, and follows it here.
    async fn note(&self, domain_id: &str, before: Option<Moving>, now: Option<Moving>) -> Result<()> {
        let set = |it: &mut DomainConfig| {
            if it.moving != before {
                return Err(Error::Invalid("the domain's configuration was changed meanwhile".to_owned()));
            }
            if let Some(moving) = now.as_ref().filter(|moving| moving.has_arrived) {
                set_place(it, moving.to.as_deref());
            }
            it.moving.clone_from(&now);
            Ok(())
        };
        match self.directory.update(domain_id, set).await {
            Ok(noted) if noted.moving.is_none() && noted.groups.is_empty() => {
                self.directory.delete::<DomainConfig>(domain_id).await?;
            }
            Err(Error::Missing { .. }) if before.is_none() => {
                let (domain_id, groups) = (domain_id.to_owned(), BTreeMap::new());
                self.directory.create(DomainConfig { domain_id, groups, sealed_secrets: None, moving: now }).await?;
            }
            noted => drop(noted?),
        }
        if self.follow_configurations() {
            self.directory.refresh_moved().await?;
        }
        Ok(())
    }
}

/// Sees to it that a record is at the other end as it is here.
async fn carry(from: &dyn Records, to: &dyn Records, kind: Kind, id: &str, then: Then) -> Result<()> {
    let Some((version, data)) = from.get(kind, id).await? else { return Ok(()) };
    let there = to.get(kind, id).await?.map(|(version, _)| version);
    // Later than here, so that no host takes it for what it knows already.
    let is_there = |it: &Version| it.etag == version.etag && it.timestamp > version.timestamp;
    if !there.as_ref().is_some_and(is_there) {
        let expect = there.as_ref().map_or(Expect::Absent, |it| Expect::Etag(&it.etag));
        if to.put(kind, id, data, expect).await?.timestamp <= version.timestamp {
            return Err(Error::Internal("the clock here is behind that of who wrote a record".to_owned()));
        }
    }
    if then == Then::Remove {
        from.delete(kind, id, Expect::Etag(&version.etag)).await?;
    }
    Ok(())
}

/// The name of the database that a domain's users and groups are in.
fn place(configuration: Option<&DomainConfig>) -> Result<Option<String>> {
    let Some(identity) = configuration.and_then(|it| it.groups.get(GROUP)) else { return Ok(None) };
    let text = |option: &str| identity.get(option).and_then(|it| it.as_str());
    match text(DRIVER) {
        None | Some("objects") => Ok(None),
        Some("sql") => Ok(text(DATABASE).map(str::to_owned)),
        Some(other) => Err(Error::Invalid(format!("users of the driver {other} are not kept here"))),
    }
}

/// Says in the options where users and groups are.
fn set_place(configuration: &mut DomainConfig, database: Option<&str>) {
    let identity = configuration.groups.entry(GROUP.to_owned()).or_default();
    identity.retain(|option, _| option != DRIVER && option != DATABASE);
    if let Some(name) = database {
        identity.insert(DRIVER.to_owned(), "sql".into());
        identity.insert(DATABASE.to_owned(), name.into());
    }
    configuration.groups.retain(|_, options| !options.is_empty());
}
