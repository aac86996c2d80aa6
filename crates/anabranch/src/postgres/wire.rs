//! The bytes of a session, counted: the driver keeps whatever the server sends, so what one answer may bring is bounded here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Stream;

/// A stream that ends with an error when more comes than its meter allows.
pub(super) struct Wire {
    stream: Stream,
    meter: Arc<Meter>,
}

/// How many more bytes may come, shared between the stream inside the driver and the call outside. Each is set by one of the
/// two only, so the atomics need no order.
#[derive(Debug)]
pub(super) struct Meter {
    left: AtomicU64,
    ran_out: AtomicBool,
}

impl Meter {
    /// No limit yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Meter {
            left: AtomicU64::new(u64::MAX),
            ran_out: AtomicBool::new(false),
        })
    }

    /// Allows so many bytes from now on.
    pub(super) fn allow(&self, bytes: u64) {
        self.left.store(bytes, Relaxed);
    }

    /// Whether the stream ended because of it.
    pub(super) fn ran_out(&self) -> bool {
        self.ran_out.load(Relaxed)
    }

    fn count(&self, bytes: usize) -> io::Result<()> {
        let left = self.left.load(Relaxed);
        match left.checked_sub(bytes as u64) {
            Some(left) => {
                self.left.store(left, Relaxed);
                Ok(())
            }
            None => {
                self.ran_out.store(true, Relaxed);
                Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is larger than allowed"))
            }
        }
    }
}

impl Wire {
    pub(super) fn new(stream: Stream, meter: Arc<Meter>) -> Self {
        Wire { stream, meter }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut wire.stream).poll_read(cx, buf))?;
        Poll::Ready(wire.meter.count(buf.filled().len() - before))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_is_allowed_comes_through_and_no_byte_more() {
        let (near, mut far) = tokio::io::duplex(64);
        let meter = Meter::new();
        let mut wire = Wire::new(Stream::Boxed(Box::new(near)), meter.clone());
        meter.allow(4);
        far.write_all(b"1234").await.unwrap();
        let mut four = [0; 4];
        wire.read_exact(&mut four).await.unwrap();
        assert!(!meter.ran_out());
        far.write_all(b"5").await.unwrap();
        assert_eq!(wire.read(&mut four).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(meter.ran_out());
    }
}
