//! What holds for which host: the settings of a run, taken apart once. The most exact pattern wins; finding it costs one look-up for each
//! label of the name, however long the list is.

use std::collections::HashMap;
use std::time::Duration;

use crate::options::{HostLimit, LimitOptions, RetryOptions};

/// The rules of a schedule.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Requests in flight, over all hosts; at least 1.
    pub(super) concurrency: usize,
    /// Starts a second, over all hosts.
    pub(super) rate: Option<f64>,
    /// Whether each host's concurrency is found by trying.
    pub(super) is_adaptive: bool,
    /// What holds for a host that no pattern names.
    default: HostRules,
    /// `example.com`, in lower case.
    exact: HashMap<Box<str>, HostLimit>,
    /// `*.example.com`, kept as `example.com`.
    below: HashMap<Box<str>, HostLimit>,
    pub(super) backoff_base: Duration,
    pub(super) backoff_cap: Duration,
    /// The longest wait that a host may ask for.
    pub(super) longest_pause: Duration,
    pub(super) give_up: Duration,
    /// Retries as a share of the starts at a host.
    pub(super) retry_share: f64,
}

/// What holds for one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRules {
    /// Requests in flight; at least 1.
    pub in_flight: usize,
    /// Starts a second.
    pub rate: Option<f64>,
    /// Between two starts.
    pub delay: Duration,
    /// The pattern that said so, where one did.
    pub pattern: Option<String>,
}

impl Rules {
    /// The rules that these options make.
    pub fn new(limits: &LimitOptions, retry: &RetryOptions) -> Self {
        let mut exact = HashMap::new();
        let mut below = HashMap::new();
        for limit in &limits.hosts {
            match limit.pattern.strip_prefix("*.") {
                Some(parent) => below.insert(parent.into(), limit.clone()),
                None => exact.insert(limit.pattern.as_str().into(), limit.clone()),
            };
        }
        Rules {
            concurrency: limits.concurrency.max(1),
            rate: limits.rate,
            is_adaptive: limits.adaptive,
            default: HostRules {
                in_flight: limits.per_host.max(1),
                rate: limits.host_rate,
                delay: limits.host_delay.unwrap_or_default(),
                pattern: None,
            },
            exact,
            below,
            backoff_base: retry.backoff_base.max(Duration::from_millis(1)),
            backoff_cap: retry.backoff_cap.max(retry.backoff_base),
            longest_pause: retry.max_retry_after,
            give_up: retry.host_give_up,
            retry_share: retry.budget.clamp(0.0, 1.0),
        }
    }

    /// What holds for a host, given as a URL writes it, with or without its port.
    pub fn of(&self, host: &str) -> HostRules {
        let mut rules = self.default.clone();
        if let Some(limit) = self.find(host) {
            rules.in_flight = limit.in_flight.unwrap_or(rules.in_flight).max(1);
            rules.rate = limit.rate.or(rules.rate);
            rules.delay = limit.delay.unwrap_or(rules.delay);
            rules.pattern = Some(limit.pattern.clone());
        }
        rules
    }

    fn find(&self, host: &str) -> Option<&HostLimit> {
        if self.exact.is_empty() && self.below.is_empty() {
            return None;
        }
        // With its port first: `localhost:8080` is more exact than `localhost`.
        let name = without_port(host);
        let exact = self.exact.get(host).or_else(|| self.exact.get(name));
        exact.or_else(|| {
            let mut rest = name;
            while let Some((_label, parent)) = rest.split_once('.') {
                if let Some(limit) = self.below.get(parent) {
                    return Some(limit);
                }
                rest = parent;
            }
            None
        })
    }
}

/// The name alone. An IPv6 address stands in brackets, so a colon behind them begins a port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(pattern: &str, in_flight: usize) -> HostLimit {
        HostLimit {
            pattern: pattern.into(),
            in_flight: Some(in_flight),
            rate: None,
            delay: None,
        }
    }

    #[test]
    fn the_most_exact_pattern_wins() {
        let limits = LimitOptions {
            hosts: vec![
                limit("*.example.com", 2),
                limit("*.b.example.com", 3),
                limit("a.b.example.com", 4),
                limit("localhost:8080", 5),
            ],
            ..LimitOptions::default()
        };
        let rules = Rules::new(&limits, &RetryOptions::default());
        let in_flight = |host: &str| rules.of(host).in_flight;
        assert_eq!(in_flight("x.example.com"), 2);
        assert_eq!(in_flight("x.example.com:8443"), 2);
        assert_eq!(in_flight("x.y.b.example.com"), 3);
        assert_eq!(in_flight("a.b.example.com"), 4);
        assert_eq!(in_flight("example.com"), 16, "a star stands for at least one label");
        assert_eq!(in_flight("notexample.com"), 16);
        assert_eq!((in_flight("localhost:8080"), in_flight("localhost")), (5, 16));
        assert_eq!(in_flight("[::1]:80"), 16);
        assert_eq!(rules.of("x.example.com").pattern.as_deref(), Some("*.example.com"));
    }

    #[test]
    fn no_host_is_limited_to_nothing() {
        let limits = LimitOptions {
            concurrency: 0,
            per_host: 0,
            hosts: vec![limit("a", 0)],
            ..LimitOptions::default()
        };
        let rules = Rules::new(&limits, &RetryOptions::default());
        assert_eq!((rules.concurrency, rules.of("a").in_flight, rules.of("b").in_flight), (1, 1, 1));
    }
}
