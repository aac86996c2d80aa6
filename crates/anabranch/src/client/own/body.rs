//! The body of an answer as it comes in, in any of the three framings.

use bytes::{Bytes, BytesMut};

use super::chunks::{ChunkFault, Chunks};
use super::head::AnswerHead;
use crate::client::body::{FIRST_RESERVE, too_large};
use crate::{CallError, Kind, Phase};

/// Less room than this is not read into.
const SMALL_READ: usize = 4 << 10;

/// A body, as far as it came.
pub(super) struct Incoming {
    body: BytesMut,
    left: Left,
    max: u64,
    /// How much of it was taken out already.
    split: u64,
    /// Whether bytes came that belong to no body.
    has_stray: bool,
}

/// What is missing.
enum Left {
    /// So many bytes.
    Length(u64),
    Chunks(Chunks),
    /// All until the peer closes.
    UntilClose,
}

impl Incoming {
    /// Judges the announced length before a byte of the body is taken. `is_bare`: whatever the head says, no body follows (RFC 9110
    /// section 6.4.1). `reserve`: the most memory that is set aside at once for a body of known length.
    pub(super) fn new(head: &AnswerHead, is_bare: bool, max: u64, reserve: u64) -> Result<Self, CallError> {
        let left = match (is_bare, head.framing.is_chunked, head.framing.length) {
            (true, ..) => Left::Length(0),
            (_, true, _) => Left::Chunks(Chunks::new()),
            (_, _, Some(length)) if length > max => {
                return Err(too_large(format!(
                    "a body of {length} bytes is announced, at most {max} are accepted"
                )));
            }
            (_, _, Some(length)) => Left::Length(length),
            (_, _, None) => Left::UntilClose,
        };
        let reserve = if let Left::Length(length) = &left {
            (*length).min(reserve) as usize
        } else {
            0
        };
        Ok(Incoming {
            body: BytesMut::with_capacity(reserve),
            left,
            max,
            split: 0,
            has_stray: false,
        })
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        let used = match &mut self.left {
            Left::Length(left) => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                self.body.extend_from_slice(&bytes[..used]);
                *left -= used as u64;
                used
            }
            Left::Chunks(chunks) => chunks.feed(bytes, &mut self.body, self.max).map_err(|fault| match fault {
                ChunkFault::Broken(what) => CallError::new(Kind::Protocol, what).in_phase(Phase::Body),
                ChunkFault::TooLarge => above(self.max + self.split),
            })?,
            Left::UntilClose if (self.body.len() + bytes.len()) as u64 > self.max => return Err(above(self.max + self.split)),
            Left::UntilClose => {
                self.body.extend_from_slice(bytes);
                bytes.len()
            }
        };
        self.has_stray |= used < bytes.len();
        Ok(())
    }

    /// Memory that the next bytes of a body of known length go into directly; None for the other framings.
    pub(super) fn room(&mut self) -> Option<&mut BytesMut> {
        let Left::Length(left) = &self.left else { return None };
        if self.body.capacity() == self.body.len() {
            self.body.reserve((*left).min(FIRST_RESERVE) as usize);
        }
        Some(&mut self.body)
    }

    /// The same for a body that is read piece by piece.
    pub(super) fn room_for(&mut self, piece: usize) -> Option<&mut BytesMut> {
        let Left::Length(left) = &self.left else { return None };
        // A little that is left of a piece would be a little read.
        if self.body.capacity() - self.body.len() < SMALL_READ {
            self.body.reserve((*left).min(piece as u64) as usize);
        }
        Some(&mut self.body)
    }

    /// Takes out what came, up to so many bytes; none if nothing is there.
    pub(super) fn split(&mut self, most: usize) -> Option<Bytes> {
        if self.body.is_empty() {
            return None;
        }
        let piece = self.body.split_to(self.body.len().min(most)).freeze();
        // What is gone counts on: the cap is that of the whole body.
        self.max -= piece.len() as u64;
        self.split += piece.len() as u64;
        Some(piece)
    }

    /// Holds no memory while nothing comes.
    pub(super) fn shrink(&mut self) {
        if self.body.is_empty() {
            self.body = BytesMut::new();
        }
    }

    /// The length of what is to come, where it is known.
    pub(super) fn length(&self) -> Option<u64> {
        match &self.left {
            Left::Length(left) => Some(left + self.body.len() as u64),
            _ => None,
        }
    }

    /// Counts bytes that were read into [`room`](Incoming::room).
    pub(super) fn took(&mut self, count: usize) {
        if let Left::Length(left) = &mut self.left {
            let stray = (count as u64).saturating_sub(*left);
            self.has_stray |= stray > 0;
            self.body.truncate(self.body.len() - stray as usize);
            *left = left.saturating_sub(count as u64);
        }
    }

    /// Whether nothing is missing.
    pub(super) fn is_done(&self) -> bool {
        match &self.left {
            Left::Length(left) => *left == 0,
            Left::Chunks(chunks) => chunks.is_done(),
            Left::UntilClose => false,
        }
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn ends_by_close(&self) -> bool {
        matches!(self.left, Left::UntilClose)
    }

    /// Whether the connection stands at the start of the next answer.
    pub(super) fn ends_clean(&self) -> bool {
        self.is_done() && !self.has_stray
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.body.freeze()
    }
}

fn above(max: u64) -> CallError {
    too_large(format!("the body has more than {max} bytes"))
}
