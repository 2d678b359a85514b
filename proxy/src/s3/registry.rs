//! Names of buckets are global although accounts have containers of their own: a name belongs to the
//! account that claimed it first. A claim is an object of the system account `.s3`, container `buckets`,
//! named like the bucket, whose body is the account; it is made with a conditional write, so that of two
//! who claim at once one loses.
//!
//! A claim whose container is not there (a crash between the two, or the container was deleted through
//! Swift) may be taken over once it is older than [`CLAIM_SECONDS`]. Its entity tag is random, so that
//! a taken-over claim is never mistaken for the old one.

use std::sync::Arc;

use anello_base::{Clock, SystemClock, Timestamp, id};
use anello_storage::store::{IfMissing, ObjectHead};
use anello_storage::{Error, Etags, ObjectPath, Precondition, Result, Store};
use bytes::{Bytes, BytesMut};
use moka::sync::Cache;

use super::limits::{BUCKET_CACHE_AGE, BUCKET_CACHE_ENTRIES, CLAIM_SECONDS};

const ACCOUNT: &str = ".s3";
const CONTAINER: &str = "buckets";

/// A bucket name's claim.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// Who holds it.
    pub(super) account: Arc<str>,
    etag: String,
    since: Timestamp,
}

/// How a claim went.
#[derive(Debug)]
pub(super) enum Claimed {
    /// The name is the account's now.
    Now,
    /// It was the account's before.
    Before,
    /// Another account holds it.
    Taken,
}

/// All claims.
#[derive(Debug)]
pub(super) struct Registry {
    store: Store,
    known: Cache<String, Arc<str>>,
}

impl Registry {
    pub(super) fn new(store: Store) -> Self {
        let known = Cache::builder().max_capacity(BUCKET_CACHE_ENTRIES).time_to_live(BUCKET_CACHE_AGE).build();
        Self { store, known }
    }

    /// The account that holds a name, as far as is known here.
    pub(super) async fn owner(&self, bucket: &str) -> Result<Option<Arc<str>>> {
        if let Some(account) = self.known.get(bucket) {
            return Ok(Some(account));
        }
        let claim = self.claim_of(bucket).await?;
        if let Some(claim) = &claim {
            self.known.insert(bucket.to_owned(), claim.account.clone());
        }
        Ok(claim.map(|claim| claim.account))
    }

    /// Forgets what is known here, so that the next look-up asks the store.
    pub(super) fn forget(&self, bucket: &str) {
        self.known.invalidate(bucket);
    }

    /// Claims a name. When it returns [`Claimed::Now`], the claim is durable.
    pub(super) async fn claim(&self, bucket: &str, account: &str) -> Result<Claimed> {
        match self.write(bucket, account, &Precondition::absent()).await {
            Ok(()) => return Ok(Claimed::Now),
            Err(Error::Precondition) => {}
            Err(error) => return Err(error),
        }
        let Some(held) = self.claim_of(bucket).await? else { return Ok(Claimed::Taken) };
        let is_mine = *held.account == *account;
        let is_there = self.store.container(&held.account, bucket).await?.is_some();
        let age_seconds = SystemClock.wall().seconds().saturating_sub(held.since.seconds());
        match (is_there, is_mine) {
            (true, true) => return Ok(Claimed::Before),
            (true, false) => return Ok(Claimed::Taken),
            (false, false) if age_seconds < CLAIM_SECONDS => return Ok(Claimed::Taken),
            (false, _) => {}
        }
        let still_so = Precondition { if_match: Some(Etags::List(vec![held.etag])), ..Precondition::default() };
        match self.write(bucket, account, &still_so).await {
            Ok(()) => Ok(Claimed::Now),
            Err(Error::Precondition) => Ok(Claimed::Taken),
            Err(error) => Err(error),
        }
    }

    /// Gives a name back, if the account still holds it.
    pub(super) async fn release(&self, bucket: &str, account: &str) -> Result<()> {
        self.forget(bucket);
        let Some(held) = self.claim_of(bucket).await?.filter(|held| *held.account == *account) else { return Ok(()) };
        let still_so = Precondition { if_match: Some(Etags::List(vec![held.etag])), ..Precondition::default() };
        match self.store.object_delete(&path(bucket), &still_so).await {
            Ok(_) | Err(Error::Precondition | Error::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, bucket: &str, account: &str, condition: &Precondition) -> Result<()> {
        let head = || ObjectHead { etag: id::hex_id(), content_type: "text/plain".into(), ..ObjectHead::default() };
        let body = Bytes::copy_from_slice(account.as_bytes());
        let written = match self.store.object_put(&path(bucket), body.clone(), head(), condition).await {
            Err(Error::Missing(_)) => {
                self.store.container_update(ACCOUNT, CONTAINER, Vec::new(), 0, IfMissing::Create).await?;
                self.store.object_put(&path(bucket), body, head(), condition).await
            }
            other => other,
        };
        written?;
        self.known.insert(bucket.to_owned(), account.into());
        Ok(())
    }

    async fn claim_of(&self, bucket: &str) -> Result<Option<Claim>> {
        let mut reader = match self.store.object_read(&path(bucket)).await {
            Ok(Some(reader)) => reader,
            Ok(None) | Err(Error::Missing(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut body = BytesMut::new();
        while let Some(chunk) = reader.next().await? {
            body.extend_from_slice(&chunk);
        }
        let account = String::from_utf8_lossy(&body).into();
        Ok(Some(Claim { account, etag: reader.info().etag.clone(), since: reader.info().timestamp }))
    }
}

fn path(bucket: &str) -> ObjectPath {
    ObjectPath::new(ACCOUNT, CONTAINER, bucket)
}
