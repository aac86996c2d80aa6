//! What is kept of a run: its journal, the record file, the bodies, and the sinks.
//!
//! A thread of its own, the writer, does all of it. Jobs that ended are handed over with [`Store::commit`] and are committed in batches:
//! bodies first, then the lines of the record file, both synced, then one transaction of the journal that stores which jobs are done
//! and how long the record file is. What a crash leaves beyond that length is cut when the run is resumed. So every job has exactly one
//! record, whenever the process ends and however often.
//!
//! A run with neither a folder (`--run`) nor a record file has no journal: its records go to stdout and to the sinks, and it cannot be
//! resumed.

mod key;
mod queue;
mod journal;
mod place;
mod fingerprint;
mod file;
mod shape;
mod code;
mod bodies;
mod rewrite;
mod open;
mod outputs;
mod echo;
mod writer;
mod reading;
mod spill;
pub(crate) mod sink;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::record::Finished;
use crate::{FetchError, Job, JobId, Options, Outcome, Record};

pub(crate) use self::key::Key;
use self::queue::{Queue, Taker};
use self::reading::Reading;
use self::spill::Spill;

/// Where a run keeps what it has got. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    queue: Arc<Queue>,
    counts: Arc<Mutex<Committed>>,
    /// What is known of jobs that ended earlier.
    reading: Reading,
    /// Jobs that do not fit into memory.
    spill: Spill,
    /// How the writer ended, once it has.
    ended: watch::Receiver<Option<Result<(), FetchError>>>,
    folder: Option<PathBuf>,
    wants_archive: bool,
}

/// What a program adds to what the options say.
#[derive(Default)]
pub struct Setup {
    /// Takes the place of stdout.
    pub stdout: Option<Box<dyn Write + Send>>,
    /// Sees each record once it is committed, on the writer's thread. One that is slow holds the run up.
    pub observer: Option<Observer>,
}

/// Sees records.
pub type Observer = Box<dyn FnMut(&Record) + Send>;

/// What was found when a store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// The name of the run; None where there is no journal.
    pub run: Option<String>,
    /// Whether the run had begun before, with at least one job done.
    pub is_resumed: bool,
    /// Whether an earlier call came to its end. The input is read all the same: what is new in it is done.
    pub is_finished: bool,
    /// Whether the run can be resumed should it stop.
    pub is_resumable: bool,
    /// Which pass over the jobs this is, from 1. `--if-changed` on a finished run begins the next.
    pub pass: u32,
    /// Jobs of this pass that ended in earlier calls, and how.
    pub earlier: Committed,
    /// Jobs of the crawl that were found and have not ended.
    pub waiting: u64,
    /// The record file.
    pub records: Option<PathBuf>,
}

/// What is committed: counted when it is safe, not when it is handed in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Jobs, by the place of their outcome in [`Outcome::ALL`].
    pub by_outcome: [u64; Outcome::ALL.len()],
    /// Jobs that needed more than one attempt.
    pub retried: u64,
    /// Bytes of bodies as sent.
    pub wire_bytes: u64,
    /// Jobs of the crawl that were found and have not ended.
    pub waiting: u64,
    /// Jobs that another process had stored in the database already: only the first is kept.
    pub suppressed: u64,
}

/// Why a store is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All jobs have ended: the run is finished.
    Complete,
    /// Some have not: the run may be resumed.
    Stopped,
}

/// What an earlier pass saw of a job's answer, for a conditional request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Its ETag.
    pub etag: Option<String>,
    /// Its Last-Modified.
    pub last_modified: Option<String>,
    /// SHA-256 of the body, in hex.
    pub sha256: Option<String>,
    /// Where the body was saved, as in the record. Whether it still is there is for the reader to see.
    pub path: Option<String>,
}

impl Store {
    /// Opens the run that the options name, or begins it: takes its lock, checks that what shapes its jobs is as it was, cuts the
    /// record file to what is committed, and starts the writer. Blocks; a large run that is resumed takes some seconds.
    ///
    /// # Errors
    /// `Usage` where the options do not fit the run or each other; `Store` where the run is in use, its files are not what was left,
    /// or a sink cannot be reached.
    pub fn open(options: &Options, setup: Setup) -> Result<(Store, Opened), FetchError> {
        open::open(options, setup)
    }

    /// Whether a job of the input needs no doing: it ended in an earlier call, or the crawl has found it already and will bring it.
    /// For the thread that reads the input: it may read from disk.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn is_done(&self, id: &JobId) -> Result<bool, FetchError> {
        self.0.reading.is_done(id)
    }

    /// What an earlier pass saw of a job. Reads from disk, some microseconds; nothing where no earlier pass was.
    pub fn remembered(&self, id: &JobId) -> Option<Remembered> {
        self.0.reading.remembered(id)
    }

    /// Hands over a job that ended. Returns when it is taken, not when it is committed; waits while 2,048 others wait.
    /// Dropping the future hands nothing over.
    ///
    /// # Errors
    /// The writer has failed: the run must stop. What was committed before stays.
    pub async fn commit(&self, finished: Finished) -> Result<(), FetchError> {
        self.0.queue.push(finished).await
    }

    /// The next jobs of the crawl, at most `limit`, in the order in which they were found; each comes once in a process. Where none is
    /// there, commits what was handed over and looks again: no job then means that none can come before another commit.
    ///
    /// # Errors
    /// The writer has failed.
    pub async fn frontier(&self, limit: usize) -> Result<Vec<Job>, FetchError> {
        let (reply, answer) = oneshot::channel();
        self.0.queue.ask(Taker { limit, reply });
        answer.await.map_err(|_gone| self.0.queue.failure())
    }

    /// What this process has committed so far.
    pub fn committed(&self) -> Committed {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether [`Finished::archive`] is to be filled.
    pub fn wants_archive(&self) -> bool {
        self.0.wants_archive
    }

    /// Where the body of a job is written until it is complete: a file of its own below the folder for bodies. None without such a
    /// folder. The folder of the file exists.
    pub fn part_path(&self, id: &JobId) -> Option<PathBuf> {
        self.0.folder.as_deref().map(|folder| bodies::part_path(folder, id))
    }

    /// The file at this place below the folder for bodies, as records name it, if there is one: for `--on-exists skip`, before a request
    /// is made.
    pub fn existing_body(&self, name: &Path) -> Option<String> {
        let path = self.0.folder.as_deref()?.join(name);
        path.is_file().then(|| path.to_string_lossy().into_owned())
    }

    /// Puts jobs of a host away, in order, until they are [taken back](Store::unspill). They do not outlive the process: the input
    /// brings them again.
    ///
    /// # Errors
    /// There is no room for them on disk.
    pub async fn spill(&self, host: &str, jobs: Vec<Job>) -> Result<(), FetchError> {
        self.0.spill.put(host, jobs).await
    }

    /// Takes back the oldest jobs of a host, at most `limit`. None left: an empty list.
    ///
    /// # Errors
    /// What was put away cannot be read.
    pub async fn unspill(&self, host: &str, limit: usize) -> Result<Vec<Job>, FetchError> {
        self.0.spill.take(host, limit).await
    }

    /// Commits what was handed over and ends the writer, for all clones. Waits for it; a store that is dropped commits too, but nobody
    /// hears how that went.
    ///
    /// # Errors
    /// What was handed over could not be committed.
    pub async fn close(self, ending: Ending) -> Result<Committed, FetchError> {
        self.0.queue.end(ending);
        let mut ended = self.0.ended.clone();
        let result = match ended.wait_for(Option::is_some).await {
            Ok(result) => result.clone(),
            Err(_gone) => None,
        };
        match result {
            Some(Ok(())) => Ok(self.committed()),
            Some(Err(error)) => Err(error),
            None => Err(FetchError::store("the writer's thread ended without a word")),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.end(Ending::Stopped);
    }
}

impl Committed {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.by_outcome.iter().sum()
    }

    /// Those that ended in this way.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.by_outcome[place(outcome)]
    }

    /// Those that are not [fine](Outcome::is_fine).
    pub fn failed(&self) -> u64 {
        let failed = Outcome::ALL.iter().filter(|outcome| !outcome.is_fine());
        failed.map(|&outcome| self.of(outcome)).sum()
    }

    fn count(&mut self, record: &Record) {
        self.by_outcome[place(record.outcome)] += 1;
        self.retried += u64::from(record.attempts > 1);
        self.wire_bytes += record.wire_bytes.unwrap_or(0);
    }
}

/// The place of an outcome in [`Outcome::ALL`].
fn place(outcome: Outcome) -> usize {
    // The list has them in the order of their declaration; a test holds that.
    outcome as usize
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("committed", &self.committed())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").finish_non_exhaustive()
    }
}
