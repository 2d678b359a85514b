//! Reads everything that a device holds, to find damage before a client does: every record's head,
//! every block's CRC32, every object's BLAKE3. What is damaged is copied into quarantine, counted and
//! logged; reads of it fail until a replica repairs it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::watch::{Unit, Watch};
use crate::device::Device;
use crate::device::audit::{Verdict, audit_object};
use crate::error::{Error, Result};
use crate::key::KeyHash;
use crate::limits::{AUDIT_BYTES_PER_SECOND, AUDIT_OBJECTS_STEP, AUDIT_PAUSE};

/// File in the device's directory that says where the present pass stands.
const CURSOR: &str = "auditor";

/// The auditor of one device.
#[derive(Debug)]
pub struct Auditor {
    device: Device,
    watch: Arc<Watch>,
    after: Option<KeyHash>,
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
    pub fn new(device: Device) -> Self {
        let noted = device.inner.volumes.disk.read_file(CURSOR).ok();
        let after = noted.and_then(|bytes| {
            let mut hash = [0; 16];
            hex::decode_to_slice(bytes, &mut hash).ok()?;
            Some(KeyHash(hash))
        });
        let watch = Watch::new("auditor", Some(device.inner.shared.path.display().to_string()), Unit::Objects);
        Self { device, watch, begun_at: part(after), after, read: 0 }
    }

    /// Where it shows how it stands.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Works until `stop`, at no more than [`AUDIT_BYTES_PER_SECOND`], and rests between passes.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let pause = match self.step().await {
                Ok(done) if done.finished => AUDIT_PAUSE,
                Ok(done) => Duration::from_secs_f64(done.bytes as f64 / AUDIT_BYTES_PER_SECOND as f64),
                Err(Error::Stopped) => return,
                Err(error) => {
                    tracing::warn!(%error, "the auditor failed and will go on later");
                    self.watch.failed(&error);
                    AUDIT_PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads the next objects: as many as [`AUDIT_OBJECTS_STEP`], or as make up a second's bytes.
    pub async fn step(&mut self) -> Result<Audited> {
        let inner = Arc::clone(&self.device.inner);
        let rows = inner.access.catalog.scan_objects(self.after, AUDIT_OBJECTS_STEP)?;
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
            self.after = Some(hash);
            if done.bytes >= AUDIT_BYTES_PER_SECOND {
                break;
            }
        }
        self.tell(&done);
        if done.finished {
            self.after = None;
            (self.begun_at, self.read) = (0.0, 0);
        }
        inner.shared.counters.audited_objects.add(done.objects);
        inner.shared.counters.audited_bytes.add(done.bytes);
        self.note();
        Ok(done)
    }

    /// Shows how the pass stands. Keys are hashes and lie evenly, so that the part of them that was passed
    /// tells how many objects there are, without counting any.
    fn tell(&mut self, done: &Audited) {
        self.read += done.objects;
        self.watch.advance(done.objects);
        self.watch.found(done.damaged);
        let (reached, passed) = (part(self.after), part(self.after) - self.begun_at);
        if passed > 0.0 {
            let expected = self.read as f64 / passed;
            self.watch.stands_at((expected * reached) as u64, Some(expected as u64));
        }
        if done.finished {
            self.watch.end();
        }
    }

    /// Notes where the pass stands. Where that fails, a part of it is done twice.
    fn note(&self) {
        let text = self.after.map_or_else(String::new, |hash| hex::encode(hash.0));
        if let Err(error) = self.device.inner.volumes.disk.replace_file(CURSOR, text.as_bytes()) {
            tracing::debug!(%error, "the auditor's place was not noted");
        }
    }
}

/// Which part of all keys are up to `key`, from 0 to 1.
fn part(key: Option<KeyHash>) -> f64 {
    key.map_or(0.0, |key| u128::from_be_bytes(key.0) as f64 / u128::MAX as f64)
}
