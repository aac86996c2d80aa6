//! Records as Parquet files in a folder, made of the record file.
//!
//! A Parquet file can be read once its end is written, so rows cannot be committed batch by batch. The record file can: so the files are
//! made of its committed part, a segment at a time, and the journal keeps how far they reach. A segment is named by where it begins. One
//! that was written and not noted is written again under the same name, and one that begins beyond what is noted is nobody's.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

use crate::store::file::{failed, sync_folder_of};
use crate::{FetchError, moment};

/// A segment begins anew after so many bytes of the record file.
const SEGMENT: u64 = 64 << 20;
/// Records of a row group: as many as fit into memory together.
const GROUP: usize = 16 << 20;

/// The segments of a run.
#[derive(Debug)]
pub(in crate::store) struct Segments {
    folder: PathBuf,
    /// What the names of this run's files begin with.
    prefix: String,
    /// How much of the record file is in segments.
    reached: u64,
    /// Its name in the journal.
    note: String,
}

impl Segments {
    /// Makes the folder and removes segments that begin beyond `reached`. `run` tells the files of this run, and this pass, from others.
    pub(in crate::store) fn open(folder: &Path, run: &str, note: String, reached: u64) -> Result<Segments, FetchError> {
        fs::create_dir_all(folder).map_err(|error| failed("made", folder, &error))?;
        let segments = Segments {
            folder: folder.to_owned(),
            prefix: format!("part-{run}-"),
            reached,
            note,
        };
        remove(folder, &segments.prefix, |begins| begins >= reached)?;
        Ok(segments)
    }

    /// The fact that the journal keeps: its name, and how far the segments reach.
    pub(in crate::store) fn note(&self) -> (&str, String) {
        (&self.note, self.reached.to_string())
    }

    /// Whether the record file has grown by a segment.
    pub(in crate::store) fn wants(&self, length: u64) -> bool {
        length.saturating_sub(self.reached) >= SEGMENT
    }

    /// Makes a segment of all that the record file has up to `length`. Whether there was anything.
    pub(in crate::store) fn extend(&mut self, records: &Path, length: u64) -> Result<bool, FetchError> {
        if length <= self.reached {
            return Ok(false);
        }
        let name = format!("{}{:020}.parquet", self.prefix, self.reached);
        let path = self.folder.join(&name);
        let beside = self.folder.join(format!(".{name}.tmp"));
        write(records, self.reached..length, &beside).map_err(|why| FetchError::store(format!("`{}`: {why}", path.display())))?;
        let renamed = fs::rename(&beside, &path).and_then(|()| sync_folder_of(&path));
        renamed.map_err(|error| failed("put in its place", &path, &error))?;
        self.reached = length;
        Ok(true)
    }
}

/// Removes the segments of a run that begins anew.
pub(in crate::store) fn remove_all(folder: &Path, run: &str) -> Result<(), FetchError> {
    remove(folder, &format!("part-{run}"), |_| true)
}

fn remove(folder: &Path, prefix: &str, which: impl Fn(u64) -> bool) -> Result<(), FetchError> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let stem = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".parquet"));
        let begins = stem.and_then(|stem| stem.rsplit('-').next()?.parse().ok());
        if begins.is_some_and(&which) {
            fs::remove_file(entry.path()).map_err(|error| failed("removed", &entry.path(), &error))?;
        }
    }
    Ok(())
}

/// How a column is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    /// Lists and objects, as JSON.
    Json,
    Int,
    Float,
    Bool,
    Moment,
}

/// The columns: all that a record may have but for its version.
const COLUMNS: [(&str, Form); 37] = [
    ("run", Form::Text),
    ("seq", Form::Int),
    ("id", Form::Text),
    ("url", Form::Text),
    ("method", Form::Text),
    ("outcome", Form::Text),
    ("status", Form::Int),
    ("final_url", Form::Text),
    ("attempts", Form::Int),
    ("tries", Form::Json),
    ("total_ms", Form::Float),
    ("t_ms", Form::Json),
    ("http", Form::Text),
    ("remote", Form::Text),
    ("reused", Form::Bool),
    ("wire_bytes", Form::Int),
    ("body_bytes", Form::Int),
    ("encoding", Form::Text),
    ("type", Form::Text),
    ("charset", Form::Text),
    ("etag", Form::Text),
    ("last_modified", Form::Text),
    ("cache", Form::Text),
    ("changed", Form::Bool),
    ("sha256", Form::Text),
    ("path", Form::Text),
    ("data", Form::Json),
    ("headers", Form::Json),
    ("body", Form::Text),
    ("body_base64", Form::Bool),
    ("redirects", Form::Json),
    ("links", Form::Int),
    ("depth", Form::Int),
    ("parent", Form::Text),
    ("error", Form::Json),
    ("meta", Form::Json),
    ("ts", Form::Moment),
];

fn schema() -> String {
    let column = |&(name, form): &(&str, Form)| {
        let kind = match form {
            Form::Text => format!("binary {name} (UTF8)"),
            Form::Json => format!("binary {name} (JSON)"),
            Form::Int => format!("int64 {name}"),
            Form::Float => format!("double {name}"),
            Form::Bool => format!("boolean {name}"),
            Form::Moment => format!("int64 {name} (TIMESTAMP(MICROS,true))"),
        };
        format!("optional {kind};")
    };
    format!("message record {{ {} }}", COLUMNS.iter().map(column).collect::<Vec<_>>().join(" "))
}

fn write(records: &Path, range: std::ops::Range<u64>, out: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut file = File::open(records)?;
    file.seek(SeekFrom::Start(range.start))?;
    let mut lines = BufReader::new(file.take(range.end - range.start));
    let schema = Arc::new(parse_message_type(&schema())?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let file = File::create(out)?;
    let mut writer = SerializedFileWriter::new(file.try_clone()?, schema, properties)?;
    loop {
        let group = read_group(&mut lines)?;
        if group.is_empty() {
            break;
        }
        write_group(&mut writer, &group)?;
    }
    writer.close()?;
    Ok(file.sync_all()?)
}

fn read_group(lines: &mut impl BufRead) -> io::Result<Vec<Value>> {
    let (mut group, mut bytes) = (Vec::new(), 0);
    let mut line = Vec::new();
    while bytes < GROUP {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        bytes += line.len();
        group.push(serde_json::from_slice(&line)?);
    }
    Ok(group)
}

fn write_group(writer: &mut SerializedFileWriter<File>, group: &[Value]) -> Result<(), ParquetError> {
    let mut rows = writer.next_row_group()?;
    for (name, form) in COLUMNS {
        let Some(column) = rows.next_column()? else {
            return Err(ParquetError::General("the schema has too few columns".to_owned()));
        };
        let values = || group.iter().map(|record| record.get(name).filter(|value| !value.is_null()));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match form {
            Form::Text => write_column::<ByteArrayType>(
                column,
                values().map(|value| value.map(|value| ByteArray::from(text(value).into_bytes()))),
            ),
            Form::Json => write_column::<ByteArrayType>(
                column,
                values().map(|value| value.map(|value| ByteArray::from(value.to_string().into_bytes()))),
            ),
            Form::Int => write_column::<Int64Type>(column, values().map(|value| value.and_then(Value::as_i64))),
            Form::Float => write_column::<DoubleType>(column, values().map(|value| value.and_then(Value::as_f64))),
            Form::Bool => write_column::<BoolType>(column, values().map(|value| value.and_then(Value::as_bool))),
            Form::Moment => write_column::<Int64Type>(column, values().map(|value| value.and_then(Value::as_str).and_then(moment::micros))),
        }?;
    }
    rows.close().map(|_| ())
}

/// The values that are there, and for each row whether it has one.
fn write_column<T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let (mut there, mut levels) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        there.extend(value);
    }
    column.typed::<T>().write_batch(&there, Some(&levels), None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    use super::super::super::tests::{full_record, record};
    use super::*;
    use crate::store::shape;

    fn rows(path: &Path) -> Vec<(String, Option<i64>)> {
        let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
        let row = |row: Result<parquet::record::Row, ParquetError>| {
            let row = row.unwrap();
            (row.get_string(3).unwrap().clone(), row.get_long(6).ok())
        };
        reader.get_row_iter(None).unwrap().map(row).collect()
    }

    #[test]
    fn segments_have_each_record_once_and_are_made_again_if_they_were_not_noted() {
        let folder = tempfile::tempdir().unwrap();
        let (records, out) = (folder.path().join("records"), folder.path().join("out"));
        let line = |record| serde_json::to_string(&record).unwrap() + "\n";
        let text = line(full_record()) + &line(record("http://h/2"));
        fs::write(&records, text.clone() + "half a line").unwrap();
        let mut segments = Segments::open(&out, "r-1", "note".to_owned(), 0).unwrap();
        assert!(segments.extend(&records, text.len() as u64).unwrap());
        assert!(!segments.extend(&records, text.len() as u64).unwrap());
        let first = out.join("part-r-1-00000000000000000000.parquet");
        assert_eq!(rows(&first), [("http://h/".to_owned(), Some(200)), ("http://h/2".to_owned(), None)]);
        // What was not noted is removed, and what belongs to others stays.
        fs::write(out.join("part-s-1-00000000000000000000.parquet"), "theirs").unwrap();
        Segments::open(&out, "r-1", "note".to_owned(), 0).unwrap();
        assert!(!first.exists());
        remove_all(&out, "r").unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    }

    #[test]
    fn the_columns_are_those_of_records() {
        let mut names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
        let mut fields = [&shape::FIELDS[1..], &shape::LAST_FIELDS].concat();
        names.sort_unstable();
        fields.sort_unstable();
        assert_eq!(names, fields);
    }
}
