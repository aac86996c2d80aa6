//! The body of a client's request piece by piece, framed as strictly as a whole one: for what is passed on while it comes.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::body::{BodyFault, MAX_CHUNK_LINE, MAX_TRAILERS, chunk_size, line, refused};
use super::head::Framing;

/// The largest piece.
const PIECE: usize = 64 << 10;

/// What of a body is still to come.
#[derive(Debug)]
pub(super) struct Pieces {
    state: State,
    /// Bytes that may still come.
    room: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many bytes of a body with a length.
    Length(u64),
    /// The line that announces a chunk.
    ChunkLine,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    Over,
}

impl Pieces {
    /// A body framed like this, of at most `max` bytes.
    pub(super) fn new(framing: Framing, max: u64) -> Pieces {
        let state = match framing {
            Framing::Length(0) => State::Over,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkLine,
        };
        Pieces { state, room: max }
    }

    /// The next piece, not empty; None at the end, where `buffer` keeps what belongs to the next request. The caller sets the deadline, and
    /// asks no more once that has passed.
    pub(super) async fn next<I: AsyncRead + Unpin>(&mut self, io: &mut I, buffer: &mut BytesMut) -> Result<Option<Bytes>, BodyFault> {
        loop {
            match self.state {
                State::Over => return Ok(None),
                State::Length(left) => {
                    let piece = self.piece(left, io, buffer).await?;
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::Over } else { State::Length(left) };
                    return Ok(Some(piece));
                }
                State::Chunk(left) => {
                    let piece = self.piece(left, io, buffer).await?;
                    let left = left - piece.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    return Ok(Some(piece));
                }
                State::ChunkLine => match chunk_size(&line(io, buffer, MAX_CHUNK_LINE).await?)? {
                    0 => {
                        trailers(io, buffer).await?;
                        self.state = State::Over;
                    }
                    size => self.state = State::Chunk(size),
                },
                State::ChunkEnd => {
                    while buffer.len() < 2 {
                        fill(io, buffer).await?;
                    }
                    if buffer.split_to(2)[..] != *b"\r\n" {
                        return Err(refused(StatusCode::BAD_REQUEST, "a chunk is longer than it says"));
                    }
                    self.state = State::ChunkLine;
                }
            }
        }
    }

    async fn piece<I: AsyncRead + Unpin>(&mut self, left: u64, io: &mut I, buffer: &mut BytesMut) -> Result<Bytes, BodyFault> {
        if left > self.room {
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this route takes"));
        }
        if buffer.is_empty() {
            fill(io, buffer).await?;
        }
        let length = usize::try_from(left).unwrap_or(PIECE).min(buffer.len()).min(PIECE);
        self.room -= length as u64;
        Ok(buffer.split_to(length).freeze())
    }
}

/// Trailers are read and dropped.
async fn trailers<I: AsyncRead + Unpin>(io: &mut I, buffer: &mut BytesMut) -> Result<(), BodyFault> {
    let mut length = 0;
    loop {
        let line = line(io, buffer, MAX_TRAILERS).await?;
        if line.is_empty() {
            return Ok(());
        }
        length += line.len();
        if length > MAX_TRAILERS {
            return Err(refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the trailers are too large"));
        }
    }
}

async fn fill<I: AsyncRead + Unpin>(io: &mut I, buffer: &mut BytesMut) -> Result<(), BodyFault> {
    buffer.reserve(PIECE);
    match io.read_buf(buffer).await {
        Ok(0) | Err(_) => Err(BodyFault::Gone),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::body;
    use super::*;

    /// The body, and what follows it.
    async fn gathered(text: &[u8], framing: Framing, max: u64) -> Result<(Vec<u8>, Vec<u8>), BodyFault> {
        let (mut io, mut buffer) = (text, BytesMut::new());
        let (mut pieces, mut body) = (Pieces::new(framing, max), Vec::new());
        while let Some(piece) = pieces.next(&mut io, &mut buffer).await? {
            assert!(!piece.is_empty() && piece.len() <= PIECE);
            body.extend_from_slice(&piece);
        }
        assert!(pieces.next(&mut io, &mut buffer).await?.is_none());
        Ok((body, [&buffer[..], io].concat()))
    }

    /// Read piece by piece, a body is what it is when read whole, and what is refused whole is refused in pieces.
    #[tokio::test]
    async fn pieces_and_whole_bodies_agree() {
        let long = format!(
            "{:x};x=\"y\"\r\n{}\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\nNEXT",
            100_000,
            "z".repeat(100_000)
        );
        let cases: [(&[u8], Framing); 14] = [
            (b"abcNEXT", Framing::Length(3)),
            (b"NEXT", Framing::Length(0)),
            (b"ab", Framing::Length(3)),
            (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nNEXT", Framing::Chunked),
            (long.as_bytes(), Framing::Chunked),
            (b"0\r\n\r\n", Framing::Chunked),
            (b"3\r\nabcd\r\n0\r\n\r\n", Framing::Chunked),
            (b"3\r\nab", Framing::Chunked),
            (b"3\nabc\r\n0\r\n\r\n", Framing::Chunked),
            (b"x\r\n", Framing::Chunked),
            (b"-1\r\n", Framing::Chunked),
            (b"3\r\nabc\r\n0\r\nT: 1\n\r\n", Framing::Chunked),
            (b"1000000000000000\r\n", Framing::Chunked),
            (b"ffffffffffffff\r\nabc", Framing::Chunked),
        ];
        for (text, framing) in cases {
            let (mut io, mut buffer) = (text, BytesMut::new());
            let whole = body::read(&mut io, &mut buffer, framing, 200_000).await;
            let whole = whole.map(|body| (body.to_vec(), [&buffer[..], io].concat()));
            let pieces = gathered(text, framing, 200_000).await;
            let shown = String::from_utf8_lossy(&text[..text.len().min(40)]);
            match (whole, pieces) {
                (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces, "{shown}"),
                (Err(whole), Err(pieces)) => assert_eq!(format!("{whole:?}"), format!("{pieces:?}"), "{shown}"),
                (whole, pieces) => panic!("{shown}: {whole:?} and {pieces:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_body_in_chunks_is_stopped_at_its_limit() {
        let text = b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\nNEXT";
        assert_eq!(gathered(text, Framing::Chunked, 6).await.unwrap().0, b"abcdef");
        let Err(BodyFault::Refused(bad)) = gathered(text, Framing::Chunked, 5).await else {
            panic!("not refused");
        };
        assert_eq!(bad.status, 413);
    }
}
