//! The rate on a paused clock, and its bucket against a naive one.

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
