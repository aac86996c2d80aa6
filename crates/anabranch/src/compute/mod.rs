//! Work that computes, off the loop that waits: parsing, reshaping, scoring, compressing.
//!
//! A loop that computes for more than about 500 µs makes every other request on its core wait. Such work is handed to a
//! [`Compute`] as a closure and awaited. The pool has its own threads, one less than there are cores, of lower priority than
//! the loops; its queue is bounded and fair between labels (the names of routes, say), so that one busy route delays itself
//! and not the others. When the queue is full the answer is [`Busy`](ComputeError::Busy) at once: computing is the one
//! resource that cannot be had by waiting for it.
//!
//! A job ends with its caller. Dropping the future takes the job out of the queue; one that already runs is told through its
//! [`JobContext`], and so is one whose time is up. Code that does not ask the context cannot be stopped, only replaced: see
//! [`ComputeSettings::limit`].
//!
//! ```
//! use std::time::Duration;
//! use anabranch::{Compute, ComputeError, ComputeSettings, Deadline};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ComputeError> {
//! let compute = Compute::new(ComputeSettings::default());
//! let numbers: Vec<u64> = (0..100_000).collect();
//! let deadline = Deadline::after(Duration::from_secs(5));
//! let sum = compute
//!     .run("GET /sum", deadline, move |context| {
//!         let mut sum = 0;
//!         for chunk in numbers.chunks(1_000) {
//!             if context.cancelled() {
//!                 break; // nobody will see the result
//!             }
//!             sum += chunk.iter().sum::<u64>();
//!         }
//!         sum
//!     })
//!     .await?;
//! assert_eq!(sum, 4_999_950_000);
//! # Ok(())
//! # }
//! ```

use std::error::Error;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{CallError, Deadline, Kind};

mod job;
mod queue;
mod pool;
mod thread;
mod counts;

pub use counts::ComputeCounts;
pub use job::{JobContext, Stopped};

use job::{Job, Work, contained};
use pool::{Place, Pool};

/// Runs closures that compute, on threads of its own or, in tests, in the caller's task. Clones share the threads; dropping
/// the last one ends them, each after the job it is at, without anybody waiting for that.
#[derive(Clone)]
pub struct Compute(Arc<Form>);

enum Form {
    Threads(PoolOwner),
    Inline(Mutex<ComputeCounts>),
}

/// How large a [`Compute`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComputeSettings {
    /// Threads; at least 1. The default leaves one core to the loops: the cores that this process may use less one.
    pub threads: usize,
    /// Jobs that may wait, for each thread; at least 1. Default 64.
    pub queue_per_thread: usize,
    /// How long one job may run, from 1 ms to a day; default 250 ms. It is real time, waits for a core included, and passes
    /// even on a test's clock that stands still. A job that asks its context stops then. One that does not is given up at
    /// twice the limit: its caller gets [`TimedOut`](ComputeError::TimedOut), its thread counts as lost until the job ends,
    /// and another thread takes its place, for at most two lost threads at a time.
    pub limit: Duration,
}

impl Default for ComputeSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        ComputeSettings {
            threads: cores.saturating_sub(1).max(1),
            queue_per_thread: 64,
            limit: Duration::from_millis(250),
        }
    }
}

/// Why a job gave no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ComputeError {
    /// The queue is full, or every thread is lost. The job never ran; asking again at once would make it worse.
    Busy,
    /// The deadline passed, in the queue or while the job ran, or the job ran into its limit.
    TimedOut,
    /// The pool let go of the job.
    Cancelled,
    /// The job panicked; this is the message. The panic went no further.
    Panicked(String),
}

impl Compute {
    /// Starts the threads. A thread that the system refuses is tried again with the next job; while there is none, jobs are
    /// refused as [`Busy`](ComputeError::Busy).
    ///
    /// On Linux the threads run 10 nice levels below the thread that calls this. Their stacks are 8 MiB; a job that
    /// overflows its stack takes the process down, so recursion over foreign input needs a bound of its own.
    pub fn new(settings: ComputeSettings) -> Self {
        Compute(Arc::new(Form::Threads(PoolOwner(Pool::start(settings)))))
    }

    /// The form for tests: each job runs at once in the task of its caller, so that on a clock that stands still it takes no
    /// time and no timer fires meanwhile. It starts no thread, is never busy and loses nothing; otherwise it answers like
    /// the pool, with the default limit.
    pub fn inline() -> Self {
        Compute(Arc::new(Form::Inline(Mutex::default())))
    }

    /// Runs a job and waits for its result, until the deadline. The job is queued by the first poll; `label` says whose turn
    /// it takes.
    ///
    /// Dropping the future cancels the job. If it has not been started it never runs; if it runs, its context tells it, and
    /// it is counted as running until it stops. A job that its context has told to stop has no result: the caller gets
    /// [`TimedOut`](ComputeError::TimedOut), whatever the job returned.
    ///
    /// The job runs on another thread and may outlive its caller, so it owns what it works on. It should not wait for
    /// anything: that would hold a thread which others need. Not for a clock that a test holds still: see
    /// [`inline`](Compute::inline).
    ///
    /// # Errors
    /// See [`ComputeError`].
    pub async fn run<T, F>(&self, label: &str, deadline: Deadline, job: F) -> Result<T, ComputeError>
    where
        T: Send + 'static,
        F: FnOnce(&JobContext) -> T + Send + 'static,
    {
        let (job, answer) = Job::new(deadline, job);
        let _place: Option<Place<'_>> = match &*self.0 {
            Form::Threads(owner) => Some(owner.0.submit(label, job)?),
            Form::Inline(totals) => {
                run_inline(totals, &*job);
                None
            }
        };
        match deadline.bound(answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_let_go)) => Err(ComputeError::Cancelled),
            Err(_elapsed) => Err(ComputeError::TimedOut),
        }
    }

    /// What is waiting and running now, and what became of the jobs so far; all numbers are of one instant.
    pub fn counts(&self) -> ComputeCounts {
        match &*self.0 {
            Form::Threads(owner) => owner.0.counts(),
            Form::Inline(totals) => *totals.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

fn run_inline(totals: &Mutex<ComputeCounts>, job: &dyn Work) {
    let wanted = job.is_wanted();
    let ended = if wanted {
        Some(job.run(job::now(), ComputeSettings::default().limit))
    } else {
        None
    };
    {
        let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.submitted += 1;
        totals.add(ended);
    }
    let _panic_of_a_drop = contained(|| if wanted { job.deliver() } else { job.give_up() });
}

/// The threads hold the pool as well; this is held by the handles only.
struct PoolOwner(Arc<Pool>);

impl Drop for PoolOwner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        write!(
            f,
            "Compute({} threads, {} running, {} waiting)",
            counts.threads, counts.running, counts.waiting
        )
    }
}

impl fmt::Display for ComputeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ComputeError::Busy => f.write_str("the compute pool is full"),
            ComputeError::TimedOut => f.write_str("the job was not done in time"),
            ComputeError::Cancelled => f.write_str("the job was cancelled"),
            ComputeError::Panicked(message) => write!(f, "the job panicked: {message}"),
        }
    }
}

impl Error for ComputeError {}

impl From<ComputeError> for CallError {
    fn from(error: ComputeError) -> Self {
        let kind = match error {
            ComputeError::Busy => Kind::Busy,
            ComputeError::TimedOut => Kind::Timeout,
            ComputeError::Cancelled => Kind::Cancelled,
            ComputeError::Panicked(_) => Kind::Panic,
        };
        CallError::new(kind, error.to_string())
    }
}
