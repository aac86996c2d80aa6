//! The background scope: bounded, drained, and shielding work from callers that leave.

use std::time::Duration;

use anabranch::{Background, Deadline, Settled, Why};
use tokio::time::{Instant, sleep};

use crate::cancel::poll_once;
use crate::gather::Census;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn keep_alive(background: &Background, name: &'static str, limit: Deadline, census: &Census, lasts: Duration) -> bool {
    let census = census.clone();
    background.spawn(name, limit, async move {
        let _alive = census.enter();
        sleep(lasts).await;
    })
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_at_its_limit() {
    let (background, census) = (Background::new(), Census::default());
    assert!(keep_alive(&background, "dial", Deadline::after(ms(50)), &census, ms(500)));
    assert_eq!(background.count(), 1);
    sleep(ms(49)).await;
    assert_eq!(census.alive(), 1);
    sleep(ms(2)).await;
    assert_eq!((census.alive(), background.count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn draining_waits_then_aborts_and_names() {
    let (background, census, start) = (Background::new(), Census::default(), Instant::now());
    keep_alive(&background, "short", Deadline::never(), &census, ms(50));
    keep_alive(&background, "zebra", Deadline::never(), &census, ms(5_000));
    keep_alive(&background, "apple", Deadline::never(), &census, ms(5_000));
    assert_eq!(background.drain(Deadline::after(ms(100))).await, ["apple", "zebra"]);
    assert_eq!((start.elapsed(), census.alive()), (ms(100), 0));
    assert!(
        !keep_alive(&background, "late", Deadline::never(), &census, ms(1)),
        "the door is closed"
    );
    assert_eq!(background.shield("late", ms(10), async {}).await, Settled::Cancelled(Why::Parent));
}

#[tokio::test(start_paused = true)]
async fn while_draining_nothing_new_is_taken() {
    let (background, census) = (Background::new(), Census::default());
    keep_alive(&background, "old", Deadline::never(), &census, ms(50));
    let drain = background.drain(Deadline::after(ms(100)));
    let late = async {
        sleep(ms(10)).await;
        keep_alive(&background, "new", Deadline::never(), &census, ms(10))
    };
    let (aborted, taken) = tokio::join!(drain, late);
    assert_eq!((aborted.is_empty(), taken, census.begun()), (true, false, 1));
}

#[tokio::test(start_paused = true)]
async fn draining_nothing_takes_no_time() {
    let (background, start) = (Background::new(), Instant::now());
    assert!(background.drain(Deadline::after(ms(100))).await.is_empty());
    assert_eq!(start.elapsed(), ms(0));
}

#[tokio::test(start_paused = true)]
async fn shielded_work_goes_on_when_its_caller_leaves() {
    let (background, census) = (Background::new(), Census::default());
    let inside = census.clone();
    let mut unlock = Box::pin(background.shield("unlock", ms(200), async move {
        let _alive = inside.enter();
        sleep(ms(100)).await;
    }));
    assert!(poll_once(&mut unlock).await.is_pending());
    drop(unlock);
    sleep(ms(50)).await;
    assert_eq!(census.alive(), 1, "the caller has left, the work has not");
    sleep(ms(51)).await;
    assert_eq!((census.alive(), background.count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn shielded_work_says_how_it_ended() {
    let background = Background::new();
    assert_eq!(background.shield("fine", ms(10), async { 7 }).await, Settled::Done(7));
    assert_eq!(background.shield("slow", ms(10), sleep(ms(11))).await, Settled::TimedOut);
    let broken = async { std::panic::resume_unwind(Box::new("split")) as u8 };
    assert_eq!(
        background.shield("broken", ms(10), broken).await,
        Settled::Panicked("split".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn more_tasks_than_there_is_room_for_are_refused() {
    let background = Background::new();
    let started = (0..70_000)
        .filter(|_| background.spawn("one of many", Deadline::never(), std::future::pending()))
        .count();
    assert_eq!((started, background.count()), (65_536, 65_536));
    assert_eq!(
        background.shield("one too many", ms(10), async {}).await,
        Settled::Cancelled(Why::NotStarted)
    );
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_clone_ends_everything() {
    let (background, census) = (Background::new(), Census::default());
    keep_alive(&background, "connection", Deadline::never(), &census, ms(60_000));
    let clone = background.clone();
    drop(background);
    sleep(ms(1)).await;
    assert_eq!(census.alive(), 1);
    drop(clone);
    sleep(ms(1)).await;
    assert_eq!(census.alive(), 0);
}

#[test]
fn without_a_runtime_a_task_is_refused() {
    assert!(!Background::new().spawn("nowhere", Deadline::at(Instant::now()), async {}));
}
