//! The container auditor and the account auditor of a device: count rows anew and put statistics right that are wrong,
//! which no fault but one of the disk or of the program makes them.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cursor::Cursor;
use super::watch::{Unit, Watch};
use crate::device::Device;
use crate::environment::blocking;
use crate::error::Result;
use crate::index::{Counted, Recount};
use crate::limits::{AUDIT_PAUSE, RECOUNT_ROWS_PER_SECOND, RECOUNT_ROWS_STEP};

/// One of the two, of one device.
#[derive(Debug)]
pub(crate) struct Recounter {
    device: Device,
    what: Counted,
    watch: Arc<Watch>,
    cursor: Cursor,
}

impl Recounter {
    /// Goes on where the last one stood.
    pub(crate) fn new(device: Device, what: Counted) -> Self {
        let (name, file, unit) = match what {
            Counted::Containers => ("container auditor", "container-auditor", Unit::Containers),
            Counted::Accounts => ("account auditor", "account-auditor", Unit::Accounts),
        };
        let watch = Watch::new(name, Some(device.inner.shared.path.display().to_string()), unit);
        Self { what, watch, cursor: Cursor::open(&device, file), device }
    }

    /// Where it shows how it stands.
    pub(crate) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Works until `stop`, at no more than [`RECOUNT_ROWS_PER_SECOND`], and rests between passes.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.step().await {
                Ok(done) if done.last.is_none() => AUDIT_PAUSE,
                Ok(done) => Duration::from_secs_f64(done.rows as f64 / RECOUNT_ROWS_PER_SECOND as f64),
                Err(error) => {
                    tracing::warn!(%error, daemon = self.watch.status().name, "failed and will go on later");
                    self.watch.failed(&error);
                    AUDIT_PAUSE
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    async fn step(&mut self) -> Result<Recount> {
        if !self.watch.status().is_running {
            self.watch.begin(None);
        }
        let (device, what, after) = (self.device.clone(), self.what, self.cursor.after);
        let recount = move || device.index().recount(what, after, RECOUNT_ROWS_STEP);
        let done = blocking(recount).await?;
        self.watch.advance(done.counted);
        self.watch.found(done.corrected + done.damaged);
        if done.last.is_none() {
            self.watch.end();
        }
        self.cursor.after = done.last;
        self.cursor.note(&self.device);
        Ok(done)
    }
}
