//! The slots against a model in the plainest words. The orders in which threads may meet are `tests/loom.rs`'s matter.

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
