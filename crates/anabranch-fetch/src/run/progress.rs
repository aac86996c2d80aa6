//! How far a run is, readable from another thread while it goes on. The run counts into atomics; what needs a look at the hosts is
//! published only while somebody asks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Outcome;
use crate::schedule::Held;

/// The rate is that of this time.
const RATE_OVER: Duration = Duration::from_secs(10);
/// How often the list of hosts is made anew.
const HELD_EVERY: Duration = Duration::from_millis(200);
/// How many hosts are listed.
const HELD_MOST: usize = 10;

/// A handle to how far a run is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Counters>);

#[derive(Debug)]
pub(super) struct Counters {
    pub(super) by_outcome: [AtomicU64; Outcome::ALL.len()],
    pub(super) read: AtomicU64,
    /// `u64::MAX` where it is not known.
    pub(super) known_total: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) queued: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) earlier: AtomicU64,
    is_asked: AtomicBool,
    /// Wakes the run when somebody asks: while all hosts wait, nothing else would.
    pub(super) asked: Notify,
    held: Mutex<Published>,
    seen: Mutex<VecDeque<(Instant, u64)>>,
}

#[derive(Debug, Default)]
struct Published {
    at: Option<Instant>,
    held: Vec<Held>,
}

/// How far a run is, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Jobs that ended in this call.
    pub done: u64,
    /// Jobs that ended in earlier calls.
    pub earlier: u64,
    /// Jobs there will be in this call, where that is known: the input was read to its end, and nothing is followed.
    pub known_total: Option<u64>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Jobs that are read and wait.
    pub queued: u64,
    /// Jobs that ended a second, over the last ten seconds.
    pub rate: f64,
    /// Those that failed, by how; in the order of [`Outcome::ALL`].
    pub failed: Vec<(Outcome, u64)>,
    /// Attempts that were followed by another.
    pub retries: u64,
    /// Bytes of bodies, as sent.
    pub bytes: u64,
    /// How long the rest will take at this rate.
    pub eta: Option<Duration>,
    /// Hosts whose jobs wait for the host itself, most jobs first.
    pub held: Vec<Held>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Progress(Arc::new(Counters {
            by_outcome: std::array::from_fn(|_| AtomicU64::new(0)),
            read: AtomicU64::new(0),
            known_total: AtomicU64::new(u64::MAX),
            in_flight: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            earlier: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
            asked: Notify::new(),
            held: Mutex::default(),
            seen: Mutex::default(),
        }))
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.0
    }

    /// How far it is now. The list of hosts is up to a fifth of a second old, and empty the first time.
    pub fn snapshot(&self) -> Snapshot {
        let counters = &*self.0;
        counters.is_asked.store(true, Relaxed);
        counters.asked.notify_one();
        let done = counters.done();
        let rate = self.rate(done, Instant::now());
        let known_total = Some(counters.known_total.load(Relaxed)).filter(|total| *total != u64::MAX);
        let left = known_total.map(|total| total.saturating_sub(done));
        let failed = Outcome::ALL.iter().filter(|outcome| !outcome.is_fine());
        let failed = failed.map(|outcome| (*outcome, counters.by_outcome[*outcome as usize].load(Relaxed)));
        Snapshot {
            done,
            earlier: counters.earlier.load(Relaxed),
            known_total,
            in_flight: counters.in_flight.load(Relaxed),
            queued: counters.queued.load(Relaxed),
            rate,
            failed: failed.filter(|(_, count)| *count > 0).collect(),
            retries: counters.retries.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            eta: left
                .filter(|_| rate > 0.0)
                .and_then(|left| Duration::try_from_secs_f64(left as f64 / rate).ok()),
            held: counters.held.lock().unwrap_or_else(PoisonError::into_inner).held.clone(),
        }
    }

    fn rate(&self, done: u64, now: Instant) -> f64 {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Two handles may ask at almost the same time: the list must not grow with that.
        if seen
            .back()
            .is_none_or(|(at, _)| now.saturating_duration_since(*at) >= Duration::from_millis(50))
        {
            seen.push_back((now, done));
        }
        while seen.len() > 2 && now.saturating_duration_since(seen[0].0) > RATE_OVER {
            seen.pop_front();
        }
        let Some((from, before)) = seen.front() else { return 0.0 };
        let seconds = now.saturating_duration_since(*from).as_secs_f64();
        if seconds > 0.0 {
            done.saturating_sub(*before) as f64 / seconds
        } else {
            0.0
        }
    }
}

impl Counters {
    pub(super) fn count(&self, outcome: Outcome) {
        self.by_outcome[outcome as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn done(&self) -> u64 {
        self.by_outcome.iter().map(|count| count.load(Relaxed)).sum()
    }

    /// Publishes the hosts that are held, where somebody has asked since the last time and that is a while ago.
    pub(super) fn publish_held(&self, clock: impl FnOnce() -> Instant, held: impl FnOnce(usize, Instant) -> Vec<Held>) {
        if !self.is_asked.load(Relaxed) {
            return;
        }
        let now = clock();
        let mut published = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if published.at.is_none_or(|at| now.saturating_duration_since(at) >= HELD_EVERY) {
            self.is_asked.store(false, Relaxed);
            published.at = Some(now);
            published.held = held(HELD_MOST, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rest_is_estimated_from_the_rate_of_late() {
        let progress = Progress::new();
        assert_eq!(progress.snapshot().eta, None);
        progress.counters().known_total.store(100, Relaxed);
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(500)).await;
            progress.counters().count(Outcome::Ok);
            progress.snapshot();
        }
        let snapshot = progress.snapshot();
        assert_eq!((snapshot.done, snapshot.rate), (20, 2.0));
        assert_eq!(snapshot.eta, Some(Duration::from_secs(40)));
        assert!(snapshot.failed.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_are_listed_only_while_somebody_asks() {
        let progress = Progress::new();
        progress.counters().publish_held(Instant::now, |_, _| panic!("nobody asked"));
        progress.snapshot();
        let mut made = 0;
        for _ in 0..3 {
            progress.counters().publish_held(Instant::now, |_, _| {
                made += 1;
                Vec::new()
            });
        }
        assert_eq!(made, 1);
    }
}
