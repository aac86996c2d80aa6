//! An answer whose body is handed out while it comes: of any size, never held as a whole.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header;
use tokio::time::Instant;

use super::body::{Coding, DECODE_SLICE, WireLimits};
use super::connection::{Begun, Connection, PIECE, Reading};
use super::decoding::Decoded;
use super::facts::{Facts, WireFacts};
use super::pool::Pool;
use super::response::Headers;
use super::timings::Timings;
use super::watch::{Stage, Watch};
use crate::{CallError, Deadline, Kind, Phase};

/// The head of an answer, and its body as it comes.
///
/// Its connection goes back to the pool when the end of the body was read. Dropped before, it closes an HTTP/1.1 connection and resets an
/// HTTP/2 stream. Trailers are dropped.
pub struct StreamedResponse {
    status: u16,
    headers: Headers,
    length: Option<u64>,
    coding: Coding,
    limits: WireLimits,
    facts: WireFacts,
    timings: Timings,
    head_at: Instant,
    upload: Option<Arc<Watch>>,
    since_yield: usize,
    body: Body,
}

enum Body {
    Raw(Box<Raw>),
    Decoded(Box<Decoded>),
    /// It failed.
    Over,
}

impl StreamedResponse {
    pub(super) fn new(
        begun: Begun,
        connection: Connection,
        pool: Arc<Pool>,
        upload: Option<Arc<Watch>>,
        limits: &WireLimits,
        timings: Timings,
    ) -> Self {
        let facts = WireFacts {
            remote: connection.opened().remote,
            wire_bytes: 0,
            spoken: begun.spoken,
            undone: Coding::Identity,
            reused: timings.reused,
        };
        let mut raw = Raw {
            held: Some(Held {
                reading: begun.reading,
                connection,
                pool,
                keep_alive: begun.keep_alive,
            }),
            left: Bytes::new(),
            wire_bytes: 0,
            ended_at: None,
        };
        if begun.length == Some(0) {
            // Usually its end is there already, and nobody may ask for a body that is announced as empty.
            _ = raw.poll_piece(&mut Context::from_waker(Waker::noop()));
        }
        StreamedResponse {
            status: begun.status,
            headers: begun.headers,
            length: begun.length,
            coding: begun.coding,
            limits: *limits,
            facts,
            timings,
            head_at: begun.head_at,
            upload,
            since_yield: 0,
            body: Body::Raw(Box::new(raw)),
        }
    }

    /// The status code, from 200 to 599 unless the peer is creative.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name as text; `None` also where its value is not visible ASCII. The case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.text(name)
    }

    /// The first header of that name as bytes.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.headers.bytes(name)
    }

    /// All headers as sent, names in lower case; also those that concern the connection only. `content-encoding` and `content-length` are
    /// gone once it is [`decoded`](StreamedResponse::decoded).
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter()
    }

    /// The length of the body that follows; 0 where none does, as after `HEAD`. None where it is not known, or is not that of what is
    /// handed out because it is decoded.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The same with the body's content coding undone: `gzip`, `deflate`, `br` or `zstd`. To be asked for before the first piece. Decoded,
    /// the body may have `max` bytes, and become [`max_ratio`](WireLimits::max_ratio) times larger once it is larger than 1 MiB.
    ///
    /// # Errors
    /// [`Kind::Decode`]: it has another coding, or more than one.
    pub fn decoded(mut self, max: u64) -> Result<Self, CallError> {
        if self.coding == Coding::Identity || self.length == Some(0) {
            return Ok(self);
        }
        if self.coding == Coding::Unsupported {
            return Err(Coding::unsupported());
        }
        self.body = match self.body {
            Body::Raw(raw) => Body::Decoded(Box::new(Decoded::new(*raw, self.coding, max, self.limits.max_ratio))),
            other => other,
        };
        let mut headers = self.headers.into_map();
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
        self.headers = Headers::Map(Box::new(headers));
        self.length = None;
        self.facts.undone = self.coding;
        Ok(self)
    }

    /// The next piece of the body, at most 64 KiB and never empty; none at its end, and after an error. Waits as long as
    /// [`body_idle`](WireLimits::body_idle) for the peer to send something; while an upload goes on, for that to move as well. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    /// Kinds `timeout`, `truncated`, `reset`, `tls`, `protocol`, `too_large`, `decode`, and that of an upload's source. A body that
    /// failed is not whole, whatever came of it before.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, CallError> {
        if self.since_yield >= DECODE_SLICE {
            self.since_yield = 0;
            tokio::task::yield_now().await;
        }
        let result = self.next_piece().await.map_err(CallError::after_send);
        match &result {
            Ok(Some(piece)) if matches!(self.body, Body::Decoded(_)) => self.since_yield += piece.len(),
            Ok(_) => {}
            Err(_) => {
                self.facts.wire_bytes = self.wire_bytes();
                self.body = Body::Over;
            }
        }
        result
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, CallError> {
        let Some(idle) = self.limits.body_idle else {
            return poll_fn(|cx| self.body.poll_piece(cx)).await;
        };
        loop {
            let before = self.moves();
            if let Ok(result) = Deadline::after(idle).bound(poll_fn(|cx| self.body.poll_piece(cx))).await {
                return result;
            }
            let waits_for_us = self.upload.as_ref().is_some_and(|upload| upload.stage() == Stage::Source);
            if before == self.moves() && !waits_for_us {
                return Err(CallError::new(Kind::Timeout, format!("no more of the body came within {idle:?}")).in_phase(Phase::Body));
            }
        }
    }

    /// Lets go of the body where it is, as dropping does; head, facts and timings stay. No piece comes any more.
    pub fn close(&mut self) {
        self.facts.wire_bytes = self.wire_bytes();
        match &mut self.body {
            Body::Raw(raw) => raw.cut(),
            other => *other = Body::Over,
        }
    }

    /// How it came over the wire, so far.
    pub fn facts(&self) -> Facts {
        let mut facts = self.facts;
        facts.wire_bytes = self.wire_bytes();
        facts.told()
    }

    /// How long each phase took; the body's once its end was read.
    pub fn timings(&self) -> Timings {
        let mut timings = self.timings;
        let has_body = self.length != Some(0);
        timings.body = self
            .body
            .raw()
            .and_then(|raw| raw.ended_at)
            .filter(|_| has_body)
            .map(|ended| ended.duration_since(self.head_at));
        timings
    }

    fn wire_bytes(&self) -> u64 {
        self.body.raw().map_or(self.facts.wire_bytes, |raw| raw.wire_bytes)
    }

    /// What changes whenever something comes or goes.
    fn moves(&self) -> (u64, u64) {
        (self.wire_bytes(), self.upload.as_ref().map_or(0, |upload| upload.stamp()))
    }
}

impl std::fmt::Debug for StreamedResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamedResponse")
            .field("status", &self.status)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Body {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        match self {
            Body::Raw(raw) => raw.poll_piece(cx),
            Body::Decoded(decoded) => decoded.poll_piece(cx),
            Body::Over => Poll::Ready(Ok(None)),
        }
    }

    fn raw(&self) -> Option<&Raw> {
        match self {
            Body::Raw(raw) => Some(raw),
            Body::Decoded(decoded) => decoded.raw(),
            Body::Over => None,
        }
    }
}

/// A body as sent.
pub(super) struct Raw {
    held: Option<Held>,
    /// What is left of what came at once and is too large for one piece.
    left: Bytes,
    wire_bytes: u64,
    ended_at: Option<Instant>,
}

/// What is held until the end. The reading goes first: its stream must not outlive its place.
struct Held {
    reading: Reading,
    connection: Connection,
    pool: Arc<Pool>,
    keep_alive: Option<Duration>,
}

impl Raw {
    /// Bytes that came so far.
    pub(super) fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// The next piece of at most 64 KiB; none at the end and after an error.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        if self.left.is_empty() {
            let Some(held) = &mut self.held else {
                return Poll::Ready(Ok(None));
            };
            match ready!(held.connection.poll_piece(&mut held.reading, cx)) {
                Ok(Some(piece)) => {
                    self.wire_bytes += piece.len() as u64;
                    self.left = piece;
                }
                Ok(None) => {
                    self.end();
                    return Poll::Ready(Ok(None));
                }
                Err(error) => {
                    self.held = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
        let size = self.left.len().min(PIECE);
        Poll::Ready(Ok(Some(self.left.split_to(size))))
    }

    /// Ends it where it is, at the cost of its connection.
    pub(super) fn cut(&mut self) {
        self.left = Bytes::new();
        self.held = None;
        self.ended_at = Some(Instant::now());
    }

    fn end(&mut self) {
        let now = Instant::now();
        self.ended_at = Some(now);
        if let Some(held) = self.held.take() {
            drop(held.reading);
            held.pool.give_back(held.connection, held.keep_alive, now);
        }
    }
}
