//! Rows to JSON: from the bytes that the server sends straight into the bytes of the answer, without a tree between.
//!
//! How each type of column is written is settled once, when the statement is prepared, so that a type without a JSON form is
//! a fault of the statement and not of its first row. Nothing is lost on the way: numbers keep every digit, what JSON has no
//! number for is a string, moments are RFC 3339.

use std::error::Error;
use std::io::Write;

use tokio_postgres::types::{FromSql, Kind, Type};
use tokio_postgres::{Column, Row};

use super::{json, moment, numeric};

/// How the columns of a statement are written.
#[derive(Debug)]
pub(super) struct Columns(Vec<Named>);

#[derive(Debug)]
struct Named {
    /// The name as a JSON key, with its colon.
    key: Box<[u8]>,
    form: Form,
}

impl Columns {
    /// Settles it, or says which column has no JSON form and what to do.
    pub(super) fn new(columns: &[Column]) -> Result<Columns, String> {
        let mut named: Vec<Named> = Vec::with_capacity(columns.len());
        for column in columns {
            let name = column.name();
            let mut key = Vec::with_capacity(name.len() + 3);
            json::write_string(&mut key, name);
            key.push(b':');
            if named.iter().any(|other| *other.key == *key) {
                return Err(format!("two columns are named `{name}`, expected an alias: `... as other`"));
            }
            let form = Form::of(column.type_()).ok_or_else(|| {
                format!(
                    "column `{name}` has type `{}`, which has no JSON form, expected a cast: `{name}::text`",
                    column.type_()
                )
            })?;
            named.push(Named { key: key.into(), form });
        }
        Ok(Columns(named))
    }

    /// Writes a row as an object, columns in order. The error names the column, never its value.
    pub(super) fn write(&self, out: &mut Vec<u8>, row: &Row) -> Result<(), String> {
        out.push(b'{');
        for (index, column) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&column.key);
            let bytes = row.try_get::<_, Option<Raw<'_>>>(index).map_err(|_| column.broken())?;
            match bytes {
                None => out.extend_from_slice(b"null"),
                Some(Raw(bytes)) => column.form.write(out, bytes).ok_or_else(|| column.broken())?,
            }
        }
        out.push(b'}');
        Ok(())
    }
}

impl Named {
    fn broken(&self) -> String {
        let name = String::from_utf8_lossy(&self.key);
        format!("a value of column {} is not what its type says", name.trim_end_matches(':'))
    }
}

/// The bytes of a column as they came.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Raw(bytes))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// How a type is written.
#[derive(Debug)]
enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
    Text,
    Json,
    Jsonb,
    Uuid,
    Date,
    Time,
    TimeWithZone,
    Timestamp,
    TimestampWithZone,
    Bytes,
    /// The result of a function that returns nothing.
    Void,
    /// An array, of any number of dimensions.
    List(Box<Form>),
}

impl Form {
    fn of(kind: &Type) -> Option<Form> {
        let form = match *kind {
            Type::BOOL => Form::Bool,
            Type::INT2 => Form::Int2,
            Type::INT4 => Form::Int4,
            Type::INT8 => Form::Int8,
            Type::OID => Form::Oid,
            Type::FLOAT4 => Form::Float4,
            Type::FLOAT8 => Form::Float8,
            Type::NUMERIC => Form::Numeric,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR | Type::UNKNOWN => Form::Text,
            Type::JSON => Form::Json,
            Type::JSONB => Form::Jsonb,
            Type::UUID => Form::Uuid,
            Type::DATE => Form::Date,
            Type::TIME => Form::Time,
            Type::TIMETZ => Form::TimeWithZone,
            Type::TIMESTAMP => Form::Timestamp,
            Type::TIMESTAMPTZ => Form::TimestampWithZone,
            Type::BYTEA => Form::Bytes,
            Type::VOID => Form::Void,
            _ => match kind.kind() {
                Kind::Enum(_) => Form::Text,
                Kind::Domain(base) => Form::of(base)?,
                Kind::Array(element) => Form::List(Box::new(Form::of(element)?)),
                // An extension's type has no number of its own; this one sends its text.
                Kind::Simple if kind.name() == "citext" => Form::Text,
                _ => return None,
            },
        };
        Some(form)
    }

    /// None if the bytes are not what the type says.
    fn write(&self, out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
        match self {
            Form::Bool => out.extend_from_slice(if *bytes.first()? == 0 { b"false" } else { b"true" }),
            Form::Int2 => put(out, i16::from_be_bytes(bytes.try_into().ok()?)),
            Form::Int4 => put(out, i32::from_be_bytes(bytes.try_into().ok()?)),
            Form::Int8 => put(out, i64::from_be_bytes(bytes.try_into().ok()?)),
            Form::Oid => put(out, u32::from_be_bytes(bytes.try_into().ok()?)),
            Form::Float4 => {
                let value = f32::from_be_bytes(bytes.try_into().ok()?);
                write_float(out, f64::from(value), format_args!("{value:?}"));
            }
            Form::Float8 => {
                let value = f64::from_be_bytes(bytes.try_into().ok()?);
                write_float(out, value, format_args!("{value:?}"));
            }
            Form::Numeric => numeric::write(out, bytes)?,
            Form::Text => json::write_string(out, std::str::from_utf8(bytes).ok()?),
            Form::Json => out.extend_from_slice(std::str::from_utf8(bytes).ok()?.as_bytes()),
            Form::Jsonb => out.extend_from_slice(std::str::from_utf8(bytes.strip_prefix(&[1])?).ok()?.as_bytes()),
            Form::Uuid => write_uuid(out, bytes.try_into().ok()?),
            Form::Date => moment::write_date(out, i32::from_be_bytes(bytes.try_into().ok()?)),
            Form::Time => moment::write_time(out, i64::from_be_bytes(bytes.try_into().ok()?)),
            Form::TimeWithZone => {
                let (micros, west) = bytes.split_first_chunk::<8>()?;
                moment::write_time_with_zone(out, i64::from_be_bytes(*micros), i32::from_be_bytes(west.try_into().ok()?));
            }
            Form::Timestamp => moment::write_timestamp(out, i64::from_be_bytes(bytes.try_into().ok()?), ""),
            Form::TimestampWithZone => moment::write_timestamp(out, i64::from_be_bytes(bytes.try_into().ok()?), "Z"),
            Form::Bytes => {
                out.push(b'"');
                json::write_base64(out, bytes);
                out.push(b'"');
            }
            Form::Void => out.extend_from_slice(b"null"),
            Form::List(element) => List::read(bytes)?.write(out, element)?,
        }
        Some(())
    }
}

fn put(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    write!(out, "{number}").expect("a Vec takes all that is written");
}

/// The shortest digits that read back as the same number; what is no number becomes a string.
fn write_float(out: &mut Vec<u8>, value: f64, shortest: std::fmt::Arguments<'_>) {
    if value.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    } else {
        put(out, shortest);
        if out.ends_with(b".0") {
            out.truncate(out.len() - 2);
        }
    }
}

fn write_uuid(out: &mut Vec<u8>, bytes: [u8; 16]) {
    out.push(b'"');
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[json::hex(byte >> 4), json::hex(byte & 15)]);
    }
    out.push(b'"');
}

/// An array as `array_send` makes it (`src/backend/utils/adt/arrayfuncs.c`): dimensions, a flag, the element's type, for each
/// dimension its length and first index, then the elements, each with its length or -1 for null.
struct List<'a> {
    /// None longer than what is left of the bytes can hold; no more than six (`MAXDIM`).
    lengths: Vec<usize>,
    rest: &'a [u8],
}

const MOST_DIMENSIONS: i32 = 6;

impl<'a> List<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut list = List {
            lengths: Vec::new(),
            rest: bytes,
        };
        let dimensions = list.number()?;
        let (_has_null, _element_type) = (list.number()?, list.number()?);
        if !(0..=MOST_DIMENSIONS).contains(&dimensions) {
            return None;
        }
        for _ in 0..dimensions {
            let (length, _first_index) = (list.number()?, list.number()?);
            list.lengths.push(usize::try_from(length).ok()?);
        }
        Some(list)
    }

    fn number(&mut self) -> Option<i32> {
        let (number, rest) = self.rest.split_first_chunk::<4>()?;
        self.rest = rest;
        Some(i32::from_be_bytes(*number))
    }

    fn write(mut self, out: &mut Vec<u8>, element: &Form) -> Option<()> {
        // The server has no empty dimension; a list with one would be written for ever without reading anything.
        if self.lengths.is_empty() || self.lengths.contains(&0) {
            out.extend_from_slice(b"[]");
            return Some(());
        }
        let lengths = std::mem::take(&mut self.lengths);
        self.write_dimension(out, element, &lengths)
    }

    fn write_dimension(&mut self, out: &mut Vec<u8>, element: &Form, lengths: &[usize]) -> Option<()> {
        let Some((length, inner)) = lengths.split_first() else {
            return self.write_element(out, element);
        };
        out.push(b'[');
        for index in 0..*length {
            if index > 0 {
                out.push(b',');
            }
            self.write_dimension(out, element, inner)?;
        }
        out.push(b']');
        Some(())
    }

    fn write_element(&mut self, out: &mut Vec<u8>, element: &Form) -> Option<()> {
        let length = self.number()?;
        if length == -1 {
            out.extend_from_slice(b"null");
            return Some(());
        }
        let (bytes, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        element.write(out, bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(form: &Form, bytes: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        form.write(&mut out, bytes)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn floats_are_the_shortest_that_read_back() {
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e300, "1e300"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::NAN, "\"NaN\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(written(&Form::Float8, &value.to_be_bytes()).unwrap(), text);
        }
        assert_eq!(written(&Form::Float4, &0.1_f32.to_be_bytes()).unwrap(), "0.1");
    }

    #[test]
    fn a_type_without_a_form_is_none() {
        assert!(Form::of(&Type::POINT).is_none() && Form::of(&Type::POINT_ARRAY).is_none() && Form::of(&Type::INT4_RANGE).is_none());
        assert!(Form::of(&Type::INT4_ARRAY).is_some());
    }

    #[test]
    fn an_array_with_a_length_it_cannot_have_is_refused() {
        let header = |length: i32| {
            [1_i32, 0, 23, length, 1]
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect::<Vec<_>>()
        };
        let ints = Form::List(Box::new(Form::Int4));
        assert_eq!(written(&ints, &header(i32::MAX)), None);
        assert_eq!(written(&ints, &header(-1)), None);
        assert_eq!(written(&ints, &header(0)).unwrap(), "[]");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let forms = [Form::Bool, Form::Int8, Form::Float4, Form::Numeric, Form::Text, Form::Jsonb, Form::Uuid, Form::Date, Form::TimeWithZone, Form::Timestamp];
            for form in forms {
                let _ = written(&form, &bytes);
                let _ = written(&Form::List(Box::new(form)), &bytes);
            }
        }
    }
}
