//! Deadlines and marks: who is in time, whose clock ran out, and that a ready future costs no timer.

use std::future::{pending, ready};
use std::time::Duration;

use anabranch::{Deadline, Elapsed, Expired, Marks, Phase};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use crate::gather::paused;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_at_the_deadline_counts() {
    let deadline = Deadline::after(ms(100));
    assert_eq!(deadline.bound(sleep(ms(100))).await, Ok(()));
    assert!(deadline.has_passed());
    assert_eq!(
        deadline.bound(ready(7)).await,
        Ok(7),
        "ready at once, though the deadline has passed"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_late_is_given_up_at_the_deadline() {
    let start = Instant::now();
    assert_eq!(Deadline::after(ms(100)).bound(sleep(ms(101))).await, Err(Elapsed));
    assert_eq!(start.elapsed(), ms(100));
    assert_eq!(Deadline::at(start).bound(pending::<()>()).await, Err(Elapsed));
    assert_eq!(start.elapsed(), ms(100), "a deadline in the past is not waited for");
}

#[test]
fn a_ready_future_and_an_endless_deadline_arm_no_timer() {
    // A runtime without timers panics as soon as one is made.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert_eq!(Deadline::after(ms(5)).bound(ready(1)).await, Ok(1));
        let marks = Marks::new();
        marks.enter(Phase::Connect, Some(ms(5)));
        assert_eq!(Deadline::after(ms(5)).bound_marked(&marks, ready(1)).await, Ok(1));
        assert_eq!(Deadline::never().bound(tokio::task::yield_now()).await, Ok(()));
    });
}

#[tokio::test]
async fn a_future_that_eats_the_whole_budget_is_stopped_too() {
    // On the real clock: a task that is always ready to run keeps a paused one from moving.
    let greedy = async {
        loop {
            tokio::task::consume_budget().await;
        }
    };
    let result: Result<(), Elapsed> = Deadline::after(ms(5)).bound(greedy).await;
    assert_eq!(result, Err(Elapsed));
}

#[tokio::test(start_paused = true)]
async fn deadlines_only_ever_shrink_on_the_way_down() {
    let outer = Deadline::after(ms(100));
    assert_eq!(outer.within(ms(30)).left(), ms(30));
    assert_eq!(outer.within(ms(300)), outer);
    assert_eq!(outer.earlier(Deadline::after(ms(99))).left(), ms(99));
    assert!(Deadline::after(Duration::MAX) > outer, "an endless limit does not overflow");
    assert!(!Deadline::never().has_passed());
}

#[tokio::test(start_paused = true)]
async fn the_reserve_is_20_ms_or_2_percent_but_never_more_than_half() {
    let reserve = |limit| limit - Deadline::after(limit).less_reserve().left();
    assert_eq!(reserve(ms(5_000)), ms(100));
    assert_eq!(reserve(ms(1_000)), ms(20));
    assert_eq!(reserve(ms(200)), ms(20));
    assert_eq!(reserve(ms(30)), ms(15));
    assert_eq!(reserve(ms(0)), ms(0));
}

#[tokio::test(start_paused = true)]
async fn a_phase_has_its_own_clock_and_says_so() {
    let start = Instant::now();
    let marks = Marks::new();
    let attempt = async {
        marks.enter(Phase::Dns, Some(ms(50)));
        sleep(ms(40)).await;
        marks.enter(Phase::Connect, Some(ms(20)));
        pending::<()>().await;
    };
    let result = Deadline::after(ms(500)).bound_marked(&marks, attempt).await;
    assert_eq!(
        result,
        Err(Expired {
            phase: Some(Phase::Connect),
            by_phase: true
        })
    );
    assert_eq!(start.elapsed(), ms(60), "the new limit is earlier than the armed timer was late");
    assert_eq!(result.unwrap_err().to_string(), "the time for phase `connect` ran out");
}

#[tokio::test(start_paused = true)]
async fn a_touched_phase_starts_anew_until_the_deadline() {
    let start = Instant::now();
    let marks = Marks::new();
    let body = async {
        marks.enter(Phase::Body, Some(ms(50)));
        loop {
            sleep(ms(40)).await;
            marks.touch();
        }
    };
    let result: Result<(), Expired> = Deadline::after(ms(1_010)).bound_marked(&marks, body).await;
    assert_eq!(
        result,
        Err(Expired {
            phase: Some(Phase::Body),
            by_phase: false
        })
    );
    assert_eq!(start.elapsed(), ms(1_010));
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_phase_lasts_as_long_as_the_deadline() {
    let marks = Marks::new();
    assert_eq!(marks.phase(), None);
    assert_eq!(
        Deadline::after(ms(10)).bound_marked(&marks, pending::<()>()).await,
        Err(Expired {
            phase: None,
            by_phase: false
        })
    );
    let attempt = async {
        marks.enter(Phase::Queue, Some(ms(5)));
        marks.enter(Phase::FirstByte, None);
        sleep(ms(9)).await;
    };
    assert_eq!(
        Deadline::after(ms(10)).bound_marked(&marks, attempt).await,
        Ok(()),
        "leaving a phase ends its limit"
    );
}

#[tokio::test(start_paused = true)]
async fn every_phase_comes_back_as_itself() {
    let marks = Marks::new();
    for phase in [
        Phase::Rate,
        Phase::Queue,
        Phase::Pool,
        Phase::Dns,
        Phase::Connect,
        Phase::Tls,
        Phase::FirstByte,
        Phase::Body,
    ] {
        marks.enter(phase, None);
        assert_eq!(marks.phase(), Some(phase));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Phases of any length under limits of any length end exactly when the first of all clocks runs out.
    #[test]
    fn marks_end_when_the_first_clock_runs_out(
        steps in prop::collection::vec((1_u64..60, prop::option::of(1_u64..60), any::<bool>()), 1..8),
        deadline in 1_u64..200,
    ) {
        // The model: walk the steps, as (length, limit, whether it is a touch of the phase before).
        let (mut now, mut limit, mut phase_end) = (0, None, None);
        let mut expected = None;
        for &(length, own, touch) in &steps {
            if !touch {
                limit = own;
            }
            phase_end = limit.map(|limit| now + limit);
            let end = phase_end.map_or(deadline, |end: u64| end.min(deadline));
            if now + length > end {
                expected = Some((end, phase_end.is_some_and(|end| end < deadline)));
                break;
            }
            now += length;
        }
        let _unused_after_the_walk = phase_end;

        let (elapsed, result) = paused(async {
            let start = Instant::now();
            let marks = Marks::new();
            let walk = async {
                for &(length, own, touch) in &steps {
                    if touch { marks.touch() } else { marks.enter(Phase::Body, own.map(ms)) }
                    sleep(ms(length)).await;
                }
            };
            let result = Deadline::after(ms(deadline)).bound_marked(&marks, walk).await;
            (start.elapsed(), result.map_err(|expired| expired.by_phase))
        });
        match expected {
            Some((end, by_phase)) => {
                prop_assert_eq!(result, Err(by_phase));
                prop_assert_eq!(elapsed, ms(end));
            }
            None => prop_assert_eq!((result, elapsed), (Ok(()), ms(now))),
        }
    }
}
