//! Lines that are said to somebody once they are committed: stdout, or a device that was named as the record file.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::file::failed;
use crate::FetchError;

/// Where lines are said as well.
pub(super) struct Echo {
    pub(super) out: Box<dyn Write + Send>,
    pub(super) name: String,
    /// What an earlier call committed: this much of this file comes first.
    pub(super) replay: Option<(PathBuf, u64)>,
}

impl Echo {
    /// Says what an earlier call committed.
    pub(super) fn replay(&mut self) -> Result<(), FetchError> {
        let Some((path, length)) = self.replay.take() else {
            return Ok(());
        };
        let file = File::open(&path).map_err(|error| failed("read", &path, &error))?;
        let said = io::copy(&mut io::Read::take(file, length), &mut self.out).and_then(|_| self.out.flush());
        said.map_err(|error| self.failed(&error))
    }

    /// Says more.
    ///
    /// # Errors
    /// `ClosedPipe` where nobody listens any more.
    pub(super) fn say(&mut self, lines: &[u8]) -> Result<(), FetchError> {
        let said = self.out.write_all(lines).and_then(|()| self.out.flush());
        said.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> FetchError {
        match error.kind() {
            io::ErrorKind::BrokenPipe => FetchError::ClosedPipe,
            _ => failed("written", Path::new(&self.name), error),
        }
    }
}
