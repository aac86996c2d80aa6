//! Scopes: when one returns, its tasks have ended, whichever way it came to its end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use anabranch::{Deadline, Scope, ScopeError, Settled, Why, scope, stragglers};
use tokio::runtime::{Handle, Runtime};
use tokio::time::{Instant, sleep};

use crate::cancel::poll_once;
use crate::gather::{Alive, Census};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What the body of these scopes returns.
type Body = Result<u32, &'static str>;

#[tokio::test(start_paused = true)]
async fn a_child_tells_how_it_ended() {
    let result = scope(Deadline::after(ms(100)), async |s: Scope| {
        let sum = s.spawn("sum", async { 1 + 1 });
        let broken = s.spawn("broken", async { std::panic::resume_unwind(Box::new("split")) as u32 });
        assert_eq!(broken.await, Settled::Panicked("split".to_owned()));
        sum.await.done().ok_or("no sum")
    });
    assert_eq!(result.await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_good_end_waits_for_the_children() {
    let (census, start) = (Census::default(), Instant::now());
    let result: Result<u32, ScopeError<()>> = scope(Deadline::after(ms(100)), async |s: Scope| {
        keep_alive(&s, &census, ms(60));
        Ok(1)
    })
    .await;
    assert_eq!((result, start.elapsed(), census.alive()), (Ok(1), ms(60), 0));
}

#[tokio::test(start_paused = true)]
async fn but_only_until_the_deadline() {
    let (census, start) = (Census::default(), Instant::now());
    let result: Result<u32, ScopeError<()>> = scope(Deadline::after(ms(100)), async |s: Scope| {
        keep_alive(&s, &census, ms(500));
        Ok(1)
    })
    .await;
    assert_eq!((result, start.elapsed(), census.alive()), (Ok(1), ms(100), 0));
}

#[tokio::test(start_paused = true)]
async fn a_failed_or_late_body_ends_the_children_at_once() {
    let (census, start) = (Census::default(), Instant::now());
    let failed: Result<u32, _> = scope(Deadline::after(ms(100)), async |s: Scope| {
        keep_alive(&s, &census, ms(500));
        sleep(ms(10)).await;
        Err("no")
    })
    .await;
    assert_eq!(
        (failed, start.elapsed(), census.alive()),
        (Err(ScopeError::Failed("no")), ms(10), 0)
    );

    let late: Result<u32, ScopeError<()>> = scope(Deadline::after(ms(100)), async |s: Scope| {
        keep_alive(&s, &census, ms(500));
        std::future::pending().await
    })
    .await;
    assert_eq!((late, start.elapsed(), census.alive()), (Err(ScopeError::TimedOut), ms(110), 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_takes_the_children_along() {
    let census = Census::default();
    let inside = census.clone();
    let run = tokio::spawn(scope(Deadline::after(ms(100)), async move |s: Scope| -> Body {
        keep_alive(&s, &inside, ms(500));
        sleep(ms(10)).await;
        std::panic::resume_unwind(Box::new("broken body"))
    }));
    assert!(run.await.unwrap_err().is_panic());
    tokio::task::yield_now().await;
    assert_eq!(census.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn children_may_start_more_until_the_scope_has_ended() {
    let census = Census::default();
    let outside = census.clone();
    let leaked = scope(Deadline::after(ms(100)), async move |s: Scope| {
        let inner = s.clone();
        let _handle = s.spawn("parent", async move {
            sleep(ms(10)).await;
            keep_alive(&inner, &census, ms(10));
        });
        Ok::<_, ()>(s.clone())
    })
    .await
    .unwrap();
    assert_eq!(outside.alive(), 0);
    assert_eq!(leaked.spawn("too late", async {}).await, Settled::Cancelled(Why::Parent));
    assert_eq!(leaked.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_child_says_so() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let result: Result<(), _> = scope(Deadline::after(ms(100)), async |s: Scope| {
        let _sent = tell.send(s.spawn("endless", std::future::pending::<()>()));
        Err("no")
    })
    .await;
    assert_eq!(result, Err(ScopeError::Failed("no")));
    assert_eq!(told.await.unwrap().await, Settled::Cancelled(Why::Parent));
}

/// Ready at once, holding its census entry until it is dropped; an async block would let go of it before it is ready.
fn holding(alive: Alive) -> impl Future<Output = ()> + Send {
    poll_fn(move |_| {
        let _held = &alive;
        Poll::Ready(())
    })
}

/// Looks at how many children are alive in the moment in which it is woken.
struct AliveWhenWoken(Census, AtomicUsize);

impl Wake for AliveWhenWoken {
    fn wake(self: Arc<Self>) {
        self.1.store(self.0.alive(), SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_is_gone_before_its_handle_hears_of_it() {
    let census = Census::default();
    let watch = Arc::new(AliveWhenWoken(census.clone(), AtomicUsize::new(usize::MAX)));
    let result: Result<(), ScopeError<()>> = scope(Deadline::after(ms(100)), async |s: Scope| {
        let mut handle = s.spawn("child", holding(census.enter()));
        let waker = Waker::from(watch.clone());
        assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
        tokio::task::yield_now().await;
        Ok(())
    })
    .await;
    assert_eq!((result, watch.1.load(SeqCst)), (Ok(()), 0));
}

fn keep_alive(s: &Scope, census: &Census, lasts: Duration) {
    let census = census.clone();
    let _handle = s.spawn("keep alive", async move {
        let _alive = census.enter();
        sleep(lasts).await;
    });
}

/// Ten thousand scopes that end in each of the possible ways, on two threads: no task may be left over.
#[test]
fn ten_thousand_scopes_leave_no_task_behind() {
    let runtime = threads();
    let (done, baseline) = (Arc::new(AtomicUsize::new(0)), runtime.metrics().num_alive_tasks());
    runtime.block_on(async {
        for round in 0..10_000_u32 {
            one_scope(round, done.clone()).await;
        }
    });
    assert!(done.load(SeqCst) >= 8_000, "the children of every fifth scope run to their end");
    wait_until(|| runtime.metrics().num_alive_tasks() == baseline);
    wait_until(|| !stragglers().iter().any(|name| name.starts_with("leak test")));
}

async fn one_scope(round: u32, done: Arc<AtomicUsize>) {
    let ending = round % 5;
    let deadline = if ending == 2 {
        Deadline::at(Instant::now())
    } else {
        Deadline::after(ms(10_000))
    };
    let run = scope(deadline, async move |s: Scope| {
        for child in 0..4 {
            let done = done.clone();
            let _handle = s.spawn(format!("leak test {child}"), async move {
                tokio::task::yield_now().await;
                done.fetch_add(1, SeqCst);
                if ending != 0 {
                    std::future::pending::<()>().await;
                }
            });
        }
        match ending {
            0 => Ok(()),
            1 => Err("fails"),
            2 | 3 => std::future::pending().await,
            _ => {
                tokio::task::yield_now().await;
                Err("fails a little later")
            }
        }
    });
    if ending == 3 {
        let mut run = Box::pin(run);
        assert!(poll_once(&mut run).await.is_pending());
        tokio::task::yield_now().await;
        drop(run);
    } else {
        let _result = run.await;
    }
}

/// A task that blocks its thread cannot be aborted; it is named as long as it is there.
#[test]
fn a_blocked_child_of_a_dropped_scope_is_named_until_it_ends() {
    let runtime = threads();
    let named = || stragglers().iter().any(|name| name == "blocked for the straggler test");
    let (release, blocked) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    runtime.block_on(async {
        let run = scope(Deadline::after(ms(10_000)), async move |s: Scope| -> Body {
            let _handle = s.spawn("blocked for the straggler test", async move {
                begin.send(()).unwrap();
                blocked.recv().unwrap();
            });
            std::future::pending().await
        });
        let mut run = Box::pin(run);
        assert!(poll_once(&mut run).await.is_pending());
        begun.recv().unwrap();
        assert!(!named(), "its scope is still open");
        drop(run);
        assert!(named());
    });
    release.send(()).unwrap();
    wait_until(|| !named());
}

#[test]
fn a_scope_goes_down_with_its_runtime() {
    let census = Census::default();
    let inside = census.clone();
    let runtime = threads();
    runtime.spawn(scope(Deadline::never(), async move |s: Scope| -> Body {
        keep_alive(&s, &inside, ms(60_000));
        std::future::pending().await
    }));
    wait_until(|| census.alive() == 1);
    drop(runtime);
    assert_eq!(census.alive(), 0);
    assert!(Handle::try_current().is_err());
}

fn threads() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap()
}

/// Two threads need a moment to finish what they were told; five seconds mean that they never will.
fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < ms(5_000), "it never came to that");
        std::thread::yield_now();
    }
}
