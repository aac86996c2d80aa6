//! The small change of JSON: types, text of scalars, strings in and out.

use std::borrow::Cow;

/// The type of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JsonType {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    Text,
    /// `[...]`
    List,
    /// `{...}`
    Object,
}

impl JsonType {
    /// The type in words, for messages: `a list`.
    pub fn as_str(self) -> &'static str {
        match self {
            JsonType::Null => "null",
            JsonType::Bool => "a boolean",
            JsonType::Number => "a number",
            JsonType::Text => "a string",
            JsonType::List => "a list",
            JsonType::Object => "an object",
        }
    }
}

/// The type of a validated value; blanks around it do not matter.
pub fn type_of(value: &[u8]) -> JsonType {
    match trim(value).first() {
        Some(b'{') => JsonType::Object,
        Some(b'[') => JsonType::List,
        Some(b'"') => JsonType::Text,
        Some(b't' | b'f') => JsonType::Bool,
        Some(b'-' | b'0'..=b'9') => JsonType::Number,
        _ => JsonType::Null,
    }
}

/// The value without the blanks around it.
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\n' | b'\r' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The text of a scalar: a string without its quotes and escapes, a number as written, `true` or `false`. None for null, lists and
/// objects, which have no text.
pub fn scalar_text(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = trim(value);
    match type_of(value) {
        JsonType::Text => Some(unescape(inside(value))),
        JsonType::Number | JsonType::Bool => Some(String::from_utf8_lossy(value)),
        JsonType::Null | JsonType::List | JsonType::Object => None,
    }
}

/// A string's value without its quotes.
pub(super) fn inside(string: &[u8]) -> &[u8] {
    match string {
        [b'"', raw @ .., b'"'] => raw,
        other => other,
    }
}

/// The text of what stands between the quotes of a string. An escape of a lone surrogate, which stands for no character, becomes
/// U+FFFD.
pub fn unescape(raw: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(raw);
    if !raw.contains(&b'\\') {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let (character, after) = one_escape(after);
        plain.push(character);
        rest = after;
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// The character of the escape whose backslash stood before `text`, and what follows.
fn one_escape(text: &str) -> (char, &str) {
    let mut characters = text.chars();
    let character = match characters.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return unicode_escape(characters.as_str()),
        Some(other) => other,
        None => char::REPLACEMENT_CHARACTER,
    };
    (character, characters.as_str())
}

fn unicode_escape(text: &str) -> (char, &str) {
    let Some((high, rest)) = four_digits(text) else {
        return (char::REPLACEMENT_CHARACTER, text);
    };
    if let Some(character) = char::from_u32(high) {
        return (character, rest);
    }
    if let Some((low, rest)) = rest.strip_prefix("\\u").and_then(four_digits)
        && high < 0xdc00
        && (0xdc00..0xe000).contains(&low)
    {
        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), rest);
    }
    (char::REPLACEMENT_CHARACTER, rest)
}

fn four_digits(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// Appends `text` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut done = 0;
    loop {
        let at = to_special(bytes, done);
        out.extend_from_slice(&bytes[done..at]);
        let Some(&byte) = bytes.get(at) else { break };
        write_escape(out, byte);
        done = at + 1;
    }
    out.push(b'"');
}

/// The next quote, backslash or control character at or after `at`, or the end. Looks at eight bytes at a time.
#[inline]
pub(super) fn to_special(bytes: &[u8], mut at: usize) -> usize {
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
/// a subtraction reaches upwards only, so the lowest bit is always right. Flipping one bit moves the quote next to the control
/// characters, so that one subtraction finds both (Lemire, "Detect control characters, quotes and backslashes efficiently using
/// SWAR", 2025).
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    let quotes_and_controls = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslashes = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (quotes_and_controls | backslashes) & !word & (ONES * 0x80)
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        other => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(other >> 4)]);
            out.push(HEX[usize::from(other & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn scalars_have_text_and_the_rest_has_none() {
        let cases: [(&str, Option<&str>); 12] = [
            ("\"a\"", Some("a")),
            (" \"a b\"\n", Some("a b")),
            ("\"\"", Some("")),
            ("1.50", Some("1.50")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            ("true", Some("true")),
            ("false", Some("false")),
            ("null", None),
            ("[]", None),
            ("{}", None),
            (r#""\"\\\/\b\f\n\r\tx""#, Some("\"\\/\u{8}\u{c}\n\r\tx")),
            (r#""\u00e9\ud83d\ude00é""#, Some("é😀é")),
        ];
        for (json, expected) in cases {
            assert_eq!(scalar_text(json.as_bytes()).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(unescape(br"\ud800x"), "\u{fffd}x");
        assert_eq!(unescape(br"\ude00"), "\u{fffd}");
        assert_eq!(unescape(br"\ud83d\u0041"), "\u{fffd}A");
        assert_eq!(unescape(br"\ud83d\ud83d\ude00"), "\u{fffd}😀");
    }

    #[test]
    fn unescape_of_bytes_that_were_never_validated_ends_without_panic() {
        for raw in [&b"\\"[..], b"\\u", b"\\u12", b"\\uzzzz", b"\\u\xc3\xa9\xc3\xa9", b"\xff\\n"] {
            unescape(raw);
        }
    }

    #[test]
    fn control_characters_are_written_as_escapes() {
        assert_eq!(written("a\u{0}\u{1f}\n\"\\\u{7f}"), "\"a\\u0000\\u001f\\n\\\"\\\\\u{7f}\"");
        assert_eq!(written(""), "\"\"");
    }

    #[test]
    fn the_scan_by_eights_finds_each_special_byte_at_each_place() {
        for byte in 0..=255u8 {
            for length in [1usize, 7, 8, 9, 20] {
                for place in 0..length {
                    let mut bytes = vec![b'x'; length];
                    bytes[place] = byte;
                    let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(
                        to_special(&bytes, 0),
                        if special { place } else { length },
                        "{byte:#x} at {place} of {length}"
                    );
                }
            }
        }
        assert_eq!(to_special(b"abc", 3), 3);
        assert_eq!(to_special(b"abc", 9), 3);
    }

    #[test]
    fn types_are_told_by_the_first_byte() {
        let cases = [
            (" null", JsonType::Null),
            ("\ttrue", JsonType::Bool),
            ("-1", JsonType::Number),
            ("\"\"", JsonType::Text),
            ("\n[ ]", JsonType::List),
            ("{}", JsonType::Object),
        ];
        for (json, expected) in cases {
            assert_eq!(type_of(json.as_bytes()), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn write_string_round_trips(text in any::<String>()) {
            let json = written(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.clone());
            prop_assert_eq!(scalar_text(json.as_bytes()).unwrap(), text.as_str());
        }

        #[test]
        fn unescape_agrees_with_serde_json(units in prop::collection::vec(any::<u16>(), 0..8)) {
            let raw: String = units.iter().map(|unit| format!("\\u{unit:04X}")).collect();
            let expected = String::from_utf16_lossy(&units);
            prop_assert_eq!(unescape(raw.as_bytes()), expected.as_str());
            if let Ok(parsed) = serde_json::from_str::<String>(&format!("\"{raw}\"")) {
                prop_assert_eq!(parsed, expected);
            }
        }
    }
}
