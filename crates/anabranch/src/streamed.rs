//! One call whose answer is not gathered but read piece by piece, under the same policies as any other.
//!
//! The order of the layers is that of [`call`](crate::call). An attempt is settled by the head of its answer: until then it may be
//! repeated like any other, if nothing of a body was sent with it; from then on what goes wrong is the reader's to see. The place in
//! flight goes with the answer and is given back with it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::call::{Attempt, CallReport, no_place, queue_until, retry_after, timed_out, too_fast};
use crate::client::{Request, StreamedResponse, Upload};
use crate::policy::{AttemptEnd, Next, RetrySettings, Slot};
use crate::source::{CallSettings, Replicas, Shared};
use crate::{CallError, Client, Deadline, Kind, Marks, Source};

/// An answer whose head is there and whose body is read piece by piece. Dropping it in the middle closes its connection (HTTP/2: resets
/// its stream). Holds a place in flight of its source as long as it lives.
pub struct StreamedCall<'s> {
    response: StreamedResponse,
    source: &'s Shared,
    _slot: Slot<'s>,
}

impl StreamedCall<'_> {
    /// The answer: its status, its headers and what is known of its body.
    pub fn response(&self) -> &StreamedResponse {
        &self.response
    }

    /// The next piece of the body, at most 64 KiB and never empty; None at its end. May be dropped and asked again.
    ///
    /// # Errors
    /// Every way in which the rest does not come, `body_idle` among them; the error names the source.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, CallError> {
        let piece = self.response.piece().await;
        piece.map_err(|error| error.of_call(&self.source.name, 1, Duration::ZERO))
    }
}

impl fmt::Debug for StreamedCall<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedCall")
            .field("status", &self.response.status())
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Makes one call whose answer is streamed, and says what it did: returns when the head is there. An answer of any status is `Ok`.
    ///
    /// `request` has no body of its own where there is an `upload`, which goes on while the answer is read. A call with an upload is never
    /// repeated. The deadline and the attempt's `timeout` end with the head; the body has `limits.body_idle`.
    ///
    /// Dropping the future cancels the call at once.
    ///
    /// # Errors
    /// Every way in which no head came; the error names the source, the phase and the number of attempts.
    pub async fn open<'s>(
        &'s self,
        client: &Client,
        request: &Request,
        upload: Option<Upload>,
        settings: &CallSettings,
        deadline: Deadline,
    ) -> (Result<StreamedCall<'s>, CallError>, CallReport) {
        let source = self.shared();
        let opening = Opening {
            source,
            client,
            request,
            settings,
            deadline,
            started: Instant::now(),
            replicas: source.replicas.load_full(),
        };
        let mut report = CallReport {
            attempts: Vec::with_capacity(1),
            took: Duration::ZERO,
        };
        let result = opening.attempts(upload, &mut report).await;
        report.took = opening.started.elapsed();
        let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        (result.map_err(|error| error.of_call(&source.name, made, report.took)), report)
    }
}

/// A call up to the head of its answer.
struct Opening<'s, 'a> {
    source: &'s Shared,
    client: &'a Client,
    request: &'a Request,
    settings: &'a CallSettings,
    deadline: Deadline,
    started: Instant,
    replicas: Arc<Replicas>,
}

impl<'s> Opening<'s, '_> {
    async fn attempts(&self, mut upload: Option<Upload>, report: &mut CallReport) -> Result<StreamedCall<'s>, CallError> {
        let may_repeat = upload.is_none() && (self.settings.idempotent || self.request.is_idempotent());
        let retry = if may_repeat { self.settings.retry } else { RetrySettings::NONE };
        let mut tried: Vec<usize> = Vec::new();
        let mut token = None;
        self.source.budget.record_call_now(self.started);
        loop {
            let began = Instant::now();
            let mut attempt = Attempt {
                started: began.duration_since(self.started),
                ..Attempt::default()
            };
            let result = self.attempt(began, &tried, upload.take(), &mut attempt).await;
            drop(token.take());
            let ended = Instant::now();
            attempt.took = ended.duration_since(began);
            let end = match &result {
                Ok(call) => {
                    let status = call.response.status();
                    attempt.status = Some(status);
                    AttemptEnd::Answered {
                        status,
                        retry_after: retry_after(status, || call.response.header("retry-after")),
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
            // Its place is given back before the rest.
            drop(result);
            tried.extend(endpoint);
            if !rest.is_zero() {
                Box::pin(self.deadline.within(rest).wait()).await;
            }
        }
    }

    async fn attempt(
        &self,
        now: Instant,
        tried: &[usize],
        upload: Option<Upload>,
        attempt: &mut Attempt,
    ) -> Result<StreamedCall<'s>, CallError> {
        if self.deadline.instant() <= now {
            return Err(CallError::new(Kind::Timeout, "the deadline had passed before it could be sent"));
        }
        let until = queue_until(self.source, self.deadline, now);
        if let Some(rate) = &self.source.rate {
            rate.acquire(until).await.map_err(|refused| too_fast(refused.wait))?;
            attempt.timings.rate = Some(now.elapsed());
        }
        let (slot, sent) = match self.source.in_flight.try_acquire() {
            Some(slot) => (slot, Instant::now()),
            None => {
                let queued = Instant::now();
                let waited = self.source.in_flight.acquire(until).await;
                let slot = waited.map_err(|refused| no_place(self.source, refused))?;
                attempt.timings.queue = Some(queued.elapsed());
                (slot, Instant::now())
            }
        };
        let picked = self.replicas.balance.pick(tried);
        attempt.endpoint = Some(picked.index());
        let endpoint = &self.replicas.endpoints[picked.index()];
        let timeout = self.settings.timeout;
        let limit = timeout.map_or(self.deadline, |timeout| self.deadline.earlier(Deadline::at(sent + timeout)));
        let marks = Marks::starting(sent);
        let (limits, timings) = (&self.settings.limits, &mut attempt.timings);
        let result = match upload {
            None => {
                let opened = self.client.open(endpoint, self.request, limits, &marks, timings);
                limit.bound_marked(&marks, opened).await
            }
            Some(upload) => {
                let opened = self.client.open_with(endpoint, self.request, upload, limits, &marks, timings);
                limit.bound_marked(&marks, opened).await
            }
        };
        let result = result.unwrap_or_else(|expired| Err(timed_out(expired, timeout, self.deadline)));
        if self.replicas.endpoints.len() > 1 {
            // What a long body takes says nothing about how soon the endpoint answers.
            picked.record(sent.elapsed(), result.as_ref().is_ok_and(|response| response.status() < 500));
        }
        result.map(|response| StreamedCall {
            response,
            source: self.source,
            _slot: slot,
        })
    }
}
