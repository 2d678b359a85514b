//! What both kinds of large objects stand on: segments are read as their reader may read them.

use std::sync::{Arc, Mutex, PoisonError};

use anello_storage::ObjectPath;
use futures::future::BoxFuture;

use super::SwiftDoor;
use super::call::Call;
use super::policy::Rule;
use crate::object::segments::Gate;

/// Whether a request is about the manifest and not what it stands for.
pub(super) fn asks_for_manifest(call: &Call) -> bool {
    call.query.get("multipart-manifest") == Some("get")
}

/// Lets through what the caller of a request may read.
pub(super) struct CallerGate {
    door: SwiftDoor,
    call: Arc<Call>,
    /// Account and container that were last found to be open: segments mostly share one.
    open: Mutex<Option<(String, String)>>,
}

impl CallerGate {
    pub(super) fn new(door: &SwiftDoor, call: &Arc<Call>) -> Self {
        Self { door: door.clone(), call: call.clone(), open: Mutex::new(None) }
    }
}

impl Gate for CallerGate {
    fn may_read<'a>(&'a self, path: &'a ObjectPath) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let place = (path.account.clone(), path.container.clone());
            if self.open.lock().unwrap_or_else(PoisonError::into_inner).as_ref() == Some(&place) {
                return true;
            }
            let found = self.door.authorize(&self.call, Rule::ObjectRead, &place.0, Some(&place.1)).await;
            if found.is_ok() {
                *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
            }
            found.is_ok()
        })
    }
}
