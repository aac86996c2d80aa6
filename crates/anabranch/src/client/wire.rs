//! The bytes of one connection: plain or TLS, with the few facts that say exactly how an exchange failed.
//!
//! hyper folds a reset, an early end and broken HTTP into errors that cannot be told apart reliably. The stream itself
//! knows: whether bytes of this exchange went out or came in, and how the stream ended. It also counts interim answers,
//! which hyper skips without a limit.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU8, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::dial::Stream;
use super::tls;

/// Interim answers (1xx) before the final one; more are a peer that never means to answer.
pub(super) const MAX_INTERIM: u32 = 16;

/// What bytes go through.
pub(super) enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has not.
    Open,
    /// The peer closed it.
    Closed,
    /// The peer or the network reset it.
    Reset,
    /// TLS refused it.
    Tls,
    /// Too many interim answers.
    Flood,
    /// The peer's first frame is none of HTTP/2.
    NotHttp2,
}

/// The facts, shared between the stream inside hyper and the exchange outside. Both run in one task at any time, so the
/// atomics are there for `Send`, not for order.
#[derive(Debug, Default)]
pub(super) struct WireState {
    /// Which exchange this is; tells the stream that a new head is expected.
    exchange: AtomicU32,
    wrote: AtomicBool,
    read: AtomicBool,
    end: AtomicU8,
    is_cut: AtomicBool,
    /// Who reads from an HTTP/2 connection.
    reader: AtomicWaker,
}

impl WireState {
    /// Ends an HTTP/2 connection, whatever is still on it.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Begins an exchange: nothing was sent or received of it yet.
    pub(super) fn begin(&self) {
        self.exchange.fetch_add(1, Ordering::Relaxed);
        self.wrote.store(false, Ordering::Relaxed);
        self.read.store(false, Ordering::Relaxed);
    }

    /// Whether bytes were handed to the peer in this exchange.
    pub(super) fn wrote(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    /// Whether bytes came from the peer in this exchange.
    pub(super) fn read(&self) -> bool {
        self.read.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) -> End {
        match self.end.load(Ordering::Relaxed) {
            0 => End::Open,
            1 => End::Closed,
            2 => End::Reset,
            3 => End::Tls,
            4 => End::Flood,
            _ => End::NotHttp2,
        }
    }

    fn ended(&self, end: End) {
        // The first end is the cause; what follows are its echoes.
        let _already = self.end.compare_exchange(0, end as u8, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn failed(&self, error: &io::Error) {
        self.ended(match error.kind() {
            _ if tls::is_tls(error) => End::Tls,
            // TLS says so of a peer that closed the connection without closing TLS first.
            io::ErrorKind::UnexpectedEof => End::Closed,
            _ => End::Reset,
        });
    }
}

/// A connection's stream, watched.
pub(super) struct Wire {
    transport: Transport,
    state: Arc<WireState>,
    watch: Watch,
    exchange: u32,
}

impl Wire {
    pub(super) fn http1(transport: Transport) -> (Self, Arc<WireState>) {
        Wire::new(transport, Watch::Heads(HeadScanner::default()))
    }

    pub(super) fn http2(transport: Transport) -> (Self, Arc<WireState>) {
        Wire::new(transport, Watch::Preface(0))
    }

    fn new(transport: Transport, watch: Watch) -> (Self, Arc<WireState>) {
        let state = Arc::new(WireState::default());
        let wire = Wire {
            transport,
            state: state.clone(),
            watch,
            exchange: 0,
        };
        (wire, state)
    }

    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            self.state.ended(End::Closed);
            return Ok(());
        }
        self.state.read.store(true, Ordering::Relaxed);
        match &mut self.watch {
            Watch::Heads(heads) => {
                let exchange = self.state.exchange.load(Ordering::Relaxed);
                if self.exchange != exchange {
                    self.exchange = exchange;
                    *heads = HeadScanner::default();
                }
                if heads.scan(bytes) > MAX_INTERIM {
                    self.state.ended(End::Flood);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "too many interim answers"));
                }
            }
            Watch::Preface(seen) if *seen <= FRAME_TYPE_AT => {
                if bytes.get(FRAME_TYPE_AT - *seen).is_some_and(|kind| *kind != SETTINGS) {
                    self.state.ended(End::NotHttp2);
                }
                *seen += bytes.len();
            }
            Watch::Preface(_) => {}
        }
        Ok(())
    }
}

/// What is looked for in the bytes that come.
enum Watch {
    /// Interim heads of HTTP/1.1.
    Heads(HeadScanner),
    /// That a peer's first frame over HTTP/2 is SETTINGS (RFC 9113 section 3.4); so many bytes were seen.
    Preface(usize),
}

/// A frame begins with three bytes of length; then comes its type (RFC 9113 section 4.1).
const FRAME_TYPE_AT: usize = 3;
const SETTINGS: u8 = 4;

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if matches!(wire.watch, Watch::Preface(_)) {
            wire.state.reader.register(cx.waker());
            if wire.state.is_cut.load(Ordering::Acquire) {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut wire.transport).poll_read(cx, buf));
        if let Err(error) = read {
            wire.state.failed(&error);
            return Poll::Ready(Err(error));
        }
        let had_room = before < buf.capacity();
        let bytes = &buf.filled()[before..];
        Poll::Ready(if had_room { wire.received(bytes) } else { Ok(()) })
    }
}

impl Wire {
    fn sent(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(count)) if *count > 0 => self.state.wrote.store(true, Ordering::Relaxed),
            Poll::Ready(Err(error)) => self.state.failed(error),
            _ => {}
        }
        written
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.transport).poll_write(cx, buf);
        wire.sent(written)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let wire = self.get_mut();
        let written = Pin::new(&mut wire.transport).poll_write_vectored(cx, bufs);
        wire.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let flushed = Pin::new(&mut wire.transport).poll_flush(cx);
        if let Poll::Ready(Err(error)) = &flushed {
            wire.state.failed(error);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}

/// Finds interim heads at the start of an answer, over any split of the bytes. It stops at the first digit of a final
/// status, so a usual answer costs it ten bytes.
#[derive(Debug, Default)]
struct HeadScanner {
    place: Place,
    interim: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// This many bytes into a status line, before its status.
    #[default]
    Start,
    StatusLine(u8),
    /// Inside an interim head, at the start of a line or not.
    Interim {
        line_start: bool,
    },
    /// The final head has begun, or this is not HTTP, which hyper will say.
    Done,
}

/// `HTTP/1.1 ` comes before the status.
const STATUS_AT: u8 = 9;

impl HeadScanner {
    /// Looks at the next bytes and returns how many interim heads have begun so far.
    fn scan(&mut self, bytes: &[u8]) -> u32 {
        for byte in bytes {
            self.place = match (self.place, byte) {
                (Place::Done, _) => break,
                // Empty lines before a status line are skipped by hyper as well.
                (Place::Start, b'\r' | b'\n') => Place::Start,
                (Place::Start, _) => Place::StatusLine(1),
                (Place::StatusLine(STATUS_AT), b'1') => {
                    self.interim += 1;
                    Place::Interim { line_start: false }
                }
                (Place::StatusLine(STATUS_AT), _) => Place::Done,
                (Place::StatusLine(at), _) => Place::StatusLine(at + 1),
                (Place::Interim { line_start: true }, b'\n') => Place::Start,
                (Place::Interim { line_start: true }, b'\r') => Place::Interim { line_start: true },
                (Place::Interim { .. }, b'\n') => Place::Interim { line_start: true },
                (Place::Interim { .. }, _) => Place::Interim { line_start: false },
            };
        }
        self.interim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interim(answer: &[u8], split: usize) -> u32 {
        let mut scanner = HeadScanner::default();
        answer.chunks(split).map(|chunk| scanner.scan(chunk)).last().unwrap_or(0)
    }

    #[test]
    fn interim_heads_are_counted_over_any_split() {
        let answer = b"\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 in the body\r\n\r\n";
        for split in 1..answer.len() {
            assert_eq!(interim(answer, split), 2, "split every {split} bytes");
        }
    }

    #[test]
    fn a_usual_answer_has_none() {
        assert_eq!(interim(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", 7), 0);
        assert_eq!(interim(b"SSH-2.0-OpenSSH_9.2\r\n", 3), 0);
    }

    #[test]
    fn the_first_end_is_the_cause() {
        let state = WireState::default();
        assert_eq!(state.end(), End::Open);
        state.ended(End::Flood);
        state.failed(&io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(state.end(), End::Flood);
    }
}
