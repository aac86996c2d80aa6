//! `$env.NAME` and `$file.PATH`: references that are read when the config is loaded. What they hold never shows in a fault.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use super::faults::Faults;
use super::yaml::Span;

/// Where a config's references to the outside are looked up. The binary reads the process and the disk, tests read a map.
pub trait Lookup {
    /// The value of an environment variable; None when it is not set.
    fn env(&self, name: &str) -> Option<String>;

    /// The content of a file; a relative path begins at the folder of the config file.
    fn file(&self, path: &str) -> io::Result<String>;
}

/// A lookup in fixed values, for tests and examples. It holds nothing unless told.
#[derive(Clone, Default)]
pub struct MapLookup {
    env: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

impl MapLookup {
    /// Starts without any value.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an environment variable.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a file.
    pub fn with_file(mut self, path: &str, content: &str) -> Self {
        self.files.insert(path.to_owned(), content.to_owned());
        self
    }
}

/// Shows the names and not the values.
impl fmt::Debug for MapLookup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = (self.env.keys().collect::<Vec<_>>(), self.files.keys().collect::<Vec<_>>());
        formatter
            .debug_struct("MapLookup")
            .field("env", &names.0)
            .field("files", &names.1)
            .finish()
    }
}

impl Lookup for MapLookup {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn file(&self, path: &str) -> io::Result<String> {
        self.files
            .get(path)
            .cloned()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}

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
    if !text.contains('$') {
        return Some(text.to_owned());
    }
    let mut resolved = String::with_capacity(text.len());
    let mut complete = true;
    let mut quoted = false;
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        let (used, escaped) = if purpose == Purpose::Condition && quoted && letter == '\\' {
            (letter.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8), None)
        } else if letter == '$' && rest.starts_with("$$") {
            (2, (purpose == Purpose::Text).then_some("$"))
        } else if letter == '$' && !(purpose == Purpose::Condition && quoted) {
            match Outside::at(rest) {
                Some(reference) => {
                    let place = faults.within(span, text, at, at + reference.length);
                    match reference.read(place, lookup, faults) {
                        Some(value) => resolved.push_str(&escape(&value, purpose)),
                        None => complete = false,
                    }
                    at += reference.length;
                    continue;
                }
                None if purpose == Purpose::Text => {
                    let place = faults.within(span, text, at, at + 1);
                    let help = "expected `$env.NAME` or `$file.PATH`; a dollar is `$$`";
                    faults.add_with_help(place, "a `$` that begins no reference to read at load", help);
                    complete = false;
                    (1, None)
                }
                None => (1, None),
            }
        } else {
            quoted ^= letter == '"';
            (letter.len_utf8(), None)
        };
        resolved.push_str(escaped.unwrap_or(&rest[..used]));
        at += used;
    }
    complete.then_some(resolved)
}

/// The first reference to the outside in `text`, as its byte range; for texts in which none may stand.
pub(super) fn first_outside(text: &str) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        let start = at + found;
        if let Some(reference) = Outside::at(&text[start..]) {
            return Some(start..start + reference.length);
        }
        at = start + if text[start..].starts_with("$$") { 2 } else { 1 };
    }
    None
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
                    faults.add(place, format!("cannot read file `{name}`: {error}"));
                    None
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
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
            "3..12 environment variable `NOPE` is not set; 15..26 cannot read file `no/pe`: no such file"
        );
        assert_eq!(check("$env.", Purpose::Template).unwrap_err(), "0..5 a reference without a name");
        assert_eq!(
            check("${env.HOST", Purpose::Template).unwrap_err(),
            "0..10 a reference without a name"
        );
        assert_eq!(check("$env.1", Purpose::Template).unwrap_err(), "0..6 a reference without a name");
        assert!(
            check("x$", Purpose::Text)
                .unwrap_err()
                .starts_with("1..2 a `$` that begins no reference")
        );
        assert!(
            check("$id", Purpose::Text)
                .unwrap_err()
                .starts_with("0..1 a `$` that begins no reference")
        );
    }

    #[test]
    fn the_first_reference_is_found_behind_dollars() {
        assert_eq!(first_outside("a $$env.X $y $env.Z"), Some(13..19));
        assert_eq!(first_outside("$$ $x"), None);
    }
}
