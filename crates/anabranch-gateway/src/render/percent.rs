//! Percent-encoding (RFC 3986): only unreserved characters stand for themselves, so that a value can never become syntax.

/// Appends `text` encoded for a segment of a path or a value of a query: everything but `A-Z a-z 0-9 - . _ ~` byte by byte.
pub fn encode(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if bytes.iter().all(|byte| is_unreserved(*byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    for byte in bytes {
        if is_unreserved(*byte) {
            out.push(*byte)
        } else {
            push_encoded(out, *byte)
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn push_encoded(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

/// What a percent sign that no two hexadecimal digits follow means to [`decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// It stands for itself.
    Keep,
    /// The text is refused.
    Refuse,
}

/// Decodes once. None when the text is broken and that is refused. The bytes need not be UTF-8.
pub fn decode(text: &[u8], broken: Broken) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, hex_pair(after)) {
            (b'%', Some(decoded)) => {
                plain.push(decoded);
                rest = &after[2..];
            }
            (b'%', None) if broken == Broken::Refuse => return None,
            _ => plain.push(*byte),
        }
    }
    Some(plain)
}

fn hex_pair(text: &[u8]) -> Option<u8> {
    let [high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(*high)? * 16 + digit(*low)?) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &str) -> String {
        let mut out = Vec::new();
        encode(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_unreserved_characters_stand_for_themselves() {
        assert_eq!(encoded("aZ0-._~"), "aZ0-._~");
        assert_eq!(encoded("a b&c=d/e?f#g%h+i;é"), "a%20b%26c%3Dd%2Fe%3Ff%23g%25h%2Bi%3B%C3%A9");
    }

    #[test]
    fn decoding_happens_once_and_broken_text_is_the_callers_choice() {
        assert_eq!(decode(b"%2e%2E%252e", Broken::Refuse).unwrap(), b"..%2e");
        for broken in [&b"100%"[..], b"%4", b"%zz", b"%+1"] {
            assert_eq!(decode(broken, Broken::Refuse), None);
            assert_eq!(decode(broken, Broken::Keep).unwrap(), broken);
        }
    }

    proptest! {
        #[test]
        fn encode_and_decode_are_inverse(text in any::<String>()) {
            prop_assert_eq!(decode(encoded(&text).as_bytes(), Broken::Refuse).unwrap(), text.as_bytes());
        }
    }
}
