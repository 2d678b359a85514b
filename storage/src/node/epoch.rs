//! The cluster's map that a process goes by. Maps follow each other in steps, each of which is safe beside the one
//! before (`docs/consistency.md`): so a node takes calls that go by its own map, the one before or the one behind.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{RwLock, RwLockReadGuard};

use crate::error::{Error, Result};

/// The number of the map, 0 where there is none.
#[derive(Debug, Default)]
pub(crate) struct Epoch {
    number: AtomicU64,
    /// Shared by everything that goes by the present map or the one before.
    entered: RwLock<()>,
}

impl Epoch {
    pub(crate) fn get(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Whether what was decided by the map of `epoch` may be carried out; as long as the answer is held, it stays so.
    pub(crate) async fn enter(&self, epoch: u64) -> Result<RwLockReadGuard<'_, ()>> {
        let entered = self.entered.read().await;
        if epoch.abs_diff(self.get()) > 1 { Err(Error::OldMap) } else { Ok(entered) }
    }

    /// Goes by the map of `epoch` from now on. What entered by a map that is too old then is over on return.
    pub(crate) async fn advance(&self, epoch: u64) {
        let _nobody = self.entered.write().await;
        self.number.fetch_max(epoch, Ordering::AcqRel);
    }
}
