//! Which attempt comes next: the retry scheduler as a pure decision, so that it can be tested without a clock or a network.
//!
//! Retry and hedge belong to one scheduler with one budget; the place for hedging is here.

use std::time::Duration;

use crate::{CallError, Kind};
use super::Backoff;

/// How many attempts a call may make and how long it rests between them.
#[derive(Clone, Copy, Debug)]
pub struct RetrySettings {
    /// Attempts after the first; 0 turns retries off.
    pub retries: u32,
    /// The rest before a retry.
    pub backoff: Backoff,
    /// The statuses that are worth another attempt.
    pub statuses: RetryStatuses,
}

/// Which of the statuses 429, 502, 503 and 504 are worth another attempt; no others ever are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryStatuses(u8);

impl RetryStatuses {
    /// All four.
    pub const ALL: RetryStatuses = RetryStatuses(0b1111);

    /// The same without one, for a caller to whom it is an answer like any other.
    pub fn without(self, status: u16) -> Self {
        RetryStatuses(self.0 & !Self::bit(status))
    }

    fn has(self, status: u16) -> bool {
        self.0 & Self::bit(status) != 0
    }

    fn bit(status: u16) -> u8 {
        match status {
            429 => 1,
            502 => 2,
            503 => 4,
            504 => 8,
            _ => 0,
        }
    }
}

/// How an attempt ended, as far as the scheduler cares.
#[derive(Clone, Copy, Debug)]
pub enum AttemptEnd<'a> {
    /// The source answered with this status, and asked to be left alone for a while or not.
    Answered {
        /// The status.
        status: u16,
        /// Its `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// No answer.
    Failed(&'a CallError),
}

/// What the scheduler decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This end is the call's end.
    Finish,
    /// Another attempt after this rest.
    Again(Duration),
}

impl RetrySettings {
    /// One retry, soon.
    pub const ONCE_MORE: RetrySettings = RetrySettings {
        retries: 1,
        backoff: Backoff::INTERACTIVE,
        statuses: RetryStatuses::ALL,
    };
    /// No retries.
    pub const NONE: RetrySettings = RetrySettings {
        retries: 0,
        ..RetrySettings::ONCE_MORE
    };

    /// Decides after the `made`-th attempt (1 is the first) of a call that may be sent twice.
    ///
    /// Another attempt is made when this end is worth one and the rest fits into what is `left` of the deadline. Worth one:
    /// no connection, a reset or cut answer, an attempt that timed out, 502, 503, 504, and 429 if it says when to come back.
    /// A peer's `Retry-After` is a floor for the rest. `endpoints` above one makes the first retry after a failed
    /// connection immediate: it goes elsewhere.
    pub fn next(&self, made: u32, end: AttemptEnd<'_>, left: Duration, endpoints: usize) -> Next {
        if made > self.retries {
            return Next::Finish;
        }
        let floor = match end {
            AttemptEnd::Answered { status, .. } if !self.statuses.has(status) => return Next::Finish,
            AttemptEnd::Answered { status: 502 | 504, .. } => Duration::ZERO,
            AttemptEnd::Answered { status: 503, retry_after } => retry_after.unwrap_or_default(),
            AttemptEnd::Answered {
                status: 429,
                retry_after: Some(wait),
            } => wait,
            AttemptEnd::Answered { .. } => return Next::Finish,
            AttemptEnd::Failed(error) if !error.is_retryable() => return Next::Finish,
            AttemptEnd::Failed(error) if error.kind() == Kind::Connect && endpoints > 1 && made == 1 => return Next::Again(Duration::ZERO),
            AttemptEnd::Failed(error) => error.retry_after().unwrap_or_default(),
        };
        let rest = floor.max(self.backoff.wait(made));
        if rest >= left { Next::Finish } else { Next::Again(rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(2);
    const TWICE: RetrySettings = RetrySettings::ONCE_MORE;

    fn answered(status: u16, retry_after: Option<Duration>) -> AttemptEnd<'static> {
        AttemptEnd::Answered { status, retry_after }
    }

    fn again(next: Next) -> bool {
        matches!(next, Next::Again(_))
    }

    #[test]
    fn gateway_errors_are_worth_another_attempt_and_client_errors_are_not() {
        for status in [502, 503, 504] {
            assert!(again(TWICE.next(1, answered(status, None), LEFT, 1)), "{status}");
        }
        for status in [200, 204, 301, 400, 404, 409, 500, 501] {
            assert_eq!(TWICE.next(1, answered(status, None), LEFT, 1), Next::Finish, "{status}");
        }
    }

    #[test]
    fn a_status_that_the_caller_takes_for_an_answer_ends_the_call() {
        let settings = RetrySettings {
            statuses: RetryStatuses::ALL.without(503).without(404),
            ..TWICE
        };
        assert_eq!(settings.next(1, answered(503, None), LEFT, 1), Next::Finish);
        assert!(again(settings.next(1, answered(502, None), LEFT, 1)));
    }

    #[test]
    fn the_last_attempt_is_the_last() {
        assert_eq!(TWICE.next(2, answered(503, None), LEFT, 1), Next::Finish);
        assert_eq!(RetrySettings::NONE.next(1, answered(503, None), LEFT, 1), Next::Finish);
    }

    #[test]
    fn too_many_requests_is_retried_only_when_it_says_when() {
        assert_eq!(TWICE.next(1, answered(429, None), LEFT, 1), Next::Finish);
        let said = Duration::from_secs(1);
        match TWICE.next(1, answered(429, Some(said)), LEFT, 1) {
            Next::Again(rest) => assert!(rest >= said),
            Next::Finish => panic!("a wait that fits is kept"),
        }
    }

    #[test]
    fn a_rest_that_does_not_fit_the_deadline_ends_the_call() {
        assert_eq!(TWICE.next(1, answered(503, Some(Duration::from_secs(3))), LEFT, 1), Next::Finish);
        assert_eq!(TWICE.next(1, answered(503, None), Duration::ZERO, 1), Next::Finish);
    }

    #[test]
    fn a_refused_connection_goes_elsewhere_at_once() {
        let refused = CallError::new(Kind::Connect, "refused");
        assert_eq!(TWICE.next(1, AttemptEnd::Failed(&refused), LEFT, 2), Next::Again(Duration::ZERO));
    }

    #[test]
    fn faults_that_repeat_are_not_retried() {
        for kind in [
            Kind::Decode,
            Kind::TooLarge,
            Kind::Tls,
            Kind::Protocol,
            Kind::Limit,
            Kind::Breaker,
            Kind::Value,
        ] {
            let error = CallError::new(kind, "");
            assert_eq!(TWICE.next(1, AttemptEnd::Failed(&error), LEFT, 1), Next::Finish, "{kind}");
        }
    }
}
