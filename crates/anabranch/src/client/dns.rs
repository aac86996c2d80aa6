//! Host names to addresses: getaddrinfo on a few threads of our own, with a small cache in front.
//!
//! getaddrinfo blocks for as long as it likes, so a look-up that stalls costs one of at most 4 threads and never the loop.
//! Threads start with the first name and end after 10 idle seconds. One look-up serves all who ask for a name meanwhile.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::{CallError, Deadline, Kind, Phase};

/// Look-ups at once; a stalled resolver must not eat a thread per call.
const THREADS: usize = 4;
/// Names that may wait for a thread.
const QUEUE: usize = 256;
/// Names remembered.
const NAMES: usize = 1024;
/// Addresses kept of one answer; more would only make a failing connect longer.
const ADDRESSES: usize = 16;
/// getaddrinfo does not tell the time to live; 10 s follows a moved service soon and spares the resolver.
const KEEP_GOOD: Duration = Duration::from_secs(10);
const KEEP_BAD: Duration = Duration::from_secs(1);
/// How old an answer may be that stands in for a failed look-up.
const KEEP_STALE: Duration = Duration::from_secs(300);
const THREAD_IDLE: Duration = Duration::from_secs(10);

type Addresses = Arc<[IpAddr]>;
type Ask = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Looks up host names. Clones share one cache and its threads; give one resolver to all clients of a process.
#[derive(Clone)]
pub struct Resolver(Arc<Names>);

enum Names {
    Table(HashMap<String, Addresses>),
    System(System),
}

impl Resolver {
    /// The system's resolver (getaddrinfo: `/etc/hosts`, `resolv.conf` and whatever `nsswitch.conf` names). Answers are kept
    /// 10 s, failures 1 s; the last good answer stands in for a failed look-up for up to 5 minutes.
    pub fn system() -> Self {
        Resolver::asking(Box::new(getaddrinfo))
    }

    /// Knows only the names of this table, for tests.
    pub fn table<N: Into<String>>(names: impl IntoIterator<Item = (N, Vec<IpAddr>)>) -> Self {
        Resolver(Arc::new(Names::Table(
            names.into_iter().map(|(name, addresses)| (name.into(), addresses.into())).collect(),
        )))
    }

    fn asking(ask: Box<Ask>) -> Self {
        Resolver(Arc::new(Names::System(System(Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            ask,
        })))))
    }

    /// The addresses of a host, in the resolver's order; an address literal is its own answer. Waits at most `limit`.
    /// Dropping the future leaves the look-up running for whoever asks next.
    ///
    /// # Errors
    /// [`Kind::Dns`] if the name has no address, [`Kind::Timeout`] if the resolver did not answer in time.
    pub async fn lookup(&self, host: &str, limit: Duration) -> Result<Addresses, CallError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(Arc::from([address]));
        }
        let answer = match &*self.0 {
            Names::Table(table) => table.get(host).cloned().ok_or_else(|| unknown("not in the table")),
            Names::System(system) => system.lookup(host, limit).await,
        };
        answer.map_err(|error| error.in_phase(Phase::Dns))
    }
}

fn getaddrinfo(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

fn unknown(why: &str) -> CallError {
    CallError::new(Kind::Dns, format!("the host has no address: {why}"))
}

/// The handle on the threads: dropping it ends them.
struct System(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Tells the threads of a new name or of the end.
    work: Condvar,
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

impl System {
    async fn lookup(&self, host: &str, limit: Duration) -> Result<Addresses, CallError> {
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

impl Drop for System {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
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
        let full = state.queue.len() >= QUEUE;
        let (name, _) = state.names.get_key_value(host).expect("inserted above under the same lock");
        let name = name.clone();
        let entry = state.names.entry(name.clone()).or_default();
        if let Some(answer) = entry.fresh(now) {
            return Ok(Asking::Known(answer));
        }
        if entry.asked.is_none() {
            if full {
                let busy = || CallError::new(Kind::Limit, format!("{QUEUE} names wait to be looked up"));
                return entry.stale(now).map(|addresses| Asking::Known(Ok(addresses))).ok_or_else(busy);
            }
            entry.asked = Some(now);
            state.queue.push_back(name.clone());
        }
        let (sender, receiver) = oneshot::channel();
        entry.waiting.retain(|waiter| !waiter.is_closed());
        entry.waiting.push(sender);
        let wants_thread = state.idle < state.queue.len() && state.threads < THREADS;
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream::{FuturesUnordered, StreamExt};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const LIMIT: Duration = Duration::from_secs(2);

    /// A resolver that counts and answers by script: `true` is an address.
    fn scripted(script: Vec<bool>) -> (Resolver, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let ask = move |_: &str| {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            if script[nth.min(script.len() - 1)] {
                Ok(vec![HOME])
            } else {
                Err(io::Error::other("no such host"))
            }
        };
        (Resolver::asking(Box::new(ask)), asked)
    }

    /// Moves tokio's clock. The look-ups themselves run on real threads, so the clock is held only between them.
    async fn pass(duration: Duration) {
        tokio::time::pause();
        tokio::time::advance(duration).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_ten_seconds() {
        let (resolver, asked) = scripted(vec![true]);
        resolver.lookup("shop", LIMIT).await.unwrap();
        pass(Duration::from_secs(9)).await;
        resolver.lookup("shop", LIMIT).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        pass(Duration::from_secs(2)).await;
        resolver.lookup("shop", LIMIT).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_failure_is_kept_for_one_second() {
        let (resolver, asked) = scripted(vec![false, true]);
        assert_eq!(resolver.lookup("shop", LIMIT).await.unwrap_err().kind(), Kind::Dns);
        assert!(resolver.lookup("shop", LIMIT).await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        pass(Duration::from_millis(1100)).await;
        assert!(resolver.lookup("shop", LIMIT).await.is_ok());
    }

    #[tokio::test]
    async fn the_last_good_answer_stands_in_for_five_minutes() {
        let (resolver, _) = scripted(vec![true, false]);
        resolver.lookup("shop", LIMIT).await.unwrap();
        pass(Duration::from_secs(290)).await;
        assert_eq!(resolver.lookup("shop", LIMIT).await.unwrap()[..], [HOME]);
        pass(Duration::from_secs(15)).await;
        assert_eq!(resolver.lookup("shop", LIMIT).await.unwrap_err().kind(), Kind::Dns);
    }

    #[tokio::test]
    async fn one_lookup_serves_all_who_ask_meanwhile() {
        let (resolver, asked) = scripted(vec![true]);
        let (one, two, three) = tokio::join!(
            resolver.lookup("shop", LIMIT),
            resolver.lookup("shop", LIMIT),
            resolver.lookup("shop", LIMIT)
        );
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_silent_resolver_costs_four_threads_and_the_limit() {
        let (release, held) = mpsc::sync_channel::<()>(0);
        let held = Mutex::new(held);
        let running = Arc::new(AtomicUsize::new(0));
        let count = running.clone();
        let ask = move |_: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            let _released = held.lock().unwrap().recv();
            Ok(vec![HOME])
        };
        let resolver = Resolver::asking(Box::new(ask));
        let started = Instant::now();
        let names: Vec<String> = (0..8).map(|n| format!("host{n}")).collect();
        let lookups: Vec<_> = names.iter().map(|name| resolver.lookup(name, Duration::from_millis(50))).collect();
        let mut lookups: FuturesUnordered<_> = lookups.into_iter().collect();
        while let Some(answer) = lookups.next().await {
            let error = answer.unwrap_err();
            assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::Dns)));
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(running.load(Ordering::SeqCst) <= THREADS);
        drop(release);
    }

    #[tokio::test]
    async fn literals_and_tables_ask_nobody() {
        let resolver = Resolver::table([("shop", vec![HOME])]);
        assert_eq!(resolver.lookup("::1", LIMIT).await.unwrap()[0].to_string(), "::1");
        assert_eq!(resolver.lookup("shop", LIMIT).await.unwrap()[..], [HOME]);
        assert_eq!(resolver.lookup("cart", LIMIT).await.unwrap_err().kind(), Kind::Dns);
    }

    #[tokio::test]
    async fn made_up_names_do_not_fill_the_memory() {
        let (resolver, _) = scripted(vec![false]);
        for n in 0..NAMES + 50 {
            let _unknown = resolver.lookup(&format!("host{n}"), LIMIT).await;
        }
        let Names::System(system) = &*resolver.0 else {
            panic!("a scripted resolver is a system")
        };
        assert!(system.0.lock().names.len() <= NAMES);
    }
}
