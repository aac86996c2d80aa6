//! One HTTP/1.1 connection, seen from the server: it reads whole requests and writes bytes. While it waits it reads on, so that it
//! notices when the peer leaves and takes in pipelined requests. What to write is left to `serve.rs`.

#![expect(clippy::disallowed_methods, reason = "a scripted upstream sleeps for as long as the script says")]

use crate::request::{BodyFraming, HEAD_MAX, Head, Refusal, check_length, parse_chunk_size};
use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use std::{future, io, pin::pin, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The first bytes of HTTP/2, as far as they look like a head (RFC 9113, section 3.4).
const HTTP2_HEAD: &[u8] = b"PRI * HTTP/2.0";

/// What is read ahead while a reply is pending, in bytes.
const AHEAD_MAX: usize = 256 * 1024;

/// What is written at once, in bytes.
const WRITE_SIZE: usize = 16 * 1024;

/// The longest line before a chunk, in bytes.
const CHUNK_LINE_MAX: usize = 4 * 1024;

/// A stream with what was read ahead from it and what is yet to be written to it.
pub(crate) struct Wire<'a, S> {
    stream: &'a mut S,
    input: BytesMut,
    output: BytesMut,
    /// How many more bytes may be sent, where a fault cuts the reply.
    budget: Option<usize>,
}

/// What came from the peer.
pub(crate) enum Received {
    /// A whole request.
    Request(Head, Bytes),
    /// Something that is no proper request; the rest of the connection cannot be read.
    Refused(Refusal),
    /// The beginning of HTTP/2, not yet taken from the input.
    Http2,
    /// The end of the connection.
    Ended,
}

/// Why a reply was not written to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The peer left.
    Gone,
    /// The budget is used up.
    Spent,
}

/// Why a request was not read to its end.
enum Broken {
    Gone,
    Refused(Refusal),
}

impl From<Refusal> for Broken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Wire<'a, S> {
    pub(crate) fn new(stream: &'a mut S) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            budget: None,
        }
    }

    /// Gives back the stream and what was read from it.
    pub(crate) fn into_parts(self) -> (Bytes, &'a mut S) {
        (self.input.freeze(), self.stream)
    }

    /// Reads the next request, waiting at most `idle` for its first byte.
    pub(crate) async fn receive(&mut self, idle: Option<Duration>) -> Received {
        if !self.starts_within(idle).await {
            return Received::Ended;
        }
        match self.read_request().await {
            Ok(Some((head, body))) => Received::Request(head, body),
            Ok(None) => Received::Http2,
            Err(Broken::Gone) => Received::Ended,
            Err(Broken::Refused(refusal)) => Received::Refused(refusal),
        }
    }

    /// Waits, and tells where the peer has left meanwhile. What was sent before is written first.
    pub(crate) async fn wait(&mut self, delay: Duration) -> Result<(), Stopped> {
        self.flush().await?;
        if delay.is_zero() {
            return Ok(());
        }
        let mut elapsed = pin!(tokio::time::sleep(delay));
        while self.input.len() < AHEAD_MAX {
            tokio::select! {
                () = &mut elapsed => return Ok(()),
                read = self.stream.read_buf(&mut self.input) => still_there(read)?,
            }
        }
        elapsed.await;
        Ok(())
    }

    /// Waits until the peer leaves. A peer that goes on sending is read no further than the read-ahead, and then waited for in vain.
    pub(crate) async fn until_gone(&mut self) -> Stopped {
        while self.input.len() < AHEAD_MAX {
            if let Err(stopped) = still_there(self.stream.read_buf(&mut self.input).await) {
                return stopped;
            }
        }
        future::pending().await
    }

    /// Allows that many bytes more, and fails with [`Stopped::Spent`] from then on.
    pub(crate) fn allow(&mut self, budget: usize) {
        self.budget = Some(budget);
    }

    /// Sends bytes, gathering small ones until [`Wire::flush`] or [`Wire::wait`].
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        let spent = self.budget.is_some_and(|budget| budget < bytes.len());
        if let Some(budget) = &mut self.budget {
            bytes = &bytes[..bytes.len().min(*budget)];
            *budget -= bytes.len();
        }
        for piece in bytes.chunks(WRITE_SIZE) {
            self.output.extend_from_slice(piece);
            if self.output.len() >= WRITE_SIZE {
                self.write_out().await?;
            }
        }
        if spent {
            self.flush().await?;
            return Err(Stopped::Spent);
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), Stopped> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.write_out().await?;
        self.stream.flush().await.map_err(|_| Stopped::Gone)
    }

    /// Closes the sending side; a peer that is gone needs no goodbye.
    pub(crate) async fn close(&mut self) {
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
    }

    async fn write_out(&mut self) -> Result<(), Stopped> {
        let written = self.stream.write_all(&self.output).await;
        self.output.clear();
        written.map_err(|_| Stopped::Gone)
    }

    /// Waits for the first byte of a request, at most `idle`; empty lines before it are passed over (RFC 9112, section 2.2).
    async fn starts_within(&mut self, idle: Option<Duration>) -> bool {
        let first_byte = async {
            loop {
                while self.input.starts_with(b"\r\n") {
                    self.input.advance(2);
                }
                if !self.input.is_empty() && &self.input[..] != b"\r" {
                    return true;
                }
                if still_there(self.stream.read_buf(&mut self.input).await).is_err() {
                    return false;
                }
            }
        };
        match idle {
            Some(idle) => tokio::time::timeout(idle, first_byte).await.unwrap_or(false),
            None => first_byte.await,
        }
    }

    /// Reads a request; nothing stands for HTTP/2.
    async fn read_request(&mut self) -> Result<Option<(Head, Bytes)>, Broken> {
        let end = self.find_end(b"\r\n\r\n", HEAD_MAX).await?;
        if &self.input[..end] == HTTP2_HEAD {
            return Ok(None);
        }
        let head = Head::parse(&self.input.split_to(end))?;
        self.input.advance(4);
        if head.expects_continue && head.body != BodyFraming::Length(0) {
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| Broken::Gone)?;
            self.flush().await.map_err(|_| Broken::Gone)?;
        }
        let body = match head.body {
            BodyFraming::Length(length) => self.take(length).await?,
            BodyFraming::Chunked => self.read_chunks().await?,
        };
        Ok(Some((head, body)))
    }

    async fn read_chunks(&mut self) -> Result<Bytes, Broken> {
        let mut body = BytesMut::new();
        loop {
            let line = self.take_line(CHUNK_LINE_MAX).await?;
            let size = parse_chunk_size(&line)?;
            if size == 0 {
                break;
            }
            check_length(size.saturating_add(body.len() as u64))?;
            body.extend_from_slice(&self.take(size).await?);
            if !self.take_line(CHUNK_LINE_MAX).await?.is_empty() {
                return Err(Refusal::bad("chunk longer than its size").into());
            }
        }
        // Trailers are read and dropped; no script asks for them.
        while !self.take_line(HEAD_MAX).await?.is_empty() {}
        Ok(body.freeze())
    }

    async fn take(&mut self, length: u64) -> Result<Bytes, Broken> {
        let length = usize::try_from(length).map_err(|_| Broken::Gone)?;
        while self.input.len() < length {
            self.read_more().await?;
        }
        Ok(self.input.split_to(length).freeze())
    }

    async fn take_line(&mut self, limit: usize) -> Result<BytesMut, Broken> {
        let end = self.find_end(b"\r\n", limit).await?;
        let line = self.input.split_to(end);
        self.input.advance(2);
        Ok(line)
    }

    /// Reads until the mark is in the input, and tells where it begins.
    async fn find_end(&mut self, mark: &[u8], limit: usize) -> Result<usize, Broken> {
        let mut searched: usize = 0;
        loop {
            let from = searched.saturating_sub(mark.len() - 1);
            if let Some(found) = self.input[from..].windows(mark.len()).position(|window| window == mark) {
                return Ok(from + found);
            }
            searched = self.input.len();
            if searched > limit {
                return Err(Refusal {
                    status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                    reason: "head or line too long",
                }
                .into());
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), Broken> {
        still_there(self.stream.read_buf(&mut self.input).await).map_err(|_| Broken::Gone)
    }
}

/// Reads the result of a read: the end of the stream means that the peer has left. A client that closes only its sending side is taken
/// for gone as well; no client of ours does that.
fn still_there(read: io::Result<usize>) -> Result<(), Stopped> {
    match read {
        Ok(0) | Err(_) => Err(Stopped::Gone),
        Ok(_) => Ok(()),
    }
}
