//! Values on their way into a statement: always bound, in the text form of the type that the server expects, never part of the
//! statement's text.
//!
//! Numbers, flags and base64 are checked here, before anything is sent; what only the server can judge (dates, enums, uuids) it
//! refuses itself. Either way the call ends with kind `value`, and no error repeats the value.

use std::borrow::Cow;
use std::error::Error;

use bytes::{Bytes, BytesMut};
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type};

use super::json::{self, Shape};
use super::scalar::{Expected, expected, scalar, without_nul};

/// A value for a place `$1` of a statement.
#[derive(Clone, PartialEq, Eq)]
pub enum Param {
    /// NULL.
    Null,
    /// Text, read as the type that the place has: digits for an `int8`, `true` for a `bool`, base64 for a `bytea`. In a place for
    /// JSON it is a string, whatever is in it.
    Text(String),
    /// Any JSON: a string is as [`Text`](Param::Text), a number or flag is its text, a list goes where an array is expected. In a
    /// place for JSON or text it goes in as it is.
    Json(Bytes),
    /// A list, for a place that expects an array: `id = any($1)`.
    List(Vec<Param>),
}

impl Param {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Param::Text(text.into())
    }

    /// A JSON text.
    pub fn json(json: impl Into<Bytes>) -> Self {
        Param::Json(json.into())
    }
}

impl std::fmt::Debug for Param {
    /// The variant alone: values stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Param::Null => "Null",
            Param::Text(_) => "Text(..)",
            Param::Json(_) => "Json(..)",
            Param::List(_) => "List(..)",
        })
    }
}

impl From<&str> for Param {
    fn from(text: &str) -> Self {
        Param::Text(text.to_owned())
    }
}

impl From<String> for Param {
    fn from(text: String) -> Self {
        Param::Text(text)
    }
}

impl From<i64> for Param {
    fn from(number: i64) -> Self {
        Param::Text(number.to_string())
    }
}

impl From<bool> for Param {
    fn from(flag: bool) -> Self {
        Param::Text(flag.to_string())
    }
}

impl<T: Into<Param>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Param::Null, Into::into)
    }
}

impl<T: Into<Param>> From<Vec<T>> for Param {
    fn from(values: Vec<T>) -> Self {
        Param::List(values.into_iter().map(Into::into).collect())
    }
}

/// A value in the text form of its place's type; None is NULL.
pub(super) struct Bound<'a>(Option<Cow<'a, str>>);

impl std::fmt::Debug for Bound<'_> {
    // The driver writes parameters to its debug log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl ToSql for Bound<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(kind, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// Brings each value into the form of its place. The error names the place, its type and what was expected.
pub(super) fn bind<'a>(params: &'a [Param], kinds: &[Type]) -> Result<Vec<Bound<'a>>, String> {
    if params.len() != kinds.len() {
        return Err(format!(
            "the statement has {} parameters, but {} values were given",
            kinds.len(),
            params.len()
        ));
    }
    let pairs = params.iter().zip(kinds).enumerate();
    pairs
        .map(|(index, (param, kind))| {
            let bound = bound(param, kind);
            bound
                .map(Bound)
                .map_err(|expected| format!("parameter ${} of type `{kind}`: expected {expected}", index + 1))
        })
        .collect()
}

fn bound<'a>(param: &'a Param, kind: &Type) -> Result<Option<Cow<'a, str>>, Expected> {
    let kind = base(kind);
    let is_json = matches!(*kind, Type::JSON | Type::JSONB);
    match (param, kind.kind()) {
        (Param::Null, _) => Ok(None),
        (Param::Text(text), _) if is_json => {
            let mut string = Vec::with_capacity(text.len() + 2);
            json::write_string(&mut string, without_nul(text)?);
            let string = String::from_utf8(string).expect("text between quotes is text");
            Ok(Some(Cow::Owned(string)))
        }
        (Param::Text(_), Kind::Array(_)) => expected("a list"),
        (Param::Text(text), _) => scalar(text, kind).map(Some),
        (Param::Json(bytes), _) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "JSON in UTF-8")?;
            from_json(text, kind)
        }
        (Param::List(items), Kind::Array(element)) => {
            let mut literal = String::new();
            write_list(&mut literal, items, element, 1)?;
            Ok(Some(Cow::Owned(literal)))
        }
        (Param::List(items), _) if is_json => {
            let mut list = String::new();
            write_json_list(&mut list, items, 1)?;
            Ok(Some(Cow::Owned(list)))
        }
        (Param::List(_), _) => expected("one value, not a list"),
    }
}

fn from_json<'a>(text: &'a str, kind: &Type) -> Result<Option<Cow<'a, str>>, Expected> {
    let Some((shape, text)) = json::shape(text) else {
        return expected("JSON");
    };
    let is_json = matches!(*kind, Type::JSON | Type::JSONB);
    match (shape, kind.kind()) {
        (Shape::Null, _) => Ok(None),
        _ if is_json => Ok(Some(Cow::Borrowed(without_nul(text)?))),
        (Shape::List, Kind::Array(element)) => {
            let items = json_items(text)?;
            let mut literal = String::new();
            write_list(&mut literal, &items, element, 1)?;
            Ok(Some(Cow::Owned(literal)))
        }
        (_, Kind::Array(_)) => expected("a list"),
        (Shape::List | Shape::Object, _) if is_text(kind) => Ok(Some(Cow::Borrowed(without_nul(text)?))),
        (Shape::List | Shape::Object, _) => expected("one value, not a list or an object"),
        (Shape::Number | Shape::Bool, _) => scalar(text, kind).map(Some),
        (Shape::String, _) => {
            let Some(text) = json::unquoted(text) else {
                return expected("JSON");
            };
            Ok(Some(match text {
                Cow::Borrowed(text) => scalar(text, kind)?,
                Cow::Owned(text) => Cow::Owned(scalar(&text, kind)?.into_owned()),
            }))
        }
    }
}

fn json_items(list: &str) -> Result<Vec<Param>, Expected> {
    let elements = json::elements(list).ok_or("JSON")?;
    Ok(elements
        .into_iter()
        .map(|element| Param::Json(Bytes::copy_from_slice(element.as_bytes())))
        .collect())
}

/// The server's limit on the dimensions of an array (`MAXDIM`); deeper lists of JSON are refused as well.
const MOST_DIMENSIONS: usize = 6;

/// Writes an array as the server reads it: `{"1",NULL,"a \"b\""}`. Every element is quoted, so none can end the list.
fn write_list(out: &mut String, items: &[Param], element: &Type, depth: usize) -> Result<(), Expected> {
    if depth > MOST_DIMENSIONS {
        return expected(format!("lists at most {MOST_DIMENSIONS} deep"));
    }
    let is_json = matches!(*base(element), Type::JSON | Type::JSONB);
    out.push('{');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item {
            Param::List(inner) if !is_json => write_list(out, inner, element, depth + 1)?,
            Param::Json(bytes) if !is_json && is_list(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|_| "JSON in UTF-8")?;
                write_list(out, &json_items(text.trim())?, element, depth + 1)?;
            }
            item => match bound(item, element)? {
                None => out.push_str("NULL"),
                Some(text) => write_element(out, &text),
            },
        }
    }
    out.push('}');
    Ok(())
}

fn is_list(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'[')
}

fn write_element(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

fn write_json_list(out: &mut String, items: &[Param], depth: usize) -> Result<(), Expected> {
    if depth > MOST_DIMENSIONS {
        return expected(format!("lists at most {MOST_DIMENSIONS} deep"));
    }
    out.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match item {
            Param::List(inner) => write_json_list(out, inner, depth + 1)?,
            item => out.push_str(bound(item, &Type::JSON)?.as_deref().unwrap_or("null")),
        }
    }
    out.push(']');
    Ok(())
}

/// The type below a domain.
fn base(kind: &Type) -> &Type {
    match kind.kind() {
        Kind::Domain(inner) => base(inner),
        _ => kind,
    }
}

fn is_text(kind: &Type) -> bool {
    matches!(*kind, Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(param: impl Into<Param>, kind: &Type) -> Result<Option<String>, String> {
        bound(&param.into(), kind).map(|bound| bound.map(Cow::into_owned))
    }

    fn check(param: impl Into<Param>, kind: &Type, sent: &str) {
        assert_eq!(text(param, kind).unwrap().as_deref(), Some(sent), "{kind}");
    }

    fn refused(param: impl Into<Param>, kind: &Type) {
        let result = text(param, kind);
        assert!(result.is_err(), "{kind}: {result:?}");
    }

    #[test]
    fn whole_numbers_keep_to_their_range() {
        check("-32768", &Type::INT2, "-32768");
        check(i64::MAX, &Type::INT8, "9223372036854775807");
        for (number, kind) in [
            ("32768", Type::INT2),
            ("2147483648", Type::INT4),
            ("9223372036854775808", Type::INT8),
            ("-1", Type::OID),
        ] {
            refused(number, &kind);
        }
        for none in ["", "1.0", "1e3", " 1", "0x1", "1; drop table posts", "١"] {
            refused(none, &Type::INT4);
        }
    }

    #[test]
    fn floats_are_numbers_or_the_words_that_the_answer_has() {
        for fine in ["1", "-1.5e3", "NaN", "Infinity", "-Infinity"] {
            check(fine, &Type::FLOAT8, fine);
        }
        refused("1e400", &Type::FLOAT8);
        refused("1e40", &Type::FLOAT4);
        refused("one", &Type::FLOAT8);
    }

    #[test]
    fn json_goes_where_its_shape_fits() {
        let json = |text: &'static str| Param::json(text);
        check(json(" 42 "), &Type::INT4, "42");
        check(json("\"42\""), &Type::INT4, "42");
        check(json("true"), &Type::BOOL, "true");
        check(json(r#""a\"b\n""#), &Type::TEXT, "a\"b\n");
        check(json(r#"{"a":[1]}"#), &Type::JSONB, r#"{"a":[1]}"#);
        check(json(r#"{"a":[1]}"#), &Type::TEXT, r#"{"a":[1]}"#);
        check(json(r#"[1,null,"a\"}"]"#), &Type::TEXT_ARRAY, r#"{"1",NULL,"a\"}"}"#);
        check(json("[[1,2],[3,4]]"), &Type::INT4_ARRAY, r#"{{"1","2"},{"3","4"}}"#);
        check(json(r#"[[1],{"a":2}]"#), &Type::JSONB_ARRAY, r#"{"[1]","{\"a\":2}"}"#);
        assert_eq!(text(json("null"), &Type::INT4).unwrap(), None);
        for (misfit, kind) in [
            ("{}", Type::INT4),
            ("[1]", Type::INT4),
            ("1", Type::INT4_ARRAY),
            ("nonsense?", Type::BOOL),
            ("", Type::TEXT),
            ("[[[[[[[1]]]]]]]", Type::INT4_ARRAY),
        ] {
            refused(json(misfit), &kind);
        }
    }

    #[test]
    fn text_is_a_string_where_json_is_expected() {
        check("{\"a\":1}", &Type::JSONB, r#""{\"a\":1}""#);
        check(
            Param::List(vec![Param::text("a"), Param::Null, Param::json("[1]")]),
            &Type::JSON,
            r#"["a",null,[1]]"#,
        );
    }

    #[test]
    fn a_list_cannot_be_ended_by_its_elements() {
        let tags = vec!["a,b", "}", "\"", "\\", "NULL", ""];
        check(tags, &Type::TEXT_ARRAY, r#"{"a,b","}","\"","\\","NULL",""}"#);
        refused("{1,2}", &Type::INT4_ARRAY);
        refused(vec!["x"], &Type::INT4_ARRAY);
        refused(vec!["x"], &Type::TEXT);
    }

    #[test]
    fn bytes_are_base64_and_text_has_no_nul() {
        check("Zm9v", &Type::BYTEA, "\\x666f6f");
        refused("no!", &Type::BYTEA);
        for kind in [Type::TEXT, Type::TIMESTAMP, Type::JSON] {
            refused("a\0b", &kind);
        }
    }

    #[test]
    fn an_error_names_the_place_and_not_the_value() {
        let error = bind(&["1".into(), "secret".into()], &[Type::INT4, Type::INT8]).unwrap_err();
        assert_eq!(error, "parameter $2 of type `int8`: expected a whole number");
        let error = bind(&[], &[Type::INT4]).unwrap_err();
        assert!(error.contains("1 parameters"), "{error}");
        assert_eq!(format!("{:?}", Param::text("secret")), "Text(..)");
    }

    proptest! {
        #[test]
        fn no_json_makes_it_panic(text in any::<String>()) {
            for kind in [Type::INT4, Type::TEXT, Type::TEXT_ARRAY, Type::JSONB, Type::BYTEA, Type::NUMERIC] {
                let _ = bound(&Param::json(text.clone()), &kind);
                let _ = bound(&Param::json(format!("[{text}]")), &kind);
                let _ = bound(&Param::text(text.clone()), &kind);
            }
        }
    }
}
