//! Runs the state machines that threads share under loom, which tries every order of their steps.
//!
//! They are included by path, because they are private and because only they stand on the types that loom provides. Run by
//!
//! ```text
//! RUSTFLAGS="--cfg anabranch_loom" CARGO_TARGET_DIR=target/loom cargo test -p anabranch --test loom --release
//! ```
//!
//! The cfg is our own: `cfg(loom)` would take tokio's network away. Without it this file is empty.

#![cfg(anabranch_loom)]

#[path = "../src/policy/sync.rs"]
mod sync;
#[rustfmt::skip]
#[path = "../src/policy/slots.rs"]
#[allow(dead_code, unreachable_pub, reason = "what only the limiter around it uses")]
mod slots;
#[path = "../src/policy/budget.rs"]
#[allow(dead_code, unreachable_pub, reason = "what reads the clock")]
mod budget;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Notify};
use loom::thread;

use budget::Budget;
use slots::{QueueFull, Slot, Slots, Waiting};

/// Slots with something that only the holder of the one slot may touch: loom fails if two touch it, or if one touches it
/// without seeing what the holder before has done.
struct Shared {
    slots: Slots,
    cell: UnsafeCell<u32>,
}

impl Shared {
    fn new(queue_max: usize) -> Arc<Self> {
        Arc::new(Shared {
            slots: Slots::new(1, queue_max),
            cell: UnsafeCell::new(0),
        })
    }

    fn touch(&self, slot: Slot<'_>) {
        self.cell.with_mut(|_| ());
        drop(slot);
    }

    fn wait_and_touch(&self) {
        let slot = block_on(self.slots.wait()).expect("the queue has places for all");
        self.touch(slot);
    }

    fn check_that_all_is_back(&self) {
        assert_eq!((self.slots.in_use(), self.slots.waiting()), (0, 0));
        self.touch(self.slots.try_take().expect("the slot has come back"));
    }
}

/// Wakes a thread of the model.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.notify();
    }
}

/// Polls when woken, and only then.
fn block_on<F: Future>(future: F) -> F::Output {
    let bell = std::sync::Arc::new(Bell(Notify::new()));
    let waker = Waker::from(bell.clone());
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bell.0.wait(),
        }
    }
}

/// Tries every order with up to three preemptions: loom's manual recommends two or three, and all orders of three threads
/// take minutes. Switches where a thread blocks or ends do not count.
fn check_three_threads(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Polls once, with a waker that nobody hears.
fn poll_once<'a>(waiting: Waiting<'a>) -> Option<Slot<'a>> {
    let mut waiting = pin!(waiting);
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(slot) => slot.ok(),
        Poll::Pending => None,
    }
}

/// A waiter that missed its wake-up would block for ever, which loom reports.
#[test]
fn three_threads_take_turns() {
    check_three_threads(|| {
        let shared = Shared::new(2);
        let others = [(); 2].map(|()| {
            let shared = shared.clone();
            thread::spawn(move || shared.wait_and_touch())
        });
        shared.wait_and_touch();
        for other in others {
            other.join().unwrap();
        }
        shared.check_that_all_is_back();
    });
}

#[test]
fn a_waiter_that_leaves_while_the_slot_is_handed_over_passes_it_on() {
    check_three_threads(|| {
        let shared = Shared::new(2);
        let slot = shared.slots.try_take().unwrap();
        let leaves = thread::spawn({
            let shared = shared.clone();
            // Dropped as soon as it has its place, whether or not the slot has been handed to it.
            move || poll_once(shared.slots.wait()).map(|slot| shared.touch(slot))
        });
        let stays = thread::spawn({
            let shared = shared.clone();
            move || shared.wait_and_touch()
        });
        shared.touch(slot);
        leaves.join().unwrap();
        stays.join().unwrap();
        shared.check_that_all_is_back();
    });
}

#[test]
fn a_newcomer_takes_a_free_slot_or_none() {
    check_three_threads(|| {
        let shared = Shared::new(1);
        let slot = shared.slots.try_take().unwrap();
        let waits = thread::spawn({
            let shared = shared.clone();
            move || shared.wait_and_touch()
        });
        let tries = thread::spawn({
            let shared = shared.clone();
            move || {
                if let Some(slot) = shared.slots.try_take() {
                    shared.touch(slot);
                }
            }
        });
        shared.touch(slot);
        waits.join().unwrap();
        tries.join().unwrap();
        shared.check_that_all_is_back();
    });
}

#[test]
fn without_a_queue_one_of_two_is_refused_or_they_take_turns() {
    loom::model(|| {
        let shared = Shared::new(0);
        let attempt = |shared: Arc<Shared>| match block_on(shared.slots.wait()) {
            Ok(slot) => {
                shared.touch(slot);
                true
            }
            Err(QueueFull) => false,
        };
        let other = thread::spawn({
            let shared = shared.clone();
            move || attempt(shared)
        });
        let mine = attempt(shared.clone());
        assert!(other.join().unwrap() || mine, "somebody got the slot");
        shared.check_that_all_is_back();
    });
}

#[test]
fn two_slots_given_back_reach_two_who_wait() {
    check_three_threads(|| {
        let slots = Arc::new(Slots::new(2, 2));
        let (first, second) = (slots.try_take(), slots.try_take());
        let others = [(); 2].map(|()| {
            let slots = slots.clone();
            thread::spawn(move || std::mem::forget(block_on(slots.wait()).unwrap()))
        });
        drop(first);
        drop(second);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!((slots.in_use(), slots.waiting()), (2, 0));
    });
}

#[test]
fn the_last_token_goes_to_one_of_two() {
    loom::model(|| {
        let budget = Arc::new(Budget::new());
        let held: Vec<_> = (0..2).map(|_| budget.withdraw_at(0).unwrap()).collect();
        let other = thread::spawn({
            let budget = budget.clone();
            move || budget.withdraw_at(0).map(std::mem::forget).is_some()
        });
        let mine = budget.withdraw_at(0);
        assert!(other.join().unwrap() != mine.is_some(), "exactly one gets it");
        drop(held);
    });
}

#[test]
fn a_token_that_comes_back_while_another_is_asked_for_is_not_lost() {
    loom::model(|| {
        let budget = Arc::new(Budget::new());
        let _held: Vec<_> = (0..2).map(|_| budget.withdraw_at(0).unwrap()).collect();
        let other = thread::spawn({
            let budget = budget.clone();
            move || drop(budget.withdraw_at(0))
        });
        drop(budget.withdraw_at(0));
        other.join().unwrap();
        let last = budget.withdraw_at(0);
        assert!(last.is_some() && budget.withdraw_at(0).is_none());
    });
}

/// A bucket of the window is begun anew by whoever counts first in its second; the other must not be forgotten.
#[test]
fn calls_counted_while_the_window_moves_are_all_counted() {
    loom::model(|| {
        let budget = Arc::new(Budget::new());
        let _held: Vec<_> = (0..3).map(|_| budget.withdraw_at(0).unwrap()).collect();
        budget.record_call_at(0);
        let other = thread::spawn({
            let budget = budget.clone();
            move || budget.record_call_at(10)
        });
        budget.record_call_at(10);
        other.join().unwrap();
        (0..3).for_each(|_| budget.record_call_at(10));
        let fifth_of_five = budget.withdraw_at(10);
        assert!(fifth_of_five.is_some() && budget.withdraw_at(10).is_none());
    });
}
