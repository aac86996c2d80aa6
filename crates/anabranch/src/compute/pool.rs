//! The threads of a compute pool and the one that watches them.
//!
//! Everything they share is one state under one lock, held for as long as it takes to move a job; jobs are run, answered and
//! dropped outside of it. The watcher sleeps until the oldest running job comes to twice its limit. It is the only one that
//! can tell, since the job's thread is inside the job and its caller may be gone.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::counts::ComputeCounts;
use super::job::{Ended, Work, contained, now};
use super::queue::{Bill, Queue};
use super::thread::{self, Level};
use super::{ComputeError, ComputeSettings};

/// A job that runs for this many limits is not going to ask its context.
const LIMITS_UNTIL_LOST: u32 = 2;
/// Lost threads that are replaced at a time. More would let jobs that never end take the machine thread by thread.
const SPARE_THREADS: usize = 2;
const SHORTEST_LIMIT: Duration = Duration::from_millis(1);
const LONGEST_LIMIT: Duration = Duration::from_secs(86_400);

type AnyJob = Arc<dyn Work>;

pub(super) struct Pool {
    state: Mutex<State>,
    /// Tells the threads of a new job or of the end.
    work: Condvar,
    /// Tells the resting watcher of a started job or of the end.
    watch: Condvar,
    /// Threads that should take jobs.
    wanted: usize,
    level: Level,
    limit: Duration,
}

struct State {
    queue: Queue<AnyJob>,
    /// By the number of the thread.
    running: HashMap<u64, Running>,
    /// Threads that take jobs; with the lost ones never more than wanted and spare together.
    serving: usize,
    /// Threads whose job is marked lost.
    lost: usize,
    next_thread: u64,
    watcher: Watcher,
    closed: bool,
    /// What became of the jobs; the fields about now are filled in when somebody asks.
    totals: ComputeCounts,
}

struct Running {
    job: AnyJob,
    bill: Bill,
    began: Instant,
    lost: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watcher {
    Missing,
    /// Awake, or about to be without being told.
    Awake,
    /// Has to be told when a job starts.
    Resting,
}

/// A job's place with the pool, held by its caller: dropping it cancels the job.
pub(super) struct Place<'a> {
    pool: &'a Pool,
    label: &'a str,
    number: u64,
    job: AnyJob,
}

impl Pool {
    pub(super) fn start(settings: ComputeSettings) -> Arc<Self> {
        let wanted = settings.threads.max(1);
        let queue = Queue::new(wanted.saturating_mul(settings.queue_per_thread.max(1)));
        let state = State {
            queue,
            running: HashMap::new(),
            serving: 0,
            lost: 0,
            next_thread: 0,
            watcher: Watcher::Missing,
            closed: false,
            totals: ComputeCounts::default(),
        };
        let pool = Arc::new(Pool {
            state: Mutex::new(state),
            work: Condvar::new(),
            watch: Condvar::new(),
            wanted,
            level: thread::level_below(),
            limit: settings.limit.clamp(SHORTEST_LIMIT, LONGEST_LIMIT),
        });
        pool.man(&mut pool.lock());
        pool
    }

    /// Queues a job, or refuses it at once.
    pub(super) fn submit<'a>(self: &'a Arc<Self>, label: &'a str, job: AnyJob) -> Result<Place<'a>, ComputeError> {
        let too_late = !job.is_wanted();
        let mut state = self.lock();
        state.totals.submitted += 1;
        if too_late {
            state.totals.add(None);
            return Err(ComputeError::TimedOut);
        }
        self.man(&mut state);
        let number = if state.serving == 0 {
            None
        } else {
            state.queue.push(label, job.clone())
        };
        let Some(number) = number else {
            state.totals.busy += 1;
            return Err(ComputeError::Busy);
        };
        drop(state);
        self.work.notify_one();
        Ok(Place {
            pool: self,
            label,
            number,
            job,
        })
    }

    /// Ends the threads, each after its job.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
        self.watch.notify_all();
    }

    pub(super) fn counts(&self) -> ComputeCounts {
        let state = self.lock();
        ComputeCounts {
            threads: state.serving,
            lost: state.lost,
            waiting: state.queue.waiting(),
            running: state.running.len(),
            ..state.totals
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the threads that are missing: all of them at first, later those in place of lost ones and those that the system
    /// refused before.
    fn man(self: &Arc<Self>, state: &mut State) {
        if state.watcher == Watcher::Missing {
            let pool = self.clone();
            let started = thread::start("compute-watch".to_owned(), None, move || pool.watch());
            state.watcher = if started.is_ok() { Watcher::Awake } else { Watcher::Missing };
        }
        while state.serving < self.wanted && state.serving + state.lost < self.wanted + SPARE_THREADS {
            let number = state.next_thread;
            let pool = self.clone();
            if thread::start(format!("compute-{number}"), self.level, move || pool.serve(number)).is_err() {
                return;
            }
            state.next_thread += 1;
            state.serving += 1;
        }
    }

    /// The life of a thread.
    fn serve(&self, number: u64) {
        while let Some((job, began)) = self.next_job(number) {
            let ended = job.run(began, self.limit);
            let stays = self.settle(number, ended);
            let _panic_of_a_drop = contained(|| job.deliver());
            if !stays {
                return;
            }
        }
    }

    /// Waits for a job that is worth starting and notes that it runs. `None` when the pool is closed.
    fn next_job(&self, number: u64) -> Option<(AnyJob, Instant)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                state.serving -= 1;
                return None;
            }
            let Some(taken) = state.queue.pop() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if taken.job.is_wanted() {
                return Some(self.begin(state, number, taken.job, taken.bill));
            }
            state.queue.settle(&taken.bill, None);
            state.totals.add(None);
            drop(state);
            let _panic_of_a_drop = contained(|| taken.job.give_up());
            state = self.lock();
        }
    }

    fn begin(&self, mut state: MutexGuard<'_, State>, number: u64, job: AnyJob, bill: Bill) -> (AnyJob, Instant) {
        let began = now();
        let running = Running {
            job: job.clone(),
            bill,
            began,
            lost: false,
        };
        state.running.insert(number, running);
        if state.watcher == Watcher::Resting {
            state.watcher = Watcher::Awake;
            self.watch.notify_one();
        }
        (job, began)
    }

    /// Notes that a thread's job has ended; whether the thread is still needed.
    fn settle(&self, number: u64, ended: Ended) -> bool {
        let mut state = self.lock();
        let running = state.running.remove(&number).expect("a thread settles the job it began");
        state
            .queue
            .settle(&running.bill, Some(now().saturating_duration_since(running.began)));
        state.totals.add(Some(ended));
        if !running.lost {
            return true;
        }
        state.lost -= 1;
        let stays = state.serving < self.wanted;
        if stays {
            state.serving += 1;
        }
        stays
    }

    /// The life of the watcher. When no job runs it stays for one more term before it rests, so that under load it need not
    /// be woken with every job: whatever starts meanwhile comes to its term later than that.
    fn watch(self: Arc<Self>) {
        let term = self.limit * LIMITS_UNTIL_LOST;
        let mut was_quiet = false;
        let mut state = self.lock();
        while !state.closed {
            let lost = state.mark_lost(now(), term);
            if !lost.is_empty() {
                self.man(&mut state);
                drop(state);
                for job in lost {
                    let _panic_of_a_drop = contained(|| job.give_up());
                }
                state = self.lock();
                continue;
            }
            let next = state.next_term(term).map(|at| at.saturating_duration_since(now()));
            if next.is_none() && was_quiet {
                state.watcher = Watcher::Resting;
                state = self.watch.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.watcher = Watcher::Awake;
            } else {
                let wait = next.unwrap_or(term);
                (state, _) = self.watch.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
            }
            was_quiet = next.is_none();
        }
    }
}

impl State {
    /// Marks the jobs that have run for a whole term; their threads serve no more.
    fn mark_lost(&mut self, now: Instant, term: Duration) -> Vec<AnyJob> {
        let mut lost = Vec::new();
        for running in self.running.values_mut() {
            let overran = !running.lost && now.saturating_duration_since(running.began) >= term;
            if overran {
                running.lost = true;
                lost.push(running.job.clone());
            }
        }
        self.serving -= lost.len();
        self.lost += lost.len();
        self.totals.overran += lost.len() as u64;
        lost
    }

    /// When the next running job has run for a whole term.
    fn next_term(&self, term: Duration) -> Option<Instant> {
        let in_time = self.running.values().filter(|running| !running.lost);
        in_time.map(|running| running.began).min().map(|began| began + term)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.pool.lock();
            let waiting = state.queue.remove(self.label, self.number);
            if waiting.is_some() {
                state.totals.add(None);
            }
            waiting
        };
        drop(waiting);
        self.job.cancel();
    }
}
