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
#[derive(Clone, Debug)]
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
    pub async fn call(&self, client: &Client, request: &Request, settings: &CallSettings, deadline: Deadline) -> (Result<Response, CallError>, CallReport) {
        let shared = self.shared();
        let started = Instant::now();
        let mut report = CallReport::default();
        let result = attempts(shared, client, request, settings, deadline, started, &mut report).await;
        report.took = started.elapsed();
        let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        (result.map_err(|error| error.of_call(&shared.name, made, report.took)), report)
    }
}

/// Layer 5: attempts until one settles the call.
async fn attempts(
    source: &Shared,
    client: &Client,
    request: &Request,
    settings: &CallSettings,
    deadline: Deadline,
    started: Instant,
    report: &mut CallReport,
) -> Result<Response, CallError> {
    let may_repeat = settings.idempotent || request.is_idempotent();
    let retry = if may_repeat { settings.retry } else { RetrySettings::NONE };
    let replicas = source.replicas.load_full();
    let mut tried: Vec<usize> = Vec::new();
    let mut token = None;
    source.budget.record_call();
    loop {
        let (result, attempt) = one_attempt(source, &replicas, client, request, settings, deadline, started, &tried).await;
        drop(token.take());
        let endpoint = attempt.endpoint;
        report.attempts.push(attempt);
        let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        let end = match &result {
            Ok(response) => AttemptEnd::Answered { status: response.status(), retry_after: retry_after(response) },
            Err(error) => AttemptEnd::Failed(error),
        };
        let Next::Again(rest) = retry.next(made, end, deadline.left(), replicas.endpoints.len()) else { return result };
        token = source.budget.withdraw();
        if token.is_none() {
            return result;
        }
        tried.extend(endpoint);
        if !rest.is_zero() {
            deadline.within(rest).wait().await;
        }
    }
}

/// Layers 6 to 10.
#[allow(clippy::too_many_arguments, reason = "the straight line of one attempt; a struct would only rename them")]
async fn one_attempt(
    source: &Shared,
    replicas: &Replicas,
    client: &Client,
    request: &Request,
    settings: &CallSettings,
    deadline: Deadline,
    call_started: Instant,
    tried: &[usize],
) -> (Result<Response, CallError>, Attempt) {
    let started = Instant::now();
    let mut timings = Timings::default();
    let mut endpoint = None;
    let result = async {
        if deadline.has_passed() {
            return Err(CallError::new(Kind::Timeout, "the deadline had passed before it could be sent"));
        }
        let queue_until = deadline.within(source.queue_wait.min(deadline.left() / 4));
        if let Some(rate) = &source.rate {
            rate.acquire(queue_until).await.map_err(|refused| too_fast(refused.wait))?;
            timings.rate = Some(started.elapsed());
        }
        let slot = match source.in_flight.try_acquire() {
            Some(slot) => slot,
            None => {
                let queued = Instant::now();
                let slot = source.in_flight.acquire(queue_until).await.map_err(|refused| no_place(source, refused))?;
                timings.queue = Some(queued.elapsed());
                slot
            }
        };
        let picked = replicas.balance.pick(tried);
        endpoint = Some(picked.index());
        let sent = Instant::now();
        let limit = settings.timeout.map_or(deadline, |timeout| deadline.within(timeout));
        let marks = Marks::new();
        let exchange = client.exchange(&replicas.endpoints[picked.index()], request, &settings.limits, &marks, &mut timings);
        let result = match limit.bound_marked(&marks, exchange).await {
            Ok(result) => result,
            Err(expired) => Err(timed_out(expired, settings.timeout, deadline)),
        };
        picked.record(sent.elapsed(), result.as_ref().is_ok_and(|response| response.status() < 500));
        drop(slot);
        result
    }
    .await;
    let (status, kind) = match &result {
        Ok(response) => (Some(response.status()), None),
        Err(error) => (None, Some(error.kind())),
    };
    let attempt = Attempt { started: started.duration_since(call_started), took: started.elapsed(), endpoint, status, kind, timings };
    (result, attempt)
}

fn too_fast(wait: Duration) -> CallError {
    CallError::new(Kind::Limit, "the rate of this source is used up").in_phase(Phase::Rate).retry_in(wait)
}

fn no_place(source: &Shared, refused: Refused) -> CallError {
    let max = source.in_flight.max();
    let detail = match refused {
        Refused::QueueFull => format!("all {max} places in flight are taken and the queue is full"),
        Refused::TimedOut => format!("all {max} places in flight stayed taken"),
    };
    CallError::new(Kind::Limit, detail).in_phase(Phase::Queue).retry_in(Duration::from_secs(1))
}

fn timed_out(expired: Expired, timeout: Option<Duration>, deadline: Deadline) -> CallError {
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

/// `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), at most an hour.
fn retry_after(response: &Response) -> Option<Duration> {
    if !matches!(response.status(), 429 | 503) {
        return None;
    }
    let text = response.header("retry-after")?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(std::time::SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(Duration::from_secs(3600)))
}
