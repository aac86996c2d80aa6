//! Postgres' `numeric` between its binary form and digits: groups of four decimal digits, a weight and a scale.
//!
//! The binary form is `numeric_send` of the server (`src/backend/utils/adt/numeric.c`): four 16 bit numbers (count of groups,
//! weight of the first group, sign, digits after the point), then the groups.

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;
/// Digits that a numeric may have before and after the point ("Numeric Types" in the server's manual).
const MOST_BEFORE: usize = 131_072;
const MOST_AFTER: usize = 16_383;

/// Writes a value as JSON: its digits as they are, and what is no number as a string. None if the bytes are no numeric.
pub(super) fn write(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    let word = |index: usize| {
        bytes
            .get(2 * index..2 * index + 2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    let (count, weight, sign, scale) = (usize::from(word(0)?), word(1)? as i16, word(2)?, usize::from(word(3)?));
    match sign {
        NAN => out.extend_from_slice(b"\"NaN\""),
        INFINITY => out.extend_from_slice(b"\"Infinity\""),
        MINUS_INFINITY => out.extend_from_slice(b"\"-Infinity\""),
        0 | NEGATIVE if bytes.len() == 8 + 2 * count && scale <= MOST_AFTER => {
            if sign == NEGATIVE {
                out.push(b'-');
            }
            // A place beyond the groups that were sent is zero.
            let group = |place: i32| {
                let index = usize::try_from(i32::from(weight) - place).ok().filter(|index| *index < count);
                index.and_then(|index| word(4 + index)).unwrap_or(0)
            };
            write_digits(out, i32::from(weight), scale, group);
        }
        _ => return None,
    }
    Some(())
}

/// The groups with places from `weight` down to 0 stand before the point, those below after it.
fn write_digits(out: &mut Vec<u8>, weight: i32, scale: usize, group: impl Fn(i32) -> u16) {
    let digits = |group: u16| [group / 1000 % 10, group / 100 % 10, group / 10 % 10, group % 10].map(|digit| b'0' + digit as u8);
    let first = out.len();
    for place in (0..=weight).rev() {
        for digit in digits(group(place)) {
            let is_leading_zero = out.len() == first && digit == b'0';
            if !is_leading_zero {
                out.push(digit);
            }
        }
    }
    if out.len() == first {
        out.push(b'0');
    }
    if scale == 0 {
        return;
    }
    out.push(b'.');
    let end = out.len() + scale;
    let mut place = -1;
    while out.len() < end {
        let left = end - out.len();
        out.extend_from_slice(&digits(group(place))[..left.min(4)]);
        place -= 1;
    }
}

/// Whether the text is a number, or one of the words, that the server would read as a numeric.
pub(super) fn is_numeric(text: &str) -> bool {
    is_word(text).is_some() || parts(text).is_some()
}

/// Appends the binary form of a text; None if it is no numeric or too long for one.
pub(super) fn append(out: &mut Vec<u8>, text: &str) -> Option<()> {
    if let Some(sign) = is_word(text) {
        for word in [0, 0, sign, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        return Some(());
    }
    let Parts {
        is_negative,
        digits,
        exponent,
    } = parts(text)?;
    let after = digits.after.len() as i64 - exponent;
    let scale = usize::try_from(after.max(0)).ok().filter(|scale| *scale <= MOST_AFTER)?;
    let before = digits.before.len() as i64 + exponent;
    if before > MOST_BEFORE as i64 {
        return None;
    }
    // All digits with the point after `before` of them; groups count from the point outwards.
    let all: Vec<u8> = digits
        .before
        .bytes()
        .chain(digits.after.bytes())
        .map(|digit| digit - b'0')
        .collect();
    let weight = before.div_euclid(4) + i64::from(before.rem_euclid(4) != 0) - 1;
    let lead = (weight + 1) * 4 - before;
    let digit = |index: i64| {
        usize::try_from(index - lead)
            .ok()
            .and_then(|index| all.get(index))
            .copied()
            .unwrap_or(0)
    };
    let length = (lead + all.len() as i64).div_euclid(4) + 1;
    let mut groups: Vec<u16> = (0..length)
        .map(|group| (0..4).fold(0, |value, place| value * 10 + u16::from(digit(group * 4 + place))))
        .collect();
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    let weight = if groups.len() == zeros { 0 } else { weight - zeros as i64 };
    let groups = &groups[zeros..];
    let sign = if is_negative && !groups.is_empty() { NEGATIVE } else { 0 };
    let words = [
        u16::try_from(groups.len()).ok()?,
        i16::try_from(weight).ok()? as u16,
        sign,
        u16::try_from(scale).ok()?,
    ];
    for word in words.iter().chain(groups) {
        out.extend_from_slice(&word.to_be_bytes());
    }
    Some(())
}

/// The sign word of what is no number.
fn is_word(text: &str) -> Option<u16> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("nan") {
        Some(NAN)
    } else if is("infinity") || is("+infinity") || is("inf") || is("+inf") {
        Some(INFINITY)
    } else if is("-infinity") || is("-inf") {
        Some(MINUS_INFINITY)
    } else {
        None
    }
}

/// A decimal text taken apart.
struct Parts<'a> {
    is_negative: bool,
    digits: Digits<'a>,
    exponent: i64,
}

struct Digits<'a> {
    before: &'a str,
    after: &'a str,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let is_negative = text.starts_with('-');
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !before.is_empty() || !after.is_empty();
    let is_whole = has_digits && is_digits(before) && is_digits(after) && before.len() <= MOST_BEFORE && after.len() <= MOST_AFTER;
    is_whole.then_some(Parts {
        is_negative,
        digits: Digits { before, after },
        exponent: i64::from(exponent),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(text: &str) -> String {
        let (mut bytes, mut out) = (Vec::new(), Vec::new());
        append(&mut bytes, text).unwrap_or_else(|| panic!("{text}"));
        write(&mut out, &bytes).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn digits_are_kept() {
        for text in [
            "0",
            "1",
            "10000",
            "-1",
            "0.0001",
            "0.00001",
            "12345.6789",
            "1.50",
            "100000000",
            "9999.9999",
            "123456789012345678901234567890.0123456789",
        ] {
            assert_eq!(round_trip(text), text);
        }
    }

    #[test]
    fn other_spellings_become_the_usual_one() {
        for (text, usual) in [
            ("+1", "1"),
            (".5", "0.5"),
            ("5.", "5"),
            ("007", "7"),
            ("-0", "0"),
            ("0.00", "0.00"),
            ("1e3", "1000"),
            ("1.5e-3", "0.0015"),
            ("12e-1", "1.2"),
            ("-2.5E+2", "-250"),
            ("0e9", "0"),
        ] {
            assert_eq!(round_trip(text), usual, "{text}");
        }
        assert_eq!(
            ["NaN", "inf", "-Infinity"].map(round_trip),
            ["\"NaN\"", "\"Infinity\"", "\"-Infinity\""]
        );
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            ".",
            "-",
            "1.2.3",
            "1e",
            "e1",
            "0x10",
            " 1",
            "1,5",
            "١",
            "1e131072",
            "1e-16384",
            "--1",
            "1e2147483648",
        ] {
            assert!(append(&mut Vec::new(), text).is_none(), "{text}");
        }
        assert!(!is_numeric("one") && is_numeric("1e3") && is_numeric("nan"));
    }

    #[test]
    fn the_servers_own_bytes_are_read() {
        // select numeric_send(-12345.67): 3 groups, weight 1, negative, scale 2, then 1, 2345, 6700.
        let bytes = [0, 3, 0, 1, 0x40, 0, 0, 2, 0, 1, 0x09, 0x29, 0x1A, 0x2C];
        let mut out = Vec::new();
        write(&mut out, &bytes).unwrap();
        assert_eq!(out, b"-12345.67");
        for cut in 0..bytes.len() {
            assert!(write(&mut Vec::new(), &bytes[..cut]).is_none(), "cut after {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_decimal_keeps_its_digits(before in "0|[1-9][0-9]{0,40}", after in "[0-9]{0,40}", negative in any::<bool>()) {
            let is_zero = before == "0" && after.bytes().all(|digit| digit == b'0');
            let sign = if negative && !is_zero { "-" } else { "" };
            let text = if after.is_empty() { format!("{sign}{before}") } else { format!("{sign}{before}.{after}") };
            prop_assert_eq!(round_trip(&text), text);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = write(&mut Vec::new(), &bytes);
        }
    }
}
