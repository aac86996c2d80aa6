//! References as they are written: `$name`, `$name.field.0[]`, `${name.field}`, and `$$` for a dollar. What a name means is said
//! by `names`.

use super::model::Hop;
use super::place::{fault, Text};
use crate::config::faults::Faults;

/// A reference as it stands in a text.
#[derive(Clone, Debug)]
pub(super) struct Written<'a> {
    /// All of it, dollar and braces included.
    pub(super) whole: Text<'a>,
    /// The name alone.
    pub(super) name: Text<'a>,
    /// What follows the name, as written: `.id`, `[].id`.
    pub(super) tail: Text<'a>,
    /// The same, understood.
    pub(super) hops: Vec<Hop>,
}

/// A piece of a text.
#[derive(Clone, Debug)]
pub(super) enum Part<'a> {
    /// As it stands, with `$$` made one dollar; the place is that of the first part of it.
    Text(String, Text<'a>),
    /// A reference.
    Reference(Written<'a>),
}

/// Where a reference stands decides what may follow its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    /// In a text: `.field`, `.0`, `[]`.
    Text,
    /// In a condition also jq's `[0]` and `["field"]`.
    Condition,
}

/// Whether `text` is a name: `[A-Za-z_][A-Za-z0-9_]*`.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && name_end(text.as_bytes(), 0) == text.len()
}

/// Takes a text apart. Broken references are reported and left out.
pub(super) fn parse<'a>(text: Text<'a>, faults: &mut Faults) -> Vec<Part<'a>> {
    let mut parts: Vec<Part<'a>> = Vec::new();
    let mut at = 0;
    while at < text.text.len() {
        let Some(dollar) = text.text[at..].find('$').map(|offset| at + offset) else {
            push_text(&mut parts, &text.text[at..], text.slice(at..text.text.len()));
            break;
        };
        push_text(&mut parts, &text.text[at..dollar], text.slice(at..dollar));
        if text.text[dollar + 1..].starts_with('$') {
            push_text(&mut parts, "$", text.slice(dollar..dollar + 2));
            at = dollar + 2;
            continue;
        }
        let (written, end) = read(text, dollar, Notation::Text, faults);
        parts.extend(written.map(Part::Reference));
        at = end;
    }
    parts
}

/// Reads a place in an answer, a reference without its dollar: `posts[].author`. None unless the text is nothing else.
pub(super) fn read_place<'a>(text: Text<'a>, faults: &mut Faults) -> Option<(Text<'a>, Vec<Hop>)> {
    let name = name_end(text.text.as_bytes(), 0);
    let (hops, end) = read_hops(text, 0..name, Notation::Text, faults);
    let is_whole = name > 0 && end == text.text.len();
    hops.filter(|_| is_whole).map(|hops| (text.slice(0..name), hops))
}

/// Reads the reference whose dollar stands at `dollar`; also says where it ends, broken or not.
pub(super) fn read<'a>(text: Text<'a>, dollar: usize, notation: Notation, faults: &mut Faults) -> (Option<Written<'a>>, usize) {
    let bytes = text.text.as_bytes();
    if bytes.get(dollar + 1) == Some(&b'{') {
        return read_braced(text, dollar, notation, faults);
    }
    let start = dollar + 1;
    let name = name_end(bytes, start);
    if name == start {
        let end = text.text[start..].chars().next().map_or(start, |next| start + next.len_utf8());
        let help = "write `$name` for a value, `$$` for a dollar";
        fault(faults, text.slice(dollar..end), "`$` is not followed by a name", help);
        return (None, end);
    }
    let (hops, end) = read_hops(text, start..name, notation, faults);
    let whole = text.slice(dollar..end);
    let written = hops.map(|hops| Written {
        whole,
        name: text.slice(start..name),
        tail: text.slice(name..end),
        hops,
    });
    (written, end)
}

fn read_braced<'a>(text: Text<'a>, dollar: usize, notation: Notation, faults: &mut Faults) -> (Option<Written<'a>>, usize) {
    let Some(close) = text.text[dollar..].find('}').map(|offset| dollar + offset) else {
        fault(
            faults,
            text.slice(dollar..text.text.len()),
            "`${` is never closed",
            "write `${name.field}`",
        );
        return (None, text.text.len());
    };
    let inside = text.slice(0..close);
    let start = dollar + 2;
    let name = name_end(inside.text.as_bytes(), start);
    let (hops, end) = if name == start {
        (None, start)
    } else {
        read_hops(inside, start..name, notation, faults)
    };
    if end != close || name == start {
        let what = format!("`{}` is not a reference", text.slice(dollar..close + 1).text);
        fault(
            faults,
            text.slice(dollar..close + 1),
            what,
            "a name, then `.field`, `.0` or `[]`, stands inside `${ }`",
        );
        return (None, close + 1);
    }
    let whole = text.slice(dollar..close + 1);
    let written = hops.map(|hops| Written {
        whole,
        name: text.slice(start..name),
        tail: text.slice(name..close),
        hops,
    });
    (written, close + 1)
}

/// Reads what follows the name, as far as it goes.
fn read_hops(text: Text<'_>, name: std::ops::Range<usize>, notation: Notation, faults: &mut Faults) -> (Option<Vec<Hop>>, usize) {
    let bytes = text.text.as_bytes();
    let hyphens = matches!(&text.text[name.clone()], "header" | "claims");
    let mut hops = Vec::new();
    let mut sound = true;
    let mut at = name.end;
    loop {
        let hop = match bytes.get(at) {
            Some(b'.') => dotted(text, at + 1, hyphens),
            Some(b'[') if bytes.get(at + 1) == Some(&b']') => Some((Hop::Each, at + 2)),
            Some(b'[') => bracketed(text, at),
            _ => None,
        };
        let Some((hop, end)) = hop else { break };
        if notation == Notation::Text && bytes[at] == b'[' && hop != Hop::Each {
            let what = format!("`{}` after a reference would be text", &text.text[at..end]);
            let help = "write `.0` or `.field` to go into the value; `${name}[0]` if it is meant as text";
            fault(faults, text.slice(at..end), what, help);
            sound = false;
        }
        hops.push(hop);
        at = end;
    }
    (sound.then_some(hops), at)
}

/// `.field` or `.0`, without the dot.
fn dotted(text: Text<'_>, start: usize, hyphens: bool) -> Option<(Hop, usize)> {
    let bytes = text.text.as_bytes();
    let digits = start + bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !hyphens && digits > start {
        return Some((Hop::Index(text.text[start..digits].parse().ok()?), digits));
    }
    let end = if hyphens {
        start + bytes[start..].iter().take_while(|&&byte| is_word(byte) || byte == b'-').count()
    } else {
        name_end(bytes, start)
    };
    (end > start).then(|| (Hop::Field(text.text[start..end].to_owned()), end))
}

/// `[0]` or `["field"]`, as jq writes them.
fn bracketed(text: Text<'_>, open: usize) -> Option<(Hop, usize)> {
    let close = open + text.text[open..].find(']')?;
    let inside = &text.text[open + 1..close];
    let hop = match inside.strip_prefix('"') {
        Some(_) => Hop::Field(serde_json::from_str(inside).ok()?),
        None if inside.bytes().all(|byte| byte.is_ascii_digit()) => Hop::Index(inside.parse().ok()?),
        None => return None,
    };
    Some((hop, close + 1))
}

fn name_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(&first) if is_word(first) && !first.is_ascii_digit() => {
            start + bytes[start..].iter().take_while(|&&byte| is_word(byte)).count()
        }
        _ => start,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn push_text<'a>(parts: &mut Vec<Part<'a>>, text: &str, place: Text<'a>) {
    if text.is_empty() {
        return;
    }
    match parts.last_mut() {
        Some(Part::Text(last, _)) => last.push_str(text),
        _ => parts.push(Part::Text(text.to_owned(), place)),
    }
}
