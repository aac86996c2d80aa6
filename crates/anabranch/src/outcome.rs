//! How a call ended, as a whole: the word that the account of a reply uses.

use std::time::Duration;

use crate::{CallError, Kind};

/// How a call ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome<T> {
    /// The source answered.
    Ok(T),
    /// The source failed; a stored answer of this age stands in.
    Stale(T, Duration),
    /// The source failed; the value set for that case stands in. The error says why.
    Fallback(T, CallError),
    /// It was not asked: its own condition said no, or something that it needs is missing (named here).
    Skipped(Option<String>),
    /// It failed and nothing stands in.
    Failed(CallError),
}

impl<T> Outcome<T> {
    /// The value, where there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Outcome::Ok(value) | Outcome::Stale(value, _) | Outcome::Fallback(value, _) => Some(value),
            Outcome::Skipped(_) | Outcome::Failed(_) => None,
        }
    }

    /// The kind of the failure, where it failed or a fallback stands in.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Outcome::Fallback(_, error) | Outcome::Failed(error) => Some(error.kind()),
            _ => None,
        }
    }
}
