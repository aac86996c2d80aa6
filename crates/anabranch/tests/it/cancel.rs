//! Cancelling at every point where that is possible. A future can be dropped at each of its awaits; whatever it holds there
//! must go back.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use anabranch::policy::{Balance, Budget, Limiter};
use anabranch::{Background, Deadline, Gathering, Join, Scope, Settled, call, gather, scope};
use tokio::time::sleep;

use crate::gather::{Census, paused};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Runs `run` over a fresh state again and again, on a paused clock: dropped after 0 polls, after 1, and so on until a run
/// gets to its end; then `check` looks at the state. Every number of polls is tried twice: dropped right after that poll, and
/// dropped when it has been woken for the next one, which is where a slot that was just handed over gets lost. Before the
/// check an hour passes, so that all other tasks have come to rest.
///
/// Returns how many polls the whole run takes.
pub(crate) fn at_every_poll<S>(setup: impl Fn() -> S, run: impl AsyncFn(&S), check: impl Fn(&S, Cut)) -> usize {
    for polls in 0..10_000 {
        for woken in [false, true] {
            let cut = Cut { polls, woken };
            let finished = paused(async {
                let state = setup();
                let finished = run_until(run(&state), cut).await;
                sleep(Duration::from_secs(3_600)).await;
                check(&state, cut);
                finished
            });
            if finished {
                return polls;
            }
        }
    }
    panic!("the run does not come to an end");
}

/// Where a run was cut off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// After this many polls.
    pub(crate) polls: usize,
    /// Whether it had been woken again.
    pub(crate) woken: bool,
}

/// Whether the future got to its end before the cut.
async fn run_until(future: impl Future<Output = ()>, cut: Cut) -> bool {
    let mut future = Box::pin(future);
    let mut polled = 0;
    poll_fn(|cx| {
        // The last poll may ask to be woken; then this is called once more, and drops the future unpolled.
        if polled == cut.polls {
            return Poll::Ready(false);
        }
        polled += 1;
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let ends_here = polled == cut.polls && !cut.woken;
        if ends_here { Poll::Ready(false) } else { Poll::Pending }
    })
    .await
}

/// Polls a future once.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

#[test]
fn a_gather_cut_off_anywhere_leaves_nothing_alive() {
    let polls = at_every_poll(
        Census::default,
        async |census| {
            let mut gather = gather(Deadline::after(ms(40))).limit(3).join(Join::Required { grace: ms(5) });
            for lasts in [10, 0, 7, 30, 3, 50] {
                gather = gather.add(call("child", leaf(census, lasts)).timeout(ms(20)));
            }
            gather.run().await;
        },
        |census, cut| assert_eq!(census.alive(), 0, "{cut:?}"),
    );
    assert!(polls > 5, "it was cut at {polls} places only");
}

async fn leaf(census: &Census, lasts: u64) -> Result<(), ()> {
    let _alive = census.enter();
    sleep(ms(lasts)).await;
    tokio::task::yield_now().await;
    Ok(())
}

#[test]
fn a_scope_cut_off_anywhere_leaves_no_task() {
    let polls = at_every_poll(
        Census::default,
        async |census| {
            let result: Result<(), _> = scope(Deadline::after(ms(40)), async |s: Scope| {
                for lasts in [10, 0, 90] {
                    let census = census.clone();
                    let handle = s.spawn("child", async move { leaf(&census, lasts).await });
                    if lasts == 10 {
                        handle.await;
                    }
                }
                Err("stop")
            })
            .await;
            assert!(result.is_err());
        },
        |census, cut| assert_eq!(census.alive(), 0, "{cut:?}"),
    );
    assert!(polls > 1, "it was cut at {polls} places only");
}

#[test]
fn shielded_work_ends_well_wherever_its_caller_is_cut_off() {
    at_every_poll(
        || (Background::new(), Census::default()),
        async |(background, census)| {
            let inside = census.clone();
            let settled = background.shield("unlock", ms(100), async move { leaf(&inside, 10).await }).await;
            assert_eq!(settled, Settled::Done(Ok(())));
        },
        |(background, census), cut| {
            assert_eq!((census.alive(), background.count()), (0, 0), "{cut:?}");
            assert_eq!(census.begun(), usize::from(cut.polls > 0), "{cut:?}");
        },
    );
}

#[test]
fn a_gathering_cut_off_in_a_wait_reports_every_child_afterwards() {
    at_every_poll(
        Census::default,
        async |census| {
            let mut gathering = Gathering::new(Deadline::after(ms(40)));
            for lasts in 0..10 {
                gathering.start(lasts, leaf(census, lasts));
            }
            // Each wait is dropped after its first poll, ready or not.
            let mut reported = 0;
            while !gathering.is_empty() {
                reported += usize::from(poll_once(&mut Box::pin(gathering.next())).await.is_ready());
                tokio::time::advance(ms(1)).await;
            }
            assert_eq!(reported, 10);
        },
        |census, cut| assert_eq!(census.alive(), 0, "{cut:?}"),
    );
}

/// What the calls of one source share, and calls of others that want the same.
struct Shared {
    slots: Limiter,
    budget: Budget,
    balance: Balance,
    rivals_served: AtomicUsize,
}

const RIVALS: u64 = 4;

impl Shared {
    fn with_rivals() -> Arc<Self> {
        let (slots, rivals_served) = (Limiter::new(2, 16), AtomicUsize::new(0));
        let shared = Arc::new(Shared {
            slots,
            budget: Budget::new(),
            balance: Balance::new(2),
            rivals_served,
        });
        for number in 0..RIVALS {
            let shared = shared.clone();
            tokio::spawn(async move {
                sleep(ms(3 * number)).await;
                let _slot = shared.slots.acquire(Deadline::after(ms(60_000))).await.unwrap();
                sleep(ms(5)).await;
                shared.rivals_served.fetch_add(1, SeqCst);
            });
        }
        shared
    }

    /// One attempt, as far as shared things go: a token, a slot, an endpoint, work.
    async fn attempt(&self, lasts: u64) -> Result<(), ()> {
        let _token = self.budget.withdraw();
        let _slot = self.slots.acquire(Deadline::after(ms(12))).await.map_err(|_refused| ())?;
        let picked = self.balance.pick(&[]);
        sleep(ms(lasts)).await;
        tokio::task::yield_now().await;
        picked.record(ms(lasts), true);
        Ok(())
    }
}

#[test]
fn slots_tokens_and_endpoints_are_given_back_wherever_calls_are_cut_off() {
    let polls = at_every_poll(
        Shared::with_rivals,
        async |shared| {
            let mut gather = gather(Deadline::after(ms(30)));
            for lasts in [7, 2, 9, 4, 6, 1] {
                gather = gather.add(call("attempt", shared.attempt(lasts)));
            }
            gather.run().await;
        },
        |shared, cut| {
            assert_eq!((shared.slots.in_use(), shared.slots.waiting()), (0, 0), "{cut:?}");
            assert_eq!((shared.balance.pending(0), shared.balance.pending(1)), (0, 0), "{cut:?}");
            assert_eq!(
                shared.rivals_served.load(SeqCst),
                RIVALS as usize,
                "a rival was never woken: {cut:?}"
            );
            let at_once = [shared.budget.withdraw(), shared.budget.withdraw(), shared.budget.withdraw()];
            assert!(at_once.iter().all(Option::is_some), "a token is still out: {cut:?}");
            assert!(shared.budget.withdraw().is_none(), "there are more tokens than before: {cut:?}");
        },
    );
    assert!(polls > 8, "it was cut at {polls} places only");
}
