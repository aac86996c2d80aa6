//! A table of a database as a place for records: which of its columns takes what of a record, and in which form.

use serde_json::Value;

use anabranch::postgres::CopyValue;

use crate::store::{Key, shape};
use crate::moment;

/// What a table that is not there yet is made of.
pub(super) const DEFAULT_COLUMNS: &str = "run text not null, id text not null, seq bigint, url text not null, method text not null, \
    outcome text not null, status integer, final_url text, attempts integer not null, total_ms double precision, t_ms jsonb, \
    wire_bytes bigint, body_bytes bigint, type text, charset text, etag text, last_modified text, changed boolean, sha256 text, \
    path text, data jsonb, headers jsonb, body text, depth integer, parent text, error jsonb, meta jsonb, ts timestamptz not null, \
    primary key (run, id)";

/// A column as the server describes it.
#[derive(Clone, Debug, serde::Deserialize)]
pub(super) struct Described {
    pub(super) name: String,
    /// The type's name, such as `int4`.
    pub(super) kind: String,
    /// Whether the server fills it when nothing is given.
    pub(super) has_default: bool,
}

/// A column that records fill.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    form: Form,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Int,
    Float,
    Numeric,
    Bool,
    Moment,
    Day,
    Uuid,
    Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The field of that name.
    Field,
    /// The whole record.
    Record,
    /// What the selectors took out under that name, else what the input said under it.
    Taken,
}

/// A value on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Days(i32),
    Micros(i64),
}

impl Column {
    /// What a column takes; None for one that is left to the server.
    pub(super) fn of(described: &Described) -> Option<Column> {
        let form = match described.kind.as_str() {
            "text" | "varchar" | "bpchar" | "citext" | "name" => Form::Text,
            "json" | "jsonb" => Form::Json,
            "int2" | "int4" | "int8" => Form::Int,
            "float4" | "float8" => Form::Float,
            "numeric" => Form::Numeric,
            "bool" => Form::Bool,
            "timestamp" | "timestamptz" => Form::Moment,
            "date" => Form::Day,
            "uuid" => Form::Uuid,
            "bytea" => Form::Bytes,
            _ => return None,
        };
        let name = described.name.clone();
        // A number that the server counts up is its own id of the row, and not ours.
        let is_serial = name == "id" && form == Form::Int && described.has_default;
        let source = match name.as_str() {
            "record" if form == Form::Json || form == Form::Text => Source::Record,
            _ if shape::path(&name).is_ok() => Source::Field,
            _ if described.has_default => return None,
            _ => Source::Taken,
        };
        (!is_serial).then_some(Column { name, form, source })
    }

    /// The value for a record. What does not fit is NULL: a page whose price is no number is no reason to stop.
    pub(super) fn cell(&self, record: &Value) -> Cell {
        let value = match self.source {
            Source::Record => Some(record),
            Source::Field if self.name == "run" => return run_of(record),
            Source::Field => record.get(&self.name),
            Source::Taken => ["data", "meta"].iter().find_map(|place| record.get(place)?.get(&self.name)),
        };
        match value {
            None | Some(Value::Null) => Cell::Null,
            Some(value) => self.form.cell(value).unwrap_or(Cell::Null),
        }
    }
}

/// The run is part of the default table's key and never NULL.
fn run_of(record: &Value) -> Cell {
    Cell::Text(record["run"].as_str().unwrap_or_default().to_owned())
}

impl Form {
    fn cell(self, value: &Value) -> Option<Cell> {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(match self {
            Form::Text => Cell::Text(without_nul(text)),
            Form::Json => Cell::Text(json_without_nul(value)),
            Form::Int => Cell::Int(value.as_i64().or_else(|| text.trim().parse().ok())?),
            Form::Float => Cell::Float(value.as_f64().or_else(|| text.trim().parse().ok())?),
            Form::Numeric => {
                let text = text.trim();
                text.parse::<f64>().ok().filter(|number| number.is_finite())?;
                Cell::Text(text.to_owned())
            }
            Form::Bool => Cell::Bool(value.as_bool().or_else(|| text.trim().parse().ok())?),
            Form::Moment => Cell::Micros(moment::micros(&text)?),
            Form::Day => Cell::Days(i32::try_from(moment::micros(&text)?.div_euclid(86_400_000_000)).ok()?),
            Form::Uuid => Cell::Bytes(uuid(&text)?),
            Form::Bytes => Cell::Bytes(text.into_bytes()),
        })
    }
}

fn uuid(text: &str) -> Option<Vec<u8>> {
    let digits = text.replace('-', "").to_ascii_lowercase();
    let key = Key::of_text(&digits);
    // A text that is no 32 digits would be hashed.
    (key.to_hex() == digits).then(|| key.0.to_vec())
}

/// The database has no character zero in its texts.
fn without_nul(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    }
}

fn json_without_nul(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains("\\u0000") {
        return text;
    }
    fn clean(value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(without_nul(text.clone())),
            Value::Array(values) => values.iter().map(clean).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (without_nul(name.clone()), clean(value)))
                .collect(),
            other => other.clone(),
        }
    }
    clean(value).to_string()
}

impl Cell {
    pub(super) fn as_copy(&self) -> CopyValue<'_> {
        match self {
            Cell::Null => CopyValue::Null,
            Cell::Bool(flag) => CopyValue::Bool(*flag),
            Cell::Int(number) => CopyValue::Int(*number),
            Cell::Float(number) => CopyValue::Float(*number),
            Cell::Text(text) => CopyValue::Text(text),
            Cell::Bytes(bytes) => CopyValue::Bytes(bytes),
            Cell::Days(days) => CopyValue::Days(*days),
            Cell::Micros(micros) => CopyValue::Micros(*micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str, kind: &str, record: Value) -> Option<Cell> {
        let described = Described {
            name: name.to_owned(),
            kind: kind.to_owned(),
            has_default: false,
        };
        Column::of(&described).map(|column| column.cell(&record))
    }

    fn text(text: &str) -> Option<Cell> {
        Some(Cell::Text(text.to_owned()))
    }

    #[test]
    fn columns_are_fields_of_the_record_or_what_was_taken_from_the_page() {
        let record = serde_json::json!({
            "id": "x", "status": 200, "data": {"title": "T", "price": "12.50"}, "meta": {"title": "no", "row": 7}, "ts": "1970-01-02T00:00:00.001Z",
        });
        assert_eq!(cell("status", "int4", record.clone()), Some(Cell::Int(200)));
        assert_eq!(cell("title", "text", record.clone()), text("T"));
        assert_eq!(cell("row", "text", record.clone()), text("7"));
        assert_eq!(cell("price", "numeric", record.clone()), text("12.50"));
        assert_eq!(cell("ts", "timestamptz", record.clone()), Some(Cell::Micros(86_400_001_000)));
        assert_eq!(cell("ts", "date", record.clone()), Some(Cell::Days(1)));
        assert_eq!(cell("run", "text", record.clone()), text(""));
        assert_eq!(
            cell("data", "jsonb", serde_json::json!({"data": "a\u{0}b"})),
            text("\"a\u{fffd}b\"")
        );
        assert_eq!(cell("shape", "point", record), None);
    }

    #[test]
    fn what_does_not_fit_is_null() {
        let record = serde_json::json!({"id": "x", "data": {"price": "n/a", "n": "NaN"}});
        for (name, kind) in [
            ("price", "numeric"),
            ("price", "int8"),
            ("n", "numeric"),
            ("price", "bool"),
            ("id", "uuid"),
            ("price", "date"),
        ] {
            assert_eq!(cell(name, kind, record.clone()), Some(Cell::Null), "{name} {kind}");
        }
    }

    #[test]
    fn a_number_that_the_server_counts_is_left_to_it() {
        let serial = Described {
            name: "id".to_owned(),
            kind: "int8".to_owned(),
            has_default: true,
        };
        assert!(Column::of(&serial).is_none());
    }
}
