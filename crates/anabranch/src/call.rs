//! One call through its policies, outermost first. This file is the order of the layers; nobody reorders them from a config.
//!
//! ```text
//! 1 cache           the place for fresh answers (and the stale copy kept for 2)
//! 2 stale           the place for a stored answer when all below failed, the deadline included
//! 3 deadline        an instant; every wait below takes the earlier of it and its own limit
//! 4 coalescing      the place for flights shared by equal calls
//! 5 attempts        retries (the place for hedges), one budget per source
//!   6 rate          per attempt: a token, waited for only if it comes in time
//!   7 in flight     per attempt: a place, waited for a bounded time
//!   8 pick          per attempt: an endpoint not yet tried (the place for the breaker's gate)
//!   9 timeout       per attempt: from here on one armed timer, the phases are marks on it
//!  10 exchange      connection, send, head, body
//! ```
//! Rate and in-flight sit inside the attempts because a service feels attempts, not calls, and a place held while resting between
//! attempts would starve others. Rate comes before in-flight so that nobody holds a place while waiting for a token. The attempt's
//! timeout starts after both: time in our own queues is not the endpoint's fault.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Request, Response, Timings};
use crate::policy::{AttemptEnd, Next, Refused, RetrySettings};
use crate::source::{CallSettings, Replicas, Shared};
use crate::{CallError, Client, Deadline, Expired, Kind, Marks, Phase, Source};

/// What a call did: its attempts with the time that each phase took.
#[derive(Clone, Debug, Default)]
pub struct CallReport {
    /// The attempts, first to last.
    pub attempts: Vec<Attempt>,
    /// From the start of the call to its end.
    pub took: Duration,
}

/// One try of a call.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// When it started, from the start of the call.
    pub started: Duration,
    /// How long it took, waits included.
    pub took: Duration,
    /// The endpoint asked: an index into [`Source::endpoints`]; None when it was refused before one was picked.
    pub endpoint: Option<usize>,
    /// The status of the answer, where one came.
    pub status: Option<u16>,
    /// Why it failed, where it did.
    pub kind: Option<Kind>,
    /// How long each phase took.
    pub timings: Timings,
}

impl Source {
    /// Makes one call and says what it did. An answer of any status is `Ok`.
    ///
    /// Ends by the deadline at the latest. Dropping the future cancels the call at once: its place is given back and an
    /// HTTP/1.1 connection in use is closed.
    ///
    /// # Errors
    /// Every way in which no whole answer came; the error names the source, the phase and the number of attempts.
    pub async fn call(
        &self,
        client: &Client,
        request: &Request,
        settings: &CallSettings,
        deadline: Deadline,
    ) -> (Result<Response, CallError>, CallReport) {
        let shared = self.shared();
        let started = Instant::now();
        let call = Call {
            source: shared,
            client,
            request,
            settings,
            deadline,
            started,
            replicas: shared.replicas.load_full(),
        };
        let mut report = CallReport {
            attempts: Vec::with_capacity(1),
            took: Duration::ZERO,
        };
        let result = call.attempts(&mut report).await;
        report.took = report.attempts.last().map_or(Duration::ZERO, |last| last.started + last.took);
        let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        (result.map_err(|error| error.of_call(&shared.name, made, report.took)), report)
    }
}

/// One call on its way.
struct Call<'a> {
    source: &'a Shared,
    client: &'a Client,
    request: &'a Request,
    settings: &'a CallSettings,
    deadline: Deadline,
    started: Instant,
    /// The endpoints as they were when it started.
    replicas: Arc<Replicas>,
}

impl Call<'_> {
    /// Layer 5: attempts until one settles the call. The clock is read at the start of an attempt, at the head of its answer and at its
    /// end; on a machine with a slow clock each reading shows.
    async fn attempts(&self, report: &mut CallReport) -> Result<Response, CallError> {
        let may_repeat = self.settings.idempotent || self.request.is_idempotent();
        let retry = if may_repeat { self.settings.retry } else { RetrySettings::NONE };
        let mut tried: Vec<usize> = Vec::new();
        let mut token = None;
        let mut now = self.started;
        self.source.budget.record_call_now(now);
        loop {
            let mut attempt = Attempt {
                started: now.duration_since(self.started),
                ..Attempt::default()
            };
            let result = self.attempt(now, &tried, &mut attempt).await;
            drop(token.take());
            let ended = Instant::now();
            attempt.took = ended.duration_since(now);
            let end = match &result {
                Ok(response) => {
                    attempt.status = Some(response.status());
                    AttemptEnd::Answered {
                        status: response.status(),
                        retry_after: retry_after(response.status(), || response.header("retry-after")),
                    }
                }
                Err(error) => {
                    attempt.kind = Some(error.kind());
                    AttemptEnd::Failed(error)
                }
            };
            let endpoint = attempt.endpoint;
            report.attempts.push(attempt);
            let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
            let left = self.deadline.instant().saturating_duration_since(ended);
            let Next::Again(rest) = retry.next(made, end, left, self.replicas.endpoints.len()) else {
                return result;
            };
            token = self.source.budget.withdraw();
            if token.is_none() {
                return result;
            }
            tried.extend(endpoint);
            if !rest.is_zero() {
                Box::pin(self.deadline.within(rest).wait()).await;
            }
            now = Instant::now();
        }
    }

    /// Layers 6 to 10.
    async fn attempt(&self, now: Instant, tried: &[usize], attempt: &mut Attempt) -> Result<Response, CallError> {
        if self.deadline.instant() <= now {
            return Err(CallError::new(Kind::Timeout, "the deadline had passed before it could be sent"));
        }
        let mut sent = now;
        if let Some(rate) = &self.source.rate {
            Box::pin(rate.acquire(self.queue_until(now)))
                .await
                .map_err(|refused| too_fast(refused.wait))?;
            sent = Instant::now();
            attempt.timings.rate = Some(sent.duration_since(now));
        }
        let slot = match self.source.in_flight.try_acquire() {
            Some(slot) => slot,
            None => {
                let queued = sent;
                let slot = Box::pin(self.source.in_flight.acquire(self.queue_until(now)))
                    .await
                    .map_err(|refused| no_place(self.source, refused))?;
                sent = Instant::now();
                attempt.timings.queue = Some(sent.duration_since(queued));
                slot
            }
        };
        let picked = self.replicas.balance.pick(tried);
        attempt.endpoint = Some(picked.index());
        let endpoint = &self.replicas.endpoints[picked.index()];
        let limit = self
            .settings
            .timeout
            .map_or(self.deadline, |timeout| self.deadline.earlier(Deadline::at(sent + timeout)));
        let marks = Marks::starting(sent);
        let exchange = self
            .client
            .exchange_at(sent, endpoint, self.request, &self.settings.limits, &marks, &mut attempt.timings);
        let result = match limit.bound_marked(&marks, exchange).await {
            Ok(result) => result,
            Err(expired) => Err(timed_out(expired, self.settings.timeout, self.deadline)),
        };
        if self.replicas.endpoints.len() > 1 {
            picked.record(sent.elapsed(), result.as_ref().is_ok_and(|response| response.status() < 500));
        }
        drop(slot);
        result
    }

    fn queue_until(&self, now: Instant) -> Deadline {
        queue_until(self.source, self.deadline, now)
    }
}

/// The end of the wait for a token or a place: bounded, and never more than a quarter of what is left, so that time to ask remains.
pub(crate) fn queue_until(source: &Shared, deadline: Deadline, now: Instant) -> Deadline {
    let left = deadline.instant().saturating_duration_since(now);
    Deadline::at(now + source.queue_wait.min(left / 4))
}

pub(crate) fn too_fast(wait: Duration) -> CallError {
    CallError::new(Kind::Limit, "the rate of this source is used up")
        .in_phase(Phase::Rate)
        .retry_in(wait)
}

pub(crate) fn no_place(source: &Shared, refused: Refused) -> CallError {
    let max = source.in_flight.max();
    let detail = match refused {
        Refused::QueueFull => format!("all {max} places in flight are taken and the queue is full"),
        Refused::TimedOut => format!("all {max} places in flight stayed taken"),
    };
    CallError::new(Kind::Limit, detail)
        .in_phase(Phase::Queue)
        .retry_in(Duration::from_secs(1))
}

pub(crate) fn timed_out(expired: Expired, timeout: Option<Duration>, deadline: Deadline) -> CallError {
    let detail = match (expired.by_phase, timeout) {
        (true, _) => "the limit of this phase passed".to_string(),
        (false, Some(timeout)) if !deadline.has_passed() => format!("no whole answer within the timeout of {timeout:?}"),
        _ => "no whole answer before the deadline".to_string(),
    };
    let error = CallError::new(Kind::Timeout, detail);
    match expired.phase {
        // Before these nothing has been sent.
        Some(phase @ (Phase::FirstByte | Phase::Body)) => error.after_send().in_phase(phase),
        Some(phase) => error.in_phase(phase),
        None => error,
    }
}

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), at most an hour. Looked for only under the statuses that it goes with:
/// a look goes through all headers.
pub(crate) fn retry_after<'t>(status: u16, text: impl FnOnce() -> Option<&'t str>) -> Option<Duration> {
    if !matches!(status, 429 | 503) {
        return None;
    }
    let text = text()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text)
            .ok()?
            .duration_since(std::time::SystemTime::now())
            .unwrap_or_default(),
    };
    Some(wait.min(Duration::from_secs(3600)))
}
