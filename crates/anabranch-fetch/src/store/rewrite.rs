//! `--retry-failed`: the files of a run without the records of jobs that failed, and those jobs to be done again.
//!
//! Each file is written anew beside the old one and synced; one transaction then makes the failed jobs undone and names the new files by
//! their inodes; the renames follow. A crash before the transaction leaves files beside that nobody wants; one after it leaves renames to
//! be done, which [`settle`] does by comparing inodes.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::file::{Appended, Kept, failed, identity, sync_folder_of};
use super::journal::{Journal, broken};
use super::place::with_ending;
use super::sink::Database;
use super::writer::RECORDS;
use super::Key;
use crate::{FetchError, Outcome};

/// Takes the failed jobs out of the databases, the files and the journal, in this order: as long as the journal has them, the same
/// command takes them out again. How many there were.
pub(super) fn forget_failed(
    journal: &mut Journal,
    files: Vec<(i64, Kept)>,
    rewritten: &[i64],
    databases: &mut [Database],
) -> Result<u64, FetchError> {
    let failed_outcomes = failed_outcomes();
    let count = format!("select count(*) from done where outcome in ({failed_outcomes})");
    let count: i64 = journal.connection().query_row(&count, (), |row| row.get(0)).map_err(broken)?;
    if count == 0 {
        return Ok(0);
    }
    if !databases.is_empty() {
        let keys = failed_keys(journal)?;
        for database in databases {
            database.forget(&keys)?;
        }
    }
    let mut renames = Vec::new();
    journal.sync_fully()?;
    for (slot, kept) in files {
        let column = match slot {
            RECORDS => None,
            slot => match rewritten.iter().position(|&rewritten| rewritten == slot) {
                Some(place) => Some(place),
                None => continue,
            },
        };
        // Sees that it is the file that the lengths are of.
        drop(Appended::resume(kept.clone())?);
        let fresh = write_without_failed(journal, &kept, column)?;
        renames.push((slot, fresh));
    }
    journal.begin()?;
    for (slot, fresh) in &renames {
        journal.set_file(*slot, fresh)?;
    }
    // A job of the input comes from there again; one that was found is in the journal still.
    journal.run(&format!(
        "update found set is_done = 0 where job is not null and id in (select id from done where outcome in ({failed_outcomes}));
         delete from found where job is null and id in (select id from done where outcome in ({failed_outcomes}));
         delete from done where outcome in ({failed_outcomes});
         delete from meta where name like 'parquet %';
         insert or replace into meta values ('finished', 'no')"
    ))?;
    journal.commit()?;
    for (_, fresh) in &renames {
        rename(&beside(&fresh.path), &fresh.path)?;
    }
    Ok(count.unsigned_abs())
}

/// Does the rename that a crash left undone, or removes what a crash left beside.
pub(super) fn settle(kept: &Kept) -> Result<(), FetchError> {
    let beside = beside(&kept.path);
    let Ok(metadata) = fs::metadata(&beside) else {
        return Ok(());
    };
    match identity(&metadata) == (kept.device, kept.inode) && metadata.len() >= kept.length {
        true => rename(&beside, &kept.path),
        false => fs::remove_file(&beside).map_err(|error| failed("removed", &beside, &error)),
    }
}

fn failed_keys(journal: &Journal) -> Result<Vec<Key>, FetchError> {
    let text = format!("select id from done where outcome in ({})", failed_outcomes());
    let mut statement = journal.connection().prepare(&text).map_err(broken)?;
    let keys = statement.query_map((), |row| row.get(0).map(Key));
    keys.and_then(Iterator::collect).map_err(broken)
}

/// Copies the records of jobs that did not fail, in the order of the file. `column` is the place in `rows`; None for the record file.
fn write_without_failed(journal: &Journal, kept: &Kept, column: Option<usize>) -> Result<Kept, FetchError> {
    let beside = beside(&kept.path);
    let error = |error: io::Error| failed("rewritten", &kept.path, &error);
    let mut old = BufReader::new(File::open(&kept.path).map_err(error)?);
    let mut new = BufWriter::new(File::create(&beside).map_err(error)?);
    let mut length = copy(&mut old, &mut new, kept.header).map_err(error)?;
    let mut statement = journal
        .connection()
        .prepare("select outcome, line, rows from done order by n")
        .map_err(broken)?;
    let mut rows = statement.query(()).map_err(broken)?;
    while let Some(row) = rows.next().map_err(broken)? {
        let outcome: i64 = row.get(0).map_err(broken)?;
        let bytes = match column {
            None => row.get::<_, i64>(1).map_err(broken)?.unsigned_abs(),
            Some(column) => row_length(&row.get::<_, Vec<u8>>(2).map_err(broken)?, column),
        };
        let is_fine = usize::try_from(outcome)
            .ok()
            .and_then(|place| Outcome::ALL.get(place))
            .is_some_and(|outcome| outcome.is_fine());
        match is_fine {
            true => length += copy(&mut old, &mut new, bytes).map_err(error)?,
            false => drop(copy(&mut old, &mut io::sink(), bytes).map_err(error)?),
        }
    }
    let file = new.into_inner().map_err(|failure| error(failure.into_error()))?;
    file.sync_all().map_err(error)?;
    let (device, inode) = identity(&file.metadata().map_err(error)?);
    Ok(Kept {
        length,
        device,
        inode,
        ..kept.clone()
    })
}

fn row_length(rows: &[u8], column: usize) -> u64 {
    let bytes = rows.get(column * 4..column * 4 + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)))
}

fn copy(from: &mut impl Read, to: &mut impl Write, bytes: u64) -> io::Result<u64> {
    let copied = io::copy(&mut from.take(bytes), to)?;
    match copied == bytes {
        true => Ok(copied),
        false => Err(io::Error::other("it is shorter than what is committed")),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), FetchError> {
    let renamed = fs::rename(from, to).and_then(|()| sync_folder_of(to));
    renamed.map_err(|error| failed("put in its place", to, &error))
}

fn beside(path: &Path) -> PathBuf {
    with_ending(path, ".rewrite")
}

/// For a statement: the outcomes that `--retry-failed` tries again.
fn failed_outcomes() -> String {
    let failed = Outcome::ALL.iter().enumerate().filter(|(_, outcome)| !outcome.is_fine());
    failed.map(|(place, _)| place.to_string()).collect::<Vec<_>>().join(",")
}
