//! A rate, as a bucket of tokens that is kept as one instant: when it would be full again (the generic cell rate algorithm, ITU-T I.371).
//! It begins empty, so a run that is resumed again and again never sends a burst.

use std::time::Duration;

use tokio::time::Instant;

/// What the rate brings in this time may start at once after a pause. Timers come a millisecond or two late and a busy machine later still;
/// this makes it good, and adds at most 5 % to any second.
const BURST: Duration = Duration::from_millis(50);

/// The longest interval between two starts: a day.
const SLOWEST: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// What one token takes to drip in.
    interval: Duration,
    /// How much earlier than `full_at` a start is allowed.
    tolerance: Duration,
    /// When the bucket is full again if nothing starts until then.
    full_at: Instant,
}

impl Bucket {
    /// So many starts a second; nonsense (zero, negative, not a number) counts as one a day.
    pub(super) fn per_second(rate: f64, now: Instant) -> Self {
        let rate = if rate.is_finite() && rate > 0.0 {
            rate.min(1e9)
        } else {
            f64::MIN_POSITIVE
        };
        let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(SLOWEST).min(SLOWEST);
        let tolerance = BURST.saturating_sub(interval);
        Bucket {
            interval,
            tolerance,
            full_at: now + tolerance,
        }
    }

    /// When the next start is allowed; not later than now where it is allowed now.
    pub(super) fn ready_at(&self) -> Instant {
        self.full_at.checked_sub(self.tolerance).unwrap_or(self.full_at)
    }

    /// Takes the token of a start that is allowed.
    pub(super) fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.interval;
    }

    /// Whether nothing would be lost by making it anew, but that a new one is empty.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn starts(bucket: &mut Bucket, from: Instant, until: Instant, step: Duration) -> u32 {
        let mut now = from;
        let mut count = 0;
        while now < until {
            while bucket.ready_at() <= now {
                bucket.take(now);
                count += 1;
            }
            now += step;
        }
        count
    }

    #[test]
    fn it_begins_empty_and_saves_up_little() {
        let now = Instant::now();
        let mut bucket = Bucket::per_second(100.0, now);
        assert_eq!(
            starts(&mut bucket, now, now + Duration::from_millis(1), Duration::from_millis(1)),
            1
        );
        let later = now + Duration::from_secs(60);
        assert_eq!(
            starts(&mut bucket, later, later + Duration::from_millis(1), Duration::from_millis(1)),
            5
        );
    }

    #[test]
    fn a_rate_without_sense_is_slow_and_not_fast() {
        let now = Instant::now();
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY.recip(), 1e-300] {
            let mut bucket = Bucket::per_second(rate, now);
            bucket.take(now);
            assert!(bucket.ready_at() > now + Duration::from_secs(3600), "{rate}");
        }
    }

    proptest! {
        /// Over any time, however late the timers are, no more start than the rate brings and 5 % of a second's.
        #[test]
        fn no_second_has_more_than_its_rate(rate in 0.5_f64..2_000.0, steps in prop::collection::vec(1_u64..400, 1..30)) {
            let origin = Instant::now();
            let mut bucket = Bucket::per_second(rate, origin);
            let mut now = origin;
            let mut started = Vec::new();
            for step in steps {
                while bucket.ready_at() <= now {
                    bucket.take(now);
                    started.push(now);
                }
                now += Duration::from_millis(step);
            }
            let mut end = 0;
            for (first, from) in started.iter().enumerate() {
                while started.get(end).is_some_and(|at| at.duration_since(*from) < Duration::from_secs(1)) {
                    end += 1;
                }
                let within = (end - first) as f64;
                prop_assert!(within <= rate * 1.05 + 1.001, "{within} in a second at {rate}");
            }
        }
    }
}
