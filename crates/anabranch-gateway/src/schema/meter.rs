//! The limits of one check: steps, stack and time. A schema may refer to itself and a body may be nested as the client likes, so what a
//! check takes is known only when it is done.
//!
//! The validator is not ours and cannot be asked to stop, so it is broken off: the value that it looks at counts how often it does, and
//! where that is too often unwinds the stack up to here, which is what a panic does, without being one.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use tokio::time::Instant;

/// How often steps are counted before the clock is looked at.
const STEPS_A_LOOK: u32 = 1024;

/// What a check may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Looks at a value; one takes 20 to 200 ns.
    pub(super) steps: u32,
    /// Bytes of stack.
    pub(super) stack: usize,
    /// Time.
    pub(super) time: Duration,
}

impl Room {
    /// On a loop that others wait for, about a millisecond.
    pub(super) const LOOP: Room = Room {
        steps: 20_000,
        stack: 256 << 10,
        time: Duration::from_millis(2),
    };
    /// On a thread of the compute pool: half of its stack, and less than its limit of 250 ms, so that no thread is given up.
    pub(super) const POOL: Room = Room {
        steps: 4_000_000,
        stack: 4 << 20,
        time: Duration::from_millis(200),
    };
    /// In place of the pool, on the stack of whoever asks.
    pub(super) const INLINE: Room = Room {
        stack: 768 << 10,
        ..Room::POOL
    };
}

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(0) };
    /// The lowest address that the stack may reach.
    static FLOOR: Cell<usize> = const { Cell::new(0) };
    static ENDS: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What unwinds the stack.
struct BrokenOff;

/// Does work that counts its steps with [`step`]; None when it took more than the room allows, or panicked.
pub(super) fn within<T>(room: &Room, work: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(room.steps);
    FLOOR.set(stack_address().saturating_sub(room.stack));
    ENDS.set(Some(Instant::now() + room.time));
    // What the work leaves half done is a context of its own that is dropped here; the schema is not written to.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Counts one step of the work within which it is called, and breaks that off where it takes too much.
pub(super) fn step() {
    let left = LEFT.get();
    let late = left.is_multiple_of(STEPS_A_LOOK) && ENDS.get().is_some_and(|ends| Instant::now() >= ends);
    if left == 0 || late || stack_address() < FLOOR.get() {
        resume_unwind(Box::new(BrokenOff));
    }
    LEFT.set(left - 1);
}

/// About where the stack ends now. It grows downwards wherever this runs.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room {
        steps: 100,
        stack: 64 << 10,
        time: Duration::from_secs(10),
    };

    fn deeper(levels: usize) -> usize {
        step();
        let below = if levels == 0 { 0 } else { deeper(levels - 1) };
        std::hint::black_box(below) + 1
    }

    #[test]
    fn work_is_broken_off_by_steps_stack_or_time_and_not_before() {
        assert_eq!(within(&ROOM, || (0..100).for_each(|_| step())), Some(()));
        assert_eq!(within(&ROOM, || (0..101).for_each(|_| step())), None);
        assert_eq!(within(&ROOM, || deeper(50)), Some(51));
        let deep = Room { steps: u32::MAX, ..ROOM };
        assert_eq!(within(&deep, || deeper(1_000_000)), None);
        let late = Room {
            steps: u32::MAX,
            time: Duration::from_millis(5),
            ..ROOM
        };
        assert_eq!(
            within(&late, || {
                loop {
                    step();
                }
            }),
            None::<()>
        );
        assert_eq!(within(&ROOM, || 1), Some(1));
    }
}
