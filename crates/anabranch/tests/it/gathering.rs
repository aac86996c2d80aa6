//! The core under `gather`: children that are started one by one, cut and cancelled.

use std::collections::BTreeSet;
use std::time::Duration;

use anabranch::{Deadline, Finished, Gathering, Settled, Why};
use tokio::time::{Instant, sleep};

use crate::gather::Census;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

async fn after(census: &Census, lasts: u64) -> u64 {
    let _alive = census.enter();
    sleep(ms(lasts)).await;
    lasts
}

#[tokio::test(start_paused = true)]
async fn children_come_back_as_they_end_and_may_be_added_meanwhile() {
    let census = Census::default();
    let mut gathering = Gathering::new(Deadline::after(ms(100)));
    assert_eq!(gathering.next().await, None);
    gathering.start("slow", after(&census, 30));
    gathering.start("fast", after(&census, 10));
    assert_eq!(
        gathering.next().await,
        Some(Finished {
            key: "fast",
            settled: Settled::Done(10),
            took: ms(10)
        })
    );
    gathering.start("late", after(&census, 5));
    assert_eq!(gathering.len(), 2);
    assert_eq!(
        gathering.next().await,
        Some(Finished {
            key: "late",
            settled: Settled::Done(5),
            took: ms(5)
        })
    );
    assert_eq!(
        gathering.next().await,
        Some(Finished {
            key: "slow",
            settled: Settled::Done(30),
            took: ms(30)
        })
    );
    assert!(gathering.is_empty());
    assert_eq!(gathering.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_all_left_are_dropped_together_and_reported_in_order() {
    let census = Census::default();
    let mut gathering = Gathering::new(Deadline::after(ms(100)));
    gathering.start(0, after(&census, 100));
    for key in 1..4 {
        gathering.start(key, after(&census, 101));
    }
    assert_eq!(
        gathering.next().await.unwrap().settled,
        Settled::Done(100),
        "ready at the deadline counts"
    );
    let first = gathering.next().await.unwrap();
    assert_eq!((first.key, first.settled, first.took), (1, Settled::TimedOut, ms(100)));
    assert_eq!(
        (census.alive(), gathering.len()),
        (0, 2),
        "gone already, though two are still to be reported"
    );
    let rest: Vec<i32> = [gathering.next().await, gathering.next().await]
        .into_iter()
        .map(|finished| finished.unwrap().key)
        .collect();
    assert_eq!(rest, [2, 3]);
    assert_eq!(gathering.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_cut_moves_the_end_earlier_and_never_later() {
    let census = Census::default();
    let start = Instant::now();
    let mut gathering = Gathering::new(Deadline::after(ms(100)));
    gathering.start("short", after(&census, 20));
    gathering.start("long", after(&census, 500));
    gathering.cut(Deadline::after(ms(300)));
    assert_eq!(gathering.end().left(), ms(100));
    gathering.next().await;
    gathering.cut(Deadline::after(ms(30)));
    gathering.cut(Deadline::after(ms(40)));
    let long = gathering.next().await.unwrap();
    assert_eq!((long.settled, start.elapsed()), (Settled::Cancelled(Why::Grace), ms(50)));
}

#[tokio::test(start_paused = true)]
async fn cancelling_names_everything_that_was_left() {
    let census = Census::default();
    let mut gathering = Gathering::new(Deadline::after(ms(100)));
    for key in 0..5 {
        gathering.start(key, after(&census, 20 + key));
    }
    gathering.next().await;
    let cancelled = gathering.cancel(Why::Enough);
    assert_eq!(census.alive(), 0);
    assert!(
        cancelled
            .iter()
            .all(|finished| finished.settled == Settled::Cancelled(Why::Enough) && finished.took == ms(20))
    );
    assert_eq!(cancelled.into_iter().map(|finished| finished.key).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(gathering.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_overdue_stays_timed_out_when_the_rest_is_cancelled() {
    let census = Census::default();
    let mut gathering = Gathering::new(Deadline::after(ms(10)));
    gathering.start("a", after(&census, 20));
    gathering.start("b", after(&census, 20));
    assert_eq!(gathering.next().await.unwrap().key, "a");
    let cancelled = gathering.cancel(Why::Parent);
    assert_eq!(
        cancelled,
        [Finished {
            key: "b",
            settled: Settled::TimedOut,
            took: ms(10)
        }]
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_loses_no_child() {
    let census = Census::default();
    let mut gathering = Gathering::new(Deadline::after(ms(100)));
    for key in 0..20 {
        gathering.start(key, after(&census, key));
    }
    let mut seen = BTreeSet::new();
    while !gathering.is_empty() {
        // The wait is given up every 3 ms, whatever it was about to return.
        if let Ok(Some(finished)) = Deadline::after(ms(3)).bound(gathering.next()).await {
            assert_eq!(finished.settled, Settled::Done(finished.key));
            assert!(seen.insert(finished.key));
        }
    }
    assert_eq!(seen.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_child_may_have_a_limit_of_its_own() {
    let census = Census::default();
    let mut gathering = Gathering::new(Deadline::after(ms(100)));
    gathering.start_within("limited", Deadline::after(ms(10)), after(&census, 50));
    gathering.start_within("in time", Deadline::after(ms(50)), after(&census, 50));
    assert_eq!(
        gathering.next().await,
        Some(Finished {
            key: "limited",
            settled: Settled::TimedOut,
            took: ms(10)
        })
    );
    assert_eq!(
        gathering.next().await,
        Some(Finished {
            key: "in time",
            settled: Settled::Done(50),
            took: ms(50)
        })
    );
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new("pulled"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_child_is_dropped_is_contained_too() {
    let census = Census::default();
    let mut gathering = Gathering::new(Deadline::after(ms(10)));
    gathering.start("grenade", async {
        let _grenade = Grenade;
        sleep(ms(50)).await;
    });
    gathering.start("sibling", async {
        after(&census, 50).await;
    });
    assert_eq!(gathering.next().await.unwrap().settled, Settled::Panicked("pulled".to_owned()));
    assert_eq!(gathering.next().await.unwrap().settled, Settled::TimedOut);
    assert_eq!(census.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_children_ready_at_the_deadline_all_count() {
    // More than tokio's budget of 128 operations for one poll of the task.
    let census = Census::default();
    let mut gathering = Gathering::new(Deadline::after(ms(10)));
    for key in 0..1_000 {
        gathering.start(key, after(&census, 10));
    }
    let mut done = 0;
    while let Some(finished) = gathering.next().await {
        done += usize::from(finished.settled == Settled::Done(10));
    }
    assert_eq!(done, 1_000);
}
