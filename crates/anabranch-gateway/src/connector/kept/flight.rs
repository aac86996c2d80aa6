//! One asking of the source that others may wait for as well: what it brings, how that is kept, and which failures are remembered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anabranch::client::{Request, Response};
use anabranch::policy::{CacheKey, Held, Item, Keep, Lookup, Vary};
use anabranch::{CallError, CallReport, Deadline, Kind};
use bytes::Bytes;

use super::answer::{self, Answer, Heard, Lines};
use super::request::{Asked, KeptRequest};
use super::setup::{HttpAsking, KeepSetup, Way};
use super::{Answers, StoredAnswer};
use crate::connector::http as plain;
use crate::gateway::Core;
use crate::run::Refusal;
use crate::source::GatewaySource;

/// The largest refused body that is remembered with a failure, for a second. A thousand failures are remembered at once.
const REFUSED_BODY_MAX: usize = 16 << 10;

/// A call to the source that others may wait for as well.
pub(super) struct Flight {
    pub(super) core: Core,
    source: GatewaySource,
    kept: KeptRequest,
    pub(super) key: CacheKey,
    /// Whether it was known on which headers its answers depend.
    knew_vary: bool,
    /// What was done, for whoever began it.
    done: Mutex<Done>,
}

/// What a flight did.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) report: CallReport,
    /// Whether there was an answer whose time was over.
    pub(super) had_stale: bool,
}

/// What the headers of an answer mean for keeping it.
struct Judged {
    keep: Keep,
    is_for_all: bool,
    lines: Lines,
    vary: Vary,
    status: u16,
}

impl Flight {
    pub(super) fn new(core: &Core, source: &GatewaySource, kept: KeptRequest, answers: &Answers) -> Flight {
        let knew_vary = kept.varies() && answers.varies.knows(&kept.base);
        let key = kept.key(answers);
        Flight {
            core: core.clone(),
            source: source.clone(),
            kept,
            key,
            knew_vary,
            done: Mutex::default(),
        }
    }

    pub(super) fn setup(&self) -> &KeepSetup {
        &self.kept.setup
    }

    pub(super) fn label(&self) -> String {
        self.kept.label(self.source.name())
    }

    /// The key of the same call, made again.
    pub(super) fn key_from_now_on(&self, answers: &Answers) -> CacheKey {
        self.kept.key(answers)
    }

    /// Whether its answers are known to be for nobody else.
    pub(super) fn is_known_alone(&self, answers: &Answers) -> bool {
        match answers.store.cache().peek(&self.key) {
            Lookup::Fresh(held) | Lookup::Stale(held) => !held.value().is_for_all,
            Lookup::Miss => false,
        }
    }

    /// What was done since this was last asked.
    pub(super) fn take_done(&self) -> Done {
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks, and says how the answer is to be kept.
    pub(super) async fn ask(&self, old: Option<Held<StoredAnswer>>, deadline: Deadline) -> Result<Item<StoredAnswer>, CallError> {
        let old = old.filter(|old| old.value().value.is_some());
        let had_stale = old.is_some();
        let (asked, report) = self.ask_source(old, deadline).await;
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = Done { report, had_stale };
        let (mut answer, key) = asked?;
        let keep = if self.setup().is_batch { Keep::default() } else { answer.keep };
        if !keep.is_nothing() {
            // Bytes of its own, so that what it weighs is what it takes: it may lie in a larger buffer.
            answer.value = answer.value.map(|value| Bytes::copy_from_slice(&value));
        }
        answer.grew = self.knew_vary && key.is_some_and(|key| key != self.key);
        let weight = answer.weight();
        let item = Item::new(Arc::new(answer), weight, keep).labelled(self.label());
        Ok(match key {
            Some(key) => item.under(key),
            None => item,
        })
    }

    /// The answer, and the key to keep it under where only the answer told.
    async fn ask_source(
        &self,
        old: Option<Held<StoredAnswer>>,
        deadline: Deadline,
    ) -> (Result<(Answer, Option<CacheKey>), CallError>, CallReport) {
        let client = self.core.client();
        let of_store = |(result, report): (Result<Bytes, CallError>, CallReport)| {
            let answer = result.map(|value| (Answer::of_store(value, self.setup().times), None));
            (answer.inspect_err(|error| self.remember(error, None)), report)
        };
        match (&self.source, &self.kept.asked, &self.setup().asking) {
            (GatewaySource::Http(source), Asked::Http(request), Way::Http(http)) => {
                let old = old.as_ref().map(|old| &**old.value()).filter(|_| self.setup().by_source);
                let conditioned = old.and_then(|old| conditioned(request, old));
                let is_conditional = conditioned.is_some();
                let request = conditioned.as_ref().unwrap_or(request);
                let (mut result, mut report) = source.call(client, request, &http.settings, deadline).await;
                if let (Ok(response), Some(old), true) = (&result, old, is_conditional)
                    && response.status() == 304
                    && !old.is_meant_by(response)
                    && let Asked::Http(request) = &self.kept.asked
                {
                    (result, report) = source.call(client, request, &http.settings, deadline).await;
                }
                let heard = self.heard(http, &report);
                match (&result, old) {
                    (Ok(response), Some(old)) if is_conditional && response.status() == 304 => {
                        let answer = old.renewed(response, &heard, &http.forward, self.setup().times.stale);
                        let lines = answer.lines.iter().map(|(name, value)| (&**name, &**value));
                        let key = self.learned(&Vary::of(lines));
                        (Ok((answer, key)), report)
                    }
                    _ => (self.take(http, &heard, result, deadline).await, report),
                }
            }
            #[cfg(feature = "postgres")]
            (GatewaySource::Postgres(db), Asked::Sql(params), Way::Sql(statement)) => {
                of_store(statement.ask(&self.core, db, params, deadline).await)
            }
            #[cfg(feature = "redis")]
            (GatewaySource::Redis(hot), Asked::Redis(words), Way::Redis(settings)) => {
                of_store(crate::connector::redis::ask(client, hot, words, settings, deadline).await)
            }
            // The plan gives every call a source of its kind.
            #[cfg(any(feature = "postgres", feature = "redis"))]
            _ => of_store((
                Err(CallError::new(Kind::Cancelled, "the source is of another kind than the call")),
                CallReport::default(),
            )),
            #[cfg(not(any(feature = "postgres", feature = "redis")))]
            _ => of_store((
                Err(CallError::new(Kind::Cancelled, "the call has no source")),
                CallReport::default(),
            )),
        }
    }

    fn heard(&self, http: &HttpAsking, report: &CallReport) -> Heard {
        Heard {
            reader: self.kept.reader,
            authorized: http.is_authorized,
            delay: report.attempts.last().map_or(Duration::ZERO, |last| last.took),
        }
    }

    /// Takes what came for the whole request.
    async fn take(
        &self,
        http: &HttpAsking,
        heard: &Heard,
        result: Result<Response, CallError>,
        deadline: Deadline,
    ) -> Result<(Answer, Option<CacheKey>), CallError> {
        let judged = result.as_ref().ok().map(|response| self.judged(heard, response));
        let answering = plain::Answering {
            ok: &http.ok,
            forward: &http.forward,
            compute: self.core.compute(),
            label: &self.setup().label,
            deadline,
        };
        let end = answering.end(result, CallReport::default()).await;
        let (value, judged) = match (end.result, judged) {
            (Ok(value), Some(judged)) => (value, judged),
            (Ok(_), None) => return Err(CallError::new(Kind::Cancelled, "an answer without a head")),
            (Err(error), judged) => {
                let error = with_refusal(error, end.refusal);
                self.remember(&error, judged.as_ref());
                return Err(error);
            }
        };
        let key = self.learned(&judged.vary);
        let answer = Answer {
            value: Some(value),
            forward: end.forward,
            said: end.freshness.unwrap_or_default(),
            keep: judged.keep,
            is_for_all: judged.is_for_all,
            grew: false,
            status: Some(judged.status),
            lines: judged.lines,
        };
        Ok((answer, key))
    }

    fn judged(&self, heard: &Heard, response: &Response) -> Judged {
        let setup = self.setup();
        let headers: Vec<(&str, &[u8])> = response.headers().collect();
        let status = response.status();
        let (keep, is_for_all, lines) = if setup.by_source {
            let said = heard.said(status, &headers);
            let keep = answer::by_source(said.as_ref(), setup.times.stale);
            (keep, answer::is_for_all_by_source(said.as_ref()), answer::saying(response))
        } else if heard.may_share(status, &headers) {
            (Keep::from(setup.times), true, Lines::new())
        } else {
            (Keep::default(), false, Lines::new())
        };
        Judged {
            keep,
            is_for_all,
            lines,
            vary: Vary::of(headers.iter().copied()),
            status,
        }
    }

    /// Learns on which headers the answers depend; gives the key to keep this one under, where that is not clear before.
    fn learned(&self, vary: &Vary) -> Option<CacheKey> {
        if !self.kept.varies() {
            return None;
        }
        let answers = self.core.gateway().answers.as_ref()?;
        answers.varies.learn(&self.kept.base, vary, &self.kept.passed())
    }

    /// Remembers a failure, for a second at the most: where a time is fixed no longer than that, where the source decides as long as the
    /// answer that was no success says, and never one that is for one client.
    fn remember(&self, error: &CallError, judged: Option<&Judged>) {
        let setup = self.setup();
        let keep = match judged {
            Some(judged) if setup.by_source => judged.keep.fresh,
            Some(judged) if !judged.is_for_all => Duration::ZERO,
            _ => setup.times.failure(),
        };
        if let Some(answers) = &self.core.gateway().answers {
            answers.store.cache().put_failure(self.key, error, keep);
        }
    }
}

/// The same request with the question whether the old answer still holds; None where that cannot be asked.
fn conditioned(request: &Request, old: &Answer) -> Option<Request> {
    let conditions = old.conditions();
    if conditions.is_empty() {
        return None;
    }
    conditions
        .into_iter()
        .try_fold(request.clone(), |request, (name, value)| request.header(name, value).ok())
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
