//! An answer whose body is handed out piece by piece, and a request whose body comes the same way.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::Instant;

use super::body::Incoming;
use super::head::AnswerHead;
use super::{Begun as OwnBegun, Early, Own, broken, lent};
use crate::client::connection::{Begun, Exchange, Failure, PIECE, Reached, Reading};
use crate::client::http1::Http1Reading;
use crate::client::response::Headers;
use crate::client::timings::Timings;
use crate::client::upload::Upload;
use crate::client::wire::Transport;
use crate::{CallError, Phase};

/// The state of a body that is read piece by piece.
pub(in crate::client) struct OwnReading {
    body: Incoming,
    sending: Sending,
    keeps_open: bool,
    is_over: bool,
}

impl Own {
    pub(in crate::client) async fn open(
        &mut self,
        exchange: Exchange<'_>,
        upload: &mut Option<Upload>,
        timings: &mut Timings,
    ) -> Result<Begun, Failure> {
        let sent_at = Instant::now();
        exchange.marks.enter(Phase::FirstByte, exchange.limits.first_byte);
        self.is_between = false;
        let mut sending = Sending::new(exchange, upload.take());
        let begun = self.begin_streamed(exchange, &mut sending).await;
        let (head, body) = match begun {
            Ok(begun) => begun,
            Err(failure) => {
                *upload = sending.into_untouched();
                return Err(failure);
            }
        };
        let head_at = Instant::now();
        timings.first_byte = Some(head_at.duration_since(sent_at));
        let AnswerHead {
            status,
            framing,
            keeps_open,
            spoken,
            lines,
        } = head;
        Ok(Begun {
            status,
            headers: Headers::Lines {
                lines,
                says_caching: framing.says_caching,
            },
            coding: framing.coding,
            spoken,
            length: body.length(),
            keep_alive: framing.keep_alive,
            head_at,
            reading: Reading::Http1(Box::new(Http1Reading::Own(OwnReading {
                body,
                sending,
                keeps_open,
                is_over: false,
            }))),
        })
    }

    /// Reads until the head is whole, and goes on writing meanwhile.
    async fn begin_streamed(&mut self, exchange: Exchange<'_>, sending: &mut Sending) -> Result<OwnBegun, Failure> {
        let mut early = Early::default();
        let mut seen = None;
        loop {
            let polled = poll_fn(|cx| {
                if let Err(fault) = sending.poll(&mut self.transport, cx) {
                    return Poll::Ready(Err(fault));
                }
                sending.mark(exchange, &mut seen);
                lent::poll_read(&mut self.transport, cx, |bytes| early.take(exchange, bytes, PIECE as u64)).map(Ok)
            })
            .await;
            let reached = match (early.has_begun, sending.has_begun) {
                (true, _) => Reached::Answered,
                (_, true) => Reached::Unanswered,
                _ => Reached::Unsent,
            };
            match polled {
                Ok(Ok(Ok(Some(begun)))) => return Ok(begun),
                Ok(Ok(Ok(None))) => {}
                Ok(Ok(Err(error))) => return Err(Failure::answered(error)),
                Ok(Err(error)) => {
                    early.judge().map_err(Failure::answered)?;
                    let error = sending.failed.as_ref().unwrap_or(&error);
                    return Err(Failure::new(broken(error, Phase::FirstByte), reached));
                }
                Err(fault) => return Err(Failure::new(fault, reached)),
            }
        }
    }

    pub(in crate::client) fn poll_piece(
        &mut self,
        reading: &mut OwnReading,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, CallError>> {
        reading.sending.poll(&mut self.transport, cx)?;
        loop {
            if let Some(piece) = reading.body.split(PIECE) {
                return Poll::Ready(Ok(Some(piece)));
            }
            if reading.is_over || reading.body.is_done() {
                self.is_between = reading.keeps_open && reading.body.ends_clean() && reading.sending.is_done();
                return Poll::Ready(Ok(None));
            }
            let Poll::Ready(read) = self.poll_more(&mut reading.body, cx) else {
                reading.body.shrink();
                return Poll::Pending;
            };
            match read {
                Ok(taken) => taken?,
                // Over TLS an end without its own sign may be an attacker's cut (RFC 9112 section 9.8).
                Err(error) if reading.body.ends_by_close() && lent::is_end(&error) => reading.is_over = true,
                Err(error) => return Poll::Ready(Err(broken(&error, Phase::Body))),
            }
        }
    }

    /// Reads once: an error of the socket outside, one of the body inside.
    fn poll_more(&mut self, body: &mut Incoming, cx: &mut Context<'_>) -> Poll<io::Result<Result<(), CallError>>> {
        let Some(room) = body.room_for(PIECE) else {
            return lent::poll_read(&mut self.transport, cx, |bytes| body.take(bytes));
        };
        let read = pin!(self.transport.read_buf(room)).poll(cx);
        read.map(|read| match read {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                body.took(count);
                Ok(Ok(()))
            }
            Err(error) => Err(error),
        })
    }
}

/// What is sent of a request, and what is still to be sent.
struct Sending {
    /// What goes out now.
    out: Bytes,
    /// What goes out behind it.
    body: Bytes,
    upload: Option<Upload>,
    is_chunked: bool,
    is_unflushed: bool,
    /// Whether a byte of it left.
    has_begun: bool,
    /// Why the peer takes no more. Its answer may still come.
    failed: Option<io::Error>,
}

impl Sending {
    fn new(exchange: Exchange<'_>, upload: Option<Upload>) -> Self {
        let mut head = Vec::with_capacity(512);
        match &upload {
            Some(upload) => exchange.request.write_http1_before(upload, exchange.endpoint, &mut head),
            None => exchange.request.write_http1(exchange.endpoint, &mut head),
        }
        let mut body = if upload.is_some() {
            Bytes::new()
        } else {
            exchange.request.body_bytes().clone()
        };
        if body.len() <= super::WITH_HEAD {
            head.extend_from_slice(&std::mem::take(&mut body));
        }
        Sending {
            out: head.into(),
            body,
            is_chunked: upload.as_ref().is_some_and(|upload| upload.length().is_none()),
            upload,
            is_unflushed: false,
            has_begun: false,
            failed: None,
        }
    }

    /// Sends as far as the peer takes it and the source gives it. The error is the source's.
    fn poll(&mut self, transport: &mut Transport, cx: &mut Context<'_>) -> Result<(), CallError> {
        while self.failed.is_none() {
            if self.out.is_empty() {
                self.out = std::mem::take(&mut self.body);
            }
            if self.out.is_empty() && !self.poll_source(cx)? {
                break;
            }
            match Pin::new(&mut *transport).poll_write(cx, &self.out) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.has_begun = true;
                    _ = self.out.split_to(count);
                }
                Poll::Ready(Ok(_)) => self.failed = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Err(error)) => self.failed = Some(error),
                Poll::Pending => break,
            }
            self.is_unflushed = true;
        }
        // TLS keeps what it was given until it is flushed; a failure to flush shows in the reading.
        self.is_unflushed = self.is_unflushed && Pin::new(transport).poll_flush(cx).is_pending();
        Ok(())
    }

    /// Takes the next piece of the source to be sent; `false` if there is none.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Result<bool, CallError> {
        let Some(upload) = &mut self.upload else { return Ok(false) };
        let Poll::Ready(piece) = upload.poll_piece(cx) else {
            return Ok(false);
        };
        let piece = piece.transpose().map_err(CallError::after_send)?;
        self.out = match (piece, self.is_chunked) {
            (Some(piece), true) => chunk(&piece),
            (Some(piece), false) => piece,
            (None, true) => Bytes::from_static(b"0\r\n\r\n"),
            (None, false) => Bytes::new(),
        };
        // The end is said once.
        self.is_chunked = self.is_chunked && !self.out.starts_with(b"0\r\n");
        Ok(!self.out.is_empty())
    }

    fn is_done(&self) -> bool {
        let is_sent = self.out.is_empty() && self.body.is_empty() && !self.is_unflushed && self.failed.is_none();
        is_sent && !self.is_chunked && self.upload.as_ref().is_none_or(Upload::is_over)
    }

    /// Keeps the limit of the wait for an answer to an upload; others have it already.
    fn mark(&self, exchange: Exchange<'_>, seen: &mut Option<u64>) {
        if let Some(upload) = &self.upload {
            upload.watch().mark(exchange.marks, exchange.limits, seen);
        }
    }

    fn into_untouched(self) -> Option<Upload> {
        self.upload.filter(|upload| !upload.watch().was_taken())
    }
}

/// One chunk (RFC 9112 section 7.1).
fn chunk(piece: &Bytes) -> Bytes {
    let size = format!("{:x}\r\n", piece.len());
    let mut chunk = BytesMut::with_capacity(size.len() + piece.len() + 2);
    chunk.extend_from_slice(size.as_bytes());
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    chunk.freeze()
}
