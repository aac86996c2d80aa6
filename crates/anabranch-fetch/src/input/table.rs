//! Rows of a CSV file with a header line, never more of one than fits.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use csv::ByteRecord;

/// A row with more bytes ends the reading: most likely a quote was never closed.
const LARGEST: u64 = 64 << 20;

/// The names of the columns and the values of a row.
pub(super) type Cells<'a> = (&'a [String], Vec<Cow<'a, str>>);

/// Reads rows.
pub(super) struct Table {
    reader: csv::Reader<Metered>,
    /// Bytes taken from the input since the last row.
    taken: Arc<AtomicU64>,
    pub(super) columns: Vec<String>,
    record: ByteRecord,
    /// Rows read, the header not counted.
    pub(super) number: u64,
}

impl Table {
    /// Reads the header line.
    ///
    /// # Errors
    /// There is none, or it gives a name twice.
    pub(super) fn new(reader: Box<dyn BufRead + Send>) -> Result<Table, String> {
        let taken = Arc::new(AtomicU64::new(0));
        let metered = Metered {
            reader,
            taken: taken.clone(),
        };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(metered);
        let header = reader
            .headers()
            .map_err(|error| format!("its header line cannot be read: {error}"))?;
        let mut columns: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if let Some(first) = columns.first_mut()
            && let Some(bare) = first.strip_prefix('\u{feff}')
        {
            *first = bare.to_owned();
        }
        // Their values would be two of one name in `meta`, and a template could mean either.
        let twice = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name));
        if let Some((_, name)) = twice.filter(|(_, name)| !name.is_empty()) {
            return Err(format!("its header line names two columns `{name}`: expected names that differ"));
        }
        Ok(Table {
            reader,
            taken,
            columns,
            record: ByteRecord::new(),
            number: 0,
        })
    }

    /// The next row, or why it is none, with its text. None at the end.
    ///
    /// # Errors
    /// The input broke.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Cells<'_>, (String, String)>>> {
        self.taken.store(0, Ordering::Relaxed);
        if !self.reader.read_byte_record(&mut self.record).map_err(io::Error::other)? {
            return Ok(None);
        }
        self.number += 1;
        let as_text = || {
            let fields: Vec<_> = self.record.iter().map(String::from_utf8_lossy).collect();
            fields.join(",")
        };
        if self.record.len() != self.columns.len() {
            let why = format!("the row has {} values, expected {}", self.record.len(), self.columns.len());
            return Ok(Some(Err((why, as_text()))));
        }
        let values: Result<Vec<_>, _> = self
            .record
            .iter()
            .map(|field| std::str::from_utf8(field).map(Cow::Borrowed))
            .collect();
        let cells = values.map(|values| (&self.columns[..], values));
        Ok(Some(cells.map_err(|_| ("the row is not UTF-8".to_owned(), as_text()))))
    }
}

/// Counts what is taken and ends a row without end.
struct Metered {
    reader: Box<dyn BufRead + Send>,
    taken: Arc<AtomicU64>,
}

impl Read for Metered {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken.load(Ordering::Relaxed) > LARGEST {
            return Err(io::Error::other("a row is longer than 64 MiB: is a quote never closed?"));
        }
        let read = self.reader.read(out)?;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
