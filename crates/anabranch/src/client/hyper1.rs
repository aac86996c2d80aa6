//! HTTP/1.1 over hyper, the reference beside our own and what `wire: hyper` chooses; driven by the exchange itself: no task per connection, no wake-up between two tasks per answer.
//!
//! While an exchange runs, its future polls hyper's connection and the answer together. Between exchanges nobody polls;
//! the pool looks once, when it is about to hand the connection out, whether the peer has closed it.

use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{ready, Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::body::Counter;
use super::connection::{Answer, Begun, Exchange, Failure, Head, Reached, Reading, MAX_HEAD};
use super::endpoint::WireSettings;
use super::http1::Http1Reading;
use super::rest::Rest;
use super::timings::Timings;
use super::upload::{Outgoing, Upload};
use super::watch::{Stage, Watch};
use super::wire::{End, Transport, Wire, WireState};
use crate::{CallError, Kind, Phase};

type Driver = http1::Connection<TokioIo<Wire>, Outgoing>;

/// One HTTP/1.1 connection. Whoever holds it is the only one to use it; dropping it closes it.
pub(super) struct Hyper1 {
    sender: http1::SendRequest<Outgoing>,
    driver: Driver,
    /// The driver has ended and must not be polled again.
    ended: bool,
    wire: Arc<WireState>,
    rest: Rest,
}

/// The state of a body that is read piece by piece.
pub(super) struct Hyper1Reading {
    incoming: Incoming,
    counter: Counter,
    has_body: bool,
    upload: Option<Arc<Watch>>,
}

/// What polling for the next piece of a body gave.
enum Piece {
    Data(Bytes),
    End,
    Broken,
}

impl Hyper1 {
    pub(super) async fn connect(transport: Transport, rest: Rest) -> Result<Self, CallError> {
        let (wire, state) = Wire::http1(transport);
        let handshake = http1::Builder::new().max_header_size(MAX_HEAD).handshake(TokioIo::new(wire));
        let (sender, driver) = handshake
            .await
            .map_err(|error| CallError::new(Kind::Connect, "HTTP/1.1 cannot be spoken").caused_by(error))?;
        Ok(Hyper1 {
            sender,
            driver,
            ended: false,
            wire: state,
            rest,
        })
    }

    pub(super) fn rest(&self) -> &Rest {
        &self.rest
    }

    pub(super) fn is_alive(&mut self) -> bool {
        drive(&mut self.driver, &mut self.ended, &mut Context::from_waker(Waker::noop()));
        !self.ended && !self.sender.is_closed()
    }

    pub(super) fn begin_rest(&mut self, keep_alive: Option<Duration>, settings: &WireSettings, now: Instant) -> bool {
        if !self.sender.is_ready() {
            drive(&mut self.driver, &mut self.ended, &mut Context::from_waker(Waker::noop()));
        }
        self.rest.begin(keep_alive, settings, now) && !self.ended && self.sender.is_ready()
    }

    pub(super) async fn exchange(&mut self, exchange: Exchange<'_>, timings: &mut Timings) -> Result<Answer, Failure> {
        let request = exchange
            .request
            .to_http1(exchange.endpoint, None)
            .map_err(|error| Failure::new(error, Reached::Unsent))?;
        let sent_at = Instant::now();
        self.wire.begin();
        exchange.marks.enter(Phase::FirstByte, exchange.limits.first_byte);
        let response = self.head(request, &mut None, |_cx| None).await?;
        let head_at = Instant::now();
        timings.first_byte = Some(head_at.duration_since(sent_at));
        let (parts, incoming) = response.into_parts();
        let (head, mut body) = Head::judge(parts, exchange).map_err(Failure::answered)?;
        if head.has_body {
            exchange.marks.enter(Phase::Body, exchange.limits.body_idle);
            let mut incoming = incoming;
            loop {
                match self.piece(&mut incoming).await {
                    Piece::Data(piece) => body.push(piece).map_err(Failure::answered)?,
                    Piece::End if body.is_short() => return Err(Failure::answered(self.body_failed())),
                    Piece::End => break,
                    Piece::Broken => return Err(Failure::answered(self.body_failed())),
                }
                exchange.marks.touch();
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
            .to_http1(exchange.endpoint, upload.take())
            .map_err(|error| Failure::new(error, Reached::Unsent))?;
        let sent_at = Instant::now();
        self.wire.begin();
        exchange.marks.enter(Phase::FirstByte, exchange.limits.first_byte);
        let mut seen = None;
        let follow = |cx: &mut Context<'_>| {
            watch
                .as_ref()
                .and_then(|watch| watch.follow(cx, exchange.marks, exchange.limits, &mut seen))
        };
        let response = self.head(request, upload, follow).await?;
        let head_at = Instant::now();
        timings.first_byte = Some(head_at.duration_since(sent_at));
        let (parts, incoming) = response.into_parts();
        let (head, length) = Head::read(parts, exchange).map_err(Failure::answered)?;
        let reading = Hyper1Reading {
            incoming,
            counter: Counter::new(length, exchange.limits.max_body).map_err(Failure::answered)?,
            has_body: head.has_body,
            upload: watch,
        };
        Ok(head.begin(length, head_at, Reading::Http1(Box::new(Http1Reading::Hyper(reading)))))
    }

    pub(super) fn poll_piece(&mut self, reading: &mut Hyper1Reading, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        while reading.has_body {
            match ready!(self.poll_next(&mut reading.incoming, cx)) {
                Piece::Data(piece) if piece.is_empty() => {}
                Piece::Data(piece) => return Poll::Ready(reading.counter.count(piece.len()).map(|()| Some(piece))),
                Piece::End if !reading.counter.is_short() => break,
                Piece::End | Piece::Broken => {
                    let fault = reading.upload.as_ref().and_then(|watch| watch.take_fault());
                    return Poll::Ready(Err(fault.unwrap_or_else(|| self.body_failed())));
                }
            }
        }
        // A request that is not sent to its end leaves nothing for another.
        self.ended |= reading.upload.as_ref().is_some_and(|watch| watch.stage() != Stage::Over);
        Poll::Ready(Ok(None))
    }

    /// `look` is asked at each poll whether there is a reason to give up.
    async fn head(
        &mut self,
        request: http::Request<Outgoing>,
        upload: &mut Option<Upload>,
        mut look: impl FnMut(&mut Context<'_>) -> Option<CallError>,
    ) -> Result<http::Response<Incoming>, Failure> {
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        let mut answer = pin!(self.sender.try_send_request(request));
        let result = poll_fn(|cx| {
            drive(driver, ended, cx);
            if let Some(fault) = look(cx) {
                return Poll::Ready(Err(fault));
            }
            match answer.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Ok(Some(result))),
                Poll::Pending if *ended => Poll::Ready(Ok(None)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match result {
            Ok(Some(Ok(response))) => Ok(response),
            Ok(Some(Err(mut error))) => {
                let message = error.take_message();
                let was_handed_back = message.is_some();
                *upload = message.and_then(|message| message.into_body().into_untouched());
                Err(self.head_failed(Some(error.into_error()), was_handed_back))
            }
            Ok(None) => Err(self.head_failed(None, false)),
            Err(fault) => Err(Failure::new(fault, Reached::Unanswered)),
        }
    }

    async fn piece(&mut self, body: &mut Incoming) -> Piece {
        poll_fn(|cx| self.poll_next(body, cx)).await
    }

    fn poll_next(&mut self, body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Piece> {
        if let Poll::Ready(piece) = poll_piece(body, cx) {
            return Poll::Ready(piece);
        }
        drive(&mut self.driver, &mut self.ended, cx);
        match poll_piece(body, cx) {
            Poll::Pending if self.ended => Poll::Ready(Piece::Broken),
            polled => polled,
        }
    }

    fn head_failed(&self, cause: Option<hyper::Error>, was_handed_back: bool) -> Failure {
        let reached = match (self.wire.wrote(), self.wire.read()) {
            _ if was_handed_back => Reached::Unsent,
            (_, true) => Reached::Answered,
            (true, false) => Reached::Unanswered,
            (false, false) => Reached::Unsent,
        };
        let (kind, detail) = match self.wire.end() {
            End::Flood => (Kind::Protocol, "the peer sent more than 16 interim answers"),
            _ if cause.as_ref().is_some_and(hyper::Error::is_parse) => (Kind::Protocol, "the answer's head is not HTTP/1.1 or too large"),
            End::Tls => (Kind::Tls, "TLS failed before the answer's head was complete"),
            End::Reset => (Kind::Reset, "the connection was reset before the answer's head was complete"),
            End::Closed => (Kind::Reset, "the connection was closed before the answer's head was complete"),
            End::Open if was_handed_back => (Kind::Reset, "the connection could not take the request"),
            End::Open | End::NotHttp2 => (Kind::Protocol, "the peer broke HTTP/1.1"),
        };
        let error = CallError::new(kind, detail).in_phase(Phase::FirstByte);
        Failure::new(
            match cause {
                Some(cause) => error.caused_by(cause),
                None => error,
            },
            reached,
        )
    }

    fn body_failed(&self) -> CallError {
        let (kind, detail) = match self.wire.end() {
            End::Closed => (Kind::Truncated, "the connection was closed before the end of the body"),
            End::Reset => (Kind::Reset, "the connection was reset before the end of the body"),
            End::Tls => (Kind::Tls, "TLS failed before the end of the body"),
            End::Open | End::Flood | End::NotHttp2 => (Kind::Protocol, "the body's chunks are broken"),
        };
        CallError::new(kind, detail).in_phase(Phase::Body)
    }
}

/// Polls hyper's connection, which moves bytes both ways. Its error reaches the exchange by the answer or the body.
fn drive(driver: &mut Driver, ended: &mut bool, cx: &mut Context<'_>) {
    if !*ended && Pin::new(driver).poll(cx).is_ready() {
        *ended = true;
    }
}

fn poll_piece(body: &mut Incoming, cx: &mut Context<'_>) -> Poll<Piece> {
    Pin::new(body).poll_frame(cx).map(|frame| match frame {
        // Trailers are read, so that the connection can serve again, and dropped.
        Some(Ok(frame)) => Piece::Data(frame.into_data().unwrap_or_default()),
        Some(Err(_)) => Piece::Broken,
        None => Piece::End,
    })
}
