//! Ring and builder files on disk: read whole, replaced whole.
//!
//! A file is written beside its place, synced, and renamed over it, so that a server or another command
//! sees the old one or the new one. Commands that change a ring hold a lock on its folder.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anello_ring::{Builder, Error, Ring};

use crate::Outcome;

/// First bytes of gzip, as of every ring file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What went wrong with which file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub(super) struct FileError {
    path: PathBuf,
    source: Error,
}

fn at(path: &Path) -> impl Fn(Error) -> FileError {
    move |source| FileError { path: path.to_owned(), source }
}

fn open(path: &Path) -> Result<BufReader<File>, FileError> {
    File::open(path).map(BufReader::new).map_err(|error| at(path)(error.into()))
}

/// A file of either kind.
pub(super) enum Either {
    Builder(Box<Builder>),
    Ring(Box<Ring>),
}

/// Reads a file, of whichever kind it is.
pub(super) fn read(path: &Path) -> Result<Either, FileError> {
    let mut source = open(path)?;
    let start = std::io::BufRead::fill_buf(&mut source).map_err(|error| at(path)(error.into()))?;
    if start.starts_with(&GZIP) {
        Ring::read(source).map(|ring| Either::Ring(Box::new(ring))).map_err(at(path))
    } else {
        Builder::read(source).map(|builder| Either::Builder(Box::new(builder))).map_err(at(path))
    }
}

pub(super) fn read_builder(path: &Path) -> Result<Builder, FileError> {
    Builder::read(open(path)?).map_err(at(path))
}

pub(super) fn read_ring(path: &Path) -> Result<Ring, FileError> {
    Ring::read(open(path)?).map_err(at(path))
}

/// `object.ring.gz` for `object.builder`.
pub(super) fn ring_file(builder: &Path) -> PathBuf {
    let stem = if builder.extension().is_some_and(|extension| extension == "builder") {
        builder.with_extension("")
    } else {
        builder.to_owned()
    };
    let mut name = stem.into_os_string();
    name.push(".ring.gz");
    name.into()
}

/// The folder of a file, locked against other commands until it is dropped.
pub(super) struct Folder {
    handle: File,
    path: PathBuf,
}

impl Folder {
    /// Waits for the lock.
    pub(super) fn lock(file: &Path) -> Result<Self, FileError> {
        let folder = Self::open(file)?;
        folder.handle.lock().map_err(|error| at(&folder.path)(error.into()))?;
        Ok(folder)
    }

    /// The folder of another file; `held` itself where it is the same, for a lock is not taken twice.
    pub(super) fn lock_other(held: &Self, file: &Path) -> Result<Self, FileError> {
        let folder = Self::open(file)?;
        let canonical = |path: &Path| fs::canonicalize(path).map_err(|error| at(path)(error.into()));
        if canonical(&folder.path)? == canonical(&held.path)? {
            return Ok(folder);
        }
        folder.handle.lock().map_err(|error| at(&folder.path)(error.into()))?;
        Ok(folder)
    }

    fn open(file: &Path) -> Result<Self, FileError> {
        let path = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let handle = File::open(&path).map_err(|error| at(&path)(error.into()))?;
        Ok(Self { handle, path })
    }

    /// Replaces the file by what `fill` writes. When this returns, it is on the disk.
    pub(super) fn write(&self, file: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), Error>) -> Outcome {
        let mut name = file.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        let write = || -> Result<(), Error> {
            let mut target = BufWriter::new(File::create(&new)?);
            fill(&mut target)?;
            target.flush()?;
            target.get_ref().sync_all()?;
            fs::rename(&new, file)?;
            self.handle.sync_all()?;
            Ok(())
        };
        write().map_err(|error| {
            // Best effort: what is left over is overwritten next time.
            let _ = fs::remove_file(&new);
            at(file)(error).into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_file_stands_beside_its_builder() {
        for (builder, ring) in [
            ("object.builder", "object.ring.gz"),
            ("/etc/swift/object-1.builder", "/etc/swift/object-1.ring.gz"),
            ("plain", "plain.ring.gz"),
            ("a.b", "a.b.ring.gz"),
        ] {
            assert_eq!(ring_file(Path::new(builder)), Path::new(ring));
        }
    }
}
