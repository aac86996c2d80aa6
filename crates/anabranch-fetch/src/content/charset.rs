//! In which charset a text is, and the text in ours.
//!
//! The order is that of the HTML Standard: a byte order mark, the head of the answer, what the document says of itself in its first
//! kilobyte, then UTF-8 where the bytes are that, and windows-1252 where they are not.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// How far a document is searched for what it says of its charset (HTML Standard, "prescan a byte stream").
const PRESCAN: usize = 1024;

/// A text that was bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// Without byte order mark. What is no character in its charset is U+FFFD.
    pub text: Cow<'a, str>,
    /// The name of the charset in lower case.
    pub charset: Cow<'static, str>,
    /// Whether there were bytes that are no characters.
    pub is_malformed: bool,
}

/// Whether bodies of this type are text. Without a type, whether the bytes are UTF-8 without NUL.
pub fn is_text(media_type: Option<&str>, body: &[u8]) -> bool {
    let Some(media_type) = media_type else {
        return !body.contains(&0) && std::str::from_utf8(body).is_ok();
    };
    let media_type = media_type.trim().to_ascii_lowercase();
    media_type.starts_with("text/")
        || is_json(&media_type)
        || is_xml(&media_type)
        || matches!(
            media_type.as_str(),
            "application/javascript"
                | "application/ecmascript"
                | "application/x-javascript"
                | "application/x-www-form-urlencoded"
                | "application/x-ndjson"
                | "application/jsonl"
                | "application/yaml"
                | "application/x-yaml"
                | "application/toml"
                | "application/sql"
                | "application/graphql"
                | "message/rfc822"
        )
}

/// Whether a type, in lower case, is HTML.
pub(crate) fn is_html(media_type: &str) -> bool {
    matches!(media_type, "text/html" | "application/xhtml+xml")
}

pub(crate) fn is_json(media_type: &str) -> bool {
    matches!(media_type, "application/json" | "text/json") || media_type.ends_with("+json")
}

pub(crate) fn is_xml(media_type: &str) -> bool {
    matches!(media_type, "application/xml" | "text/xml") || media_type.ends_with("+xml")
}

/// The body as text, whatever it is. `charset` is the parameter of `Content-Type`; an unknown one is none.
pub fn decode<'a>(media_type: Option<&str>, charset: Option<&str>, body: &'a [u8]) -> Decoded<'a> {
    let encoding = find(media_type, charset, body);
    let (text, used, is_malformed) = encoding.decode(body);
    Decoded {
        text,
        charset: name(used),
        is_malformed,
    }
}

/// The body as text, if it is one: its type says so and all of its bytes are characters of its charset.
pub fn text<'a>(media_type: Option<&str>, charset: Option<&str>, body: &'a [u8]) -> Option<Cow<'a, str>> {
    if !is_text(media_type, body) {
        return None;
    }
    let decoded = decode(media_type, charset, body);
    (!decoded.is_malformed).then_some(decoded.text)
}

fn name(encoding: &'static Encoding) -> Cow<'static, str> {
    if encoding == UTF_8 {
        Cow::Borrowed("utf-8")
    } else {
        Cow::Owned(encoding.name().to_ascii_lowercase())
    }
}

fn find(media_type: Option<&str>, charset: Option<&str>, body: &[u8]) -> &'static Encoding {
    if let Some((encoding, _)) = Encoding::for_bom(body) {
        return encoding;
    }
    let of_head = charset.and_then(|label| Encoding::for_label(label.trim_matches(['"', '\'', ' ']).as_bytes()));
    if let Some(encoding) = of_head {
        return encoding;
    }
    let media_type = media_type.map(|text| text.trim().to_ascii_lowercase());
    // JSON is UTF-8 (RFC 8259, section 8.1).
    if media_type.as_deref().is_some_and(is_json) {
        return UTF_8;
    }
    let is_html_or_unknown = media_type.as_deref().is_none_or(is_html);
    let start = &body[..body.len().min(PRESCAN)];
    let of_xml = media_type
        .as_deref()
        .is_none_or(|t| is_xml(t) || is_html(t))
        .then(|| xml_declared(start))
        .flatten();
    let of_document = of_xml.or_else(|| if is_html_or_unknown { meta_declared(start) } else { None });
    match of_document {
        // What could be read as ASCII up to here is not UTF-16 (HTML Standard, same place).
        Some(encoding) if !encoding.is_ascii_compatible() => UTF_8,
        Some(encoding) => encoding,
        None if std::str::from_utf8(body).is_ok() => UTF_8,
        None => WINDOWS_1252,
    }
}

/// `<?xml version="1.0" encoding="..."?>` at the very start.
fn xml_declared(start: &[u8]) -> Option<&'static Encoding> {
    if !start.starts_with(b"<?xml") {
        return None;
    }
    let end = position(start, b"?>")?;
    let declaration = &start[..end];
    let at = position(declaration, b"encoding")?;
    Encoding::for_label(value_after(&declaration[at + b"encoding".len()..])?)
}

/// `<meta charset="...">` or `<meta http-equiv=... content="...; charset=...">`, outside of comments.
fn meta_declared(start: &[u8]) -> Option<&'static Encoding> {
    let lower = start.to_ascii_lowercase();
    let mut rest = &lower[..];
    loop {
        let tag = position(rest, b"<")?;
        rest = &rest[tag..];
        if rest.starts_with(b"<!--") {
            rest = &rest[4 + position(&rest[4..], b"-->")?..];
            continue;
        }
        let end = position(rest, b">").unwrap_or(rest.len());
        let is_meta = rest.starts_with(b"<meta") && rest.get(5).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'/');
        if is_meta && let Some(encoding) = charset_in(&rest[..end]) {
            return Some(encoding);
        }
        rest = &rest[end.max(1)..];
    }
}

fn charset_in(tag: &[u8]) -> Option<&'static Encoding> {
    let mut rest = tag;
    loop {
        let at = position(rest, b"charset")?;
        rest = &rest[at + b"charset".len()..];
        if let Some(encoding) = value_after(rest).and_then(Encoding::for_label) {
            return Some(encoding);
        }
    }
}

/// The value behind `=`, with or without quotes.
fn value_after(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (quote, bytes) = match bytes.first()? {
        quote @ (b'"' | b'\'') => (Some(*quote), &bytes[1..]),
        _ => (None, bytes),
    };
    let is_end = |byte: &u8| match quote {
        Some(quote) => *byte == quote,
        None => byte.is_ascii_whitespace() || matches!(*byte, b';' | b'"' | b'\'' | b'/' | b'>'),
    };
    Some(&bytes[..bytes.iter().position(is_end).unwrap_or(bytes.len())])
}

/// The end of the longest start of a text that has at most so many bytes.
pub(crate) fn end_within(text: &str, bytes: usize) -> usize {
    (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn charset(media_type: &str, head: Option<&str>, body: &[u8]) -> String {
        decode(Some(media_type), head, body).charset.into_owned()
    }

    #[test]
    fn a_byte_order_mark_beats_the_head_and_the_head_beats_the_document() {
        let meta = b"<meta charset=koi8-r>";
        assert_eq!(
            charset("text/html", Some("iso-8859-5"), &[b"\xef\xbb\xbf", &meta[..]].concat()),
            "utf-8"
        );
        assert_eq!(charset("text/html", Some("iso-8859-5"), meta), "iso-8859-5");
        assert_eq!(charset("text/html", Some("no-such"), meta), "koi8-r");
        assert_eq!(charset("text/html", None, meta), "koi8-r");
    }

    #[test]
    fn a_document_says_it_in_many_ways() {
        for document in [
            &b"<html><head><META  CharSet = 'Shift_JIS' ></head>"[..],
            b"<meta http-equiv=\"Content-Type\" content=\"text/html; charset=Shift_JIS\">",
            b"<!-- <meta charset=utf-8> --><meta charset=\"sjis\"/>",
            b"<meta name=a content=charset><meta charset=x-sjis>",
        ] {
            assert_eq!(
                charset("text/html", None, document),
                "shift_jis",
                "{}",
                String::from_utf8_lossy(document)
            );
        }
        assert_eq!(
            charset("application/xml", None, b"<?xml version='1.0' encoding='EUC-JP'?><a/>"),
            "euc-jp"
        );
        // Too late to count, and a charset that cannot have been read up to there.
        let late = [" ".repeat(PRESCAN).as_bytes(), b"<meta charset=koi8-r>"].concat();
        assert_eq!(charset("text/html", None, &late), "utf-8");
        assert_eq!(charset("text/html", None, b"<meta charset=utf-16>"), "utf-8");
        // A type that is not HTML has no `meta`.
        assert_eq!(charset("text/plain", None, b"<meta charset=koi8-r>"), "utf-8");
    }

    #[test]
    fn what_nobody_says_is_utf_8_or_windows_1252() {
        assert_eq!(charset("text/html", None, "caf\u{e9}".as_bytes()), "utf-8");
        let latin = decode(Some("text/html"), None, b"caf\xe9 \x93q\x94");
        assert_eq!(
            (latin.charset.as_ref(), latin.text.as_ref()),
            ("windows-1252", "caf\u{e9} \u{201c}q\u{201d}")
        );
        assert_eq!(charset("application/json", None, b"\"caf\xe9\""), "utf-8");
    }

    #[test]
    fn a_text_with_bytes_that_are_no_characters_is_none() {
        assert_eq!(text(Some("text/plain"), Some("utf-8"), b"caf\xe9"), None);
        assert!(decode(Some("text/plain"), Some("utf-8"), b"caf\xe9").is_malformed);
        assert_eq!(text(Some("text/plain"), Some("latin1"), b"caf\xe9").as_deref(), Some("caf\u{e9}"));
        assert_eq!(text(Some("image/png"), None, b"abc"), None);
        assert_eq!(text(None, None, b"abc").as_deref(), Some("abc"));
        assert_eq!(text(None, None, b"a\0c"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200), head in proptest::option::of("\\PC{0,12}")) {
            for media_type in [None, Some("text/html"), Some("application/xml"), Some("image/png")] {
                decode(media_type, head.as_deref(), &body);
                text(media_type, head.as_deref(), &body);
            }
        }

        #[test]
        fn no_document_makes_the_search_panic(body in "(<\\??!?-{0,2}[metax]{0,4}|[ =\"';>?/-]|charset|encoding|<meta |<\\?xml ){0,30}") {
            decode(Some("text/html"), None, body.as_bytes());
        }
    }
}
