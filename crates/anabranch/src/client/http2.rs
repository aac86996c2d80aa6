//! HTTP/2 over hyper: many streams on one connection, which runs as a task of the client's background scope.

use std::error::Error;
use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{ready, Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::body::Counter;
use super::connection::{Answer, Begun, Exchange, Failure, Head, Opened, Reached, Reading, MAX_HEAD};
use super::pool::Pool;
use super::timings::Timings;
use super::upload::{Outgoing, Upload};
use super::watch::EndUpload;
use super::wire::{End, Transport, Wire, WireState};
use crate::{Background, CallError, Deadline, Kind, Phase};

/// Streams at once before the peer has said how many it takes (RFC 9113 section 6.5.2 recommends at least 100).
pub(super) const STREAMS: usize = 100;
/// A peer that is gone without a word is noticed after this much silence while streams are open, and the time of one ping.
const PING_AFTER: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection without streams is let go after this.
const IDLE: Duration = Duration::from_secs(60);

/// A shared connection, as the pool keeps it. Dropping it lets the streams under way finish and then closes it.
pub(super) struct Http2 {
    sender: http2::SendRequest<Outgoing>,
    streams: Arc<Streams>,
    opened: Opened,
    born: Instant,
}

/// What the connection's task, its streams and the pool share.
struct Streams {
    open: AtomicUsize,
    /// What the peer takes at once, as last heard.
    max: AtomicUsize,
    /// Wakes the connection's task to hear it again: the peer's first word on it comes about with its first answer, and
    /// hyper would look next with the second request.
    listen: AtomicWaker,
    /// Takes no more streams: it has ended, or the peer said that it will.
    retired: AtomicBool,
    /// A stream is on it that only its end will end: cut it with the last of the others.
    has_stuck: AtomicBool,
    has_served: AtomicBool,
    idle_since: Mutex<Instant>,
    wire: Arc<WireState>,
    /// Whom to tell that a stream has ended.
    pool: Weak<Pool>,
}

/// One stream, open or about to be. Dropping it gives its place back and resets it if it has not ended.
pub(super) struct Http2Stream {
    sender: http2::SendRequest<Outgoing>,
    streams: Arc<Streams>,
    opened: Opened,
    is_reused: bool,
    /// Ends with the stream.
    upload: Option<EndUpload>,
}

/// The state of a body that is read piece by piece.
pub(super) struct Http2Reading {
    incoming: Incoming,
    counter: Counter,
    has_body: bool,
}

/// Where hyper puts the tasks of its connections. Weak, because a task must not keep its own scope alive.
#[derive(Clone)]
struct Tasks(Weak<Background>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        // A task that is refused is dropped, and the exchange sees its connection end.
        if let Some(background) = self.0.upgrade() {
            background.spawn("http2 connection", Deadline::never(), future);
        }
    }
}

impl Http2 {
    /// Says hello and starts the connection's task. Until the peer says how many streams it takes, so many are assumed.
    pub(super) async fn open(
        transport: Transport,
        opened: Opened,
        streams: usize,
        background: &Weak<Background>,
        pool: Weak<Pool>,
    ) -> Result<Self, CallError> {
        let tasks = Tasks(background.clone());
        let (wire, state) = Wire::http2(transport);
        let handshake = http2::Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT)
            .initial_max_send_streams(streams)
            .max_header_list_size(MAX_HEAD as u32)
            .handshake(TokioIo::new(wire));
        let (sender, mut connection) = handshake
            .await
            .map_err(|error| CallError::new(Kind::Connect, "HTTP/2 cannot be spoken").caused_by(error))?;
        let now = Instant::now();
        let streams = Arc::new(Streams {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(streams),
            listen: AtomicWaker::new(),
            retired: AtomicBool::new(false),
            has_stuck: AtomicBool::new(false),
            has_served: AtomicBool::new(false),
            idle_since: Mutex::new(now),
            wire: state,
            pool,
        });
        let shared = streams.clone();
        hyper::rt::Executor::execute(&tasks, async move {
            let _ended = poll_fn(|cx| {
                shared.listen.register(cx.waker());
                let polled = Pin::new(&mut connection).poll(cx);
                shared.max.store(connection.current_max_send_streams(), Ordering::Relaxed);
                polled
            })
            .await;
            shared.retired.store(true, Ordering::Relaxed);
            if let Some(pool) = shared.pool.upgrade() {
                pool.streams_changed();
            }
        });
        Ok(Http2 {
            sender,
            streams,
            opened,
            born: now,
        })
    }

    /// How many streams its peer takes at once, as last heard.
    pub(super) fn max_streams(&self) -> usize {
        self.streams.max.load(Ordering::Relaxed)
    }

    /// Takes a stream's place, if there is one.
    pub(super) fn try_stream(&self, now: Instant, max_lifetime: Duration) -> Option<Http2Stream> {
        if self.is_over(now, max_lifetime) {
            return None;
        }
        let max = self.streams.max.load(Ordering::Relaxed);
        self.streams
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then_some(open + 1))
            .ok()?;
        let is_reused = self.streams.has_served.swap(true, Ordering::Relaxed);
        Some(Http2Stream {
            sender: self.sender.clone(),
            streams: self.streams.clone(),
            opened: self.opened,
            is_reused,
            upload: None,
        })
    }

    /// Since when no stream is open; none if one is.
    pub(super) fn rests_since(&self) -> Option<Instant> {
        let is_at_rest = self.streams.open.load(Ordering::Relaxed) == 0;
        is_at_rest.then(|| *self.streams.idle_since.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it takes no more streams and can be let go.
    pub(super) fn is_over(&self, now: Instant, max_lifetime: Duration) -> bool {
        let is_idle = || {
            let since = *self.streams.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
            self.streams.open.load(Ordering::Relaxed) == 0 && now.duration_since(since) >= IDLE
        };
        self.streams.retired.load(Ordering::Relaxed)
            || self.sender.is_closed()
            || now.duration_since(self.born) >= max_lifetime
            || is_idle()
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        // hyper resets a stream when it next asks for something to send. Of a peer that takes nothing it never will.
        if self.upload.as_ref().is_some_and(|upload| upload.0.is_stuck()) {
            self.streams.retired.store(true, Ordering::Relaxed);
            self.streams.has_stuck.store(true, Ordering::Relaxed);
        }
        if self.streams.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.streams.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            if self.streams.has_stuck.load(Ordering::Relaxed) {
                self.streams.wire.cut();
            }
        }
        if let Some(pool) = self.streams.pool.upgrade() {
            pool.streams_changed();
        }
    }
}

impl Http2Stream {
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    pub(super) fn opened(&self) -> &Opened {
        &self.opened
    }

    pub(super) async fn exchange(&mut self, exchange: Exchange<'_>, timings: &mut Timings) -> Result<Answer, Failure> {
        let request = exchange
            .request
            .to_http2(exchange.endpoint, None)
            .map_err(|error| Failure::new(error, Reached::Unsent))?;
        let sent_at = Instant::now();
        exchange.marks.enter(Phase::FirstByte, exchange.limits.first_byte);
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                let was_handed_back = error.message().is_some();
                return Err(self.head_failed(error.into_error(), was_handed_back));
            }
        };
        if !self.is_reused {
            self.streams.listen.wake();
        }
        let head_at = Instant::now();
        timings.first_byte = Some(head_at.duration_since(sent_at));
        let (parts, mut incoming) = response.into_parts();
        let (head, mut body) = Head::judge(parts, exchange).map_err(Failure::answered)?;
        if head.has_body {
            exchange.marks.enter(Phase::Body, exchange.limits.body_idle);
            while let Some(frame) = next_frame(&mut incoming).await {
                let frame = frame.map_err(|error| Failure::answered(self.body_failed(error, body.is_short())))?;
                body.push(frame).map_err(Failure::answered)?;
                exchange.marks.touch();
            }
            if body.is_short() {
                return Err(Failure::answered(cut_short()));
            }
            timings.body = Some(head_at.elapsed());
        }
        Ok(head.with_body(body, Instant::now()))
    }

    pub(super) async fn open(
        &mut self,
        exchange: Exchange<'_>,
        upload: &mut Option<Upload>,
        timings: &mut Timings,
    ) -> Result<Begun, Failure> {
        let watch = upload.as_ref().map(|upload| upload.watch().clone());
        let request = exchange
            .request
            .to_http2(exchange.endpoint, upload.take())
            .map_err(|error| Failure::new(error, Reached::Unsent))?;
        let sent_at = Instant::now();
        exchange.marks.enter(Phase::FirstByte, exchange.limits.first_byte);
        let mut seen = None;
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = poll_fn(|cx| {
            let fault = watch
                .as_ref()
                .and_then(|watch| watch.follow(cx, exchange.marks, exchange.limits, &mut seen));
            match fault {
                Some(fault) => Poll::Ready(Err(fault)),
                None => answer.as_mut().poll(cx).map(Ok),
            }
        })
        .await;
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(mut error)) => {
                let message = error.take_message();
                let was_handed_back = message.is_some();
                *upload = message.and_then(|message| message.into_body().into_untouched());
                if let Some(fault) = watch.and_then(|watch| watch.take_fault()) {
                    return Err(Failure::new(fault, Reached::Unanswered));
                }
                return Err(self.head_failed(error.into_error(), was_handed_back));
            }
            Err(fault) => return Err(Failure::new(fault, Reached::Unanswered)),
        };
        if !self.is_reused {
            self.streams.listen.wake();
        }
        self.upload = watch.map(EndUpload);
        let head_at = Instant::now();
        timings.first_byte = Some(head_at.duration_since(sent_at));
        let (parts, incoming) = response.into_parts();
        let (head, length) = Head::read(parts, exchange).map_err(Failure::answered)?;
        let reading = Http2Reading {
            incoming,
            counter: Counter::new(length, exchange.limits.max_body).map_err(Failure::answered)?,
            has_body: head.has_body,
        };
        Ok(head.begin(length, head_at, Reading::Http2(Box::new(reading))))
    }

    pub(super) fn poll_piece(&mut self, reading: &mut Http2Reading, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        if let Some(EndUpload(watch)) = &self.upload {
            watch.register(cx);
            if let Some(fault) = watch.take_fault() {
                return Poll::Ready(Err(fault));
            }
        }
        while reading.has_body {
            let Some(frame) = ready!(Pin::new(&mut reading.incoming).poll_frame(cx)) else {
                break;
            };
            let frame = frame.map_err(|error| self.body_failed(error, reading.counter.is_short()))?;
            // Trailers are dropped.
            let piece = frame.into_data().unwrap_or_default();
            if !piece.is_empty() {
                return Poll::Ready(reading.counter.count(piece.len()).map(|()| Some(piece)));
            }
        }
        let is_short = reading.has_body && reading.counter.is_short();
        Poll::Ready(if is_short { Err(cut_short()) } else { Ok(None) })
    }

    fn head_failed(&self, error: hyper::Error, was_handed_back: bool) -> Failure {
        let cause = h2_error(&error);
        let was_refused = cause.is_some_and(|cause| cause.reason() == Some(h2::Reason::REFUSED_STREAM));
        // A connection that failed or is going away must not get the repetition of this request.
        if was_handed_back || cause.is_none_or(|cause| cause.is_io() || cause.is_go_away()) {
            self.streams.retired.store(true, Ordering::Relaxed);
        }
        let reached = if was_handed_back || was_refused {
            Reached::Unsent
        } else {
            Reached::Unanswered
        };
        let (kind, detail) = match (self.streams.wire.end(), cause) {
            (End::Tls, _) => (Kind::Tls, "TLS failed before the answer's head was complete"),
            (End::NotHttp2, _) => (Kind::Protocol, "the peer does not speak HTTP/2"),
            (_, Some(cause)) if cause.is_library() && !cause.is_io() => (Kind::Protocol, "the peer broke HTTP/2"),
            _ if was_refused => (Kind::Reset, "the peer refused the stream"),
            _ => (
                Kind::Reset,
                "the connection or the stream was reset before the answer's head was complete",
            ),
        };
        Failure::new(CallError::new(kind, detail).in_phase(Phase::FirstByte).caused_by(error), reached)
    }

    fn body_failed(&self, error: hyper::Error, is_short: bool) -> CallError {
        let cause = h2_error(&error);
        let is_library = cause.is_some_and(|cause| cause.is_library() && !cause.is_io());
        let (kind, detail) = match self.streams.wire.end() {
            End::Tls => (Kind::Tls, "TLS failed before the end of the body"),
            // h2 holds a stream that ends too early against the peer's protocol; it is a body cut short.
            _ if is_library && is_short => (Kind::Truncated, "the stream ended before the end of the body"),
            _ if is_library => (Kind::Protocol, "the peer broke HTTP/2"),
            _ => (Kind::Reset, "the connection or the stream was reset before the end of the body"),
        };
        CallError::new(kind, detail).in_phase(Phase::Body).caused_by(error)
    }
}

fn cut_short() -> CallError {
    CallError::new(Kind::Truncated, "the stream ended before the end of the body").in_phase(Phase::Body)
}

async fn next_frame(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    Some(body.frame().await?.map(|frame| frame.into_data().unwrap_or_default()))
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
