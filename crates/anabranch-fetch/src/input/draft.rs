//! What a row of the input says of a job, before templates and checks.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::row::{Cell, Row};

/// A row on its way to a job.
#[derive(Default)]
pub(super) struct Draft<'a> {
    /// All that templates may name.
    pub(super) row: Row<'a>,
    /// The row's own URL.
    pub(super) url: Option<Cow<'a, str>>,
    pub(super) method: Option<Cow<'a, str>>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Cow<'a, str>>,
    /// Whether the body is JSON that was no string.
    pub(super) is_json_body: bool,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) meta: Option<Box<RawValue>>,
    /// The row as written, for the record of one that is no job.
    pub(super) text: Cow<'a, str>,
}

impl<'a> Draft<'a> {
    /// A line of a list.
    pub(super) fn line(line: &'a str, seq: u64) -> Draft<'a> {
        let line = line.trim();
        let mut row = Row::default();
        row.push("line", Cell::Text(line.into()));
        row.push("seq", Cell::Text(seq.to_string().into()));
        Draft {
            row,
            url: Some(line.into()),
            text: line.into(),
            ..Draft::default()
        }
    }

    /// An object on a line.
    ///
    /// # Errors
    /// Why it is none, for a person.
    pub(super) fn object(line: &'a str, seq: u64) -> Result<Draft<'a>, String> {
        let Members(members) = serde_json::from_str(line).map_err(|error| format!("not a JSON object: {error}"))?;
        let mut draft = Draft {
            text: line.into(),
            ..Draft::default()
        };
        let mut meta = String::new();
        for (name, value) in members {
            let json = value.get();
            let text = || Cell::Json(json).text().into_owned();
            match name.as_ref() {
                _ if json == "null" => {}
                "url" => draft.url = Some(text().into()),
                "method" => draft.method = Some(text().into()),
                "id" => draft.id = Some(text().into()),
                "body" => {
                    draft.is_json_body = !json.starts_with('"');
                    draft.body = Some(text().into());
                }
                "headers" => draft.headers = headers(json)?,
                _ => push_member(&mut meta, &name, json),
            }
            draft.row.push(name, Cell::Json(json));
        }
        draft.row.push("seq", Cell::Text(seq.to_string().into()));
        draft.meta = object(meta);
        Ok(draft)
    }

    /// A row of a table: columns `url method body id` are the job, all else is `meta`.
    pub(super) fn table(columns: &[String], values: Vec<Cow<'a, str>>, seq: u64) -> Draft<'a> {
        let mut draft = Draft::default();
        let mut meta = String::new();
        let text: Vec<&str> = values.iter().map(|value| &**value).collect();
        draft.text = text.join(",").into();
        for (column, value) in columns.iter().zip(values) {
            match column.as_str() {
                "url" => draft.url = Some(value.clone()),
                // An empty cell says nothing.
                "method" if !value.is_empty() => draft.method = Some(value.clone()),
                "body" if !value.is_empty() => draft.body = Some(value.clone()),
                "id" if !value.is_empty() => draft.id = Some(value.clone()),
                "method" | "body" | "id" => {}
                _ => push_member(&mut meta, column, &serde_json::Value::from(value.as_ref()).to_string()),
            }
            draft.row.push(column.clone(), Cell::Text(value));
        }
        draft.row.push("seq", Cell::Text(seq.to_string().into()));
        draft.meta = object(meta);
        draft
    }
}

fn push_member(members: &mut String, name: &str, json: &str) {
    if !members.is_empty() {
        members.push(',');
    }
    members.push_str(&serde_json::Value::from(name).to_string());
    members.push(':');
    members.push_str(json);
}

fn object(members: String) -> Option<Box<RawValue>> {
    if members.is_empty() {
        return None;
    }
    RawValue::from_string(format!("{{{members}}}")).ok()
}

fn headers(json: &str) -> Result<Vec<(String, String)>, String> {
    let Members(members) = serde_json::from_str(json).map_err(|_| "`headers` is not an object of texts".to_owned())?;
    let header = |(name, value): (Cow<'_, str>, &RawValue)| (name.into_owned(), Cell::Json(value.get()).text().into_owned());
    Ok(members.into_iter().map(header).collect())
}

/// The members of an object, in order, with their values as written.
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<Name<'de>, &RawValue>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// A key: borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
