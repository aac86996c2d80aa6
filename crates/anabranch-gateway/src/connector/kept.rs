//! Calls with `cache` or `stale`: their answers out of the store, or from the source, which equal calls ask once together.

mod answer;
mod flight;
mod request;
mod setup;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anabranch::policy::{Asking, How, Item, Keep, Lookup, Store, Stored, VaryIndex};
use anabranch::{CallError, Deadline, Kind, Outcome};
use bytes::Bytes;

use super::{CallEnd, Origin};
use crate::gateway::Core;
use crate::respond::cache_control::Freshness;
use crate::respond::cache_status::{CacheStatus, Came};
use crate::run::{Refusal, Renewals};
use crate::source::GatewaySource;

pub(crate) use answer::Answer;
pub(crate) use request::KeptRequest;
pub(super) use request::request;
pub(super) use setup::KeepSetup;
use flight::Flight;

/// What the store hands out.
pub(crate) type StoredAnswer = Arc<Answer>;

/// Answers of all calls that keep theirs, and the calls under way that equal ones wait for.
pub(crate) struct Answers {
    pub(crate) store: Store<StoredAnswer>,
    /// Items of batches that are being renewed.
    pub(crate) renewals: Renewals,
    /// On which headers each call depends whose source decides.
    varies: VaryIndex,
}

/// Bytes of the cache for which one call's `Vary` is remembered: the size of a usual answer.
const BYTES_PER_VARY: u64 = 4 << 10;
/// For so long a call whose answers are not for others is not waited for by equal ones.
const ALONE_FOR: Duration = Duration::from_secs(60);

impl Answers {
    /// Over this cache; with calls whose source decides, or without.
    pub(crate) fn new(cache: anabranch::policy::Cache<StoredAnswer>, by_source: bool) -> Answers {
        let most = if by_source { 1 << 20 } else { 64 };
        let calls = (cache.counts().bytes_max / BYTES_PER_VARY).clamp(64, most);
        Answers {
            store: Store::new(cache),
            renewals: Renewals::default(),
            varies: VaryIndex::new(usize::try_from(calls).unwrap_or(64)),
        }
    }
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answers({:?})", self.store.cache())
    }
}

/// What the store did for a call.
#[derive(Debug)]
pub(crate) struct KeptEnd {
    pub(crate) status: CacheStatus,
    /// How each item of the answer to a batch may be kept.
    pub(crate) items: Option<Keep>,
}

/// What is kept for a request that will not be answered in time: fresh, or good enough to stand in. Asks nobody.
pub(super) fn stand_in(core: &Core, kept: &KeptRequest) -> Option<CallEnd> {
    let answers = core.gateway().answers.as_ref()?;
    let (held, origin) = match answers.store.cache().peek(&kept.key(answers)) {
        Lookup::Fresh(held) => (held, Origin::Store),
        Lookup::Stale(held) if held.may_stand_in() => {
            let age = held.age();
            (held, Origin::Stale(age))
        }
        _ => return None,
    };
    let came = match origin {
        Origin::Stale(_) => Came::StoodIn(Kind::Timeout),
        _ => Came::Stored { is_stale: false },
    };
    let status = CacheStatus {
        came,
        age: held.age(),
        left: held.fresh_for(),
    };
    held.value().value.as_ref()?;
    Some(end(&kept.setup, held.value(), origin, status))
}

/// Answers out of the store, or asks the source, in a task of its own that equal calls wait for as well.
pub(super) async fn exchange(core: &Core, source: &GatewaySource, kept: KeptRequest, deadline: Deadline) -> CallEnd {
    let Some(answers) = &core.gateway().answers else {
        return CallEnd::failed(CallError::new(Kind::Cancelled, "the gateway stores nothing"));
    };
    let flight = Arc::new(Flight::new(core, source, kept, answers));
    let stored = ask(answers, &flight, flight.is_known_alone(answers), deadline).await;
    let is_of_another = match &stored.outcome {
        Outcome::Ok(answer) => stored.how == How::Collapsed && !answer.is_for_those_who_waited(),
        _ => false,
    };
    // It was for the one who asked: it sets a cookie, for example.
    let stored = if is_of_another {
        ask(answers, &flight, true, deadline).await
    } else {
        stored
    };
    ended(answers, &flight, stored)
}

async fn ask(answers: &Answers, flight: &Arc<Flight>, alone: bool, deadline: Deadline) -> Stored<StoredAnswer> {
    let setup = flight.setup();
    let asking = Asking {
        background: flight.core.client().background(),
        flight_limit: setup.flight_limit,
        // The flight says itself which failures are remembered: that depends on what the source answered.
        failure: Duration::ZERO,
        deadline,
        alone,
    };
    let asked = flight.clone();
    let limit = if alone { deadline } else { Deadline::after(setup.flight_limit) };
    let fetch = move |old| async move { asked.ask(old, limit).await };
    answers.store.answer(flight.key, asking, fetch).await
}

fn ended(answers: &Answers, flight: &Flight, stored: Stored<StoredAnswer>) -> CallEnd {
    let done = flight.take_done();
    let came = match (&stored.outcome, stored.how) {
        (Outcome::Stale(..), _) => match &stored.error {
            Some(error) => Came::StoodIn(error.kind()),
            None => Came::Stored { is_stale: true },
        },
        (_, How::Hit) => Came::Stored { is_stale: false },
        (Outcome::Ok(answer), how) => Came::Asked {
            had_stale: done.had_stale,
            with_others: how == How::Collapsed,
            status: answer.status,
        },
        (_, how) => Came::Asked {
            had_stale: done.had_stale,
            with_others: how == How::Collapsed,
            status: None,
        },
    };
    let status = CacheStatus {
        came,
        age: stored.age,
        left: stored.fresh_for,
    };
    let setup = flight.setup();
    let mut end = match stored.outcome {
        Outcome::Ok(answer) => {
            if stored.how == How::Miss && !answer.is_for_all && answer.keep.is_nothing() {
                mark_alone(answers, flight);
            }
            let origin = if stored.how == How::Hit { Origin::Store } else { Origin::Source };
            end(setup, &answer, origin, status)
        }
        Outcome::Stale(answer, age) => end(setup, &answer, Origin::Stale(age), status),
        Outcome::Failed(error) => {
            let refusal = error.source().and_then(|cause| cause.downcast_ref::<Refusal>()).cloned();
            CallEnd {
                refusal,
                ..CallEnd::failed(error)
            }
        }
        other => CallEnd::failed(CallError::new(Kind::Cancelled, format!("the store gave {:?}", other.kind()))),
    };
    end.report = done.report;
    end
}

/// The end of a call that has an answer.
fn end(setup: &KeepSetup, answer: &Answer, origin: Origin, status: CacheStatus) -> CallEnd {
    let is_timed = answer.is_for_all && !setup.times.fresh.is_zero();
    let since = answer.since(status.age);
    let left = match origin {
        Origin::Stale(_) => None,
        // Its items are stored, and not the answer.
        _ if is_timed && setup.is_batch => Some(answer.keep.fresh),
        _ if is_timed => Some(status.left),
        _ => answer.said.left.map(|left| left.saturating_sub(since)),
    };
    let items = (setup.is_batch && answer.is_for_all).then_some(answer.keep);
    CallEnd {
        result: Ok(answer.value.clone().unwrap_or(Bytes::from_static(crate::json::NULL))),
        freshness: Some(Freshness { left, ..answer.said }),
        forward: answer.forward.clone(),
        origin,
        kept: Some(Box::new(KeptEnd { status, items })),
        ..CallEnd::computed(Ok(Bytes::new()))
    }
}

/// Remembers for a while that what this call is answered is for nobody else, so that equal calls do not wait for it in vain.
fn mark_alone(answers: &Answers, flight: &Flight) {
    let keep = Keep {
        to_compare: ALONE_FOR,
        ..Keep::default()
    };
    let cache = answers.store.cache();
    let mark = Item::new(Arc::new(Answer::mark()), 0, keep).labelled(flight.label());
    // Under the key of the calls to come: the answer may have told on which headers they depend.
    cache.put(cache.ticket(), flight.key_from_now_on(answers), mark);
}
