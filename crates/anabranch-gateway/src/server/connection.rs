//! One client connection, HTTP/1.1: read a head, read its body, answer, again. While an answer is being made the socket is watched,
//! so that a client that leaves cancels its calls at once.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use anabranch::Deadline;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::body::{self, BodyFault};
use super::head::{self, BadHead, Framing, Head};
use super::stop::Stop;
use crate::gateway::{Answer, Asked, Core};
use crate::respond::problem::Problem;

/// The longest time from the first byte of a head to its end (slow-loris).
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// The longest time that a connection may lie idle between requests.
const IDLE_LIMIT: Duration = Duration::from_secs(75);
/// The longest time for the body of a request.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// The longest time that a client may take to read an answer.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// A client may still be sending when the last answer leaves; so long is it listened to, so that it can read it (RFC 9112 section 9.6).
const LINGER_LIMIT: Duration = Duration::from_secs(1);
/// When the gateway stops, a request may be on its way over a connection that looks idle; so long it is still waited for.
const LAST_LOOK: Duration = Duration::from_millis(50);
/// What is read ahead while an answer is being made; a client that pipelines more waits.
pub(super) const READ_AHEAD: usize = 8 * 1024;

/// Serves one connection until either side closes it, or until the gateway stops and it is idle.
pub(super) async fn serve<I: AsyncRead + AsyncWrite + Unpin + Send>(io: I, core: Core, peer: Option<IpAddr>, mut stop: Stop) {
    let mut connection = Connection {
        io,
        buffer: BytesMut::new(),
        out: BytesMut::new(),
    };
    loop {
        let head = match connection.next_head(&mut stop).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(bad) => return connection.refuse(bad).await,
        };
        if !connection.one_request(head, &core, peer, &stop).await {
            return;
        }
    }
}

pub(super) struct Connection<I> {
    pub(super) io: I,
    /// What was read and not used yet.
    pub(super) buffer: BytesMut,
    /// The head of the answer, built here; kept between requests.
    pub(super) out: BytesMut,
}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Connection<I> {
    /// The next head; None when the connection ended between requests, lay idle too long, or the gateway stops.
    async fn next_head(&mut self, stop: &mut Stop) -> Result<Option<Head>, BadHead> {
        if self.buffer.is_empty() {
            let came = Deadline::after(IDLE_LIMIT).bound(self.first_bytes(stop)).await;
            if !came.unwrap_or(false) {
                return Ok(None);
            }
        }
        match Deadline::after(HEAD_LIMIT).bound(self.whole_head()).await {
            Ok(head) => head,
            Err(_) => Err(BadHead {
                status: StatusCode::REQUEST_TIMEOUT,
                why: "the head did not come within 10 seconds",
            }),
        }
    }

    /// Whether bytes came, rather than the end of the connection or of the gateway.
    async fn first_bytes(&mut self, stop: &mut Stop) -> bool {
        self.buffer.reserve(2048);
        tokio::select! {
            biased;
            read = self.io.read_buf(&mut self.buffer) => matches!(read, Ok(1..)),
            () = stop.requested() => {
                let read = Deadline::after(LAST_LOOK).bound(self.io.read_buf(&mut self.buffer)).await;
                matches!(read, Ok(Ok(1..)))
            }
        }
    }

    async fn whole_head(&mut self) -> Result<Option<Head>, BadHead> {
        loop {
            // RFC 9112 section 2.2: empty lines before a request line are to be ignored.
            while self.buffer.starts_with(b"\r\n") {
                self.buffer.advance(2);
            }
            if let Some((head, length)) = head::parse(&self.buffer)? {
                self.buffer.advance(length);
                return Ok(Some(head));
            }
            self.buffer.reserve(4096);
            match self.io.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }

    /// Answers one request; whether the connection may be used again.
    async fn one_request(&mut self, head: Head, core: &Core, peer: Option<IpAddr>, stop: &Stop) -> bool {
        let matched = match core.find(&head.method, &head.path) {
            Ok(matched) => matched,
            // A body that no route takes is not worth reading, and the next request begins behind it.
            Err(problem) if head.body != Framing::Length(0) => {
                self.last(&problem.into_answer(), head.method == Method::HEAD).await;
                return false;
            }
            Err(problem) => return self.answer(&problem.into_answer(), &head, stop).await,
        };
        if core.is_proxy(&matched) {
            // In a box, so that other requests do not carry its size.
            return Box::pin(self.pass(&head, &matched, core, peer, stop)).await;
        }
        let body = match self.read_body(&head, core.body_max(&matched)).await {
            Ok(body) => body,
            Err(BodyFault::Gone) => return false,
            Err(BodyFault::Refused(bad)) => {
                self.refuse(bad).await;
                return false;
            }
        };
        let asked = Asked {
            query: &head.query,
            headers: &head.headers,
            body,
            peer,
        };
        let Some(answer) = self.unless_gone(core.run(matched, asked)).await else {
            return false;
        };
        self.answer(&answer, &head, stop).await
    }

    /// Writes the answer to a request that was read to its end; whether the connection may be used again.
    pub(super) async fn answer(&mut self, answer: &Answer, head: &Head, stop: &Stop) -> bool {
        let is_head = head.method == Method::HEAD;
        let stays = head.keep_alive && !stop.is_requested();
        match (stays, head.is_http_11) {
            (true, true) => self.write(answer, is_head, None).await,
            // A client of HTTP/1.0 counts on the connection only when it is told (RFC 9112 appendix C.2.2).
            (true, false) => self.write(answer, is_head, Some("keep-alive")).await,
            (false, _) => {
                self.last(answer, is_head).await;
                false
            }
        }
    }

    async fn read_body(&mut self, head: &Head, max: u64) -> Result<Bytes, BodyFault> {
        if head.body == Framing::Length(0) {
            return Ok(Bytes::new());
        }
        if head.expects_continue && self.buffer.is_empty() && !matches!(head.body, Framing::Length(length) if length > max) {
            let asked = Deadline::after(WRITE_LIMIT)
                .bound(self.io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n"))
                .await;
            if !matches!(asked, Ok(Ok(()))) {
                return Err(BodyFault::Gone);
            }
        }
        let body = body::read(&mut self.io, &mut self.buffer, head.body, max);
        Deadline::after(BODY_LIMIT).bound(body).await.unwrap_or_else(|_| {
            Err(BodyFault::Refused(BadHead {
                status: StatusCode::REQUEST_TIMEOUT,
                why: "the body did not come within 30 seconds",
            }))
        })
    }

    /// Runs the work while watching the socket: None when the client left first, and the work is dropped.
    async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            while self.buffer.len() < READ_AHEAD {
                let mut chunk = [0u8; 1024];
                let mut read = ReadBuf::new(&mut chunk);
                match Pin::new(&mut self.io).poll_read(cx, &mut read) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(())) if !read.filled().is_empty() => self.buffer.extend_from_slice(read.filled()),
                    Poll::Ready(_) => return Poll::Ready(None),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Writes an answer; false when the client did not take it.
    async fn write(&mut self, answer: &Answer, is_head: bool, connection: Option<&str>) -> bool {
        self.out.clear();
        write_head(&mut self.out, answer.status, &answer.headers, answer.body.len(), connection);
        let body = if is_head { &[][..] } else { &answer.body[..] };
        let mut both = Buf::chain(&self.out[..], body);
        let written = Deadline::after(WRITE_LIMIT).bound(self.io.write_all_buf(&mut both)).await;
        matches!(written, Ok(Ok(())))
    }

    /// Says why and closes.
    pub(super) async fn refuse(&mut self, bad: BadHead) {
        self.last(&Problem::new(bad.status, bad.why).into_answer(), false).await;
    }

    /// Writes the last answer of the connection. What the client may still be sending is read for a moment: closing over unread bytes
    /// resets the connection, and the answer can be lost with it.
    pub(super) async fn last(&mut self, answer: &Answer, is_head: bool) {
        if self.write(answer, is_head, Some("close")).await {
            self.end_sending().await;
        }
    }

    /// Ends our side of the connection and listens for a moment.
    pub(super) async fn end_sending(&mut self) {
        if self.io.shutdown().await.is_ok() {
            let _ = Deadline::after(LINGER_LIMIT).bound(self.drain()).await;
        }
    }

    async fn drain(&mut self) {
        let mut chunk = [0u8; 4096];
        while matches!(self.io.read(&mut chunk).await, Ok(1..)) {}
    }
}

/// The status line and headers of an answer.
fn write_head(out: &mut BytesMut, status: StatusCode, headers: &HeaderMap<HeaderValue>, length: usize, connection: Option<&str>) {
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or("").as_bytes());
    for (name, value) in headers {
        line(out, name.as_str(), value.as_bytes());
    }
    if status != StatusCode::NO_CONTENT && !headers.contains_key(header::CONTENT_LENGTH) {
        let mut digits = [0u8; 20];
        line(out, "content-length", decimal(length, &mut digits));
    }
    super::date::with(|date| line(out, "date", date));
    if let Some(connection) = connection {
        line(out, "connection", connection.as_bytes());
    }
    out.put_slice(b"\r\n\r\n");
}

pub(super) fn line(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(b"\r\n");
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
}

pub(super) fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}
