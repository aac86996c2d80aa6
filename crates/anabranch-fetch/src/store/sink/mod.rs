//! What records go into besides the record file: tables of text, web archives, databases.

mod csv;
mod warc;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod table;

use std::path::{Path, PathBuf};

pub(super) use self::csv::Csv;
#[cfg(feature = "postgres")]
pub(super) use self::postgres::Database;
#[cfg(feature = "parquet")]
pub(super) use self::parquet::{Segments, remove_all};
pub(super) use self::warc::Warc;

use super::file::Appended;
use crate::FetchError;
use crate::record::Finished;

/// A sink as it was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `csv:FILE`.
    Csv(PathBuf),
    /// `warc:FILE`.
    Warc(PathBuf),
    /// `parquet:DIR`.
    Parquet(PathBuf),
    /// `pg://host/database?table=pages`: the URL without `table`, and the table.
    Postgres(String, String),
}

impl Target {
    /// Reads what `--sink` says.
    ///
    /// # Errors
    /// It is none of those that there are.
    pub(crate) fn read(text: &str) -> Result<Target, FetchError> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "csv" if !rest.is_empty() => Ok(Target::Csv(rest.into())),
            "warc" if !rest.is_empty() => Ok(Target::Warc(rest.into())),
            "parquet" if cfg!(not(feature = "parquet")) => Err(FetchError::usage("this program was built without Parquet")),
            "parquet" if !rest.is_empty() => Ok(Target::Parquet(rest.into())),
            "pg" | "postgres" | "postgresql" => postgres_target(rest),
            _ => Err(FetchError::usage(format!(
                "unknown sink `{}`, expected csv:FILE, warc:FILE, parquet:DIR or pg://HOST/DATABASE?table=NAME",
                kind
            ))),
        }
    }

    /// The file, for one that is a file.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Target::Csv(path) | Target::Warc(path) => Some(path),
            Target::Postgres(..) | Target::Parquet(_) => None,
        }
    }
}

/// Takes `table` out of the URL; the database's driver knows all else.
fn postgres_target(rest: &str) -> Result<Target, FetchError> {
    if cfg!(not(feature = "postgres")) {
        return Err(FetchError::usage("this program was built without Postgres"));
    }
    // The text of the URL may hold a password and stays out of errors.
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut table = None;
    let mut others = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("table=") {
            Some(name) => {
                let pair: Vec<_> = url::form_urlencoded::parse(format!("t={name}").as_bytes()).into_owned().collect();
                table = pair.into_iter().next().map(|(_, name)| name);
            }
            None => others.push(pair),
        }
    }
    let table = table.filter(|table| !table.is_empty());
    let table = table.ok_or_else(|| FetchError::usage("a Postgres sink needs a table: pg://HOST/DATABASE?table=NAME"))?;
    let mut url = format!("postgres:{base}");
    if !others.is_empty() {
        url = format!("{url}?{}", others.join("&"));
    }
    Ok(Target::Postgres(url, table))
}

#[cfg(not(feature = "postgres"))]
/// Never made: without Postgres, [`Target::read`] gives none.
pub(super) enum Database {}

#[cfg(not(feature = "postgres"))]
impl Database {
    pub(super) fn connect(_url: &str, _table: &str, _run: Option<String>) -> Result<Database, FetchError> {
        Err(FetchError::usage("this program was built without Postgres"))
    }

    pub(super) fn store(&mut self, _records: &[&crate::Record]) -> Result<u64, FetchError> {
        match *self {}
    }

    pub(super) fn forget_run(&mut self, _earlier: &str) -> Result<(), FetchError> {
        match *self {}
    }

    pub(super) fn forget(&mut self, _keys: &[super::Key]) -> Result<(), FetchError> {
        match *self {}
    }
}

#[cfg(not(feature = "parquet"))]
/// Never made: without Parquet, [`Target::read`] gives none.
#[derive(Debug)]
pub(super) enum Segments {}

#[cfg(not(feature = "parquet"))]
impl Segments {
    pub(super) fn open(_folder: &Path, _run: &str, _note: String, _reached: u64) -> Result<Segments, FetchError> {
        Err(FetchError::usage("this program was built without Parquet"))
    }

    pub(super) fn note(&self) -> (&str, String) {
        match *self {}
    }

    pub(super) fn wants(&self, _length: u64) -> bool {
        match *self {}
    }

    pub(super) fn extend(&mut self, _records: &Path, _length: u64) -> Result<bool, FetchError> {
        match *self {}
    }
}

#[cfg(not(feature = "parquet"))]
pub(super) fn remove_all(_folder: &Path, _run: &str) -> Result<(), FetchError> {
    Ok(())
}

/// A sink that is a file, which the journal knows the length of.
#[derive(Debug)]
pub(super) struct FileSink {
    pub(super) kind: FileKind,
    pub(super) file: Appended,
    /// Its number in the journal.
    pub(super) slot: i64,
}

#[derive(Debug)]
pub(super) enum FileKind {
    Csv(Csv),
    Warc(Warc),
}

impl FileSink {
    /// Appends what it wants of a job: how many bytes. `body` is the file of the body, where it went to one.
    pub(super) fn write(&mut self, finished: &Finished, body: Option<&Path>) -> Result<u64, FetchError> {
        let before = self.file.written();
        let result = match &mut self.kind {
            FileKind::Csv(csv) => csv.write(&finished.record, &mut self.file),
            FileKind::Warc(warc) => warc.write(finished, body, &mut self.file),
        };
        match result {
            Ok(()) => Ok(self.file.written() - before),
            Err(error) => Err(self.file.give_up(&error)),
        }
    }

    /// Whether it has one row for each record, so that `--retry-failed` takes those of failed jobs out.
    pub(super) fn is_rewritten(&self) -> bool {
        matches!(self.kind, FileKind::Csv(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_told_apart_by_their_scheme() {
        assert_eq!(Target::read("csv:a:b.csv").unwrap(), Target::Csv("a:b.csv".into()));
        assert_eq!(Target::read("warc:x.warc.gz").unwrap(), Target::Warc("x.warc.gz".into()));
        for text in ["csv:", "csv", "xls:a", "", "pg://h/db", "pg://h/db?table="] {
            assert!(matches!(Target::read(text), Err(FetchError::Usage(_))), "{text}");
        }
    }

    #[test]
    #[cfg(feature = "postgres")]
    fn the_table_is_taken_out_of_the_url_of_a_database() {
        let target = Target::read("pg://u:p@h:5433/db?sslmode=disable&table=crawl.pa%20ges&connect_timeout=3").unwrap();
        let url = "postgres://u:p@h:5433/db?sslmode=disable&connect_timeout=3";
        assert_eq!(target, Target::Postgres(url.to_owned(), "crawl.pa ges".to_owned()));
    }
}
