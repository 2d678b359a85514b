//! Whose turn it is to go through a bucket: a claim in the metadata of the bucket's rules, and how far its host is.

use std::time::Duration;

use anello_base::{Timestamp, id};
use anello_storage::store::ObjectUpdate;
use anello_storage::{Error, ObjectInfo, Result, Store};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::path;
use super::rule::day_of;
use crate::object::limits::{LIFECYCLE_CLAIM, LIFECYCLE_NOTE_INTERVAL};

/// The metadata of rules that tell how far they were carried out, in JSON.
const PROGRESS_NAME: &str = "x-object-sysmeta-progress";

/// How far a bucket's rules were carried out. Times are ticks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// When the pass began that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<u64>,
    /// The last key that it is through with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    marker: Option<String>,
    /// When its host last told that it is at it, and by what it knows its claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claimed: Option<(u64, String)>,
    /// When the last pass began that came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    done: Option<u64>,
}

impl Progress {
    fn of(info: &ObjectInfo) -> Self {
        let stored = info.metadata.iter().find(|(name, _)| name == PROGRESS_NAME);
        stored.and_then(|(_, text)| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    fn update(&self) -> ObjectUpdate {
        let text = serde_json::to_string(self).expect("strings and numbers are JSON");
        ObjectUpdate { content_type: None, delete_at: None, metadata: vec![(PROGRESS_NAME.to_owned(), text)] }
    }
}

/// A bucket that this host has claimed.
pub(super) struct Claim<'a> {
    store: &'a Store,
    /// Of its rules.
    name: &'a str,
    token: String,
    now: Timestamp,
    progress: Option<Progress>,
    began: Instant,
    /// When the claim was last told.
    noted: Instant,
}

impl<'a> Claim<'a> {
    /// Claims the bucket of these rules. `None` where they were carried out today; without progress where another host
    /// is at it.
    pub(super) async fn of(store: &'a Store, name: &'a str, now: Timestamp, day: Duration) -> Result<Option<Self>> {
        let token = id::hex_id()[..16].to_owned();
        let (mut is_done, mut found) = (false, None);
        let change = |info: &ObjectInfo| {
            let before = Progress::of(info);
            let is_today = |ticks| day_of(Timestamp::from_ticks(ticks), day) >= day_of(now, day);
            is_done = before.began.is_none() && before.done.is_some_and(is_today);
            let is_held = |(ticks, _): &(u64, String)| now < Timestamp::from_ticks(*ticks).plus(LIFECYCLE_CLAIM);
            if is_done || before.claimed.as_ref().is_some_and(is_held) {
                return Err(Error::Precondition);
            }
            let progress = Progress {
                began: before.began.or(Some(now.ticks())),
                claimed: Some((now.ticks(), token.clone())),
                ..before
            };
            found = Some(progress.clone());
            Ok(progress.update())
        };
        let claimed = store.object_update(&path(name), change).await;
        let progress = match claimed {
            Ok(_) => found,
            Err(Error::Precondition | Error::Missing(_)) if is_done => return Ok(None),
            Err(Error::Precondition | Error::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        let noted = Instant::now();
        Ok(Some(Self { store, name, token, now, progress, began: noted, noted }))
    }

    /// Whether the bucket is this host's; another one's otherwise.
    pub(super) fn is_held(&self) -> bool {
        self.progress.is_some()
    }

    /// The last key that an earlier host was through with.
    pub(super) fn marker(&self) -> Option<String> {
        self.progress.as_ref().and_then(|progress| progress.marker.clone())
    }

    /// The pass is through with this key; noted every now and then.
    pub(super) async fn stands_at(&mut self, key: Option<&str>) -> Result<()> {
        if let Some(progress) = &mut self.progress {
            progress.marker = key.map(str::to_owned);
        }
        self.hold().await
    }

    /// Tells every now and then that this host is still at it.
    pub(super) async fn hold(&mut self) -> Result<()> {
        if self.noted.elapsed() < LIFECYCLE_NOTE_INTERVAL {
            return Ok(());
        }
        let Some(progress) = self.progress.clone() else { return Ok(()) };
        let now = self.now.plus(self.began.elapsed());
        self.note(Progress { claimed: Some((now.ticks(), self.token.clone())), ..progress }).await
    }

    /// The pass came to its end; the day in which it began.
    pub(super) async fn finish(&mut self, day: Duration) -> Result<Option<u64>> {
        let began = self.progress.as_ref().and_then(|progress| progress.began);
        self.note(Progress { done: began, ..Progress::default() }).await?;
        Ok(began.map(|began| day_of(Timestamp::from_ticks(began), day)))
    }

    /// Notes how far it is; [`Error::Replaced`] where that is not to be gone on with.
    async fn note(&mut self, progress: Progress) -> Result<()> {
        let token = self.token.clone();
        let change = |info: &ObjectInfo| match Progress::of(info).claimed {
            Some((_, holder)) if holder == token => Ok(progress.update()),
            _ => Err(Error::Precondition),
        };
        match self.store.object_update(&path(self.name), change).await {
            Ok(_) => {}
            // Other rules were put meanwhile, or another host has taken over: this one is to stop.
            Err(Error::Missing(_) | Error::Precondition) => return Err(Error::Replaced),
            Err(error) => return Err(error),
        }
        self.noted = Instant::now();
        self.progress = Some(progress);
        Ok(())
    }
}
