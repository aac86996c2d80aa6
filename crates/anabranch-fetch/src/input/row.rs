//! One row of the input: named values that templates are filled from.

use std::borrow::Cow;

/// Which names a row has.
#[derive(Clone, Debug)]
pub(crate) enum Columns {
    /// These, for all rows.
    Known(Vec<String>),
    /// Each row its own.
    Any,
}

/// A value of a row.
#[derive(Clone, Debug)]
pub(crate) enum Cell<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// Any JSON value, as written.
    Json(&'a str),
}

/// Values and their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row<'a> {
    pub(crate) cells: Vec<(Cow<'a, str>, Cell<'a>)>,
}

impl<'a> Row<'a> {
    pub(crate) fn push(&mut self, name: impl Into<Cow<'a, str>>, cell: Cell<'a>) {
        self.cells.push((name.into(), cell));
    }

    /// The value of that name; the first, where there are several.
    pub(crate) fn get(&self, name: &str) -> Option<&Cell<'a>> {
        self.cells.iter().find(|(known, _)| known == name).map(|(_, cell)| cell)
    }
}

impl Cell<'_> {
    /// As plain text: a JSON string without its quotes, null as nothing, all else as written.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Cell::Text(text) => Cow::Borrowed(text),
            Cell::Json("null") => Cow::Borrowed(""),
            Cell::Json(json) if json.starts_with('"') => match serde_json::from_str::<String>(json) {
                Ok(text) => Cow::Owned(text),
                Err(_) => Cow::Borrowed(*json),
            },
            Cell::Json(json) => Cow::Borrowed(*json),
        }
    }

    /// As a JSON value: a text that is a number, true, false or null is that; any other is a string.
    pub(crate) fn json(&self) -> Cow<'_, str> {
        match self {
            Cell::Json(json) => Cow::Borrowed(*json),
            Cell::Text(text) if is_scalar(text) => Cow::Borrowed(text),
            Cell::Text(text) => Cow::Owned(serde_json::Value::from(text.as_ref()).to_string()),
        }
    }
}

fn is_scalar(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let is_number = begins && serde_json::from_str::<serde_json::Number>(text).is_ok() && !text.ends_with(char::is_whitespace);
    is_number || matches!(text, "true" | "false" | "null")
}
