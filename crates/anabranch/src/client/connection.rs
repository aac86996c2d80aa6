//! One open connection, or one stream of a shared one: what an exchange is asked of.

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use http::{HeaderMap, Method, StatusCode};

use super::body::{Coding, Collector, Framing, WireLimits};
use super::endpoint::Endpoint;
use super::facts::Spoken;
use super::http1::{Http1, Http1Reading};
use super::http2::{Http2Reading, Http2Stream};
use super::request::Request;
use super::response::Headers;
use super::timings::Timings;
use super::upload::Upload;
use crate::{CallError, Kind, Marks, Phase};

/// Headers of an answer; hyper's own limit for HTTP/1.1, kept for HTTP/2 as well.
pub(super) const MAX_HEADERS: usize = 100;
/// Bytes of an answer's head, interim answers apart.
pub(super) const MAX_HEAD: usize = 64 << 10;

/// A connection that its holder may use for one exchange. Dropping it unused or in the middle closes an HTTP/1.1 connection
/// and resets an HTTP/2 stream.
pub(super) enum Connection {
    Http1(Box<Http1>),
    Http2(Http2Stream),
}

/// What one exchange is about.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) request: &'a Request,
    pub(super) limits: &'a WireLimits,
    pub(super) marks: &'a Marks,
    /// When it began, over a connection that was there; a new one came later.
    pub(super) at: Instant,
}

/// A whole answer, its body not yet decoded: the connection need not be held for that.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) coding: Coding,
    pub(super) spoken: Spoken,
    pub(super) body: Bytes,
    /// How long the peer keeps an idle connection, where it says so.
    pub(super) keep_alive: Option<Duration>,
    /// When its last byte was there.
    pub(super) ended_at: Instant,
}

/// An answer whose head is there and whose body is still to come.
pub(super) struct Begun {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) coding: Coding,
    pub(super) spoken: Spoken,
    /// The length of the body that follows, where it is announced.
    pub(super) length: Option<u64>,
    pub(super) keep_alive: Option<Duration>,
    pub(super) head_at: Instant,
    pub(super) reading: Reading,
}

/// The state of a body that is read piece by piece.
pub(super) enum Reading {
    Http1(Box<Http1Reading>),
    Http2(Box<Http2Reading>),
}

/// The most that one piece of a streamed body has.
pub(super) const PIECE: usize = 64 << 10;

/// An exchange that failed, and how far it had come.
pub(super) struct Failure {
    pub(super) error: CallError,
    pub(super) reached: Reached,
}

/// How far an exchange came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// The peer saw nothing of the request, or says that it did nothing about it.
    Unsent,
    /// Bytes of the request left, none of an answer came.
    Unanswered,
    /// The answer began.
    Answered,
}

/// What opening a connection took, told by the exchange that it was opened for; and where it leads.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opened {
    pub(super) remote: Option<SocketAddr>,
    pub(super) dns: Option<Duration>,
    pub(super) connect: Option<Duration>,
    pub(super) tls: Option<Duration>,
}

impl Connection {
    /// Whether it served an exchange before; if so, the peer may have closed it just now.
    pub(super) fn is_reused(&self) -> bool {
        match self {
            Connection::Http1(connection) => connection.is_reused(),
            Connection::Http2(stream) => stream.is_reused(),
        }
    }

    pub(super) fn opened(&self) -> &Opened {
        match self {
            Connection::Http1(connection) => connection.opened(),
            Connection::Http2(stream) => stream.opened(),
        }
    }

    /// Sends the request and reads the answer to its end. What is not the usual way is in a box: a waiting call is as large as the
    /// largest of its ways.
    ///
    /// Not to be called twice unless the pool had the connection meanwhile.
    pub(super) async fn exchange(&mut self, exchange: Exchange<'_>, timings: &mut Timings) -> Result<Answer, Failure> {
        match self {
            Connection::Http1(connection) => connection.exchange(exchange, timings).await,
            Connection::Http2(stream) => Box::pin(stream.exchange(exchange, timings)).await,
        }
    }

    /// Sends the request and reads the answer's head. An upload goes on while the body is read. It is put back where it was if this
    /// fails and nothing of it was taken.
    pub(super) async fn open(
        &mut self,
        exchange: Exchange<'_>,
        upload: &mut Option<Upload>,
        timings: &mut Timings,
    ) -> Result<Begun, Failure> {
        match self {
            Connection::Http1(connection) => connection.open(exchange, upload, timings).await,
            Connection::Http2(stream) => stream.open(exchange, upload, timings).await,
        }
    }

    /// The next piece of the body, in whatever size it comes; none at its clean end. Not to be polled after that or after an error.
    pub(super) fn poll_piece(&mut self, reading: &mut Reading, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        match (self, reading) {
            (Connection::Http1(connection), Reading::Http1(reading)) => connection.poll_piece(reading, cx),
            (Connection::Http2(stream), Reading::Http2(reading)) => stream.poll_piece(reading, cx),
            _ => unreachable!("a body is read from the connection that began it"),
        }
    }
}

/// A head that was found acceptable, and where its body goes.
pub(super) struct Head {
    status: StatusCode,
    headers: HeaderMap,
    framing: Framing,
    spoken: Spoken,
    pub(super) has_body: bool,
}

impl Head {
    /// Judges a head: its framing, its size and the length that it announces, before a byte of the body is read.
    pub(super) fn judge(parts: http::response::Parts, exchange: Exchange<'_>) -> Result<(Head, Collector), CallError> {
        let (head, announced) = Head::read(parts, exchange)?;
        let body = Collector::new(announced, exchange.limits.max_body)?;
        Ok((head, body))
    }

    /// Judges a head, and tells the length of the body that follows, where it is announced.
    pub(super) fn read(parts: http::response::Parts, exchange: Exchange<'_>) -> Result<(Head, Option<u64>), CallError> {
        let (status, headers) = (parts.status, parts.headers);
        let protocol = |what: &str| Err(CallError::new(Kind::Protocol, what).in_phase(Phase::FirstByte));
        if status.is_informational() {
            return protocol("the peer changed the protocol without being asked");
        }
        if headers.len() > MAX_HEADERS {
            return protocol("the answer has more than 100 headers");
        }
        let framing = Framing::of(&headers)?;
        let is_bare = exchange.request.method() == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let announced = if is_bare { None } else { framing.length };
        let spoken = match parts.version {
            http::Version::HTTP_2 => Spoken::Http2,
            http::Version::HTTP_10 => Spoken::Http10,
            _ => Spoken::Http11,
        };
        let head = Head {
            status,
            headers,
            framing,
            spoken,
            has_body: !is_bare,
        };
        Ok((head, announced))
    }

    pub(super) fn with_body(self, body: Collector, ended_at: Instant) -> Answer {
        let Framing { coding, keep_alive, .. } = self.framing;
        Answer {
            status: self.status.as_u16(),
            headers: Headers::Map(Box::new(self.headers)),
            coding,
            spoken: self.spoken,
            body: body.finish(),
            keep_alive,
            ended_at,
        }
    }

    /// The same as the start of an answer whose body is read piece by piece.
    pub(super) fn begin(self, length: Option<u64>, head_at: Instant, reading: Reading) -> Begun {
        let Framing { coding, keep_alive, .. } = self.framing;
        Begun {
            status: self.status.as_u16(),
            headers: Headers::Map(Box::new(self.headers)),
            coding,
            spoken: self.spoken,
            length: if self.has_body { length } else { Some(0) },
            keep_alive,
            head_at,
            reading,
        }
    }
}

impl Failure {
    /// A failure after the answer had begun.
    pub(super) fn answered(error: CallError) -> Self {
        Failure {
            error: error.after_send(),
            reached: Reached::Answered,
        }
    }

    pub(super) fn new(error: CallError, reached: Reached) -> Self {
        let error = if reached == Reached::Unsent { error } else { error.after_send() };
        Failure { error, reached }
    }

    /// Whether the same request may go out again without anybody having asked for a retry: the peer has not done anything
    /// about it, or doing it twice is the same as once.
    pub(super) fn may_repeat(&self, request: &Request) -> bool {
        match self.reached {
            Reached::Unsent => true,
            Reached::Unanswered => request.is_idempotent() && self.error.kind() == Kind::Reset,
            Reached::Answered => false,
        }
    }
}
