//! The ids that an input gave: an exact set, on disk, because a list may have more of them than fit into memory.

use rusqlite::Connection;

use crate::FetchError;
use crate::store::Key;

/// A set of ids, gone with the process.
pub(super) struct Ids {
    connection: Connection,
}

impl Ids {
    pub(super) fn new() -> Result<Ids, FetchError> {
        // An empty name is a file that SQLite makes when its cache is full and deletes at once.
        let connection = Connection::open("").map_err(broken)?;
        let setup = "pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -8192; pragma locking_mode = exclusive;
            create table id (id blob primary key, first integer not null, times integer not null) without rowid; begin";
        connection.execute_batch(setup).map_err(broken)?;
        Ok(Ids { connection })
    }

    /// Where an id came first, and how often it came before.
    pub(super) fn insert(&mut self, id: Key, seq: u64) -> Result<(u64, u64), FetchError> {
        let text = "insert into id values (?1, ?2, 0) on conflict do update set times = times + 1 returning first, times";
        let mut statement = self.connection.prepare_cached(text).map_err(broken)?;
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        let row = statement.query_row((&id.0[..], seq), |row| Ok((row.get(0)?, row.get(1)?)));
        let (first, times): (i64, i64) = row.map_err(broken)?;
        Ok((first.unsigned_abs(), times.unsigned_abs()))
    }
}

fn broken(error: rusqlite::Error) -> FetchError {
    FetchError::store(format!("the ids of the input could not be kept: {error}"))
}
