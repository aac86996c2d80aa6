//! The chunked transfer coding (RFC 9112 section 7.1), decoded as bytes come.

use bytes::BytesMut;

use crate::client::connection::MAX_HEADERS;

/// Extensions and trailers stay below this, all together; hyper's limit for extensions alone.
const MAX_EXTRAS: usize = 16 << 10;

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, Debug)]
enum At {
    /// In the digits of a size; so many came.
    Size { size: u64, digits: u8 },
    /// Behind the digits, in blanks; no digit follows any more.
    SizeBlanks { size: u64 },
    /// In an extension.
    Extension { size: u64 },
    /// The line feed after a size.
    SizeFeed { size: u64 },
    /// In the data; so many bytes of it are left.
    Data { left: u64 },
    /// The return after the data.
    DataReturn,
    /// The line feed after the data.
    DataFeed,
    /// At the start of a line of the trailers.
    TrailerStart,
    /// In its name.
    TrailerName,
    /// Behind its colon.
    TrailerValue,
    /// The line feed of such a line.
    TrailerFeed,
    /// The last line feed.
    LastFeed,
    /// Behind the end.
    End,
}

/// A decoder for one body.
#[derive(Debug)]
pub(super) struct Chunks {
    at: At,
    extras: usize,
    trailers: usize,
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkFault {
    /// It breaks the coding.
    Broken(&'static str),
    /// It has more than the cap.
    TooLarge,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Chunks {
            at: At::Size { size: 0, digits: 0 },
            extras: 0,
            trailers: 0,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// Decodes what came into `body`, which never grows beyond `max`. Returns how many bytes belonged to the coding; fewer than came
    /// only behind the end.
    pub(super) fn feed(&mut self, input: &[u8], body: &mut BytesMut, max: u64) -> Result<usize, ChunkFault> {
        let mut read = 0;
        while read < input.len() && !self.is_done() {
            if let At::Data { left } = self.at {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - read);
                body.extend_from_slice(&input[read..read + length]);
                read += length;
                let left = left - length as u64;
                self.at = if left == 0 { At::DataReturn } else { At::Data { left } };
                continue;
            }
            self.at = self.step(input[read], body.len() as u64, max)?;
            read += 1;
        }
        Ok(read)
    }

    fn step(&mut self, byte: u8, length: u64, max: u64) -> Result<At, ChunkFault> {
        let broken = |what| Err(ChunkFault::Broken(what));
        Ok(match (self.at, byte) {
            (At::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == 16 {
                    return broken("a chunk's size has more than 16 digits");
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                At::Size {
                    size: size << 4 | digit,
                    digits: digits + 1,
                }
            }
            (At::Size { digits: 0, .. }, _) => return broken("a chunk's size is no hexadecimal number"),
            (At::Size { size, .. } | At::SizeBlanks { size } | At::Extension { size }, b'\r') => At::SizeFeed { size },
            (At::Size { size, .. } | At::SizeBlanks { size }, b' ' | b'\t') => {
                self.count_extra()?;
                At::SizeBlanks { size }
            }
            (At::Size { size, .. } | At::SizeBlanks { size }, b';') => At::Extension { size },
            (At::Size { .. } | At::SizeBlanks { .. }, _) => return broken("a chunk's size is no hexadecimal number"),
            (At::Extension { .. }, b'\n') => return broken("a chunk's size line ends with a bare line feed"),
            (At::Extension { size }, _) => {
                self.count_extra()?;
                At::Extension { size }
            }
            (At::SizeFeed { size: 0 }, b'\n') => At::TrailerStart,
            (At::SizeFeed { size }, b'\n') => {
                if size > max.saturating_sub(length) {
                    return Err(ChunkFault::TooLarge);
                }
                At::Data { left: size }
            }
            (At::DataReturn, b'\r') => At::DataFeed,
            (At::DataFeed, b'\n') => At::Size { size: 0, digits: 0 },
            (At::TrailerStart, b'\r') => At::LastFeed,
            (At::TrailerStart, _) if is_token(byte) => {
                self.count_trailer()?;
                At::TrailerName
            }
            (At::TrailerName, b':') => At::TrailerValue,
            (At::TrailerName, _) if is_token(byte) => {
                self.count_extra()?;
                At::TrailerName
            }
            (At::TrailerValue, b'\r') => At::TrailerFeed,
            (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_extra()?;
                At::TrailerValue
            }
            (At::TrailerStart | At::TrailerName | At::TrailerValue, _) => return broken("a trailer is no line `name: value`"),
            (At::TrailerFeed, b'\n') => At::TrailerStart,
            (At::LastFeed, b'\n') => At::End,
            (At::DataReturn | At::DataFeed, _) => return broken("a chunk is longer than its size"),
            (At::SizeFeed { .. } | At::TrailerFeed | At::LastFeed, _) => return broken("a return without its line feed between chunks"),
            (At::Data { .. } | At::End, _) => self.at,
        })
    }

    fn count_extra(&mut self) -> Result<(), ChunkFault> {
        self.extras += 1;
        if self.extras < MAX_EXTRAS {
            Ok(())
        } else {
            Err(ChunkFault::Broken("chunk extensions or trailers of 16 KiB or more"))
        }
    }

    fn count_trailer(&mut self) -> Result<(), ChunkFault> {
        self.trailers += 1;
        if self.trailers > MAX_HEADERS {
            Err(ChunkFault::Broken("the body has more than 100 trailers"))
        } else {
            self.count_extra()
        }
    }
}

/// Whether a name may have this byte (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(text: &[u8], split: usize, max: u64) -> Result<(BytesMut, usize, bool), ChunkFault> {
        let (mut chunks, mut body, mut used) = (Chunks::new(), BytesMut::new(), 0);
        for piece in text.chunks(split) {
            used += chunks.feed(piece, &mut body, max)?;
        }
        Ok((body, used, chunks.is_done()))
    }

    #[test]
    fn chunks_extensions_and_trailers_at_every_split() {
        let text = b"5;a=\"b\"\r\nhello\r\n1 \r\n \r\nA\r\n0123456789\r\n000\r\nX: y\r\nZ:\r\n\r\nnext";
        for split in 1..text.len() {
            let (body, used, done) = decode(text, split, 100).unwrap();
            assert_eq!((&body[..], used, done), (&b"hello 0123456789"[..], text.len() - 4, true), "{split}");
        }
    }

    #[test]
    fn broken_codings_are_refused() {
        for text in [
            &b"\r\n"[..],
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1\nA\r\n0\r\n\r\n",
            b"1\r\nAB",
            b"1\r\nA\nB",
            b"1\rA",
            b"1;x\nA",
            b"0\r\n\n",
            b"0\r\nX: y\n",
            b"0\r\nX\rY",
            b"11111111111111111\r\n",
            b"1 x\r\nA",
            b"1 1\r\nA",
            b"0\r\nX\r\n",
            b"0\r\n: y\r\n",
            b"0\r\nX : y\r\n",
            b"0\r\n X: y\r\n",
            b"0\r\nX: \0\r\n",
        ] {
            assert!(
                matches!(decode(text, 3, 100), Err(ChunkFault::Broken(_))),
                "{:?}",
                String::from_utf8_lossy(text)
            );
        }
        let long = [b"1;".to_vec(), vec![b'x'; MAX_EXTRAS]].concat();
        assert!(matches!(decode(&long, 4096, 100), Err(ChunkFault::Broken(_))));
        assert!(decode(&long[..long.len() - 1], 4096, 100).is_ok());
        let trailers = |count| format!("0\r\n{}\r\n", "x: y\r\n".repeat(count));
        assert!(decode(trailers(100).as_bytes(), 4096, 100).unwrap().2);
        assert!(decode(trailers(101).as_bytes(), 4096, 100).is_err());
    }

    #[test]
    fn the_cap_holds_before_the_data_comes() {
        assert_eq!(decode(b"5\r\nhello\r\n6\r\n", 1, 10).unwrap_err(), ChunkFault::TooLarge);
        assert_eq!(decode(b"ffffffffffffffff\r\n", 1, 10).unwrap_err(), ChunkFault::TooLarge);
        assert!(decode(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", 1, 10).unwrap().2);
    }

    #[test]
    fn a_coding_cut_anywhere_is_not_done() {
        let text = b"5\r\nhello\r\n0\r\nX: y\r\n\r\n";
        for end in 0..text.len() {
            assert!(!decode(&text[..end], 4, 100).unwrap().2, "{end}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..10), split in 1usize..50) {
            let mut text = Vec::new();
            for piece in &pieces {
                text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
            let (body, used, done) = decode(&text, split, 1 << 20).unwrap();
            prop_assert_eq!(&body[..], &pieces.concat()[..]);
            prop_assert_eq!((used, done), (text.len(), true));
        }

        #[test]
        fn nonsense_never_panics_or_outgrows(text in proptest::collection::vec(any::<u8>(), 0..500), split in 1usize..50) {
            if let Ok((body, used, _)) = decode(&text, split, 100) {
                prop_assert!(body.len() <= 100 && used <= text.len());
            }
        }
    }
}
