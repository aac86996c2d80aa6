//! A body that is decoded while it comes.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, ReadBuf};

use super::body::{Coding, ZSTD_WINDOW_LOG, broken, is_zlib, too_large};
use super::connection::PIECE;
use super::streamed::Raw;
use crate::{CallError, Phase};

/// Below this a high ratio is harmless: not more than so much is held of a body that is handed out in pieces.
const RATIO_FLOOR: u64 = 1 << 20;
/// What the first piece is decoded into; most bodies end there.
const FIRST_PIECE: usize = 16 << 10;
/// What may follow the end of what is decoded, so that the connection is kept.
const MAX_BEHIND: usize = 64 << 10;
/// As many bytes tell what `deflate` means here.
const PEEKED: usize = 2;

/// A body with its coding undone.
pub(super) struct Decoded {
    at: At,
    out: BytesMut,
    total: u64,
    max: u64,
    max_ratio: u32,
}

enum At {
    /// Before the first bytes.
    Start(Feed, Coding),
    Inside(Decoder),
    /// Behind the last; the wire has its own end to come.
    Behind(Feed, usize),
    Over,
}

impl Decoded {
    pub(super) fn new(raw: Raw, coding: Coding, max: u64, max_ratio: u32) -> Self {
        let feed = Feed { raw, piece: Bytes::new() };
        Decoded {
            at: At::Start(feed, coding),
            out: BytesMut::new(),
            total: 0,
            max,
            max_ratio,
        }
    }

    pub(super) fn raw(&self) -> Option<&Raw> {
        match &self.at {
            At::Start(feed, _) | At::Behind(feed, _) => Some(&feed.raw),
            At::Inside(decoder) => Some(&decoder.feed().raw),
            At::Over => None,
        }
    }

    /// The next piece of at most 64 KiB; none at the end.
    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        loop {
            match &mut self.at {
                At::Start(feed, _) => {
                    let is_empty = ready!(feed.poll_peek(cx))?;
                    if let At::Start(feed, coding) = std::mem::replace(&mut self.at, At::Over) {
                        // A body without a byte has no coding.
                        self.at = if is_empty {
                            At::Behind(feed, 0)
                        } else {
                            At::Inside(Decoder::new(feed, coding))
                        };
                    }
                }
                At::Inside(_) => {
                    if let Some(piece) = ready!(self.poll_decode(cx))? {
                        return Poll::Ready(Ok(Some(piece)));
                    }
                    if let At::Inside(decoder) = std::mem::replace(&mut self.at, At::Over) {
                        self.at = At::Behind(decoder.into_feed(), 0);
                    }
                }
                At::Behind(feed, count) => {
                    // What follows the coded stream is nobody's; too much of it costs the connection.
                    match ready!(feed.raw.poll_piece(cx))? {
                        Some(piece) if *count + piece.len() <= MAX_BEHIND => *count += piece.len(),
                        Some(_) => feed.raw.cut(),
                        None => return Poll::Ready(Ok(None)),
                    }
                }
                At::Over => return Poll::Ready(Ok(None)),
            }
        }
    }

    /// Decodes up to a whole piece, or what can be had of it now; none at the end of the coded stream.
    fn poll_decode(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, CallError>> {
        let At::Inside(decoder) = &mut self.at else {
            return Poll::Ready(Ok(None));
        };
        if self.out.capacity() == 0 {
            self.out.reserve(if self.total == 0 { FIRST_PIECE } else { PIECE });
        }
        let room = self.out.capacity().min(PIECE);
        while self.out.len() < room {
            match pin!(decoder.read_buf(&mut self.out)).poll(cx) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(count)) => {
                    self.total += count as u64;
                    let fed = decoder.feed().raw.wire_bytes();
                    check(self.total, fed, self.max, self.max_ratio)?;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(cause(error))),
                Poll::Pending if self.out.is_empty() => {
                    self.out = BytesMut::new();
                    return Poll::Pending;
                }
                Poll::Pending => break,
            }
        }
        let piece = std::mem::take(&mut self.out).freeze();
        Poll::Ready(Ok(Some(piece).filter(|piece| !piece.is_empty())))
    }
}

fn check(total: u64, fed: u64, max: u64, max_ratio: u32) -> Result<(), CallError> {
    if total > max {
        return Err(too_large(format!("the decoded body has more than {max} bytes")));
    }
    if total > fed.saturating_mul(u64::from(max_ratio)).max(RATIO_FLOOR) {
        return Err(too_large(format!("the body became more than {max_ratio} times larger by decoding")));
    }
    Ok(())
}

/// What the wire said, if it was the wire that failed.
fn cause(error: io::Error) -> CallError {
    error
        .downcast::<CallError>()
        .unwrap_or_else(|error| broken(error).in_phase(Phase::Body))
}

enum Decoder {
    Gzip(GzipDecoder<Feed>),
    Zlib(ZlibDecoder<Feed>),
    Deflate(DeflateDecoder<Feed>),
    Brotli(Box<BrotliDecoder<Feed>>),
    Zstd(ZstdDecoder<Feed>),
}

impl Decoder {
    fn new(feed: Feed, coding: Coding) -> Self {
        match coding {
            Coding::Deflate if is_zlib(&feed.piece) => Decoder::Zlib(ZlibDecoder::new(feed)),
            Coding::Deflate => Decoder::Deflate(DeflateDecoder::new(feed)),
            Coding::Brotli => Decoder::Brotli(Box::new(BrotliDecoder::new(feed))),
            Coding::Zstd => Decoder::Zstd(ZstdDecoder::with_params(feed, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)])),
            Coding::Gzip | Coding::Identity | Coding::Unsupported => {
                let mut decoder = GzipDecoder::new(feed);
                decoder.multiple_members(true);
                Decoder::Gzip(decoder)
            }
        }
    }

    fn feed(&self) -> &Feed {
        match self {
            Decoder::Gzip(decoder) => decoder.get_ref(),
            Decoder::Zlib(decoder) => decoder.get_ref(),
            Decoder::Deflate(decoder) => decoder.get_ref(),
            Decoder::Brotli(decoder) => decoder.get_ref(),
            Decoder::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn into_feed(self) -> Feed {
        match self {
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zlib(decoder) => decoder.into_inner(),
            Decoder::Deflate(decoder) => decoder.into_inner(),
            Decoder::Brotli(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.into_inner(),
        }
    }
}

impl AsyncRead for Decoder {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Decoder::Gzip(decoder) => Pin::new(decoder).poll_read(cx, buf),
            Decoder::Zlib(decoder) => Pin::new(decoder).poll_read(cx, buf),
            Decoder::Deflate(decoder) => Pin::new(decoder).poll_read(cx, buf),
            Decoder::Brotli(decoder) => Pin::new(decoder).poll_read(cx, buf),
            Decoder::Zstd(decoder) => Pin::new(decoder).poll_read(cx, buf),
        }
    }
}

/// The body as sent, as decoders want it.
struct Feed {
    raw: Raw,
    piece: Bytes,
}

impl Feed {
    /// Waits for enough bytes to know what they are; whether there are none at all.
    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, CallError>> {
        while self.piece.len() < PEEKED {
            let Some(next) = ready!(self.raw.poll_piece(cx))? else { break };
            self.piece = if self.piece.is_empty() {
                next
            } else {
                Bytes::from([&self.piece[..], &next[..]].concat())
            };
        }
        Poll::Ready(Ok(self.piece.is_empty()))
    }
}

impl AsyncBufRead for Feed {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let feed = self.get_mut();
        if feed.piece.is_empty() {
            feed.piece = ready!(feed.raw.poll_piece(cx)).map_err(io::Error::other)?.unwrap_or_default();
        }
        Poll::Ready(Ok(&feed.piece))
    }

    fn consume(self: Pin<&mut Self>, count: usize) {
        self.get_mut().piece.advance(count);
    }
}

impl AsyncRead for Feed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = {
            let bytes = ready!(self.as_mut().poll_fill_buf(cx))?;
            let count = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..count]);
            count
        };
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}
