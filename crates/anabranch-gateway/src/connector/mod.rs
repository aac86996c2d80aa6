//! How a call asks its source: its request out of the templates, its value out of the answer.

mod headers;
mod http;
mod kept;
mod job;
mod shield;
#[cfg(feature = "postgres")]
mod sql;
#[cfg(feature = "redis")]
mod redis;

use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use anabranch::client::Request;
use anabranch::policy::CacheKey;
use anabranch::{CallError, CallReport, Deadline, Kind};
use bytes::Bytes;

pub(crate) use headers::SharedHeaders;
pub(crate) use self::http::CallSetup;
#[cfg(feature = "postgres")]
pub(crate) use sql::start as statement_start;
pub(crate) use kept::{Answer, Answers, KeptEnd, StoredAnswer};

use crate::gateway::Core;
use crate::plan::{Action, CallPlan};
use crate::render::RenderFault;
use crate::respond::cache_control::Freshness;
use crate::run::{Known, Refusal};
use crate::source::GatewaySource;

/// What a call sends, with all values in it.
pub(crate) enum Made {
    Http(Request),
    /// One whose answer may be stored, or shared with equal calls.
    Kept(Box<kept::KeptRequest>),
    /// The values of a statement.
    #[cfg(feature = "postgres")]
    Sql(Vec<anabranch::postgres::Param>),
    /// The words of a command.
    #[cfg(feature = "redis")]
    Redis(Vec<Bytes>),
    /// What a program is given.
    Job(Bytes),
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct CallEnd {
    pub(crate) result: Result<Bytes, CallError>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) freshness: Option<Freshness>,
    pub(crate) forward: Vec<(HeaderName, HeaderValue)>,
    pub(crate) report: CallReport,
    pub(crate) origin: Origin,
    /// What the store did for it, where it has one.
    pub(crate) kept: Option<Box<KeptEnd>>,
}

/// Where the answer of a call came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the source, now.
    #[default]
    Source,
    /// It was stored, and is fresh.
    Store,
    /// It was stored, and is not fresh any more: of this age.
    Stale(Duration),
}

/// What a call sends, from the values known now.
pub(crate) fn request(call: &CallPlan, setup: &CallSetup, known: &Known<'_>, shared: &SharedHeaders) -> Result<Made, RenderFault> {
    if let Some(keep) = &setup.keep {
        return kept::request(call, setup, keep, known, shared).map(Made::Kept);
    }
    match &call.action {
        Action::Http(action) => http::request(action, setup, known, Some(shared)).map(Made::Http),
        #[cfg(feature = "postgres")]
        Action::Sql(action) => sql::params(action, known).map(Made::Sql),
        #[cfg(feature = "redis")]
        Action::Redis(action) => redis::words(action, known).map(Made::Redis),
        Action::Run(action) => Ok(Made::Job(job::job(action, known))),
        // A value asks nobody, and what is not built in has no source.
        _ => Err(RenderFault::Missing("source".to_string())),
    }
}

/// What is kept for a call that will not be answered in time; None where nothing may stand in for it.
pub(crate) fn stand_in(core: &Core, made: &Made) -> Option<CallEnd> {
    match made {
        Made::Kept(kept) => kept::stand_in(core, kept),
        _ => None,
    }
}

/// By what the kept answers of a request can be purged.
pub(crate) fn label(made: &Made, source: &str) -> String {
    match made {
        Made::Kept(kept) => kept.label(source),
        _ => String::new(),
    }
}

/// The key of what a batch gives for the one key that this request asks for.
pub(crate) fn item_key(made: &Made, item: &[u8], variables: &[Bytes]) -> Option<CacheKey> {
    match made {
        Made::Kept(kept) => Some(kept.item_key(item, variables)),
        _ => None,
    }
}

/// Asks the source. What must not be sent twice is not cancelled once it started: it runs to its own end in the background scope of
/// the client, whatever becomes of the request.
pub(crate) async fn exchange(core: &Core, call: &CallPlan, setup: &CallSetup, made: Made, deadline: Deadline) -> CallEnd {
    let source = call.action.source().map(|source| &core.gateway().sources[source]);
    match (source, made) {
        (Some(GatewaySource::Http(source)), Made::Http(request)) => http::exchange(core, source, call, setup, request, deadline).await,
        // In boxes, so that the many calls to services do not carry their size.
        (Some(source), Made::Kept(request)) => Box::pin(kept::exchange(core, source, *request, deadline)).await,
        #[cfg(feature = "postgres")]
        (Some(GatewaySource::Postgres(db)), Made::Sql(params)) => Box::pin(sql::exchange(core, db, call, setup, params, deadline)).await,
        #[cfg(feature = "redis")]
        (Some(GatewaySource::Redis(hot)), Made::Redis(words)) => Box::pin(redis::exchange(core, hot, call, words, deadline)).await,
        #[cfg(unix)]
        (Some(GatewaySource::Workers(workers)), Made::Job(job)) => Box::pin(job::exchange(core, workers, call, job, deadline)).await,
        (Some(GatewaySource::Http(source)), Made::Job(job)) => Box::pin(job::stand_in(core, source, call, setup, job, deadline)).await,
        // The plan gives every call a source of its kind.
        _ => CallEnd::failed(CallError::new(Kind::Cancelled, "the source is of another kind than the call")),
    }
}

impl CallEnd {
    /// The end of what asked no source.
    pub(crate) fn computed(result: Result<Bytes, CallError>) -> CallEnd {
        CallEnd {
            result,
            refusal: None,
            freshness: None,
            forward: Vec::new(),
            report: CallReport::default(),
            origin: Origin::Source,
            kept: None,
        }
    }

    fn failed(error: CallError) -> CallEnd {
        CallEnd::computed(Err(error))
    }

    /// The end of a call whose answer says nothing about being kept: of a database or a program.
    #[cfg(any(unix, feature = "postgres", feature = "redis"))]
    fn without_caching(result: Result<Bytes, CallError>, report: CallReport) -> CallEnd {
        let freshness = result.is_ok().then(Freshness::default);
        CallEnd {
            result,
            refusal: None,
            freshness,
            forward: Vec::new(),
            report,
            origin: Origin::Source,
            kept: None,
        }
    }
}
