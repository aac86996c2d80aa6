//! The file that several readers write to, each at its own place. All that touches the disk runs on the threads that compute.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anabranch::{Compute, ComputeError, Deadline};
use bytes::Bytes;
use url::Url;

use super::missing::Missing;
use super::note;
use super::range::Validator;
use crate::Outcome;
use crate::content::checksums::{Checksum, Hashing};
use crate::http::failure::Failed;

/// How long one piece of work on the disk may take: a disk that needs more is broken, or full of other work.
const DISK_WITHIN: Duration = Duration::from_secs(60);
/// How long to wait when all threads that compute are busy and their queue is full.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// Hashed by one job: some 10 ms.
const HASH_AT_ONCE: usize = 8 << 20;

/// A file of a known length that is being filled.
#[derive(Clone)]
pub(super) struct Target {
    compute: Compute,
    path: PathBuf,
    file: Arc<File>,
    /// The hash of all bytes up to a place, as long as they come in order: it saves reading the file again. None once they do not.
    in_order: Arc<Mutex<Option<(Hashing, u64)>>>,
}

impl Target {
    /// Makes the file anew, as long as it will be. What was noted of an earlier one is forgotten before.
    pub(super) async fn create(compute: &Compute, path: &Path, total: u64) -> Result<Target, Failed> {
        let inside = path.to_owned();
        let file = on_disk(compute, move || {
            note::forget(&inside)?;
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&inside)?;
            file.set_len(total)?;
            Ok(file)
        })
        .await?;
        Ok(Target::new(compute, path, file, Some((Hashing::new(), 0))))
    }

    /// Goes on with a file that is there.
    pub(super) async fn open(compute: &Compute, path: &Path) -> Result<Target, Failed> {
        let inside = path.to_owned();
        let file = on_disk(compute, move || File::options().read(true).write(true).open(&inside)).await?;
        Ok(Target::new(compute, path, file, None))
    }

    fn new(compute: &Compute, path: &Path, file: File, in_order: Option<(Hashing, u64)>) -> Target {
        Target {
            compute: compute.clone(),
            path: path.to_owned(),
            file: Arc::new(file),
            in_order: Arc::new(Mutex::new(in_order)),
        }
    }

    /// Writes bytes at a place, and waits for that.
    pub(super) async fn write(&self, at: u64, bytes: Bytes) -> Result<(), Failed> {
        let (file, in_order) = (self.file.clone(), self.in_order.clone());
        on_disk(&self.compute, move || {
            write_at(&file, at, &bytes)?;
            let mut hashed = in_order.lock().unwrap_or_else(PoisonError::into_inner);
            *hashed = match hashed.take() {
                Some((mut hashing, up_to)) if up_to == at => {
                    hashing.update(&bytes);
                    Some((hashing, at + bytes.len() as u64))
                }
                _ => None,
            };
            Ok(())
        })
        .await
    }

    /// Brings what was written so far to the disk, then notes what is missing: as it was before.
    pub(super) async fn note(&self, url: &Url, validator: &Validator, missing: Missing) -> Result<(), Failed> {
        let (file, path, url, validator, missing) = (
            self.file.clone(),
            self.path.clone(),
            url.clone(),
            validator.clone(),
            Arc::new(missing),
        );
        on_disk(&self.compute, move || {
            file.sync_data()?;
            note::save(&path, &url, &validator, &missing)
        })
        .await
    }

    /// Forgets what was noted: the next attempt begins anew.
    pub(super) async fn forget(compute: &Compute, path: &Path) -> Result<(), Failed> {
        let path = path.to_owned();
        on_disk(compute, move || note::forget(&path)).await
    }

    /// The hash of the whole file.
    pub(super) async fn checksum(&self, total: u64) -> Result<Checksum, Failed> {
        let in_order = self.in_order.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((hashing, up_to)) = in_order
            && up_to == total
        {
            return Ok(hashing.finish());
        }
        let mut hashing = Hashing::new();
        let mut at = 0;
        while at < total {
            let (file, before) = (self.file.clone(), hashing.clone());
            let count = (total - at).min(HASH_AT_ONCE as u64);
            hashing = on_disk(&self.compute, move || hashed_further(&file, before.clone(), at, count)).await?;
            at += count;
        }
        Ok(hashing.finish())
    }
}

fn hashed_further(file: &File, mut hashing: Hashing, at: u64, count: u64) -> io::Result<Hashing> {
    // Nobody else uses the place of this file in between: all writes say their own.
    let mut file = file;
    file.seek(SeekFrom::Start(at))?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = count;
    while left > 0 {
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..room])?;
        hashing.update(&buffer[..room]);
        left -= room as u64;
    }
    Ok(hashing)
}

#[cfg(unix)]
fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(windows)]
fn write_at(file: &File, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += written as u64;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Runs it once on the threads that compute, and waits for a place there.
async fn on_disk<T, F>(compute: &Compute, work: F) -> Result<T, Failed>
where
    T: Send + 'static,
    F: Fn() -> io::Result<T> + Send + Sync + 'static,
{
    let work = Arc::new(work);
    let deadline = Deadline::after(DISK_WITHIN);
    loop {
        let inside = work.clone();
        match compute.run("disk", deadline, move |_context| inside()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => return Err(not_written(&error.to_string())),
            Err(ComputeError::Busy) if !deadline.has_passed() => deadline.within(ASK_AGAIN).wait().await,
            Err(error) => return Err(not_written(&error.to_string())),
        }
    }
}

/// Our own disk: neither the job nor the host is to blame, and the run has to stop.
fn not_written(why: &str) -> Failed {
    Failed::ours(Outcome::Cancelled, "store", format!("the body cannot be written: {why}"))
}
