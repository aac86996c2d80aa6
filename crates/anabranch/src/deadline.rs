//! Deadlines: one instant that everything below it must respect, and the one place on a request's way that arms timers.
//!
//! A future is bounded with [`Deadline::bound`]. Limits of phases inside an attempt (DNS, connect, first byte) arm nothing of
//! their own: they are [`Marks`], checked against the timer that is there anyway. A timer costs about as much as a small
//! read, so it is made when the future is first seen waiting, and a future that is ready at once never pays for one.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

use crate::Phase;
use crate::timekeeper::{self, Place};

/// What tokio's own far future is; adding more may overflow an `Instant` on some systems.
const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);
/// A timer that far away is not armed at all.
const NEVER_ARMED: Duration = Duration::from_secs(10 * 365 * 86_400);
/// The least time kept back for joining the parts of a reply.
const RESERVE_MIN: Duration = Duration::from_millis(20);
/// The share of what is left that is kept back for joining: one part in fifty, 2 %.
const RESERVE_PART: u32 = 50;

/// The instant by which something has to end. It is absolute, so handing it down costs nothing and sums up to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Ends this long from now; longer than thirty years counts as thirty years.
    pub fn after(limit: Duration) -> Self {
        Deadline(Instant::now() + limit.min(THIRTY_YEARS))
    }

    /// Ends at this instant of tokio's clock.
    pub fn at(instant: Instant) -> Self {
        Deadline(instant)
    }

    /// Ends so late that no timer is armed for it: for connections and other things that are ended by someone, not by time.
    pub fn never() -> Self {
        Deadline::after(THIRTY_YEARS)
    }

    /// The instant itself.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The earlier of the two.
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// The same or, if that is earlier, this long from now: the deadline of something inside.
    pub fn within(self, limit: Duration) -> Self {
        self.earlier(Deadline::after(limit))
    }

    /// The time left; zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether nothing is left.
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }

    /// The deadline for calls whose answers are joined afterwards: earlier by 20 ms or 2 % of what is left, whichever is
    /// more, but never by more than half of it, so that a short deadline keeps time to call at all.
    pub fn less_reserve(self) -> Self {
        let left = self.left();
        let reserve = RESERVE_MIN.max(left / RESERVE_PART).min(left / 2);
        Deadline(self.0 - reserve)
    }

    /// Runs the future until the deadline. The future is polled first, so what is ready at the deadline counts. Once the
    /// deadline has passed the future is not polled again; it is dropped together with the returned one.
    pub fn bound<F: Future>(self, future: F) -> Bound<F> {
        Bound {
            future,
            deadline: self,
            alarm: Alarm::new(),
        }
    }

    /// Runs the future until the deadline or until the limit of the phase that it entered in `marks`, with one timer for
    /// both; otherwise like [`bound`](Deadline::bound).
    pub fn bound_marked<F: Future>(self, marks: &Marks, future: F) -> BoundMarked<'_, F> {
        BoundMarked {
            future,
            deadline: self,
            marks,
            alarm: Alarm::new(),
        }
    }

    /// Waits until it has passed: a pause before the next attempt, for example.
    pub async fn wait(self) {
        let _elapsed = self.bound(std::future::pending::<()>()).await;
    }
}

/// The deadline passed before the future was ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed")
    }
}

impl Error for Elapsed {}

/// Time ran out in a future with [`Marks`]: in which phase, and on whose clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The phase that was entered last; none if none was.
    pub phase: Option<Phase>,
    /// Whether the phase's own limit ran out, not the deadline.
    pub by_phase: bool,
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.phase, self.by_phase) {
            (Some(phase), true) => write!(f, "the time for phase `{phase}` ran out"),
            (Some(phase), false) => write!(f, "the deadline passed in phase `{phase}`"),
            (None, _) => f.write_str("the deadline passed"),
        }
    }
}

impl Error for Expired {}

/// The phase that an attempt is in, and how long it may stay there. Lives beside the attempt's future, which writes it while
/// [`Deadline::bound_marked`] reads it; both run in one task, the atomics are there to make the future `Send`.
#[derive(Debug)]
pub struct Marks {
    /// What the offsets below count from.
    start: Instant,
    /// 0 before the first phase, then 1 + the index in [`PHASES`].
    phase: AtomicU8,
    /// The current phase's own limit in nanoseconds, or [`NO_LIMIT`].
    limit: AtomicU64,
    /// When the current phase's own limit ends, in nanoseconds from `start`, or [`NO_LIMIT`].
    ends: AtomicU64,
}

const NO_LIMIT: u64 = u64::MAX;
/// All phases in the order of their declaration, to get back from a number.
const PHASES: [Phase; 8] = [
    Phase::Rate,
    Phase::Queue,
    Phase::Pool,
    Phase::Dns,
    Phase::Connect,
    Phase::Tls,
    Phase::FirstByte,
    Phase::Body,
];

impl Marks {
    /// No phase yet, no limit.
    pub fn new() -> Self {
        Marks::starting(Instant::now())
    }

    /// The same for a caller who has just read the clock.
    pub(crate) fn starting(now: Instant) -> Self {
        Marks {
            start: now,
            phase: AtomicU8::new(0),
            limit: AtomicU64::new(NO_LIMIT),
            ends: AtomicU64::new(NO_LIMIT),
        }
    }

    /// Enters a phase that may last this long from now, or as long as the deadline lets it. Ends the phase before.
    pub fn enter(&self, phase: Phase, limit: Option<Duration>) {
        let limit = limit.map_or(NO_LIMIT, |limit| u64::try_from(limit.as_nanos()).unwrap_or(NO_LIMIT));
        self.phase.store(phase as u8 + 1, Relaxed);
        self.limit.store(limit, Relaxed);
        self.touch();
    }

    /// Starts the current phase's limit anew, for example after each piece of a body.
    pub fn touch(&self) {
        let limit = self.limit.load(Relaxed);
        let ends = if limit == NO_LIMIT {
            NO_LIMIT
        } else {
            elapsed_nanos(self.start).saturating_add(limit)
        };
        self.ends.store(ends, Relaxed);
    }

    /// The phase entered last.
    pub fn phase(&self) -> Option<Phase> {
        let entered = usize::from(self.phase.load(Relaxed));
        entered.checked_sub(1).map(|index| PHASES[index])
    }

    /// When the current phase's own limit ends, where it has one.
    fn ends(&self) -> Option<Instant> {
        let ends = self.ends.load(Relaxed);
        let has_limit = ends != NO_LIMIT;
        has_limit.then(|| self.start + Duration::from_nanos(ends).min(THIRTY_YEARS))
    }
}

impl Default for Marks {
    fn default() -> Self {
        Marks::new()
    }
}

fn elapsed_nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(NO_LIMIT)
}

pin_project! {
    /// The future of [`Deadline::bound`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct Bound<F> {
        #[pin]
        future: F,
        deadline: Deadline,
        #[pin]
        alarm: Alarm,
    }
}

impl<F: Future> Future for Bound<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        ready!(this.alarm.poll(this.deadline.0, cx));
        Poll::Ready(Err(Elapsed))
    }
}

pin_project! {
    /// The future of [`Deadline::bound_marked`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct BoundMarked<'m, F> {
        #[pin]
        future: F,
        deadline: Deadline,
        marks: &'m Marks,
        #[pin]
        alarm: Alarm,
    }
}

impl<F: Future> Future for BoundMarked<'_, F> {
    type Output = Result<F::Output, Expired>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // Read after the poll: the future may have moved on to another phase in it.
        let phase_ends = this.marks.ends().filter(|ends| *ends < this.deadline.0);
        ready!(this.alarm.poll(phase_ends.unwrap_or(this.deadline.0), cx));
        Poll::Ready(Err(Expired {
            phase: this.marks.phase(),
            by_phase: phase_ends.is_some(),
        }))
    }
}

pin_project! {
    /// Tells when an instant has come: by the timekeeper on duty, where a gathering polls this; else by a timer of its own.
    ///
    /// One timer that can be asked about a different instant each time. It is armed by the first question that has to wait,
    /// moved at once when asked about something earlier, and when asked about something later only once it has rung:
    /// a body that touches its marks a thousand times moves the timer a few times.
    pub(crate) struct Alarm {
        place: Option<Place>,
        // In a box: most alarms inside a gathering never arm one, and a waiting call is as large as all that is in it.
        sleep: Option<Pin<Box<Sleep>>>,
    }

    impl PinnedDrop for Alarm {
        fn drop(this: Pin<&mut Self>) {
            if let Some(place) = this.project().place.take() {
                timekeeper::leave(place);
            }
        }
    }
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Alarm { place: None, sleep: None }
    }

    /// Ready once `when` has come. Outside tokio's budget, or a future that eats up the budget would never be stopped.
    pub(crate) fn poll(self: Pin<&mut Self>, when: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(polled) = timekeeper::ask(this.place, when, cx) {
            return polled;
        }
        let slot = this.sleep;
        if slot.is_none() {
            let left = when.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            if left > NEVER_ARMED {
                return Poll::Pending;
            }
        }
        loop {
            let sleep = slot.get_or_insert_with(|| Box::pin(arm(when)));
            if when < sleep.deadline() {
                sleep.as_mut().reset(when);
            }
            ready!(Pin::new(&mut unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() >= when {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(when);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this file is the one place on a request's way that arms timers"
)]
fn arm(when: Instant) -> Sleep {
    tokio::time::sleep_until(when)
}
