//! Faults of a config: what is wrong, where, and what was expected. All of them are gathered, then shown at once.
//!
//! Values that came from the environment or from files are registered here as secrets, so that no message shows them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::secrets::Secrets;
use super::yaml::Span;
pub use super::nearest::{nearest, one_of};

/// Faults kept; a file with more has one cause, and nobody reads on.
const FAULTS_KEPT: usize = 500;

/// One thing that is wrong with a config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, in bytes of the text.
    pub span: Span,
    /// What is wrong, a lower-case fragment: ``unknown key `timout` ``.
    pub message: String,
    /// What was expected, or what to write.
    pub help: Option<String>,
}

/// The faults of one file, with the text that they point into.
#[derive(Clone)]
pub struct Faults {
    /// The name shown before line and column.
    file: String,
    /// The whole text of the file.
    text: Arc<str>,
    /// In the order found, without repeats; at most [`FAULTS_KEPT`].
    list: Vec<Fault>,
    /// How many were found beyond those kept.
    dropped: usize,
    /// Values that must not be shown.
    secrets: Secrets,
}

impl Faults {
    /// Starts an empty list for one file.
    pub fn new(file: &str, text: &str) -> Self {
        Self {
            file: file.to_owned(),
            text: text.into(),
            list: Vec::new(),
            dropped: 0,
            secrets: Secrets::default(),
        }
    }

    /// Adds a fault. The message is a lower-case fragment that names the thing in backticks.
    pub fn add(&mut self, span: Span, message: impl Into<String>) {
        self.push(span, message.into(), None);
    }

    /// Adds a fault together with what was expected: ``expected a duration such as `1s` ``.
    pub fn add_with_help(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(span, message.into(), Some(help.into()));
    }

    /// Adds ``unknown WHAT `name` `` and suggests the nearest of `candidates`, or lists them.
    pub fn add_unknown<'a>(&mut self, span: Span, what: &str, name: &str, candidates: impl IntoIterator<Item = &'a str>) {
        let candidates: Vec<&str> = candidates.into_iter().collect();
        let help = match nearest(name, candidates.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if candidates.is_empty() => format!("there is no {what} here"),
            None => format!("expected {}", one_of(&candidates)),
        };
        self.add_with_help(span, format!("unknown {what} `{name}`"), help);
    }

    /// Says whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Says whether something is wrong at these bytes of the text.
    pub(crate) fn has_within(&self, bytes: Range<usize>) -> bool {
        self.list.iter().any(|fault| bytes.contains(&fault.span.start))
    }

    /// Counts the faults, those beyond the kept ones as well.
    pub fn len(&self) -> usize {
        self.list.len() + self.dropped
    }

    /// The faults in the order of their places.
    pub fn sorted(&self) -> Vec<&Fault> {
        let mut faults: Vec<&Fault> = self.list.iter().collect();
        faults.sort_by_key(|fault| (fault.span.start, fault.span.end));
        faults
    }

    /// The file's name as given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file's text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both from 1; columns count characters, a tab is one.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..floor_boundary(&self.text, offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// The place of `value[from..to]` where `value` is the text written at `span`, in whatever style; the whole span when the text as
    /// written cannot be its value (values from the environment stand in it).
    pub fn within(&self, span: Span, value: &str, from: usize, to: usize) -> Span {
        let written = self.text.get(span.start..span.end).unwrap_or_default();
        let quoted = written.len() >= 2 && written.starts_with(['"', '\'']);
        let skipped = if written == value {
            0
        } else if quoted && &written[1..written.len() - 1] == value {
            1
        } else {
            return super::written::place(written, span.start, value, from, to).unwrap_or(span);
        };
        let at = |offset: usize| span.start + skipped + offset.min(value.len());
        Span {
            start: at(from),
            end: at(to.max(from)),
        }
    }

    /// Keeps `value` out of every message from now on and shows `reference` in its place.
    pub fn hide(&mut self, value: &str, reference: &str) {
        self.secrets.add(value, reference);
    }

    /// Shows all faults, each with file, line, column, the line underlined and what was expected; then their number.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut shown = String::new();
        for fault in self.sorted() {
            shown.push_str(&self.render_one(&renderer, fault));
            shown.push_str("\n\n");
        }
        let count = self.len();
        shown.push_str(&format!("{count} fault{}", if count == 1 { "" } else { "s" }));
        if self.dropped > 0 {
            shown.push_str(&format!(", the first {FAULTS_KEPT} shown"));
        }
        shown.push('\n');
        shown
    }

    fn push(&mut self, span: Span, message: String, help: Option<String>) {
        let fault = Fault {
            span,
            message: self.secrets.out_of_message(message, &self.text),
            help: help.map(|help| self.secrets.out_of_help(help, &self.text)),
        };
        if self.list.contains(&fault) {
            return;
        }
        if self.list.len() < FAULTS_KEPT {
            self.list.push(fault);
        } else {
            self.dropped += 1;
        }
    }

    fn render_one(&self, renderer: &Renderer, fault: &Fault) -> String {
        // Only the first line of a span is shown, and only that line is handed over: a map of 300 lines explains nothing.
        let start = floor_boundary(&self.text, fault.span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let end = floor_boundary(&self.text, fault.span.end).clamp(start, line_start + line.len().max(start - line_start));
        let marked = (start - line_start).min(line.len())..(end - line_start).min(line.len());
        let snippet = Snippet::source(line)
            .path(self.file.as_str())
            .line_start(self.line_column(start).0)
            .annotation(AnnotationKind::Primary.span(marked));
        let mut group = Level::ERROR.primary_title(fault.message.as_str()).element(snippet);
        if let Some(help) = &fault.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

/// Shows the faults as text and never the secrets.
impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl std::error::Error for Faults {}

/// The nearest character boundary at or before `offset`.
fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, part: &str) -> Span {
        let start = text.find(part).unwrap();
        Span {
            start,
            end: start + part.len(),
        }
    }

    #[test]
    fn a_fault_shows_file_line_column_the_line_and_what_was_expected() {
        let text = "listen: 1\nsources:\n  shop: { urll: x }\n";
        let mut faults = Faults::new("gateway.yaml", text);
        faults.add_unknown(span(text, "urll"), "key", "urll", ["url", "rate"]);
        let shown = faults.render(false);
        assert!(shown.contains("error: unknown key `urll`"), "{shown}");
        assert!(shown.contains("gateway.yaml:3:11"), "{shown}");
        assert!(shown.contains("3 |   shop: { urll: x }\n  |           ^^^^"), "{shown}");
        assert!(shown.contains("help: did you mean `url`?"), "{shown}");
        assert!(shown.ends_with("\n1 fault\n"), "{shown}");
    }

    #[test]
    fn faults_come_in_the_order_of_their_places_and_once_each() {
        let text = "a: 1\nb: 2\n";
        let mut faults = Faults::new("f", text);
        faults.add(span(text, "2"), "second");
        faults.add(span(text, "1"), "first");
        faults.add(span(text, "2"), "second");
        let messages: Vec<&str> = faults.sorted().iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(messages, ["first", "second"]);
    }

    #[test]
    fn columns_count_characters_and_underlines_stop_at_the_end_of_the_line() {
        let text = "näme: \"größe\"\n\tx: y\r\nz: 1\n";
        let faults = Faults::new("f", text);
        assert_eq!(faults.line_column(text.find("größe").unwrap()), (1, 8));
        assert_eq!(faults.line_column(text.find('x').unwrap()), (2, 2));
        assert_eq!(faults.line_column(text.len()), (4, 1));
        let mut faults = faults;
        faults.add(
            Span {
                start: text.find('x').unwrap(),
                end: text.len(),
            },
            "long",
        );
        let shown = faults.render(false);
        assert!(
            shown.contains("f:2:2") && shown.contains("^^^^\n") && !shown.contains("z: 1"),
            "{shown}"
        );
    }

    #[test]
    fn odd_places_are_shown_without_a_panic() {
        for (text, start, end) in [
            ("", 0, 0),
            ("", 7, 9),
            ("a", 1, 1),
            ("a\n", 2, 2),
            ("ä\r\n", 1, 1),
            ("ab\ncd", 4, 1),
            ("\r\n", 2, 9),
        ] {
            let mut faults = Faults::new("f", text);
            faults.add(Span { start, end }, "odd");
            assert!(faults.render(false).contains("error: odd"));
            assert!(faults.render(true).contains("odd"));
        }
    }

    #[test]
    fn too_many_faults_are_counted() {
        let mut faults = Faults::new("f", "x");
        for index in 0..FAULTS_KEPT + 7 {
            faults.add(Span::default(), format!("fault {index}"));
        }
        assert_eq!(faults.len(), FAULTS_KEPT + 7);
        assert!(faults.render(false).ends_with("507 faults, the first 500 shown\n"));
    }

    #[test]
    fn a_place_inside_of_a_text_is_found_however_it_was_written() {
        let text = "a: shop /x\nb: 'shop /x'\nc: \"shop \\u002fx\"\n";
        let faults = Faults::new("f", text);
        let of = |span: Span| &text[faults.within(span, "shop /x", 5, 7).start..faults.within(span, "shop /x", 5, 7).end];
        assert_eq!(of(span(text, "shop /x")), "/x");
        assert_eq!(of(span(text, "'shop /x'")), "/x");
        assert_eq!(of(span(text, "\"shop \\u002fx\"")), "\\u002fx");
        let other = "a: shop /y\n";
        let faults = Faults::new("f", other);
        let whole = span(other, "shop /y");
        assert_eq!(faults.within(whole, "shop /x", 5, 7), whole);
    }
}
