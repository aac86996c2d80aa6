//! Flights: equal calls that are made once. Whoever asks while an equal call is under way waits for its answer instead.
//!
//! A flight runs in a background scope, not in the future of whoever came first, so that nobody depends on anybody: each waits as
//! long as its own deadline lets it, and the first may leave like any other. A flight that nobody waits for any more is dropped,
//! unless it is a renewal, which nobody waits for from the start. What it ends with, errors too, goes to those who wait at that
//! moment and is then forgotten; keeping it is the cache's business.
//!
//! The table of flights is locked for single look-ups only. A flight leaves it, under that lock, before its end is told: so whoever
//! finds one there is sure to be told its end.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

use super::cache::{CacheKey, HashedAlready};
use crate::settled::panic_message;
use crate::{Background, Deadline, Settled, Why};

/// Locks over the table; each is held for tens of nanoseconds.
const SHARDS: usize = 16;

/// The flights that are under way, by key, shared by all clones. `V` is cloned for each that waits.
pub struct Flights<V>(Arc<[Shard<V>; SHARDS]>);

type Shard<V> = Mutex<HashMap<CacheKey, Arc<Flight<V>>, HashedAlready>>;

/// One flight. Its receivers are those who wait.
struct Flight<V> {
    end: watch::Sender<Option<Settled<V>>>,
    kind: FlightKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FlightKind {
    /// Ends when nobody waits.
    Awaited,
    /// Ends by itself.
    Renewal,
}

/// How a flight ended for one who waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed<V> {
    /// The end: [`Done`](Settled::Done) with its output, [`TimedOut`](Settled::TimedOut) at its own limit,
    /// [`Panicked`](Settled::Panicked), or [`Cancelled`](Settled::Cancelled) where the background scope took no more tasks.
    pub settled: Settled<V>,
    /// Whether this one began it.
    pub role: Role,
}

/// The part that somebody had in a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Began it.
    Led,
    /// Joined one that was under way.
    Followed,
}

impl<V: Clone + Send + Sync + 'static> Flights<V> {
    /// No flights.
    pub fn new() -> Self {
        Flights(Arc::new(std::array::from_fn(|_| Mutex::default())))
    }

    /// Waits for the flight of this key, and begins it with `start` if there is none: a task in `background`, ended at `limit`.
    ///
    /// Waits as long as the flight takes; bound it with the caller's own deadline. Dropping it leaves the flight to the others, and
    /// ends it if there are none. If the client of whoever began it goes down, those who waited begin anew, in their own.
    ///
    /// The flight's future may hold a clone of the client that it asks through. It keeps that client alive, for `limit` at most.
    pub async fn join<S, F>(&self, key: CacheKey, background: &Background, limit: Duration, start: S) -> Landed<V>
    where
        S: FnOnce() -> F + Send + 'static,
        F: Future<Output = V> + Send + 'static,
    {
        let mut end = loop {
            let (mut end, begun) = self.board(key);
            if let Some(in_air) = begun {
                if !background.spawn("flight", Deadline::never(), fly(in_air, limit, start)) {
                    return Landed {
                        settled: Settled::Cancelled(Why::NotStarted),
                        role: Role::Led,
                    };
                }
                break end;
            }
            // Errs if the flight was dropped without an end: its task was aborted.
            if let Ok(settled) = told(&mut end).await {
                return Landed {
                    settled,
                    role: Role::Followed,
                };
            }
        };
        let settled = told(&mut end).await.unwrap_or(Settled::Cancelled(Why::Parent));
        Landed { settled, role: Role::Led }
    }

    /// Begins a flight that nobody waits for, unless one of this key is under way; whether it did. Those who ask for the key
    /// meanwhile may wait for it, and do not end it when they leave.
    pub fn renew<S, F>(&self, key: CacheKey, background: &Background, limit: Duration, start: S) -> bool
    where
        S: FnOnce() -> F + Send + 'static,
        F: Future<Output = V> + Send + 'static,
    {
        let mut shard = self.shard(&key);
        if shard.contains_key(&key) {
            return false;
        }
        let flight = Arc::new(Flight {
            end: watch::Sender::new(None),
            kind: FlightKind::Renewal,
        });
        shard.insert(key, flight.clone());
        drop(shard);
        background.spawn("renewal", Deadline::never(), fly(self.in_air(key, flight), limit, start))
    }

    /// How many flights are under way.
    pub fn count(&self) -> usize {
        self.0.iter().map(|shard| lock(shard).len()).sum()
    }

    /// How many wait for a flight of this key.
    pub fn waiting(&self, key: &CacheKey) -> usize {
        self.shard(key).get(key).map_or(0, |flight| flight.end.receiver_count())
    }

    /// A place in the flight of this key; with the flight, if it has yet to be begun.
    fn board(&self, key: CacheKey) -> (watch::Receiver<Option<Settled<V>>>, Option<InAir<V>>) {
        let mut shard = self.shard(&key);
        if let Some(flight) = shard.get(&key) {
            return (flight.end.subscribe(), None);
        }
        let (end, receiver) = watch::channel(None);
        let flight = Arc::new(Flight {
            end,
            kind: FlightKind::Awaited,
        });
        shard.insert(key, flight.clone());
        drop(shard);
        (receiver, Some(self.in_air(key, flight)))
    }

    fn in_air(&self, key: CacheKey, flight: Arc<Flight<V>>) -> InAir<V> {
        InAir {
            flights: self.clone(),
            key,
            flight,
        }
    }
}

impl<V> Flights<V> {
    fn shard(&self, key: &CacheKey) -> MutexGuard<'_, HashMap<CacheKey, Arc<Flight<V>>, HashedAlready>> {
        lock(&self.0[key.shard(SHARDS)])
    }
}

impl<V> Clone for Flights<V> {
    fn clone(&self) -> Self {
        Flights(self.0.clone())
    }
}

impl<V: Clone + Send + Sync + 'static> Default for Flights<V> {
    fn default() -> Self {
        Flights::new()
    }
}

impl<V> fmt::Debug for Flights<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.0.iter().map(|shard| lock(shard).len()).sum();
        write!(f, "Flights({count} under way)")
    }
}

/// A flight under way: its place in the table, given up when this is dropped, however that comes about.
struct InAir<V> {
    flights: Flights<V>,
    key: CacheKey,
    flight: Arc<Flight<V>>,
}

impl<V> InAir<V> {
    /// Leaves the table, unless somebody still waits; whether it did.
    fn leave_if_abandoned(&self) -> bool {
        let mut shard = self.flights.shard(&self.key);
        let is_abandoned = self.flight.end.receiver_count() == 0;
        if is_abandoned {
            self.strike_off(&mut shard);
        }
        is_abandoned
    }

    /// Leaves the table, then tells the end to those who boarded before.
    fn land(self, settled: Settled<V>) {
        self.strike_off(&mut self.flights.shard(&self.key));
        self.flight.end.send_replace(Some(settled));
    }

    /// Takes this flight off the table, not one that has begun since.
    fn strike_off(&self, shard: &mut HashMap<CacheKey, Arc<Flight<V>>, HashedAlready>) {
        if shard.get(&self.key).is_some_and(|current| Arc::ptr_eq(current, &self.flight)) {
            shard.remove(&self.key);
        }
    }
}

impl<V> Drop for InAir<V> {
    fn drop(&mut self) {
        self.strike_off(&mut self.flights.shard(&self.key));
    }
}

/// The flight itself: its work until it ends, its limit passes or, awaited, nobody waits.
async fn fly<V, S, F>(in_air: InAir<V>, limit: Duration, start: S)
where
    S: FnOnce() -> F,
    F: Future<Output = V>,
{
    if in_air.flight.kind == FlightKind::Awaited && in_air.leave_if_abandoned() {
        return;
    }
    // `start` runs in here too, so that its panic is the flight's.
    let work = Deadline::after(limit).bound(async move { start().await });
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    let settled = loop {
        tokio::select! {
            biased;
            ended = &mut work => break match ended {
                Ok(result) => Settled::from(result),
                Err(payload) => Settled::Panicked(panic_message(payload)),
            },
            () = in_air.flight.end.closed(), if in_air.flight.kind == FlightKind::Awaited => {
                // Between the last one's leaving and this line somebody may have joined.
                if in_air.leave_if_abandoned() {
                    return;
                }
            }
        }
    };
    in_air.land(settled);
}

/// Waits to be told the end of a flight.
async fn told<V: Clone>(end: &mut watch::Receiver<Option<Settled<V>>>) -> Result<Settled<V>, Dropped> {
    match end.wait_for(Option::is_some).await {
        Ok(told) => told.clone().ok_or(Dropped),
        Err(_) => Err(Dropped),
    }
}

/// A flight ended without an end: its task was aborted.
struct Dropped;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
