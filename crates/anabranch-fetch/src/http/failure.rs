//! What the engine's errors mean for a record: an outcome, and in more detail a failure.

use anabranch::{CallError, Expired, Kind, Phase};

use crate::Outcome;
use crate::record::Failure;

/// How an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) outcome: Outcome,
    pub(crate) failure: Failure,
    /// Whether the request may have reached the peer.
    pub(crate) was_sent: bool,
    /// Whether it says something of the host: it did not, or not properly, answer.
    pub(crate) blames_host: bool,
}

impl Failed {
    /// One of our own making: the request was never sent, and no other attempt would end otherwise.
    pub(crate) fn ours(outcome: Outcome, kind: &str, message: impl Into<String>) -> Self {
        Failed {
            outcome,
            failure: Failure {
                kind: kind.into(),
                phase: None,
                message: message.into(),
                retryable: false,
            },
            was_sent: false,
            blames_host: false,
        }
    }

    /// An error of the engine.
    pub(crate) fn of(error: &CallError) -> Self {
        let outcome = outcome(error);
        let kind = match (error.kind(), error.phase()) {
            (Kind::Timeout, Some(phase)) => timeout_of(phase),
            (Kind::Limit, _) => "limit",
            _ => outcome.as_str(),
        };
        Failed {
            outcome,
            failure: Failure {
                kind: kind.into(),
                phase: error.phase().map(phase_name),
                message: message(error),
                retryable: is_retryable(outcome),
            },
            was_sent: error.was_sent(),
            blames_host: !matches!(
                outcome,
                Outcome::TooLarge | Outcome::Decode | Outcome::Invalid | Outcome::PrivateAddress
            ) && error.kind() != Kind::Limit,
        }
    }

    /// The time of an attempt or of one of its phases ran out. `whose` is the limit that ended the whole attempt: `timeout` or
    /// `job_timeout`.
    pub(crate) fn expired(expired: Expired, whose: &'static str) -> Self {
        let (kind, message) = match (expired.by_phase, expired.phase) {
            (true, Some(phase)) => (timeout_of(phase), format!("no {} in time", waited_for(phase))),
            _ if whose == "job_timeout" => (whose, "the job took longer than `--job-timeout`".to_owned()),
            _ => (whose, format!("the attempt took longer than `--{}`", whose.replace('_', "-"))),
        };
        // Up to a connection nothing was sent.
        let was_sent = matches!(expired.phase, Some(Phase::FirstByte | Phase::Body));
        Failed {
            outcome: Outcome::Timeout,
            failure: Failure {
                kind: kind.into(),
                phase: expired.phase.map(phase_name),
                message,
                retryable: whose != "job_timeout" || expired.by_phase,
            },
            was_sent,
            blames_host: true,
        }
    }
}

fn outcome(error: &CallError) -> Outcome {
    match error.kind() {
        Kind::Timeout => Outcome::Timeout,
        Kind::Dns => Outcome::Dns,
        Kind::Tls => Outcome::Tls,
        Kind::Reset => Outcome::Reset,
        Kind::Truncated => Outcome::Truncated,
        Kind::Protocol => Outcome::Protocol,
        Kind::Decode => Outcome::Decode,
        Kind::TooLarge => Outcome::TooLarge,
        Kind::Value => Outcome::Invalid,
        Kind::PrivateAddress => Outcome::PrivateAddress,
        _ => Outcome::Connect,
    }
}

/// What another attempt may change. A certificate, a protocol, a size stay as they are.
fn is_retryable(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Timeout | Outcome::Dns | Outcome::Connect | Outcome::Reset | Outcome::Truncated
    )
}

fn timeout_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Pool => "pool_timeout",
        Phase::Dns => "dns_timeout",
        Phase::Connect | Phase::Tls => "connect_timeout",
        Phase::FirstByte => "first_byte_timeout",
        Phase::Body => "idle_timeout",
        _ => "timeout",
    }
}

fn waited_for(phase: Phase) -> &'static str {
    match phase {
        Phase::Dns => "address",
        Phase::FirstByte => "answer",
        Phase::Body => "piece of the body",
        _ => "connection",
    }
}

/// As records spell phases: one word.
pub(crate) fn phase_name(phase: Phase) -> String {
    phase.as_str().replace(' ', "_")
}

fn message(error: &CallError) -> String {
    match error.detail() {
        "" => error.kind().as_str().replace('_', " "),
        detail => detail.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_fired_is_named() {
        let by_phase = |phase| {
            Failed::expired(
                Expired {
                    phase: Some(phase),
                    by_phase: true,
                },
                "timeout",
            )
        };
        assert_eq!(by_phase(Phase::FirstByte).failure.kind, "first_byte_timeout");
        assert_eq!(by_phase(Phase::Body).failure.kind, "idle_timeout");
        let whole = Expired {
            phase: Some(Phase::Body),
            by_phase: false,
        };
        let of_job = Failed::expired(whole, "job_timeout");
        assert_eq!((of_job.failure.kind.as_str(), of_job.failure.retryable), ("job_timeout", false));
        assert!(of_job.failure.message.contains("--job-timeout"));
        assert!(Failed::expired(whole, "timeout").failure.retryable);
    }

    #[test]
    fn every_kind_has_an_outcome_that_fails() {
        for kind in Kind::ALL {
            let failed = Failed::of(&CallError::new(kind, "x"));
            assert!(!failed.outcome.is_fine(), "{kind}");
        }
        assert!(!Failed::of(&CallError::new(Kind::Tls, "x")).failure.retryable);
        assert!(Failed::of(&CallError::new(Kind::Connect, "x")).failure.retryable);
        assert!(!Failed::of(&CallError::new(Kind::Limit, "x")).blames_host, "our own shortage");
    }
}
