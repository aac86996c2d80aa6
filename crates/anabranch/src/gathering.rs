//! Many futures inside one task, with one timer for all of them: the core that [`gather`](crate::gather()) and the gateway's
//! graph runner stand on.
//!
//! The parent task owns its children, so they may borrow from it and dropping the [`Gathering`] ends them all at once. What
//! to do when one is finished (start more, wait a little longer, stop) is the caller's.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::task::coop::has_budget_remaining;
use tokio::time::Instant;

use crate::deadline::Alarm;
use crate::settled::panic_message;
use crate::timekeeper::Timekeeper;
use crate::{Deadline, Elapsed, Finished, Settled, Why};

/// Futures of one parent task, each with a key. Dropping it drops them all, at once.
///
/// They run only while [`next`](Gathering::next) is awaited: a caller that awaits something else between two calls lets them
/// starve for that long.
pub struct Gathering<'a, K, T> {
    children: FuturesUnordered<Child<'a, K, T>>,
    /// Children that were dropped when the end came and are still to be reported.
    overdue: VecDeque<Finished<K, T>>,
    deadline: Deadline,
    /// An earlier end than the deadline; `None` until [`cut`](Gathering::cut).
    cut: Option<Deadline>,
    /// How many were started; numbers the children, so that those dropped together are reported in order.
    started: usize,
    alarm: Pin<Box<Alarm>>,
    /// Keeps the time for the children; away only while they are polled.
    keeper: Option<Box<Timekeeper>>,
    /// Whether a child has ended since the last time the end was put off for want of budget.
    progressed: bool,
}

impl<'a, K, T> Gathering<'a, K, T> {
    /// No children yet; none will live beyond this deadline.
    pub fn new(deadline: Deadline) -> Self {
        let alarm = Box::pin(Alarm::new());
        Gathering {
            children: FuturesUnordered::new(),
            overdue: VecDeque::new(),
            deadline,
            cut: None,
            started: 0,
            alarm,
            keeper: Some(Timekeeper::new()),
            progressed: false,
        }
    }

    /// Starts a child and says when that was. A panic inside it ends that child only.
    pub fn start(&mut self, key: K, future: impl Future<Output = T> + Send + 'a) -> Instant {
        self.push(key, Work::Free(Box::pin(future)))
    }

    /// Starts a child with a deadline of its own, for which it arms a timer of its own.
    pub fn start_within(&mut self, key: K, limit: Deadline, future: impl Future<Output = T> + Send + 'a) {
        let _started = self.push(key, Work::Limited(Box::pin(limit.bound(future))));
    }

    /// Starts a child that is in its box already.
    pub(crate) fn start_boxed(&mut self, key: K, future: BoxFuture<'a, T>) {
        let _started = self.push(key, Work::Free(future));
    }

    fn push(&mut self, key: K, work: Work<'a, T>) -> Instant {
        let started = Instant::now();
        self.children.push(Child {
            key: Some(key),
            number: self.started,
            started,
            work,
        });
        self.started += 1;
        started
    }

    /// Waits for the next child to end; `None` when there is none. What is ready at the end counts. When the end has come all
    /// children left are dropped together and reported one by one: as timed out, or as cancelled for
    /// [`Grace`](Why::Grace) if the end had been moved by [`cut`](Gathering::cut). Dropping the wait loses nothing.
    pub async fn next(&mut self) -> Option<Finished<K, T>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Finished<K, T>>> {
        if let Some(finished) = self.overdue.pop_front() {
            return Poll::Ready(Some(finished));
        }
        loop {
            let children = &mut self.children;
            if let Poll::Ready(finished) = Timekeeper::on_duty(&mut self.keeper, || children.poll_next_unpin(cx)) {
                self.progressed = true;
                return Poll::Ready(finished);
            }
            let end = self.end().instant();
            let wanted = self.keeper.as_ref().and_then(|keeper| keeper.nearest());
            let nearest = wanted.map_or(end, |wanted| wanted.min(end));
            ready!(self.alarm.as_mut().poll(nearest, cx));
            let has_woken = self.keeper.as_mut().is_some_and(|keeper| keeper.ring(nearest));
            // Children whose own time came with the end say so themselves.
            if !has_woken && nearest >= end {
                break;
            }
        }
        // Children may be ready and only out of tokio's budget for this poll: they get a fresh one as long as that ends some.
        if !has_budget_remaining() && mem::take(&mut self.progressed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let was_cut = self.cut.is_some();
        self.overdue = self.drop_children(|| {
            if was_cut {
                Settled::Cancelled(Why::Grace)
            } else {
                Settled::TimedOut
            }
        });
        Poll::Ready(self.overdue.pop_front())
    }

    /// Moves the end to this deadline, if that is earlier.
    pub fn cut(&mut self, deadline: Deadline) {
        if deadline < self.end() {
            self.cut = Some(deadline);
        }
    }

    /// Drops all children that are left, now, and says so for each, in the order of their start.
    pub fn cancel(&mut self, why: Why) -> Vec<Finished<K, T>> {
        let mut finished = mem::take(&mut self.overdue);
        finished.extend(self.drop_children(|| Settled::Cancelled(why)));
        finished.into()
    }

    /// When all that is left will be dropped: the deadline, or the cut.
    pub fn end(&self) -> Deadline {
        self.cut.unwrap_or(self.deadline)
    }

    /// How many children were started and not yet reported.
    pub fn len(&self) -> usize {
        self.children.len() + self.overdue.len()
    }

    /// Whether every child has been reported.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn drop_children(&mut self, settled: impl Fn() -> Settled<T>) -> VecDeque<Finished<K, T>> {
        let now = Instant::now();
        let mut children: Vec<_> = mem::take(&mut self.children).into_iter().collect();
        children.sort_by_key(|child| child.number);
        children.into_iter().filter_map(|child| child.stop(settled(), now)).collect()
    }
}

/// One child: its key until it is reported, and its future.
struct Child<'a, K, T> {
    key: Option<K>,
    number: usize,
    started: Instant,
    work: Work<'a, T>,
}

/// A child's future; the second kind knows a limit of its own. Two boxes of one concrete type each, not one box in another.
enum Work<'a, T> {
    Free(BoxFuture<'a, T>),
    Limited(BoxFuture<'a, Result<T, Elapsed>>),
}

/// Nothing in it is pinned in place: the futures are in boxes.
impl<K, T> Unpin for Child<'_, K, T> {}

impl<K, T> Child<'_, K, T> {
    /// Ends it where it stands. A panic while its future is dropped is contained like any other.
    fn stop(self, settled: Settled<T>, now: Instant) -> Option<Finished<K, T>> {
        let took: Duration = now.saturating_duration_since(self.started);
        let work = self.work;
        let settled = match catch_unwind(AssertUnwindSafe(|| drop(work))) {
            Ok(()) => settled,
            Err(payload) => Settled::Panicked(panic_message(payload)),
        };
        self.key.map(|key| Finished { key, settled, took })
    }
}

impl<K, T> Future for Child<'_, K, T> {
    type Output = Finished<K, T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let settled = match catch_unwind(AssertUnwindSafe(|| this.work.poll(cx))) {
            Ok(polled) => ready!(polled),
            Err(payload) => Settled::Panicked(panic_message(payload)),
        };
        let key = this.key.take().expect("a child is not polled again once it has ended");
        Poll::Ready(Finished {
            key,
            settled,
            took: this.started.elapsed(),
        })
    }
}

impl<T> Work<'_, T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Settled<T>> {
        match self {
            Work::Free(future) => future.as_mut().poll(cx).map(Settled::Done),
            Work::Limited(future) => future.as_mut().poll(cx).map(Settled::from),
        }
    }
}
