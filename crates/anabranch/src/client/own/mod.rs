//! HTTP/1.1 of our own, for one exchange after another over one connection: no task, no channel, no map of headers, and no buffer
//! held while the peer takes its time.
//!
//! Bytes are read into a buffer that belongs to the thread and is lent for the length of one `poll_read`. A usual answer comes in one
//! piece: its head is parsed there and its body copied once, into memory of exactly its size. Longer bodies are read straight into
//! their own memory. What is refused here is at least what hyper refuses; `wire: hyper` shows the difference.

mod head;
mod chunks;
mod body;
mod lent;
mod streaming;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

pub(super) use head::{find, iter};
pub(super) use streaming::OwnReading;

use self::body::Incoming;
use self::head::{AnswerHead, Parsed};
use super::body::FIRST_RESERVE;
use super::connection::{Answer, Exchange, Failure, MAX_HEAD, Reached};
use super::endpoint::WireSettings;
use super::response::Headers;
use super::rest::Rest;
use super::timings::Timings;
use super::tls;
use super::wire::{MAX_INTERIM, Transport};
use crate::{CallError, Kind, Phase};

/// A request body up to this size goes out with its head, in one write.
const WITH_HEAD: usize = 8 << 10;

/// One HTTP/1.1 connection. Whoever holds it is the only one to use it; dropping it closes it.
pub(super) struct Own {
    transport: Transport,
    rest: Rest,
    /// Whether it stands at the start of the next answer: false from the first byte sent to the clean end of an answer.
    is_between: bool,
}

/// An answer whose head is there.
type Begun = (AnswerHead, Incoming);

/// What came before a head was whole.
#[derive(Default)]
struct Early {
    bytes: Vec<u8>,
    /// The length at which they are parsed again, whole or not: so a head that drips costs in proportion to its length.
    parse_at: usize,
    /// Whether any byte came at all.
    has_begun: bool,
    interim: u32,
}

impl Own {
    pub(super) fn new(transport: Transport, rest: Rest) -> Self {
        Own {
            transport,
            rest,
            is_between: true,
        }
    }

    pub(super) fn rest(&self) -> &Rest {
        &self.rest
    }

    pub(super) fn is_alive(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut context = Context::from_waker(Waker::noop());
        self.is_between
            && Pin::new(&mut self.transport)
                .poll_read(&mut context, &mut ReadBuf::new(&mut byte))
                .is_pending()
    }

    pub(super) fn begin_rest(&mut self, keep_alive: Option<Duration>, settings: &WireSettings, now: Instant) -> bool {
        self.rest.begin(keep_alive, settings, now) && self.is_alive()
    }

    pub(super) async fn exchange(&mut self, exchange: Exchange<'_>, timings: &mut Timings) -> Result<Answer, Failure> {
        let sent_at = if self.rest.is_reused { exchange.at } else { Instant::now() };
        exchange.marks.enter(Phase::FirstByte, exchange.limits.first_byte);
        self.is_between = false;
        let mut rest = self.send(exchange).await?;
        let (head, mut body) = self.begin(exchange, &mut rest).await?;
        let head_at = Instant::now();
        timings.first_byte = Some(head_at.duration_since(sent_at));
        let mut ended_at = head_at;
        if !body.is_done() {
            exchange.marks.enter(Phase::Body, exchange.limits.body_idle);
            self.finish(exchange, &mut body).await.map_err(Failure::answered)?;
            ended_at = Instant::now();
            timings.body = Some(ended_at.duration_since(head_at));
        }
        self.is_between = head.keeps_open && body.ends_clean() && rest.is_empty();
        let AnswerHead {
            status,
            framing,
            spoken,
            lines,
            ..
        } = head;
        Ok(Answer {
            status,
            spoken,
            headers: Headers::Lines {
                lines,
                says_caching: framing.says_caching,
            },
            coding: framing.coding,
            body: body.into_bytes(),
            keep_alive: framing.keep_alive,
            ended_at,
        })
    }

    /// Writes the head, and the body with it where it is small; returns what is left to write.
    async fn send<'r>(&mut self, exchange: Exchange<'r>) -> Result<&'r [u8], Failure> {
        let mut out = lent::take_out();
        exchange.request.write_http1(exchange.endpoint, &mut out);
        let mut rest = &exchange.request.body_bytes()[..];
        if rest.len() <= WITH_HEAD {
            out.extend_from_slice(rest);
            rest = &[];
        }
        let mut written = 0;
        let result = async {
            while written < out.len() {
                match self.transport.write(&out[written..]).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => written += count,
                }
            }
            self.transport.flush().await
        }
        .await;
        lent::give_out(out);
        let reached = if written == 0 { Reached::Unsent } else { Reached::Unanswered };
        result
            .map(|()| rest)
            .map_err(|error| Failure::new(broken(&error, Phase::FirstByte), reached))
    }

    /// Reads until the head is whole, and goes on writing meanwhile: a peer that refuses a long body may answer before it has it, and
    /// then read no more. Only if it has not answered does it count that the writing failed.
    async fn begin(&mut self, exchange: Exchange<'_>, rest: &mut &[u8]) -> Result<Begun, Failure> {
        let mut early = Early::default();
        let (mut unsent, mut is_unflushed) = (None, false);
        loop {
            let polled = poll_fn(|cx| {
                while !rest.is_empty() && unsent.is_none() {
                    match Pin::new(&mut self.transport).poll_write(cx, rest) {
                        Poll::Ready(Ok(count)) if count > 0 => *rest = &rest[count..],
                        Poll::Ready(Ok(_)) => unsent = Some(io::ErrorKind::WriteZero.into()),
                        Poll::Ready(Err(error)) => unsent = Some(error),
                        Poll::Pending => break,
                    }
                    is_unflushed = true;
                }
                // TLS keeps what it was given until it is flushed; a failure to flush shows in the reading.
                is_unflushed = is_unflushed && Pin::new(&mut self.transport).poll_flush(cx).is_pending();
                lent::poll_read(&mut self.transport, cx, |bytes| early.take(exchange, bytes, FIRST_RESERVE))
            })
            .await;
            match polled {
                Ok(Ok(Some(begun))) => return Ok(begun),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(Failure::answered(error)),
                Err(error) => {
                    early.judge().map_err(Failure::answered)?;
                    let reached = if early.has_begun { Reached::Answered } else { Reached::Unanswered };
                    return Err(Failure::new(broken(unsent.as_ref().unwrap_or(&error), Phase::FirstByte), reached));
                }
            }
        }
    }

    /// Reads the rest of a body.
    async fn finish(&mut self, exchange: Exchange<'_>, body: &mut Incoming) -> Result<(), CallError> {
        while !body.is_done() {
            let read = match body.room() {
                Some(room) => match self.transport.read_buf(room).await {
                    Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => {
                        body.took(count);
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                None => match poll_fn(|cx| lent::poll_read(&mut self.transport, cx, |bytes| body.take(bytes))).await {
                    Ok(taken) => {
                        taken?;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            match read {
                Ok(()) => exchange.marks.touch(),
                // Over TLS an end without its own sign may be an attacker's cut (RFC 9112 section 9.8).
                Err(error) if body.ends_by_close() && lent::is_end(&error) => return Ok(()),
                Err(error) => return Err(broken(&error, Phase::Body)),
            }
        }
        Ok(())
    }
}

impl Early {
    /// Takes the next bytes; the answer once its head is whole.
    fn take(&mut self, exchange: Exchange<'_>, bytes: &[u8], reserve: u64) -> Result<Option<Begun>, CallError> {
        self.has_begun = true;
        if self.bytes.is_empty() {
            return self.parse(exchange, bytes, reserve);
        }
        let old = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() < self.parse_at && !may_end(&self.bytes, old) {
            return Ok(None);
        }
        let all = std::mem::take(&mut self.bytes);
        self.parse(exchange, &all, reserve)
    }

    /// Whether what is there could have become a head; nothing more comes.
    fn judge(&self) -> Result<(), CallError> {
        head::parse(&self.bytes).map(|_partial| ()).map_err(not_http)
    }

    fn parse(&mut self, exchange: Exchange<'_>, mut bytes: &[u8], reserve: u64) -> Result<Option<Begun>, CallError> {
        loop {
            match head::parse(bytes).map_err(not_http)? {
                Parsed::Partial => {
                    self.bytes.extend_from_slice(bytes);
                    self.parse_at = (2 * bytes.len()).min(MAX_HEAD);
                    return Ok(None);
                }
                Parsed::Interim(length) => {
                    bytes = &bytes[length..];
                    self.interim += 1;
                    if self.interim > MAX_INTERIM {
                        return Err(not_http("the peer sent more than 16 interim answers"));
                    }
                }
                Parsed::Final(head, length) => {
                    let is_bare = exchange.request.method() == Method::HEAD || matches!(head.status, 204 | 304);
                    let mut body = Incoming::new(&head, is_bare, exchange.limits.max_body, reserve)?;
                    body.take(&bytes[length..])?;
                    return Ok(Some((head, body)));
                }
            }
        }
    }
}

/// Whether the bytes from `old` on may end a head: there is an empty line.
fn may_end(bytes: &[u8], old: usize) -> bool {
    let new = &bytes[old.saturating_sub(2)..];
    new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

fn not_http(what: &'static str) -> CallError {
    CallError::new(Kind::Protocol, what).in_phase(Phase::FirstByte)
}

fn broken(error: &io::Error, phase: Phase) -> CallError {
    let (kind, detail) = match (phase, error.kind()) {
        _ if tls::is_tls(error) => (Kind::Tls, "TLS failed before the end of the answer"),
        (Phase::Body, io::ErrorKind::UnexpectedEof) => (Kind::Truncated, "the connection was closed before the end of the body"),
        (Phase::Body, _) => (Kind::Reset, "the connection was reset before the end of the body"),
        (_, io::ErrorKind::UnexpectedEof) => (Kind::Reset, "the connection was closed before the answer's head was complete"),
        _ => (Kind::Reset, "the connection was reset before the answer's head was complete"),
    };
    CallError::new(kind, detail)
        .in_phase(phase)
        .caused_by(io::Error::new(error.kind(), error.to_string()))
}
