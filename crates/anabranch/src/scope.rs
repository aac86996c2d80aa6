//! Tasks that end with the block that started them.
//!
//! Use [`gather`](crate::gather()) for calls that only wait: their futures live in the current task and may borrow. A child of
//! a scope is a task of its own, `'static`, for work that must go on while its parent is busy.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::tasks::Tasks;
use crate::{Deadline, Settled, Why};

/// More children than this at once are a mistake in a loop, not a plan.
const MOST_CHILDREN: usize = 65_536;

/// Runs `body` with a [`Scope`] to start tasks in, and returns when all of them have ended.
///
/// If the body succeeds, its children may go on until the deadline; whatever still runs then is aborted and awaited. If it
/// fails, panics, or is not done by the deadline, they are aborted at once. If the returned future is dropped they are
/// aborted at once too, without anybody waiting; [`stragglers`](crate::stragglers) names what is slow to go.
///
/// An aborted task ends at its next `await`. One that blocks its thread instead holds the scope open beyond the deadline:
/// that is the price of "when it returns, nothing of it runs".
///
/// The body gets the scope by value, not by reference: an async closure over a reference has no way to say that its future
/// is `Send`. The future of this function is `Send` when the body's is. Children may be given a clone, to start more.
pub async fn scope<T, E, F, B>(deadline: Deadline, body: B) -> Result<T, ScopeError<E>>
where
    B: FnOnce(Scope) -> F,
    F: Future<Output = Result<T, E>>,
{
    let tasks = Tasks::new(MOST_CHILDREN);
    let abort = AbortOnDrop(tasks.clone());
    let result = deadline
        .bound(body(Scope {
            tasks: tasks.clone(),
            deadline,
        }))
        .await;
    if matches!(result, Ok(Ok(_))) {
        let _in_time = deadline.bound(tasks.wait_until_empty()).await;
    }
    drop(abort);
    tasks.wait_until_empty().await;
    result.map_err(|_elapsed| ScopeError::TimedOut)?.map_err(ScopeError::Failed)
}

/// Where children are started. It is of no use after the scope has ended: what is started then is refused.
#[derive(Clone)]
pub struct Scope {
    tasks: Arc<Tasks>,
    deadline: Deadline,
}

impl Scope {
    /// Starts a child as a task of its own. Its panic, too, ends only itself and is told by the handle; dropping the handle
    /// does not stop it. More than 65,536 children at once are refused: the handle says [`Why::NotStarted`].
    pub fn spawn<T: Send + 'static>(&self, name: impl Into<String>, future: impl Future<Output = T> + Send + 'static) -> Handle<T> {
        let (report, settled) = oneshot::channel();
        let _refusal_is_reported = self.tasks.spawn(name.into().into(), future, Some(report));
        Handle(settled)
    }

    /// The deadline that ends the scope.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// How many children are running.
    pub fn count(&self) -> usize {
        self.tasks.count()
    }
}

/// Waits for a child of a scope and says how it ended; its future is gone by then. A child aborted with its scope is
/// [`Cancelled`](Settled::Cancelled) by its [`Parent`](Why::Parent).
#[must_use = "the child runs anyway, but how it ended is known only here"]
pub struct Handle<T>(oneshot::Receiver<Settled<T>>);

impl<T> Future for Handle<T> {
    type Output = Settled<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Settled<T>> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|settled| settled.unwrap_or(Settled::Cancelled(Why::Parent)))
    }
}

/// Why a scope returned no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeError<E> {
    /// The body failed.
    Failed(E),
    /// The body was not done by the deadline.
    TimedOut,
}

impl<E: fmt::Display> fmt::Display for ScopeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScopeError::Failed(error) => error.fmt(f),
            ScopeError::TimedOut => f.write_str("the deadline passed"),
        }
    }
}

impl<E: Error + 'static> Error for ScopeError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ScopeError::Failed(error) => error.source(),
            ScopeError::TimedOut => None,
        }
    }
}

/// Ends the tasks when the scope's future is dropped, unwinds, or comes to its end.
struct AbortOnDrop(Arc<Tasks>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
