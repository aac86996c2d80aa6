//! What comes into a run: the input as far as there is room for it, and the jobs that pages have named.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::Instant;

use super::aside::IN_MEMORY;
use super::drive::{Drive, Output, Key, Work};
use super::feed::Fed;
use super::task::Task;
use crate::http::origin;
use crate::{FetchError, Job};

/// Jobs in memory while all places are taken: enough to choose from.
const AT_HAND: usize = 1_024;
/// Origins of the input that are remembered in a crawl; pages of further ones are asked for without the logins of the run.
const ORIGINS: usize = 100_000;
/// Jobs of the crawl that are asked for at once, and how often at the most the store is asked while it has none: asking makes it commit.
const FRONTIER: usize = 512;
const FRONTIER_EVERY: Duration = Duration::from_millis(25);

impl Drive {
    /// Whether the input is to be read on: while all places are taken, so far that there is something to choose from; while some are
    /// free that nothing at hand can use, further, for there may be other hosts behind.
    pub(super) fn wants_more(&self) -> bool {
        if self.feed.is_none() || !self.may_start() {
            return false;
        }
        let at_hand = self.schedule.queued() + self.rules.parked();
        let could_use_others = self.schedule.free_places() > 0 && !self.schedule.has_ready();
        at_hand < if could_use_others { IN_MEMORY } else { AT_HAND }
    }

    pub(super) fn take_fed(&mut self, count: usize) {
        if count == 0 {
            // The thread ended without a word: it must have panicked.
            self.feed = None;
            self.fail(FetchError::store("the thread that reads the input broke off"));
            return;
        }
        let now = Instant::now();
        for fed in std::mem::take(&mut self.fed) {
            match fed {
                Fed::Job(job) => {
                    if self.frontier.is_crawl && self.headers.has_private() && self.input_origins.len() < ORIGINS {
                        self.input_origins.insert(origin::origin(&job.url).into());
                    }
                    self.progress.counters().read.fetch_add(1, Relaxed);
                    self.take(job, now);
                }
                Fed::Ended(finished) => {
                    self.progress.counters().read.fetch_add(1, Relaxed);
                    self.hand_over(*finished);
                }
                Fed::End => self.feed = None,
                Fed::Failed(error) => {
                    self.feed = None;
                    self.fail(error);
                }
            }
        }
    }

    /// Takes a job in.
    pub(super) fn take(&mut self, mut job: Job, now: Instant) {
        let login = self.login(&mut job);
        let is_conditional = self.plan.options.output.if_changed;
        let remembered = if is_conditional { self.store.remembered(&job.id) } else { None };
        let task = Task::new(job, login, remembered);
        self.admit(task, now);
    }

    /// Gives a task to the schedule, behind the others of its host.
    pub(super) fn push(&mut self, task: Box<Task>, now: Instant) {
        let host = task.host().to_string();
        if let Err(refused) = self.schedule.push(&host, Work::Job(task), now) {
            self.give_up(vec![refused]);
        }
    }

    pub(super) fn ask_the_frontier(&mut self, now: Instant) {
        let is_low = self.schedule.queued() + self.rules.parked() < FRONTIER / 2;
        let may_have_some = self.frontier.dry_at.is_none_or(|handed| handed < self.handed);
        if !self.frontier.is_crawl || self.frontier.is_asking || !is_low || !may_have_some || !self.may_start() {
            return;
        }
        let next = self.frontier.asked_at.map(|asked| asked + FRONTIER_EVERY);
        let is_busy = self.schedule.in_flight() > 0 && self.frontier.dry_at.is_some();
        if let Some(next) = next.filter(|next| is_busy && *next > now) {
            self.wake = Some(self.wake.map_or(next, |wake| wake.min(next)));
            return;
        }
        self.frontier.is_asking = true;
        self.frontier.asked_at = Some(now);
        self.frontier.dry_at = Some(self.handed);
        let store = self.store.clone();
        let ask = async move { Output::Jobs(store.frontier(FRONTIER).await) };
        self.children.start(Key::Frontier, ask);
    }

    pub(super) fn take_frontier(&mut self, jobs: Result<Vec<Job>, FetchError>) {
        self.frontier.is_asking = false;
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(error) => return self.fail(error),
        };
        if !jobs.is_empty() {
            // There may be more.
            self.frontier.dry_at = None;
        }
        let now = Instant::now();
        for job in jobs {
            self.take(job, now);
        }
    }
}
