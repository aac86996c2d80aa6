//! Why a run cannot begin or had to stop: the error of the whole run, never of one job.

use std::error::Error;
use std::fmt;

/// Ends a run. What one job met is in its [`Record`](crate::Record).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// What was asked for cannot be done as it was asked; nothing was requested. Exit code 2.
    Usage(String),
    /// A sink, the journal or the input failed. What is stored is whole, and the run may be resumed. Exit code 3.
    Store(String),
    /// Whoever read our stdout has had enough (`| head`). What is stored is whole. Exit code 141, and no word of it.
    ClosedPipe,
}

impl FetchError {
    /// What was asked for cannot be done as it was asked.
    pub fn usage(text: impl Into<String>) -> Self {
        FetchError::Usage(text.into())
    }

    /// A sink, the journal or the input failed.
    pub fn store(text: impl Into<String>) -> Self {
        FetchError::Store(text.into())
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FetchError::Usage(text) | FetchError::Store(text) => f.write_str(text),
            FetchError::ClosedPipe => f.write_str("nobody reads the standard output any more"),
        }
    }
}

impl Error for FetchError {}
