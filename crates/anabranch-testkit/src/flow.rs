//! The body of a reply as it leaves: a sequence of pieces, made one at a time so that a body of gigabytes costs one piece of memory.

use bytes::Bytes;
use std::{collections::VecDeque, time::Duration};

/// The size of a piece of a generated body.
const PIECE: u64 = 16 * 1024;

/// A body on its way out.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The length in bytes, where it is known.
    pub(crate) length: Option<u64>,
    /// The pause between two pieces.
    pub(crate) interval: Duration,
    pieces: Pieces,
}

#[derive(Debug)]
enum Pieces {
    Listed(VecDeque<Bytes>),
    ByteByByte(Bytes),
    /// A JSON string of the letter x.
    Big {
        sent: u64,
        size: u64,
    },
    Endless,
}

impl Flow {
    /// Sends the whole body as one piece.
    pub(crate) fn whole(body: Bytes) -> Self {
        Self::listed(vec![body], Duration::ZERO)
    }

    /// Sends the pieces one by one.
    pub(crate) fn listed(pieces: Vec<Bytes>, interval: Duration) -> Self {
        // An empty piece would be read as the last chunk of a chunked body.
        let pieces: VecDeque<Bytes> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self {
            length: Some(length),
            interval,
            pieces: Pieces::Listed(pieces),
        }
    }

    /// Sends a JSON string of the letter x, `size` bytes in all.
    pub(crate) fn big(size: u64) -> Self {
        Self {
            length: Some(size),
            interval: Duration::ZERO,
            pieces: Pieces::Big { sent: 0, size },
        }
    }

    /// Sends pieces without end.
    pub(crate) fn endless() -> Self {
        Self {
            length: None,
            interval: Duration::ZERO,
            pieces: Pieces::Endless,
        }
    }

    /// Sends the same body one byte at a time. Generated bodies have no end worth waiting for and stay as they are.
    pub(crate) fn byte_by_byte(self, interval: Duration) -> Self {
        match self.pieces {
            Pieces::Listed(pieces) => {
                let body: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
                Self {
                    length: self.length,
                    interval,
                    pieces: Pieces::ByteByByte(body.into()),
                }
            }
            _ => self,
        }
    }

    /// Makes the next piece, or tells that there is none; a piece is never empty.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        match &mut self.pieces {
            Pieces::Listed(pieces) => pieces.pop_front(),
            Pieces::ByteByByte(body) if body.is_empty() => None,
            Pieces::ByteByByte(body) => Some(body.split_to(1)),
            Pieces::Big { sent, size } if sent == size => None,
            Pieces::Big { sent, size } => {
                let piece = big_piece(*sent, *size);
                *sent += piece.len() as u64;
                Some(piece)
            }
            Pieces::Endless => Some(Bytes::from(vec![b'x'; PIECE as usize])),
        }
    }
}

fn big_piece(sent: u64, size: u64) -> Bytes {
    let length = PIECE.min(size - sent);
    let mut piece = vec![b'x'; length as usize];
    if sent == 0 {
        piece[0] = b'"';
    }
    if sent + length == size {
        piece[length as usize - 1] = b'"';
    }
    piece.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut flow: Flow) -> Vec<Bytes> {
        std::iter::from_fn(|| flow.next()).collect()
    }

    #[test]
    fn a_big_body_is_one_json_string_of_the_size_asked_for() {
        for size in [2, 3, PIECE, PIECE + 1, 3 * PIECE - 1] {
            let body = all(Flow::big(size)).concat();
            assert_eq!(body.len() as u64, size);
            assert!(body.starts_with(b"\"") && body.ends_with(b"\""));
            assert!(body[1..body.len() - 1].iter().all(|&byte| byte == b'x'));
        }
        assert!(all(Flow::big(0)).is_empty());
    }

    #[test]
    fn a_dripped_body_is_the_same_body_in_single_bytes() {
        let flow = Flow::listed(vec!["ab".into(), "".into(), "c".into()], Duration::ZERO).byte_by_byte(Duration::from_millis(1));
        assert_eq!(flow.length, Some(3));
        assert_eq!(flow.interval, Duration::from_millis(1));
        assert_eq!(all(flow), ["a", "b", "c"]);
    }
}
