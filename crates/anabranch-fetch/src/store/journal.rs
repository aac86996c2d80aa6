//! The journal: which jobs are done, how long the files are, and what of a crawl is left. One SQLite database in the run's folder.
//!
//! It is written ahead (WAL) with `synchronous = normal`: a killed process loses nothing of it, and a power failure at most the last
//! transactions, never their order. That is enough for records, because the journal is only ever *behind* what was synced before it: a
//! line that the journal forgot is cut, and its job is done again. It is not enough where something that cannot be cut follows the
//! transaction: the rename of a body or of a rewritten record file. There it is `full`, one more sync a batch.
//!
//! Jobs that are done are appended, without an index: an index over random ids would cost more than all else here. A run that is resumed
//! sorts them once (see `reading`). Jobs that a crawl found are kept with an index, because each found link is looked up.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::code;
use super::file::Kept;
use super::{Committed, Key, Remembered};
use crate::{FetchError, Job, Outcome, Record};

/// The layout of the tables. Another one is not read.
const LAYOUT: i64 = 1;

/// How the journal of a run looks.
const TABLES: &str = "
    create table if not exists meta (name text primary key, value) without rowid;
    create table if not exists file (slot integer primary key, path text, length integer, device integer, inode integer, header integer);
    create table if not exists done (n integer primary key, id blob not null, outcome integer not null, line integer not null,
        rows blob, etag text, last_modified text, sha256 text, path text);
    create table if not exists found (n integer primary key, id blob not null unique, is_done integer not null, job blob);
    create table if not exists name (name text primary key, id blob not null) without rowid;
    create table if not exists pending (name text primary key, id blob not null) without rowid;
    create table if not exists memory (id blob primary key, etag text, last_modified text, sha256 text, path text) without rowid;
";

/// The journal, open. One thread at a time uses it.
pub(super) struct Journal {
    connection: Connection,
    /// Jobs of the input that were begun in this process, for a crawl: what it finds of them is no new job.
    seeds: HashSet<Key>,
    /// Jobs of the crawl, done or not.
    known: u64,
    /// Where [`next_found`](Journal::next_found) goes on.
    cursor: i64,
}

/// A job that ended, for the journal.
pub(super) struct Done<'a> {
    pub(super) id: Key,
    pub(super) record: &'a Record,
    /// The length of its line in the record file.
    pub(super) line: u64,
    /// The lengths of its rows in the sinks that are rewritten with the record file, 4 bytes each; empty where there is none.
    pub(super) rows: &'a [u8],
}

impl Journal {
    /// Opens or makes the journal of a run.
    pub(super) fn open(path: &Path) -> Result<Journal, FetchError> {
        let connection = Connection::open(path).map_err(broken)?;
        let setup = "pragma journal_mode = wal; pragma synchronous = normal; pragma cache_size = -8192; pragma wal_autocheckpoint = 2000;";
        connection.execute_batch(setup).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => FetchError::store(format!(
                "`{}` is no journal, or a broken one: put it back, or begin anew with --fresh",
                path.display()
            )),
            _ => broken(error),
        })?;
        Journal::with_tables(connection)
    }

    /// A journal for a run that cannot be resumed: in memory until it grows, then in a file that nobody sees.
    pub(super) fn temporary() -> Result<Journal, FetchError> {
        let connection = Connection::open("").map_err(broken)?;
        let setup = "pragma journal_mode = memory; pragma synchronous = off; pragma cache_size = -8192; pragma locking_mode = exclusive;";
        connection.execute_batch(setup).map_err(broken)?;
        Journal::with_tables(connection)
    }

    fn with_tables(connection: Connection) -> Result<Journal, FetchError> {
        let layout: i64 = connection.query_row("pragma user_version", (), |row| row.get(0)).map_err(broken)?;
        if layout != 0 && layout != LAYOUT {
            return Err(FetchError::usage(
                "the journal of this run was written by another version of this program: finish it with that one, or begin anew with --fresh",
            ));
        }
        connection.execute_batch(TABLES).map_err(broken)?;
        connection.pragma_update(None, "user_version", LAYOUT).map_err(broken)?;
        let known: i64 = connection
            .query_row("select count(*) from found", (), |row| row.get(0))
            .map_err(broken)?;
        Ok(Journal {
            connection,
            seeds: HashSet::new(),
            known: known.unsigned_abs(),
            cursor: 0,
        })
    }

    /// From now on a transaction outlives a power failure when it has returned.
    pub(super) fn sync_fully(&self) -> Result<(), FetchError> {
        self.run("pragma synchronous = full")
    }

    pub(super) fn begin(&self) -> Result<(), FetchError> {
        self.run("begin immediate")
    }

    pub(super) fn commit(&self) -> Result<(), FetchError> {
        self.run("commit")
    }

    pub(super) fn run(&self, text: &str) -> Result<(), FetchError> {
        self.connection.execute_batch(text).map_err(broken)
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A fact of the run as a whole.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, FetchError> {
        let mut statement = self.prepare("select value from meta where name = ?1")?;
        statement.query_row([name], |row| row.get(0)).optional().map_err(broken)
    }

    pub(super) fn set_text(&self, name: &str, value: &str) -> Result<(), FetchError> {
        let mut statement = self.prepare("insert or replace into meta values (?1, ?2)")?;
        statement.execute((name, value)).map(|_| ()).map_err(broken)
    }

    pub(super) fn files(&self) -> Result<Vec<(i64, Kept)>, FetchError> {
        let mut statement = self.prepare("select slot, path, length, device, inode, header from file order by slot")?;
        let rows = statement.query_map((), |row| {
            let kept = Kept {
                path: row.get::<_, String>(1)?.into(),
                length: row.get::<_, i64>(2)? as u64,
                device: row.get::<_, i64>(3)? as u64,
                inode: row.get::<_, i64>(4)? as u64,
                header: row.get::<_, i64>(5)? as u64,
            };
            Ok((row.get(0)?, kept))
        });
        rows.and_then(Iterator::collect).map_err(broken)
    }

    pub(super) fn set_file(&self, slot: i64, kept: &Kept) -> Result<(), FetchError> {
        let mut statement = self.prepare("insert or replace into file values (?1, ?2, ?3, ?4, ?5, ?6)")?;
        let path = kept.path.to_string_lossy();
        // The numbers are kept as the bits that they are; SQLite's are signed.
        let [length, device, inode, header] = [kept.length, kept.device, kept.inode, kept.header].map(|number| number as i64);
        statement
            .execute(params![slot, path, length, device, inode, header])
            .map(|_| ())
            .map_err(broken)
    }

    /// A job has ended.
    pub(super) fn add_done(&self, done: &Done<'_>) -> Result<(), FetchError> {
        let text = "insert into done (id, outcome, line, rows, etag, last_modified, sha256, path) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let mut statement = self.prepare(text)?;
        let record = done.record;
        let rows = (!done.rows.is_empty()).then_some(done.rows);
        let row = params![
            &done.id.0[..],
            super::place(record.outcome) as i64,
            done.line as i64,
            rows,
            record.etag,
            record.last_modified,
            record.sha256,
            record.path
        ];
        statement.execute(row).map(|_| ()).map_err(broken)
    }

    /// Puts a job that was found to the crawl, unless it is known or the crawl has `most` already. Whether it was put there.
    pub(super) fn add_found(&mut self, job: &Job, most: u64) -> Result<bool, FetchError> {
        let id = Key::of(&job.id);
        if self.known >= most || self.seeds.contains(&id) {
            return Ok(false);
        }
        // Looked up first: most links of a page are known, and encoding a job costs more than a look.
        if self.is_found(id)? {
            return Ok(false);
        }
        let mut statement = self.prepare("insert into found (id, is_done, job) values (?1, 0, ?2)")?;
        statement.execute((&id.0[..], code::encode(job))).map_err(broken)?;
        drop(statement);
        self.known += 1;
        Ok(true)
    }

    /// A job of a crawl has ended. The job itself is kept only where it may be wanted again: by `--retry-failed` what failed, and by
    /// another pass what was there, since a page that has not changed is not looked through for links.
    pub(super) fn end_found(&self, id: Key, outcome: Outcome) -> Result<(), FetchError> {
        let is_left_out = outcome.is_fine() && !matches!(outcome, Outcome::Ok | Outcome::NotModified);
        let text = "insert into found (id, is_done) values (?1, 1)
            on conflict (id) do update set is_done = 1, job = case when ?2 then null else job end";
        let mut statement = self.prepare(text)?;
        statement.execute((&id.0[..], is_left_out)).map(|_| ()).map_err(broken)
    }

    /// Whether a job of the input is the crawl's already; if not, it is from now on.
    pub(super) fn is_known_seed(&mut self, id: Key) -> Result<bool, FetchError> {
        if self.is_found(id)? {
            return Ok(true);
        }
        if self.seeds.insert(id) {
            self.known += 1;
        }
        Ok(false)
    }

    fn is_found(&self, id: Key) -> Result<bool, FetchError> {
        let mut statement = self.prepare("select 1 from found where id = ?1")?;
        statement.exists([&id.0[..]]).map_err(broken)
    }

    /// The next jobs of the crawl that this process has not been given.
    pub(super) fn next_found(&mut self, limit: usize) -> Result<Vec<Job>, FetchError> {
        let text = "select n, job from found where n > ?1 and is_done = 0 order by n limit ?2";
        let mut statement = self.connection.prepare_cached(text).map_err(broken)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = statement.query((self.cursor, limit)).map_err(broken)?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next().map_err(broken)? {
            self.cursor = row.get(0).map_err(broken)?;
            let bytes: Vec<u8> = row.get(1).map_err(broken)?;
            let job = code::decode(&bytes).ok_or_else(|| FetchError::store("the journal has a job that cannot be read"))?;
            jobs.push(job);
        }
        Ok(jobs)
    }

    /// Jobs of the crawl that have not ended.
    pub(super) fn waiting(&self) -> Result<u64, FetchError> {
        let mut statement = self.prepare("select count(*) from found where is_done = 0")?;
        let waiting: i64 = statement.query_row((), |row| row.get(0)).map_err(broken)?;
        Ok(waiting.unsigned_abs())
    }

    /// Whose a name below the folder for bodies is.
    pub(super) fn owner_of(&self, name: &str) -> Result<Option<Key>, FetchError> {
        let mut statement = self.prepare("select id from name where name = ?1")?;
        let owner = statement.query_row([name], |row| row.get::<_, [u8; 16]>(0)).optional();
        owner.map(|owner| owner.map(Key)).map_err(broken)
    }

    /// Whether a reserved name has this one for a folder.
    pub(super) fn is_folder(&self, name: &str) -> Result<bool, FetchError> {
        // `0` comes after `/` in the order of bytes.
        let mut statement = self.prepare("select 1 from name where name >= ?1 || '/' and name < ?1 || '0' limit 1")?;
        statement.exists([name]).map_err(broken)
    }

    /// Reserves a name, and notes that a body is to be renamed to it once the transaction is there.
    pub(super) fn reserve(&self, key: &str, place: &str, id: Key) -> Result<(), FetchError> {
        let mut statement = self.prepare("insert or replace into name values (?1, ?2)")?;
        statement.execute((key, &id.0[..])).map_err(broken)?;
        let mut statement = self.prepare("insert or replace into pending values (?1, ?2)")?;
        statement.execute((place, &id.0[..])).map(|_| ()).map_err(broken)
    }

    /// The renames that a crash may have left undone.
    pub(super) fn pending(&self) -> Result<Vec<(String, Key)>, FetchError> {
        let mut statement = self.prepare("select name, id from pending")?;
        let rows = statement.query_map((), |row| Ok((row.get(0)?, Key(row.get(1)?))));
        rows.and_then(Iterator::collect).map_err(broken)
    }

    /// The counts of this pass.
    pub(super) fn counts(&self) -> Result<Committed, FetchError> {
        let mut counts = Committed::default();
        let mut statement = self.prepare("select outcome, count(*) from done group by outcome")?;
        let mut rows = statement.query(()).map_err(broken)?;
        while let Some(row) = rows.next().map_err(broken)? {
            let (outcome, jobs): (i64, i64) = (row.get(0).map_err(broken)?, row.get(1).map_err(broken)?);
            if let Some(count) = usize::try_from(outcome).ok().and_then(|place| counts.by_outcome.get_mut(place)) {
                *count = jobs.unsigned_abs();
            }
        }
        counts.waiting = self.waiting()?;
        Ok(counts)
    }

    /// What the last pass saw becomes what the next one remembers, and no job is done any more. What the crawl found is known from the
    /// start.
    pub(super) fn begin_pass(&mut self) -> Result<(), FetchError> {
        let ok = super::place(Outcome::Ok);
        self.run(&format!(
            "insert or replace into memory select id, etag, last_modified, sha256, path from done
                where outcome = {ok} and coalesce(etag, last_modified, sha256) is not null;
            delete from done; delete from file;
            delete from found where job is null; update found set is_done = 0;"
        ))?;
        let known: i64 = self
            .connection
            .query_row("select count(*) from found", (), |row| row.get(0))
            .map_err(broken)?;
        (self.known, self.cursor) = (known.unsigned_abs(), 0);
        Ok(())
    }

    /// Nothing is done and nothing remembered. Names stay: the bodies that they stand for are ours still.
    pub(super) fn begin_anew(&mut self) -> Result<(), FetchError> {
        self.run("delete from done; delete from found; delete from file; delete from memory; delete from pending; delete from meta;")?;
        (self.known, self.cursor) = (0, 0);
        Ok(())
    }

    fn prepare(&self, text: &str) -> Result<rusqlite::CachedStatement<'_>, FetchError> {
        self.connection.prepare_cached(text).map_err(broken)
    }
}

/// What an earlier pass saw.
pub(super) fn remembered(connection: &Connection, id: Key) -> rusqlite::Result<Option<Remembered>> {
    let mut statement = connection.prepare_cached("select etag, last_modified, sha256, path from memory where id = ?1")?;
    let row = statement.query_row([&id.0[..]], |row| {
        Ok(Remembered {
            etag: row.get(0)?,
            last_modified: row.get(1)?,
            sha256: row.get(2)?,
            path: row.get(3)?,
        })
    });
    row.optional()
}

pub(super) fn broken(error: rusqlite::Error) -> FetchError {
    FetchError::store(format!("the journal failed: {error}"))
}
