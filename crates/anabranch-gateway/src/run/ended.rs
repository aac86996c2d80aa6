//! How one call of a route ended, with everything that the reply needs to know of it.

use std::time::Duration;

use anabranch::{CallError, CallReport, Kind, Outcome};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::connector::{CallEnd, KeptEnd, Origin};
pub(crate) use crate::respond::cache_control::Freshness;

/// The end of a call.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended; values are validated JSON.
    pub(crate) outcome: Outcome<Bytes>,
    /// When it started, from the request's arrival; None when it never did.
    pub(crate) started: Option<Duration>,
    /// How long it took.
    pub(crate) took: Duration,
    /// The answer that was no success, where there was one.
    pub(crate) refusal: Option<Refusal>,
    /// For how long its value may be kept; None for values that no source gave.
    pub(crate) freshness: Option<Freshness>,
    /// Response headers that go on to the client.
    pub(crate) forward: Vec<(HeaderName, HeaderValue)>,
    /// What was done for it.
    pub(crate) report: CallReport,
    /// What it would have needed, where it was not asked for want of it and its `else` stands in.
    pub(crate) missing: Option<String>,
    /// What became of the items, where it was made for those of a list and the list was there.
    pub(crate) items: Option<Box<Items>>,
    /// Whether its value was stored and is fresh: nobody was asked.
    pub(crate) is_hit: bool,
    /// What the store did for it, where it has one.
    pub(crate) kept: Option<Box<KeptEnd>>,
}

/// What became of the items of a list.
#[derive(Debug)]
pub(crate) struct Items {
    /// Items that were to be asked for.
    pub(crate) asked: u64,
    /// Those of them without an answer.
    pub(crate) failed: u64,
    /// Why the first of them to end has none.
    pub(crate) error: Option<CallError>,
    /// The age of the oldest answer among those that are stale.
    pub(crate) stale: Option<Duration>,
}

/// An answer whose status is no success.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) content_type: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

/// So that it can be the cause of a failure.
impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "answered {}", self.status)
    }
}

impl std::error::Error for Refusal {}

impl Ended {
    /// A call that asked its source.
    pub(crate) fn of(end: CallEnd, started: Option<Duration>, took: Duration) -> Ended {
        let outcome = match (end.result, end.origin) {
            (Ok(value), Origin::Stale(age)) => Outcome::Stale(value, age),
            (Ok(value), _) => Outcome::Ok(value),
            (Err(error), _) => Outcome::Failed(error),
        };
        let is_hit = end.origin == Origin::Store;
        Ended {
            outcome,
            started,
            took,
            refusal: end.refusal,
            freshness: end.freshness,
            forward: end.forward,
            report: end.report,
            missing: None,
            items: None,
            is_hit,
            kept: end.kept,
        }
    }

    /// A call that failed without an answer.
    pub(crate) fn failed(error: CallError, started: Option<Duration>, took: Duration) -> Ended {
        Ended::bare(Outcome::Failed(error), started, took)
    }

    /// A value that no source was asked for.
    pub(crate) fn computed(value: Bytes, started: Duration) -> Ended {
        Ended::bare(Outcome::Ok(value), Some(started), Duration::ZERO)
    }

    /// Its own condition said no: null, complete, and no case for its `else`.
    pub(crate) fn not_asked() -> Ended {
        Ended::bare(Outcome::Skipped(None), None, Duration::ZERO)
    }

    /// Something that it needs is missing.
    pub(crate) fn skipped(missing: String) -> Ended {
        Ended::bare(Outcome::Skipped(Some(missing)), None, Duration::ZERO)
    }

    fn bare(outcome: Outcome<Bytes>, started: Option<Duration>, took: Duration) -> Ended {
        Ended {
            outcome,
            started,
            took,
            refusal: None,
            freshness: None,
            forward: Vec::new(),
            report: CallReport::default(),
            missing: None,
            items: None,
            is_hit: false,
            kept: None,
        }
    }

    /// A call that was made for the items of a list: a list with a place for each of them.
    pub(crate) fn of_items(value: Bytes, items: Items, started: Option<Duration>, took: Duration) -> Ended {
        Ended {
            items: Some(Box::new(items)),
            ..Ended::bare(Outcome::Ok(value), started, took)
        }
    }

    /// Its value; None where the part is null for want of one.
    pub(crate) fn value(&self) -> Option<&Bytes> {
        self.outcome.value()
    }

    /// How long to wait before asking again, where its failure says so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match &self.outcome {
            Outcome::Failed(error) | Outcome::Fallback(_, error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether its `else` is asked for. For a call that is made for a list, that is the `else` of its items.
    pub(crate) fn may_fall_back(&self, is_list: bool) -> bool {
        if is_list {
            return self.items.as_ref().is_some_and(|items| items.failed > 0);
        }
        matches!(self.outcome, Outcome::Failed(_) | Outcome::Skipped(Some(_)))
    }

    /// Whether a `need` is content with it.
    pub(crate) fn satisfies(&self) -> bool {
        matches!(self.outcome, Outcome::Skipped(None)) || self.value().is_some()
    }

    /// The same end with the value of its `else`, if that has one.
    pub(crate) fn or_else(mut self, value: Option<Bytes>) -> Ended {
        let Some(value) = value else { return self };
        let error = match self.outcome {
            Outcome::Failed(error) => error,
            Outcome::Skipped(missing) => {
                self.missing = missing;
                CallError::new(Kind::Cancelled, "not asked: something that it needs is missing")
            }
            settled => {
                self.outcome = settled;
                return self;
            }
        };
        self.outcome = Outcome::Fallback(value, error);
        self.freshness = None;
        self
    }
}
