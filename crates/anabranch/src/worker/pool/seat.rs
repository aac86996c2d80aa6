//! A seat as the task that tends it has it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Doing, Pool, State, Task};
use crate::CallError;

/// A seat as its task has it. Dropped, it is free for another task.
pub(in crate::worker) struct Seat {
    pub(in crate::worker) pool: Arc<Pool>,
    pub(super) number: usize,
}

/// A job that a seat has taken.
pub(in crate::worker) struct Job {
    pub(in crate::worker) task: Task,
    pub(in crate::worker) answer: oneshot::Sender<Result<Bytes, CallError>>,
}

/// What a free seat finds.
enum Found {
    Job(Job),
    Nothing,
    /// It should end.
    End,
}

impl Seat {
    /// The job that has waited longest, if one does.
    fn take(&self) -> Found {
        loop {
            let mut state = self.pool.lock();
            if state.is_closed || self.is_released(&state) {
                return Found::End;
            }
            let Some(waiting) = state.waiting.pop_front() else {
                return Found::Nothing;
            };
            let (answer, reply) = oneshot::channel();
            self.set(&mut state, Doing::Busy);
            drop(state);
            if waiting.taken.send(reply).is_ok() {
                return Found::Job(Job {
                    task: waiting.task,
                    answer,
                });
            }
            // Its caller left in this moment.
            self.enter(Doing::Free);
        }
    }

    /// Waits for a job.
    pub(in crate::worker) async fn job(&self) -> Option<Job> {
        loop {
            // Made before the look: it hears of everything that happens after this line.
            let told = self.pool.work.notified();
            match self.take() {
                Found::Job(job) => return Some(job),
                Found::End => return None,
                Found::Nothing => told.await,
            }
        }
    }

    /// Waits until its task should end.
    pub(in crate::worker) async fn end(&self) {
        loop {
            let told = self.pool.changed.notified();
            if self.should_end() {
                return;
            }
            told.await;
        }
    }

    pub(in crate::worker) fn should_end(&self) -> bool {
        let state = self.pool.lock();
        state.is_closed || self.is_released(&state)
    }

    pub(in crate::worker) fn enter(&self, doing: Doing) {
        self.set(&mut self.pool.lock(), doing);
    }

    /// Notes the number of its process, or that it has been reaped.
    pub(in crate::worker) fn holds(&self, process: Option<u32>) {
        if let Some(seat) = &mut self.pool.lock().seats[self.number] {
            seat.process = process;
        }
    }

    fn set(&self, state: &mut State, doing: Doing) {
        if let Some(seat) = &mut state.seats[self.number] {
            seat.doing = doing;
        }
    }

    fn is_released(&self, state: &State) -> bool {
        state.seats[self.number].as_ref().is_none_or(|seat| seat.is_released)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.lock().seats[self.number] = None;
        // Those who wait may have to find another task for it.
        self.pool.changed.notify_waiters();
    }
}
