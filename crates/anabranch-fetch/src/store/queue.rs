//! The way from the run to the writer's thread: bounded, and the writer is woken per batch, not per record.
//!
//! A channel would wake the writer for every record, which costs more than all else that is done for it. Here the first record of a
//! batch wakes it, it waits for the batch's window, and a full batch ends that wait.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::record::Finished;
use crate::{FetchError, Job};

use super::Ending;

/// Records that may wait for the writer.
pub(super) const ROOM: usize = 2_048;
/// Records that are committed at once without waiting for more.
pub(super) const BATCH: usize = 500;
/// The longest that a record waits for others to be committed with it.
pub(super) const WINDOW: Duration = Duration::from_millis(200);

/// Asks for jobs of the crawl.
pub(super) struct Taker {
    pub(super) limit: usize,
    pub(super) reply: oneshot::Sender<Vec<Job>>,
}

/// What the writer has to do next.
#[derive(Default)]
pub(super) struct Work {
    pub(super) finished: Vec<Finished>,
    pub(super) takers: Vec<Taker>,
    /// Nothing comes after this.
    pub(super) ending: Option<Ending>,
}

pub(super) struct Queue {
    state: Mutex<State>,
    /// Told when the writer has something to do.
    filled: Condvar,
    /// A permit for each record that may still be handed in. Closed when the writer has ended.
    room: Semaphore,
}

#[derive(Default)]
struct State {
    work: Work,
    /// Whether the last has been handed in.
    has_ended: bool,
    /// Why the writer ended before it was told to.
    failed: Option<FetchError>,
}

impl Queue {
    pub(super) fn new() -> Self {
        Queue {
            state: Mutex::default(),
            filled: Condvar::new(),
            room: Semaphore::new(ROOM),
        }
    }

    /// Hands a record in; waits for room. Dropping the future while it waits hands nothing in.
    pub(super) async fn push(&self, finished: Finished) -> Result<(), FetchError> {
        match self.room.acquire().await {
            Ok(place) => place.forget(),
            Err(_closed) => return Err(self.failure()),
        }
        let mut state = self.lock();
        if state.has_ended {
            // It would be taken by nobody.
            drop(state);
            return Err(self.failure());
        }
        state.work.finished.push(finished);
        let waiting = state.work.finished.len();
        drop(state);
        if waiting == 1 || waiting == BATCH {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Asks for jobs of the crawl; the answer comes once all that was handed in before is committed or jobs are there anyway.
    pub(super) fn ask(&self, taker: Taker) {
        let mut state = self.lock();
        if state.failed.is_none() && !state.has_ended {
            state.work.takers.push(taker);
            drop(state);
            self.filled.notify_one();
        }
    }

    /// No more is handed in. What was comes first.
    pub(super) fn end(&self, ending: Ending) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.has_ended, true) {
            state.work.ending = Some(ending);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Waits for work, and then a little longer for more of it.
    pub(super) fn next(&self) -> Work {
        let idle = |state: &mut State| state.work.finished.is_empty() && !state.is_urgent();
        let state = self.filled.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        let filling = |state: &mut State| state.work.finished.len() < BATCH && !state.is_urgent();
        let (mut state, _timeout) = self
            .filled
            .wait_timeout_while(state, WINDOW, filling)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.work)
    }

    /// So many records are committed: as many may come.
    pub(super) fn committed(&self, records: usize) {
        self.room.add_permits(records);
    }

    /// The writer has ended. Whoever waits for room or for jobs hears why.
    pub(super) fn fail(&self, why: FetchError) {
        let mut state = self.lock();
        state.failed.get_or_insert(why);
        state.work.takers.clear();
        drop(state);
        self.room.close();
    }

    pub(super) fn failure(&self) -> FetchError {
        let failed = self.lock().failed.clone();
        failed.unwrap_or_else(|| FetchError::store("the store is closed"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_urgent(&self) -> bool {
        !self.work.takers.is_empty() || self.work.ending.is_some()
    }
}
