//! Why a job waits, for a person.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::host::Outlook;
use super::rules::HostRules;
use super::{Bucket, Schedule};

/// What a host waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Nothing.
    None,
    /// A place among all jobs.
    Concurrency,
    /// A token of the rate of all jobs.
    GlobalRate,
    /// A place of its own.
    Places,
    /// A token of its own rate.
    Rate,
    /// The delay since its last start.
    Delay,
    /// The back-off after it refused or failed.
    Backoff,
    /// The time for which it asked to be left alone.
    RetryAfter,
    /// All that is left are retries whose time has not come.
    Retry,
    /// Retries would be too large a share of its requests.
    RetryBudget,
    /// It failed for too long: its jobs are not tried any more.
    GivenUp,
}

impl Reason {
    /// As it stands in progress lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::None => "none",
            Reason::Concurrency => "concurrency",
            Reason::GlobalRate => "rate",
            Reason::Places => "host places",
            Reason::Rate => "host rate",
            Reason::Delay => "host delay",
            Reason::Backoff => "backoff",
            Reason::RetryAfter => "retry-after",
            Reason::Retry => "retry",
            Reason::RetryBudget => "retry budget",
            Reason::GivenUp => "given up",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host whose jobs wait for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The host, as URLs write it.
    pub host: Arc<str>,
    /// What it waits for.
    pub reason: Reason,
    /// For how much longer, where that is known.
    pub wait: Option<Duration>,
    /// Its jobs that wait.
    pub queued: u64,
    /// Its requests in flight.
    pub in_flight: usize,
}

/// Which limits apply to a host, and why a job of it would wait.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The host, as URLs write it.
    pub host: String,
    /// What was set for it.
    pub rules: HostRules,
    /// Requests in flight over all hosts, at most.
    pub concurrency: usize,
    /// Starts a second over all hosts.
    pub rate: Option<f64>,
    /// Between two starts now: what was set, what robots.txt asks for, or what was learned from refusals.
    pub delay: Duration,
    /// Requests in flight to it, at most, now.
    pub limit: usize,
    /// Requests in flight to it.
    pub in_flight: usize,
    /// Jobs that wait for it.
    pub queued: u64,
    /// What a job would wait for.
    pub reason: Reason,
    /// For how long, where that is known.
    pub wait: Option<Duration>,
    /// For how long it has failed without an answer.
    pub failing_for: Option<Duration>,
}

impl<T> Schedule<T> {
    /// Which limits apply to a host, and why a job of it waits or would wait.
    pub fn explain(&self, host: &str, now: Instant) -> Explanation {
        let rules = self.rules.of(host);
        let mut explanation = Explanation {
            host: host.to_string(),
            concurrency: self.rules.concurrency,
            rate: self.rules.rate,
            delay: rules.delay,
            limit: if self.rules.is_adaptive {
                rules.in_flight.min(2)
            } else {
                rules.in_flight
            },
            rules,
            in_flight: 0,
            queued: 0,
            reason: Reason::None,
            wait: None,
            failing_for: None,
        };
        let known = self.by_name.get(host).and_then(|number| self.hosts[*number].as_ref());
        if let Some(host) = known {
            explanation.delay = host.delay();
            explanation.limit = host.limit();
            explanation.in_flight = host.in_flight;
            explanation.queued = host.queued() as u64 + host.spilled;
            explanation.failing_for = host.failing_for(now);
            if host.is_given_up {
                explanation.reason = Reason::GivenUp;
                return explanation;
            }
            match host.outlook(now, &self.rules) {
                Outlook::From(from, reason) => {
                    explanation.reason = reason;
                    explanation.wait = Some(from.saturating_duration_since(now)).filter(|wait| !wait.is_zero());
                }
                Outlook::After(reason) => explanation.reason = reason,
                Outlook::Nothing => {}
            }
        }
        if explanation.reason == Reason::None {
            let ready_at = self.rate.as_ref().map(Bucket::ready_at).filter(|ready_at| *ready_at > now);
            if self.in_flight >= self.rules.concurrency {
                explanation.reason = Reason::Concurrency;
            } else if let Some(ready_at) = ready_at {
                explanation.reason = Reason::GlobalRate;
                explanation.wait = Some(ready_at.duration_since(now));
            }
        }
        explanation
    }

    /// The hosts for which the most jobs wait because of the host itself: its clocks, its rate, its failures. At most `count`.
    pub fn held(&self, count: usize, now: Instant) -> Vec<Held> {
        let mut held: Vec<Held> = Vec::new();
        for host in self.hosts.iter().flatten() {
            let (reason, wait) = match host.outlook(now, &self.rules) {
                _ if host.is_given_up => (Reason::GivenUp, None),
                Outlook::From(from, reason) if from > now => (reason, Some(from.duration_since(now))),
                Outlook::After(reason) => (reason, None),
                _ => continue,
            };
            held.push(Held {
                host: host.name.clone(),
                reason,
                wait,
                queued: host.queued() as u64 + host.spilled,
                in_flight: host.in_flight,
            });
        }
        held.sort_by(|one, other| other.queued.cmp(&one.queued).then_with(|| one.host.cmp(&other.host)));
        held.truncate(count);
        held
    }
}

impl fmt::Display for Explanation {
    /// One line for each limit, then one for what is waited for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host {}", self.host)?;
        match &self.rules.pattern {
            Some(pattern) => writeln!(f, "  limits of `{pattern}`")?,
            None => writeln!(f, "  limits of the run")?,
        }
        writeln!(
            f,
            "  in flight {} of {} (all hosts: at most {})",
            self.in_flight, self.limit, self.concurrency
        )?;
        if self.limit < self.rules.in_flight {
            writeln!(f, "  lowered from {} by what it answered", self.rules.in_flight)?;
        }
        if let Some(rate) = self.rules.rate {
            writeln!(f, "  at most {rate} starts a second")?;
        }
        if let Some(rate) = self.rate {
            writeln!(f, "  all hosts: at most {rate} starts a second")?;
        }
        if !self.delay.is_zero() {
            writeln!(f, "  {:?} between two starts", self.delay)?;
        }
        if let Some(failing_for) = self.failing_for {
            writeln!(f, "  no answer for {failing_for:.1?}")?;
        }
        writeln!(f, "  {} jobs wait", self.queued)?;
        match (self.reason, self.wait) {
            (Reason::None, _) => writeln!(f, "  a job would start now"),
            (reason, Some(wait)) => writeln!(f, "  a job waits for: {reason}, {wait:.1?} more"),
            (reason, None) => writeln!(f, "  a job waits for: {reason}"),
        }
    }
}
