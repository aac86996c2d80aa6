//! `$env.NAME` and `$file.PATH` in a text: read when the config is loaded, and never shown in a fault.

use std::io;

use super::faults::Faults;
use super::lookup::Lookup;
use super::yaml::Span;

/// What the text is read as afterwards, which decides how values are put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Final text: `$$` becomes a dollar, and no other reference may stand in it.
    Text,
    /// A template: `$$` and other references stay, dollars of a value are doubled so that they are not read as references.
    Template,
    /// A condition: a value becomes a text in double quotes; references inside of quotes are text.
    Condition,
}

/// Puts the values of `$env.NAME` and `$file.PATH` into `text`. None when one is missing; that is a fault, added with its place.
pub(super) fn resolve(text: &str, span: Span, purpose: Purpose, lookup: &dyn Lookup, faults: &mut Faults) -> Option<String> {
    let mut resolved = String::with_capacity(text.len());
    let mut complete = true;
    let mut open_reference = false;
    let mut at = 0;
    while at < text.len() {
        let (piece, length) = next_piece(&text[at..], purpose);
        let place = faults.within(span, text, at, at + length);
        let value = match &piece {
            Piece::Text(piece) => Some((*piece).to_owned()),
            Piece::Dollar if purpose == Purpose::Text => Some("$".to_owned()),
            Piece::Dollar => Some("$$".to_owned()),
            Piece::Inner(_) if purpose == Purpose::Text => {
                let help = "expected `$env.NAME` or `$file.PATH`; a dollar is `$$`";
                faults.add_with_help(place, "nothing but values read at load can stand here", help);
                None
            }
            Piece::Inner(piece) => Some((*piece).to_owned()),
            Piece::Outside(_) if open_reference && purpose == Purpose::Template => {
                // The value's first letters would be read as more of the reference.
                faults.add_with_help(
                    place,
                    "a value read at load directly behind a reference",
                    "end the reference by hand: `${name}`",
                );
                None
            }
            Piece::Outside(outside) => outside.read(place, lookup, faults).map(|value| escape(&value, purpose)),
        };
        complete &= value.is_some();
        resolved.push_str(&value.unwrap_or_default());
        open_reference = matches!(piece, Piece::Inner(piece) if !piece.starts_with("${"));
        at += length;
    }
    complete.then_some(resolved)
}

/// The path where `text` is a reference to a file and nothing else.
pub(super) fn file_alone(text: &str) -> Option<&str> {
    let outside = Outside::at(text).filter(|outside| text.starts_with('$') && outside.length == text.len())?;
    (matches!(outside.root, Root::File) && !outside.name.is_empty()).then_some(outside.name)
}

/// The first reference to the outside in `text`, as its byte range; for texts in which none may stand.
pub(super) fn first_outside(text: &str) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    while at < text.len() {
        let (piece, length) = next_piece(&text[at..], Purpose::Text);
        if matches!(piece, Piece::Outside(_)) {
            return Some(at..at + length);
        }
        at += length;
    }
    None
}

/// A piece of a text that may hold references.
enum Piece<'a> {
    /// No reference, as written.
    Text(&'a str),
    /// `$$`.
    Dollar,
    /// `$env.NAME` or `$file.PATH`.
    Outside(Outside<'a>),
    /// A `$` and what may belong to its reference: `$posts[].id`. The plan reads it exactly.
    Inner(&'a str),
}

/// The piece that `text` (not empty) begins with, and its bytes.
fn next_piece(text: &str, purpose: Purpose) -> (Piece<'_>, usize) {
    let quotes = purpose == Purpose::Condition;
    if text.starts_with("$$") {
        return (Piece::Dollar, 2);
    }
    if text.starts_with('$') {
        if let Some(outside) = Outside::at(text) {
            let length = outside.length;
            return (Piece::Outside(outside), length);
        }
        let length = inner_length(text);
        return (Piece::Inner(&text[..length]), length);
    }
    let length = if quotes && text.starts_with('"') {
        string_length(text)
    } else {
        text.find(|letter| letter == '$' || (quotes && letter == '"')).unwrap_or(text.len())
    };
    (Piece::Text(&text[..length]), length)
}

fn inner_length(text: &str) -> usize {
    if text.starts_with("${") {
        return text.find('}').map_or(text.len(), |end| end + 1);
    }
    let dashes = text.starts_with("$header.") || text.starts_with("$claims.");
    let inside = |letter: char| letter.is_ascii_alphanumeric() || "_.[]".contains(letter) || (dashes && letter == '-');
    text[1..].find(|letter| !inside(letter)).map_or(text.len(), |end| end + 1)
}

/// Bytes of the text in double quotes that `text` begins with; all of it when the closing quote is missing.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let closing = *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        closing
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

fn escape(value: &str, purpose: Purpose) -> String {
    match purpose {
        Purpose::Text => value.to_owned(),
        Purpose::Template => value.replace('$', "$$"),
        Purpose::Condition => serde_json::Value::from(value).to_string(),
    }
}

/// A reference to the outside.
struct Outside<'a> {
    root: Root,
    name: &'a str,
    /// Bytes of the whole reference.
    length: usize,
}

#[derive(Clone, Copy)]
enum Root {
    Env,
    File,
}

impl<'a> Outside<'a> {
    /// The reference that `text` begins with, if it is one: `$env.NAME`, `${env.NAME}`, `$file.PATH`, `${file.PATH}`.
    fn at(text: &'a str) -> Option<Self> {
        let braced = text.starts_with("${");
        let inner = text.get(if braced { 2 } else { 1 }..)?;
        let (root, inner) = match inner.strip_prefix("env.") {
            Some(inner) => (Root::Env, inner),
            None => (Root::File, inner.strip_prefix("file.")?),
        };
        let in_name = |letter: char| match root {
            Root::Env => letter.is_ascii_alphanumeric() || letter == '_',
            Root::File => letter.is_ascii_alphanumeric() || "_./-".contains(letter),
        };
        let end = inner.find(|letter| !in_name(letter)).unwrap_or(inner.len());
        let closed = braced && inner[end..].starts_with('}');
        let name = if braced && !closed { "" } else { &inner[..end] };
        let begin = text.len() - inner.len();
        Some(Self {
            root,
            name,
            length: begin + end + usize::from(closed),
        })
    }

    fn read(&self, place: Span, lookup: &dyn Lookup, faults: &mut Faults) -> Option<String> {
        let letters = match self.root {
            Root::Env => "expected a name of `A-Z a-z 0-9 _`, in braces up to `}`",
            Root::File => "expected a path of `A-Z a-z 0-9 _ . / -`, in braces up to `}`",
        };
        if self.name.is_empty() || (matches!(self.root, Root::Env) && self.name.starts_with(|first: char| first.is_ascii_digit())) {
            faults.add_with_help(place, "a reference without a name", letters);
            return None;
        }
        let name = self.name;
        match self.root {
            Root::Env => {
                let value = lookup.env(name);
                match &value {
                    Some(value) => faults.hide(value, &format!("$env.{name}")),
                    None => faults.add(place, format!("environment variable `{name}` is not set")),
                }
                value
            }
            Root::File => match lookup.file(name) {
                Ok(content) => {
                    // Editors end files with a line end, which no password, token or header has.
                    let content = content
                        .strip_suffix('\n')
                        .map_or(content.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest))
                        .to_owned();
                    faults.hide(&content, &format!("$file.{name}"));
                    Some(content)
                }
                Err(error) => {
                    unreadable(place, name, &error, faults);
                    None
                }
            },
        }
    }
}

/// Reports a file that is not there, or cannot be read.
pub(super) fn unreadable(place: Span, name: &str, error: &io::Error, faults: &mut Faults) {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let help = "a path begins at the folder of the config file";
            faults.add_with_help(place, format!("there is no file `{name}`"), help);
        }
        _ => faults.add(place, format!("cannot read file `{name}`: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::lookup::MapLookup;
    use super::*;

    fn check(text: &str, purpose: Purpose) -> Result<String, String> {
        let lookup = MapLookup::new()
            .with_env("HOST", "shop.svc")
            .with_env("TOKEN", "a$id\"b")
            .with_env("EMPTY", "")
            .with_file("keys/token.txt", "s3cr$t\r\n")
            .with_file("ca.pem", "-----\nX\n");
        let mut faults = Faults::new("f", text);
        let resolved = resolve(text, Span { start: 0, end: text.len() }, purpose, &lookup, &mut faults);
        assert_eq!(resolved.is_none(), !faults.is_empty());
        resolved.ok_or_else(|| {
            faults
                .sorted()
                .iter()
                .map(|fault| format!("{}..{} {}", fault.span.start, fault.span.end, fault.message))
                .collect::<Vec<_>>()
                .join("; ")
        })
    }

    #[test]
    fn values_are_put_in_and_what_follows_is_text() {
        assert_eq!(check("http://$env.HOST:80", Purpose::Text).unwrap(), "http://shop.svc:80");
        assert_eq!(check("http://$env.HOST.example", Purpose::Text).unwrap(), "http://shop.svc.example");
        assert_eq!(check("${env.HOST}_x", Purpose::Text).unwrap(), "shop.svc_x");
        assert_eq!(check("$file.ca.pem", Purpose::Text).unwrap(), "-----\nX");
        assert_eq!(check("Bearer ${file.keys/token.txt}", Purpose::Text).unwrap(), "Bearer s3cr$t");
        assert_eq!(check("[$env.EMPTY]", Purpose::Text).unwrap(), "[]");
        assert_eq!(check("5 $$, $$env.HOST", Purpose::Text).unwrap(), "5 $, $env.HOST");
    }

    #[test]
    fn a_value_in_a_template_is_never_read_as_a_reference() {
        assert_eq!(check("$id/$env.TOKEN/$$", Purpose::Template).unwrap(), "$id/a$$id\"b/$$");
        assert_eq!(check("$$$env.HOST", Purpose::Template).unwrap(), "$$shop.svc");
        assert_eq!(
            check("$environment $files.x $env", Purpose::Template).unwrap(),
            "$environment $files.x $env"
        );
    }

    #[test]
    fn a_value_does_not_lengthen_the_reference_before_it() {
        for text in ["$id$env.HOST", "$id.$env.HOST", "$a[]$env.HOST", "$header.x-$env.HOST"] {
            assert!(
                check(text, Purpose::Template).unwrap_err().ends_with("directly behind a reference"),
                "{text}"
            );
        }
        for text in [
            "${id}$env.HOST",
            "$id-$env.HOST",
            "$id/$env.HOST",
            "$env.HOST$env.HOST",
            "$$$env.HOST",
            "$env.HOST$id",
        ] {
            assert!(check(text, Purpose::Template).unwrap().contains("shop.svc"), "{text}");
        }
    }

    #[test]
    fn a_value_in_a_condition_is_a_text() {
        assert_eq!(check("$mode == $env.TOKEN", Purpose::Condition).unwrap(), r#"$mode == "a$id\"b""#);
        assert_eq!(
            check(r#"$x == "\"$env.HOST" and $y"#, Purpose::Condition).unwrap(),
            r#"$x == "\"$env.HOST" and $y"#
        );
    }

    #[test]
    fn what_is_missing_is_a_fault_at_its_place() {
        assert_eq!(
            check("é $env.NOPE x $file.no/pe", Purpose::Template).unwrap_err(),
            "3..12 environment variable `NOPE` is not set; 15..26 there is no file `no/pe`"
        );
        assert_eq!(check("$env.", Purpose::Template).unwrap_err(), "0..5 a reference without a name");
        assert_eq!(
            check("${env.HOST", Purpose::Template).unwrap_err(),
            "0..10 a reference without a name"
        );
        assert_eq!(check("$env.1", Purpose::Template).unwrap_err(), "0..6 a reference without a name");
        assert_eq!(
            check("x$", Purpose::Text).unwrap_err(),
            "1..2 nothing but values read at load can stand here"
        );
        assert_eq!(
            check("$id.x y", Purpose::Text).unwrap_err(),
            "0..5 nothing but values read at load can stand here"
        );
    }

    #[test]
    fn the_first_reference_is_found_behind_dollars() {
        assert_eq!(first_outside("a $$env.X $y $env.Z"), Some(13..19));
        assert_eq!(first_outside("$$ $x"), None);
    }

    #[test]
    fn a_file_alone_is_told_from_a_file_in_a_text() {
        assert_eq!(file_alone("$file.a/b.json"), Some("a/b.json"));
        assert_eq!(file_alone("${file.b.json}"), Some("b.json"));
        for text in [
            "",
            "file.a",
            "x$file.a",
            "$file.a b",
            "$$file.a",
            "$file.",
            "${file.a",
            "$env.A",
            "${file.a}b",
        ] {
            assert_eq!(file_alone(text), None, "{text}");
        }
    }
}
