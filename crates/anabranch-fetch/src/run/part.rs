//! A large body on its way to disk: pieces of a megabyte are written, and hashed, by the threads that compute, so that a slow disk holds
//! up this body and nothing else.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anabranch::{Compute, ComputeError, Deadline};
use bytes::Bytes;

use crate::Outcome;
use crate::content::checksums::{Checksum, Hashing};
use crate::http::failure::Failed;

/// How long one piece may take to be written: a disk that needs more is broken, or full of other work.
const WRITE_WITHIN: Duration = Duration::from_secs(60);
/// How long to wait when all threads that compute are busy and their queue is full.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A body in a file, complete and closed, not synced. Dropping it deletes the file, unless it was [kept](Part::keep).
pub(super) struct Part {
    path: Option<PathBuf>,
    pub(super) checksum: Checksum,
}

/// A file being written.
pub(super) struct PartFile {
    /// Deleted when this is dropped unfinished.
    begun: Begun,
    /// Away while a piece is being written.
    open: Option<Open>,
}

struct Open {
    file: Option<File>,
    hashing: Hashing,
}

struct Begun(Option<PathBuf>);

impl PartFile {
    /// Nothing is opened yet.
    pub(super) fn new(path: PathBuf) -> Self {
        PartFile {
            begun: Begun(Some(path)),
            open: Some(Open {
                file: None,
                hashing: Hashing::new(),
            }),
        }
    }

    /// Writes a piece behind the others, and waits for that.
    pub(super) async fn write(&mut self, compute: &Compute, piece: Bytes) -> Result<(), Failed> {
        let path = self.begun.0.clone().unwrap_or_default();
        let deadline = Deadline::after(WRITE_WITHIN);
        // A pool that is full drops the job, so the file lies where it survives that.
        let held = Arc::new(Mutex::new(self.open.take()));
        loop {
            let (inside, path, piece) = (held.clone(), path.clone(), piece.clone());
            let written = compute.run("disk", deadline, move |_context| {
                let Some(mut open) = taken(&inside) else {
                    return Err(io::Error::other("the file is gone"));
                };
                let written = open.write(&path, &piece);
                *inside.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
                written
            });
            match written.await {
                Ok(Ok(())) => {
                    self.open = taken(&held);
                    return Ok(());
                }
                Ok(Err(error)) => return Err(not_written(&error.to_string())),
                Err(ComputeError::Busy) if !deadline.has_passed() => deadline.within(ASK_AGAIN).wait().await,
                Err(error) => return Err(not_written(&error.to_string())),
            }
        }
    }

    /// All pieces are written.
    pub(super) fn finish(mut self) -> Part {
        let hashing = self.open.take().map_or_else(Hashing::new, |open| open.hashing);
        Part {
            path: self.begun.0.take(),
            checksum: hashing.finish(),
        }
    }
}

impl Open {
    fn write(&mut self, path: &Path, piece: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create(path)?),
        };
        self.hashing.update(piece);
        file.write_all(piece)
    }
}

/// The lock is held for no longer than this.
fn taken(held: &Mutex<Option<Open>>) -> Option<Open> {
    held.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Part {
    /// A file that is complete and whose hash is known.
    pub(super) fn new(path: PathBuf, checksum: Checksum) -> Self {
        Part {
            path: Some(path),
            checksum,
        }
    }

    /// Leaves the file to somebody else.
    pub(super) fn keep(mut self) -> PathBuf {
        self.path.take().unwrap_or_default()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        delete(self.path.take());
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        delete(self.0.take());
    }
}

/// What cannot be deleted is found when the run is resumed.
fn delete(path: Option<PathBuf>) {
    if let Some(path) = path {
        let _ = std::fs::remove_file(path);
    }
}

/// Our own disk: the job is not to blame, and neither is the host. `store` tells the run to stop.
fn not_written(why: &str) -> Failed {
    Failed::ours(Outcome::Cancelled, "store", format!("the body cannot be written: {why}"))
}

impl Failed {
    /// Whether our own disk failed, which ends the run: a record would say something of the job that is not so.
    pub(super) fn is_store(&self) -> bool {
        self.outcome == Outcome::Cancelled && self.failure.kind == "store"
    }
}
