//! The body of an answer, bounded: its announced length is judged before a byte is read, what comes is counted while it is
//! read, and decoding is stopped at the same cap and at a ratio no honest body has.

use std::io;
use std::time::Duration;

use async_compression::tokio::bufread::{BrotliDecoder, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use http::header::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{CallError, Kind, Phase};

/// Sizes and limits of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLimits {
    /// The largest body in bytes, as sent and as decoded; `u64::MAX` for a streamed one without a limit.
    pub max_body: u64,
    /// How many times larger a body may become by decoding, once it is larger than 64 KiB.
    pub max_ratio: u32,
    /// From sending the request to the head of the answer.
    pub first_byte: Option<Duration>,
    /// Between two pieces of the body.
    pub body_idle: Option<Duration>,
}

impl Default for WireLimits {
    /// 8 MiB, 100:1, no limit of its own to the first byte, 5 s between pieces.
    fn default() -> Self {
        WireLimits {
            max_body: 8 << 20,
            max_ratio: 100,
            first_byte: None,
            body_idle: Some(Duration::from_secs(5)),
        }
    }
}

/// Below this a high ratio is usual (an empty table compresses well) and harmless.
const RATIO_FLOOR: u64 = 64 << 10;
/// Decoded at once before other futures get a turn: about 100 µs.
pub(super) const DECODE_SLICE: usize = 64 << 10;
/// RFC 9659: a zstd window of at most 8 MiB. The frame's own word could make the decoder allocate 128 MiB.
pub(super) const ZSTD_WINDOW_LOG: u32 = 23;
/// What is set aside at once because a length was announced; the rest follows as bytes come.
pub(super) const FIRST_RESERVE: u64 = 1 << 20;

/// What the head says about the body and the connection, read in one pass over the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    /// The announced length.
    pub(super) length: Option<u64>,
    pub(super) is_chunked: bool,
    pub(super) coding: Coding,
    /// `Connection: close`.
    pub(super) says_close: bool,
    /// `Connection: keep-alive`.
    pub(super) says_keep_alive: bool,
    /// `Keep-Alive: timeout=n`.
    pub(super) keep_alive: Option<Duration>,
    /// Whether it says anything of how long the answer may be kept, or of what it varies by (RFC 9111).
    pub(super) says_caching: bool,
}

impl Framing {
    /// Reads the headers and refuses what two readers could frame in two ways (RFC 9112 section 6.3): a length beside a
    /// transfer coding, a second length, a transfer coding other than `chunked`. Names may be in any case.
    pub(super) fn read<'h>(headers: impl Iterator<Item = (&'h [u8], &'h [u8])>) -> Result<Self, &'static str> {
        let mut framing = Framing {
            length: None,
            is_chunked: false,
            coding: Coding::Identity,
            says_close: false,
            says_keep_alive: false,
            keep_alive: None,
            says_caching: false,
        };
        for (name, value) in headers {
            // The length tells most names apart before a byte is compared.
            let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
            match name.len() {
                14 if is("content-length") => match (framing.length, parse_length(value)) {
                    (None, Some(length)) => framing.length = Some(length),
                    (Some(_), _) => return Err("the answer has two lengths"),
                    (None, None) => return Err("the answer's length is not a number"),
                },
                17 if is("transfer-encoding") => match value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    true if !framing.is_chunked => framing.is_chunked = true,
                    _ => return Err("the answer has a transfer coding other than `chunked`"),
                },
                16 if is("content-encoding") => {
                    framing.coding = match (framing.coding, Coding::of(value)) {
                        (before, Coding::Identity) => before,
                        (Coding::Identity, coding) => coding,
                        _ => Coding::Unsupported,
                    };
                }
                10 if is("connection") => {
                    for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                        framing.says_close |= token.eq_ignore_ascii_case(b"close");
                        // A header that is no text may ask to close, not to keep open.
                        framing.says_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive") && value.is_ascii();
                    }
                }
                13 if is("cache-control") => framing.says_caching = true,
                7 if is("expires") => framing.says_caching = true,
                4 if is("vary") => framing.says_caching = true,
                10 if is("keep-alive") => framing.keep_alive = parse_keep_alive(value),
                _ => {}
            }
        }
        if framing.is_chunked && framing.length.is_some() {
            return Err("the answer has a length and a transfer coding");
        }
        Ok(framing)
    }

    /// The same for headers in a map.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, CallError> {
        let headers = headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        Framing::read(headers).map_err(|what| CallError::new(Kind::Protocol, what).in_phase(Phase::FirstByte))
    }
}

/// Digits only: `+5` and `5, 5` are numbers to some parsers and none to others.
fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn parse_keep_alive(value: &[u8]) -> Option<Duration> {
    let parameters = std::str::from_utf8(value).ok()?.split(',');
    let timeout = parameters
        .filter_map(|parameter| parameter.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    timeout.1.trim().parse().ok().map(Duration::from_secs)
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
    /// More than one layer, or a coding that nobody asked for.
    Unsupported,
}

impl Coding {
    pub(super) fn unsupported() -> CallError {
        CallError::new(
            Kind::Decode,
            "the body has a content coding that is not one of `gzip`, `deflate`, `br`, `zstd`",
        )
        .in_phase(Phase::Body)
        .after_send()
    }

    fn of(value: &[u8]) -> Self {
        let name = value.trim_ascii();
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match () {
            () if name.is_empty() || is("identity") => Coding::Identity,
            () if is("gzip") || is("x-gzip") => Coding::Gzip,
            () if is("deflate") => Coding::Deflate,
            () if is("br") => Coding::Brotli,
            () if is("zstd") => Coding::Zstd,
            () => Coding::Unsupported,
        }
    }
}

/// Counts the bytes of a body against the cap and against what was announced.
pub(super) struct Counter {
    length: u64,
    announced: Option<u64>,
    max: u64,
}

impl Counter {
    /// Refuses an announced length above the cap before anything is read. `announced` is what the body will have, not what
    /// a head without body says about one.
    pub(super) fn new(announced: Option<u64>, max: u64) -> Result<Self, CallError> {
        match announced {
            Some(length) if length > max => Err(too_large(format!(
                "a body of {length} bytes is announced, at most {max} are accepted"
            ))),
            _ => Ok(Counter { length: 0, announced, max }),
        }
    }

    pub(super) fn count(&mut self, bytes: usize) -> Result<(), CallError> {
        self.length += bytes as u64;
        if self.length > self.max {
            return Err(too_large(format!("the body has more than {} bytes", self.max)));
        }
        Ok(())
    }

    /// Whether fewer bytes came than were announced.
    pub(super) fn is_short(&self) -> bool {
        self.announced.is_some_and(|announced| self.length < announced)
    }
}

/// Gathers the pieces of a body up to the cap. A body that comes in one piece is not copied.
pub(super) struct Collector {
    first: Bytes,
    rest: BytesMut,
    counter: Counter,
}

impl Collector {
    /// Refuses an announced length above the cap before anything is read.
    pub(super) fn new(announced: Option<u64>, max: u64) -> Result<Self, CallError> {
        Ok(Collector {
            first: Bytes::new(),
            rest: BytesMut::new(),
            counter: Counter::new(announced, max)?,
        })
    }

    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), CallError> {
        self.counter.count(piece.len())?;
        if self.first.is_empty() && self.rest.is_empty() {
            self.first = piece;
            return Ok(());
        }
        if self.rest.is_empty() {
            let expected = self.counter.announced.unwrap_or(0).min(FIRST_RESERVE) as usize;
            self.rest.reserve(expected.max(self.first.len() + piece.len()));
            self.rest.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.rest.extend_from_slice(&piece);
        Ok(())
    }

    /// Whether fewer bytes came than were announced.
    pub(super) fn is_short(&self) -> bool {
        self.counter.is_short()
    }

    pub(super) fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

/// Undoes the coding. Gives way to other futures between slices, so a large body does not hold the loop.
///
/// # Errors
/// [`Kind::Decode`] for what is broken, cut off or has more than one layer; [`Kind::TooLarge`] above the cap or the ratio.
pub(super) async fn decode(body: Bytes, coding: Coding, limits: &WireLimits) -> Result<Bytes, CallError> {
    if body.is_empty() {
        return Ok(body);
    }
    let reader = &body[..];
    match coding {
        Coding::Identity => return Ok(body),
        Coding::Unsupported => return Err(Coding::unsupported()),
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(reader);
            decoder.multiple_members(true);
            inflate(decoder, body.len(), limits).await
        }
        // The name means zlib (RFC 9110 section 8.4.1.2), but some servers send the bare stream.
        Coding::Deflate if is_zlib(&body) => inflate(ZlibDecoder::new(reader), body.len(), limits).await,
        Coding::Deflate => inflate(DeflateDecoder::new(reader), body.len(), limits).await,
        Coding::Brotli => inflate(BrotliDecoder::new(reader), body.len(), limits).await,
        Coding::Zstd => {
            inflate(
                ZstdDecoder::with_params(reader, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)]),
                body.len(),
                limits,
            )
            .await
        }
    }
    .map_err(|error| error.in_phase(Phase::Body))
}

/// RFC 1950 section 2.2: method 8, and a check over the first two bytes.
pub(super) fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31))
}

async fn inflate(mut decoder: impl AsyncRead + Unpin, encoded: usize, limits: &WireLimits) -> Result<Bytes, CallError> {
    let by_ratio = (encoded as u64).saturating_mul(u64::from(limits.max_ratio)).max(RATIO_FLOOR);
    let mut out = BytesMut::with_capacity(encoded.saturating_mul(4).min(DECODE_SLICE));
    let mut since_yield = 0;
    loop {
        let read = decoder.read_buf(&mut out).await.map_err(broken)?;
        if read == 0 {
            return Ok(out.freeze());
        }
        let length = out.len() as u64;
        if length > limits.max_body {
            return Err(too_large(format!("the decoded body has more than {} bytes", limits.max_body)));
        }
        if length > by_ratio {
            return Err(too_large(format!(
                "the body became more than {} times larger by decoding",
                limits.max_ratio
            )));
        }
        since_yield += read;
        if since_yield >= DECODE_SLICE {
            since_yield = 0;
            tokio::task::yield_now().await;
        }
        if out.capacity() == out.len() {
            out.reserve(out.len().clamp(1024, DECODE_SLICE));
        }
    }
}

pub(super) fn broken(error: io::Error) -> CallError {
    CallError::new(Kind::Decode, format!("the body cannot be decoded: {error}")).caused_by(error)
}

pub(super) fn too_large(detail: String) -> CallError {
    CallError::new(Kind::TooLarge, detail).in_phase(Phase::Body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::HeaderValue;
    use async_compression::tokio::bufread::{BrotliEncoder, DeflateEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};

    async fn all(mut reader: impl AsyncRead + Unpin) -> Bytes {
        let mut out = Vec::new();
        reader.read_to_end(&mut out).await.unwrap();
        out.into()
    }

    fn text() -> Vec<u8> {
        (0..2000)
            .map(|n| format!("{{\"id\":{n},\"name\":\"item {}\"}},", n * 7919 % 1000))
            .collect::<String>()
            .into_bytes()
    }

    #[tokio::test]
    async fn every_coding_comes_back_as_it_was() {
        let text = text();
        let limits = WireLimits::default();
        let cases = [
            (Coding::Gzip, all(GzipEncoder::new(&text[..])).await),
            (Coding::Deflate, all(ZlibEncoder::new(&text[..])).await),
            (Coding::Deflate, all(DeflateEncoder::new(&text[..])).await),
            (Coding::Brotli, all(BrotliEncoder::new(&text[..])).await),
            (Coding::Zstd, all(ZstdEncoder::new(&text[..])).await),
        ];
        for (coding, encoded) in cases {
            assert!(encoded.len() < text.len() / 2);
            assert_eq!(decode(encoded, coding, &limits).await.unwrap(), text, "{coding:?}");
            assert!(
                decode(Bytes::new(), coding, &limits).await.unwrap().is_empty(),
                "{coding:?}: an empty body has no coding"
            );
        }
    }

    #[tokio::test]
    async fn what_is_cut_off_or_broken_is_a_decode_fault() {
        let text = text();
        let limits = WireLimits::default();
        let gzip = all(GzipEncoder::new(&text[..])).await;
        let zstd = all(ZstdEncoder::new(&text[..])).await;
        let brotli = all(BrotliEncoder::new(&text[..])).await;
        for (coding, encoded) in [(Coding::Gzip, gzip.clone()), (Coding::Zstd, zstd), (Coding::Brotli, brotli)] {
            let error = decode(encoded.slice(..encoded.len() / 2), coding, &limits).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Decode, "{coding:?}: {error}");
        }
        let mut flipped = gzip.to_vec();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x55;
        assert_eq!(
            decode(flipped.into(), Coding::Gzip, &limits).await.unwrap_err().kind(),
            Kind::Decode
        );
        assert_eq!(decode(gzip, Coding::Unsupported, &limits).await.unwrap_err().kind(), Kind::Decode);
    }

    #[tokio::test]
    async fn a_bomb_is_stopped_at_the_ratio_and_at_the_cap() {
        let zeros = vec![0; 64 << 20];
        let bomb = all(GzipEncoder::new(&zeros[..])).await;
        let error = decode(bomb.clone(), Coding::Gzip, &WireLimits::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge);
        assert!(error.detail().contains("100 times"), "{error}");
        let capped = WireLimits {
            max_ratio: u32::MAX,
            max_body: 100_000,
            ..WireLimits::default()
        };
        let error = decode(bomb, Coding::Gzip, &capped).await.unwrap_err();
        assert!(error.kind() == Kind::TooLarge && error.detail().contains("100000 bytes"), "{error}");
    }

    #[test]
    fn an_announced_length_is_judged_before_reading() {
        assert_eq!(Collector::new(Some(11), 10).err().unwrap().kind(), Kind::TooLarge);
        let mut body = Collector::new(None, 10).unwrap();
        body.push(Bytes::from_static(b"12345")).unwrap();
        body.push(Bytes::from_static(b"67890")).unwrap();
        assert_eq!(body.push(Bytes::from_static(b"1")).unwrap_err().kind(), Kind::TooLarge);
    }

    #[test]
    fn one_piece_is_not_copied_and_many_are_joined() {
        let piece = Bytes::from_static(b"whole");
        let mut body = Collector::new(Some(5), 10).unwrap();
        assert!(body.is_short());
        body.push(piece.clone()).unwrap();
        assert!(!body.is_short());
        assert_eq!(body.finish().as_ptr(), piece.as_ptr());
        let mut body = Collector::new(None, 10).unwrap();
        for piece in ["a", "bc", "", "def"] {
            body.push(Bytes::from_static(piece.as_bytes())).unwrap();
        }
        assert_eq!(body.finish(), "abcdef");
    }

    fn framing(headers: &[(&str, &str)]) -> Result<Framing, CallError> {
        let pairs = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value): (http::HeaderName, HeaderValue)| _ = map.append(name, value));
        Framing::of(&map)
    }

    #[test]
    fn a_head_that_can_be_framed_in_two_ways_is_refused() {
        let broken: [&[(&str, &str)]; 6] = [
            &[("content-length", "5"), ("content-length", "5")],
            &[("content-length", "5, 5")],
            &[("content-length", "+5")],
            &[("content-length", "5"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "gzip, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ];
        for headers in broken {
            assert_eq!(framing(headers).unwrap_err().kind(), Kind::Protocol, "{headers:?}");
        }
    }

    #[test]
    fn a_usual_head_is_read_in_one_pass() {
        let said = framing(&[
            ("content-length", "12"),
            ("content-encoding", "GZip"),
            ("keep-alive", "max=100, timeout=5"),
        ])
        .unwrap();
        assert_eq!(
            said,
            Framing {
                length: Some(12),
                is_chunked: false,
                coding: Coding::Gzip,
                says_close: false,
                says_keep_alive: false,
                keep_alive: Some(Duration::from_secs(5)),
                says_caching: false,
            }
        );
        assert_eq!(
            framing(&[("content-encoding", "gzip"), ("content-encoding", "br")]).unwrap().coding,
            Coding::Unsupported
        );
        assert_eq!(framing(&[("content-encoding", "gzip, gzip")]).unwrap().coding, Coding::Unsupported);
        assert_eq!(framing(&[]).unwrap().coding, Coding::Identity);
    }
}
