//! Ends: of a job, which goes into the store, and of the run.

use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::drive::{Commit, Drive, Work};
use super::report::{End, record};
use super::stop::{Stop, StopSignal};
use super::summary::Ended;
use super::task::Task;
use crate::http::failure::Failed;
use crate::http::origin;
use crate::options::MaxFailures;
use crate::record::Finished;
use crate::{FetchError, Outcome};

/// Hosts whose latencies are kept for the summary.
const HOSTS_MEASURED: usize = 20_000;

impl Drive {
    /// Hands a job that ended to the store, and counts it.
    pub(super) fn hand_over(&mut self, finished: Finished) {
        let record = &finished.record;
        let counters = self.progress.counters();
        counters.count(record.outcome);
        counters.retries.fetch_add(record.tries.len() as u64, Relaxed);
        counters.bytes.fetch_add(record.wire_bytes.unwrap_or(0), Relaxed);
        self.handed += 1;
        if !record.outcome.is_fine() {
            self.failures += 1;
            self.count_failure();
        }
        let store = self.store.clone();
        let mut commit: Commit = Box::pin(async move { store.commit(finished).await });
        // Usually there is room, and then nothing has to wait.
        let is_first = self.commits.is_empty();
        let polled = if is_first {
            commit.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        } else {
            Poll::Pending
        };
        match polled {
            Poll::Ready(committed) => self.committed(committed),
            Poll::Pending => self.commits.push_back(commit),
        }
    }

    pub(super) fn committed(&mut self, committed: Result<(), FetchError>) {
        if let Err(error) = committed {
            self.fail(error);
        }
    }

    /// Ends a task that got no answer.
    pub(super) fn end_without_answer(&mut self, mut task: Box<Task>, failed: Failed) {
        let record = record(&self.plan, &mut task, End::of(failed.outcome, failed.failure), Instant::now());
        self.hand_over(Finished::new(record));
    }

    /// Ends jobs whose host was given up.
    pub(super) fn give_up(&mut self, works: Vec<Work>) {
        for work in works {
            match work {
                Work::Job(task) => {
                    let after = self.plan.options.retry.host_give_up;
                    let failed = Failed::ours(
                        Outcome::HostGaveUp,
                        "host_gave_up",
                        format!("the host has not answered one request for {after:?}, so it is not asked any more"),
                    );
                    self.end_without_answer(task, failed);
                }
                Work::Rules(asking) => self.rules_failed(*asking),
            }
        }
    }

    /// Ends the run: the store, the input or a disk failed.
    pub(super) fn fail(&mut self, error: FetchError) {
        self.error.get_or_insert(error);
    }

    pub(super) fn count_failure(&mut self) {
        let stop = &self.plan.options.stop;
        let is_too_many = match stop.max_failures {
            Some(MaxFailures::Count(most)) => self.failures >= most.max(1),
            Some(MaxFailures::Share(most)) => self.handed >= 100 && self.failures as f64 > most * self.handed as f64,
            None => false,
        };
        if stop.fail_fast {
            self.ended.get_or_insert(Ended::FailFast);
        } else if is_too_many {
            self.ended.get_or_insert(Ended::MaxFailures);
        }
    }

    pub(super) fn how_it_ended(&mut self) -> Option<Ended> {
        if self.error.is_some() {
            return Some(Ended::Interrupted);
        }
        if let Some(ended) = self.ended {
            return Some(ended);
        }
        if self.stopping == Stop::Now {
            return Some(Ended::Interrupted);
        }
        let is_past_the_end = self.children.end().has_passed();
        if self.stopping == Stop::Drain {
            return (self.children.is_empty() || is_past_the_end).then_some(Ended::Interrupted);
        }
        if is_past_the_end {
            return Some(Ended::Deadline);
        }
        let is_idle = self.children.is_empty() && self.commits.is_empty() && self.schedule.queued() == 0;
        let brings_more = self.feed.is_some() || self.frontier_may_bring_more();
        let is_complete = is_idle && self.aside == 0 && self.rules.parked() == 0 && !brings_more;
        is_complete.then_some(Ended::Complete)
    }

    pub(super) fn frontier_may_bring_more(&self) -> bool {
        self.frontier.is_crawl && (self.frontier.is_asking || self.frontier.dry_at != Some(self.handed))
    }

    /// What has ended is handed to the store, whatever ended the run. Without room for it the store has failed, and says so.
    pub(super) async fn hand_over_the_rest(&mut self, stop: &StopSignal) {
        while let Some(commit) = self.commits.pop_front() {
            match stop.unless_at_once(commit).await {
                Some(committed) => self.committed(committed),
                None => return,
            }
        }
    }

    /// Counts the time that a job took for the summary.
    pub(super) fn measure(&mut self, task: &Task, now: Instant) {
        let Some(started) = task.first_started else { return };
        let took = now.saturating_duration_since(started);
        self.latencies.add(took);
        let host = origin::host(&task.job.url);
        if let Some((sum, count)) = self.by_host.get_mut(host) {
            *sum += took;
            *count += 1;
        } else if self.by_host.len() < HOSTS_MEASURED {
            self.by_host.insert(host.into(), (took, 1));
        }
    }
}
