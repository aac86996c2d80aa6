//! The check that a body is JSON (RFC 8259), before a byte of it may stand in a reply.
//!
//! Two passes side by side, without recursion: one looks at 64 bytes at a time for where strings end (`marks`), the other walks from
//! token to token (`walk`). Strict: no NaN, no leading zeros, no byte order mark, no control characters in strings. Two things pass
//! that some parsers refuse, since they change nothing when spliced: numbers of any size (`1e400`), and `\u` escapes of lone surrogates.

mod walk;
mod marks;
mod block;
mod blanks;
mod open;
mod number;
mod string;

use std::error::Error;
use std::fmt;

use super::text::JsonType;

/// What a document may be at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside each other; more than 64 counts as 64, one bit of a word for each.
    pub depth: u32,
    /// Values, containers included.
    pub nodes: usize,
}

impl Default for Limits {
    /// Depth 64, a million values.
    fn default() -> Self {
        Limits {
            depth: 64,
            nodes: 1_000_000,
        }
    }
}

/// What was found out while a document was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The type of the whole.
    pub kind: JsonType,
    /// Where the value begins, after blanks.
    pub start: usize,
    /// Where it ends, before blanks.
    pub end: usize,
    /// How many values it holds, itself included.
    pub nodes: usize,
}

/// Why bytes are not JSON, or not JSON within the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonFault {
    /// Offset of the byte that cannot stand there.
    pub at: usize,
    /// What was expected instead, or what is wrong; never a byte of the document.
    pub what: &'static str,
}

impl fmt::Display for JsonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl Error for JsonFault {}

/// Checks that `bytes` are one JSON document in UTF-8 within `limits`. Time is linear in the length, memory constant.
pub fn validate(bytes: &[u8], limits: &Limits) -> Result<Shape, JsonFault> {
    let mut ahead = marks::Ahead::new(bytes);
    let walked = walk::walk(bytes, limits, &mut ahead);
    // What is not ASCII is a fault outside strings and was seen inside. Of two faults the one of UTF-8 is told, wherever it stands.
    let checked = walked.is_ok() && ahead.is_ascii();
    if !checked && let Err(error) = std::str::from_utf8(bytes) {
        return fault(error.valid_up_to(), "bytes that are not UTF-8");
    }
    walked
}

/// Not inlined, so that the words of faults stay out of the way of documents without.
#[cold]
#[inline(never)]
fn fault<T>(at: usize, what: &'static str) -> Result<T, JsonFault> {
    Err(JsonFault { at, what })
}

#[cfg(test)]
mod tests;
