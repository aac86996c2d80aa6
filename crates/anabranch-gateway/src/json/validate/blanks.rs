//! Looking at a place that may lie after the end, and over blanks.

use super::block::{non_blanks, LANES};

/// The byte at `at`; 0, which can stand nowhere outside a string, after the end.
#[inline(always)]
pub(super) fn peek(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// The `N` bytes from `at` on. None when there are fewer.
#[inline(always)]
pub(super) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..).and_then(<[u8]>::first_chunk)
}

/// The next byte at or after `at` that is no blank, with its place.
#[cold]
#[inline(never)]
pub(super) fn after_blanks(bytes: &[u8], mut at: usize) -> (usize, u8) {
    while let Some(block) = chunk::<LANES>(bytes, at) {
        let blanks = non_blanks(block).trailing_zeros() as usize;
        if let Some(byte) = block.get(blanks) {
            return (at + blanks, *byte);
        }
        at += LANES;
    }
    while matches!(peek(bytes, at), b' ' | b'\n' | b'\r' | b'\t') {
        at += 1;
    }
    (at, peek(bytes, at))
}
