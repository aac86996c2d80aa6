//! The seats of a source of workers and the jobs that wait for one.
//!
//! A seat is a place for one process. It is tended by a task in the background scope of the client that needed it first; the task
//! starts the process, takes jobs, and puts another process in its place. Jobs wait here, not at a seat, so that none is stuck behind
//! a process that dies; a seat takes the one that has waited longest when it is free. Everything is one state under one lock, held
//! for as long as it takes to move a job.

mod seat;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub(super) use seat::{Job, Seat};

use super::log::{Listener, WorkerNote};
use super::process::{self, Recipe};
use super::{WorkerCounts, WorkerSettings};
use crate::CallError;

pub(super) struct Pool {
    /// Names the source in notes and errors.
    pub(super) name: Arc<str>,
    pub(super) recipe: Recipe,
    pub(super) limits: PoolLimits,
    listener: Option<Listener>,
    /// Whether a process of this source has said that it is ready. From then on jobs wait until one does.
    greets: AtomicBool,
    state: Mutex<State>,
    /// Tells a free seat of a job, and all of them of the end.
    work: Notify,
    /// Tells those who wait for a seat that one has lost its task, and resting seats of the end.
    changed: Notify,
}

/// What does not change.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// Processes.
    pub(super) count: usize,
    /// Jobs that may wait.
    pub(super) queue: usize,
    /// How long they may.
    pub(super) queue_wait: Duration,
    /// How long a process may take to say its first line.
    pub(super) start: Duration,
    /// Jobs after which a process is replaced.
    pub(super) recycle: u64,
    /// How long a process may take to end, before and after it is told to.
    pub(super) stop: Duration,
}

struct State {
    waiting: VecDeque<Waiting>,
    next_number: u64,
    seats: Vec<Option<SeatState>>,
    is_closed: bool,
    /// What became of jobs and processes; what is now is filled in when somebody asks.
    totals: WorkerCounts,
}

/// A seat with a task.
struct SeatState {
    /// The client whose task it is.
    owner: usize,
    /// Whether that client wants its task to end.
    is_released: bool,
    doing: Doing,
    /// The number of its process, as long as that has not been reaped.
    process: Option<u32>,
}

/// What a seat is at.
#[derive(Clone, Debug)]
pub(super) enum Doing {
    /// Its process has been started and takes jobs, or will in a moment.
    Free,
    /// Its process has a job.
    Busy,
    /// Its process is being ended.
    Ending,
    /// It waits before it starts the next one; this is what became of the last.
    Resting { until: Instant, error: CallError },
}

/// A job that no seat has taken yet.
struct Waiting {
    number: u64,
    task: Task,
    taken: oneshot::Sender<Reply>,
}

/// What a process is given.
pub(super) struct Task {
    /// One JSON value and a newline.
    pub(super) line: Bytes,
    pub(super) settings: WorkerSettings,
}

impl Task {
    /// The largest answer, in bytes.
    pub(super) fn max_body(&self) -> usize {
        usize::try_from(self.settings.max_body).unwrap_or(usize::MAX)
    }
}

/// Where a caller hears the end of its job.
pub(super) type Reply = oneshot::Receiver<Result<Bytes, CallError>>;

/// A caller's place in the queue. Dropping it gives the place up.
pub(super) struct Place {
    pool: Arc<Pool>,
    number: u64,
    /// Hears where the answer will come, once a seat has taken the job.
    pub(super) taken: oneshot::Receiver<Reply>,
}

impl Pool {
    pub(super) fn new(name: Arc<str>, recipe: Recipe, limits: PoolLimits, listener: Option<Listener>) -> Arc<Self> {
        let state = State {
            waiting: VecDeque::new(),
            next_number: 0,
            seats: (0..limits.count).map(|_| None).collect(),
            is_closed: false,
            totals: WorkerCounts::default(),
        };
        Arc::new(Pool {
            name,
            recipe,
            limits,
            listener,
            greets: AtomicBool::new(false),
            state: Mutex::new(state),
            work: Notify::new(),
            changed: Notify::new(),
        })
    }

    /// Queues a task, or says at once why not. `until` is how long it would wait.
    pub(super) fn push(self: &Arc<Self>, task: Task, until: Instant) -> Result<Place, Refusal> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::Closed);
        }
        if let Some((wait, error)) = state.outage()
            && wait > until
        {
            return Err(Refusal::Outage(error.retry_in(wait.saturating_duration_since(Instant::now()))));
        }
        // Seats that are free, or for which a process will be started, take from the queue, so it may be longer than the queue of those
        // who have to wait.
        if state.waiting.len() >= self.limits.queue.saturating_add(state.free()).saturating_add(state.vacant()) {
            state.totals.refused += 1;
            return Err(Refusal::Full);
        }
        let (give, taken) = oneshot::channel();
        let number = state.next_number;
        state.next_number += 1;
        state.waiting.push_back(Waiting { number, task, taken: give });
        drop(state);
        self.work.notify_one();
        Ok(Place {
            pool: self.clone(),
            number,
            taken,
        })
    }

    /// A seat without a task, if more jobs wait than seats are free; or any, where all are wanted.
    pub(super) fn seat(self: &Arc<Self>, owner: usize, all: bool) -> Option<Seat> {
        let mut state = self.lock();
        let is_wanted = !state.is_closed && (all || state.waiting.len() > state.free());
        let number = state.seats.iter().position(Option::is_none).filter(|_| is_wanted)?;
        state.seats[number] = Some(SeatState {
            owner,
            is_released: false,
            doing: Doing::Free,
            process: None,
        });
        Some(Seat {
            pool: self.clone(),
            number,
        })
    }

    /// Hears of the next seat that loses its task. To be made before the look at the seats.
    pub(super) fn changed(&self) -> impl Future<Output = ()> {
        self.changed.notified()
    }

    /// Why a job that has waited in vain was not taken.
    pub(super) fn in_vain(&self) -> Refusal {
        let mut state = self.lock();
        match state.outage() {
            Some((until, error)) => Refusal::Outage(error.retry_in(until.saturating_duration_since(Instant::now()))),
            None => {
                state.totals.refused += 1;
                Refusal::InVain
            }
        }
    }

    /// Turns everybody away, also those who wait; seats end when they are done with their jobs.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let turned_away = std::mem::take(&mut state.waiting);
        drop(state);
        drop(turned_away);
        self.tell_all();
    }

    /// Kills all processes, with what they started.
    pub(super) fn kill(&self) {
        let state = self.lock();
        state.seats.iter().flatten().filter_map(|seat| seat.process).for_each(process::kill);
    }

    /// Ends the tasks of one client, each after its job.
    pub(super) fn release(&self, owner: usize) {
        for seat in self.lock().seats.iter_mut().flatten().filter(|seat| seat.owner == owner) {
            seat.is_released = true;
        }
        self.tell_all();
    }

    pub(super) fn counts(&self) -> WorkerCounts {
        let state = self.lock();
        let doing = |is_meant: fn(&Doing) -> bool| state.seats.iter().flatten().filter(|seat| is_meant(&seat.doing)).count();
        WorkerCounts {
            seats: state.seats.iter().flatten().count(),
            busy: doing(|doing| matches!(doing, Doing::Busy)),
            resting: doing(|doing| matches!(doing, Doing::Resting { .. })),
            waiting: state.waiting.len(),
            ..state.totals
        }
    }

    pub(super) fn tell(&self, note: &WorkerNote<'_>) {
        if let Some(listener) = &self.listener {
            listener(&self.name, note);
        }
    }

    /// Adds to what is counted.
    pub(super) fn count(&self, add: impl FnOnce(&mut WorkerCounts)) {
        add(&mut self.lock().totals);
    }

    pub(super) fn greets(&self) -> bool {
        self.greets.load(Ordering::Relaxed)
    }

    pub(super) fn has_greeted(&self) {
        self.greets.store(true, Ordering::Relaxed);
    }

    fn tell_all(&self) {
        self.work.notify_waiters();
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many seats are about to take a job.
    fn free(&self) -> usize {
        self.seats
            .iter()
            .flatten()
            .filter(|seat| matches!(seat.doing, Doing::Free) && !seat.is_released)
            .count()
    }

    /// How many seats have no task yet.
    fn vacant(&self) -> usize {
        self.seats.iter().filter(|seat| seat.is_none()).count()
    }

    /// Where every seat rests after its process failed: until when, and how the process failed that is replaced next.
    fn outage(&self) -> Option<(Instant, CallError)> {
        let mut next: Option<(Instant, &CallError)> = None;
        for seat in &self.seats {
            let Some(SeatState {
                doing: Doing::Resting { until, error },
                ..
            }) = seat
            else {
                return None;
            };
            if next.is_none_or(|(earliest, _)| *until < earliest) {
                next = Some((*until, error));
            }
        }
        next.map(|(until, error)| (until, error.clone()))
    }
}

/// Why a job is not done.
pub(super) enum Refusal {
    Closed,
    /// All processes are busy and the queue is full.
    Full,
    /// No process became free in time.
    InVain,
    /// No process can be started.
    Outage(CallError),
}

impl Place {
    /// Gives the place up; `false` if a seat has just taken the job.
    pub(super) fn leave(&mut self) -> bool {
        let mut state = self.pool.lock();
        let at = state.waiting.binary_search_by_key(&self.number, |waiting| waiting.number);
        let left = at.ok().and_then(|at| state.waiting.remove(at));
        drop(state);
        left.is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}
