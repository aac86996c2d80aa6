//! Writing JSON: strings with what must be escaped, base64, and numbers where they are JSON's.

/// Whether a byte cannot stand in a JSON string as it is (RFC 8259 section 7).
fn must_be_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The length of a string with its quotes and escapes.
pub(super) fn string_length(text: &str) -> usize {
    let more = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        byte if byte < 0x20 => 5,
        _ => 0,
    };
    2 + text.len() + text.bytes().map(more).sum::<usize>()
}

/// Writes a string with its quotes.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if !must_be_escaped(*byte) {
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

fn hex(digit: u8) -> u8 {
    b"0123456789abcdef"[usize::from(digit & 15)]
}

/// The alphabet of RFC 4648 section 4.
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes as base64 (RFC 4648 section 4, padded).
pub(super) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(base64_length(bytes.len()));
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

/// The length of so many bytes as base64.
pub(super) fn base64_length(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Whether a text is a number of JSON's (RFC 8259 section 6).
pub(super) fn is_number(text: &[u8]) -> bool {
    let digits = |text: &mut &[u8]| {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *text = &text[count..];
        count
    };
    let mut rest = text.strip_prefix(b"-").unwrap_or(text);
    let starts_with_zero = rest.first() == Some(&b'0');
    let whole = digits(&mut rest);
    if whole == 0 || (starts_with_zero && whole > 1) {
        return false;
    }
    if let Some(after) = rest.strip_prefix(b".") {
        rest = after;
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    if let [b'e' | b'E', after @ ..] = rest {
        rest = match after {
            [b'+' | b'-', after @ ..] => after,
            _ => after,
        };
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write_string(&mut out, text);
        assert_eq!(out.len(), string_length(text));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_written_with_what_must_be_escaped() {
        assert_eq!(
            written("a\"b\\c\n\t\r\u{1}\u{1f}é\u{7f}"),
            "\"a\\\"b\\\\c\\n\\t\\r\\u0001\\u001fé\u{7f}\""
        );
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
            assert_eq!((out.as_slice(), out.len()), (text.as_bytes(), base64_length(bytes.len())));
        }
    }

    #[test]
    fn numbers_are_jsons_or_not() {
        for text in ["0", "-0", "10", "-1.5", "1e5", "1E+20", "0.1e-7", "12345678901234567890123"] {
            assert!(is_number(text.as_bytes()), "{text}");
        }
        for text in ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "inf", "nan", "1 ", "0x1", "--1"] {
            assert!(!is_number(text.as_bytes()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_length_is_known_before(text in any::<String>()) {
            written(&text);
        }
    }
}
