//! Regular expressions: what `test`, `match`, `capture`, `scan`, `split`, `sub` and `gsub` stand on.
//!
//! The engine takes time in proportion to the text times the expression and cannot be stopped inside of one search, so both are bounded:
//! the text by [`TEXT_MAX`], the expression by [`PROGRAM_MAX`]. Between two matches the evaluation can be cut.

use jaq_core::native::{bome, v};
use regex_bites::{Captures, Regex, RegexBuilder};

use super::Native;
use crate::transform::jq::meter;
use crate::transform::jq::value::{Error, Number, Value, ValueResult};

/// Bytes of a text that is searched.
const TEXT_MAX: usize = 256 << 10;
/// Bytes of an expression once it is compiled; `[a-z]{1,50}` takes about 4,000.
const PROGRAM_MAX: usize = 64 << 10;
/// The same for a text above [`LONG_TEXT`], so that no search takes much longer than a program may.
const PROGRAM_MAX_LONG: usize = 16 << 10;
const LONG_TEXT: usize = 64 << 10;
/// Bytes of text that count as a step before they are searched.
const BYTES_PER_STEP: usize = 4;

pub(super) fn all() -> Box<[Native]> {
    Box::new([
        ("_test", v(2), |mut cv| {
            let (flags, expression) = (cv.0.pop_var(), cv.0.pop_var());
            bome(test(&cv.1, &expression, &flags))
        }),
        ("_matches", v(2), |mut cv| {
            let (flags, expression) = (cv.0.pop_var(), cv.0.pop_var());
            bome(matches(&cv.1, &expression, &flags))
        }),
        ("_pieces", v(2), |mut cv| {
            let (flags, expression) = (cv.0.pop_var(), cv.0.pop_var());
            bome(pieces(&cv.1, &expression, &flags))
        }),
    ])
}

/// Whether the text matches.
fn test(text: &Value, expression: &Value, flags: &Value) -> ValueResult {
    let search = Search::new(text, expression, flags)?;
    let mut found = search.each();
    Ok(Value::Bool(found.next().is_some()))
}

/// The matches, as `match` gives them.
fn matches(text: &Value, expression: &Value, flags: &Value) -> ValueResult {
    let search = Search::new(text, expression, flags)?;
    let mut places = Places::new(search.text);
    Ok(search.each().map(|found| search.describe(&found, &mut places)).collect())
}

/// The text between the matches and the matches in turn, beginning and ending with text.
fn pieces(text: &Value, expression: &Value, flags: &Value) -> ValueResult {
    let search = Search::new(text, expression, flags)?;
    let mut places = Places::new(search.text);
    let mut pieces = Vec::new();
    let mut done = 0;
    for found in search.each() {
        let whole = found.get(0).map_or(done..done, |whole| whole.range());
        pieces.push(Value::text(&search.text[done..whole.start]));
        pieces.push(search.describe(&found, &mut places));
        done = whole.end;
    }
    pieces.push(Value::text(&search.text[done..]));
    Ok(pieces.into_iter().collect())
}

/// One expression on one text.
struct Search<'a> {
    text: &'a str,
    regex: Regex,
    global: bool,
    skips_empty: bool,
}

impl<'a> Search<'a> {
    fn new(text: &'a Value, expression: &Value, flags: &Value) -> Result<Self, Error> {
        let text_of = |value: &'a Value| value.as_text().ok_or_else(|| cannot_match(value));
        let text = text_of(text)?;
        if text.len() > TEXT_MAX {
            return Err(Error::str(format!(
                "a text of {} bytes is too long to be searched: at most {TEXT_MAX}",
                text.len()
            )));
        }
        let expression = expression.as_text().ok_or_else(|| cannot_match(expression))?;
        let flags = match flags {
            Value::Null(_) => "",
            flags => flags
                .as_text()
                .ok_or_else(|| Error::str(format!("{flags} is not a string of flags")))?,
        };
        meter::work((text.len() + expression.len()) / BYTES_PER_STEP);
        let mut search = Search {
            text,
            regex: Regex::new("").map_err(|error| Error::str(error.to_string()))?,
            global: false,
            skips_empty: false,
        };
        let mut builder = RegexBuilder::new(expression);
        builder.size_limit(if text.len() > LONG_TEXT { PROGRAM_MAX_LONG } else { PROGRAM_MAX });
        for flag in flags.chars() {
            match flag {
                'g' => search.global = true,
                'n' => search.skips_empty = true,
                'i' => _ = builder.case_insensitive(true),
                'x' => _ = builder.ignore_whitespace(true),
                's' => _ = builder.dot_matches_new_line(true),
                'p' => _ = builder.dot_matches_new_line(true).multi_line(true),
                // Of the longest match an engine of this kind knows nothing; greed comes near.
                'l' => {}
                _ => return Err(Error::str(format!("{flags} is not a valid modifier string"))),
            }
        }
        search.regex = builder
            .build()
            .map_err(|error| Error::str(format!("{expression} (at offset 0) is not a valid regex: {error}")))?;
        Ok(search)
    }

    /// The matches asked for.
    fn each(&self) -> impl Iterator<Item = Captures<'a>> + use<'a, '_> {
        let most = if self.global { usize::MAX } else { 1 };
        // A search may have looked at all of the text, however little it found.
        let all = self
            .regex
            .captures_iter(self.text)
            .inspect(|_| meter::work(1 + self.text.len() / 64));
        all.filter(|found| !self.skips_empty || found.get(0).is_some_and(|whole| !whole.range().is_empty()))
            .take(most)
    }

    /// A match as an object.
    fn describe(&self, found: &Captures<'_>, places: &mut Places<'_>) -> Value {
        let whole = found.get(0).map_or(0..0, |whole| whole.range());
        let captures = found.iter().zip(self.regex.capture_names()).skip(1).map(|(group, name)| {
            let text = group.map(|group| group.range());
            let entries = self.place(text, places);
            Value::object(
                entries
                    .into_iter()
                    .chain([Value::entry("name", name.map_or(Value::NULL, Value::text))]),
            )
        });
        let captures: Value = captures.collect();
        let entries = self.place(Some(whole), places);
        Value::object(entries.into_iter().chain([Value::entry("captures", captures)]))
    }

    fn place(&self, range: Option<std::ops::Range<usize>>, places: &mut Places<'_>) -> [(super::super::value::Key, Value); 3] {
        let (offset, length, text) = match range {
            Some(range) => {
                let text = &self.text[range.clone()];
                (
                    Value::int(places.of(range.start)),
                    Value::int(text.chars().count()),
                    Value::text(text),
                )
            }
            None => (Value::Number(Number::Int(-1)), Value::int(0), Value::NULL),
        };
        [
            Value::entry("offset", offset),
            Value::entry("length", length),
            Value::entry("string", text),
        ]
    }
}

fn cannot_match(value: &Value) -> Error {
    Error::str(format!("{value} cannot be matched, as it is not a string"))
}

/// Bytes to characters, from where the last one stood.
struct Places<'a> {
    text: &'a str,
    byte: usize,
    character: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Places {
            text,
            byte: 0,
            character: 0,
        }
    }

    fn of(&mut self, byte: usize) -> usize {
        if byte < self.byte {
            return self.character - self.text[byte..self.byte].chars().count();
        }
        self.character += self.text[self.byte..byte].chars().count();
        self.byte = byte;
        self.character
    }
}
