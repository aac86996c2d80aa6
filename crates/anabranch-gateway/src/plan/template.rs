//! Texts with references: parsed once, the fixed pieces already encoded for the place that they stand in (RFC 3986).

use super::model::{Hop, Piece, Reference, Root, Template};
use super::names::Names;
use super::place::{fault, Text};
use super::reference::{parse, Part};
use crate::config::faults::Faults;

/// Text as it is: the pieces of JSON strings.
pub(super) fn plain(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Template {
    build(text, names, faults, |text, _, _| text)
}

/// The value of a header: visible ASCII, blanks and tabs (RFC 9110, 5.5).
pub(super) fn header(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Template {
    build(text, names, faults, |text, place, faults| {
        if http::HeaderValue::from_str(&text).is_err() {
            let what = "a header's value holds a character that headers cannot";
            fault(faults, place, what, "visible ASCII characters, blanks and tabs");
        }
        text
    })
}

/// A path as written in a target: begins with `/`, no dot segments, every reference one value.
pub(super) fn path(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Template {
    if !text.text.starts_with('/') {
        fault(faults, text, "a path begins with `/`", "write `source /path`");
    }
    let template = build(text, names, faults, |text, place, faults| {
        encode(&text, place, is_path_byte, faults)
    });
    for reference in template.references() {
        let repeats = matches!(reference.root, Root::Param(index) if names.params[index].repeats) && reference.path.is_empty();
        if repeats || reference.root == Root::Keys || reference.path.contains(&Hop::Each) {
            let what = format!("`{}` is a list, and a path takes one value", reference.text);
            fault(faults, text, what, "a list may stand in a query, where its items are joined by `,`");
        }
    }
    if has_dot_segment(&template) {
        fault(
            faults,
            text,
            "a path may not hold the segments `.` and `..`",
            "write the path that is meant",
        );
    }
    template
}

/// The query of a target, pair by pair; empty pairs are dropped.
pub(super) fn query(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Vec<(String, Template)> {
    let pairs = text.split('&').into_iter().filter(|pair| !pair.text.is_empty());
    pairs.map(|pair| query_pair(pair, names, faults)).collect()
}

/// The value of an entry of `query:`, which is text and not yet a URL.
pub(super) fn query_value(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Template {
    build(text, names, faults, |text, _, _| escape(&text))
}

/// Encodes text for a query's name or value: all but unreserved characters.
pub(super) fn escape(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        push_byte(&mut encoded, byte, is_unreserved(byte));
    }
    encoded
}

/// Encodes the fixed text of a route's pattern as clients send it.
pub(super) fn pattern_text(text: Text<'_>, faults: &mut Faults) -> String {
    encode(text.text, text, is_path_byte, faults)
}

fn query_pair(pair: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> (String, Template) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, pair.slice(pair.text.len()..pair.text.len())));
    if name.text.is_empty() || name.text.contains('$') {
        let what = "the name of a query pair is fixed text";
        fault(faults, pair, what, "write `name=$value`");
    }
    let encoded = encode(name.text, name, is_query_byte, faults);
    (
        encoded,
        build(value, names, faults, |text, place, faults| {
            encode(&text, place, is_query_byte, faults)
        }),
    )
}

fn build(
    text: Text<'_>,
    names: &Names<'_>,
    faults: &mut Faults,
    mut fixed: impl FnMut(String, Text<'_>, &mut Faults) -> String,
) -> Template {
    let mut pieces = Vec::new();
    for part in parse(text, faults) {
        match part {
            Part::Text(text, place) => pieces.push(Piece::Text(fixed(text, place, faults))),
            Part::Reference(written) => pieces.extend(names.resolve(&written, faults).map(Piece::Ref)),
        }
    }
    Template(pieces)
}

impl Template {
    /// Tells the reference that is all of this template.
    pub fn whole(&self) -> Option<&Reference> {
        match self.0.as_slice() {
            [Piece::Ref(reference)] => Some(reference),
            _ => None,
        }
    }
}

/// Keeps what may stand in a URL, escapes included, and encodes the rest.
fn encode(text: &str, place: Text<'_>, keep: fn(u8) -> bool, faults: &mut Faults) -> String {
    let bytes = text.as_bytes();
    let mut encoded = String::with_capacity(text.len());
    for (at, &byte) in bytes.iter().enumerate() {
        let problem = match byte {
            b'%' if !is_escape(&bytes[at..]) => Some(("`%` is not followed by two hexadecimal digits", "`%25` is a percent sign")),
            b'#' => Some(("`#` ends a URL for the client and is never sent", "`%23` is a number sign")),
            b'{' | b'}' => Some((
                "braces have no meaning here",
                "write `$name` or `${name}` for a value, `%7B` for a brace",
            )),
            _ if byte.is_ascii_control() => Some(("a URL holds a control character", "write it without line breaks and tabs")),
            _ => None,
        };
        if let Some((what, help)) = problem {
            fault(faults, place, what, help);
        }
        push_byte(&mut encoded, byte, byte == b'%' || keep(byte));
    }
    encoded
}

fn push_byte(encoded: &mut String, byte: u8, keep: bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if keep {
        encoded.push(char::from(byte));
    } else {
        encoded.push('%');
        encoded.push(char::from(HEX[usize::from(byte >> 4)]));
        encoded.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [_, high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// `pchar` of RFC 3986, and the slash.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

/// `query` of RFC 3986; `&` ends a pair before this is asked.
fn is_query_byte(byte: u8) -> bool {
    is_unreserved(byte) || b"!$'()*+,;=:@/?".contains(&byte)
}

/// Whether a segment is `.` or `..`, escaped dots included. A value cannot make one: it is refused when it is filled in.
fn has_dot_segment(template: &Template) -> bool {
    let mut written = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(text) => written.push_str(&text.replace("%2e", ".").replace("%2E", ".")),
            Piece::Ref(_) => written.push('$'),
        }
    }
    written.split('/').any(|segment| segment == "." || segment == "..")
}
