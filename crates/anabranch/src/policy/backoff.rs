//! The wait before a retry: exponential with full jitter.

use std::time::Duration;

/// How long to wait before each retry: uniform between nothing and a bound that doubles with every retry.
///
/// Full jitter, because waits that only vary a little still send the retries of one failure back together (Marc Brooker,
/// "Exponential Backoff and Jitter", AWS Architecture Blog 2015). The default bounds are Envoy's: 25 ms, doubling up to
/// 250 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound for the first retry.
    base: Duration,
    /// The bound that no retry exceeds, whatever `base` says.
    cap: Duration,
}

impl Backoff {
    /// Envoy's bounds, right where somebody waits for the answer: 25 ms, doubling up to 250 ms.
    pub const INTERACTIVE: Backoff = Backoff {
        base: Duration::from_millis(25),
        cap: Duration::from_millis(250),
    };

    /// A back-off whose bound starts at `base`, doubles, and never exceeds `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Backoff { base, cap }
    }

    /// Draws the wait before retry number `retry`, counted from 1, uniformly from nothing to [`longest`](Backoff::longest),
    /// both included.
    pub fn wait(&self, retry: u32) -> Duration {
        let longest = u64::try_from(self.longest(retry).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(fastrand::u64(..=longest))
    }

    /// The longest wait before retry number `retry`, counted from 1: `base` times 2 to the power of `retry` less one, or `cap`.
    pub fn longest(&self, retry: u32) -> Duration {
        let doublings = retry.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::INTERACTIVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_bound_doubles_up_to_the_cap() {
        let bounds: Vec<Duration> = (1..=6).map(|retry| Backoff::default().longest(retry)).collect();
        assert_eq!(bounds, [ms(25), ms(50), ms(100), ms(200), ms(250), ms(250)]);
    }

    #[test]
    fn a_retry_number_without_sense_is_bounded_too() {
        let backoff = Backoff::default();
        assert_eq!(backoff.longest(0), ms(25));
        assert_eq!(backoff.longest(u32::MAX), ms(250));
        assert_eq!(Backoff::new(ms(300), ms(250)).longest(1), ms(250));
        assert_eq!(Backoff::new(Duration::ZERO, ms(250)).wait(9), Duration::ZERO);
        assert!(Backoff::new(Duration::MAX, Duration::MAX).wait(40) <= Duration::MAX);
    }

    #[test]
    fn waits_spread_over_the_whole_range() {
        fastrand::seed(7);
        let backoff = Backoff::default();
        let mut quarters = [0_u32; 4];
        for _ in 0..4_000 {
            let wait = backoff.wait(3).as_nanos() as u64;
            quarters[(wait * 4 / 100_000_001) as usize] += 1;
        }
        // 1,000 are expected in each; five standard deviations are 137.
        assert!(quarters.iter().all(|&count| (863..1_137).contains(&count)), "{quarters:?}");
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_its_bound_and_no_bound_the_cap(base in 0_u64..1_000_000, cap in 0_u64..1_000_000, retry in 0_u32..100) {
            let backoff = Backoff::new(Duration::from_micros(base), Duration::from_micros(cap));
            prop_assert!(backoff.wait(retry) <= backoff.longest(retry));
            prop_assert!(backoff.longest(retry) <= Duration::from_micros(cap));
            prop_assert!(backoff.longest(retry) <= backoff.longest(retry + 1));
        }
    }
}
