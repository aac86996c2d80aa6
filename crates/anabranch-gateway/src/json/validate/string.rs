//! What may stand in a string without being itself: escapes.

use super::blanks::peek;
use super::{fault, JsonFault};

/// Checks what made a mark in a string and is not its closing quote: the backslash of an escape, a control character, or the end.
#[cold]
#[inline(never)]
pub(super) fn check_odd(bytes: &[u8], at: usize) -> Result<(), JsonFault> {
    match bytes.get(at) {
        Some(b'\\') => check_escape(bytes, at),
        Some(_) => fault(at, "a control character in a string"),
        None => fault(bytes.len(), "expected the end of a string"),
    }
}

fn check_escape(bytes: &[u8], at: usize) -> Result<(), JsonFault> {
    match peek(bytes, at + 1) {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
        b'u' => {
            let digits = bytes.get(at + 2..at + 6).unwrap_or_default();
            let four_digits = digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit);
            if four_digits {
                Ok(())
            } else {
                fault(at, "expected four hexadecimal digits after `\\u`")
            }
        }
        _ => fault(at, "an unknown escape in a string"),
    }
}
