//! What is known of an upstream from outside: the requests it saw and what it counted. Keeping them is left to `served.rs`.

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;

/// A request as the upstream saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When the whole of it had arrived, by tokio's clock.
    pub at: Instant,
    /// The method.
    pub method: Method,
    /// The request target as written; over HTTP/2 the `:path`.
    pub path_and_query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, without its framing.
    pub body: Bytes,
    /// The connection that carried it, counted from 1.
    pub connection: u64,
    /// How it went.
    pub ended: Ended,
}

/// Says how a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The reply is not complete yet.
    Pending,
    /// All that the script says was done then, faults included.
    Answered(Instant),
    /// The peer left then, or the server was stopped, before that.
    Cancelled(Instant),
}

impl Seen {
    /// Describes a request without headers and body that arrived now on no connection, to try a [`When`](crate::When) on.
    pub fn of(method: Method, path_and_query: impl Into<String>) -> Self {
        Self {
            at: Instant::now(),
            method,
            path_and_query: path_and_query.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            connection: 0,
            ended: Ended::Pending,
        }
    }

    /// Returns the path as written, without the query.
    pub fn path(&self) -> &str {
        self.path_and_query
            .split_once('?')
            .map_or(self.path_and_query.as_str(), |(path, _)| path)
    }

    /// Returns the query as written, without the question mark; empty when there is none.
    pub fn query(&self) -> &str {
        self.path_and_query.split_once('?').map_or("", |(_, query)| query)
    }

    /// Returns the first value of a header, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Tells whether the peer left before the reply was complete.
    pub fn cancelled(&self) -> bool {
        matches!(self.ended, Ended::Cancelled(_))
    }
}

/// What an upstream counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted so far.
    pub connections: u64,
    /// Connections open now.
    pub connections_open: u64,
    /// The most connections open at once so far.
    pub connections_open_max: u64,
    /// Requests that arrived whole so far.
    pub requests: u64,
    /// Requests whose reply is not complete now.
    pub requests_pending: u64,
    /// The most requests pending at once so far.
    pub requests_pending_max: u64,
    /// Requests whose peer left before the reply was complete.
    pub cancelled: u64,
    /// Requests refused because they were no proper HTTP; they are in none of the other counts.
    pub malformed: u64,
}
