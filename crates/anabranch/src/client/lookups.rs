//! Look-ups that block, kept off the loop: a few threads, a bounded queue of names, and what was learned.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{CallError, Deadline, Kind};

/// Look-ups at once unless said; a stalled resolver must not eat a thread per call.
pub(super) const THREADS: usize = 4;
/// The most that may be asked for.
pub(super) const MOST_THREADS: usize = 64;
/// Names that may wait for each thread.
const QUEUE_EACH: usize = 64;
/// Names remembered.
pub(super) const NAMES: usize = 1024;
/// Addresses kept of one answer; more would only make a failing connect longer.
const ADDRESSES: usize = 16;
/// getaddrinfo does not tell the time to live; 10 s follows a moved service soon and spares the resolver.
const KEEP_GOOD: Duration = Duration::from_secs(10);
const KEEP_BAD: Duration = Duration::from_secs(1);
/// How old an answer may be that stands in for a failed look-up.
const KEEP_STALE: Duration = Duration::from_secs(300);
const THREAD_IDLE: Duration = Duration::from_secs(10);

pub(super) type Addresses = Arc<[IpAddr]>;
pub(super) type Ask = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Look-ups under way and answers kept. Dropping it ends the threads.
pub(super) struct Lookups(Arc<Shared>);

impl Lookups {
    pub(super) fn new(threads: usize, ask: Box<Ask>) -> Self {
        Lookups(Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            threads,
            ask,
        }))
    }

    /// How many names are remembered.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.0.lock().names.len()
    }

    /// The addresses of a name: known, or asked for and waited for up to the limit.
    pub(super) async fn lookup(&self, host: &str, limit: Duration) -> Result<Addresses, CallError> {
        let answer = match self.0.ask_for(host, Instant::now())? {
            Asking::Known(answer) => return answer,
            Asking::Asked(answer) => answer,
        };
        let error = match Deadline::after(limit).bound(answer).await {
            Ok(Ok(Ok(addresses))) => return Ok(addresses),
            Ok(Ok(Err(why))) => unknown(&why),
            Ok(Err(_ended)) => unknown("the resolver was shut down"),
            Err(_elapsed) => CallError::new(Kind::Timeout, format!("the resolver did not answer within {limit:?}")),
        };
        let now = Instant::now();
        self.0.lock().names.get(host).and_then(|entry| entry.stale(now)).ok_or(error)
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

struct Shared {
    state: Mutex<State>,
    /// Tells the threads of a new name or of the end.
    work: Condvar,
    threads: usize,
    ask: Box<Ask>,
}

#[derive(Default)]
struct State {
    names: HashMap<Arc<str>, Entry>,
    queue: VecDeque<Arc<str>>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// What is known of a name. Instants are those at which the look-up was asked for: the threads must not read the clock,
/// which a test may hold still for its own thread only.
#[derive(Default)]
struct Entry {
    good: Option<(Addresses, Instant)>,
    bad: Option<(String, Instant)>,
    asked: Option<Instant>,
    waiting: Vec<oneshot::Sender<Result<Addresses, String>>>,
}

impl Entry {
    fn fresh(&self, now: Instant) -> Option<Result<Addresses, CallError>> {
        if let Some((addresses, at)) = &self.good
            && now.duration_since(*at) < KEEP_GOOD
        {
            return Some(Ok(addresses.clone()));
        }
        let (why, at) = self.bad.as_ref()?;
        (now.duration_since(*at) < KEEP_BAD).then(|| self.stale(now).ok_or_else(|| unknown(why)))
    }

    fn stale(&self, now: Instant) -> Option<Addresses> {
        self.good
            .as_ref()
            .filter(|(_, at)| now.duration_since(*at) < KEEP_STALE)
            .map(|(addresses, _)| addresses.clone())
    }
}

enum Asking {
    Known(Result<Addresses, CallError>),
    Asked(oneshot::Receiver<Result<Addresses, String>>),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask_for(self: &Arc<Self>, host: &str, now: Instant) -> Result<Asking, CallError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if !state.names.contains_key(host) {
            state.make_room(now);
            state.names.insert(Arc::from(host), Entry::default());
        }
        let most = self.threads * QUEUE_EACH;
        let full = state.queue.len() >= most;
        let (name, _) = state.names.get_key_value(host).expect("inserted above under the same lock");
        let name = name.clone();
        let entry = state.names.entry(name.clone()).or_default();
        if let Some(answer) = entry.fresh(now) {
            return Ok(Asking::Known(answer));
        }
        if entry.asked.is_none() {
            if full {
                let busy = || CallError::new(Kind::Limit, format!("{most} names wait to be looked up"));
                return entry.stale(now).map(|addresses| Asking::Known(Ok(addresses))).ok_or_else(busy);
            }
            entry.asked = Some(now);
            state.queue.push_back(name.clone());
        }
        let (sender, receiver) = oneshot::channel();
        entry.waiting.retain(|waiter| !waiter.is_closed());
        entry.waiting.push(sender);
        let wants_thread = state.idle < state.queue.len() && state.threads < self.threads;
        if wants_thread {
            state.threads += 1;
            let shared = self.clone();
            if std::thread::Builder::new()
                .name("anabranch-dns".to_string())
                .spawn(move || shared.work_off())
                .is_err()
            {
                state.threads -= 1;
            }
        }
        drop(guard);
        self.work.notify_one();
        Ok(Asking::Asked(receiver))
    }

    /// A thread's life: names off the queue until there were none for a while.
    fn work_off(&self) {
        while let Some(name) = self.next_name() {
            // A panic in a look-up would leave its name pending for ever, so it counts as a failed look-up.
            let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (self.ask)(&name)));
            let answer = match asked {
                Ok(Ok(addresses)) if addresses.is_empty() => Err("the answer was empty".to_string()),
                Ok(Ok(addresses)) => Ok(addresses.into_iter().take(ADDRESSES).collect::<Addresses>()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_panic) => Err("the look-up panicked".to_string()),
            };
            let mut state = self.lock();
            if let Some(entry) = state.names.get_mut(&name) {
                entry.settle(answer);
            }
        }
    }

    fn next_name(&self) -> Option<Arc<str>> {
        let mut state = self.lock();
        loop {
            if let Some(name) = state.queue.pop_front() {
                return Some(name);
            }
            if state.closed {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let (guard, waited) = self.work.wait_timeout(state, THREAD_IDLE).unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

impl State {
    /// Forgets what nobody waits for, stale answers first, so that names made up by callers cannot fill the memory.
    fn make_room(&mut self, now: Instant) {
        if self.names.len() < NAMES {
            return;
        }
        self.names.retain(|_, entry| entry.asked.is_some() || entry.stale(now).is_some());
        if self.names.len() >= NAMES {
            self.names.retain(|_, entry| entry.asked.is_some());
        }
    }
}

impl Entry {
    fn settle(&mut self, answer: Result<Addresses, String>) {
        if let Some(asked) = self.asked.take() {
            match &answer {
                Ok(addresses) => (self.good, self.bad) = (Some((addresses.clone(), asked)), None),
                Err(why) => self.bad = Some((why.clone(), asked)),
            }
        }
        for waiter in self.waiting.drain(..) {
            let _caller_left = waiter.send(answer.clone());
        }
    }
}

pub(super) fn unknown(why: &str) -> CallError {
    CallError::new(Kind::Dns, format!("the host has no address: {why}"))
}
