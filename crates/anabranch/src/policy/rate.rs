//! The limit on calls per second.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::Deadline;

/// The longest pause that [`Rate::pause_until`] accepts, whatever the source asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The burst where none is given: what the rate brings in this time.
const DEFAULT_BURST_SECONDS: f64 = 0.1;

/// Lets calls start at a steady rate, with a burst after quiet times.
///
/// A token bucket, kept as one number: the time at which the bucket would be full again (the generic cell rate algorithm,
/// ITU-T I.371). A call that has to wait reserves its token first, so those who wait start in the order in which they came,
/// one interval apart; their number is bounded by their deadlines, since a call that cannot start before its own is refused
/// at once.
pub struct Rate {
    /// The clock below counts nanoseconds from here.
    origin: Instant,
    bucket: Bucket,
}

/// The call cannot start before its deadline. This is our own refusal, not the source's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast {
    /// How long until a call could start.
    pub wait: Duration,
}

impl Rate {
    /// A rate of so many calls per second, with a burst of `burst` calls after quiet times: at least one, by default what the
    /// rate brings in 100 ms.
    ///
    /// The rate is kept as an interval in whole nanoseconds, rounded up, and held between one call in 11 days and 10⁹ per
    /// second; a number without sense (zero, negative, NaN) means the slowest.
    pub fn per_second(rate: f64, burst: Option<u32>) -> Self {
        let rate = if rate >= 1e-6 { rate.min(1e9) } else { 1e-6 };
        let burst = burst.unwrap_or((rate * DEFAULT_BURST_SECONDS) as u32).max(1);
        let interval = (1e9 / rate).ceil() as u64;
        Rate {
            origin: Instant::now(),
            bucket: Bucket::new(interval, burst),
        }
    }

    /// Waits until the call may start. If that is not before `deadline`, refuses at once and takes no token.
    ///
    /// The timer has a resolution of a millisecond: a call may start so much late, which does not slow down the others.
    /// Dropping the future while it waits gives its token back if nobody has reserved one after it, and else the token is
    /// spent: the others keep their turns, and the source sees one call less.
    pub async fn acquire(&self, deadline: Deadline) -> Result<(), TooFast> {
        loop {
            let now = self.nanoseconds(Instant::now());
            let latest = self.nanoseconds(deadline.instant());
            let reserved = self.bucket.reserve(now, latest).map_err(|wait| TooFast {
                wait: Duration::from_nanos(wait),
            })?;
            if reserved.start <= now {
                return Ok(());
            }
            let unused = Unused {
                bucket: &self.bucket,
                full_at: reserved.full_at,
            };
            Deadline::at(self.origin + Duration::from_nanos(reserved.start)).wait().await;
            unused.spend();
            // A pause that began meanwhile holds for those who already waited as well. They queue up anew behind it, since
            // starting them all when it ends would be the burst that the source asked us not to send.
            if !self.bucket.is_paused(self.nanoseconds(Instant::now())) {
                return Ok(());
            }
        }
    }

    /// Lets no call start before `until`, because the source said so (`Retry-After`); a pause is never made shorter, and never
    /// reaches further than five minutes from now. After it calls start one by one; the burst has to be saved up again.
    pub fn pause_until(&self, until: Instant) {
        let until = until.min(Instant::now() + LONGEST_PAUSE);
        self.bucket.pause(self.nanoseconds(until));
    }

    /// The instant on our clock: zero before the origin, and a far future (585 years) means for ever.
    fn nanoseconds(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The bucket. Times are nanoseconds of a clock that the caller keeps.
struct Bucket {
    /// What one token takes to drip in.
    interval: u64,
    /// What all tokens but one take to drip in.
    tolerance: u64,
    /// When the bucket is full again if nobody takes a token until then.
    full_at: AtomicU64,
    /// The least that `full_at` counts as: what a pause has moved it to. Apart from it, so that a token given back cannot
    /// shorten a pause.
    floor: AtomicU64,
}

/// A token, from the time on when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reserved {
    start: u64,
    /// What the reservation has moved the bucket's `full_at` to.
    full_at: u64,
}

impl Bucket {
    fn new(interval: u64, burst: u32) -> Self {
        let tolerance = interval.saturating_mul(u64::from(burst) - 1);
        Bucket {
            interval,
            tolerance,
            full_at: AtomicU64::new(0),
            floor: AtomicU64::new(0),
        }
    }

    /// Takes the next token, if it is there now or before `latest`; the error is how long until there is one.
    fn reserve(&self, now: u64, latest: u64) -> Result<Reserved, u64> {
        let mut stored = self.full_at.load(Relaxed);
        loop {
            let full_at = stored.max(self.floor.load(Relaxed)).max(now);
            let start = full_at.saturating_sub(self.tolerance).max(now);
            if start > now && start >= latest {
                return Err(start - now);
            }
            let reserved = Reserved {
                start,
                full_at: full_at.saturating_add(self.interval),
            };
            match self.full_at.compare_exchange_weak(stored, reserved.full_at, Relaxed, Relaxed) {
                Ok(_) => return Ok(reserved),
                Err(changed) => stored = changed,
            }
        }
    }

    /// Puts a token back, if it was the last one taken. With others behind it that would let two calls start at once.
    fn give_back(&self, full_at: u64) {
        let _ = self
            .full_at
            .compare_exchange(full_at, full_at.saturating_sub(self.interval), Relaxed, Relaxed);
    }

    /// Leaves one token at `until`, and none before.
    fn pause(&self, until: u64) {
        self.floor.fetch_max(until.saturating_add(self.tolerance), Relaxed);
    }

    fn is_paused(&self, now: u64) -> bool {
        self.floor.load(Relaxed).saturating_sub(self.tolerance) > now
    }
}

/// Gives a reserved token back if its call is dropped before it starts.
struct Unused<'a> {
    bucket: &'a Bucket,
    full_at: u64,
}

impl Unused<'_> {
    fn spend(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        self.bucket.give_back(self.full_at);
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rate(one call in {:?})", Duration::from_nanos(self.bucket.interval))
    }
}

impl fmt::Display for TooFast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rate allows the next call in {:?}, after the deadline", self.wait)
    }
}

impl Error for TooFast {}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "calls that take time; the clock is paused")]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::stream::{FuturesOrdered, StreamExt};
    use proptest::prelude::*;
    use std::cell::RefCell;
    use tokio::time::sleep;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Starts so many calls at once and returns when each started, in milliseconds, or `None` where it was refused.
    async fn starts(rate: &Rate, calls: usize, patience: Duration) -> Vec<Option<u64>> {
        let begin = Instant::now();
        let call = async || {
            let allowed = rate.acquire(Deadline::after(patience)).await;
            allowed.ok().map(|()| begin.elapsed().as_millis() as u64)
        };
        FuturesOrdered::from_iter((0..calls).map(|_| call())).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn calls_start_one_interval_apart_after_the_burst() {
        let rate = Rate::per_second(10.0, Some(3));
        let started = starts(&rate, 6, ms(1_000)).await;
        assert_eq!(started, [0, 0, 0, 100, 200, 300].map(Some));
    }

    #[tokio::test(start_paused = true)]
    async fn the_burst_is_saved_up_again_and_no_more_than_that() {
        let rate = Rate::per_second(10.0, Some(3));
        starts(&rate, 3, ms(1)).await;
        sleep(ms(200)).await;
        assert_eq!(starts(&rate, 3, ms(1)).await, [Some(0), Some(0), None]);
        sleep(ms(10_000)).await;
        assert_eq!(starts(&rate, 4, ms(1)).await, [Some(0), Some(0), Some(0), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_default_burst_is_a_tenth_of_a_second_and_at_least_one() {
        assert_eq!(starts(&Rate::per_second(50.0, None), 7, ms(1)).await.iter().flatten().count(), 5);
        assert_eq!(starts(&Rate::per_second(2.0, None), 7, ms(1)).await.iter().flatten().count(), 1);
        assert_eq!(starts(&Rate::per_second(2.0, Some(0)), 7, ms(1)).await.iter().flatten().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_cannot_start_in_time_is_refused_at_once_and_takes_nothing() {
        let rate = Rate::per_second(10.0, None);
        assert_eq!(starts(&rate, 1, ms(1)).await, [Some(0)]);
        let start = Instant::now();
        for _ in 0..100 {
            let refused = rate.acquire(Deadline::after(ms(100))).await;
            assert_eq!(refused, Err(TooFast { wait: ms(100) }), "a start at the deadline is of no use");
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(starts(&rate, 1, ms(101)).await, [Some(100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_call_gives_its_token_back_if_it_was_the_last() {
        let rate = Rate::per_second(10.0, None);
        starts(&rate, 1, ms(1)).await;
        let deadline = Deadline::after(ms(1_000));
        let (mut first, mut second) = (Box::pin(rate.acquire(deadline)), Box::pin(rate.acquire(deadline)));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        drop(second);
        assert_eq!(starts(&rate, 1, ms(1_000)).await, [Some(200)]);
        let (mut third, mut fourth) = (Box::pin(rate.acquire(deadline)), Box::pin(rate.acquire(deadline)));
        assert!((&mut third).now_or_never().is_none() && (&mut fourth).now_or_never().is_none());
        drop(third);
        assert_eq!(
            starts(&rate, 1, ms(1_000)).await,
            [Some(300)],
            "the third token is spent, the fourth call keeps its turn"
        );
        assert!(first.await.is_ok() && fourth.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_for_those_who_come_and_those_who_wait() {
        let rate = Rate::per_second(10.0, Some(2));
        let begin = Instant::now();
        let waiters = starts(&rate, 4, ms(2_000));
        let pause = async {
            sleep(ms(50)).await;
            rate.pause_until(begin + ms(1_000));
            rate.pause_until(begin + ms(500));
            sleep(ms(10)).await;
            let refused = rate.acquire(Deadline::after(ms(900))).await;
            assert_eq!(refused, Err(TooFast { wait: ms(940) }));
        };
        let (started, ()) = tokio::join!(waiters, pause);
        assert_eq!(started, [Some(0), Some(0), Some(1_000), Some(1_100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_bounded() {
        let rate = Rate::per_second(10.0, None);
        rate.pause_until(Instant::now() + Duration::from_secs(86_400));
        assert_eq!(rate.acquire(Deadline::after(ms(1))).await, Err(TooFast { wait: LONGEST_PAUSE }));
    }

    #[tokio::test(start_paused = true)]
    async fn numbers_without_sense_are_held_within_bounds() {
        for nonsense in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-300] {
            let rate = Rate::per_second(nonsense, Some(u32::MAX));
            assert!(rate.acquire(Deadline::after(ms(1))).await.is_ok());
            let rate = Rate::per_second(nonsense, None);
            assert_eq!(starts(&rate, 2, ms(1)).await, [Some(0), None]);
        }
        let rate = Rate::per_second(f64::INFINITY, None);
        assert_eq!(starts(&rate, 1_000, ms(1)).await.iter().flatten().count(), 1_000);
    }

    /// A token bucket that drips: what the one number in [`Bucket`] must agree with.
    struct Naive {
        interval: i64,
        burst: i64,
        level: i64,
        time: i64,
    }

    impl Naive {
        /// The wait for the next token, which is taken if the wait is no longer than `patience`. The level goes below zero
        /// for tokens that are promised.
        fn take(&mut self, now: i64, patience: i64) -> Result<i64, i64> {
            self.level = (self.level + now - self.time).min(self.burst * self.interval);
            self.time = now;
            let wait = (self.interval - self.level).max(0);
            if wait > 0 && wait >= patience {
                return Err(wait);
            }
            self.level -= self.interval;
            Ok(wait)
        }
    }

    /// A call to come `after` the one before, or one that is dropped if `keeps` is false and it has to wait.
    #[derive(Clone, Debug)]
    struct Call {
        after: u64,
        patience: u64,
        waits_at_most: Option<u64>,
    }

    fn call() -> impl Strategy<Value = Call> {
        (0_u64..40, 0_u64..120, prop::option::of(0_u64..30)).prop_map(|(after, patience, waits_at_most)| Call {
            after,
            patience,
            waits_at_most,
        })
    }

    proptest! {
        #[test]
        fn the_bucket_agrees_with_a_naive_one(interval in 1_u64..50, burst in 1_u32..10, calls in prop::collection::vec(call(), 1..200)) {
            let bucket = Bucket::new(interval, burst);
            let mut naive = Naive { interval: interval as i64, burst: burst.into(), level: (interval * u64::from(burst)) as i64, time: 0 };
            let mut now = 0;
            for call in calls {
                now += call.after;
                let reserved = bucket.reserve(now, now + call.patience).map(|reserved| (reserved.start - now) as i64);
                prop_assert_eq!(reserved.map_err(|wait| wait as i64), naive.take(now as i64, call.patience as i64));
            }
        }

        /// Whatever is dropped, refused or paused: in no time start more calls than the burst and what the rate brings.
        #[test]
        fn no_time_sees_more_than_the_burst_and_the_rate(
            interval in 1_u64..50,
            burst in 1_u32..5,
            calls in prop::collection::vec(call(), 1..60),
            pause in prop::option::of((0_u64..300, 0_u64..300)),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let mut started = runtime.block_on(run(interval, burst, &calls, pause));
            started.sort();
            for (i, first) in started.iter().enumerate() {
                for (count, last) in (1..).zip(&started[i..]) {
                    // One millisecond for the timer, by which the first may have been late.
                    let allowed = u64::from(burst) + (last - first + 1) / interval;
                    prop_assert!(count <= allowed, "{count} calls from {first} to {last} ms, {allowed} allowed");
                }
            }
            if let Some((from, length)) = pause {
                prop_assert!(!started.iter().any(|at| (from + 1..from + length).contains(at)), "{started:?}");
            }
        }
    }

    /// Runs the calls at one in `interval` milliseconds, and returns when they started.
    async fn run(interval: u64, burst: u32, calls: &[Call], pause: Option<(u64, u64)>) -> Vec<u64> {
        let rate = Rate::per_second(1_000.0 / interval as f64, Some(burst));
        let begin = Instant::now();
        let started = RefCell::new(Vec::new());
        let mut arrival = 0;
        let calls = calls.iter().map(|call| {
            arrival += call.after;
            let (rate, started, at) = (&rate, &started, begin + ms(arrival));
            async move {
                tokio::time::sleep_until(at).await;
                let waits_until = at + ms(call.waits_at_most.unwrap_or(1_000_000));
                let acquired = rate.acquire(Deadline::after(ms(call.patience)));
                if let Ok(Ok(())) = tokio::time::timeout_at(waits_until, acquired).await {
                    started.borrow_mut().push(begin.elapsed().as_millis() as u64);
                }
            }
        });
        let pausing = async {
            if let Some((from, length)) = pause {
                sleep(ms(from)).await;
                rate.pause_until(begin + ms(from + length));
            }
        };
        tokio::join!(FuturesOrdered::from_iter(calls).collect::<Vec<_>>(), pausing);
        started.into_inner()
    }
}
