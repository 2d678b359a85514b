//! Reads everything that a device holds, to find damage before a client does: every record's head,
//! every block's CRC32, every object's BLAKE3. What is damaged is copied into quarantine, counted and
//! logged; reads of it fail until a replica repairs it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

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
    after: Option<KeyHash>,
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
        Self { device, after }
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
        let inner = &self.device.inner;
        let rows = inner.access.catalog.scan_objects(self.after, AUDIT_OBJECTS_STEP)?;
        let mut done = Audited { objects: 0, bytes: 0, damaged: 0, finished: rows.is_empty() };
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
        if done.finished {
            self.after = None;
        }
        inner.shared.counters.audited_objects.add(done.objects);
        inner.shared.counters.audited_bytes.add(done.bytes);
        self.note();
        Ok(done)
    }

    /// Notes where the pass stands. Where that fails, a part of it is done twice.
    fn note(&self) {
        let text = self.after.map_or_else(String::new, |hash| hex::encode(hash.0));
        if let Err(error) = self.device.inner.volumes.disk.replace_file(CURSOR, text.as_bytes()) {
            tracing::debug!(%error, "the auditor's place was not noted");
        }
    }
}
