//! The limit on calls in flight: at most so many at once, a bounded number waiting in turn, none longer than its deadline.

use std::error::Error;
use std::fmt;

use super::slots::{QueueFull, Slot, Slots};
use crate::{Deadline, Elapsed};

/// Lets at most `max` calls be in flight and at most `queue` wait, first come first served.
///
/// A free slot costs one atomic operation; waiting costs a short lock and no allocation of its own. Waiters that were
/// dropped or whose deadline passed leave the queue at once and never receive a slot, so under overload the queue holds
/// only calls that somebody still wants.
pub struct Limiter(Slots);

/// Why a call got no slot. Both are our own refusal, not the source's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All slots are taken and as many calls wait as may.
    QueueFull,
    /// The deadline passed while waiting.
    TimedOut,
}

impl Limiter {
    /// A limiter of `max` slots, at least one, and a queue of `queue` places; with 0 places a call is refused at once when
    /// no slot is free.
    pub fn new(max: usize, queue: usize) -> Self {
        Limiter(Slots::new(max, queue))
    }

    /// Waits for a slot until `deadline`. A free slot is given even if the deadline has passed already.
    ///
    /// Dropping the future gives up the place in the queue; a slot that had been handed over goes to the next in turn.
    pub async fn acquire(&self, deadline: Deadline) -> Result<Slot<'_>, Refused> {
        if let Some(slot) = self.try_acquire() {
            return Ok(slot);
        }
        match deadline.bound(self.0.wait()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(QueueFull)) => Err(Refused::QueueFull),
            Err(Elapsed) => Err(Refused::TimedOut),
        }
    }

    /// Takes a slot if one is free. While anybody waits, none is.
    pub fn try_acquire(&self) -> Option<Slot<'_>> {
        self.0.try_take()
    }

    /// How many slots are taken, including those handed to waiters that have not woken up yet.
    pub fn in_use(&self) -> usize {
        self.0.in_use()
    }

    /// How many calls wait.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }

    /// How many slots there are.
    pub fn max(&self) -> usize {
        self.0.max()
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limiter({} of {} in use, {} waiting)", self.in_use(), self.max(), self.waiting())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::QueueFull => "all slots are taken and the queue is full",
            Refused::TimedOut => "no slot became free in time",
        })
    }
}

impl Error for Refused {}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "calls that take time; the clock is paused")]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::stream::{FuturesUnordered, StreamExt};
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::future::{Future, poll_fn};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Poll;
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A call that arrives, holds its slot and gives it back; or gives up, when its deadline passes or instead of being
    /// polled once more.
    #[derive(Clone, Debug)]
    struct Call {
        arrives: u64,
        holds: u64,
        patience: u64,
        polls: Option<u32>,
    }

    /// The future's output, or `None` where it would be polled once more than `polls` times: then it is dropped instead.
    async fn dropped_after<F: Future>(polls: Option<u32>, future: F) -> Option<F::Output> {
        let mut future = Some(Box::pin(future));
        let mut left = polls;
        poll_fn(|context| {
            match &mut left {
                Some(0) => future = None,
                Some(left) => *left -= 1,
                None => {}
            }
            match &mut future {
                None => Poll::Ready(None),
                Some(future) => future.as_mut().poll(context).map(Some),
            }
        })
        .await
    }

    /// Runs the calls, and checks that no more than `max` hold a slot at once, that a single one goes round in the order in
    /// which they came, and that no slot is lost.
    async fn check_calls(max: usize, queue: usize, calls: &[Call]) {
        let limiter = Limiter::new(max, queue);
        let (holding, arrived, latest) = (Cell::new(0_usize), Cell::new(0_u32), Cell::new(0_u32));
        let run = async |call: &Call| {
            sleep(ms(call.arrives)).await;
            let turn = arrived.get() + 1;
            arrived.set(turn);
            let came = Instant::now();
            let answer = dropped_after(call.polls, limiter.acquire(Deadline::after(ms(call.patience)))).await;
            match answer {
                None => {}
                Some(Err(Refused::QueueFull)) => assert_eq!(came.elapsed(), Duration::ZERO),
                Some(Err(Refused::TimedOut)) => assert_eq!(came.elapsed(), ms(call.patience)),
                Some(Ok(_slot)) => {
                    assert!(came.elapsed() <= ms(call.patience));
                    // With more slots, two handed over at the same instant may be noticed in the other order.
                    assert!(turn > latest.replace(turn) || max > 1, "call {turn} was served after a later one");
                    holding.set(holding.get() + 1);
                    assert!(holding.get() <= max && holding.get() <= limiter.in_use());
                    sleep(ms(call.holds)).await;
                    holding.set(holding.get() - 1);
                }
            }
        };
        let mut running: FuturesUnordered<_> = calls.iter().map(run).collect();
        while running.next().await.is_some() {}
        assert_eq!((limiter.in_use(), limiter.waiting()), (0, 0));
    }

    fn paused() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    }

    fn call() -> impl Strategy<Value = Call> {
        (0_u64..40, 0_u64..20, 0_u64..60, prop::option::of(0_u32..4)).prop_map(|(arrives, holds, patience, polls)| Call {
            arrives,
            holds,
            patience,
            polls,
        })
    }

    proptest! {
        #[test]
        fn slots_are_kept_whatever_happens_to_the_calls(max in 1_usize..4, queue in 0_usize..8, calls in prop::collection::vec(call(), 1..40)) {
            paused().block_on(check_calls(max, queue, &calls));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_free_slot_is_given_at_once_even_after_the_deadline() {
        let limiter = Limiter::new(2, 0);
        let first = limiter.acquire(Deadline::at(Instant::now() - ms(1))).await.unwrap();
        let second = limiter.try_acquire().unwrap();
        assert!(limiter.try_acquire().is_none());
        assert_eq!(format!("{limiter:?}"), "Limiter(2 of 2 in use, 0 waiting)");
        drop((first, second));
        assert_eq!(limiter.in_use(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once() {
        let limiter = Limiter::new(1, 1);
        let slot = limiter.try_acquire();
        let waits = limiter.acquire(Deadline::after(ms(100)));
        let refused = async {
            let start = Instant::now();
            assert_eq!(limiter.acquire(Deadline::after(ms(50))).await.unwrap_err(), Refused::QueueFull);
            assert_eq!(start.elapsed(), Duration::ZERO);
        };
        let (waited, ()) = tokio::join!(waits, refused);
        assert_eq!(waited.unwrap_err(), Refused::TimedOut);
        drop(slot);
        assert_eq!(Limiter::new(0, 0).max(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_does_not_overtake_one_that_was_handed_a_slot() {
        let limiter = Limiter::new(1, 1);
        let slot = limiter.try_acquire();
        let mut waits = Box::pin(limiter.acquire(Deadline::after(ms(100))));
        assert!((&mut waits).now_or_never().is_none());
        drop(slot);
        assert!(
            limiter.try_acquire().is_none(),
            "the slot is the waiter's, though it has not been polled yet"
        );
        let slot = waits.await.unwrap();
        drop(slot);
        assert!(limiter.try_acquire().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_handed_to_a_call_that_is_gone_goes_to_the_next() {
        let limiter = Limiter::new(1, 2);
        let slot = limiter.try_acquire();
        let mut first = Box::pin(limiter.acquire(Deadline::after(ms(100))));
        let mut second = Box::pin(limiter.acquire(Deadline::after(ms(100))));
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        drop(slot);
        drop(first);
        assert!(second.await.is_ok());
    }

    /// Threads in place of a paused clock: the hand-over between cores, with calls that leave in the middle of it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn calls_on_many_cores_share_the_slots() {
        let limiter = Arc::new(Limiter::new(3, 64));
        let holding = Arc::new(AtomicUsize::new(0));
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..16_u32 {
            let (limiter, holding) = (limiter.clone(), holding.clone());
            tasks.spawn(async move {
                for round in 0..500 {
                    let polls = (task % 4 == 0).then_some(round % 2 + 1);
                    let Some(slot) = dropped_after(polls, limiter.acquire(Deadline::after(ms(60_000)))).await else {
                        continue;
                    };
                    let _slot = slot.expect("64 places for 16 tasks, and a minute");
                    assert!(holding.fetch_add(1, SeqCst) < 3);
                    tokio::task::yield_now().await;
                    holding.fetch_sub(1, SeqCst);
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        assert_eq!((limiter.in_use(), limiter.waiting()), (0, 0));
    }
}
