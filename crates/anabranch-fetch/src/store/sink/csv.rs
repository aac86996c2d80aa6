//! Records as rows of a CSV file.

use std::io::{self, Write};

use serde_json::Value;

use crate::store::shape;
use crate::{FetchError, Record};

/// What a row has unless `--fields` says.
const COLUMNS: [&str; 22] = [
    "seq",
    "id",
    "url",
    "method",
    "outcome",
    "status",
    "final_url",
    "attempts",
    "total_ms",
    "wire_bytes",
    "body_bytes",
    "type",
    "etag",
    "last_modified",
    "changed",
    "sha256",
    "path",
    "data",
    "error.kind",
    "error.message",
    "meta",
    "ts",
];

/// Writes rows.
#[derive(Debug)]
pub(in crate::store) struct Csv {
    columns: Vec<Vec<String>>,
    row: Vec<u8>,
}

impl Csv {
    /// # Errors
    /// A field that no record has.
    pub(in crate::store) fn new(fields: &[String]) -> Result<Csv, FetchError> {
        let columns = match fields.is_empty() {
            true => COLUMNS.iter().map(|column| shape::path(column)).collect::<Result<_, _>>()?,
            false => fields.iter().map(|column| shape::path(column)).collect::<Result<_, _>>()?,
        };
        Ok(Csv { columns, row: Vec::new() })
    }

    /// The line that names the columns.
    pub(in crate::store) fn header(&self) -> Vec<u8> {
        let names = self.columns.iter().map(|path| path.join("."));
        row(names.map(String::into_bytes)).unwrap_or_default()
    }

    pub(in crate::store) fn write(&mut self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        let value = serde_json::to_value(record)?;
        self.row = row(self.columns.iter().map(|path| cell(shape::pick(&value, path)).into_bytes()))?;
        out.write_all(&self.row)
    }
}

fn row(cells: impl Iterator<Item = Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(io::Error::other)?;
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// Text as it is, what is not there as nothing, lists and objects as JSON.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::record;
    use super::*;

    #[test]
    fn rows_have_the_columns_of_their_header_and_keep_quotes() {
        let fields: Vec<String> = ["url", "status", "error.kind", "t_ms", "tries"].map(str::to_owned).to_vec();
        let mut csv = Csv::new(&fields).unwrap();
        let mut record = record("http://h/?a,\"b\"");
        record.status = Some(200);
        let mut out = csv.header();
        csv.write(&record, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (header, row) = text.split_once('\n').unwrap();
        assert_eq!(header, "url,status,error.kind,t_ms,tries");
        assert_eq!(
            row,
            "\"http://h/?a,\"\"b\"\"\",200,,\"{\"\"host_wait\"\":0.0,\"\"queue\"\":0.0}\",\n"
        );
    }

    #[test]
    fn the_usual_columns_are_fields_of_records() {
        assert_eq!(Csv::new(&[]).unwrap().columns.len(), COLUMNS.len());
    }
}
