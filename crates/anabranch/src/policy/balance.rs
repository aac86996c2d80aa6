//! The choice of an endpoint: the less loaded of two drawn at random.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// What an endpoint is taken to answer in until it has answered (linkerd's default RTT).
const DEFAULT_LATENCY: Duration = Duration::from_millis(30);

/// How fast an estimate forgets: after this time the old value weighs 1/e (linkerd's default decay).
const DECAY: Duration = Duration::from_secs(10);

/// The most that failures raise an estimate to (linkerd's penalty for endpoints that answer 429 or 503).
const PENALTY_MAX: Duration = Duration::from_secs(5);

/// Spreads the attempts of a source over its endpoints, known here by their index.
///
/// Of two endpoints drawn at random the one with the lower cost is taken (Mitzenmacher, "The Power of Two Choices in
/// Randomized Load Balancing", 2001). The cost is latency times attempts under way, this one included; the latency is
/// Finagle's peak EWMA: it jumps to a slower answer at once and comes down slowly, also while nobody asks, so that an
/// endpoint that was slow is tried again.
///
/// With a single endpoint nothing is drawn, measured or counted. For another list of endpoints, make another `Balance`; one
/// that is still in use lives on until its attempts have ended.
pub struct Balance {
    /// One for each endpoint; empty if there is but one.
    loads: Vec<Load>,
}

/// An endpoint picked for one attempt. Dropping it without [`record`](Picked::record) means that nobody knows how the attempt
/// would have ended: it stops counting as under way and leaves the estimate as it is.
#[must_use = "the attempt no longer counts as under way once this is dropped"]
pub struct Picked<'a> {
    index: usize,
    load: Option<&'a Load>,
}

impl Balance {
    /// A balance over `endpoints` endpoints, at least one.
    pub fn new(endpoints: usize) -> Self {
        let count = if endpoints > 1 { endpoints } else { 0 };
        let now = Instant::now();
        Balance {
            loads: (0..count).map(|_| Load::new(now)).collect(),
        }
    }

    /// Picks an endpoint for an attempt, none of `tried` as long as there is another.
    pub fn pick(&self, tried: &[usize]) -> Picked<'_> {
        if self.loads.is_empty() {
            return Picked { index: 0, load: None };
        }
        let index = self.choose(tried);
        let load = &self.loads[index];
        load.pending.fetch_add(1, Relaxed);
        Picked { index, load: Some(load) }
    }

    /// How many attempts are under way at this endpoint; always 0 if it is the only one.
    pub fn pending(&self, index: usize) -> usize {
        self.loads.get(index).map_or(0, |load| load.pending.load(Relaxed))
    }

    fn choose(&self, tried: &[usize]) -> usize {
        let all = self.loads.len();
        let mut skipped = tried;
        let mut candidates = (0..all).filter(|index| !skipped.contains(index)).count();
        if candidates == 0 {
            (skipped, candidates) = (&[], all);
        }
        let nth = |n| {
            (0..all)
                .filter(|index| !skipped.contains(index))
                .nth(n)
                .expect("fewer than `candidates`")
        };
        if candidates == 1 {
            return nth(0);
        }
        // Drawn in random order, so that equal costs do not favour the first in the list.
        let first = fastrand::usize(..candidates);
        let other = fastrand::usize(..candidates - 1);
        let (first, second) = (nth(first), nth(if other < first { other } else { other + 1 }));
        let now = Instant::now();
        if self.loads[second].cost(now) < self.loads[first].cost(now) {
            second
        } else {
            first
        }
    }
}

impl Picked<'_> {
    /// The endpoint's place in the list.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Records how the attempt ended. A failure never lowers the estimate, however fast it came: it counts as at least
    /// twice what the endpoint was taken to need, up to five seconds.
    pub fn record(self, latency: Duration, ok: bool) {
        if let Some(load) = self.load {
            let mut estimate = load.estimate.lock().unwrap_or_else(PoisonError::into_inner);
            estimate.update(latency, ok, Instant::now());
        }
    }
}

impl Drop for Picked<'_> {
    fn drop(&mut self) {
        if let Some(load) = self.load {
            load.pending.fetch_sub(1, Relaxed);
        }
    }
}

impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Balance({} endpoints)", self.loads.len().max(1))
    }
}

impl fmt::Debug for Picked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picked({})", self.index)
    }
}

/// What one endpoint has to do.
struct Load {
    pending: AtomicUsize,
    estimate: Mutex<Estimate>,
}

impl Load {
    fn new(now: Instant) -> Self {
        let estimate = Estimate {
            seconds: DEFAULT_LATENCY.as_secs_f64(),
            updated: now,
        };
        Load {
            pending: AtomicUsize::new(0),
            estimate: Mutex::new(estimate),
        }
    }

    fn cost(&self, now: Instant) -> f64 {
        let latency = self.estimate.lock().unwrap_or_else(PoisonError::into_inner).at(now);
        latency * (self.pending.load(Relaxed) + 1) as f64
    }
}

/// The peak EWMA of an endpoint's latency.
struct Estimate {
    /// The value when it was last updated.
    seconds: f64,
    updated: Instant,
}

impl Estimate {
    /// The value now: with nothing to learn from it goes towards zero.
    fn at(&self, now: Instant) -> f64 {
        self.seconds * self.weight(now)
    }

    fn update(&mut self, latency: Duration, ok: bool, now: Instant) {
        let (old, latency) = (self.at(now), latency.as_secs_f64());
        self.seconds = if !ok {
            latency.max(penalty(old)).max(old)
        } else if latency > old {
            latency
        } else {
            old + latency * (1.0 - self.weight(now))
        };
        self.updated = now;
    }

    /// What the old value still counts for: 1 at once, 1/e after [`DECAY`].
    fn weight(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.updated);
        (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

/// What a failure counts as at least, in seconds, for an endpoint with this estimate.
fn penalty(estimate: f64) -> f64 {
    let expected = estimate.max(DEFAULT_LATENCY.as_secs_f64());
    (2.0 * expected).min(PENALTY_MAX.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Sends so many calls one after the other to endpoints that answer after `latencies`, and counts where they went. The
    /// clock moves with each.
    async fn send(balance: &Balance, calls: usize, answer: impl Fn(usize) -> (Duration, bool)) -> Vec<usize> {
        let mut counts = vec![0; balance.loads.len().max(1)];
        for _ in 0..calls {
            let picked = balance.pick(&[]);
            counts[picked.index()] += 1;
            let (latency, ok) = answer(picked.index());
            tokio::time::advance(latency).await;
            picked.record(latency, ok);
        }
        counts
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_endpoint_costs_no_random_number_and_keeps_no_state() {
        fastrand::seed(1);
        let expected = fastrand::u64(..);
        fastrand::seed(1);
        for endpoints in [0, 1] {
            let balance = Balance::new(endpoints);
            let picked = balance.pick(&[0]);
            assert_eq!((picked.index(), balance.pending(0), balance.loads.capacity()), (0, 0, 0));
            picked.record(ms(5), false);
        }
        assert_eq!(fastrand::u64(..), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn equal_endpoints_share_the_calls() {
        fastrand::seed(2);
        let counts = send(&Balance::new(3), 3_000, |_| (Duration::ZERO, true)).await;
        // 1,000 are expected for each; five standard deviations are 130.
        assert!(counts.iter().all(|count| (870..1_130).contains(count)), "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_endpoint_with_less_under_way_is_taken() {
        fastrand::seed(3);
        let balance = Balance::new(2);
        let picked: Vec<_> = (0..100).map(|_| balance.pick(&[])).collect();
        assert_eq!((balance.pending(0), balance.pending(1)), (50, 50));
        drop(picked);
        assert_eq!((balance.pending(0), balance.pending(1)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_endpoint_gets_fewer_calls_but_is_tried_again() {
        fastrand::seed(4);
        let counts = send(&Balance::new(2), 2_000, |index| (if index == 0 { ms(500) } else { ms(10) }, true)).await;
        assert!((1..40).contains(&counts[0]), "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_failure_does_not_attract_calls() {
        fastrand::seed(5);
        let counts = send(
            &Balance::new(2),
            2_000,
            |index| if index == 0 { (ms(0), false) } else { (ms(10), true) },
        )
        .await;
        assert!((1..100).contains(&counts[0]), "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_picked_endpoint_that_is_dropped_leaves_the_estimate_alone() {
        let balance = Balance::new(2);
        drop(balance.pick(&[0]));
        assert_eq!(balance.loads[1].cost(Instant::now()), 0.03);
        balance.pick(&[0]).record(ms(70), true);
        assert_eq!(balance.loads[1].cost(Instant::now()), 0.07);
    }

    #[tokio::test(start_paused = true)]
    async fn an_estimate_jumps_up_and_comes_down_slowly() {
        let mut estimate = Estimate {
            seconds: 0.03,
            updated: Instant::now(),
        };
        estimate.update(ms(100), true, Instant::now());
        assert_eq!(estimate.at(Instant::now()), 0.1);
        estimate.update(ms(1), true, Instant::now());
        assert_eq!(estimate.at(Instant::now()), 0.1, "no time has passed, nothing is forgotten");
        tokio::time::advance(DECAY).await;
        assert!((estimate.at(Instant::now()) - 0.1 / std::f64::consts::E).abs() < 1e-9);
        estimate.update(ms(10), true, Instant::now());
        let expected = 0.1 / std::f64::consts::E + 0.01 * (1.0 - 1.0 / std::f64::consts::E);
        assert!((estimate.at(Instant::now()) - expected).abs() < 1e-9);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_estimate_up_to_five_seconds() {
        let mut estimate = Estimate {
            seconds: 0.001,
            updated: Instant::now(),
        };
        let mut seen = Vec::new();
        for _ in 0..9 {
            estimate.update(ms(1), false, Instant::now());
            seen.push(estimate.seconds);
        }
        assert_eq!(seen, [0.06, 0.12, 0.24, 0.48, 0.96, 1.92, 3.84, 5.0, 5.0]);
        estimate.update(ms(9_000), false, Instant::now());
        assert_eq!(estimate.seconds, 9.0, "a timeout counts with the time it took");
        estimate.update(ms(1), false, Instant::now());
        assert_eq!(estimate.seconds, 9.0, "a failure never lowers the estimate");
    }

    proptest! {
        #[test]
        fn a_pick_is_in_the_list_and_untried_while_it_can_be(
            endpoints in 1_usize..8,
            tried in prop::collection::vec(0_usize..10, 0..10),
            seed: u64,
        ) {
            fastrand::seed(seed);
            let balance = Balance::new(endpoints);
            let picked = balance.pick(&tried);
            prop_assert!(picked.index() < endpoints);
            let all_tried = (0..endpoints).all(|index| tried.contains(&index));
            prop_assert!(all_tried || !tried.contains(&picked.index()));
        }
    }
}
