//! The loop of a run: takes jobs in while there is room, starts what the schedule lets start, and hands what has ended to the store.
//!
//! One task owns everything. Requests are its children, so whatever ends the loop ends them too, and nothing is shared but what they read.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use anabranch::{Deadline, Finished as Child, Gathering, Settled};
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::attempt::Attempted;
use super::feed::{AHEAD, Fed};
use super::latency::Latencies;
use super::look::Found;
use super::plan::Plan;
use super::progress::Progress;
use super::rules::Rules;
use super::stop::{Stop, StopSignal};
use super::summary::Ended;
use super::task::Task;
use crate::http::cookies::Jar;
use crate::http::failure::Failed;
use crate::http::headers::Headers;
use crate::http::origins::Origins;
use crate::schedule::{Next, Place, Schedule, Verdict};
use crate::store::Store;
use crate::{FetchError, Job, Outcome};

/// Records that wait for room in the store before nothing new is started.
const COMMITS_WAITING: usize = 64;
/// Bodies that wait to be looked through before nothing new is started.
const LOOKS_WAITING: usize = 256;

pub(super) struct Drive {
    pub(super) plan: Arc<Plan>,
    pub(super) store: Store,
    pub(super) schedule: Schedule<Work>,
    pub(super) headers: Headers,
    pub(super) origins: Origins,
    pub(super) jar: Option<Jar>,
    pub(super) rules: Rules,
    pub(super) progress: Progress,
    pub(super) latencies: Latencies,
    pub(super) by_host: HashMap<Box<str>, (Duration, u64)>,
    /// Origins that the input names: what may see logins of the run. Kept only in a crawl that has any.
    pub(super) input_origins: HashSet<Box<str>>,
    pub(super) children: Gathering<'static, Key, Output>,
    /// Records on their way into the store, oldest first.
    pub(super) commits: VecDeque<Commit>,
    pub(super) feed: Option<mpsc::Receiver<Fed>>,
    pub(super) fed: Vec<Fed>,
    pub(super) looks: usize,
    pub(super) aside: u64,
    pub(super) is_moving_aside: bool,
    pub(super) frontier: Frontier,
    pub(super) failures: u64,
    pub(super) handed: u64,
    pub(super) stopping: Stop,
    pub(super) wake: Option<Instant>,
    pub(super) error: Option<FetchError>,
    pub(super) ended: Option<Ended>,
}

/// Rings once.
type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A record on its way into the store.
pub(super) type Commit = Pin<Box<dyn Future<Output = Result<(), FetchError>> + Send>>;

/// What may be waiting for its host.
pub(super) enum Work {
    Job(Box<Task>),
    /// The robots.txt of a host.
    Rules(Box<super::rules::Asking>),
}

/// What a child was started for.
pub(super) enum Key {
    Attempt(Work, Place),
    Look(Box<Task>, Box<super::finish::Looking>),
    Frontier,
    Aside(u64),
    Back(Arc<str>),
}

/// What a child came to.
pub(super) enum Output {
    Attempt(Box<Attempted>),
    Look(Box<Found>),
    Jobs(Result<Vec<Job>, FetchError>),
    Done(Result<(), FetchError>),
}

/// What is known of the jobs that pages have named.
#[derive(Default)]
pub(super) struct Frontier {
    pub(super) is_crawl: bool,
    pub(super) is_asking: bool,
    /// Nothing was there, when so many records had been handed over.
    pub(super) dry_at: Option<u64>,
    pub(super) asked_at: Option<Instant>,
}

/// What a drive is made of, besides what it makes itself.
pub(super) struct Parts {
    pub(super) plan: Arc<Plan>,
    pub(super) store: Store,
    pub(super) schedule: Schedule<Work>,
    pub(super) headers: Headers,
    pub(super) origins: Origins,
    pub(super) jar: Option<Jar>,
    pub(super) progress: Progress,
    pub(super) feed: mpsc::Receiver<Fed>,
}

impl Drive {
    pub(super) fn new(parts: Parts) -> Self {
        let deadline = parts.plan.options.stop.deadline;
        let deadline = deadline.map_or_else(Deadline::never, Deadline::after);
        let rules = Rules::new(&parts.plan);
        Drive {
            frontier: Frontier {
                is_crawl: parts.plan.is_crawl(),
                ..Frontier::default()
            },
            plan: parts.plan,
            store: parts.store,
            schedule: parts.schedule,
            headers: parts.headers,
            origins: parts.origins,
            jar: parts.jar,
            rules,
            progress: parts.progress,
            latencies: Latencies::new(),
            by_host: HashMap::new(),
            input_origins: HashSet::new(),
            children: Gathering::new(deadline),
            commits: VecDeque::new(),
            feed: Some(parts.feed),
            fed: Vec::with_capacity(AHEAD),
            looks: 0,
            aside: 0,
            is_moving_aside: false,
            failures: 0,
            handed: 0,
            stopping: Stop::No,
            wake: None,
            error: None,
            ended: None,
        }
    }

    /// Runs until all jobs have ended, or something ends the run. What was handed to the store is there when this returns, not yet
    /// committed.
    pub(super) async fn run(&mut self, stop: &StopSignal) -> Result<Ended, FetchError> {
        let mut stopped = Box::pin(stop.beyond(Stop::No));
        let mut timer: Option<(Instant, Timer)> = None;
        loop {
            self.fill();
            if let Some(ended) = self.how_it_ended() {
                self.hand_over_the_rest(stop).await;
                return self.error.take().map_or(Ok(ended), Err);
            }
            let wake = self
                .wake
                .unwrap_or_else(|| self.children.end().instant())
                .min(self.children.end().instant());
            if timer.as_ref().is_none_or(|(at, _)| *at != wake) {
                timer = Some((wake, Box::pin(Deadline::at(wake).wait())));
            }
            let sleep = async {
                match &mut timer {
                    Some((_, timer)) => timer.await,
                    None => std::future::pending().await,
                }
            };
            let room = self.wants_more();
            tokio::select! {
                biased;
                urgency = &mut stopped => {
                    self.stop(urgency);
                    stopped = Box::pin(stop.beyond(urgency));
                }
                committed = front(&mut self.commits), if !self.commits.is_empty() => self.committed(committed),
                Some(child) = self.children.next(), if !self.children.is_empty() => self.settle(child),
                count = receive(&mut self.feed, &mut self.fed), if room => self.take_fed(count),
                () = sleep => timer = None,
                () = self.progress.counters().asked.notified() => {}
            }
        }
    }

    /// Takes in, puts aside, and starts whatever may start now.
    pub(super) fn fill(&mut self) {
        loop {
            let now = Instant::now();
            self.start_what_may(now);
            self.move_aside();
            self.ask_the_frontier(now);
            if !self.wants_more() {
                break;
            }
            // What is there already, at once: the input's thread is then woken once for many.
            let received = receive(&mut self.feed, &mut self.fed).now_or_never();
            match received {
                Some(count) => self.take_fed(count),
                None => break,
            }
        }
        let counters = self.progress.counters();
        counters.in_flight.store(self.schedule.in_flight() as u64, Relaxed);
        counters
            .queued
            .store(self.schedule.queued() as u64 + self.aside + self.rules.parked() as u64, Relaxed);
        let schedule = &self.schedule;
        counters.publish_held(Instant::now, |count, now| schedule.held(count, now));
    }

    pub(super) fn start_what_may(&mut self, now: Instant) {
        self.wake = None;
        while self.may_start() {
            match self.schedule.next(now) {
                Next::Start(Work::Job(mut task), place, waited) => {
                    task.start(waited, now);
                    self.start(task, place, now);
                }
                Next::Start(Work::Rules(asking), place, _waited) => self.start_asking(asking, place, now),
                Next::Wait(until) => {
                    self.wake = Some(until);
                    return;
                }
                Next::Blocked => return,
            }
        }
    }

    pub(super) fn may_start(&self) -> bool {
        self.stopping == Stop::No
            && self.error.is_none()
            && self.ended.is_none()
            && self.commits.len() < COMMITS_WAITING
            && self.looks < LOOKS_WAITING
    }

    pub(super) fn stop(&mut self, urgency: Stop) {
        self.stopping = urgency;
        if urgency == Stop::Drain {
            self.children.cut(Deadline::after(self.plan.options.time.drain));
        }
    }

    pub(super) fn settle(&mut self, child: Child<Key, Output>) {
        match (child.key, child.settled) {
            (Key::Attempt(Work::Job(task), place), Settled::Done(Output::Attempt(attempted))) => self.attempted(task, place, *attempted),
            (Key::Attempt(Work::Rules(asking), place), Settled::Done(Output::Attempt(attempted))) => {
                self.asked(asking, place, *attempted);
            }
            (Key::Attempt(Work::Job(task), place), Settled::Panicked(message)) => {
                self.give_back(place, Verdict::Unknown);
                self.end_without_answer(task, panicked(&message));
            }
            (Key::Look(task, looking), Settled::Done(Output::Look(found))) => {
                self.looks -= 1;
                self.looked(task, *looking, *found);
            }
            (Key::Look(task, _), Settled::Panicked(message)) => {
                self.looks -= 1;
                self.end_without_answer(task, panicked(&message));
            }
            (Key::Frontier, Settled::Done(Output::Jobs(jobs))) => self.take_frontier(jobs),
            (Key::Aside(count), Settled::Done(Output::Done(result))) => {
                self.is_moving_aside = false;
                self.aside += count;
                self.committed(result);
            }
            (Key::Back(host), Settled::Done(Output::Jobs(jobs))) => self.take_back(&host, jobs),
            // The run ends, and these with it: they leave no record, and are done when it is resumed.
            (Key::Attempt(_, place), _) => self.give_back(place, Verdict::Unknown),
            (Key::Look(..), _) => self.looks -= 1,
            (Key::Frontier | Key::Aside(_) | Key::Back(_), Settled::Panicked(message)) => self.fail(FetchError::store(message)),
            (Key::Frontier | Key::Aside(_) | Key::Back(_), _) => {}
        }
    }

    /// Gives a place back; ends the jobs of a host that is given up by that.
    pub(super) fn give_back(&mut self, place: Place, verdict: Verdict) {
        let left = self.schedule.ended(place, verdict, Instant::now());
        self.give_up(left);
    }

    /// The time by the clock on the wall.
    pub(super) fn wall_clock(&self) -> SystemTime {
        SystemTime::now()
    }
}

fn panicked(message: &str) -> Failed {
    Failed::ours(Outcome::Protocol, "panic", format!("our own code panicked: {message}"))
}

/// The next record that has found room; stays the front until then.
async fn front(commits: &mut VecDeque<Commit>) -> Result<(), FetchError> {
    let Some(commit) = commits.front_mut() else {
        return std::future::pending().await;
    };
    let committed = commit.await;
    commits.pop_front();
    committed
}

/// Receives what is there, at least one thing; 0 when the thread has ended.
async fn receive(feed: &mut Option<mpsc::Receiver<Fed>>, fed: &mut Vec<Fed>) -> usize {
    match feed {
        Some(feed) => feed.recv_many(fed, AHEAD).await,
        None => std::future::pending().await,
    }
}
