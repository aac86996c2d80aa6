//! Numbers (RFC 8259, section 6). All functions give the place after the number and the byte there.

use super::blanks::{chunk, peek};
use super::block::{non_digits, LANES};
use super::{fault, JsonFault};

/// The number that begins with the digit `first` at `at`. Sees digits and fraction at once when they end within sixteen bytes.
#[inline(always)]
pub(super) fn after_number(bytes: &[u8], at: usize, first: u8) -> Result<(usize, u8), JsonFault> {
    let Some(block) = chunk::<LANES>(bytes, at) else {
        return after_any_number(bytes, at);
    };
    let others = non_digits(block);
    let whole = others.trailing_zeros() as usize;
    if whole >= LANES || first == b'0' && whole > 1 {
        return after_any_number(bytes, at);
    }
    match block[whole] {
        b'.' => {
            let end = (others & (others - 1)).trailing_zeros() as usize;
            if end >= LANES || end == whole + 1 {
                return after_any_number(bytes, at);
            }
            match block[end] {
                b'e' | b'E' => after_exponent(bytes, at + end),
                byte => Ok((at + end, byte)),
            }
        }
        b'e' | b'E' => after_exponent(bytes, at + whole),
        byte => Ok((at + whole, byte)),
    }
}

/// The number whose minus must stand at `at`.
#[cold]
#[inline(never)]
pub(super) fn after_minus(bytes: &[u8], at: usize) -> Result<(usize, u8), JsonFault> {
    if peek(bytes, at) != b'-' {
        return fault(at, "expected a value");
    }
    match peek(bytes, at + 1) {
        first @ b'0'..=b'9' => after_number(bytes, at + 1, first),
        _ => fault(at + 1, "expected a digit"),
    }
}

/// A number without minus, as long as it likes and wherever it stands.
#[cold]
#[inline(never)]
fn after_any_number(bytes: &[u8], mut at: usize) -> Result<(usize, u8), JsonFault> {
    // A leading zero stands alone; what follows `01` is refused by the caller, who expects a comma.
    at = if peek(bytes, at) == b'0' {
        at + 1
    } else {
        after_digits(bytes, at)?
    };
    if peek(bytes, at) == b'.' {
        at = after_digits(bytes, at + 1)?;
    }
    match peek(bytes, at) {
        b'e' | b'E' => after_exponent(bytes, at),
        byte => Ok((at, byte)),
    }
}

/// The rest of a number whose `e` stands at `at`.
#[cold]
#[inline(never)]
fn after_exponent(bytes: &[u8], at: usize) -> Result<(usize, u8), JsonFault> {
    let sign = usize::from(matches!(peek(bytes, at + 1), b'+' | b'-'));
    let end = after_digits(bytes, at + 1 + sign)?;
    Ok((end, peek(bytes, end)))
}

#[inline]
fn after_digits(bytes: &[u8], start: usize) -> Result<usize, JsonFault> {
    let mut at = start;
    loop {
        let Some(block) = chunk::<LANES>(bytes, at) else {
            // So near to the end there are few.
            while peek(bytes, at).is_ascii_digit() {
                at += 1;
            }
            break;
        };
        let digits = non_digits(block).trailing_zeros() as usize;
        at += digits;
        if digits < LANES {
            break;
        }
    }
    if at == start { fault(at, "expected a digit") } else { Ok(at) }
}
