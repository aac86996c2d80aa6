//! One timer for all deadlines inside one task.
//!
//! A [`Gathering`](crate::Gathering) keeps the time for its children: while it polls them its timekeeper is on duty on this thread,
//! and a bounded future inside tells it when it wants to be woken instead of arming a timer of its own. The gathering arms one, for
//! the nearest of these instants and its own end. Arming and dropping a timer takes a lock of the runtime and costs about as much as
//! a small read; a note costs a few stores.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

thread_local! {
    static ON_DUTY: Cell<Option<Box<Timekeeper>>> = const { Cell::new(None) };
}

/// Who wants to be woken when.
#[derive(Debug)]
pub(crate) struct Timekeeper {
    /// Tells it from others, so that a place is given back to whom it was taken from.
    id: u64,
    places: Vec<Option<Note>>,
    free: Vec<usize>,
    /// No note is for earlier than this. It may be too early, after the note that it was for is gone; then it rings for nobody.
    nearest: Option<Instant>,
    /// All up to this has come.
    rung: Option<Instant>,
}

#[derive(Debug)]
struct Note {
    when: Instant,
    waker: Waker,
}

/// A place in a timekeeper's book, held by the one who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    keeper: u64,
    index: usize,
}

impl Timekeeper {
    pub(crate) fn new() -> Box<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Box::new(Timekeeper {
            id: NEXT.fetch_add(1, Relaxed),
            places: Vec::new(),
            free: Vec::new(),
            nearest: None,
            rung: None,
        })
    }

    /// Runs `poll` with this timekeeper on duty, and the one that was on duty before it again afterwards, also after a panic.
    pub(crate) fn on_duty<T>(own: &mut Option<Box<Timekeeper>>, poll: impl FnOnce() -> T) -> T {
        struct Shift<'a>(&'a mut Option<Box<Timekeeper>>, Option<Box<Timekeeper>>);
        impl Drop for Shift<'_> {
            fn drop(&mut self) {
                *self.0 = ON_DUTY.replace(self.1.take());
            }
        }
        let before = ON_DUTY.replace(own.take());
        let _shift = Shift(own, before);
        poll()
    }

    /// When it must be rung next, at the latest.
    pub(crate) fn nearest(&self) -> Option<Instant> {
        self.nearest
    }

    /// Wakes all who wanted to be woken up to `now`; whether there were any.
    pub(crate) fn ring(&mut self, now: Instant) -> bool {
        self.rung = self.rung.max(Some(now));
        self.nearest = None;
        let mut has_woken = false;
        for index in 0..self.places.len() {
            match &self.places[index] {
                Some(note) if note.when <= now => {
                    note.waker.wake_by_ref();
                    self.places[index] = None;
                    has_woken = true;
                }
                Some(note) => self.nearest = Some(self.nearest.map_or(note.when, |nearest| nearest.min(note.when))),
                None => {}
            }
        }
        has_woken
    }

    fn note(&mut self, place: &mut Option<Place>, when: Instant, cx: &Context<'_>) -> Poll<()> {
        if self.rung.is_some_and(|rung| rung >= when) {
            return Poll::Ready(());
        }
        let index = match place.filter(|place| place.keeper == self.id) {
            Some(place) => place.index,
            None => self.take_place(),
        };
        *place = Some(Place { keeper: self.id, index });
        let is_there = self.places[index]
            .as_ref()
            .is_some_and(|note| note.when == when && note.waker.will_wake(cx.waker()));
        if !is_there {
            self.places[index] = Some(Note {
                when,
                waker: cx.waker().clone(),
            });
            self.nearest = Some(self.nearest.map_or(when, |nearest| nearest.min(when)));
        }
        Poll::Pending
    }

    fn take_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }
}

/// Asks whoever is on duty to wake this task at `when`: ready if that has come; None when nobody is on duty.
pub(crate) fn ask(place: &mut Option<Place>, when: Instant, cx: &Context<'_>) -> Option<Poll<()>> {
    let mut keeper = ON_DUTY.take()?;
    let polled = keeper.note(place, when, cx);
    ON_DUTY.set(Some(keeper));
    Some(polled)
}

/// Gives a place back, if its timekeeper is on duty; else it goes with the timekeeper.
pub(crate) fn leave(place: Place) {
    let Some(mut keeper) = ON_DUTY.take() else { return };
    if keeper.id == place.keeper {
        keeper.places[place.index] = None;
        keeper.free.push(place.index);
    }
    ON_DUTY.set(Some(keeper));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ask_now(place: &mut Option<Place>, when: Instant) -> Option<Poll<()>> {
        ask(place, when, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn without_a_keeper_nobody_answers() {
        assert!(ask_now(&mut None, Instant::now()).is_none());
    }

    #[test]
    fn what_has_come_is_ready_and_what_has_not_is_noted() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut own = Some(Timekeeper::new());
        let (mut early, mut late) = (None, None);
        Timekeeper::on_duty(&mut own, || {
            assert_eq!(ask_now(&mut late, start + 2 * second), Some(Poll::Pending));
            assert_eq!(ask_now(&mut early, start + second), Some(Poll::Pending));
        });
        let keeper = own.as_mut().expect("back from duty");
        assert_eq!(keeper.nearest(), Some(start + second));
        assert!(keeper.ring(start + second));
        assert_eq!(keeper.nearest(), Some(start + 2 * second));
        assert!(!keeper.ring(start + second), "each is woken once");
        Timekeeper::on_duty(&mut own, || {
            assert_eq!(ask_now(&mut early, start + second), Some(Poll::Ready(())));
            assert_eq!(ask_now(&mut late, start + 2 * second), Some(Poll::Pending));
        });
    }

    #[test]
    fn places_are_used_again_and_only_by_their_own_keeper() {
        let when = Instant::now() + Duration::from_secs(1);
        let (mut one, mut other) = (Some(Timekeeper::new()), Some(Timekeeper::new()));
        for _ in 0..100 {
            let mut place = None;
            Timekeeper::on_duty(&mut one, || {
                ask_now(&mut place, when);
                leave(place.expect("noted"));
            });
            // A future that was polled there and is polled here takes a place here.
            Timekeeper::on_duty(&mut other, || ask_now(&mut place, when));
            assert_eq!(place.map(|place| place.keeper), other.as_ref().map(|keeper| keeper.id));
        }
        assert_eq!(one.expect("keeper").places.len(), 1);
    }

    #[test]
    fn the_shift_ends_with_a_panic_too() {
        let mut own = Some(Timekeeper::new());
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Timekeeper::on_duty(&mut own, || panic!("in a child"))
        }));
        assert!(result.is_err());
        assert!(own.is_some());
        assert!(ask_now(&mut None, Instant::now()).is_none());
    }
}
