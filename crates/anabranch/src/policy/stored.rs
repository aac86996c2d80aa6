//! A call over what is stored: the cache and the flights in the order in which a call meets them.
//!
//! ```text
//! 1 cache       a fresh answer is served; a stale one is kept for 2, or served while one flight renews it
//! 2 stale       the source failed, was too slow, or failed a moment ago: the stale answer stands in, if it may
//! 3 deadline    the caller's own; it ends the waiting, not the flight
//! 4 flight      shared with equal calls, bounded by its own limit; what it brings goes into the cache
//! ```
//! What is below, attempts and their policies, is the `fetch` that the caller brings.

use std::future::Future;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::cache::{Cache, CacheKey, Held, Item, Lookup, StaleUse};
use super::coalesce::{Flights, Landed, Role};
use crate::{Background, CallError, Deadline, Kind, Outcome, Settled, Why};

/// Answers and flights of one kind of value, shared by all clones.
#[derive(Clone, Debug)]
pub struct Store<V> {
    cache: Cache<V>,
    flights: Flights<Result<Held<V>, CallError>>,
}

/// How a call is made over a [`Store`].
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// Where its flight runs.
    pub background: &'a Background,
    /// The longest that a flight may take. Not less than any caller's deadline, or the flight cuts them short. Who joins a flight
    /// that hangs shares its time-out, however little of it was its own.
    pub flight_limit: Duration,
    /// How long a failure keeps equal calls from asking again; at most a second. [`Times::failure`](super::Times::failure) for
    /// times that the call sets, zero for a call that always asks.
    pub failure: Duration,
    /// The caller's deadline.
    pub deadline: Deadline,
    /// Whether the source is asked by this caller itself: nobody joins it, it joins nobody, and dropping it ends the asking. For
    /// answers that are known to be for nobody else, which equal calls would only wait for.
    pub alone: bool,
}

/// How a call over a [`Store`] ended.
#[derive(Clone, Debug)]
pub struct Stored<V> {
    /// Its outcome: ok, stale or failed.
    pub outcome: Outcome<V>,
    /// Where that came from.
    pub how: How,
    /// The age of the answer, where there is one.
    pub age: Duration,
    /// How long the answer is still fresh; zero when it is stale or is not to be stored.
    pub fresh_for: Duration,
    /// Why a stale answer stands in; `None` while it is only being renewed.
    pub error: Option<CallError>,
}

/// Where the end of a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Out of the cache: a fresh answer, or a failure of a moment ago.
    Hit,
    /// From the source, asked by this call.
    Miss,
    /// From the source, asked by an equal call.
    Collapsed,
    /// Out of the cache, although it is no longer fresh.
    Stale,
}

impl<V: Clone + Send + Sync + 'static> Store<V> {
    /// Over this cache.
    pub fn new(cache: Cache<V>) -> Self {
        Store {
            cache,
            flights: Flights::new(),
        }
    }

    /// Its cache.
    pub fn cache(&self) -> &Cache<V> {
        &self.cache
    }

    /// How many flights are under way, renewals included.
    pub fn flights(&self) -> usize {
        self.flights.count()
    }

    /// Answers a call out of the cache, or by `fetch`. That is given the answer that is no longer fresh, where there is one, so that
    /// it can ask the source whether it still holds; it runs in a task of its own and goes on for others if this future is dropped.
    ///
    /// Ends by the deadline at the latest.
    pub async fn answer<S, F>(&self, key: CacheKey, asking: Asking<'_>, fetch: S) -> Stored<V>
    where
        S: FnOnce(Option<Held<V>>) -> F + Send + 'static,
        F: Future<Output = Result<Item<V>, CallError>> + Send + 'static,
    {
        let flown = key.of_flight(self.cache.ticket());
        let old = match self.cache.get(&key) {
            Lookup::Fresh(held) => return Stored::ok(&held, How::Hit),
            Lookup::Stale(held) => Some(held),
            Lookup::Miss => None,
        };
        let failure = self.cache.failure(&key);
        if let Some(held) = old.as_ref().filter(|held| held.stale_use() == Some(StaleUse::WhileRenewed)) {
            if failure.is_none() {
                let flight = self.flight(key, asking.failure, old.clone(), fetch);
                self.flights.renew(flown, asking.background, asking.flight_limit, flight);
            }
            return Stored::stale(held, failure);
        }
        if let Some(error) = failure {
            return Stored::failed(error, old, How::Hit);
        }
        let flight = self.flight(key, asking.failure, old.clone(), fetch);
        if asking.alone {
            return match asking.deadline.bound(flight()).await {
                Ok(Ok(held)) => Stored::ok(&held, How::Miss),
                Ok(Err(error)) => Stored::failed(error, old, How::Miss),
                Err(_elapsed) => Stored::failed(too_late(), old, How::Miss),
            };
        }
        let joined = self.flights.join(flown, asking.background, asking.flight_limit, flight);
        match asking.deadline.bound(joined).await {
            Ok(Landed { settled, role }) => {
                let how = if role == Role::Led { How::Miss } else { How::Collapsed };
                match result_of(settled) {
                    Ok(held) => Stored::ok(&held, how),
                    Err(error) => Stored::failed(error, old, how),
                }
            }
            Err(_elapsed) => Stored::failed(too_late(), old, How::Miss),
        }
    }

    /// What a flight does: it asks, and keeps what it is told.
    fn flight<S, F>(
        &self,
        key: CacheKey,
        failure: Duration,
        old: Option<Held<V>>,
        fetch: S,
    ) -> impl FnOnce() -> BoxFuture<'static, Result<Held<V>, CallError>> + Send + 'static
    where
        S: FnOnce(Option<Held<V>>) -> F + Send + 'static,
        F: Future<Output = Result<Item<V>, CallError>> + Send + 'static,
    {
        let cache = self.cache.clone();
        move || {
            Box::pin(async move {
                // Another flight may have landed between the look-up that led here and the start of this one.
                if let Lookup::Fresh(held) = cache.peek(&key) {
                    return Ok(held);
                }
                if let Some(error) = cache.failure(&key) {
                    return Err(error);
                }
                let ticket = cache.ticket();
                match fetch(old).await {
                    Ok(item) => Ok(cache.put(ticket, key, item)),
                    Err(error) => {
                        cache.put_failure(key, &error, failure);
                        Err(error)
                    }
                }
            })
        }
    }
}

fn too_late() -> CallError {
    CallError::new(Kind::Timeout, "no answer before the deadline")
}

fn result_of<V>(settled: Settled<Result<V, CallError>>) -> Result<V, CallError> {
    match settled {
        Settled::Done(result) => result,
        Settled::TimedOut => Err(CallError::new(Kind::Timeout, "no answer within the limit of the shared call")),
        Settled::Cancelled(Why::NotStarted) => Err(CallError::new(Kind::Limit, "the background takes no more tasks")),
        Settled::Cancelled(why) => Err(CallError::new(Kind::Cancelled, format!("the shared call was cancelled: {why}"))),
        Settled::Panicked(message) => Err(CallError::new(Kind::Panic, message)),
    }
}

impl<V: Clone> Stored<V> {
    fn ok(held: &Held<V>, how: How) -> Self {
        Stored {
            outcome: Outcome::Ok(held.value().clone()),
            how,
            age: held.age(),
            fresh_for: held.fresh_for(),
            error: None,
        }
    }

    fn stale(held: &Held<V>, error: Option<CallError>) -> Self {
        let age = held.age();
        Stored {
            outcome: Outcome::Stale(held.value().clone(), age),
            how: How::Stale,
            age,
            fresh_for: Duration::ZERO,
            error,
        }
    }

    /// The old answer if it may stand in now, else the failure.
    fn failed(error: CallError, old: Option<Held<V>>, how: How) -> Self {
        match old.filter(Held::may_stand_in) {
            Some(held) => Stored::stale(&held, Some(error)),
            None => Stored {
                outcome: Outcome::Failed(error),
                how,
                age: Duration::ZERO,
                fresh_for: Duration::ZERO,
                error: None,
            },
        }
    }
}

#[cfg(test)]
mod tests;
