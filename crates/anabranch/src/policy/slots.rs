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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::task::Wake;

    /// What may happen to the slots; a number picks one of the calls that are there, counted around.
    #[derive(Clone, Debug)]
    enum Event {
        Arrives,
        Tries,
        IsPolled(usize),
        IsDropped(usize),
    }

    /// One call: waiting until `slot` is there, and woken or not.
    struct Call<'a> {
        name: usize,
        waiting: Option<Pin<Box<Waiting<'a>>>>,
        slot: Option<Slot<'a>>,
        woken: Arc<Woken>,
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }

    /// The same limit in the plainest words: who has a slot, and who waits, oldest first.
    struct Model {
        max: usize,
        queue_max: usize,
        holders: Vec<usize>,
        queue: VecDeque<usize>,
    }

    impl Model {
        /// `None`: it waits.
        fn arrives(&mut self, name: usize) -> Option<bool> {
            if self.holders.len() < self.max {
                self.holders.push(name);
                return Some(true);
            }
            if self.queue.len() == self.queue_max {
                return Some(false);
            }
            self.queue.push_back(name);
            None
        }

        fn goes(&mut self, name: usize) {
            self.queue.retain(|other| *other != name);
            if let Some(place) = self.holders.iter().position(|other| *other == name) {
                self.holders.swap_remove(place);
                self.holders.extend(self.queue.pop_front());
            }
        }
    }

    fn poll<'a>(call: &mut Call<'a>) -> Poll<Result<(), QueueFull>> {
        let Some(waiting) = &mut call.waiting else {
            return Poll::Ready(Ok(()));
        };
        let waker = Waker::from(call.woken.clone());
        let answer = waiting.as_mut().poll(&mut Context::from_waker(&waker));
        answer.map(|slot| {
            call.waiting = None;
            call.slot = Some(slot?);
            Ok(())
        })
    }

    fn check_against_model(max: usize, queue_max: usize, events: &[Event]) {
        let slots = Slots::new(max, queue_max);
        let mut model = Model {
            max,
            queue_max,
            holders: Vec::new(),
            queue: VecDeque::new(),
        };
        let mut calls: Vec<Call<'_>> = Vec::new();
        for (name, event) in events.iter().enumerate() {
            match event {
                Event::Arrives => {
                    let woken = Arc::new(Woken(AtomicBool::new(false)));
                    let mut call = Call {
                        name,
                        waiting: Some(Box::pin(slots.wait())),
                        slot: None,
                        woken,
                    };
                    let answer = poll(&mut call);
                    match model.arrives(name) {
                        None => assert_eq!(answer, Poll::Pending),
                        Some(true) => assert_eq!(answer, Poll::Ready(Ok(()))),
                        Some(false) => assert_eq!(answer, Poll::Ready(Err(QueueFull))),
                    }
                    if answer != Poll::Ready(Err(QueueFull)) {
                        calls.push(call);
                    }
                }
                Event::Tries => {
                    let free = model.holders.len() < max;
                    assert_eq!(
                        slots.try_take().is_some(),
                        free,
                        "a slot is free if nobody holds it, and not if anybody waits"
                    );
                }
                Event::IsPolled(_) | Event::IsDropped(_) if calls.is_empty() => {}
                Event::IsPolled(pick) => {
                    let at = pick % calls.len();
                    let call = &mut calls[at];
                    let expected = if model.holders.contains(&call.name) {
                        Poll::Ready(Ok(()))
                    } else {
                        Poll::Pending
                    };
                    assert_eq!(poll(call), expected);
                }
                Event::IsDropped(pick) => {
                    let call = calls.swap_remove(pick % calls.len());
                    model.goes(call.name);
                }
            }
            assert_eq!(slots.in_use(), model.holders.len());
            assert_eq!(slots.waiting(), model.queue.len());
            for call in &calls {
                let has_waited_in_vain = call.waiting.is_some() && model.holders.contains(&call.name);
                assert!(
                    !has_waited_in_vain || call.woken.0.load(SeqCst),
                    "call {} has a slot and was not woken",
                    call.name
                );
                assert!(
                    !model.queue.contains(&call.name) || !call.woken.0.load(SeqCst),
                    "call {} was woken for nothing",
                    call.name
                );
            }
        }
        drop(calls);
        assert_eq!((slots.in_use(), slots.waiting()), (0, 0));
        let all: Vec<_> = std::iter::from_fn(|| slots.try_take()).collect();
        assert_eq!(all.len(), max, "every slot has come back");
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => Just(Event::Arrives),
            1 => Just(Event::Tries),
            3 => any::<usize>().prop_map(Event::IsPolled),
            4 => any::<usize>().prop_map(Event::IsDropped),
        ]
    }

    proptest! {
        #[test]
        fn slots_do_what_the_model_does(max in 1_usize..5, queue_max in 0_usize..6, events in prop::collection::vec(event(), 1..200)) {
            check_against_model(max, queue_max, &events);
        }
    }

    #[test]
    fn a_waiter_is_woken_by_its_latest_waker() {
        let slots = Slots::new(1, 1);
        let slot = slots.try_take();
        let (first, second) = (Arc::new(Woken(AtomicBool::new(false))), Arc::new(Woken(AtomicBool::new(false))));
        let mut waiting = std::pin::pin!(slots.wait());
        for woken in [&first, &second] {
            assert!(
                waiting
                    .as_mut()
                    .poll(&mut Context::from_waker(&Waker::from(woken.clone())))
                    .is_pending()
            );
        }
        drop(slot);
        assert!(!first.0.load(SeqCst) && second.0.load(SeqCst));
    }

    /// A waker may hold the last reference to its task, and with it to another place in the same queue.
    #[test]
    fn a_waker_may_drop_another_place_of_the_queue() {
        struct Holds {
            _place: std::sync::Mutex<Pin<Box<Waiting<'static>>>>,
        }
        impl Wake for Holds {
            fn wake(self: Arc<Self>) {}
        }
        let slots: &'static Slots = Box::leak(Box::new(Slots::new(1, 4)));
        let slot = slots.try_take();
        let nobody = Waker::noop();
        let mut inner = Box::pin(slots.wait());
        assert!(inner.as_mut().poll(&mut Context::from_waker(nobody)).is_pending());
        let mut outer = Box::pin(slots.wait());
        let holder = Waker::from(Arc::new(Holds {
            _place: std::sync::Mutex::new(inner),
        }));
        assert!(outer.as_mut().poll(&mut Context::from_waker(&holder)).is_pending());
        drop(holder);
        assert_eq!(slots.waiting(), 2);
        drop(outer);
        assert_eq!(slots.waiting(), 0);
        drop(slot);
        assert_eq!(slots.in_use(), 0);
    }
}
