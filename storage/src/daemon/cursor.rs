//! Where a daemon stands in its pass over the keys of a device, kept over restarts.

use crate::device::Device;
use crate::key::KeyHash;

/// See the module.
#[derive(Debug)]
pub(super) struct Cursor {
    /// File in the device's directory.
    file: &'static str,
    /// The last key that the pass has been through; none at its beginning.
    pub(super) after: Option<KeyHash>,
}

impl Cursor {
    pub(super) fn open(device: &Device, file: &'static str) -> Self {
        let noted = device.inner.volumes.disk.read_file(file).ok();
        let after = noted.and_then(|bytes| {
            let mut hash = [0; 16];
            hex::decode_to_slice(bytes, &mut hash).ok()?;
            Some(KeyHash(hash))
        });
        Self { file, after }
    }

    /// Where that fails, a part of the pass is done twice.
    pub(super) fn note(&self, device: &Device) {
        let text = self.after.map_or_else(String::new, |hash| hex::encode(hash.0));
        if let Err(error) = device.inner.volumes.disk.replace_file(self.file, text.as_bytes()) {
            tracing::debug!(%error, daemon = self.file, "the place of a pass was not noted");
        }
    }

    /// Which part of all keys the pass has been through, from 0 to 1.
    pub(super) fn part(&self) -> f64 {
        self.after.map_or(0.0, |key| u128::from_be_bytes(key.0) as f64 / u128::MAX as f64)
    }
}
