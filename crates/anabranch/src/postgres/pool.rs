//! The sessions of a source: how many there may be, who waits for one, which are at rest, and when the database is dialled.
//!
//! - A call takes a place first. There are as many places as sessions may be open, over all threads; a bounded number of calls
//!   waits for one, in turn and for a bounded time. A session that is being freed of what it was doing keeps its place.
//! - With a place a call takes a session at rest, the one used last, of its own client if it can. There is always one to take or
//!   room to open one. A session is opened in the background scope of the caller's client, so that it joins the pool even if
//!   the caller has left; that client's runtime does its reading and writing ever after.
//! - Who gets none because the database does not answer is told so at once; see [`Health`].

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::Instant;

use super::connect::Connector;
use super::health::{Health, Verdict};
use super::session::Session;
use super::spare::{OpenSlot, Place, Spare};
use crate::client::Timings;
use crate::{CallError, Client, Deadline, Kind, Marks, Phase};

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// Sessions, over all threads.
    pub(super) sessions: usize,
    /// Calls that may wait for one.
    pub(super) queue: usize,
    /// How long they may.
    pub(super) queue_wait: Duration,
    /// How long a session may rest.
    pub(super) idle_timeout: Duration,
    /// The age at which a session is not used again, so that changes behind a name are seen.
    pub(super) max_lifetime: Duration,
}

/// The sessions of a source.
pub(super) struct Pool {
    pub(super) connector: Connector,
    limits: PoolLimits,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    shelf: Mutex<Shelf>,
    open: Arc<AtomicUsize>,
    /// Told when a dial has ended.
    dialed: Notify,
    /// Dials so far.
    dials: AtomicU64,
}

struct Shelf {
    /// The one used last is at the end.
    idle: Vec<Idle>,
    health: Health,
    is_closed: bool,
}

struct Idle {
    session: Box<Session>,
    since: Instant,
}

/// What one with a place gets.
enum Taken {
    Session(Box<Session>),
    Dial(OpenSlot),
    Wait,
    Refused(CallError),
}

impl Pool {
    pub(super) fn new(connector: Connector, limits: PoolLimits) -> Arc<Self> {
        Arc::new(Pool {
            connector,
            limits,
            places: Arc::new(Semaphore::new(limits.sessions)),
            waiting: AtomicUsize::new(0),
            shelf: Mutex::new(Shelf {
                idle: Vec::new(),
                health: Health::new(),
                is_closed: false,
            }),
            open: Arc::default(),
            dialed: Notify::new(),
            dials: AtomicU64::new(0),
        })
    }

    /// Waits for a place, in turn. Dropping the future leaves the queue.
    pub(super) async fn place(&self, deadline: Deadline, timings: &mut Timings) -> Result<Place, CallError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::new(&self.waiting);
        let sessions = self.limits.sessions;
        let refused = |what: String| {
            CallError::new(Kind::Limit, what)
                .in_phase(Phase::Queue)
                .retry_in(Duration::from_secs(1))
        };
        if self.waiting.load(Ordering::Relaxed) > self.limits.queue {
            return Err(refused(format!("all {sessions} sessions are in use and the queue is full")));
        }
        let queued = Instant::now();
        let until = deadline.within(self.limits.queue_wait.min(deadline.left() / 4));
        match until.bound(self.places.clone().acquire_owned()).await {
            Ok(Ok(place)) => {
                timings.queue = Some(queued.elapsed());
                Ok(place)
            }
            Ok(Err(_closed)) => Err(closed()),
            Err(_elapsed) => Err(refused(format!("all {sessions} sessions stayed in use"))),
        }
    }

    /// A session for one with a place: one at rest, or one that is opened.
    pub(super) async fn session(
        self: &Arc<Self>,
        client: &Client,
        place: Place,
        marks: &Marks,
        timings: &mut Timings,
    ) -> Result<Spare, CallError> {
        let started = Instant::now();
        loop {
            // Made before the look: it hears of every dial that ends after this line.
            let dialed = self.dialed.notified();
            match self.take(owner(client)) {
                Taken::Session(session) => {
                    timings.reused = true;
                    return Ok(Spare::new(self.clone(), session, place));
                }
                Taken::Dial(slot) => {
                    marks.enter(Phase::Connect, None);
                    let (spare, phases) = self.dial(client, place, slot).await?;
                    (timings.dns, timings.connect) = (phases.dns, phases.connect);
                    return Ok(spare);
                }
                Taken::Wait => {
                    marks.enter(Phase::Pool, None);
                    dialed.await;
                    timings.pool = Some(started.elapsed());
                }
                Taken::Refused(error) => return Err(error),
            }
        }
    }

    fn take(&self, owner: usize) -> Taken {
        let now = Instant::now();
        let mut shelf = self.lock();
        if shelf.is_closed {
            return Taken::Refused(closed());
        }
        let discarded = shelf.sweep(now, &self.limits);
        let own = shelf.idle.iter().rposition(|idle| idle.session.owner == owner);
        let has_room = self.open.load(Ordering::Relaxed) - discarded.len() < self.limits.sessions;
        // Another client's session works as well, but its runtime would have to wake up for each answer.
        let at = own.or_else(|| shelf.idle.len().checked_sub(1).filter(|_| !has_room));
        let taken = match at {
            Some(at) => Taken::Session(shelf.idle.remove(at).session),
            None => match shelf.health.may_dial(now) {
                Verdict::Dial => Taken::Dial(OpenSlot::take(&self.open)),
                // Somebody else's session is better than none.
                Verdict::Wait | Verdict::Refuse(_) if !shelf.idle.is_empty() => {
                    Taken::Session(shelf.idle.pop().expect("it is not empty").session)
                }
                Verdict::Wait => Taken::Wait,
                Verdict::Refuse(error) => Taken::Refused(error),
            },
        };
        drop(shelf);
        // Closing is a system call: not under the lock.
        drop(discarded);
        taken
    }

    /// Opens a session in the background; the task that opens it then does its reading and writing.
    async fn dial(self: &Arc<Self>, client: &Client, place: Place, slot: OpenSlot) -> Result<(Spare, Timings), CallError> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let (give, opened) = oneshot::channel();
        let report = DialReport {
            pool: self.clone(),
            is_told: false,
        };
        let owner = owner(client);
        let task = async move {
            match report.pool.connector.open().await {
                Ok(opened) => {
                    let (session, driver, timings) = Session::new(opened, owner, slot);
                    let pool = report.tell(Ok(()));
                    let spare = Spare::new(pool, Box::new(session), place);
                    // One who has left drops it, and so it goes to rest.
                    drop(give.send(Ok((spare, timings))));
                    driver.run().await;
                }
                Err(error) => {
                    drop((slot, place));
                    report.tell(Err(&error));
                    let _left = give.send(Err(error));
                }
            }
        };
        // A refused task is dropped, and its report says so.
        client.background().spawn("postgres session", Deadline::never(), task);
        opened.await.unwrap_or_else(|_dropped| Err(closed()))
    }

    /// Puts a session to rest, unless it is gone or too old.
    pub(super) fn give_back(&self, session: Box<Session>) {
        let now = Instant::now();
        let is_gone = session.is_closed();
        let is_old = session.age(now) >= self.limits.max_lifetime;
        let mut shelf = self.lock();
        if is_gone {
            shelf.health.doubted();
        }
        let refused = if is_gone || is_old || shelf.is_closed {
            Some(session)
        } else {
            shelf.idle.push(Idle { session, since: now });
            None
        };
        let discarded = shelf.sweep(now, &self.limits);
        drop(shelf);
        drop((refused, discarded));
    }

    /// Frees a session of what it was doing, then puts it to rest; or gives it up.
    pub(super) async fn free(self: Arc<Self>, mut session: Box<Session>, place: Place, doing: Doing) {
        let is_free = match doing {
            Doing::Nothing => session.reset().await.is_ok(),
            Doing::Statement => {
                let token = session.cancel_token();
                let is_stopped = self.connector.cancel(session.host, &token).await.is_ok();
                is_stopped && !session.is_preparing() && session.settle().await.is_ok() && session.reset().await.is_ok()
            }
        };
        if is_free {
            self.give_back(session);
        } else {
            self.gave_up(&session);
            drop(session);
        }
        drop(place);
    }

    /// A session was given up; if it broke, others may be about to.
    pub(super) fn gave_up(&self, session: &Session) {
        if session.is_closed() {
            self.lock().health.doubted();
        }
    }

    /// Closes what is at rest, of one client or of all.
    pub(super) fn close_idle(&self, client: Option<&Client>) {
        let mut shelf = self.lock();
        let is_meant = |idle: &mut Idle| client.is_none_or(|client| idle.session.owner == owner(client));
        let closed: Vec<Idle> = shelf.idle.extract_if(.., is_meant).collect();
        drop(shelf);
        drop(closed);
    }

    /// Turns everybody away from now on.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.places.close();
        self.close_idle(None);
    }

    pub(super) fn counts(&self) -> PoolCounts {
        let idle = self.lock().idle.len();
        PoolCounts {
            open: self.open.load(Ordering::Relaxed),
            idle,
            in_use: self.limits.sessions - self.places.available_permits(),
            waiting: self.waiting.load(Ordering::Relaxed),
            dials: self.dials.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a pool of sessions holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Sessions that are open or being opened.
    pub open: usize,
    /// Sessions at rest.
    pub idle: usize,
    /// Places taken: by calls, and by sessions being freed of what a call left behind.
    pub in_use: usize,
    /// Calls that wait for a place.
    pub waiting: usize,
    /// How often the database was dialled so far.
    pub dials: u64,
}

/// What a session is doing while nobody waits for it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Nothing, but it may be in a transaction or have settings.
    Nothing,
    /// A statement whose answer nobody wants.
    Statement,
}

impl Shelf {
    /// Takes out what is gone, too old, or has rested too long.
    fn sweep(&mut self, now: Instant, limits: &PoolLimits) -> Vec<Idle> {
        let is_over = |idle: &mut Idle| {
            let has_rested = now.saturating_duration_since(idle.since) >= limits.idle_timeout;
            has_rested || idle.session.is_closed() || idle.session.age(now) >= limits.max_lifetime
        };
        let discarded: Vec<Idle> = self.idle.extract_if(.., is_over).collect();
        if discarded.iter().any(|idle| idle.session.is_closed()) {
            self.health.doubted();
        }
        discarded
    }
}

/// Tells the pool how a dial ended, also where its task was refused or ended from outside.
struct DialReport {
    pool: Arc<Pool>,
    is_told: bool,
}

impl DialReport {
    fn tell(mut self, result: Result<(), &CallError>) -> Arc<Pool> {
        self.is_told = true;
        self.pool.dialed(result);
        self.pool.clone()
    }
}

impl Drop for DialReport {
    fn drop(&mut self) {
        if !self.is_told {
            self.pool.dialed(Err(&closed()));
        }
    }
}

impl Pool {
    fn dialed(&self, result: Result<(), &CallError>) {
        self.lock().health.dialed(Instant::now(), result);
        self.dialed.notify_waiters();
    }
}

/// One that waits for a place, counted.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells clients apart. An address may be used again after its client is gone; then the worst is a session of a client that
/// has ended, and that one is closed.
fn owner(client: &Client) -> usize {
    std::ptr::from_ref(client.background()).addr()
}

fn closed() -> CallError {
    CallError::new(
        Kind::Cancelled,
        "no session was opened: the client or the source is shutting down, or has too many tasks",
    )
}
