//! How many requests a host can take at once, found by trying: one more after each round of answers that came as fast as ever, half as
//! many when it says that it has too many, a fifth less when its answers take twice as long (additive increase, multiplicative decrease:
//! Chiu and Jain, 1989; the latency signal is that of TCP Vegas, Brakmo and Peterson, 1994).

use std::time::Duration;

use tokio::time::Instant;

/// Where it begins: enough to learn from, few enough to be polite.
const FIRST: f64 = 2.0;
/// An answer this many times slower than the fastest of late means that requests queue up over there.
const SLOWER: u32 = 2;
/// What a fast answer may take longer without meaning anything: timers, a lost packet on a short way.
const NOISE: Duration = Duration::from_millis(20);
/// The fastest answer of late: it is forgotten slowly, by this part of itself with each round, for a host may become slower for good.
const FORGET: f64 = 0.02;

#[derive(Clone, Debug)]
pub(super) struct Adaptive {
    limit: f64,
    max: f64,
    /// The fastest answer of late.
    fastest: Option<Duration>,
    /// What this round's answers took so far, and their number.
    sum: Duration,
    answers: u32,
    /// Answers to requests from before the last decrease say nothing new.
    decreased: Option<Instant>,
}

impl Adaptive {
    /// Begins with few.
    pub(super) fn new(max: usize) -> Self {
        Adaptive::beginning(FIRST, max)
    }

    /// Begins with all: for a host that was not to be tried out, until it said that it has too many.
    pub(super) fn full(max: usize) -> Self {
        Adaptive::beginning(f64::INFINITY, max)
    }

    fn beginning(limit: f64, max: usize) -> Self {
        let max = max.max(1) as f64;
        Adaptive {
            limit: limit.min(max),
            max,
            fastest: None,
            sum: Duration::ZERO,
            answers: 0,
            decreased: None,
        }
    }

    /// How many may be in flight: at least one.
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// An answer to a request that was started then.
    pub(super) fn answered(&mut self, started: Instant, took: Duration, now: Instant) {
        if self.decreased.is_some_and(|decreased| started < decreased) {
            return;
        }
        self.answers += 1;
        self.sum = self.sum.saturating_add(took);
        // A round is as many answers as are in flight at once.
        if f64::from(self.answers) < self.limit {
            return;
        }
        let mean = self.sum / self.answers;
        let fastest = self.fastest.map_or(mean, |fastest| fastest.mul_f64(1.0 + FORGET).min(mean));
        self.fastest = Some(fastest);
        if mean > fastest * SLOWER + NOISE {
            self.decrease(0.8, now);
        } else {
            self.limit = (self.limit + 1.0).min(self.max);
        }
        self.sum = Duration::ZERO;
        self.answers = 0;
    }

    /// The host says that it has too many requests, in answer to one that was started then.
    pub(super) fn overloaded(&mut self, started: Instant, now: Instant) {
        if self.decreased.is_none_or(|decreased| started >= decreased) {
            self.decrease(0.5, now);
        }
    }

    fn decrease(&mut self, to: f64, now: Instant) {
        self.limit = (self.limit * to).max(1.0);
        self.decreased = Some(now);
        self.sum = Duration::ZERO;
        self.answers = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(50);

    fn at(origin: Instant, ms: u64) -> Instant {
        origin + Duration::from_millis(ms)
    }

    #[test]
    fn it_grows_by_one_with_each_round_up_to_the_most() {
        let now = Instant::now();
        let mut adaptive = Adaptive::new(5);
        let mut limits = Vec::new();
        for _ in 0..20 {
            adaptive.answered(now, FAST, now);
            limits.push(adaptive.limit());
        }
        assert_eq!(limits[..9], [2, 3, 3, 3, 4, 4, 4, 4, 5]);
        assert_eq!(limits.last(), Some(&5));
    }

    #[test]
    fn one_event_halves_it_once() {
        let origin = Instant::now();
        let mut adaptive = Adaptive::new(64);
        (0..2_000).for_each(|_| adaptive.answered(origin, FAST, origin));
        let before = adaptive.limit();
        // Eight requests that were in flight together are refused.
        (0..8).for_each(|_| adaptive.overloaded(at(origin, 1), at(origin, 100)));
        assert_eq!(adaptive.limit(), before / 2);
        adaptive.overloaded(at(origin, 150), at(origin, 200));
        assert_eq!(adaptive.limit(), before / 4);
    }

    #[test]
    fn answers_that_queue_over_there_lower_it_and_it_never_ends_at_none() {
        let origin = Instant::now();
        let mut adaptive = Adaptive::new(64);
        (0..500).for_each(|_| adaptive.answered(origin, FAST, origin));
        let before = adaptive.limit();
        let mut now = origin;
        for _ in 0..200 {
            now += FAST;
            adaptive.answered(now, FAST * 4, now);
            assert!(adaptive.limit() >= 1);
        }
        assert!(adaptive.limit() < before / 2, "{} of {before}", adaptive.limit());
        for _ in 0..100 {
            now += FAST;
            adaptive.overloaded(now, now);
        }
        assert_eq!(adaptive.limit(), 1);
    }
}
