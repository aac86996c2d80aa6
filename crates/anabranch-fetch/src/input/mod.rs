//! Where jobs come from: URLs as arguments, lists, JSON lines, tables, sitemaps.
//!
//! Everything here blocks and belongs on a thread of its own. The input is read as it is used and nothing of it is kept but 4 bytes a
//! job, so its length does not matter. Nothing of it is dropped in silence: each line that is no job is an [`Entry`] of its own.

pub(crate) mod row;
pub(crate) mod template;
pub(crate) mod body;
mod lines;
mod draft;
mod table;
mod count;
mod ids;
mod shown;
mod build;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use self::build::JobMaker;
use self::draft::Draft;
use self::lines::{Line, Lines, is_no_job};
use self::row::Columns;
use self::table::Table;
use crate::crawl::sitemap::{Item, Sitemap};
use crate::options::{InputFormat, InputOptions};
use crate::{FetchError, Job, JobId};

pub(crate) use self::build::{for_records, parse_url};

/// Files up to this size are counted before they are read: some 10 ms.
const COUNTED: u64 = 64 << 20;
/// Faults that are named when a strict input is refused.
const NAMED: usize = 10;

/// Why a sitemap of sitemaps is no list of jobs.
const OF_SITEMAPS: &str = "it names other sitemaps: give their URLs as jobs, with --sitemap";

/// What the input has next.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A job.
    Job(Job),
    /// A line or row that is none.
    Invalid {
        /// Its place in the input.
        seq: u64,
        /// What tells it from all others.
        id: JobId,
        /// Its first 1,000 bytes.
        text: String,
        /// For a person.
        why: String,
    },
    /// A job whose id came before.
    Duplicate {
        /// Its place in the input.
        seq: u64,
        /// An id of its own: the one that was given, `~`, and which repetition it is.
        id: JobId,
        /// Where the id came first.
        first: u64,
        /// The URL of the job that is not done.
        url: String,
    },
}

/// Reads jobs.
pub struct Input {
    arguments: std::vec::IntoIter<String>,
    /// Arguments given out.
    seq: u64,
    /// How many arguments there are: what a file has is counted on from there.
    before: u64,
    source: Source,
    maker: JobMaker,
    /// What the input is called in errors.
    name: String,
    known_total: Option<u64>,
    /// Jobs given out.
    given: u64,
}

enum Source {
    None,
    Lines(Lines),
    Ndjson(Lines),
    Csv(Table),
    Sitemap(Places),
}

/// The places of a sitemap.
struct Places {
    sitemap: Sitemap<'static>,
    /// What was read to see that it is a sitemap of pages.
    first: Option<Result<Item, String>>,
    /// Places read.
    number: u64,
}

impl Input {
    /// Opens the input and reads its templates. A strict one is read to its end here, and then again.
    ///
    /// # Errors
    /// `Usage` for all that can be known before the first job: nothing to read, a file that is not there, a template that names no
    /// column, an argument that is no URL, and the first faults of a strict input.
    pub fn open(options: &InputOptions) -> Result<Input, FetchError> {
        if options.urls.is_empty() && options.file.is_none() {
            return Err(FetchError::usage("nothing to fetch: give a URL, or -i with a file or - for stdin"));
        }
        for url in &options.urls {
            parse_url(url).map_err(|why| FetchError::usage(format!("`{url}`: {why}")))?;
        }
        let is_stdin = options.file.as_deref() == Some(Path::new("-"));
        if options.strict && is_stdin {
            return Err(FetchError::usage("--strict reads the input twice and needs a file, not stdin"));
        }
        let mut input = Input::begin(options)?;
        if options.strict {
            let total = input.check_all()?;
            input = Input::begin(options)?;
            input.known_total = Some(total);
        } else if !is_stdin {
            input.known_total = count(options);
        }
        Ok(input)
    }

    /// The next entry; None at the end. Blocks while the input brings nothing.
    ///
    /// # Errors
    /// `Store`: the input broke. What came before stays, and the run may be resumed.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Entry>, FetchError> {
        let entry = self.read()?;
        match entry {
            Some(_) => self.given += 1,
            None => self.known_total = Some(self.given),
        }
        Ok(entry)
    }

    /// How many entries there will be, where that is known: for arguments, for lists and JSON lines in files up to 64 MiB, after a
    /// strict check, and at the end.
    pub fn known_total(&self) -> Option<u64> {
        self.known_total
    }

    fn begin(options: &InputOptions) -> Result<Input, FetchError> {
        let (source, columns, name) = open_source(options)?;
        Ok(Input {
            arguments: options.urls.clone().into_iter(),
            seq: 0,
            before: options.urls.len() as u64,
            source,
            maker: JobMaker::new(options, &columns)?,
            name,
            known_total: None,
            given: 0,
        })
    }

    fn read(&mut self) -> Result<Option<Entry>, FetchError> {
        if let Some(url) = self.arguments.next() {
            self.seq += 1;
            return self.maker.make(self.seq, Draft::line(&url, self.seq)).map(Some);
        }
        match &mut self.source {
            Source::None => Ok(None),
            Source::Lines(_) | Source::Ndjson(_) => self.read_line(),
            Source::Csv(_) => self.read_row(),
            Source::Sitemap(_) => self.read_place(),
        }
    }

    fn read_line(&mut self) -> Result<Option<Entry>, FetchError> {
        let Input {
            source,
            maker,
            before,
            name,
            ..
        } = self;
        let (lines, is_ndjson) = match source {
            Source::Lines(lines) => (lines, false),
            Source::Ndjson(lines) => (lines, true),
            _ => return Ok(None),
        };
        loop {
            let seq = *before + lines.number + 1;
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(error) => return Err(broke(name, seq - 1, &error)),
            };
            let entry = match line {
                Line::Unreadable(why, text) => maker.invalid(seq, &text, why.to_owned()),
                Line::Text(line) if is_ndjson && line.trim().is_empty() => continue,
                Line::Text(line) if is_ndjson => match Draft::object(line, seq) {
                    Ok(draft) => maker.make(seq, draft)?,
                    Err(why) => maker.invalid(seq, line, why),
                },
                Line::Text(line) if is_no_job(line) => continue,
                Line::Text(line) => maker.make(seq, Draft::line(line, seq))?,
            };
            return Ok(Some(entry));
        }
    }

    fn read_row(&mut self) -> Result<Option<Entry>, FetchError> {
        let Source::Csv(table) = &mut self.source else {
            return Ok(None);
        };
        let seq = self.before + table.number + 1;
        match table.next() {
            Err(error) => Err(broke(&self.name, seq - 1, &error)),
            Ok(None) => Ok(None),
            Ok(Some(Err((why, text)))) => Ok(Some(self.maker.invalid(seq, &text, why))),
            Ok(Some(Ok((columns, values)))) => self.maker.make(seq, Draft::table(columns, values, seq)).map(Some),
        }
    }

    fn read_place(&mut self) -> Result<Option<Entry>, FetchError> {
        let Source::Sitemap(places) = &mut self.source else {
            return Ok(None);
        };
        let item = match places.first.take().or_else(|| places.sitemap.next()) {
            None => return Ok(None),
            Some(Err(why)) => return Err(FetchError::store(format!("input `{}`: {why}", self.name))),
            Some(Ok(item)) => item,
        };
        places.number += 1;
        let seq = self.before + places.number;
        let entry = match item {
            Item::Page(url) => self.maker.make(seq, Draft::line(url.as_str(), seq))?,
            Item::Sitemap(url) => self.maker.invalid(seq, url.as_str(), OF_SITEMAPS.to_owned()),
            Item::Invalid { text, why } => self.maker.invalid(seq, &text, why),
        };
        Ok(Some(entry))
    }

    /// Reads all of it, for its faults.
    fn check_all(&mut self) -> Result<u64, FetchError> {
        let mut faults = Vec::new();
        let mut more = 0_u64;
        while let Some(entry) = self.next()? {
            if let Entry::Invalid { seq, why, .. } = entry {
                match faults.len() < NAMED {
                    true => faults.push(format!("line {seq}: {why}")),
                    false => more += 1,
                }
            }
        }
        if more > 0 {
            faults.push(format!("and {more} more"));
        }
        match faults.is_empty() {
            true => Ok(self.given),
            false => Err(FetchError::usage(format!(
                "input `{}` is not all jobs:\n  {}",
                self.name,
                faults.join("\n  ")
            ))),
        }
    }
}

fn open_source(options: &InputOptions) -> Result<(Source, Columns, String), FetchError> {
    let line_columns = || Columns::Known(vec!["line".to_owned(), "seq".to_owned()]);
    let Some(path) = &options.file else {
        return Ok((Source::None, line_columns(), "arguments".to_owned()));
    };
    let name = path.display().to_string();
    let unusable = |why: &dyn fmt::Display| FetchError::usage(format!("input `{name}`: {why}"));
    let reader: Box<dyn BufRead + Send> = match path.to_str() {
        Some("-") => Box::new(BufReader::with_capacity(64 << 10, io::stdin())),
        _ => Box::new(BufReader::with_capacity(
            64 << 10,
            open_file(path).map_err(|error| unusable(&error))?,
        )),
    };
    Ok(match options.format.unwrap_or_else(|| format_of(path)) {
        InputFormat::Lines => (Source::Lines(Lines::new(reader)), line_columns(), name),
        InputFormat::Ndjson => (Source::Ndjson(Lines::new(reader)), Columns::Any, name),
        InputFormat::Csv => {
            let table = Table::new(reader).map_err(|why| unusable(&why))?;
            let mut columns = table.columns.clone();
            columns.push("seq".to_owned());
            (Source::Csv(table), Columns::Known(columns), name)
        }
        InputFormat::Sitemap => {
            let mut sitemap = Sitemap::new(reader, None);
            let first = sitemap.next();
            match &first {
                Some(Ok(Item::Sitemap(_))) => return Err(unusable(&OF_SITEMAPS)),
                Some(Err(why)) => return Err(unusable(why)),
                _ => {}
            }
            let places = Places { sitemap, first, number: 0 };
            (Source::Sitemap(places), line_columns(), name)
        }
    })
}

fn open_file(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_dir() {
        true => Err(io::Error::other("it is a folder")),
        false => Ok(file),
    }
}

fn format_of(path: &Path) -> InputFormat {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let ends = |ending: &str| name.ends_with(ending);
    if ends(".csv") {
        InputFormat::Csv
    } else if ends(".ndjson") || ends(".jsonl") {
        InputFormat::Ndjson
    } else if ends(".xml") || ends(".xml.gz") {
        InputFormat::Sitemap
    } else {
        InputFormat::Lines
    }
}

/// How many entries there are, where counting is quick.
fn count(options: &InputOptions) -> Option<u64> {
    let arguments = options.urls.len() as u64;
    let Some(path) = &options.file else {
        return Some(arguments);
    };
    let format = options.format.unwrap_or_else(|| format_of(path));
    let is_small = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= COUNTED);
    if !is_small || !matches!(format, InputFormat::Lines | InputFormat::Ndjson) {
        return None;
    }
    let mut lines = Lines::new(Box::new(BufReader::with_capacity(64 << 10, File::open(path).ok()?)));
    let mut entries = arguments;
    while let Some(line) = lines.next().ok()? {
        let is_entry = match line {
            Line::Unreadable(..) => true,
            Line::Text(line) if format == InputFormat::Ndjson => !line.trim().is_empty(),
            Line::Text(line) => !is_no_job(line),
        };
        entries += u64::from(is_entry);
    }
    Some(entries)
}

fn broke(name: &str, after: u64, error: &io::Error) -> FetchError {
    FetchError::store(format!("input `{name}` could not be read after line {after}: {error}"))
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("name", &self.name)
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}
