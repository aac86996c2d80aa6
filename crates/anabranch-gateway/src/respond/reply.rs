//! The whole reply: parts joined, or the problem that says why not; its account, its caching, its timing.

use std::time::{Duration, SystemTime};

use anabranch::{CallError, Deadline};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::account::{self, PartAccount, PartState};
use super::cache_control::{self, Freshness, ReplyCaching};
use super::cache_status::{self, Came, CacheStatus};
use super::problem::Problem;
use super::server_timing::{self, CallTiming};
use super::splice;
use crate::gateway::{Answer, CallTrace, Core, RequestTrace};
use crate::inputs::Inputs;
use crate::json;
use crate::plan::{Need, Program, Reply, RoutePlan};
use crate::render;
use crate::run::{Ended, Known, Lost, needs};
use crate::transform::Reshaping;
use crate::transform::jq::Input;

/// Bytes of a reply that a program makes.
const REPLY_MAX: usize = 8 << 20;

/// Everything that a reply is made of.
pub(crate) struct Joined<'a> {
    pub(crate) core: &'a Core,
    pub(crate) route: &'a RoutePlan,
    /// Index of the route.
    pub(crate) index: usize,
    pub(crate) inputs: &'a Inputs,
    pub(crate) ended: Vec<Option<Ended>>,
    pub(crate) lost: Option<Lost>,
    pub(crate) arrived: Instant,
    /// What the program of `reply: { jq: ... }` gave.
    pub(crate) made: Option<Result<Bytes, CallError>>,
}

impl Joined<'_> {
    /// Runs the program of the reply, where there is going to be one.
    pub(crate) async fn make(&mut self, program: &Program, deadline: Deadline) {
        if self.lost.is_some() || self.every_part_failed() {
            return;
        }
        let input = if program.jq.looks_at_input() {
            let parts = self.route.parts.iter().map(|call| {
                let value = self.end(*call).and_then(|ended| ended.value().cloned());
                (self.route.calls[*call].name.clone(), value)
            });
            Input::Parts(parts.collect())
        } else {
            Input::Null
        };
        let reshaping = Reshaping {
            keys: None,
            jq: Some(program.jq.clone()),
            variables: Known::at_end(self.route, self.inputs, &self.ended).variables(program),
            most: REPLY_MAX,
        };
        let made = reshaping.apply(input, self.core.compute(), &self.route.pattern, deadline).await;
        self.made = Some(made);
    }

    /// Joins.
    pub(crate) fn into_answer(mut self) -> Answer {
        let mut answer = match self.lost.take() {
            Some(Lost::Client(problem)) => problem.into_answer(),
            Some(Lost::Need) => self.failure(),
            None if self.every_part_failed() => self.failure(),
            None => self.success(),
        };
        let options = self.core.options();
        if self.route.timing.unwrap_or(options.dev)
            && let Some(value) = self.server_timing()
        {
            answer.headers.insert(server_timing::HEADER, value);
        }
        if options.trace {
            answer.trace = Some(Box::new(self.trace()));
        }
        answer
    }

    fn end(&self, call: usize) -> Option<&Ended> {
        self.ended[call].as_ref()
    }

    fn value(&self, call: usize) -> Option<&[u8]> {
        self.end(call)?.value().map(|value| &value[..])
    }

    /// Without a `need` a reply fails when nothing of it is there.
    fn every_part_failed(&self) -> bool {
        let failed = |call: &usize| self.end(*call).is_none_or(|ended| !ended.satisfies());
        self.route.need == Need::OnePart && !self.route.parts.is_empty() && self.route.parts.iter().all(failed)
    }

    fn success(&mut self) -> Answer {
        let accounts = self.accounts();
        let is_complete = accounts.iter().all(|part| part.state.is_complete());
        let account = self.route.account_body.then(|| account::json(&accounts));
        let body = match self.body(account.as_deref()) {
            Ok(body) => body,
            Err(problem) => return problem.with_parts(&accounts).into_answer(),
        };
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(value) = account::header(&accounts) {
            headers.insert(account::HEADER, value);
        }
        drop(accounts);
        let sets_cookie = self.forward(&mut headers);
        let of_store = self.of_store();
        let age = of_store.map_or(Duration::ZERO, |status| status.age);
        headers.insert(header::CACHE_CONTROL, self.cache_control(is_complete, sets_cookie, age));
        if let Some(status) = of_store {
            headers.append(cache_status::HEADER, cache_status::header(&status));
            if age.as_secs() > 0 || !matches!(status.came, Came::Asked { .. }) {
                headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
            }
        }
        headers.insert(header::VARY, cache_control::vary(&self.route.headers));
        Answer {
            status: StatusCode::OK,
            headers,
            body,
            trace: None,
        }
    }

    fn body(&self, account: Option<&[u8]>) -> Result<Bytes, Problem> {
        let body = match &self.route.reply {
            Reply::Object => {
                let parts: Vec<(&str, Option<&[u8]>)> = self
                    .route
                    .parts
                    .iter()
                    .map(|call| (&*self.route.calls[*call].name, self.value(*call)))
                    .collect();
                splice::object(&parts, account)
            }
            Reply::Only(call) => {
                return Ok(self
                    .end(*call)
                    .and_then(|ended| ended.value().cloned())
                    .unwrap_or(Bytes::from_static(json::NULL)));
            }
            Reply::Value(value) => {
                let mut out = Vec::new();
                render::json(value, &Known::at_end(self.route, self.inputs, &self.ended), &mut out);
                out
            }
            Reply::Jq(_) => return self.made_by_program(),
            Reply::Merge(calls) => {
                let objects: Vec<Option<&[u8]>> = calls.iter().map(|call| self.value(*call)).collect();
                splice::merge(&objects, account).map_err(|fault| {
                    let name = &self.route.calls[calls[fault.index]].name;
                    Problem::new(
                        StatusCode::BAD_GATEWAY,
                        format!("the part `{name}` is no object and cannot be merged"),
                    )
                })?
            }
        };
        Ok(Bytes::from(body))
    }

    /// What the program gave. Its failure is ours: the config asks for something that these parts do not have.
    fn made_by_program(&self) -> Result<Bytes, Problem> {
        match &self.made {
            Some(Ok(body)) => Ok(body.clone()),
            Some(Err(error)) if error.kind().is_local() => {
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too much is being computed").retry_in(Duration::from_secs(1)))
            }
            Some(Err(error)) if self.core.options().dev => Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the reply could not be made: {error}"),
            )),
            _ => Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the reply could not be made of its parts",
            )),
        }
    }

    /// Copies what sources said for the client; whether a cookie was among it.
    fn forward(&mut self, headers: &mut HeaderMap) -> bool {
        let mut sets_cookie = false;
        for ended in self.ended.iter_mut().flatten() {
            for (name, value) in std::mem::take(&mut ended.forward) {
                sets_cookie |= name == header::SET_COOKIE;
                headers.append(name, value);
            }
        }
        sets_cookie
    }

    /// What the store did, where the reply is the answer of the only call of its route that asks a source.
    fn of_store(&self) -> Option<CacheStatus> {
        let Reply::Only(call) = self.route.reply else { return None };
        let ended = self.end(call)?;
        let status = ended.kept.as_ref()?.status;
        let asking = self.route.calls.iter().filter(|call| call.action.source().is_some()).count();
        let is_its_own = matches!(ended.outcome, anabranch::Outcome::Ok(_) | anabranch::Outcome::Stale(..));
        (asking == 1 && is_its_own).then_some(status)
    }

    fn cache_control(&self, is_complete: bool, sets_cookie: bool, age: Duration) -> HeaderValue {
        let is_get = matches!(self.route.method, http::Method::GET | http::Method::HEAD);
        // Every call that was asked counts, also one that is no part: the reply was made of it.
        let asked = |ended: &&Ended| ended.started.is_some() || !ended.satisfies();
        let parts: Vec<Freshness> = self
            .ended
            .iter()
            .flatten()
            .filter(asked)
            .filter_map(|ended| ended.freshness)
            .collect();
        let caching = ReplyCaching {
            parts: &parts,
            is_get,
            is_complete,
            passed_credential: self.passed_credential(),
            sets_cookie,
            age,
        };
        cache_control::cache_control(&caching)
    }

    /// Whether any call carried a credential of the client.
    fn passed_credential(&self) -> bool {
        let setups = &self.core.gateway().setups[self.index];
        setups
            .iter()
            .flat_map(|setup| &setup.credentials)
            .any(|header| self.inputs.headers[*header].is_some())
    }

    fn failure(&self) -> Answer {
        let accounts = self.accounts();
        if let Some(answer) = self.refusal_of_status_from() {
            return answer;
        }
        let failed: Vec<&Ended> = self.failed_needs().filter_map(|call| self.end(call)).collect();
        let kinds: Vec<anabranch::Kind> = failed.iter().filter_map(|ended| ended.outcome.kind()).collect();
        let detail = self.why_failed();
        let problem = if !kinds.is_empty() && kinds.iter().all(|kind| kind.is_local()) {
            let wait = failed
                .iter()
                .filter_map(|ended| ended.retry_after())
                .max()
                .unwrap_or(Duration::from_secs(1));
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_in(wait)
        } else if !kinds.is_empty() && kinds.iter().all(|kind| *kind == anabranch::Kind::Timeout) {
            Problem::new(StatusCode::GATEWAY_TIMEOUT, detail)
        } else {
            Problem::new(StatusCode::BAD_GATEWAY, detail)
        };
        problem.with_parts(&accounts).into_answer()
    }

    /// Calls without which this reply fails and which have no value.
    fn failed_needs(&self) -> impl Iterator<Item = usize> + '_ {
        let by_parts = self.route.need == Need::OnePart;
        (0..self.route.calls.len()).filter(move |call| {
            let needed = if by_parts {
                self.route.parts.contains(call)
            } else {
                needs(self.route, *call)
            };
            // What was cancelled because another need failed is not why.
            let failed = |ended: &Ended| !ended.satisfies() && ended.outcome.kind() != Some(anabranch::Kind::Cancelled);
            needed && self.end(*call).is_some_and(failed)
        })
    }

    fn why_failed(&self) -> String {
        let names: Vec<String> = self
            .failed_needs()
            .map(|call| format!("`{}`", self.route.calls[call].name))
            .collect();
        let mut detail = match names.as_slice() {
            [] => "no part of the reply is there".to_string(),
            [one] => format!("the part {one}, which this reply needs, failed"),
            several => format!("the parts {}, which this reply needs, failed", several.join(", ")),
        };
        if self.core.options().dev {
            for call in self.failed_needs() {
                if let Some(anabranch::Outcome::Failed(error)) = self.end(call).map(|ended| &ended.outcome) {
                    detail.push_str(&format!("; `{}`: {error}", self.route.calls[call].name));
                }
            }
        }
        detail
    }

    /// A 4xx of the call named by `status: { from: ... }` is the reply's own, with its body when `errors: pass` says so.
    fn refusal_of_status_from(&self) -> Option<Answer> {
        let call = self.route.status_from?;
        let refusal = self.end(call).filter(|ended| !ended.satisfies())?.refusal.as_ref()?;
        let status = StatusCode::from_u16(refusal.status).ok().filter(StatusCode::is_client_error)?;
        if !self.route.errors_pass {
            let name = &self.route.calls[call].name;
            return Some(
                Problem::new(status, format!("the part `{name}` was refused"))
                    .with_parts(&self.accounts())
                    .into_answer(),
            );
        }
        let mut headers = HeaderMap::new();
        if let Some(content_type) = &refusal.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(Answer {
            status,
            headers,
            body: refusal.body.clone(),
            trace: None,
        })
    }

    /// What the account says: of each part, and of calls that add to one.
    fn accounts(&self) -> Vec<PartAccount<'_>> {
        (0..self.route.calls.len())
            .filter(|call| self.route.calls[*call].is_told)
            .filter_map(|call| self.account(call))
            .collect()
    }

    fn account(&self, call: usize) -> Option<PartAccount<'_>> {
        let plan = &self.route.calls[call];
        let mut age = Duration::ZERO;
        let (state, took) = match self.end(call) {
            Some(Ended {
                missing: Some(missing),
                took,
                ..
            }) => (PartState::FallbackMissing(missing.clone()), *took),
            Some(Ended {
                items: Some(items), took, ..
            }) if items.failed == 0
                && let Some(oldest) = items.stale =>
            {
                age = oldest;
                (PartState::Stale, *took)
            }
            Some(Ended {
                items: Some(items), took, ..
            }) => (
                PartState::Items {
                    failed: items.failed,
                    asked: items.asked,
                },
                *took,
            ),
            Some(ended) => {
                if let anabranch::Outcome::Stale(_, of_answer) = &ended.outcome {
                    age = *of_answer;
                }
                (PartState::of(&ended.outcome), ended.took)
            }
            None => (PartState::Failed(anabranch::Kind::Cancelled), Duration::ZERO),
        };
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Some(PartAccount {
            key: &plan.account_key,
            name: &plan.name,
            state,
            ms,
            age,
        })
    }

    fn server_timing(&self) -> Option<HeaderValue> {
        let words: Vec<(usize, String)> = (0..self.route.calls.len()).map(|call| (call, self.word(call))).collect();
        let calls: Vec<CallTiming<'_>> = words
            .iter()
            .filter_map(|(call, word)| {
                let ended = self.end(*call)?;
                Some(CallTiming {
                    name: &self.route.calls[*call].name,
                    start: ended.started?,
                    duration: ended.took,
                    outcome: word,
                })
            })
            .collect();
        server_timing::header(self.arrived.elapsed(), &calls)
    }

    fn word(&self, call: usize) -> String {
        if let Some(items) = self
            .end(call)
            .and_then(|ended| ended.items.as_ref())
            .filter(|items| items.failed > 0)
        {
            return format!("{}/{} failed", items.failed, items.asked);
        }
        if self.end(call).and_then(|ended| ended.items.as_ref()?.stale).is_some() {
            return PartState::Stale.word().to_string();
        }
        match self.end(call).map(|ended| &ended.outcome) {
            None => "cancelled".to_string(),
            Some(anabranch::Outcome::Skipped(None)) => "not asked".to_string(),
            Some(anabranch::Outcome::Ok(_)) if self.end(call).is_some_and(|ended| ended.is_hit) => "hit".to_string(),
            Some(outcome) => PartState::of(outcome).word().to_string(),
        }
    }

    fn trace(&self) -> RequestTrace {
        let calls = self.route.calls.iter().enumerate().map(|(index, call)| {
            let ended = self.end(index);
            let of_an_item = ended.and_then(|ended| ended.items.as_ref()?.error.as_ref());
            let detail = match ended.map(|ended| &ended.outcome) {
                Some(anabranch::Outcome::Ok(_)) => of_an_item
                    .map(|error| format!("the first item to fail: {error}"))
                    .unwrap_or_default(),
                Some(anabranch::Outcome::Failed(error) | anabranch::Outcome::Fallback(_, error)) => error.to_string(),
                Some(anabranch::Outcome::Skipped(Some(missing))) => format!("`{missing}` is missing"),
                _ => String::new(),
            };
            CallTrace {
                name: call.name.clone(),
                source: call
                    .action
                    .source()
                    .map(|source| self.core.gateway().sources()[source].name().clone()),
                waits: call.waits.iter().map(|wait| self.route.calls[*wait].name.clone()).collect(),
                started: ended.and_then(|ended| ended.started),
                took: ended.map_or(Duration::ZERO, |ended| ended.took),
                outcome: self.word(index),
                detail,
                attempts: ended.map(|ended| ended.report.attempts.clone()).unwrap_or_default(),
            }
        });
        RequestTrace {
            route: format!("{} {}", self.route.method, self.route.pattern),
            deadline: self.route.deadline,
            took: self.arrived.elapsed(),
            calls: calls.collect(),
        }
    }
}

impl Problem {
    /// The problem as a whole reply.
    pub(crate) fn into_answer(self) -> Answer {
        let mut headers = HeaderMap::with_capacity(4);
        self.write_headers(&mut headers);
        Answer {
            status: self.status,
            headers,
            body: self.body(),
            trace: None,
        }
    }
}

/// The caching that a source's answer allows.
pub(crate) fn freshness(response: &anabranch::Response) -> Freshness {
    if !response.says_caching() {
        return Freshness::default();
    }
    let headers = cache_control::UpstreamHeaders {
        cache_control: response.header("cache-control"),
        expires: response.header("expires"),
        date: response.header("date"),
        age: response.header("age"),
        vary: response.header("vary"),
    };
    Freshness::read(&headers, SystemTime::now())
}
