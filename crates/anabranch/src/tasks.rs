//! The tasks of one scope: how many, their names, and how they are ended together. The only file that starts tasks.
//!
//! Each task carries a guard that strikes it off the list when its future is gone, so the list is right whether a task ended
//! by itself, was aborted, or went down with its runtime. Tasks of a closed scope that have not ended yet are
//! [`stragglers`]: they wait for their next `await`, and one that blocks its thread never comes there.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::settled::panic_message;
use crate::{Settled, Why};

/// The names of tasks whose scope has ended or was dropped while they still ran. Aborted tasks are here until their next
/// `await`, a matter of microseconds; whatever stays longer blocks a thread.
pub fn stragglers() -> Vec<String> {
    let closed = STRAGGLING.lock().unwrap_or_else(PoisonError::into_inner).closed.clone();
    closed
        .iter()
        .filter_map(Weak::upgrade)
        .flat_map(|tasks| tasks.names())
        .map(Cow::into_owned)
        .collect()
}

pub(crate) type Name = Cow<'static, str>;

/// The tasks of one scope.
pub(crate) struct Tasks {
    state: Mutex<State>,
    /// Told each time the last task is struck off.
    emptied: Notify,
    /// More than this many at once are refused.
    most: usize,
}

struct State {
    door: Door,
    next_id: u64,
    running: HashMap<u64, Running>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// No new tasks; those that run go on.
    Closed,
    /// No new tasks; those that run were told to end.
    Aborted,
}

struct Running {
    name: Name,
    /// `None` for the moment between registering a task and starting it.
    task: Option<JoinHandle<()>>,
}

impl Tasks {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let state = State {
            door: Door::Open,
            next_id: 0,
            running: HashMap::new(),
        };
        Arc::new(Tasks {
            state: Mutex::new(state),
            emptied: Notify::new(),
            most,
        })
    }

    /// Starts a task and sends how it ended to `report`, once its future is gone. Refuses when closed, full or outside a
    /// runtime; `report` then hears the same reason.
    pub(crate) fn spawn<F>(self: &Arc<Self>, name: Name, future: F, report: Option<oneshot::Sender<Settled<F::Output>>>) -> Result<(), Why>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let registered = Handle::try_current()
            .map_err(|_| Why::NotStarted)
            .and_then(|runtime| Ok((runtime, self.register(name)?)));
        match registered {
            Err(why) => {
                if let Some(report) = report {
                    let _ = report.send(Settled::Cancelled(why));
                }
                Err(why)
            }
            Ok((runtime, guard)) => {
                let id = guard.id;
                self.started(
                    id,
                    start(
                        &runtime,
                        Task {
                            future: Some(future),
                            report,
                            guard,
                        },
                    ),
                );
                Ok(())
            }
        }
    }

    fn register(self: &Arc<Self>, name: Name) -> Result<Guard, Why> {
        let mut state = self.lock();
        if state.door != Door::Open {
            return Err(Why::Parent);
        }
        if state.running.len() >= self.most {
            return Err(Why::NotStarted);
        }
        let id = state.next_id;
        state.next_id += 1;
        state.running.insert(id, Running { name, task: None });
        Ok(Guard { tasks: self.clone(), id })
    }

    /// Keeps the handle of a task that was started outside the lock: a runtime that is shutting down drops the future, and
    /// with it the guard that takes the lock, before `spawn` returns.
    fn started(&self, id: u64, task: JoinHandle<()>) {
        let mut state = self.lock();
        let aborted_meanwhile = state.door == Door::Aborted;
        if aborted_meanwhile {
            drop(state);
            task.abort();
        } else if let Some(running) = state.running.get_mut(&id) {
            running.task = Some(task);
        }
    }

    /// Takes no more tasks.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        if state.door == Door::Open {
            state.door = Door::Closed;
        }
    }

    /// Takes no more tasks and tells those that run to end; their names.
    pub(crate) fn abort(self: &Arc<Self>) -> Vec<Name> {
        let mut state = self.lock();
        state.door = Door::Aborted;
        let names: Vec<Name> = state.running.values().map(|running| running.name.clone()).collect();
        let tasks: Vec<_> = state.running.values_mut().filter_map(|running| running.task.take()).collect();
        drop(state);
        if !names.is_empty() {
            STRAGGLING.lock().unwrap_or_else(PoisonError::into_inner).add(self);
        }
        for task in tasks {
            task.abort();
        }
        names
    }

    /// Waits until no task is left. Aborted tasks end at their next `await`.
    pub(crate) async fn wait_until_empty(&self) {
        loop {
            // Made before the look at the count: it hears of everything that happens after this line.
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().running.len()
    }

    pub(crate) fn names(&self) -> Vec<Name> {
        self.lock().running.values().map(|running| running.name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(clippy::disallowed_methods, reason = "every task is started here, inside a scope that ends it")]
fn start(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    runtime.spawn(task)
}

/// A task's place on the list of its scope; gives it up when dropped.
struct Guard {
    tasks: Arc<Tasks>,
    id: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        let running = state.running.remove(&self.id);
        let was_last = state.running.is_empty();
        drop(state);
        if was_last {
            self.tasks.emptied.notify_waiters();
        }
        drop(running);
    }
}

pin_project! {
    /// What runs as the task. The order of the fields is the order in which they are dropped: the future before the guard,
    /// so that a scope with an empty list has no future alive.
    struct Task<F>
    where
        F: Future,
    {
        #[pin]
        future: Option<F>,
        report: Option<oneshot::Sender<Settled<F::Output>>>,
        guard: Guard,
    }
}

impl<F: Future> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let future = this
            .future
            .as_mut()
            .as_pin_mut()
            .expect("a task is not polled again once it has ended");
        let settled = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => Settled::Done(ready!(polled)),
            Err(payload) => Settled::Panicked(panic_message(payload)),
        };
        this.future.set(None);
        if let Some(report) = this.report.take() {
            let _ = report.send(settled);
        }
        Poll::Ready(())
    }
}

/// Scopes that were closed with tasks still running.
static STRAGGLING: Mutex<Straggling> = Mutex::new(Straggling {
    closed: Vec::new(),
    sweep_at: 64,
});

struct Straggling {
    /// An entry without tasks is dead: each task's guard holds its scope alive.
    closed: Vec<Weak<Tasks>>,
    /// Dead entries are swept out at this length, then at twice what is left: constant work per entry.
    sweep_at: usize,
}

impl Straggling {
    fn add(&mut self, tasks: &Arc<Tasks>) {
        if self.closed.len() >= self.sweep_at {
            self.closed.retain(|tasks| tasks.strong_count() > 0);
            self.sweep_at = (2 * self.closed.len()).max(64);
        }
        self.closed.push(Arc::downgrade(tasks));
    }
}
