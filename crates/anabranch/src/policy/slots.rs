//! The state machine of the in-flight limit: slots, and a queue of those who wait for one. It knows no time and no runtime,
//! so that loom can run all of it; [`Limiter`](super::Limiter) adds the deadline.
//!
//! One word says how many slots are free, or that somebody waits. While it is a number, taking and giving back are one
//! compare-and-swap. Once somebody waits, no slot is ever free: whoever gives one back takes the lock, hands the slot to the
//! oldest waiter and wakes it, so a newcomer cannot overtake. A waiter that is gone from the queue without having left it
//! owns a slot; that is the whole hand-over, there is no flag that could be missed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::task::{Context, Poll, Waker};

use super::sync::{AtomicUsize, Mutex, MutexGuard};

/// The state that means: no slot is free and the queue is not empty.
const WAITED_FOR: usize = usize::MAX;

/// A number of slots and the queue for them.
pub(crate) struct Slots {
    /// How many slots are free, or [`WAITED_FOR`]. It becomes and leaves that value under the lock only, and under the lock
    /// it has that value exactly if the queue is not empty.
    state: AtomicUsize,
    /// How many slots there are; `state` as a number never exceeds it.
    max: usize,
    /// How many may wait.
    queue_max: usize,
    queue: Mutex<Queue>,
}

/// Those who wait, oldest first. Their numbers ascend, which lets one that leaves find its place by bisection.
struct Queue {
    waiters: VecDeque<Waiter>,
    next_number: u64,
}

struct Waiter {
    number: u64,
    waker: Waker,
}

/// A slot of a [`Limiter`](super::Limiter). Dropping it gives it back, to whoever has waited longest.
#[must_use = "the slot is given back as soon as it is dropped"]
pub struct Slot<'a>(&'a Slots);

/// No slot is free and as many wait as may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// Waits for a slot. The place in the queue is taken by the first poll and given up by a drop; a slot that was handed over
/// in between goes to the next waiter. Not to be polled once it has answered.
pub(crate) struct Waiting<'a> {
    slots: &'a Slots,
    /// The number in the queue, while there is one.
    number: Option<u64>,
}

/// What a newcomer got.
enum Entry {
    Slot,
    Place(u64),
    Nothing,
}

impl Slots {
    /// Slots for `max` holders, at least one, and a queue for at most `queue_max`.
    pub(crate) fn new(max: usize, queue_max: usize) -> Self {
        let max = max.clamp(1, WAITED_FOR - 1);
        let queue = Queue {
            waiters: VecDeque::new(),
            next_number: 0,
        };
        Slots {
            state: AtomicUsize::new(max),
            max,
            queue_max,
            queue: Mutex::new(queue),
        }
    }

    /// Takes a slot if one is free.
    pub(crate) fn try_take(&self) -> Option<Slot<'_>> {
        let mut state = self.state.load(Relaxed);
        while state != 0 && state != WAITED_FOR {
            match self.state.compare_exchange_weak(state, state - 1, Acquire, Relaxed) {
                Ok(_) => return Some(Slot(self)),
                Err(changed) => state = changed,
            }
        }
        None
    }

    /// Waits for a slot in the queue.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        Waiting { slots: self, number: None }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn in_use(&self) -> usize {
        match self.state.load(Relaxed) {
            WAITED_FOR => self.max,
            free => self.max - free,
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        match self.state.load(Relaxed) {
            WAITED_FOR => self.lock().waiters.len(),
            _ => 0,
        }
    }

    fn give_back(&self) {
        let mut state = self.state.load(Relaxed);
        while state != WAITED_FOR {
            match self.state.compare_exchange_weak(state, state + 1, Release, Relaxed) {
                Ok(_) => return,
                Err(changed) => state = changed,
            }
        }
        self.hand_over();
    }

    /// Gives a slot to the oldest waiter. The queue may have emptied since the state was read: then the slot becomes free,
    /// and the state is a number as long as the lock is held.
    fn hand_over(&self) {
        let next = {
            let mut queue = self.lock();
            let next = queue.waiters.pop_front();
            if next.is_none() {
                self.state.fetch_add(1, Release);
            } else if queue.waiters.is_empty() {
                self.state.store(0, Release);
            }
            next
        };
        if let Some(waiter) = next {
            waiter.waker.wake();
        }
    }

    /// Takes a slot that has become free meanwhile, or else a place in the queue.
    fn enter(&self, waker: &Waker) -> Entry {
        let waker = waker.clone();
        let mut queue = self.lock();
        let mut state = self.state.load(Relaxed);
        while state != WAITED_FOR {
            if state == 0 && self.queue_max == 0 {
                return Entry::Nothing;
            }
            let wanted = if state == 0 { WAITED_FOR } else { state - 1 };
            match self.state.compare_exchange_weak(state, wanted, Acquire, Relaxed) {
                Ok(0) => break,
                Ok(_) => return Entry::Slot,
                Err(changed) => state = changed,
            }
        }
        if queue.waiters.len() >= self.queue_max {
            return Entry::Nothing;
        }
        let number = queue.next_number;
        queue.next_number += 1;
        queue.waiters.push_back(Waiter { number, waker });
        Entry::Place(number)
    }

    /// Says whether this place is still in the queue, and has its waker replaced if it is.
    fn still_waits(&self, number: u64, waker: &Waker) -> bool {
        let mut replacement = waker.clone();
        let mut queue = self.lock();
        let Some(place) = queue.place_of(number) else { return false };
        std::mem::swap(&mut queue.waiters[place].waker, &mut replacement);
        drop(queue); // before the old waker: dropping that may run code of its task
        true
    }

    /// Gives up a place; if it has been handed a slot, the slot goes on to the next.
    fn leave(&self, number: u64) {
        let mut queue = self.lock();
        let Some(place) = queue.place_of(number) else {
            drop(queue);
            return self.give_back();
        };
        let waiter = queue.waiters.remove(place);
        if queue.waiters.is_empty() {
            self.state.store(0, Release);
        }
        drop(queue); // before the waker: dropping that may run code of its task
        drop(waiter);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn place_of(&self, number: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&number, |waiter| waiter.number).ok()
    }
}

impl<'a> Future for Waiting<'a> {
    type Output = Result<Slot<'a>, QueueFull>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slots = self.slots;
        match self.number {
            None => match slots.enter(context.waker()) {
                Entry::Slot => Poll::Ready(Ok(Slot(slots))),
                Entry::Nothing => Poll::Ready(Err(QueueFull)),
                Entry::Place(number) => {
                    self.number = Some(number);
                    Poll::Pending
                }
            },
            Some(number) if slots.still_waits(number, context.waker()) => Poll::Pending,
            Some(_) => {
                self.number = None;
                Poll::Ready(Ok(Slot(slots)))
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.slots.leave(number);
        }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl std::fmt::Debug for Slot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slot")
    }
}

#[cfg(all(test, not(anabranch_loom)))]
mod tests;
