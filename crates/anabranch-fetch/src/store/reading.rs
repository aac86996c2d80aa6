//! What is known of jobs that ended before: asked once for each job of the input.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use super::journal::{Journal, broken, remembered};
use super::{Key, Remembered};
use crate::{FetchError, JobId};

/// Answers from the journal.
pub(super) struct Reading {
    /// Jobs that ended before this process began, for a run that is resumed.
    before: Option<Mutex<Connection>>,
    /// What an earlier pass saw, for a run that has one.
    memory: Option<Mutex<Connection>>,
    /// The journal itself, for a crawl: what it found changes all the time.
    crawl: Option<Arc<Mutex<Journal>>>,
}

impl Reading {
    /// Nothing is known.
    pub(super) fn nothing() -> Self {
        Reading {
            before: None,
            memory: None,
            crawl: None,
        }
    }

    pub(super) fn of_crawl(mut self, journal: Arc<Mutex<Journal>>) -> Self {
        self.crawl = Some(journal);
        self
    }

    /// Sorts the ids that are done into a table of this connection's own. The writer appends to the journal meanwhile; what it appends is
    /// no job that the input brings again.
    pub(super) fn of_done(mut self, journal: &Path) -> Result<Self, FetchError> {
        let connection = connect(journal)?;
        let sort = "pragma temp_store = file; pragma temp.cache_size = -8192;
            create temp table before (id blob primary key) without rowid;
            insert or ignore into temp.before select id from main.done order by id";
        connection.execute_batch(sort).map_err(broken)?;
        self.before = Some(Mutex::new(connection));
        Ok(self)
    }

    pub(super) fn of_memory(mut self, journal: &Path) -> Result<Self, FetchError> {
        self.memory = Some(Mutex::new(connect(journal)?));
        Ok(self)
    }

    pub(super) fn is_done(&self, id: &JobId) -> Result<bool, FetchError> {
        let key = Key::of(id);
        if let Some(journal) = &self.crawl {
            return journal.lock().unwrap_or_else(PoisonError::into_inner).is_known_seed(key);
        }
        let Some(before) = &self.before else {
            return Ok(false);
        };
        let connection = before.lock().unwrap_or_else(PoisonError::into_inner);
        let statement = connection.prepare_cached("select 1 from temp.before where id = ?1");
        statement.and_then(|mut statement| statement.exists([&key.0[..]])).map_err(broken)
    }

    pub(super) fn remembered(&self, id: &JobId) -> Option<Remembered> {
        let connection = self.memory.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        // A memory that cannot be read costs a whole answer in place of a 304; the writer will say what is wrong with the journal.
        remembered(&connection, Key::of(id)).ok().flatten()
    }
}

fn connect(journal: &Path) -> Result<Connection, FetchError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(journal, flags).map_err(broken)
}
