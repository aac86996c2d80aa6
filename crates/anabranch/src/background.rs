//! The background scope of a client: work that outlives the call that began it, but never the client.
//!
//! Dials, connection tasks and shielded work run here. Each has a name and a limit, their number is bounded, and a client
//! that shuts down drains them.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::tasks::Tasks;
use crate::{Deadline, Settled, Why};

/// As many as a process has ports to one address; beyond that something is being started in a loop.
const MOST_TASKS: usize = 65_536;
/// How long aborted tasks get to come to their next `await` before [`Background::drain`] returns without them.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Tasks that belong to a client, not to one call. Clones share them; dropping the last clone aborts them all.
#[derive(Clone)]
pub struct Background(Arc<Owner>);

struct Owner {
    tasks: Arc<Tasks>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.tasks.abort();
    }
}

impl std::fmt::Debug for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Background").field("count", &self.count()).finish()
    }
}

impl Background {
    /// Takes up to 65,536 tasks at once.
    pub fn new() -> Self {
        Background::with_room(MOST_TASKS)
    }

    fn with_room(most: usize) -> Self {
        Background(Arc::new(Owner { tasks: Tasks::new(most) }))
    }

    /// Starts a task on the current runtime, ended at `limit` if it has not ended before; connections take
    /// [`Deadline::never`]. `false` if it was refused: full, drained, or no runtime here. A panic in it ends only itself.
    ///
    /// The future must not hold a clone of this `Background`, or dropping the last clone outside would not end it.
    pub fn spawn(&self, name: &'static str, limit: Deadline, future: impl Future<Output = ()> + Send + 'static) -> bool {
        self.0.tasks.spawn(Cow::Borrowed(name), limit.bound(future), None).is_ok()
    }

    /// Runs work that goes on when the caller is dropped, for no longer than `limit`: giving back a lock, for example. It
    /// starts with the first poll. Refused work is [`Cancelled`](Settled::Cancelled): [`NotStarted`](Why::NotStarted) when
    /// full, [`Parent`](Why::Parent) when drained.
    pub async fn shield<T: Send + 'static>(
        &self,
        name: &'static str,
        limit: Duration,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Settled<T> {
        let (report, settled) = oneshot::channel();
        let _refusal_is_reported = self
            .0
            .tasks
            .spawn(Cow::Borrowed(name), Deadline::after(limit).bound(future), Some(report));
        settled.await.unwrap_or(Settled::Cancelled(Why::Parent)).within_limit()
    }

    /// How many tasks are running.
    pub fn count(&self) -> usize {
        self.0.tasks.count()
    }

    /// Takes no more tasks, waits for those that run until the deadline, then aborts what is left and returns its names,
    /// sorted. Aborted tasks get one more second to end; one that blocks its thread is left behind as a
    /// [straggler](crate::stragglers). Dropping this leaves the tasks running and the door closed.
    pub async fn drain(&self, deadline: Deadline) -> Vec<&'static str> {
        let tasks = &self.0.tasks;
        tasks.close();
        let _in_time = deadline.bound(tasks.wait_until_empty()).await;
        let mut names: Vec<&'static str> = tasks.abort().into_iter().filter_map(borrowed).collect();
        let _gone = Deadline::after(ABORT_GRACE).bound(tasks.wait_until_empty()).await;
        names.sort_unstable();
        names
    }
}

impl Default for Background {
    fn default() -> Self {
        Background::new()
    }
}

/// Every name here came in as a static one.
fn borrowed(name: Cow<'static, str>) -> Option<&'static str> {
    match name {
        Cow::Borrowed(name) => Some(name),
        Cow::Owned(_) => None,
    }
}
