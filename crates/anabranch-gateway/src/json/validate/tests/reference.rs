//! The same check byte by byte: slower, simpler, and what the fast one must agree with to the byte and the word.

use crate::json::validate::{JsonFault, Limits, Shape};
use crate::json::type_of;

/// Checks that `bytes` are one JSON document in UTF-8 within `limits`. Time is linear in the length, memory constant.
pub(super) fn validate(bytes: &[u8], limits: &Limits) -> Result<Shape, JsonFault> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return fault(error.valid_up_to(), "bytes that are not UTF-8");
    }
    let start = after_blanks(bytes, 0);
    let mut open = Open {
        kinds: 0,
        depth: 0,
        limit: limits.depth.min(64),
    };
    let mut at = start;
    let mut nodes = 0;
    loop {
        // A value begins at `at`.
        nodes += 1;
        if nodes > limits.nodes {
            return fault(at, "more values than allowed");
        }
        match peek(bytes, at) {
            b'{' => {
                open.push(at, true)?;
                at = after_blanks(bytes, at + 1);
                if peek(bytes, at) != b'}' {
                    at = after_key(bytes, at)?;
                    continue;
                }
                open.pop();
                at += 1;
            }
            b'[' => {
                open.push(at, false)?;
                at = after_blanks(bytes, at + 1);
                if peek(bytes, at) != b']' {
                    continue;
                }
                open.pop();
                at += 1;
            }
            b'"' => at = after_string(bytes, at + 1)?,
            b'-' | b'0'..=b'9' => at = after_number(bytes, at)?,
            b't' => at = after_word(bytes, at, b"true")?,
            b'f' => at = after_word(bytes, at, b"false")?,
            b'n' => at = after_word(bytes, at, b"null")?,
            _ => return fault(at, "expected a value"),
        }
        // A value ended before `at`: so may some of its containers, until a comma announces the next value.
        loop {
            if open.depth == 0 {
                let rest = after_blanks(bytes, at);
                if rest < bytes.len() {
                    return fault(rest, "expected the end of the document");
                }
                return Ok(Shape {
                    kind: type_of(&bytes[start..]),
                    start,
                    end: at,
                    nodes,
                });
            }
            at = after_blanks(bytes, at);
            match (peek(bytes, at), open.in_object()) {
                (b',', true) => {
                    at = after_key(bytes, after_blanks(bytes, at + 1))?;
                    break;
                }
                (b',', false) => {
                    at = after_blanks(bytes, at + 1);
                    break;
                }
                (b'}', true) | (b']', false) => {
                    open.pop();
                    at += 1;
                }
                (_, true) => return fault(at, "expected `,` or `}`"),
                (_, false) => return fault(at, "expected `,` or `]`"),
            }
        }
    }
}

/// The containers around a place: the lowest bit is the innermost, 1 for an object.
struct Open {
    kinds: u64,
    depth: u32,
    limit: u32,
}

impl Open {
    fn push(&mut self, at: usize, object: bool) -> Result<(), JsonFault> {
        if self.depth >= self.limit {
            return fault(at, "containers nested deeper than allowed");
        }
        self.depth += 1;
        self.kinds = self.kinds << 1 | u64::from(object);
        Ok(())
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.kinds >>= 1;
    }

    fn in_object(&self) -> bool {
        self.kinds & 1 == 1
    }
}

fn fault<T>(at: usize, what: &'static str) -> Result<T, JsonFault> {
    Err(JsonFault { at, what })
}

/// The byte at `at`; 0, which can stand nowhere outside a string, after the end.
#[inline]
fn peek(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

#[inline]
fn after_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(peek(bytes, at), b' ' | b'\n' | b'\r' | b'\t') {
        at += 1;
    }
    at
}

/// From where a key must begin to where its value must.
#[inline]
fn after_key(bytes: &[u8], at: usize) -> Result<usize, JsonFault> {
    if peek(bytes, at) != b'"' {
        return fault(at, "expected a key in quotes");
    }
    let colon = after_blanks(bytes, after_string(bytes, at + 1)?);
    if peek(bytes, colon) != b':' {
        return fault(colon, "expected `:`");
    }
    Ok(after_blanks(bytes, colon + 1))
}

/// From the first byte inside a string to the one after its closing quote.
#[inline]
fn after_string(bytes: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    loop {
        at = to_special(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = after_escape(bytes, at)?,
            Some(_) => return fault(at, "a control character in a string"),
            None => return fault(at, "expected the end of a string"),
        }
    }
}

/// The next quote, backslash or control character at or after `at`, or the end. Looks at eight bytes at a time.
#[inline]
fn to_special(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let special = special_bytes(u64::from_le_bytes(*chunk));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        at += 1;
    }
    at.min(bytes.len())
}

/// Has the highest bit of the first byte that is a quote, a backslash or a control character, and perhaps bits above it: a borrow of
/// the subtraction reaches upwards only, so the lowest bit is always right (the "has zero byte" test of Mycroft, 1987).
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quotes = quote.wrapping_sub(ONES) & !quote;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (quotes | backslashes | controls) & (ONES * 0x80)
}

fn after_escape(bytes: &[u8], at: usize) -> Result<usize, JsonFault> {
    match peek(bytes, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
        b'u' => {
            let digits = bytes.get(at + 2..at + 6).unwrap_or_default();
            let four_digits = digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit);
            if four_digits {
                Ok(at + 6)
            } else {
                fault(at, "expected four hexadecimal digits after `\\u`")
            }
        }
        _ => fault(at, "an unknown escape in a string"),
    }
}

#[inline]
fn after_number(bytes: &[u8], mut at: usize) -> Result<usize, JsonFault> {
    if peek(bytes, at) == b'-' {
        at += 1;
    }
    // A leading zero stands alone; what follows `01` is refused by the caller, who expects a comma.
    at = if peek(bytes, at) == b'0' {
        at + 1
    } else {
        after_digits(bytes, at)?
    };
    if peek(bytes, at) == b'.' {
        at = after_digits(bytes, at + 1)?;
    }
    if matches!(peek(bytes, at), b'e' | b'E') {
        at += 1;
        if matches!(peek(bytes, at), b'+' | b'-') {
            at += 1;
        }
        at = after_digits(bytes, at)?;
    }
    Ok(at)
}

#[inline]
fn after_digits(bytes: &[u8], start: usize) -> Result<usize, JsonFault> {
    let mut at = start;
    while peek(bytes, at).is_ascii_digit() {
        at += 1;
    }
    if at == start { fault(at, "expected a digit") } else { Ok(at) }
}

#[inline]
fn after_word(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, JsonFault> {
    if bytes[at..].starts_with(word) {
        Ok(at + word.len())
    } else {
        fault(at, "expected a value")
    }
}
