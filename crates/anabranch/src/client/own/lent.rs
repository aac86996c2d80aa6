//! Buffers that belong to the thread: one to read into, lent for the length of one poll, and one to write requests from. Connections
//! that wait hold neither.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::client::wire::Transport;

/// A usual answer fits, so that one read takes it all and leaves the socket known to be empty.
const SIZE: usize = 16 << 10;
/// A request that grew the buffer beyond this does not leave it that large.
const KEPT: usize = 32 << 10;

thread_local! {
    static READ: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An end of file that the stream itself reported, not TLS.
#[derive(Debug)]
struct End;

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the peer closed the connection")
    }
}

impl std::error::Error for End {}

/// Whether an error of [`poll_read`] is the plain end of the stream.
pub(super) fn is_end(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<End>())
}

/// Reads once and shows what came; the buffer is back when this returns. An end of file is an `UnexpectedEof`.
pub(super) fn poll_read<T>(transport: &mut Transport, cx: &mut Context<'_>, take: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>> {
    let mut lent = READ.take();
    if lent.is_empty() {
        lent.resize(SIZE, 0);
    }
    let mut buffer = ReadBuf::new(&mut lent);
    let polled = Pin::new(transport).poll_read(cx, &mut buffer).map_ok(|()| match buffer.filled() {
        [] => Err(io::Error::new(io::ErrorKind::UnexpectedEof, End)),
        bytes => Ok(take(bytes)),
    });
    READ.set(lent);
    Poll::Ready(ready!(polled)?)
}

/// An empty buffer for a request. Keep it as long as the write takes.
pub(super) fn take_out() -> Vec<u8> {
    let mut out = OUT.take();
    out.clear();
    out
}

/// Gives it back.
pub(super) fn give_out(out: Vec<u8>) {
    if out.capacity() <= KEPT {
        OUT.set(out);
    }
}
