//! Where the characters of a value stand in the file, when it is not written there as it is: blocks are indented, quoted texts hold
//! escapes, long texts go over several lines.

use super::yaml::Span;

/// The place of `value[from..to]`, where the scalar `value` is what `written` says and `written` begins at `start` of the file. None where
/// the two cannot be brought together, for example because values from the environment stand in the value.
pub(super) fn place(written: &str, start: usize, value: &str, from: usize, to: usize) -> Option<Span> {
    let places = align(written, value)?;
    // The end of a piece is the end of its last character: behind it may stand an indentation.
    let last = value[..to.min(value.len())]
        .char_indices()
        .next_back()
        .map(|(at, _)| at)
        .filter(|last| *last >= from);
    let begin = *places.get(from)?;
    let end = last.and_then(|last| {
        places
            .get(last + character(value, last)?)
            .map(|_| places[last] + written_length(written, places[last]))
    });
    Some(Span {
        start: start + begin,
        end: start + end.unwrap_or(begin),
    })
}

fn character(value: &str, at: usize) -> Option<usize> {
    value[at..].chars().next().map(char::len_utf8)
}

/// For each byte of the value, and for its end, the byte of what is written.
fn align(written: &str, value: &str) -> Option<Vec<usize>> {
    let style = Style::of(written);
    let mut at = style.begin(written);
    let mut places = Vec::with_capacity(value.len() + 1);
    for letter in value.chars() {
        at = style.find(written, at, letter)?;
        places.resize(places.len() + letter.len_utf8(), at);
        at += written_length_in(style, written, at);
    }
    places.push(at.min(written.len()));
    Some(places)
}

fn written_length(written: &str, at: usize) -> usize {
    written_length_in(Style::of(written), written, at)
}

/// Bytes that the character which stands at `at` takes in the file.
fn written_length_in(style: Style, written: &str, at: usize) -> usize {
    let rest = &written[at..];
    match style {
        Style::Double if rest.starts_with('\\') => escape(rest).map_or(1, |(_, length)| length),
        Style::Single if rest.starts_with("''") => 2,
        _ => rest.chars().next().map_or(0, char::len_utf8),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Block,
}

impl Style {
    fn of(written: &str) -> Self {
        match written.as_bytes().first() {
            Some(b'\'') => Style::Single,
            Some(b'"') => Style::Double,
            Some(b'|' | b'>') => Style::Block,
            _ => Style::Plain,
        }
    }

    /// Where the first character may stand.
    fn begin(self, written: &str) -> usize {
        match self {
            Style::Plain => 0,
            Style::Single | Style::Double => 1,
            Style::Block => written.find('\n').map_or(written.len(), |end| end + 1),
        }
    }

    /// Where the next character of the value stands: here, or behind line ends and indentation.
    fn find(self, written: &str, mut at: usize, letter: char) -> Option<usize> {
        loop {
            let rest = &written[at..];
            let Some(next) = rest.chars().next() else {
                // The line end behind the last line of a block belongs to the value and not to the place.
                return (letter == '\n').then_some(at);
            };
            if self == Style::Double && next == '\\' {
                match escape(rest)? {
                    (Some(escaped), _) if escaped == letter => return Some(at),
                    // A line end that is escaped stands for nothing.
                    (None, length) => at += length,
                    _ => return None,
                }
                continue;
            }
            // Lines that were folded are joined by a blank.
            let folded = letter == ' ' && next == '\n';
            if next == letter || folded {
                return Some(at);
            }
            if !next.is_ascii_whitespace() {
                return None;
            }
            at += next.len_utf8();
        }
    }
}

/// The character that an escape in double quotes stands for, None for an escaped line end, and the length of the escape.
fn escape(rest: &str) -> Option<(Option<char>, usize)> {
    let letter = rest[1..].chars().next()?;
    let hex = |digits: usize| {
        let code = rest.get(2..2 + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok())?;
        Some((Some(char::from_u32(code)?), 2 + digits))
    };
    let plain = |letter: char| Some((Some(letter), 2));
    match letter {
        '\n' => Some((None, 2)),
        'n' => plain('\n'),
        't' | '\t' => plain('\t'),
        'r' => plain('\r'),
        '0' => plain('\0'),
        'a' => plain('\u{7}'),
        'b' => plain('\u{8}'),
        'e' => plain('\u{1b}'),
        'f' => plain('\u{c}'),
        'v' => plain('\u{b}'),
        'N' => plain('\u{85}'),
        '_' => plain('\u{a0}'),
        'L' => plain('\u{2028}'),
        'P' => plain('\u{2029}'),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        other => Some((Some(other), 1 + other.len_utf8())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::faults::Faults;
    use crate::config::yaml::{parse, NodeKind};

    /// Finds `part` in the value of `a:` and shows what stands at its place in the file.
    fn shown(yaml: &str, part: &str) -> String {
        let mut faults = Faults::new("f", yaml);
        let root = parse(yaml, &mut faults).unwrap();
        let NodeKind::Map(entries) = root.kind else { panic!("no map") };
        let NodeKind::Text(value, _) = &entries[0].1.kind else {
            panic!("no text")
        };
        let from = value.find(part).unwrap_or_else(|| panic!("`{part}` is not in {value:?}"));
        let place = faults.within(entries[0].1.span, value, from, from + part.len());
        yaml[place.start..place.end].to_owned()
    }

    #[test]
    fn pieces_are_found_in_every_style() {
        for yaml in [
            "a: one two three",
            "a: 'one two three'",
            "a: \"one two three\"",
            "a: |\n  one two\n  three\n",
            "a: |-\n      one\n        two\n      three\n",
            "a: >\n  one\n  two\n\n  three\n",
            "a: one\n  two\n   three",
            "a: \"one\\ttwo\\x20three\"",
            "a: 'it''s one: two three'",
            "a: \"\\\"one\\\" two\\\n  three\"",
        ] {
            for part in ["one", "two", "three"] {
                assert_eq!(shown(yaml, part), part, "{yaml}");
            }
        }
    }

    #[test]
    fn the_place_of_what_is_escaped_is_the_escape() {
        assert_eq!(shown("a: \"x \\u00e9 y\"", "é"), "\\u00e9");
        assert_eq!(shown("a: \"x \\\"q\\\" y\"", "\"q\""), "\\\"q\\\"");
        assert_eq!(shown("a: 'x ''q'' y'", "'q'"), "''q''");
        assert_eq!(shown("a: |\n  ä ö\n  ü x\n", "ü x"), "ü x");
    }

    #[test]
    fn what_is_not_written_there_has_no_place() {
        assert_eq!(place("shop /x/$env.A", 0, "shop /x/7", 0, 4), None);
        assert_eq!(place("abc", 5, "", 0, 0), Some(Span { start: 5, end: 5 }));
    }
}
