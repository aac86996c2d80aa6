//! Jobs that do not fit into memory: those of the fullest host lie on disk until it has run low, so that what stands behind them in the
//! input is not kept waiting.

use tokio::time::Instant;

use super::drive::{Drive, Key, Output, Work};
use crate::{FetchError, Job};

/// Jobs in memory while places are free and what is known cannot use them; beyond, jobs of the fullest host are put aside on disk.
pub(super) const IN_MEMORY: usize = 8_192;
/// What stays in memory of a host whose jobs are put aside, and how many come back at once.
const KEPT_OF_HOST: usize = 64;
const BACK_AT_ONCE: usize = 256;
/// Jobs that may lie aside for each host that is known, and in all. With one host known there is little hope for others further on.
const ASIDE_OF_HOST: u64 = 20_000;
const ASIDE: u64 = 2_000_000;

impl Drive {
    /// Puts jobs of the fullest host aside while memory is full and places are free; brings some back where a host has run low.
    pub(super) fn move_aside(&mut self) {
        if self.is_moving_aside || !self.may_start() {
            return;
        }
        if let Some(host) = self.schedule.hungry() {
            self.is_moving_aside = true;
            let (store, name) = (self.store.clone(), host.clone());
            let back = async move { Output::Jobs(store.unspill(&name, BACK_AT_ONCE).await) };
            self.children.start(Key::Back(host), back);
            return;
        }
        let is_full = self.schedule.queued() >= IN_MEMORY && self.schedule.free_places() > 0 && self.feed.is_some();
        let most = ASIDE.min(ASIDE_OF_HOST * self.schedule.hosts() as u64);
        if !is_full || self.aside >= most {
            return;
        }
        let Some((host, works)) = self.schedule.spill(KEPT_OF_HOST) else {
            return;
        };
        let now = Instant::now();
        let mut jobs = Vec::with_capacity(works.len());
        let mut others = Vec::new();
        for work in works {
            match work {
                Work::Job(task) if task.is_pristine() => jobs.push(task.job),
                other => others.push(other),
            }
        }
        self.schedule.restored(&host, Some(others.len() as u64), now);
        for work in others {
            if let Err(refused) = self.schedule.push(&host, work, now) {
                self.give_up(vec![refused]);
            }
        }
        self.is_moving_aside = true;
        let store = self.store.clone();
        let count = jobs.len() as u64;
        let aside = async move { Output::Done(store.spill(&host, jobs).await) };
        self.children.start(Key::Aside(count), aside);
    }

    pub(super) fn take_back(&mut self, host: &str, jobs: Result<Vec<Job>, FetchError>) {
        self.is_moving_aside = false;
        let jobs = match jobs {
            Ok(jobs) => jobs,
            Err(error) => return self.fail(error),
        };
        let now = Instant::now();
        let count = jobs.len() as u64;
        self.aside = self.aside.saturating_sub(count);
        for job in jobs {
            self.take(job, now);
        }
        self.schedule.restored(host, (count > 0).then_some(count), now);
    }
}
