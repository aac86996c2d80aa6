//! Calls with `cache` or `stale`: their answers out of the store, or from the source, which equal calls ask once together.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anabranch::client::{Request, Response};
use anabranch::policy::{Asked, Asking, CacheKey, Freshness as Said, How, Item, Keep, KeyParts, Reader, Store, Times, Vary};
use anabranch::{CallError, CallReport, CallSettings, Client, Deadline, Kind, Outcome, Source};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::headers::SharedHeaders;
use super::http::{self as plain, CallSetup};
use super::{CallEnd, Origin};
use crate::gateway::Core;
use crate::plan::{Action, CallPlan, HttpAction, OkSet, Plan, RoutePlan};
use crate::render::{self, RenderFault};
use crate::respond::cache_control::Freshness;
use crate::run::{Known, Refusal};

/// Answers of all calls that keep theirs, and the calls under way that equal ones wait for.
pub(crate) type AnswerStore = Store<StoredAnswer>;

/// What the store hands out.
pub(crate) type StoredAnswer = Arc<Answer>;

/// The largest refused body that is remembered with a failure, for a second. A thousand failures are remembered at once.
const REFUSED_BODY_MAX: usize = 16 << 10;

/// Headers that tell one request from the next and never change an answer: request ids and traces.
const OF_ONE_REQUEST: &[&str] = &[
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
    "x-correlation-id",
    "x-trace-id",
    "b3",
];

/// A good answer.
#[derive(Debug)]
pub(crate) struct Answer {
    value: Bytes,
    forward: Vec<(HeaderName, HeaderValue)>,
    /// What the source said about keeping it.
    said: Freshness,
    /// Whether it is stored, and handed to whoever makes the same call.
    is_shared: bool,
}

/// What of such a call is ready before any request comes.
#[derive(Debug)]
pub(super) struct KeepSetup {
    /// The part of the key that is the same for all its requests.
    base: KeyParts,
    times: Times,
    vary: Vec<usize>,
    /// Headers of the client that it is sent and that the key does not hold.
    unkeyed: Vec<HeaderName>,
    settings: CallSettings,
    ok: OkSet,
    forward: Vec<HeaderName>,
    /// No less than any route's deadline, since whoever waits for a shared call is bound by its own.
    flight_limit: Duration,
}

/// A request and the key of its answer.
#[derive(Debug)]
pub(crate) struct KeptRequest {
    request: Request,
    key: CacheKey,
    reader: Reader,
    setup: Arc<KeepSetup>,
}

impl KeepSetup {
    /// The setup of a call; None where it keeps nothing.
    pub(super) fn new(plan: &Plan, route: &RoutePlan, call: &CallPlan, settings: CallSettings) -> Option<KeepSetup> {
        let (Some(keep), Action::Http(action)) = (&call.keep, &call.action) else {
            return None;
        };
        let source = &plan.sources[action.source];
        // What equal answers are made into is part of the key too: two calls may read the same answer differently.
        let reading = format!("{:?} {:?} {}", call.ok.entries, call.forward, call.max_body);
        let base = CacheKey::of_source(&format!("{} {:?}", source.name, source.urls));
        let base = base.method(action.method.as_str()).times(keep.times).value(reading.as_bytes());
        let is_keyed = |header: &usize| keep.vary.contains(header) || plan.credentials.contains(&route.headers[*header]);
        let unkeyed = action
            .pass
            .iter()
            .filter(|header| !is_keyed(header))
            .map(|header| route.headers[*header].clone());
        Some(KeepSetup {
            base,
            times: keep.times,
            vary: keep.vary.clone(),
            unkeyed: unkeyed.collect(),
            settings,
            ok: call.ok.clone(),
            forward: call.forward.clone(),
            flight_limit: plan.routes.iter().map(|route| route.deadline).max().unwrap_or_default(),
        })
    }

    /// Whether an answer may be handed to others, however long the call says that it is fresh.
    fn may_share(&self, response: &Response, reader: Reader) -> bool {
        let headers: Vec<(&str, &[u8])> = response.headers().collect();
        let asked = Asked {
            method: &Method::GET,
            authorized: false,
            reader,
            delay: Duration::ZERO,
        };
        if Said::of(asked, response.status(), headers.iter().copied(), SystemTime::now()).is_err() {
            return false;
        }
        match Vary::of(headers.iter().copied()) {
            Vary::On(names) => !self
                .unkeyed
                .iter()
                .any(|header| names.iter().any(|name| **name == *header.as_str())),
            _ => true,
        }
    }
}

/// The request of a call, from the values known now, and its key. It is asked for whoever makes the same call, so it does not tell
/// of one client where it came from.
pub(super) fn request(
    action: &HttpAction,
    setup: &CallSetup,
    keep: &Arc<KeepSetup>,
    known: &Known<'_>,
    shared: &SharedHeaders,
) -> Result<Box<KeptRequest>, RenderFault> {
    let request = plain::request(action, setup, known, None)?.span(shared.span.child());
    let mut parts = keep.base.clone().url(request.path_and_query());
    let mut reader = Reader::Anyone;
    for index in &setup.credentials {
        let name = known.header_name(*index).as_str();
        parts = match known.header(*index) {
            Some(credential) => {
                reader = Reader::OneIdentity;
                parts.value(name.as_bytes()).credential(credential.as_bytes())
            }
            None => parts.header(name, None),
        };
    }
    for index in &keep.vary {
        parts = parts.header(known.header_name(*index).as_str(), known.header(*index).map(HeaderValue::as_bytes));
    }
    for (name, template) in &action.headers {
        if !OF_ONE_REQUEST.contains(&name.as_str()) {
            parts = parts.header(name.as_str(), Some(render::header(template, known)?.as_bytes()));
        }
    }
    Ok(Box::new(KeptRequest {
        request,
        key: parts.key(),
        reader,
        setup: keep.clone(),
    }))
}

/// Answers out of the store, or asks the source, in a task of its own that equal calls wait for as well.
pub(super) async fn exchange(core: &Core, source: &Source, kept: KeptRequest, deadline: Deadline) -> CallEnd {
    let Some(store) = &core.gateway().answers else {
        return CallEnd::failed(CallError::new(Kind::Cancelled, "the gateway stores nothing"));
    };
    let KeptRequest {
        request,
        key,
        reader,
        setup,
    } = kept;
    let flight = Flight {
        client: core.client().clone(),
        source: source.clone(),
        request,
        reader,
        setup,
        report: Mutex::default(),
    };
    let flight = Arc::new(flight);
    let asking = Asking {
        background: core.client().background(),
        flight_limit: flight.setup.flight_limit,
        failure: flight.setup.times.failure(),
        deadline,
    };
    let asked = flight.clone();
    let stored = store
        .answer(key, asking, move |_old| async move {
            asked.ask(Deadline::after(asked.setup.flight_limit)).await
        })
        .await;
    let is_of_another = stored.how == How::Collapsed && matches!(&stored.outcome, Outcome::Ok(answer) if !answer.is_shared);
    if is_of_another {
        // It was for the one who asked: it sets a cookie, for example.
        let asked = flight.ask(deadline).await.map(|item| item.value);
        return flight.end(asked, Origin::Source, None);
    }
    let (fresh_for, how) = (stored.fresh_for, stored.how);
    match stored.outcome {
        Outcome::Ok(answer) => {
            let origin = if how == How::Hit { Origin::Store } else { Origin::Source };
            flight.end(Ok(answer), origin, Some(fresh_for))
        }
        Outcome::Stale(answer, age) => flight.end(Ok(answer), Origin::Stale(age), None),
        Outcome::Failed(error) => flight.end(Err(error), Origin::Source, None),
        other => CallEnd::failed(CallError::new(Kind::Cancelled, format!("the store gave {:?}", other.kind()))),
    }
}

/// A call to the source that others may wait for as well.
struct Flight {
    client: Client,
    source: Source,
    request: Request,
    reader: Reader,
    setup: Arc<KeepSetup>,
    /// What was done, for whoever began it.
    report: Mutex<CallReport>,
}

impl Flight {
    /// Asks, and says how the answer is to be kept.
    async fn ask(&self, deadline: Deadline) -> Result<Item<Arc<Answer>>, CallError> {
        let setup = &*self.setup;
        let (result, report) = self.source.call(&self.client, &self.request, &setup.settings, deadline).await;
        let is_shared = result.as_ref().is_ok_and(|response| setup.may_share(response, self.reader));
        let end = plain::end(&setup.ok, &setup.forward, result, CallReport::default());
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
        let value = end.result.map_err(|error| with_refusal(error, end.refusal))?;
        let headers: usize = end.forward.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let weight = (value.len() + headers) as u64;
        // Bytes of its own, so that what it weighs is what it takes: it may lie in a larger buffer.
        let value = if is_shared { Bytes::copy_from_slice(&value) } else { value };
        let said = end.freshness.unwrap_or_default();
        let keep = if is_shared { Keep::from(setup.times) } else { Keep::default() };
        let answer = Answer {
            value,
            forward: end.forward,
            said,
            is_shared,
        };
        let label = format!("{} {}", self.source.name(), self.request.path_and_query());
        Ok(Item::new(Arc::new(answer), weight, keep).labelled(label))
    }

    /// The end of the call; `fresh_for` is how long the store says that the answer is still fresh.
    fn end(&self, result: Result<Arc<Answer>, CallError>, origin: Origin, fresh_for: Option<Duration>) -> CallEnd {
        let report = std::mem::take(&mut *self.report.lock().unwrap_or_else(PoisonError::into_inner));
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                let refusal = error.source().and_then(|cause| cause.downcast_ref::<Refusal>()).cloned();
                return CallEnd {
                    refusal,
                    report,
                    ..CallEnd::failed(error)
                };
            }
        };
        let is_timed = answer.is_shared && !self.setup.times.fresh.is_zero();
        let left = match origin {
            Origin::Stale(_) => None,
            _ if is_timed => fresh_for,
            _ => answer.said.left,
        };
        let freshness = Some(Freshness { left, ..answer.said });
        CallEnd {
            result: Ok(answer.value.clone()),
            refusal: None,
            freshness,
            forward: answer.forward.clone(),
            report,
            origin,
        }
    }
}

/// The failure with the answer that it came from, so that whoever waited with others can pass that on too.
fn with_refusal(error: CallError, refusal: Option<Refusal>) -> CallError {
    match refusal {
        Some(refusal) if refusal.body.len() <= REFUSED_BODY_MAX => error.caused_by(refusal),
        Some(refusal) => error.caused_by(Refusal {
            body: Bytes::new(),
            content_type: None,
            ..refusal
        }),
        None => error,
    }
}
