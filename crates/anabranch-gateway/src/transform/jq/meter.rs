//! The limits of one evaluation, and the way out when one is reached.
//!
//! The interpreter has no fuel and no interrupt of its own. But it asks our data for its table of terms with every term that it runs, and
//! every operation on values is ours, so whatever a program does, it passes here: [`term`] and [`work`] count, look at the clock now and
//! then and at the depth of the stack, [`Charge`] counts the memory that values hold. When a limit is reached the evaluation is unwound
//! from where it stands, as by a panic that no hook sees; a jq error would not do, since a program may catch it and go on.
//!
//! The state belongs to the thread, because the operations on values have no other way to it. One evaluation at a time runs on a thread.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use anabranch::JobContext;

// Unwinding is how a program is cut; a build that aborts instead would let a config take the process down.
const _: () = assert!(
    cfg!(panic = "unwind"),
    "the gateway cuts jq programs by unwinding: build with panic = \"unwind\""
);

/// Steps between two looks at the clock: at about 100 ns a step one every 25 µs.
const STEPS_PER_LOOK: u64 = 256;
/// Slices that paths may be made of in one evaluation. Each link of a path takes up to 200 bytes of stack when it is dropped.
const PATH_SLICES_MAX: u32 = 5_000;

/// What one evaluation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Terms run and values touched; None where time is the limit.
    pub(super) steps: Option<u64>,
    /// Real time.
    pub(super) time: Duration,
    /// Bytes that values may hold at one time.
    pub(super) memory: usize,
    /// Bytes of stack below the place where the evaluation began.
    pub(super) stack: usize,
}

/// Why an evaluation was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// It took more steps than it was given.
    Steps,
    /// It took too long.
    Time,
    /// Nobody waits for it any more.
    Unwanted,
    /// Its values hold too much.
    Memory,
    /// It called itself too deep.
    Recursion,
    /// It made values nested too deep, or a path too long.
    Nesting,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cut::Steps => "it takes more steps than allowed",
            Cut::Time => "it does not end in time",
            Cut::Unwanted => "nobody waits for it any more",
            Cut::Memory => "its values grow larger than allowed",
            Cut::Recursion => "it calls itself deeper than allowed",
            Cut::Nesting => "its values are nested deeper than allowed",
        })
    }
}

struct Meter {
    /// Steps until the next look.
    left: Cell<u64>,
    /// Steps until the cut.
    steps: Cell<u64>,
    ends: Cell<Option<Instant>>,
    memory: Cell<usize>,
    memory_max: Cell<usize>,
    /// Slices that were put into paths.
    path_slices: Cell<u32>,
    /// Where the stack was when the evaluation began.
    stack_from: Cell<usize>,
    stack_max: Cell<usize>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            left: Cell::new(u64::MAX),
            steps: Cell::new(u64::MAX),
            ends: Cell::new(None),
            memory: Cell::new(0),
            memory_max: Cell::new(usize::MAX),
            path_slices: Cell::new(0),
            stack_from: Cell::new(0),
            stack_max: Cell::new(usize::MAX),
        }
    };
}

/// How an evaluation came to nothing.
#[derive(Debug)]
pub(super) enum Stopped {
    /// A limit was reached.
    Cut(Cut),
    /// The interpreter or our own code panicked; this is the message.
    Panicked(String),
}

/// Runs `work` within limits. All values that it makes must be dropped inside of it.
pub(super) fn within<T>(limits: &Limits, work: impl FnOnce() -> T) -> Result<T, Stopped> {
    METER.with(|meter| meter.begin(limits));
    let ended = catch_unwind(AssertUnwindSafe(work));
    METER.with(Meter::end);
    ended.map_err(|payload| match payload.downcast::<Cut>() {
        Ok(cut) => Stopped::Cut(*cut),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            Stopped::Panicked(text.unwrap_or("without a message").to_owned())
        }
    })
}

/// Ends the evaluation from where it stands.
pub(super) fn cut(why: Cut) -> ! {
    resume_unwind(Box::new(why))
}

/// Counts one term that runs, and looks whether its caller is still there and how deep the stack is.
pub(super) fn term(context: Option<&JobContext>) {
    METER.with(|meter| {
        let depth = stack_place().abs_diff(meter.stack_from.get());
        if depth > meter.stack_max.get() {
            cut(Cut::Recursion);
        }
        let looked = meter.work(1);
        if looked && context.is_some_and(JobContext::cancelled) {
            cut(Cut::Unwanted);
        }
    });
}

/// Counts work on values: one for a small operation, the number of items for one on many.
pub(super) fn work(steps: usize) {
    METER.with(|meter| meter.work(steps as u64));
}

/// Bytes that values hold now.
#[cfg(test)]
pub(super) fn held() -> usize {
    METER.with(|meter| meter.memory.get())
}

/// Counts a slice in a path; whether there are too many.
pub(super) fn path_slice() -> bool {
    METER.with(|meter| {
        let slices = meter.path_slices.get().saturating_add(1);
        meter.path_slices.set(slices);
        slices > PATH_SLICES_MAX
    })
}

/// The memory that a value holds, given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Charge(usize);

impl Charge {
    /// Takes so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        let mut charge = Charge(0);
        charge.set(bytes);
        charge
    }

    /// Changes what is held.
    pub(super) fn set(&mut self, bytes: usize) {
        METER.with(|meter| meter.hold(self.0, bytes));
        self.0 = bytes;
    }

    /// Asks for room before it is taken: cuts where `bytes` more would be too much.
    pub(super) fn reserve(bytes: usize) {
        METER.with(|meter| {
            if meter.memory.get().saturating_add(bytes) > meter.memory_max.get() {
                cut(Cut::Memory);
            }
        });
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        METER.with(|meter| meter.memory.set(meter.memory.get().saturating_sub(self.0)));
    }
}

impl Meter {
    fn begin(&self, limits: &Limits) {
        self.left.set(STEPS_PER_LOOK);
        self.steps.set(limits.steps.unwrap_or(u64::MAX));
        self.ends.set(now().checked_add(limits.time));
        self.memory.set(0);
        self.memory_max.set(limits.memory);
        self.path_slices.set(0);
        self.stack_from.set(stack_place());
        self.stack_max.set(limits.stack);
    }

    /// Takes the limits away, so that a value made outside of an evaluation is never cut.
    fn end(&self) {
        self.left.set(u64::MAX);
        self.steps.set(u64::MAX);
        self.ends.set(None);
        self.memory_max.set(usize::MAX);
        self.stack_max.set(usize::MAX);
    }

    /// Counts; whether it was time for a look.
    fn work(&self, steps: u64) -> bool {
        let left = self.left.get();
        if let Some(left) = left.checked_sub(steps) {
            self.left.set(left);
            return false;
        }
        self.look(STEPS_PER_LOOK - left.min(STEPS_PER_LOOK) + steps);
        true
    }

    fn look(&self, done: u64) {
        self.left.set(STEPS_PER_LOOK);
        match self.steps.get().checked_sub(done) {
            Some(steps) => self.steps.set(steps),
            None => cut(Cut::Steps),
        }
        if self.ends.get().is_some_and(|ends| now() >= ends) {
            cut(Cut::Time);
        }
    }

    fn hold(&self, before: usize, after: usize) {
        let memory = self.memory.get().saturating_sub(before).saturating_add(after);
        if memory > self.memory_max.get() {
            cut(Cut::Memory);
        }
        self.memory.set(memory);
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a program has computed is real time also in tests")]
fn now() -> Instant {
    Instant::now()
}

/// About where the stack is now: the address of something that stands on it.
#[inline(never)]
fn stack_place() -> usize {
    let here = 0u8;
    std::hint::black_box(std::ptr::from_ref(&here)).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Limits = Limits {
        steps: Some(10_000),
        time: Duration::from_secs(60),
        memory: 1 << 20,
        stack: 256 << 10,
    };

    fn cut_of<T: fmt::Debug>(ended: Result<T, Stopped>) -> Cut {
        match ended {
            Err(Stopped::Cut(cut)) => cut,
            other => panic!("was not cut: {other:?}"),
        }
    }

    #[test]
    fn what_stays_within_its_limits_is_not_cut() {
        let sum = within(&ROOM, || {
            (0..9_000).for_each(|_| work(1));
            let _held = Charge::new(1 << 19);
            9_000
        });
        assert_eq!(sum.unwrap(), 9_000);
    }

    #[test]
    fn a_loop_is_cut_by_its_steps() {
        assert_eq!(
            cut_of(within(&ROOM, || -> () {
                loop {
                    work(1)
                }
            })),
            Cut::Steps
        );
        assert_eq!(
            cut_of(within(&ROOM, || -> () {
                loop {
                    term(None)
                }
            })),
            Cut::Steps
        );
        assert_eq!(cut_of(within(&ROOM, || work(usize::MAX))), Cut::Steps);
    }

    #[test]
    fn a_loop_without_a_limit_of_steps_is_cut_by_time() {
        let limits = Limits {
            steps: None,
            time: Duration::from_millis(20),
            ..ROOM
        };
        assert_eq!(
            cut_of(within(&limits, || -> () {
                loop {
                    work(1)
                }
            })),
            Cut::Time
        );
    }

    #[test]
    fn memory_counts_while_it_is_held() {
        let held = within(&ROOM, || (0..100).for_each(|_| drop(Charge::new(1 << 19))));
        assert!(held.is_ok());
        let kept = within(&ROOM, || (0..100).map(|_| Charge::new(1 << 19)).collect::<Vec<_>>().len());
        assert_eq!(cut_of(kept), Cut::Memory);
        assert_eq!(cut_of(within(&ROOM, || Charge::reserve(2 << 20))), Cut::Memory);
    }

    #[test]
    fn recursion_is_cut_before_the_stack_ends() {
        fn deeper(levels: u64) -> u64 {
            term(None);
            if levels == u64::MAX {
                0
            } else {
                std::hint::black_box(deeper(levels + 1)) + 1
            }
        }
        let limits = Limits { steps: None, ..ROOM };
        assert_eq!(cut_of(within(&limits, || deeper(0))), Cut::Recursion);
    }

    #[test]
    fn a_panic_is_told_apart_and_leaves_no_limits_behind() {
        let ended = within(&ROOM, || {
            if std::hint::black_box(true) {
                panic!("broken {}", 1)
            }
        });
        assert!(matches!(ended, Err(Stopped::Panicked(message)) if message == "broken 1"));
        (0..1_000_000).for_each(|_| work(1));
        drop(Charge::new(1 << 30));
    }
}
