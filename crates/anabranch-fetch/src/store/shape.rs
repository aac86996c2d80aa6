//! Which records are written, and what of them: `--only` and `--fields`.

use std::io::Write;

use serde_json::Value;

use crate::options::{Only, OutputOptions};
use crate::{FetchError, Record};

/// The fields of a record, schema v1.
pub(crate) const FIELDS: [&str; 36] = [
    "v",
    "run",
    "seq",
    "id",
    "url",
    "method",
    "outcome",
    "status",
    "final_url",
    "attempts",
    "tries",
    "total_ms",
    "t_ms",
    "http",
    "remote",
    "reused",
    "wire_bytes",
    "body_bytes",
    "encoding",
    "type",
    "charset",
    "etag",
    "last_modified",
    "cache",
    "changed",
    "sha256",
    "path",
    "data",
    "headers",
    "body",
    "body_base64",
    "redirects",
    "links",
    "depth",
    "parent",
    "error",
];
/// Those that come after `error`.
pub(crate) const LAST_FIELDS: [&str; 2] = ["meta", "ts"];

/// How records become lines.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Paths into a record; all of it when empty.
    fields: Vec<Vec<String>>,
    only: Option<Only>,
}

impl Shape {
    /// # Errors
    /// A field that no record has.
    pub(crate) fn of(output: &OutputOptions) -> Result<Shape, FetchError> {
        let fields = output.fields.iter().map(|field| path(field)).collect::<Result<_, _>>()?;
        Ok(Shape { fields, only: output.only })
    }

    /// Whether it is written at all.
    pub(crate) fn takes(&self, record: &Record) -> bool {
        match self.only {
            None => true,
            Some(Only::Ok) => record.outcome.is_fine(),
            Some(Only::Failed) => !record.outcome.is_fine(),
        }
    }

    /// Appends the record's line, with its newline, unless it is not written.
    pub(crate) fn line(&self, record: &Record, out: &mut Vec<u8>) -> Result<(), FetchError> {
        if !self.takes(record) {
            return Ok(());
        }
        let written = match self.fields.is_empty() {
            true => serde_json::to_writer(&mut *out, record),
            false => serde_json::to_value(record).and_then(|value| {
                let paths: Vec<&[String]> = self.fields.iter().map(Vec::as_slice).collect();
                write_picked(out, &value, &paths)
            }),
        };
        written.map_err(|error| FetchError::store(format!("a record could not be written: {error}")))?;
        out.push(b'\n');
        Ok(())
    }
}

/// A field as a path.
///
/// # Errors
/// It does not begin with a field of records.
pub(crate) fn path(field: &str) -> Result<Vec<String>, FetchError> {
    let path: Vec<String> = field.trim().split('.').map(str::to_owned).collect();
    let known = |name: &str| FIELDS.contains(&name) || LAST_FIELDS.contains(&name);
    if !known(&path[0]) || path.iter().any(String::is_empty) {
        return Err(FetchError::usage(format!(
            "records have no field `{field}`, expected one of {}",
            [&FIELDS[..], &LAST_FIELDS].concat().join(", ")
        )));
    }
    Ok(path)
}

/// What stands at a path; None where the record does not say.
pub(crate) fn pick<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// An object with what the paths name, nested as in the record, in the order in which they were named first.
fn write_picked(out: &mut Vec<u8>, value: &Value, paths: &[&[String]]) -> serde_json::Result<()> {
    out.push(b'{');
    let mut written: Vec<&str> = Vec::new();
    for path in paths {
        let name = path[0].as_str();
        let Some(inner) = value.get(name).filter(|_| !written.contains(&name)) else {
            continue;
        };
        let below: Vec<&[String]> = paths.iter().filter(|path| path[0] == name).map(|path| &path[1..]).collect();
        let is_whole = below.iter().any(|path| path.is_empty()) || !inner.is_object();
        if !written.is_empty() {
            out.push(b',');
        }
        written.push(name);
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        match is_whole {
            true => serde_json::to_writer(&mut *out, inner)?,
            false => write_picked(out, inner, &below)?,
        }
    }
    out.write_all(b"}").map_err(serde_json::Error::io)
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;
    use crate::Outcome;

    fn lines(fields: &[&str], only: Option<Only>, outcome: Outcome) -> String {
        let output = OutputOptions {
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
            only,
            ..OutputOptions::default()
        };
        let mut record = record("http://h/");
        record.outcome = outcome;
        record.t_ms.queue = 1.5;
        record.t_ms.ttfb = Some(2.0);
        let mut out = Vec::new();
        Shape::of(&output).unwrap().line(&record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_keep_their_places_in_the_record_and_the_order_in_which_they_were_asked_for() {
        let line = lines(&["t_ms.ttfb", "outcome", "t_ms.queue", "status", "url.x"], None, Outcome::Dns);
        assert_eq!(
            line,
            "{\"t_ms\":{\"ttfb\":2.0,\"queue\":1.5},\"outcome\":\"dns\",\"url\":\"http://h/\"}\n"
        );
        let whole = lines(&["t_ms", "t_ms.queue"], None, Outcome::Ok);
        assert_eq!(whole, "{\"t_ms\":{\"host_wait\":0.0,\"queue\":1.5,\"ttfb\":2.0}}\n");
    }

    #[test]
    fn only_some_records_are_written() {
        assert_eq!(lines(&["id"], Some(Only::Ok), Outcome::Dns), "");
        assert_eq!(lines(&["v"], Some(Only::Failed), Outcome::Dns), "{\"v\":1}\n");
        assert_eq!(lines(&["v"], Some(Only::Ok), Outcome::NotModified), "{\"v\":1}\n");
    }

    #[test]
    fn a_field_that_no_record_has_is_refused() {
        for field in ["t.total", "", "id..x", "ttfb"] {
            assert!(matches!(path(field), Err(FetchError::Usage(_))), "{field}");
        }
    }

    #[test]
    fn the_list_of_fields_is_that_of_the_record() {
        let full = super::super::tests::full_record();
        let value = serde_json::to_value(&full).unwrap();
        for name in value.as_object().unwrap().keys() {
            assert!(path(name).is_ok(), "{name}");
        }
        assert_eq!(value.as_object().unwrap().len(), FIELDS.len() + LAST_FIELDS.len());
    }
}
