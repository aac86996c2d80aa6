//! The script of an upstream: what it answers to whom. Plain data with public fields, so that a file format can be put on top;
//! the methods are shorthands for tests. Following the script is left to `answer.rs`, serving it to `serve.rs`.

use crate::{Fault, Latency, Seen, When};
use bytes::Bytes;
use http::Method;
use std::{fmt, sync::Arc, time::Duration};

/// Describes an upstream: its name and the rules it follows.
///
/// The first rule that applies answers; a request that none applies to gets a 404 whose JSON body names the request and the rules.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    /// What errors and the 404 call it.
    pub name: String,
    /// The rules, in the order in which they are asked.
    pub replies: Vec<Reply>,
    /// The seed of latencies and error rates; the same seed and the same order of requests give the same run.
    pub seed: u64,
    /// How long a kept-alive connection may wait for its next request before the upstream closes it; forever when absent.
    pub idle: Option<Duration>,
}

impl Upstream {
    /// Describes an upstream without rules, which answers 404 to everything.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Appends a rule.
    #[must_use]
    pub fn reply(mut self, reply: Reply) -> Self {
        self.replies.push(reply);
        self
    }

    /// Sets the seed of latencies and error rates.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Closes kept-alive connections that have been idle for this long.
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = Some(idle);
        self
    }
}

/// Describes one rule of an upstream: which requests it answers, and how.
///
/// The default answers every request at once with an empty 200.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Which requests the rule answers.
    pub when: When,
    /// The status, written as it is over HTTP/1.1.
    pub status: u16,
    /// Headers, written as they are over HTTP/1.1 and in this order. The upstream adds `content-length`, `transfer-encoding` and
    /// `connection` unless they are here.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// How the end of the body is told over HTTP/1.1.
    pub framing: Framing,
    /// How long the reply is held back, counted from the moment the whole request has arrived.
    pub latency: Latency,
    /// How often another answer is given instead.
    pub errors: Errors,
    /// How many requests the rule answers before it no longer applies; all of them when absent.
    pub times: Option<u64>,
    /// What is done wrongly, to every request the rule answers.
    pub fault: Option<Fault>,
}

impl Default for Reply {
    fn default() -> Self {
        Self {
            when: When::default(),
            status: 200,
            headers: Vec::new(),
            body: Body::Empty,
            framing: Framing::Length,
            latency: Latency::default(),
            errors: Errors::default(),
            times: None,
            fault: None,
        }
    }
}

impl Reply {
    /// Answers every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Answers GET requests of a path; see [`When::path`] for what `*` means.
    pub fn get(path: impl Into<String>) -> Self {
        Self::on(Method::GET, path)
    }

    /// Answers POST requests of a path; see [`When::path`] for what `*` means.
    pub fn post(path: impl Into<String>) -> Self {
        Self::on(Method::POST, path)
    }

    /// Answers requests of a method and a path; see [`When::path`] for what `*` means.
    pub fn on(method: Method, path: impl Into<String>) -> Self {
        Self {
            when: When {
                method: Some(method),
                path: Some(path.into()),
                ..When::default()
            },
            ..Self::default()
        }
    }

    /// Answers requests of a path, whatever the method; see [`When::path`] for what `*` means.
    pub fn path(path: impl Into<String>) -> Self {
        Self {
            when: When {
                path: Some(path.into()),
                ..When::default()
            },
            ..Self::default()
        }
    }

    /// Applies only to requests with this pair in the query, as text before encoding; `*` stands for any value.
    #[must_use]
    pub fn when_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.when.query.push((name.into(), value.into()));
        self
    }

    /// Applies only to requests with this header; `*` stands for any value.
    #[must_use]
    pub fn when_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.when.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the status.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Answers with these bytes.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Bytes(body.into());
        self
    }

    /// Answers with these bytes, or with the part of them that is asked for; see [`Body::Ranges`].
    #[must_use]
    pub fn ranges(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Ranges(body.into());
        self
    }

    /// Answers with this text as `application/json`. The text is not checked.
    #[must_use]
    pub fn json(self, text: impl Into<String>) -> Self {
        self.header("content-type", "application/json").body(text.into())
    }

    /// Answers with a JSON object that describes the request; see [`Body::Echo`].
    #[must_use]
    pub fn echo(self) -> Self {
        let mut reply = self.header("content-type", "application/json");
        reply.body = Body::Echo;
        reply
    }

    /// Answers with what the function makes of the request.
    #[must_use]
    pub fn computed(mut self, function: impl Fn(&Seen) -> Bytes + Send + Sync + 'static) -> Self {
        self.body = Body::Computed(Arc::new(function));
        self
    }

    /// Answers with a chunked body whose pieces are sent one by one, `interval` apart.
    #[must_use]
    pub fn pieces<P: Into<Bytes>>(mut self, pieces: impl IntoIterator<Item = P>, interval: Duration) -> Self {
        self.body = Body::Pieces {
            pieces: pieces.into_iter().map(Into::into).collect(),
            interval,
        };
        self.framing = Framing::Chunked;
        self
    }

    /// Sets how the end of the body is told.
    #[must_use]
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Holds the reply back for a fixed time.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.latency(Latency::Fixed(delay))
    }

    /// Holds the reply back for a time drawn from a distribution.
    #[must_use]
    pub fn latency(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    /// Answers this fraction of the requests with an empty reply of another status.
    #[must_use]
    pub fn errors(mut self, rate: f64, status: u16) -> Self {
        self.errors = Errors {
            rate,
            status,
            ..Errors::default()
        };
        self
    }

    /// Applies to the first `times` requests only.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Does something wrong to every request the rule answers.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }
}

/// Says what the body of a reply is.
#[derive(Clone, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// These bytes, or the part of them that `Range` asks for: then the status is 206 or 416. `If-Range` is compared with the rule's
    /// `etag` and `last-modified`.
    Ranges(Bytes),
    /// A JSON object of what arrived: `method`, `path` and `query` as written (the query without `?`, empty when there is none),
    /// `headers` (an object, names in lower case, repeated values joined by `, `) and `body` (a string; bytes that are not UTF-8 are
    /// replaced).
    Echo,
    /// What a function makes of the request. It runs on the thread that serves the upstream, so it must not block.
    Computed(Arc<dyn Fn(&Seen) -> Bytes + Send + Sync>),
    /// Pieces sent one by one, for streams and server-sent events.
    Pieces {
        /// What is sent.
        pieces: Vec<Bytes>,
        /// The pause between two pieces.
        interval: Duration,
    },
}

impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("Empty"),
            Self::Bytes(bytes) => formatter.debug_tuple("Bytes").field(bytes).finish(),
            Self::Ranges(bytes) => formatter.debug_tuple("Ranges").field(bytes).finish(),
            Self::Echo => formatter.write_str("Echo"),
            Self::Computed(_) => formatter.write_str("Computed(..)"),
            Self::Pieces { pieces, interval } => formatter
                .debug_struct("Pieces")
                .field("pieces", pieces)
                .field("interval", interval)
                .finish(),
        }
    }
}

/// Says how the end of a body is told over HTTP/1.1 (RFC 9112, section 6). HTTP/2 frames its bodies itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// `content-length`; chunked where the length is not known.
    #[default]
    Length,
    /// `transfer-encoding: chunked`.
    Chunked,
    /// Neither: the connection is closed after the body.
    UntilClose,
}

/// Says how often a rule answers something else, and what. The default never does.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    /// The fraction of requests, from 0 to 1.
    pub rate: f64,
    /// The status they get, with an empty body.
    pub status: u16,
    /// The headers they get in place of the rule's, such as `retry-after`.
    pub headers: Vec<(String, String)>,
    /// What is done wrongly to them; with a fault, status and headers matter only where it still sends a reply.
    pub fault: Option<Fault>,
}

impl Default for Errors {
    fn default() -> Self {
        Self {
            rate: 0.0,
            status: 503,
            headers: Vec::new(),
            fault: None,
        }
    }
}
