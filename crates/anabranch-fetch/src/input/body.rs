//! The body of each job: a template whose values are written by the rules of what the body is.

use super::row::{Cell, Columns, Row};
use super::template::{Piece, Template};

/// The media type of JSON.
pub(crate) const JSON: &str = "application/json";
/// The media type of forms.
const URL_ENCODED: &str = "application/x-www-form-urlencoded";

/// A body with holes.
#[derive(Clone, Debug)]
pub(crate) struct BodyTemplate {
    template: Template,
    kind: BodyKind,
}

/// What a body is, and with it how values are written into it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum BodyKind {
    /// JSON: a hole inside quotes takes the value's text, escaped; one outside takes a JSON value. For each hole, in order, whether it is
    /// inside quotes.
    Json(Vec<bool>),
    /// `a=1&b=2`.
    UrlEncoded,
    /// Anything else: values go in as they are.
    Plain,
}

impl BodyTemplate {
    /// Reads a body. Its kind is what `content_type` says; where that says nothing, JSON if it is JSON with its holes filled, else a form.
    pub(crate) fn read(text: &str, columns: &Columns, content_type: Option<&str>) -> BodyTemplate {
        let template = Template::read(text, columns);
        let media_type = content_type.map(|text| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase());
        let kind = match media_type.as_deref() {
            Some(URL_ENCODED) => BodyKind::UrlEncoded,
            Some(json) if json == JSON || json.ends_with("+json") => BodyKind::Json(quoted_holes(&template)),
            Some(_) => BodyKind::Plain,
            None if is_json(&template) => BodyKind::Json(quoted_holes(&template)),
            None => BodyKind::UrlEncoded,
        };
        BodyTemplate { template, kind }
    }

    /// What it is, for a request that does not say.
    pub(crate) fn content_type(&self) -> Option<&'static str> {
        match self.kind {
            BodyKind::Json(_) => Some(JSON),
            BodyKind::UrlEncoded => Some(URL_ENCODED),
            BodyKind::Plain => None,
        }
    }

    /// The body of a row.
    ///
    /// # Errors
    /// Why this row has none, for a person.
    pub(crate) fn fill(&self, row: &Row<'_>) -> Result<String, String> {
        let mut number = 0;
        let filled = self.template.fill(row, |text, cell, hole| {
            match &self.kind {
                _ if hole.is_raw => text.push_str(&cell.text()),
                BodyKind::Json(quoted) if quoted[number] => push_inside_quotes(text, cell),
                BodyKind::Json(_) => text.push_str(&cell.json()),
                BodyKind::UrlEncoded => text.extend(url::form_urlencoded::byte_serialize(cell.text().as_bytes())),
                BodyKind::Plain => text.push_str(&cell.text()),
            }
            number += 1;
        });
        filled.map_err(|name| format!("the row has no `{name}`, which the body needs"))
    }
}

fn push_inside_quotes(text: &mut String, cell: &Cell<'_>) {
    let quoted = serde_json::Value::from(cell.text().as_ref()).to_string();
    text.push_str(&quoted[1..quoted.len() - 1]);
}

fn is_json(template: &Template) -> bool {
    let mut quoted = quoted_holes(template).into_iter();
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Hole(_) if quoted.next() == Some(true) => text.push('x'),
            Piece::Hole(_) => text.push('0'),
        }
    }
    serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok()
}

/// For each hole whether it stands inside the quotes of a JSON string.
fn quoted_holes(template: &Template) -> Vec<bool> {
    let (mut is_inside, mut is_escaped) = (false, false);
    let mut quoted = Vec::new();
    for piece in &template.pieces {
        let Piece::Text(literal) = piece else {
            quoted.push(is_inside);
            continue;
        };
        for byte in literal.bytes() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = is_inside,
                b'"' => is_inside = !is_inside,
                _ => {}
            }
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(body: &str, content_type: Option<&str>) -> String {
        let columns = Columns::Known(["n", "name", "list"].map(str::to_owned).to_vec());
        let mut row = Row::default();
        row.push("n", Cell::Text("17".into()));
        row.push("name", Cell::Text("a \"b\" & c\n".into()));
        row.push("list", Cell::Json("[1, \"x\"]"));
        BodyTemplate::read(body, &columns, content_type).fill(&row).unwrap()
    }

    #[test]
    fn json_takes_values_bare_and_text_in_quotes() {
        let body = fill(
            r#"{"n":{n},"s":"{n}: \"{name}\"","name":{name},"list":{list},"text":"{list}"}"#,
            None,
        );
        let read: serde_json::Value = serde_json::from_str(&body).unwrap();
        let name = "a \"b\" & c\n";
        let expected = serde_json::json!({
            "n": 17, "s": format!("17: \"{name}\""), "name": name, "list": [1, "x"], "text": "[1, \"x\"]",
        });
        assert_eq!(read, expected);
    }

    #[test]
    fn a_number_with_a_leading_zero_is_text() {
        let columns = Columns::Known(vec!["n".to_owned()]);
        for (value, expected) in [
            ("007", "\"007\""),
            ("", "\"\""),
            ("-1.5e3", "-1.5e3"),
            ("1 ", "\"1 \""),
            ("true", "true"),
        ] {
            let mut row = Row::default();
            row.push("n", Cell::Text(value.into()));
            assert_eq!(
                BodyTemplate::read("[{n}]", &columns, None).fill(&row).unwrap(),
                format!("[{expected}]")
            );
        }
    }

    #[test]
    fn forms_and_other_bodies_have_their_own_rules() {
        assert_eq!(fill("a={name}&b={n}", None), "a=a+%22b%22+%26+c%0A&b=17");
        assert_eq!(fill("<{name}>", Some("text/xml; charset=utf-8")), "<a \"b\" & c\n>");
        assert_eq!(fill("{n}", Some("application/json")), "17");
        assert_eq!(fill("a={name:raw}", None), "a=a \"b\" & c\n");
    }
}
