//! The budget of additional attempts: what retries and hedges of a source may add to its load, taken together.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::sync::{AtomicU64, AtomicUsize, Mutex};

/// Additional attempts may be this share of the calls (Envoy's retry budget and Finagle's both have 20 %)...
const SHARE_PERCENT: u64 = 20;

/// ...over this time (Finagle's `RetryBudget`: 10 s)...
const WINDOW_SECONDS: u64 = 10;

/// ...and up to this many at once are always allowed (Envoy's `min_retry_concurrency`). A floor in attempts per second, as
/// Finagle has it, would let a source of ten calls per second double its load in an outage.
const ALWAYS_AT_ONCE: usize = 3;

/// Bounds the retries and hedges of one source, shared by all of its calls.
///
/// An additional attempt is allowed if fewer than three are under way, or if those of the last ten seconds, it included,
/// are at most 20 % of the calls of that time. The window moves in steps of a second.
pub struct Budget {
    /// The seconds of the windows count from here.
    origin: Instant,
    calls: Window,
    withdrawn: Window,
    /// Tokens that are held now. Grows under `deciding` only.
    at_once: AtomicUsize,
    /// Held while a token is granted, so that two that ask together cannot both get the last. Calls never take it.
    deciding: Mutex<()>,
}

/// The permission for one additional attempt. Hold it from before its back-off to its end: what waits for its turn counts
/// as under way. Dropping it ends that; the attempt stays counted among those of its window.
#[must_use = "the attempt no longer counts as under way once the token is dropped"]
pub struct Token<'a>(&'a Budget);

impl Budget {
    /// A budget of 20 % over 10 s, and always 3 at once.
    pub fn new() -> Self {
        Budget {
            origin: Instant::now(),
            calls: Window::new(),
            withdrawn: Window::new(),
            at_once: AtomicUsize::new(0),
            deciding: Mutex::new(()),
        }
    }

    /// Counts a call, once, whatever the number of its attempts.
    pub fn record_call(&self) {
        self.record_call_now(Instant::now());
    }

    /// The same for a caller who has just read the clock.
    pub(crate) fn record_call_now(&self, now: Instant) {
        self.record_call_at(now.saturating_duration_since(self.origin).as_secs());
    }

    /// Takes a token for one additional attempt, if the budget has one.
    pub fn withdraw(&self) -> Option<Token<'_>> {
        self.withdraw_at(self.second())
    }

    pub(super) fn record_call_at(&self, second: u64) {
        self.calls.add(second);
    }

    pub(super) fn withdraw_at(&self, second: u64) -> Option<Token<'_>> {
        let _deciding = self.deciding.lock().unwrap_or_else(PoisonError::into_inner);
        let under_the_floor = self.at_once.load(Relaxed) < ALWAYS_AT_ONCE;
        let allowed = under_the_floor || (self.withdrawn.sum(second) + 1) * 100 <= self.calls.sum(second) * SHARE_PERCENT;
        if !allowed {
            return None;
        }
        self.withdrawn.add(second);
        self.at_once.fetch_add(1, Relaxed);
        Some(Token(self))
    }

    fn second(&self) -> u64 {
        Instant::now().saturating_duration_since(self.origin).as_secs()
    }
}

impl Default for Budget {
    fn default() -> Self {
        Budget::new()
    }
}

impl Drop for Token<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} at once)", self.at_once.load(Relaxed))
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A count over the last ten seconds: one bucket a second, each a second's number in the upper half of the word and its
/// count in the lower. A bucket whose second is too old counts as empty and is begun anew by the next to add.
struct Window([AtomicU64; WINDOW_SECONDS as usize]);

impl Window {
    fn new() -> Self {
        Window(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    fn add(&self, second: u64) {
        let bucket = &self.0[(second % WINDOW_SECONDS) as usize];
        let mut seen = bucket.load(Relaxed);
        loop {
            // A thread that read its clock before the bucket was begun anew counts in the newer second.
            let next = if seen >> 32 >= second { seen + 1 } else { (second << 32) | 1 };
            match bucket.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(changed) => seen = changed,
            }
        }
    }

    fn sum(&self, now: u64) -> u64 {
        let oldest = (now + 1).saturating_sub(WINDOW_SECONDS);
        let buckets = self.0.iter().map(|bucket| bucket.load(Relaxed));
        buckets
            .filter(|bucket| bucket >> 32 >= oldest)
            .map(|bucket| bucket & 0xffff_ffff)
            .sum()
    }
}

#[cfg(all(test, not(anabranch_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn record_calls(budget: &Budget, calls: usize) {
        (0..calls).for_each(|_| budget.record_call());
    }

    #[tokio::test(start_paused = true)]
    async fn three_at_once_are_always_allowed() {
        let budget = Budget::new();
        let held: Vec<_> = (0..3).map(|_| budget.withdraw().unwrap()).collect();
        assert!(budget.withdraw().is_none());
        drop(held);
        assert!(budget.withdraw().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_three_at_once_a_fifth_of_the_calls_is_allowed() {
        let budget = Budget::new();
        record_calls(&budget, 100);
        let held: Vec<_> = std::iter::from_fn(|| budget.withdraw()).collect();
        assert_eq!(held.len(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_have_ended_still_count_in_their_window() {
        let budget = Budget::new();
        record_calls(&budget, 100);
        let _held: Vec<_> = (0..3).map(|_| budget.withdraw().unwrap()).collect();
        let more = std::iter::from_fn(|| budget.withdraw().map(drop)).count();
        assert_eq!(more, 17);
        tokio::time::advance(Duration::from_secs(9)).await;
        record_calls(&budget, 4);
        assert!(budget.withdraw().is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(budget.withdraw().is_none(), "4 calls do not make one");
        record_calls(&budget, 1);
        assert!(
            budget.withdraw().is_some(),
            "the first 100 calls and their 20 attempts are forgotten"
        );
        assert!(budget.withdraw().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_silence_leaves_nothing_behind() {
        let budget = Budget::new();
        record_calls(&budget, 1_000);
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let held: Vec<_> = std::iter::from_fn(|| budget.withdraw()).collect();
        assert_eq!(held.len(), 3);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Seconds(u64),
        Calls(usize),
        Asks,
        Ends(usize),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => (0_u64..15).prop_map(Event::Seconds),
            2 => (0_usize..30).prop_map(Event::Calls),
            4 => Just(Event::Asks),
            1 => any::<usize>().prop_map(Event::Ends),
        ]
    }

    /// How many of these happened in the ten seconds that end with `now`.
    fn recent(seconds: &[u64], now: u64) -> usize {
        seconds.iter().filter(|second| **second + 10 > now).count()
    }

    proptest! {
        #[test]
        fn the_budget_agrees_with_a_list_of_all_that_happened(events in prop::collection::vec(event(), 1..200)) {
            let budget = Budget::new();
            let (mut now, mut calls, mut granted, mut held) = (0, Vec::new(), Vec::new(), Vec::new());
            for event in events {
                match event {
                    Event::Seconds(seconds) => now += seconds,
                    Event::Calls(count) => for _ in 0..count {
                        budget.record_call_at(now);
                        calls.push(now);
                    },
                    Event::Asks => {
                        let token = budget.withdraw_at(now);
                        let within_share = (recent(&granted, now) + 1) * 5 <= recent(&calls, now);
                        prop_assert_eq!(token.is_some(), held.len() < 3 || within_share);
                        if let Some(token) = token {
                            granted.push(now);
                            held.push(token);
                        }
                    }
                    Event::Ends(_) if held.is_empty() => {}
                    Event::Ends(pick) => drop(held.swap_remove(pick % held.len())),
                }
            }
        }
    }
}
