//! Many rows at once: binary COPY, encoded row by row into pieces that the server takes at its own pace.
//!
//! The types of the columns are asked of the server, so a value that does not fit is found here, with its row and column, and a
//! number goes into whichever number type the column has. A COPY is one statement: all of its rows are there afterwards, or none.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, Stream, StreamExt};
use tokio_postgres::types::{Kind as TypeKind, Type};
use tokio_postgres::{Client, CopyInSink};

use super::fault::{After, Failure};
use super::session::Session;
use super::wire::Meter;
use super::{json, moment, numeric};
use crate::{CallError, Kind};

/// What is sent at once. Two pieces are under way at most: one in the driver's channel and one in its buffer.
const PIECE: usize = 64 << 10;
/// "Binary Format" of the manual's page on COPY: signature, no flags, no extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The row that is none.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

/// Where rows go.
#[derive(Clone, Copy, Debug)]
pub struct CopyInto<'a> {
    /// The table, with its schema before a point where it has one: `public.posts`. Spelled as the server has it, case included.
    pub table: &'a str,
    /// The columns that each row has a value for, in order.
    pub columns: &'a [&'a str],
}

/// A value of a row.
#[derive(Clone, Copy, PartialEq)]
pub enum CopyValue<'a> {
    /// NULL.
    Null,
    /// For `bool`.
    Bool(bool),
    /// For any whole number type in whose range it is, and for floats and `numeric`.
    Int(i64),
    /// For `float8`, `float4` and `numeric`.
    Float(f64),
    /// For text, enums, JSON, and the text of a `numeric` or `uuid`.
    Text(&'a str),
    /// For `bytea`, and for a `uuid` if there are 16.
    Bytes(&'a [u8]),
    /// For `date`: days since 1970-01-01.
    Days(i32),
    /// For `timestamp` and `timestamptz`: microseconds since 1970-01-01T00:00:00Z.
    Micros(i64),
}

impl std::fmt::Debug for CopyValue<'_> {
    /// The variant alone: values stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CopyValue::Null => "Null",
            CopyValue::Bool(_) => "Bool(..)",
            CopyValue::Int(_) => "Int(..)",
            CopyValue::Float(_) => "Float(..)",
            CopyValue::Text(_) => "Text(..)",
            CopyValue::Bytes(_) => "Bytes(..)",
            CopyValue::Days(_) => "Days(..)",
            CopyValue::Micros(_) => "Micros(..)",
        })
    }
}

impl Session {
    /// Copies the rows in and says how many. A row that is an error ends it, and none is kept.
    pub(super) async fn copy_in<'r, R>(
        &mut self,
        into: &CopyInto<'_>,
        rows: impl Stream<Item = Result<R, CallError>>,
        left: Duration,
    ) -> Result<u64, Failure>
    where
        R: AsRef<[CopyValue<'r>]>,
    {
        self.tell_timeout(left).await?;
        let (client, meter) = self.parts();
        let columns = columns(client, into, meter).await?;
        let statement = format!("copy {} ({}) from stdin (format binary)", table(into.table), names(into.columns));
        let sink = client
            .copy_in::<str, Bytes>(&statement)
            .await
            .map_err(|error| Failure::running(error, meter))?;
        send(sink, &columns, rows, meter).await
    }
}

async fn send<'r, R>(
    sink: CopyInSink<Bytes>,
    columns: &[Column],
    rows: impl Stream<Item = Result<R, CallError>>,
    meter: &Meter,
) -> Result<u64, Failure>
where
    R: AsRef<[CopyValue<'r>]>,
{
    let (mut sink, mut rows) = (pin!(sink), pin!(rows));
    let mut piece = Vec::with_capacity(PIECE + PIECE / 4);
    piece.extend_from_slice(HEADER);
    let mut number = 0_u64;
    while let Some(row) = rows.next().await {
        number += 1;
        // Dropping the sink tells the server that the rows are void.
        let row = row.map_err(|error| Failure::new(error, After::Busy))?;
        write_row(&mut piece, columns, row.as_ref()).map_err(|detail| misfit(number, &detail))?;
        if piece.len() >= PIECE {
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE + PIECE / 4));
            sink.send(Bytes::from(full)).await.map_err(|error| Failure::running(error, meter))?;
        }
    }
    piece.extend_from_slice(&TRAILER);
    sink.send(Bytes::from(piece))
        .await
        .map_err(|error| Failure::running(error, meter))?;
    sink.finish().await.map_err(|error| Failure::running(error, meter))
}

fn misfit(row: u64, detail: &str) -> Failure {
    Failure::new(
        CallError::new(Kind::Value, format!("row {row}: {detail}")).after_send(),
        After::Busy,
    )
}

/// A column as the server has it.
#[derive(Debug)]
struct Column {
    name: String,
    kind: Type,
    form: Form,
}

async fn columns(client: &Client, into: &CopyInto<'_>, meter: &Meter) -> Result<Vec<Column>, Failure> {
    let question = format!("select {} from {}", names(into.columns), table(into.table));
    let statement = client.prepare(&question).await.map_err(|error| Failure::preparing(error, meter))?;
    let columns = statement.columns().iter().map(|column| {
        let (name, kind) = (column.name().to_owned(), column.type_().clone());
        let form = Form::of(&kind)
            .ok_or_else(|| Failure::value(format!("column `{name}` has type `{kind}`, into which nothing can be copied here")))?;
        Ok(Column { name, kind, form })
    });
    columns.collect()
}

fn table(name: &str) -> String {
    name.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

fn names(columns: &[&str]) -> String {
    columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn write_row(out: &mut Vec<u8>, columns: &[Column], row: &[CopyValue<'_>]) -> Result<(), String> {
    if row.len() != columns.len() {
        return Err(format!("it has {} values for {} columns", row.len(), columns.len()));
    }
    let count = i16::try_from(columns.len()).map_err(|_| "a table has no more than 1,600 columns".to_owned())?;
    out.extend_from_slice(&count.to_be_bytes());
    for (column, value) in columns.iter().zip(row) {
        if *value == CopyValue::Null {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        let is_written = column.form.write(out, *value).is_some();
        let length = i32::try_from(out.len() - start - 4).ok().filter(|_| is_written);
        let length = length.ok_or_else(|| {
            format!(
                "a {} cannot go into column `{}` of type `{}`",
                what(value),
                column.name,
                column.kind
            )
        })?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn what(value: &CopyValue<'_>) -> &'static str {
    match value {
        CopyValue::Null => "null",
        CopyValue::Bool(_) => "flag",
        CopyValue::Int(_) => "whole number like this",
        CopyValue::Float(_) => "number",
        CopyValue::Text(_) => "text like this",
        CopyValue::Bytes(_) => "piece of bytes like this",
        CopyValue::Days(_) => "day like this",
        CopyValue::Micros(_) => "moment like this",
    }
}

/// How a type is sent.
#[derive(Clone, Copy, Debug)]
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
    Jsonb,
    Uuid,
    Bytes,
    Date,
    Timestamp,
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
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => Form::Text,
            Type::JSONB => Form::Jsonb,
            Type::UUID => Form::Uuid,
            Type::BYTEA => Form::Bytes,
            Type::DATE => Form::Date,
            Type::TIMESTAMP | Type::TIMESTAMPTZ => Form::Timestamp,
            _ => match kind.kind() {
                TypeKind::Enum(_) => Form::Text,
                TypeKind::Domain(base) => Form::of(base)?,
                TypeKind::Simple if kind.name() == "citext" => Form::Text,
                _ => return None,
            },
        };
        Some(form)
    }

    /// None if the value does not fit.
    fn write(self, out: &mut Vec<u8>, value: CopyValue<'_>) -> Option<()> {
        match (self, value) {
            (Form::Bool, CopyValue::Bool(flag)) => out.push(u8::from(flag)),
            (Form::Int2, CopyValue::Int(number)) => out.extend_from_slice(&i16::try_from(number).ok()?.to_be_bytes()),
            (Form::Int4, CopyValue::Int(number)) => out.extend_from_slice(&i32::try_from(number).ok()?.to_be_bytes()),
            (Form::Int8, CopyValue::Int(number)) => out.extend_from_slice(&number.to_be_bytes()),
            (Form::Oid, CopyValue::Int(number)) => out.extend_from_slice(&u32::try_from(number).ok()?.to_be_bytes()),
            (Form::Float4, CopyValue::Float(number)) => out.extend_from_slice(&(number as f32).to_be_bytes()),
            (Form::Float4, CopyValue::Int(number)) => out.extend_from_slice(&(number as f32).to_be_bytes()),
            (Form::Float8, CopyValue::Float(number)) => out.extend_from_slice(&number.to_be_bytes()),
            (Form::Float8, CopyValue::Int(number)) => out.extend_from_slice(&(number as f64).to_be_bytes()),
            (Form::Numeric, CopyValue::Int(number)) => numeric::append(out, &number.to_string())?,
            (Form::Numeric, CopyValue::Float(number)) => numeric::append(out, &number.to_string())?,
            (Form::Numeric, CopyValue::Text(text)) => numeric::append(out, text)?,
            (Form::Text, CopyValue::Text(text)) => out.extend_from_slice(text.as_bytes()),
            (Form::Jsonb, CopyValue::Text(text)) => {
                out.push(1);
                out.extend_from_slice(text.as_bytes());
            }
            (Form::Uuid, CopyValue::Text(text)) => out.extend_from_slice(&json::from_uuid(text)?),
            (Form::Uuid, CopyValue::Bytes(bytes)) if bytes.len() == 16 => out.extend_from_slice(bytes),
            (Form::Bytes, CopyValue::Bytes(bytes)) => out.extend_from_slice(bytes),
            (Form::Date, CopyValue::Days(days)) => {
                let days = i64::from(days) - moment::EPOCH_DAYS;
                out.extend_from_slice(&i32::try_from(days).ok()?.to_be_bytes());
            }
            (Form::Timestamp, CopyValue::Micros(micros)) => out.extend_from_slice(&micros.checked_sub(moment::EPOCH_MICROS)?.to_be_bytes()),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: Type) -> Column {
        Column {
            name: "x".to_owned(),
            form: Form::of(&kind).unwrap(),
            kind,
        }
    }

    #[test]
    fn a_row_is_counted_and_each_value_has_its_length() {
        let mut out = Vec::new();
        let row = [CopyValue::Int(7), CopyValue::Null, CopyValue::Text("ab")];
        write_row(&mut out, &[column(Type::INT2), column(Type::INT8), column(Type::TEXT)], &row).unwrap();
        assert_eq!(out, [&[0, 3][..], &[0, 0, 0, 2, 0, 7], &[255; 4], &[0, 0, 0, 2], b"ab"].concat());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_column() {
        let refused = |kind: Type, value: CopyValue<'_>| write_row(&mut Vec::new(), &[column(kind)], &[value]).unwrap_err();
        assert_eq!(
            refused(Type::INT4, CopyValue::Int(1 << 31)),
            "a whole number like this cannot go into column `x` of type `int4`"
        );
        for (kind, value) in [
            (Type::INT8, CopyValue::Text("1")),
            (Type::UUID, CopyValue::Text("no")),
            (Type::NUMERIC, CopyValue::Text("1x")),
            (Type::OID, CopyValue::Int(-1)),
            (Type::BOOL, CopyValue::Int(1)),
            (Type::TIMESTAMP, CopyValue::Micros(i64::MIN)),
        ] {
            refused(kind, value);
        }
        assert!(
            write_row(&mut Vec::new(), &[column(Type::INT4)], &[])
                .unwrap_err()
                .contains("0 values")
        );
    }

    #[test]
    fn names_cannot_end_their_quotes() {
        assert_eq!(table("public.po\"sts; drop"), "\"public\".\"po\"\"sts; drop\"");
    }
}
