//! One call through its policies, outermost first: attempts under the source's budget; in each the rate, a place in flight, and
//! then the server. As with HTTP, an attempt's own timeout starts behind our queues.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::command::Command;
use super::node::Question;
use super::reply::ReplyLimits;
use super::{RedisSettings, Servers, Shared};
use crate::client::Timings;
use crate::policy::{AttemptEnd, Next, Refused, RetrySettings, Slot};
use crate::{Attempt, CallError, CallReport, Client, Deadline, Kind, Phase};

/// What all attempts of a call have in common.
#[derive(Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) client: &'a Client,
    pub(super) words: &'a [Bytes],
    pub(super) command: &'a Command,
    pub(super) settings: &'a RedisSettings,
    pub(super) deadline: Deadline,
    pub(super) started: Instant,
}

impl Shared {
    /// Attempts until one settles the call.
    pub(super) async fn attempts(&self, sending: Sending<'_>, report: &mut CallReport) -> Result<Bytes, CallError> {
        let Sending {
            command,
            settings,
            deadline,
            ..
        } = sending;
        let mut token = None;
        self.budget.record_call();
        loop {
            let (result, attempt) = self.one_attempt(sending).await;
            drop(token.take());
            report.attempts.push(attempt);
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // To find a connection again is the matter of its task; whoever has none hears so at once.
            let may_repeat = error.kind() != Kind::Connect && (settings.idempotent || command.is_read || !error.was_sent());
            let retry = if may_repeat { settings.retry } else { RetrySettings::NONE };
            let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
            let Next::Again(rest) = retry.next(made, AttemptEnd::Failed(&error), deadline.left(), 1) else {
                return Err(error);
            };
            token = self.budget.withdraw();
            if token.is_none() {
                return Err(error);
            }
            deadline.within(rest).wait().await;
            if deadline.has_passed() {
                return Err(error);
            }
        }
    }

    async fn one_attempt(&self, sending: Sending<'_>) -> (Result<Bytes, CallError>, Attempt) {
        let started = Instant::now();
        let mut timings = Timings::default();
        let result = self.ask(sending, &mut timings).await;
        let kind = result.as_ref().err().map(CallError::kind);
        let attempt = Attempt {
            started: started.duration_since(sending.started),
            took: started.elapsed(),
            endpoint: None,
            status: None,
            kind,
            timings,
        };
        (result, attempt)
    }

    async fn ask(&self, sending: Sending<'_>, timings: &mut Timings) -> Result<Bytes, CallError> {
        let Sending {
            client,
            words,
            command,
            settings,
            deadline,
            ..
        } = sending;
        if deadline.has_passed() {
            return Err(CallError::new(Kind::Timeout, "the deadline had passed before it could be sent"));
        }
        let _place = self.place(deadline, timings).await?;
        let limits = ReplyLimits {
            max_body: usize::try_from(settings.max_body).unwrap_or(usize::MAX),
            binary: settings.binary,
            with_ends: false,
        };
        let question = Question {
            client,
            command,
            limits,
            deadline,
            timeout: settings.timeout,
            until: settings.timeout.map_or(deadline, |timeout| deadline.within(timeout)),
            is_alone: false,
            is_asking: false,
        };
        match &self.servers {
            Servers::One(node) => node.ask(question, timings).await,
            Servers::Cluster(cluster) => cluster.ask(question, words, timings).await,
        }
    }

    /// Waits for a token of the rate, then for a place in flight.
    async fn place(&self, deadline: Deadline, timings: &mut Timings) -> Result<Slot<'_>, CallError> {
        let queued = Instant::now();
        let until = deadline.within(self.queue_wait.min(deadline.left() / 4));
        if let Some(rate) = &self.rate {
            let too_fast = |wait| {
                CallError::new(Kind::Limit, "the rate of this source is used up")
                    .in_phase(Phase::Rate)
                    .retry_in(wait)
            };
            rate.acquire(until).await.map_err(|refused| too_fast(refused.wait))?;
            timings.rate = Some(queued.elapsed());
        }
        if let Some(place) = self.in_flight.try_acquire() {
            return Ok(place);
        }
        let queued = Instant::now();
        let place = self.in_flight.acquire(until).await.map_err(|refused| self.no_place(refused))?;
        timings.queue = Some(queued.elapsed());
        Ok(place)
    }

    fn no_place(&self, refused: Refused) -> CallError {
        let max = self.in_flight.max();
        let detail = match refused {
            Refused::QueueFull => format!("all {max} places in flight are taken and the queue is full"),
            Refused::TimedOut => format!("all {max} places in flight stayed taken"),
        };
        CallError::new(Kind::Limit, detail)
            .in_phase(Phase::Queue)
            .retry_in(Duration::from_secs(1))
    }
}
