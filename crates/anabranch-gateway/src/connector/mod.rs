//! How a call asks its source: its request out of the templates, its value out of the answer.

mod headers;
mod http;
mod kept;
mod shield;
#[cfg(feature = "postgres")]
mod sql;
#[cfg(feature = "redis")]
mod redis;

use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use anabranch::client::Request;
use anabranch::{CallError, CallReport, Deadline, Kind};
use bytes::Bytes;

pub(crate) use headers::SharedHeaders;
pub(crate) use self::http::CallSetup;
pub(crate) use kept::{AnswerStore, StoredAnswer};

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
    match &call.action {
        Action::Http(action) => match &setup.keep {
            None => http::request(action, setup, known, Some(shared)).map(Made::Http),
            Some(keep) => kept::request(action, setup, keep, known, shared).map(Made::Kept),
        },
        #[cfg(feature = "postgres")]
        Action::Sql(action) => sql::params(action, known).map(Made::Sql),
        #[cfg(feature = "redis")]
        Action::Redis(action) => redis::words(action, known).map(Made::Redis),
        // A value asks nobody, and what is not built in has no source.
        _ => Err(RenderFault::Missing("source".to_string())),
    }
}

/// Asks the source. What must not be sent twice is not cancelled once it started: it runs to its own end in the background scope of
/// the client, whatever becomes of the request.
pub(crate) async fn exchange(core: &Core, call: &CallPlan, setup: &CallSetup, made: Made, deadline: Deadline) -> CallEnd {
    let source = call.action.source().map(|source| &core.gateway().sources[source]);
    match (source, made) {
        (Some(GatewaySource::Http(source)), Made::Http(request)) => http::exchange(core, source, call, setup, request, deadline).await,
        // In boxes, so that the many calls to services do not carry their size.
        (Some(GatewaySource::Http(source)), Made::Kept(request)) => Box::pin(kept::exchange(core, source, *request, deadline)).await,
        #[cfg(feature = "postgres")]
        (Some(GatewaySource::Postgres(db)), Made::Sql(params)) => Box::pin(sql::exchange(core, db, call, params, deadline)).await,
        #[cfg(feature = "redis")]
        (Some(GatewaySource::Redis(hot)), Made::Redis(words)) => Box::pin(redis::exchange(core, hot, call, words, deadline)).await,
        // The plan gives every call a source of its kind.
        #[cfg(any(feature = "postgres", feature = "redis"))]
        _ => CallEnd::failed(CallError::new(Kind::Cancelled, "the source is of another kind than the call")),
        #[cfg(not(any(feature = "postgres", feature = "redis")))]
        (None, _) => CallEnd::failed(CallError::new(Kind::Cancelled, "the call has no source")),
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
        }
    }

    fn failed(error: CallError) -> CallEnd {
        CallEnd::computed(Err(error))
    }

    /// The end of a call to a database, whose answers say nothing about being kept.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    fn of_database(result: Result<Bytes, CallError>, report: CallReport) -> CallEnd {
        let freshness = result.is_ok().then(Freshness::default);
        CallEnd {
            result,
            refusal: None,
            freshness,
            forward: Vec::new(),
            report,
            origin: Origin::Source,
        }
    }
}
