//! Reads everything that a device holds, to find damage before a client does: every record's head,
//! every block's CRC32, every object's BLAKE3. What is damaged is copied into quarantine, counted and
//! logged; reads of it fail until a replica repairs it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::cursor::Cursor;
use super::watch::{Unit, Watch};
use crate::device::Device;
use crate::device::audit::{Verdict, audit_object};
use crate::error::{Error, Result};
use crate::limits::{AUDIT_BYTES_PER_SECOND_MIN, AUDIT_BYTES_STEP, AUDIT_OBJECTS_STEP, AUDIT_PAUSE, AUDIT_WITHIN};

/// How eagerly devices are audited.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// What a pass over a device takes at most.
    pub within: Duration,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self { within: AUDIT_WITHIN }
    }
}

/// The auditor of one device.
#[derive(Debug)]
pub struct Auditor {
    device: Device,
    options: AuditOptions,
    watch: Arc<Watch>,
    cursor: Cursor,
    /// How far the pass was when this process took it up, and the objects read since: see
    /// [`Auditor::tell`].
    begun_at: f64,
    read: u64,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audited {
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes, heads included.
    pub bytes: u64,
    /// Objects that were found damaged.
    pub damaged: u64,
    /// Whether the pass is over, and the next step begins another.
    pub finished: bool,
}

impl Auditor {
    /// An auditor that goes on where the last one stood.
    pub fn new(device: Device, options: AuditOptions) -> Self {
        let cursor = Cursor::open(&device, "auditor");
        let watch = Watch::new("auditor", Some(device.inner.shared.path.display().to_string()), Unit::Objects);
        Self { device, options, watch, begun_at: cursor.part(), cursor, read: 0 }
    }

    /// Where it shows how it stands.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Bytes per second that bring a pass to its end in time, whatever else is on the filesystem.
    fn bytes_per_second(&self) -> u64 {
        let status = self.device.status();
        let used = status.capacity_bytes.saturating_sub(status.free_bytes);
        (used / self.options.within.as_secs().max(1)).max(AUDIT_BYTES_PER_SECOND_MIN)
    }

    /// Works until `stop`, no faster than it must, and rests between passes.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.step().await {
                Ok(done) if done.finished => AUDIT_PAUSE,
                Ok(done) => Duration::from_secs_f64(done.bytes as f64 / self.bytes_per_second() as f64),
                Err(Error::Stopped) => return,
                Err(error) => {
                    tracing::warn!(%error, "the auditor failed and will go on later");
                    self.watch.failed(&error);
                    AUDIT_PAUSE
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Reads the next objects: as many as [`AUDIT_OBJECTS_STEP`], or as make up [`AUDIT_BYTES_STEP`].
    pub async fn step(&mut self) -> Result<Audited> {
        let inner = Arc::clone(&self.device.inner);
        let rows = inner.access.catalog.scan_objects(self.cursor.after, AUDIT_OBJECTS_STEP)?;
        let mut done = Audited { objects: 0, bytes: 0, damaged: 0, finished: rows.is_empty() };
        if !self.watch.status().is_running {
            self.watch.begin(None);
        }
        for (hash, row) in rows {
            let verdict = audit_object(&inner.access, hash, &row).await?;
            done.objects += 1;
            match verdict {
                Verdict::Whole { bytes } => done.bytes += bytes,
                Verdict::Gone => {}
                Verdict::Damaged => done.damaged += 1,
            }
            self.cursor.after = Some(hash);
            if done.bytes >= AUDIT_BYTES_STEP {
                break;
            }
        }
        self.tell(&done);
        if done.finished {
            self.cursor.after = None;
            (self.begun_at, self.read) = (0.0, 0);
        }
        inner.shared.counters.audited_objects.add(done.objects);
        inner.shared.counters.audited_bytes.add(done.bytes);
        self.cursor.note(&self.device);
        Ok(done)
    }

    /// Shows how the pass stands. Keys are hashes and lie evenly, so that the part of them that was passed
    /// tells how many objects there are, without counting any.
    fn tell(&mut self, done: &Audited) {
        self.read += done.objects;
        self.watch.advance(done.objects);
        self.watch.found(done.damaged);
        let (reached, passed) = (self.cursor.part(), self.cursor.part() - self.begun_at);
        if passed > 0.0 {
            let expected = self.read as f64 / passed;
            self.watch.stands_at((expected * reached) as u64, Some(expected as u64));
        }
        if done.finished {
            self.watch.end();
        }
    }
}
