//! One job: its closure, what it is told while it runs, and the way of its result to the caller.
//!
//! Three parties hold a job: the caller, who may leave; the pool, which runs it; and the pool's watcher, which may answer the
//! caller in its stead. Whatever each of them takes out of it, it takes once.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ComputeError;
use crate::Deadline;
use crate::settled::panic_message;

/// What a job asks whether it should go on. May be shared with threads that the job starts and ends itself.
#[derive(Debug, Default)]
pub struct JobContext {
    /// The caller is gone.
    unwanted: AtomicBool,
    /// When the time is up; set when the job starts.
    ends: OnceLock<Instant>,
    /// The job was told to stop, so its result is not a whole one.
    told: AtomicBool,
}

/// The job should stop: its caller left, or its time is up. Nobody will see its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl JobContext {
    /// Whether the job should stop, because its caller left, the deadline passed or its limit is reached. Once it has said
    /// so it stays so, and what the job returns is dropped. Costs a look at the clock, about 30 ns: ask every few
    /// microseconds of work.
    pub fn cancelled(&self) -> bool {
        let stop = self.told.load(Relaxed) || self.unwanted.load(Relaxed) || self.ends.get().is_some_and(|ends| now() >= *ends);
        if stop {
            self.told.store(true, Relaxed);
        }
        stop
    }

    /// The same as [`cancelled`](JobContext::cancelled), for use with `?`.
    ///
    /// # Errors
    /// [`Stopped`] if the job should stop.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.cancelled() { Err(Stopped) } else { Ok(()) }
    }
}

/// The clock of running jobs. Not tokio's: computing takes real time where that one stands still, and a job that loops has to
/// come to its limit there too.
#[expect(clippy::disallowed_methods, reason = "how long a job has computed is real time also in tests")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Runs code that is not ours: a job, or the drop of what a job or its caller owns.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(panic_message)
}

/// How a job that ran came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Finished,
    Stopped,
    Panicked,
}

/// A job without its types. Except for the first, none of these may be called under a lock: they run or drop what is not ours.
pub(super) trait Work: Send + Sync {
    /// Whether it is worth starting: the caller is there and the deadline has not passed.
    fn is_wanted(&self) -> bool;
    /// Runs the closure, with this much time from `began`; the result is kept for [`deliver`](Work::deliver).
    fn run(&self, began: Instant, limit: Duration) -> Ended;
    /// Hands the result to the caller, if it is still there.
    fn deliver(&self);
    /// Tells the caller that it is too late. A closure that has not been started is dropped.
    fn give_up(&self);
    /// Notes that the caller is gone. A closure that has not been started is dropped.
    fn cancel(&self);
}

type Answer<T> = Result<T, ComputeError>;

pub(super) struct Job<T, F> {
    context: JobContext,
    deadline: Deadline,
    inside: Mutex<Inside<T, F>>,
}

struct Inside<T, F> {
    /// Until it is started.
    closure: Option<F>,
    /// From its end to its delivery.
    answer: Option<Answer<T>>,
    /// Until the caller has been answered.
    caller: Option<oneshot::Sender<Answer<T>>>,
}

impl<T, F> Job<T, F> {
    pub(super) fn new(deadline: Deadline, closure: F) -> (Arc<Self>, oneshot::Receiver<Answer<T>>) {
        let (sender, receiver) = oneshot::channel();
        let inside = Inside {
            closure: Some(closure),
            answer: None,
            caller: Some(sender),
        };
        let job = Job {
            context: JobContext::default(),
            deadline,
            inside: Mutex::new(inside),
        };
        (Arc::new(job), receiver)
    }

    fn inside(&self) -> MutexGuard<'_, Inside<T, F>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, answer: Answer<T>) {
        let caller = self.inside().caller.take();
        if let Some(caller) = caller {
            let _caller_left = caller.send(answer);
        }
    }

    fn drop_closure(&self) {
        let closure = self.inside().closure.take();
        drop(closure); // outside of the lock
    }
}

impl<T, F> Work for Job<T, F>
where
    T: Send,
    F: FnOnce(&JobContext) -> T + Send,
{
    fn is_wanted(&self) -> bool {
        !self.context.unwanted.load(Relaxed) && !self.deadline.has_passed()
    }

    fn run(&self, began: Instant, limit: Duration) -> Ended {
        let Some(closure) = self.inside().closure.take() else {
            return Ended::Stopped;
        };
        let _first = self.context.ends.set(began + limit.min(self.deadline.left()));
        let output = contained(|| {
            let output = closure(&self.context);
            let is_whole = !self.context.told.load(Relaxed);
            is_whole.then_some(output)
        });
        let (ended, answer) = match output {
            Ok(Some(output)) => (Ended::Finished, Ok(output)),
            Ok(None) => (Ended::Stopped, Err(ComputeError::TimedOut)),
            Err(message) => (Ended::Panicked, Err(ComputeError::Panicked(message))),
        };
        self.inside().answer = Some(answer);
        ended
    }

    fn deliver(&self) {
        let answer = self.inside().answer.take();
        if let Some(answer) = answer {
            self.answer(answer);
        }
    }

    fn give_up(&self) {
        self.answer(Err(ComputeError::TimedOut));
        self.drop_closure();
    }

    fn cancel(&self) {
        self.context.unwanted.store(true, Relaxed);
        self.drop_closure();
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the job was told to stop")
    }
}

impl Error for Stopped {}
