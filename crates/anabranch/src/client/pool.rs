//! The connections of one endpoint in one client: idle ones, shared ones, and who waits for one.
//!
//! - An idle HTTP/1.1 connection is taken last in, first out, so that a quiet endpoint keeps few. None has a task: whether
//!   the peer closed it is seen when it is taken, and expired ones are let go whenever a connection is taken or given back,
//!   and by the client's sweep.
//! - Who finds none waits in a queue, first come, first served. A dial is started for each that waits; it runs in the
//!   client's background scope, so its connection joins the pool even if the one it was started for has left or was served
//!   by a connection that came back meanwhile. A dial that fails tells the first who waits, if they
//!   came before it began; for others another is started.
//! - Over HTTP/2, or while it is not known what the peer will choose, one dial serves all who wait.

use std::collections::VecDeque;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::census::Census;
use super::connection::{Connection, Opened};
use super::dial::{Dial, DialLimits, Progress};
use super::dialing::{Dialed, Dialing};
use super::endpoint::{Endpoint, HttpVersion};
use super::http1::Http1;
use super::http2::{Http2, STREAMS};
use super::timings::Timings;
use crate::{Background, CallError, Deadline, Kind, Marks, Phase};

/// Connections of 100 streams and more each; beyond these a call waits for a stream.
const MAX_HTTP2_CONNECTIONS: usize = 4;
/// A dial ends by its own limits; this much later its task is ended from outside.
const DIAL_SLACK: Duration = Duration::from_secs(1);

/// What a pool knows of its peer is whether it speaks HTTP/2: worth one handshake to whoever comes back within a minute.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The connections of one endpoint.
pub(super) struct Pool {
    endpoint: Endpoint,
    dial: Arc<dyn Dial>,
    background: Weak<Background>,
    census: Arc<Census>,
    shelf: Mutex<Shelf>,
}

struct Shelf {
    /// Oldest first.
    idle: VecDeque<Box<Http1>>,
    shared: Vec<Http2>,
    /// First come first.
    waiters: VecDeque<Waiter>,
    /// Dials under way.
    dialing: usize,
    speaks: Speaks,
    /// When a sweep found it empty, if the sweeps since then did.
    empty_since: Option<Instant>,
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaks {
    /// TLS will tell.
    Unknown,
    Http1,
    Http2,
}

type Given = Result<Connection, CallError>;

struct Waiter {
    /// When it began to wait.
    since: Instant,
    give: oneshot::Sender<Given>,
    progress: Arc<Progress>,
}

/// What is let go, closed outside the lock: closing is a system call.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "the boxes are moved here as they are, not made for it")]
struct Discarded(Vec<Box<Http1>>, Vec<Http2>);

impl Pool {
    pub(super) fn new(endpoint: Endpoint, dial: Arc<dyn Dial>, background: Weak<Background>, census: Arc<Census>) -> Arc<Self> {
        let speaks = match (endpoint.settings().http, endpoint.tls()) {
            (HttpVersion::Http1, _) | (HttpVersion::Auto, None) => Speaks::Http1,
            (HttpVersion::Http2, _) => Speaks::Http2,
            (HttpVersion::Auto, Some(_)) => Speaks::Unknown,
        };
        let shelf = Shelf {
            idle: VecDeque::new(),
            shared: Vec::new(),
            waiters: VecDeque::new(),
            dialing: 0,
            speaks,
            empty_since: None,
            closed: false,
        };
        Arc::new(Pool {
            endpoint,
            dial,
            background,
            census,
            shelf: Mutex::new(shelf),
        })
    }

    /// A connection for one exchange: an idle or shared one, or one that is opened or given back meanwhile. `fresh` passes
    /// over idle ones, after one of them turned out dead.
    ///
    /// Waits as long as a dial may take. Dropping the future leaves the dial to the pool.
    pub(super) async fn connection(self: &Arc<Self>, fresh: bool, now: Instant, marks: &Marks, timings: &mut Timings) -> Given {
        if let Some(connection) = self.take(fresh, now) {
            timings.reused = connection.is_reused();
            return Ok(connection);
        }
        let connection = Box::pin(self.wait(marks)).await?;
        timings.reused = connection.is_reused();
        if timings.reused {
            timings.pool = Some(now.elapsed());
        } else {
            let Opened { dns, connect, tls, .. } = *connection.opened();
            (timings.dns, timings.connect, timings.tls) = (dns, connect, tls);
        }
        Ok(connection)
    }

    /// Takes a connection back after a whole exchange.
    pub(super) fn give_back(self: &Arc<Self>, connection: Connection, keep_alive: Option<Duration>, now: Instant) {
        // A stream gives its place back by being dropped.
        let Connection::Http1(mut connection) = connection else { return };
        if connection.begin_rest(keep_alive, self.endpoint.settings(), now) {
            self.hand_over(connection, now);
        }
    }

    /// A stream ended, or a shared connection did: whoever waits may have a place now, or need a dial.
    pub(super) fn streams_changed(self: &Arc<Self>) {
        if !self.lock().waiters.is_empty() {
            self.serve_streams();
            self.start_dials();
        }
    }

    /// Lets go what has expired.
    pub(super) fn sweep(&self, now: Instant) {
        let mut shelf = self.lock();
        let discarded = self.expired(&mut shelf, now);
        shelf.empty_since = shelf.is_empty().then(|| shelf.empty_since.unwrap_or(now));
        drop(shelf);
        drop(discarded);
    }

    /// Whether it has been of no use to anybody for so long that what it learned of its peer is not worth keeping.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        let shelf = self.lock();
        shelf.is_empty() && shelf.empty_since.is_some_and(|since| now.duration_since(since) >= FORGOTTEN_AFTER)
    }

    /// Since when its connections rest, those that do.
    pub(super) fn resting(&self, since: &mut Vec<Instant>) {
        let shelf = self.lock();
        since.extend(shelf.idle.iter().map(|connection| connection.rests_since()));
        since.extend(shelf.shared.iter().filter_map(Http2::rests_since));
    }

    /// Lets go up to so many that came to rest by then; returns how many.
    pub(super) fn let_go(&self, by: Instant, most: usize) -> usize {
        let mut discarded = Discarded::default();
        let mut shelf = self.lock();
        while discarded.0.len() < most && shelf.idle.front().is_some_and(|connection| connection.rests_since() <= by) {
            discarded.0.extend(shelf.idle.pop_front());
        }
        let left = most - discarded.0.len();
        let is_old = |shared: &mut Http2| shared.rests_since().is_some_and(|since| since <= by);
        discarded.1.extend(shelf.shared.extract_if(.., is_old).take(left));
        drop(shelf);
        self.census.remove(discarded.len());
        discarded.len()
    }

    /// Whether nobody but the pool knows its endpoint any more.
    pub(super) fn is_orphan(&self) -> bool {
        self.endpoint.is_last_handle()
    }

    /// Closes what is idle and turns away who waits; exchanges under way go on.
    pub(super) fn close(&self) {
        let mut shelf = self.lock();
        shelf.closed = true;
        let discarded = Discarded(shelf.idle.drain(..).collect(), std::mem::take(&mut shelf.shared));
        self.census.remove(discarded.len());
        let waiters = std::mem::take(&mut shelf.waiters);
        drop(shelf);
        drop(discarded);
        for waiter in waiters {
            let _left = waiter.give.send(Err(closed()));
        }
    }

    /// Idle connections and dials under way.
    pub(super) fn counts(&self) -> (usize, usize) {
        let shelf = self.lock();
        (shelf.idle.len() + shelf.shared.len(), shelf.dialing)
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what has expired, and counts it.
    fn expired(&self, shelf: &mut Shelf, now: Instant) -> Discarded {
        let discarded = shelf.sweep(now, self.endpoint.settings().max_lifetime);
        if discarded.len() > 0 {
            self.census.remove(discarded.len());
        }
        discarded
    }

    fn take(&self, fresh: bool, now: Instant) -> Option<Connection> {
        let max_lifetime = self.endpoint.settings().max_lifetime;
        loop {
            let mut shelf = self.lock();
            let discarded = self.expired(&mut shelf, now);
            if let Some(stream) = shelf.shared.iter().find_map(|shared| shared.try_stream(now, max_lifetime)) {
                return Some(Connection::Http2(stream));
            }
            let idle = if fresh { None } else { shelf.idle.pop_back() };
            drop(shelf);
            drop(discarded);
            let mut connection = idle?;
            self.census.remove(1);
            // One that expires by its own peer's word may lie above others that do not.
            if connection.rests_until() > now && connection.is_alive() {
                return Some(Connection::Http1(connection));
            }
        }
    }

    async fn wait(self: &Arc<Self>, marks: &Marks) -> Given {
        let (give, receiver) = oneshot::channel();
        let progress = Arc::new(Progress::default());
        {
            let mut shelf = self.lock();
            if shelf.closed {
                return Err(closed());
            }
            shelf.waiters.push_back(Waiter {
                since: Instant::now(),
                give,
                progress: progress.clone(),
            });
        }
        // A stream may have ended between the look and the queue.
        self.serve_streams();
        self.start_dials();
        marks.enter(Phase::Pool, None);
        let mut waiting = Waiting {
            pool: self,
            receiver,
            is_over: false,
        };
        let mut last = None;
        let given = poll_fn(|cx| {
            let phase = progress.watch(cx);
            if phase != last {
                last = phase;
                // Only a wait for a stream has a limit of its own: a dial has one already.
                let limit = |phase| (phase == Phase::Pool).then_some(self.endpoint.settings().pool_wait);
                phase.into_iter().for_each(|phase| marks.enter(phase, limit(phase)));
            }
            Pin::new(&mut waiting.receiver).poll(cx)
        })
        .await;
        waiting.is_over = true;
        given.unwrap_or_else(|_closed| Err(closed()))
    }

    /// Gives a connection to the first who waits, or puts it on the shelf.
    fn hand_over(self: &Arc<Self>, mut connection: Box<Http1>, now: Instant) {
        let settings = self.endpoint.settings();
        loop {
            let mut shelf = self.lock();
            let Some(waiter) = shelf.next_waiter() else {
                let mut discarded = self.expired(&mut shelf, now);
                if shelf.closed || settings.pool_idle == 0 {
                    discarded.0.push(connection);
                } else {
                    match shelf.idle.len() >= settings.pool_idle {
                        true => discarded.0.extend(shelf.idle.pop_front()),
                        false => self.census.add(1),
                    }
                    shelf.idle.push_back(connection);
                }
                drop(shelf);
                return drop(discarded);
            };
            drop(shelf);
            match waiter.give.send(Ok(Connection::Http1(connection))) {
                Err(Ok(Connection::Http1(refused))) => connection = refused,
                _ => return,
            }
        }
    }

    /// Gives places on shared connections to those who wait, as far as there are any.
    fn serve_streams(&self) {
        let max_lifetime = self.endpoint.settings().max_lifetime;
        let now = Instant::now();
        loop {
            let mut shelf = self.lock();
            if shelf.shared.is_empty() || shelf.waiters.is_empty() {
                return;
            }
            let Some(stream) = shelf.shared.iter().find_map(|shared| shared.try_stream(now, max_lifetime)) else {
                return;
            };
            let waiter = shelf.next_waiter();
            drop(shelf);
            // A stream that nobody takes must be dropped outside the lock: it tells the pool.
            match waiter {
                Some(waiter) => drop(waiter.give.send(Ok(Connection::Http2(stream)))),
                None => return drop(stream),
            }
        }
    }

    /// Starts as many dials as those who wait need.
    fn start_dials(self: &Arc<Self>) {
        let mut shelf = self.lock();
        let wanted = shelf.dials_wanted();
        shelf.dialing += wanted;
        if shelf.dialing == 0 {
            shelf.waiters.iter().for_each(|waiter| waiter.progress.enter(Phase::Pool));
        }
        let watched: Vec<_> = shelf
            .waiters
            .iter()
            .rev()
            .take(wanted)
            .map(|waiter| waiter.progress.clone())
            .collect();
        drop(shelf);
        for progress in watched {
            self.start_dial(progress);
        }
    }

    fn start_dial(self: &Arc<Self>, progress: Arc<Progress>) {
        let settings = self.endpoint.settings();
        let limit = Deadline::after(settings.dns_timeout + settings.connect_timeout + DIAL_SLACK);
        let report = Report {
            pool: Arc::downgrade(self),
            began: Instant::now(),
            done: false,
        };
        let limits = DialLimits::watched(settings.dns_timeout, settings.connect_timeout, progress);
        let dialing = Dialing {
            endpoint: self.endpoint.clone(),
            dial: self.dial.clone(),
            background: self.background.clone(),
            pool: Arc::downgrade(self),
            streams: self.lock().shared.iter().map(Http2::max_streams).min().unwrap_or(STREAMS),
        };
        let task = async move {
            let result = dialing.run(limits).await;
            report.tell(result);
        };
        if let Some(background) = self.background.upgrade() {
            // A refused task is dropped, and its report says so.
            background.spawn("dial", limit, task);
        }
    }

    /// A dial ended.
    fn dialed(self: &Arc<Self>, began: Instant, result: Result<Dialed, CallError>) {
        let mut shelf = self.lock();
        shelf.dialing -= 1;
        match result {
            Ok(Dialed::Http1(connection)) => {
                shelf.speaks = Speaks::Http1;
                drop(shelf);
                self.hand_over(connection, Instant::now());
            }
            Ok(Dialed::Http2(connection)) => {
                shelf.speaks = Speaks::Http2;
                let refused = if shelf.closed {
                    Some(connection)
                } else {
                    shelf.shared.push(connection);
                    self.census.add(1);
                    None
                };
                drop(shelf);
                drop(refused);
                self.serve_streams();
            }
            Err(error) => {
                // Who came after it began has not waited as long as it took: another is dialled for them.
                let is_told = |waiter: &Waiter| waiter.since <= began;
                shelf.waiters.retain(|waiter| !waiter.give.is_closed());
                let told: VecDeque<Waiter> = if shelf.speaks != Speaks::Http1 {
                    let (told, kept) = std::mem::take(&mut shelf.waiters).into_iter().partition(is_told);
                    shelf.waiters = kept;
                    told
                } else if shelf.waiters.front().is_some_and(is_told) {
                    shelf.waiters.pop_front().into_iter().collect()
                } else {
                    VecDeque::new()
                };
                drop(shelf);
                for waiter in told {
                    let _left = waiter.give.send(Err(error.clone()));
                }
            }
        }
        self.start_dials();
    }
}

impl Shelf {
    /// The first who still waits.
    fn next_waiter(&mut self) -> Option<Waiter> {
        loop {
            let waiter = self.waiters.pop_front()?;
            if !waiter.give.is_closed() {
                return Some(waiter);
            }
        }
    }

    fn dials_wanted(&self) -> usize {
        if self.closed {
            return 0;
        }
        let waiting = self.waiters.iter().filter(|waiter| !waiter.give.is_closed()).count();
        match self.speaks {
            Speaks::Http1 => waiting.saturating_sub(self.dialing),
            Speaks::Unknown | Speaks::Http2 => usize::from(waiting > 0 && self.dialing == 0 && self.shared.len() < MAX_HTTP2_CONNECTIONS),
        }
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_empty() && self.waiters.is_empty() && self.dialing == 0
    }

    /// Takes out what has expired. The idle are in the order in which they came to rest, so the look ends at the first that
    /// has not; a connection with a shorter time of its own behind it is found when it is taken.
    fn sweep(&mut self, now: Instant, max_lifetime: Duration) -> Discarded {
        let mut discarded = Discarded::default();
        while self.idle.front().is_some_and(|connection| connection.rests_until() <= now) {
            discarded.0.extend(self.idle.pop_front());
        }
        if self.shared.iter().any(|shared| shared.is_over(now, max_lifetime)) {
            discarded
                .1
                .extend(self.shared.extract_if(.., |shared| shared.is_over(now, max_lifetime)));
        }
        discarded
    }
}

impl Discarded {
    fn len(&self) -> usize {
        self.0.len() + self.1.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let shelf = self.shelf.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.census.remove(shelf.idle.len() + shelf.shared.len());
    }
}

/// A place in the queue. Left early, it gives on what was already given to it.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    receiver: oneshot::Receiver<Given>,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.receiver.close();
        if let Ok(Ok(Connection::Http1(connection))) = self.receiver.try_recv() {
            self.pool.hand_over(connection, Instant::now());
        }
        self.pool.lock().waiters.retain(|waiter| !waiter.give.is_closed());
    }
}

/// Tells the pool how a dial ended, also where its task was refused or ended from outside.
struct Report {
    pool: Weak<Pool>,
    /// When the dial began.
    began: Instant,
    done: bool,
}

impl Report {
    fn tell(mut self, result: Result<Dialed, CallError>) {
        self.done = true;
        if let Some(pool) = self.pool.upgrade() {
            pool.dialed(self.began, result);
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let (false, Some(pool)) = (self.done, self.pool.upgrade()) {
            pool.dialed(
                self.began,
                Err(CallError::new(
                    Kind::Cancelled,
                    "the connection was not opened: the client is shutting down or has too many tasks",
                )),
            );
        }
    }
}

fn closed() -> CallError {
    CallError::new(Kind::Cancelled, "the client is shutting down")
}
