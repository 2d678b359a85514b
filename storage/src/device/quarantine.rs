//! Damaged bytes are copied aside with a note, so that an operator can look at what was lost after the
//! volume itself has been compacted away.

use super::disk::{Disk, QUARANTINE};
use super::status::Counters;

/// Files kept in quarantine (each piece has two). Beyond it damage is only counted and logged, so that a
/// dying disk does not fill itself.
const QUARANTINE_FILES_MAX: usize = 2000;

/// Bytes kept of one piece.
const PIECE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Keeps `bytes`, which stood at `offset` of `file`; counts and logs in any case.
pub(crate) fn keep(disk: &dyn Disk, counters: &Counters, file: &str, offset: u64, bytes: &[u8], note: &str) {
    counters.quarantined.add(1);
    tracing::error!(file, offset, length = bytes.len(), note, "damaged bytes are put into quarantine");
    let name = format!("{QUARANTINE}/{file}-{offset:012}");
    let full = disk.list(QUARANTINE).is_ok_and(|names| names.len() >= QUARANTINE_FILES_MAX);
    if full {
        return;
    }
    let note = format!("file: {file}\noffset: {offset}\nlength: {}\nreason: {note}\n", bytes.len());
    let kept = disk
        .replace_file(&format!("{name}.bytes"), &bytes[..bytes.len().min(PIECE_BYTES_MAX)])
        .and_then(|()| disk.replace_file(&format!("{name}.txt"), note.as_bytes()));
    if let Err(error) = kept {
        tracing::error!(%error, name, "quarantine failed");
    }
}
