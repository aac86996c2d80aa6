//! The text of a path, read from left to right.

use super::{Path, SEGMENTS_MAX, Segment, Selector};

impl Path {
    /// Reads a path: `$.items[*].price`.
    pub(in crate::content::select) fn parse(text: &str) -> Result<Path, String> {
        let mut reader = Reader { text, rest: text };
        if !reader.take("$") {
            return Err("a JSON path begins with `$`, as in `$.items[*].price`".into());
        }
        let mut segments = Vec::new();
        while !reader.rest.is_empty() {
            segments.push(reader.segment()?);
        }
        if segments.len() > SEGMENTS_MAX {
            return Err(format!("the path has more than {SEGMENTS_MAX} segments"));
        }
        Ok(Path { segments })
    }
}

/// What is left of the text.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn fail<T>(&self, expected: &str) -> Result<T, String> {
        let at = self.text.len() - self.rest.len();
        Err(format!("expected {expected} at byte {at} of `{}`", self.text))
    }

    fn segment(&mut self) -> Result<Segment, String> {
        let descends = self.take("..");
        let selectors = if self.rest.starts_with('[') {
            self.bracket()?
        } else if descends || self.take(".") {
            vec![if self.take("*") { Selector::All } else { self.short_name()? }]
        } else {
            return self.fail("`.name`, `[0]`, `[*]` or `['name']`");
        };
        Ok(Segment { descends, selectors })
    }

    fn short_name(&mut self) -> Result<Selector, String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return self.fail("a name");
        }
        if rest.starts_with('-') {
            return self.fail("a name without `-`; such names are written as `['a-b']`");
        }
        self.rest = rest;
        Ok(Selector::Name(name.to_string()))
    }

    fn bracket(&mut self) -> Result<Vec<Selector>, String> {
        self.take("[");
        let mut selectors = Vec::new();
        loop {
            self.rest = self.rest.trim_start();
            selectors.push(self.selector()?);
            self.rest = self.rest.trim_start();
            if self.take("]") {
                return Ok(selectors);
            }
            if !self.take(",") {
                return self.fail("`,` or `]`");
            }
            if selectors.len() >= SEGMENTS_MAX {
                return Err(format!("the path has more than {SEGMENTS_MAX} selectors in one bracket"));
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, String> {
        match self.rest.chars().next() {
            Some('*') => {
                self.take("*");
                Ok(Selector::All)
            }
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            Some('?') => self.fail("no filter; `--jq` has them"),
            Some('-' | '0'..='9' | ':') => self.index_or_slice(),
            _ => self.fail("a name in quotes, a number, a slice or `*`"),
        }
    }

    fn index_or_slice(&mut self) -> Result<Selector, String> {
        let start = self.integer()?;
        if !self.colon() {
            return match start {
                Some(index) => Ok(Selector::Index(index)),
                None => self.fail("a number"),
            };
        }
        let end = self.integer()?;
        let step = if self.colon() { self.integer()? } else { None };
        let step = step.unwrap_or(1);
        Ok(Selector::Slice { start, end, step })
    }

    fn colon(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        let is_there = self.take(":");
        self.rest = self.rest.trim_start();
        is_there
    }

    fn integer(&mut self) -> Result<Option<i64>, String> {
        let digits = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        let length = self.rest.len() - digits.len() + count;
        if length == 0 {
            return Ok(None);
        }
        match self.rest[..length].parse() {
            Ok(number) => {
                self.rest = &self.rest[length..];
                Ok(Some(number))
            }
            Err(_) => self.fail("a number"),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Selector, String> {
        let mut name = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            if c == quote {
                self.rest = &self.rest[1 + at + 1..];
                return Ok(Selector::Name(name));
            }
            if c != '\\' {
                name.push(c);
                continue;
            }
            match chars.next() {
                Some((_, 'n')) => name.push('\n'),
                Some((_, 't')) => name.push('\t'),
                Some((_, 'r')) => name.push('\r'),
                Some((_, 'b')) => name.push('\u{8}'),
                Some((_, 'f')) => name.push('\u{c}'),
                Some((_, c @ ('\\' | '/' | '\'' | '"'))) => name.push(c),
                _ => return self.fail("one of `\\n \\t \\r \\b \\f \\\\ \\/ \\' \\\"` (other characters stand for themselves)"),
            }
        }
        self.fail("a closing quote")
    }
}
