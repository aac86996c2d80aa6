//! JSON text without trees: writing strings and base64 into a buffer, and looking into a value far enough to bind it.
//!
//! The reader is given text that somebody has validated already; text that is no JSON gives an error or another error from the
//! server, never a panic.

use std::borrow::Cow;

/// What a JSON text is, by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Null,
    /// `true` or `false`.
    Bool,
    Number,
    String,
    List,
    Object,
}

/// The shape of a text, with the text trimmed; None if it is no word of JSON and begins like none of its values.
pub(super) fn shape(text: &str) -> Option<(Shape, &str)> {
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    let shape = match text.as_bytes().first()? {
        b'n' if text == "null" => Shape::Null,
        b't' | b'f' if matches!(text, "true" | "false") => Shape::Bool,
        b'-' | b'0'..=b'9' => Shape::Number,
        b'"' => Shape::String,
        b'[' => Shape::List,
        b'{' => Shape::Object,
        _ => return None,
    };
    Some((shape, text))
}

/// The elements of a list, each as its own text.
pub(super) fn elements(list: &str) -> Option<Vec<&str>> {
    let inside = list.strip_prefix('[')?.strip_suffix(']')?;
    let mut elements = Vec::new();
    let (mut depth, mut in_string, mut escaped, mut start) = (0_usize, false, false, 0);
    for (at, byte) in inside.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => {
                elements.push(&inside[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    let is_whole = depth == 0 && !in_string;
    let last = &inside[start..];
    if !elements.is_empty() || !last.trim().is_empty() {
        elements.push(last);
    }
    is_whole.then_some(elements)
}

/// The characters of a string between its quotes.
pub(super) fn unquoted(string: &str) -> Option<Cow<'_, str>> {
    let inside = string.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let (character, length) = escape(&rest[at..])?;
        text.push(character);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// The character that an escape stands for, and the length of the escape.
fn escape(text: &str) -> Option<(char, usize)> {
    let character = match text.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        plain @ (b'"' | b'\\' | b'/') => char::from(*plain),
        b'u' => return unicode_escape(text),
        _ => return None,
    };
    Some((character, 2))
}

/// `\u00e9`, or two of them for a character beyond the first plane.
fn unicode_escape(text: &str) -> Option<(char, usize)> {
    let unit = |from: usize| u32::from_str_radix(text.get(from..from + 4)?, 16).ok();
    let high = unit(2)?;
    if !(0xD800..0xDC00).contains(&high) {
        return Some((char::from_u32(high)?, 6));
    }
    let is_pair = text.get(6..8) == Some("\\u");
    let low = unit(8).filter(|low| is_pair && (0xDC00..0xE000).contains(low))?;
    let character = char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))?;
    Some((character, 12))
}

/// Writes a string with its quotes.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(control >> 4), hex(control & 15)]),
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

/// The hexadecimal digit for a number below 16.
pub(super) fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit & 15)]
}

/// The alphabet of RFC 4648 section 4.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes as base64 (RFC 4648 section 4, padded).
pub(super) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let sextet = (group >> (18 - 6 * place)) & 63;
            let is_padding = place > chunk.len();
            out.push(if is_padding { b'=' } else { BASE64[sextet as usize] });
        }
    }
}

/// Bytes from base64, padded or not; None for anything else.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let padding = text.len() - digits.len();
    if digits.len() % 4 == 1 || padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut group = 0_u32;
        for place in 0..4 {
            let sextet = match chunk.get(place) {
                Some(digit) => BASE64.iter().position(|known| known == digit)?,
                None => 0,
            };
            group = group << 6 | u32::try_from(sextet).ok()?;
        }
        let [_, whole @ ..] = group.to_be_bytes();
        bytes.extend_from_slice(&whole[..chunk.len() - 1]);
    }
    Some(bytes)
}

/// The bytes of a UUID (RFC 9562) from its usual text, with or without hyphens.
pub(super) fn from_uuid(text: &str) -> Option<[u8; 16]> {
    let has_hyphens = text.len() == 36;
    let (mut bytes, mut digits) = ([0_u8; 16], 0_usize);
    for (at, byte) in text.bytes().enumerate() {
        if has_hyphens && matches!(at, 8 | 13 | 18 | 23) {
            (byte == b'-').then_some(())?;
            continue;
        }
        let digit = char::from(byte).to_digit(16)? as u8;
        let place = bytes.get_mut(digits / 2)?;
        *place = *place << 4 | digit;
        digits += 1;
    }
    (digits == 32).then_some(bytes)
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
    fn strings_are_written_with_what_must_be_escaped() {
        assert_eq!(written("a\"b\\c\n\t\r\u{1}é\u{7f}"), "\"a\\\"b\\\\c\\n\\t\\r\\u0001é\u{7f}\"");
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(unquoted(r#""a\u00e9\ud83d\ude00\/\"""#).unwrap(), "aé😀/\"");
        for broken in [
            r#""\ud83d""#,
            r#""\ud83dx\ude00""#,
            r#""\u12""#,
            r#""\q""#,
            r#""\"#,
            "\"",
            "x",
            r#""\ud83d\u0041""#,
        ] {
            assert_eq!(unquoted(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_list_is_split_at_its_own_commas() {
        assert_eq!(
            elements(r#"[1, "a,]\"", [2,3],{"b":[4,5]}]"#).unwrap(),
            ["1", " \"a,]\\\"\"", " [2,3]", "{\"b\":[4,5]}"]
        );
        assert_eq!(elements("[ ]").unwrap(), Vec::<&str>::new());
        for broken in ["[", "[1", "[]]", "[\"]", "[[]", "1"] {
            assert_eq!(elements(broken), None, "{broken}");
        }
    }

    #[test]
    fn base64_is_as_in_rfc_4648_section_10() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            write_base64(&mut out, bytes.as_bytes());
            assert_eq!(out, text.as_bytes());
            assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(from_base64("Zg").unwrap(), b"f");
        for broken in ["Z", "Zg=", "Z===", "Zg==Zg==", "Z g=", "ü"] {
            assert_eq!(from_base64(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_uuid_is_read_with_and_without_hyphens() {
        let bytes = from_uuid("f81d4fae-7dec-11d0-a765-00A0C91e6bf6").unwrap();
        assert_eq!((bytes[0], bytes[15]), (0xf8, 0xf6));
        assert_eq!(from_uuid("f81d4fae7dec11d0a76500a0c91e6bf6"), Some(bytes));
        for broken in [
            "",
            "f81d4fae",
            "f81d4fae-7dec-11d0-a765-00a0c91e6bfg",
            "f81d4fae7-dec-11d0-a765-00a0c91e6bf6",
            "f81d4fae7dec11d0a76500a0c91e6bf6ff",
        ] {
            assert_eq!(from_uuid(broken), None, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let string = written(&text);
            prop_assert_eq!(unquoted(&string).unwrap(), text.as_str());
            prop_assert_eq!(shape(&string).map(|(shape, _)| shape), Some(Shape::String));
            let mut out = Vec::new();
            write_base64(&mut out, &bytes);
            prop_assert_eq!(from_base64(std::str::from_utf8(&out).unwrap()), Some(bytes));
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = (shape(&text), elements(&text), unquoted(&text), from_base64(&text));
            let _ = (elements(&format!("[{text}]")), unquoted(&format!("\"{text}\"")));
        }
    }
}
