//! The body of a client's request: read whole, bounded, strictly framed.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::head::{BadHead, Framing};

/// The longest line that announces a chunk, extensions included.
pub(super) const MAX_CHUNK_LINE: usize = 256;
/// The largest trailer section; trailers are read and dropped.
pub(super) const MAX_TRAILERS: usize = 4096;

/// Why no body came.
#[derive(Debug)]
pub(crate) enum BodyFault {
    /// The client closed, or the transport failed.
    Gone,
    /// It is refused; the connection closes after the answer.
    Refused(BadHead),
}

pub(super) fn refused(status: StatusCode, why: &'static str) -> BodyFault {
    BodyFault::Refused(BadHead { status, why })
}

/// Reads the body that follows a head; `buffer` holds what was read behind the head and keeps what belongs to the next request.
/// Refuses by the announced length before reading. The caller sets the deadline.
pub(crate) async fn read<I: AsyncRead + Unpin>(io: &mut I, buffer: &mut BytesMut, framing: Framing, max: u64) -> Result<Bytes, BodyFault> {
    match framing {
        Framing::Length(0) => Ok(Bytes::new()),
        Framing::Length(length) if length > max => Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this route takes")),
        Framing::Length(length) => {
            let length =
                usize::try_from(length).map_err(|_| refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this route takes"))?;
            while buffer.len() < length {
                more(io, buffer).await?;
            }
            Ok(buffer.split_to(length).freeze())
        }
        Framing::Chunked => chunks(io, buffer, max).await,
    }
}

async fn chunks<I: AsyncRead + Unpin>(io: &mut I, buffer: &mut BytesMut, max: u64) -> Result<Bytes, BodyFault> {
    let mut body = BytesMut::new();
    loop {
        let size = chunk_size(&line(io, buffer, MAX_CHUNK_LINE).await?)?;
        if size == 0 {
            break;
        }
        if body.len() as u64 + size > max {
            return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than this route takes"));
        }
        let size = usize::try_from(size).map_err(|_| refused(StatusCode::PAYLOAD_TOO_LARGE, "a chunk is too large"))?;
        while buffer.len() < size + 2 {
            more(io, buffer).await?;
        }
        body.extend_from_slice(&buffer.split_to(size));
        if buffer.split_to(2)[..] != *b"\r\n" {
            return Err(refused(StatusCode::BAD_REQUEST, "a chunk is longer than it says"));
        }
    }
    let mut trailers = 0;
    loop {
        let line = line(io, buffer, MAX_TRAILERS).await?;
        if line.is_empty() {
            return Ok(body.freeze());
        }
        trailers += line.len();
        if trailers > MAX_TRAILERS {
            return Err(refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the trailers are too large"));
        }
    }
}

/// Hexadecimal digits, then nothing or an extension (RFC 9112 section 7.1).
pub(super) fn chunk_size(line: &[u8]) -> Result<u64, BodyFault> {
    let digits = line.iter().position(|byte| *byte == b';').map_or(line, |at| &line[..at]);
    let digits = digits.trim_ascii_end();
    let plain = !digits.is_empty() && digits.len() <= 15 && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| plain);
    text.and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| refused(StatusCode::BAD_REQUEST, "a chunk size is no hexadecimal number"))
}

pub(super) async fn line<I: AsyncRead + Unpin>(io: &mut I, buffer: &mut BytesMut, max: usize) -> Result<BytesMut, BodyFault> {
    loop {
        if let Some(at) = buffer.iter().position(|byte| *byte == b'\n') {
            let mut line = buffer.split_to(at + 1);
            if at == 0 || line[at - 1] != b'\r' {
                return Err(refused(StatusCode::BAD_REQUEST, "a line between chunks ends with a bare line feed"));
            }
            line.truncate(at - 1);
            return Ok(line);
        }
        if buffer.len() > max {
            return Err(refused(StatusCode::BAD_REQUEST, "a line between chunks is too long"));
        }
        more(io, buffer).await?;
    }
}

async fn more<I: AsyncRead + Unpin>(io: &mut I, buffer: &mut BytesMut) -> Result<(), BodyFault> {
    buffer.reserve(4096);
    match io.read_buf(buffer).await {
        Ok(0) | Err(_) => Err(BodyFault::Gone),
        Ok(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(text: &'static [u8], framing: Framing, max: u64) -> Result<(Bytes, BytesMut), BodyFault> {
        let mut io = text;
        let mut buffer = BytesMut::new();
        read(&mut io, &mut buffer, framing, max).await.map(|body| (body, buffer))
    }

    fn status(result: Result<(Bytes, BytesMut), BodyFault>) -> u16 {
        match result {
            Err(BodyFault::Refused(bad)) => bad.status.as_u16(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_body_ends_where_it_says_and_the_rest_is_kept() {
        let (body, rest) = read_all(b"abcNEXT", Framing::Length(3), 10).await.expect("body");
        assert_eq!((&body[..], &rest[..]), (&b"abc"[..], &b"NEXT"[..]));
        let (body, rest) = read_all(b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\nNEXT", Framing::Chunked, 10)
            .await
            .expect("body");
        assert_eq!((&body[..], &rest[..]), (&b"abcde"[..], &b"NEXT"[..]));
    }

    #[tokio::test]
    async fn too_large_is_refused_by_length_and_while_reading() {
        assert_eq!(status(read_all(b"", Framing::Length(11), 10).await), 413);
        assert_eq!(
            status(read_all(b"6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n", Framing::Chunked, 10).await),
            413
        );
    }

    #[tokio::test]
    async fn broken_chunks_are_refused() {
        for text in [
            &b"x\r\n"[..],
            b"-1\r\n",
            b"\r\n",
            b"3\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"0x3\r\nabc\r\n",
            b"1000000000000000\r\n",
        ] {
            assert_eq!(status(read_all(text, Framing::Chunked, 10).await), 400, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_in_the_middle_is_gone() {
        assert!(matches!(read_all(b"ab", Framing::Length(3), 10).await, Err(BodyFault::Gone)));
        assert!(matches!(read_all(b"3\r\nab", Framing::Chunked, 10).await, Err(BodyFault::Gone)));
    }
}
