//! What an upstream has decided to do with one request: the rule that applies, with its dice thrown and its body made.

use crate::{Body, Errors, Fault, Framing, Reply, Seen, Upstream, echo, flow::Flow, gzip, ranges::Part};
use bytes::Bytes;
use fastrand::Rng;
use std::time::Duration;

/// A reply ready to be sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) flow: Flow,
    pub(crate) framing: Framing,
    /// How long the reply is held back.
    pub(crate) delay: Duration,
    pub(crate) fault: Option<Fault>,
}

/// What is decided while the script is locked; the body is made after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    /// The index of the rule.
    pub(crate) rule: usize,
    delay: Duration,
    fails: bool,
}

impl Choice {
    /// Picks the rule for a request and throws its dice. `used` counts what each rule has answered so far.
    pub(crate) fn make(upstream: &Upstream, used: &mut [u64], rng: &mut Rng, request: &Seen) -> Option<Self> {
        let applies = |(reply, used): (&Reply, &u64)| reply.times.is_none_or(|times| *used < times) && reply.when.matches(request);
        let rule = upstream.replies.iter().zip(used.iter()).position(applies)?;
        used[rule] += 1;
        let reply = &upstream.replies[rule];
        // Always two draws in the same order, so that changing a rate does not change the latencies.
        let fails = rng.f64() < reply.errors.rate;
        let delay = reply.latency.sample(rng);
        Some(Self { rule, delay, fails })
    }
}

impl Answer {
    /// Makes the answer to a request.
    pub(crate) fn new(upstream: &Upstream, choice: Option<Choice>, request: &Seen) -> Self {
        match choice {
            None => Self::unmatched(upstream, request),
            Some(choice) if choice.fails => Self::failure(&upstream.replies[choice.rule].errors, choice.delay),
            Some(choice) => Self::as_scripted(&upstream.replies[choice.rule], choice.delay, request),
        }
        .with_flow_of_fault()
    }

    fn as_scripted(reply: &Reply, delay: Duration, request: &Seen) -> Self {
        let mut answer = Self {
            status: reply.status,
            headers: reply.headers.clone(),
            flow: body_flow(&reply.body, request),
            framing: reply.framing,
            delay,
            fault: reply.fault.clone(),
        };
        if let Body::Ranges(whole) = &reply.body {
            let header = |name: &str| reply.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            let value = |name: &str| header(name).map(|(_, value)| value.as_str());
            let part = Part::of(whole, request, value("etag"), value("last-modified"));
            answer.status = part.status;
            answer.headers.extend(part.headers);
            answer.flow = Flow::whole(part.body);
        }
        answer
    }

    fn failure(errors: &Errors, delay: Duration) -> Self {
        Self {
            status: errors.status,
            headers: errors.headers.clone(),
            flow: Flow::whole(Bytes::new()),
            framing: Framing::Length,
            delay,
            fault: errors.fault.clone(),
        }
    }

    fn unmatched(upstream: &Upstream, request: &Seen) -> Self {
        Self {
            status: 404,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            flow: Flow::whole(echo::unmatched(upstream, request)),
            framing: Framing::Length,
            delay: Duration::ZERO,
            fault: None,
        }
    }

    /// Applies the faults that are only another body or other headers, so that every wire shares them.
    fn with_flow_of_fault(mut self) -> Self {
        match self.fault {
            Some(Fault::DripBody { interval }) => self.flow = self.flow.byte_by_byte(interval),
            Some(Fault::BigBody { size }) => self.flow = Flow::big(size),
            Some(Fault::EndlessChunks) => {
                self.flow = Flow::endless();
                self.framing = Framing::Chunked;
            }
            Some(Fault::GzipBomb { decoded }) => {
                self.headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
                self.flow = Flow::whole(gzip::bomb(decoded));
            }
            Some(Fault::HeaderFlood { headers, value_length }) => {
                self.headers
                    .extend((0..headers).map(|number| (format!("x-flood-{number}"), "x".repeat(value_length))));
            }
            _ => {}
        }
        self
    }
}

fn body_flow(body: &Body, request: &Seen) -> Flow {
    match body {
        Body::Empty => Flow::whole(Bytes::new()),
        Body::Bytes(bytes) | Body::Ranges(bytes) => Flow::whole(bytes.clone()),
        Body::Echo => Flow::whole(echo::echo(request)),
        Body::Computed(function) => Flow::whole(function(request)),
        Body::Pieces { pieces, interval } => Flow::listed(pieces.clone(), *interval),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Latency;
    use http::Method;

    fn choices(upstream: &Upstream, requests: usize) -> Vec<Option<Choice>> {
        let mut used = vec![0; upstream.replies.len()];
        let mut rng = Rng::with_seed(upstream.seed);
        (0..requests)
            .map(|_| Choice::make(upstream, &mut used, &mut rng, &Seen::of(Method::GET, "/x")))
            .collect()
    }

    #[test]
    fn the_first_rule_that_still_applies_answers() {
        let upstream = Upstream::new("x")
            .reply(Reply::get("/y"))
            .reply(Reply::get("/x").times(2))
            .reply(Reply::get("/x").times(1).status(503));
        let rules: Vec<Option<usize>> = choices(&upstream, 4)
            .iter()
            .map(|choice| choice.map(|choice| choice.rule))
            .collect();
        assert_eq!(rules, [Some(1), Some(1), Some(2), None]);
    }

    #[test]
    fn an_error_rate_is_met_and_leaves_the_latencies_alone() {
        let latency = Latency::Uniform {
            from: Duration::ZERO,
            to: Duration::from_secs(1),
        };
        let with_rate = |rate| Upstream::new("x").seed(11).reply(Reply::any().latency(latency).errors(rate, 503));
        let fails = |upstream: &Upstream| choices(upstream, 10_000).iter().flatten().filter(|choice| choice.fails).count();
        let delays = |upstream: &Upstream| {
            choices(upstream, 100)
                .iter()
                .flatten()
                .map(|choice| choice.delay)
                .collect::<Vec<_>>()
        };
        assert_eq!(fails(&with_rate(0.0)), 0);
        assert_eq!(fails(&with_rate(1.0)), 10_000);
        assert!((2_800..3_200).contains(&fails(&with_rate(0.3))));
        assert_eq!(delays(&with_rate(0.0)), delays(&with_rate(0.9)));
    }
}
