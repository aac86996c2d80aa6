//! Texts with holes: `{name}` is filled with a value of the row.
//!
//! A hole is filled only if its name is a column; `{{name}}` is the text `{name}`, and all other braces stay as they are, so that JSON
//! needs no escapes. In a URL a value is percent-encoded and never becomes more than the piece where it stands; `{name:raw}` goes in as
//! it is.

use super::row::{Cell, Columns, Row};

/// A text with holes, read once.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Piece>,
}

/// What a template is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text between holes.
    Text(String),
    /// A value's place.
    Hole(Hole),
}

/// A value's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    /// The column.
    pub(crate) name: String,
    /// Whether `:raw` stood behind it.
    pub(crate) is_raw: bool,
}

impl Template {
    /// Reads a template whose unknown words stay as they are: a body, a header.
    pub(crate) fn read(text: &str, columns: &Columns) -> Template {
        parse(text, columns).0
    }

    /// Reads a template in which each `{word}` must be a column: a URL, an id.
    ///
    /// # Errors
    /// The first word that is none.
    pub(crate) fn read_strict(text: &str, columns: &Columns) -> Result<Template, String> {
        match parse(text, columns) {
            (template, None) => Ok(template),
            (_, Some(unknown)) => Err(unknown),
        }
    }

    /// The text with each value written by `write`.
    ///
    /// # Errors
    /// The name of a column that this row does not have.
    pub(crate) fn fill(&self, row: &Row<'_>, mut write: impl FnMut(&mut String, &Cell<'_>, &Hole)) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Hole(hole) => match row.get(&hole.name) {
                    Some(cell) => write(&mut text, cell, hole),
                    None => return Err(hole.name.clone()),
                },
            }
        }
        Ok(text)
    }

    /// The text with values as they are.
    ///
    /// # Errors
    /// As [`fill`](Template::fill).
    pub(crate) fn fill_plain(&self, row: &Row<'_>) -> Result<String, String> {
        self.fill(row, |text, cell, _hole| text.push_str(&cell.text()))
    }

    /// A URL.
    ///
    /// # Errors
    /// Why this row gives none, for a person.
    pub(crate) fn fill_url(&self, row: &Row<'_>) -> Result<String, String> {
        let mut is_raw = false;
        let filled = self.fill(row, |text, cell, hole| match hole.is_raw {
            true => {
                is_raw = true;
                text.push_str(&cell.text());
            }
            false => percent_encode(text, cell.text().as_bytes()),
        });
        let filled = filled.map_err(|name| format!("the row has no `{name}`, which the URL needs"))?;
        let climbs = !is_raw && has_dot_segment(&filled) && !has_dot_segment(&self.with_dummies());
        match climbs {
            true => Err("a value `.` or `..` would lead out of its place in the path".to_owned()),
            false => Ok(filled),
        }
    }

    fn with_dummies(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Hole(_) => "x".to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }
}

/// Writes bytes so that they stay one piece of a URL: all but RFC 3986's unreserved characters are encoded.
pub(crate) fn percent_encode(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

fn has_dot_segment(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.split(['/', '\\']).any(|segment| segment == "." || segment == "..")
}

/// The template, and the first word in braces that is no column.
fn parse(text: &str, columns: &Columns) -> (Template, Option<String>) {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut unknown = None;
    let mut rest = text;
    while let Some(brace) = rest.find('{') {
        literal.push_str(&rest[..brace]);
        rest = &rest[brace + 1..];
        if let Some(escaped) = rest.strip_prefix('{') {
            literal.push('{');
            rest = escaped;
            if let Some((word, after)) = escaped.split_once("}}").filter(|(word, _)| !word.contains(['{', '}'])) {
                literal.push_str(word);
                literal.push('}');
                rest = after;
            }
            continue;
        }
        let inside = rest.split_once('}').filter(|(inside, _)| !inside.contains('{'));
        let hole = inside.map(|(inside, after)| (hole(inside), after));
        match hole {
            Some((hole, after)) if is_column(&hole.name, columns) => {
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Hole(hole));
                rest = after;
            }
            Some((hole, _)) if is_word(&hole.name) => {
                unknown.get_or_insert(hole.name);
                literal.push('{');
            }
            _ => literal.push('{'),
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    (Template { pieces }, unknown)
}

fn hole(inside: &str) -> Hole {
    let (name, is_raw) = match inside.strip_suffix(":raw") {
        Some(name) => (name, true),
        None => (inside, false),
    };
    Hole {
        name: name.to_owned(),
        is_raw,
    }
}

fn is_column(name: &str, columns: &Columns) -> bool {
    match columns {
        Columns::Known(columns) => columns.iter().any(|column| column == name),
        Columns::Any => is_word(name),
    }
}

fn is_word(name: &str) -> bool {
    let begins = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    begins && name.chars().all(|char| char.is_ascii_alphanumeric() || "_-.".contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Columns {
        Columns::Known(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn row<'a>(cells: &[(&'a str, &'a str)]) -> Row<'a> {
        let mut row = Row::default();
        for &(name, value) in cells {
            row.push(name, Cell::Text(value.into()));
        }
        row
    }

    fn url(template: &str, cells: &[(&str, &str)]) -> Result<String, String> {
        let names: Vec<&str> = cells.iter().map(|&(name, _)| name).collect();
        Template::read_strict(template, &known(&names))?.fill_url(&row(cells))
    }

    #[test]
    fn a_value_in_a_url_stays_in_its_place() {
        let filled = url("http://h/{a}?q={a}", &[("a", "x/y?z=1&b#c d%ü")]).unwrap();
        let encoded = "x%2Fy%3Fz%3D1%26b%23c%20d%25%C3%BC";
        assert_eq!(filled, format!("http://h/{encoded}?q={encoded}"));
        assert_eq!(url("http://h/{a:raw}", &[("a", "x/y?z")]).unwrap(), "http://h/x/y?z");
        for dots in [".", ".."] {
            assert!(url("http://h/u/{a}/x", &[("a", dots)]).unwrap_err().contains("out of its place"));
        }
        assert!(url("http://h/{a}{b}", &[("a", "."), ("b", ".")]).is_err());
        assert_eq!(url("http://h/?q={a}", &[("a", "..")]).unwrap(), "http://h/?q=..");
        assert_eq!(url("http://h/../{a}", &[("a", "b")]).unwrap(), "http://h/../b");
    }

    #[test]
    fn braces_that_name_no_column_stay() {
        let columns = known(&["a", "order no"]);
        let row = row(&[("a", "1"), ("order no", "7")]);
        let fill = |text: &str| Template::read(text, &columns).fill_plain(&row).unwrap();
        assert_eq!(fill(r#"{"x":{"y":{a}}}"#), r#"{"x":{"y":1}}"#);
        assert_eq!(fill("{{a}} {{ {a {b} {} {order no} }"), "{a} { {a {b} {} 7 }");
        assert_eq!(fill("{{a"), "{a");
    }

    #[test]
    fn an_unknown_word_in_a_url_is_named() {
        assert_eq!(url("http://h/{lin}", &[("line", "x")]).unwrap_err(), "lin");
        let filled = url("http://h/{a b}/{}", &[("line", "x")]).unwrap();
        assert_eq!(filled, "http://h/{a b}/{}");
        let any = Template::read_strict("http://h/{b}", &Columns::Any).unwrap();
        assert!(any.fill_url(&row(&[("a", "1")])).unwrap_err().contains("no `b`"));
    }
}
