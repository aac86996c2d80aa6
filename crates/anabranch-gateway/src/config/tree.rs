//! YAML text to a tree that knows where each value was written: the 1.2 core schema, without what surprises people.
//!
//! Tags, merge keys, duplicate keys and numbers with leading zeros are faults, and the rest is read on. Anchors and aliases, control
//! characters, a second document and more than [`DEPTH_MAX`] levels end the reading. Aliases are refused as a whole rather than counted:
//! a config has no use for them, and without them a tree is never larger than its text.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as Marks};

use super::faults::Faults;
use super::scalar;
use super::yaml::{Node, NodeKind, Span, Spanned, Style};

/// Levels of lists and maps inside one another; the same as for JSON bodies.
pub const DEPTH_MAX: usize = 64;
/// A config larger than this, in bytes, is something else.
pub const TEXT_MAX: usize = 8 << 20;

/// Reads the whole text. None when nothing could be read, with the reason in `faults`; other faults leave the rest readable.
pub fn parse(text: &str, faults: &mut Faults) -> Option<Node> {
    if !readable(text, faults) {
        return None;
    }
    let places = Places::new(text);
    let mut tree = Tree {
        faults,
        places: &places,
        text,
        open: Vec::new(),
        root: None,
        documents: 0,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, marks)) => tree.take(event, marks).ok()?,
            Err(error) => {
                tree.syntax(&error);
                return None;
            }
        }
    }
    let root = tree.root.take();
    if root.is_none() && faults.is_empty() {
        faults.add_with_help(Span::default(), "the file is empty", "expected at least `routes:`");
    }
    root
}

/// Whether the text can be given to the parser at all: not too large, without control characters (NUL would end it in silence).
fn readable(text: &str, faults: &mut Faults) -> bool {
    if text.len() > TEXT_MAX {
        faults.add_with_help(Span::default(), "the file is too large", format!("at most {} MiB", TEXT_MAX >> 20));
        return false;
    }
    let unfit = text.char_indices().find(|(at, letter)| match letter {
        '\t' | '\n' | '\u{85}' => false,
        '\r' => !text[at + 1..].starts_with('\n'),
        '\u{feff}' => *at > 0,
        '\u{fffe}' | '\u{ffff}' => true,
        _ => letter.is_control(),
    });
    let Some((at, letter)) = unfit else { return true };
    let name = match letter {
        '\r' => "a carriage return without a line feed".to_owned(),
        '\u{feff}' => "a byte order mark inside of the text".to_owned(),
        _ => format!("the control character U+{:04X}", u32::from(letter)),
    };
    let help = "in double quotes write `\\r` or `\\u0000`";
    faults.add_with_help(
        Span {
            start: at,
            end: at + letter.len_utf8(),
        },
        format!("found {name}"),
        help,
    );
    false
}

/// Reading must stop; the fault has been added.
struct Stop;

/// The tree while it is being read.
struct Tree<'a> {
    faults: &'a mut Faults,
    places: &'a Places,
    text: &'a str,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

/// A list or mapping whose end has not come.
enum Open {
    List {
        items: Vec<Node>,
        start: usize,
    },
    Map {
        entries: Vec<(Spanned<String>, Node)>,
        start: usize,
        key: Option<Key>,
        seen: HashMap<String, usize>,
    },
}

/// A key whose value has not come.
struct Key {
    name: Spanned<String>,
    /// False when the key was a fault, so that its value is read and thrown away.
    kept: bool,
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>, marks: Marks) -> Result<(), Stop> {
        let span = self.places.span(marks, self.text);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.faults
                        .add_with_help(span, "a second document begins", "expected one document in the file");
                    return Err(Stop);
                }
            }
            Event::Alias(_) => return Err(self.refuse_anchor(span)),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some())?;
                let span = if text.is_empty() && style == ScalarStyle::Plain {
                    self.place_of_nothing(span)
                } else {
                    span
                };
                self.scalar(&text, style, span);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some())?;
                self.open(
                    span,
                    Open::List {
                        items: Vec::new(),
                        start: span.start,
                    },
                )?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(span, anchor, tag.is_some())?;
                self.open(
                    span,
                    Open::Map {
                        entries: Vec::new(),
                        start: span.start,
                        key: None,
                        seen: HashMap::new(),
                    },
                )?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
        }
        Ok(())
    }

    fn refuse_extras(&mut self, span: Span, anchor: usize, tagged: bool) -> Result<(), Stop> {
        if anchor != 0 {
            return Err(self.refuse_anchor(span));
        }
        if tagged {
            self.faults
                .add_with_help(span, "tags are not supported", "quote a text that begins with `!`");
        }
        Ok(())
    }

    /// A file that builds itself out of aliases has one fault, not one for each.
    fn refuse_anchor(&mut self, span: Span) -> Stop {
        let help = "write the value out where it is needed; quote a text that begins with `&` or `*`";
        self.faults.add_with_help(span, "anchors and aliases are not supported", help);
        Stop
    }

    fn open(&mut self, span: Span, open: Open) -> Result<(), Stop> {
        if self.open.len() >= DEPTH_MAX {
            self.too_deep(span.start);
            return Err(Stop);
        }
        self.open.push(open);
        Ok(())
    }

    fn too_deep(&mut self, at: usize) {
        self.faults.add(
            Span { start: at, end: at },
            format!("more than {DEPTH_MAX} levels inside one another"),
        );
    }

    fn close(&mut self, end: Span) {
        let Some(open) = self.open.pop() else { return };
        let (kind, start, last) = match open {
            Open::List { items, start } => {
                let last = items.last().map(|item| item.span.end);
                (NodeKind::List(items), start, last)
            }
            Open::Map { entries, start, .. } => {
                let last = entries.last().map(|(_, value)| value.span.end);
                (NodeKind::Map(entries), start, last)
            }
        };
        // Flow style ends with its bracket; block style has no end of its own and ends with its last value.
        let flow = self.text[start..].starts_with(['{', '[']) && end.end > end.start;
        let end = if flow { end.end } else { last.unwrap_or(end.start) };
        self.put(Node {
            kind,
            span: Span {
                start,
                end: end.max(start),
            },
        });
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) {
        let key_expected = matches!(self.open.last(), Some(Open::Map { key: None, .. }));
        if key_expected {
            return self.key(text, style, span);
        }
        let kind = match style {
            ScalarStyle::Plain => scalar::plain(text, span, self.faults),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => NodeKind::Text(text.to_owned(), Style::Quoted),
            ScalarStyle::Literal | ScalarStyle::Folded => NodeKind::Text(text.to_owned(), Style::Block),
        };
        self.put(Node { kind, span });
    }

    fn key(&mut self, text: &str, style: ScalarStyle, span: Span) {
        let plain = style == ScalarStyle::Plain;
        let name = Spanned::new(text.to_owned(), span);
        let Some(Open::Map { key, seen, .. }) = self.open.last_mut() else {
            return;
        };
        let earlier = seen.insert(text.to_owned(), span.start);
        let kept = if plain && text.is_empty() {
            self.faults.add(span, "a key is missing");
            false
        } else if plain && text == "<<" {
            self.faults
                .add_with_help(span, "merge keys are not supported", "write the keys out, or use `defaults`");
            false
        } else if let Some(earlier) = earlier {
            let line = self.faults.line_column(earlier).0;
            self.faults
                .add_with_help(span, format!("duplicate key `{text}`"), format!("it stands in line {line} already"));
            false
        } else {
            true
        };
        *key = Some(Key { name, kept });
    }

    /// Puts a finished value where it belongs.
    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                Some(key) if key.kept => entries.push((key.name, node)),
                Some(_) => {}
                None => {
                    self.faults.add_with_help(
                        node.span,
                        "a list or mapping stands as a key",
                        "quote a text that begins with `{` or `[`",
                    );
                    *key = Some(Key {
                        name: Spanned::new(String::new(), node.span),
                        kept: false,
                    });
                }
            },
        }
    }

    /// A value that is not there has no place of its own; its key has, or the list that it is in.
    fn place_of_nothing(&self, span: Span) -> Span {
        match self.open.last() {
            Some(Open::Map { key: Some(key), .. }) => key.name.span,
            Some(Open::List { start, .. }) => {
                let dash = self.text[..span.start].rfind('-').filter(|at| at >= start);
                dash.map_or(span, |at| Span { start: at, end: at + 1 })
            }
            _ => span,
        }
    }

    fn syntax(&mut self, error: &ScanError) {
        let start = self.places.offset(error.marker()).min(self.text.len());
        let next = self.text[start..].chars().next();
        let end = next
            .filter(|next| !next.is_whitespace())
            .map_or(start, |next| start + next.len_utf8());
        let info = error.info();
        if info.contains("recursion limit") {
            return self.too_deep(start);
        }
        let help = if info.contains("tab") || next == Some('\t') {
            "use blanks, not tabs".to_owned()
        } else if info.contains("anchor") {
            "anchors and aliases are not supported; quote a text that begins with `*` or `&`".to_owned()
        } else if info.contains("quoted scalar") && next.is_some_and(|next| next == '"' || next == '\'') {
            "the closing quote is missing".to_owned()
        } else if let Some((bracket, line)) = self.open_bracket() {
            format!("in the `{bracket}` of line {line}; inside of it quote a text that holds `{{`, `}}`, `[`, `]`, `,` or `: `")
        } else {
            "quote a text that holds `: ` or ` #`, or that begins with one of ``{ } [ ] , & * # ? | - < > = ! % @ ` ``".to_owned()
        };
        self.faults
            .add_with_help(Span { start, end }, format!("not valid YAML: {info}"), help);
    }

    /// The innermost list or mapping in brackets that is not closed, and its line.
    fn open_bracket(&self) -> Option<(char, usize)> {
        let (Open::List { start, .. } | Open::Map { start, .. }) = self.open.last()?;
        let bracket = self.text[*start..].chars().next().filter(|first| matches!(first, '{' | '['))?;
        Some((bracket, self.faults.line_column(*start).0))
    }
}

/// Byte offsets of the characters, since the parser counts characters.
struct Places {
    /// Empty when every character is one byte.
    offsets: Vec<u32>,
}

impl Places {
    fn new(text: &str) -> Self {
        let offsets = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| at as u32).collect()
        };
        Self { offsets }
    }

    fn offset(&self, mark: &Marker) -> usize {
        if self.offsets.is_empty() {
            return mark.index();
        }
        self.offsets.get(mark.index()).map_or(usize::MAX, |at| *at as usize)
    }

    /// The place without blanks and line ends behind it.
    fn span(&self, marks: Marks, text: &str) -> Span {
        let start = self.offset(&marks.start).min(text.len());
        let end = self.offset(&marks.end).clamp(start, text.len());
        Span {
            start,
            end: start + text[start..end].trim_end().len(),
        }
    }
}
