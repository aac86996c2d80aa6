//! Batch fetch that loses nothing: jobs come in, each ends as exactly one record, and `kill -9` at any moment changes
//! neither.
//!
//! [`Options`] say what to do, [`Run`](run::Run) does it. Jobs come from an [`input`], wait in a [`schedule`] that knows how busy each
//! host may be kept, are fetched by the engine's client, and end in a [`store`]: the journal, the record file and the sinks.

#![warn(missing_docs)]

pub mod options;
pub mod job;
pub mod record;
pub mod error;
mod moment;
pub mod input;
pub mod store;
pub mod content;
pub mod crawl;
mod download;
pub mod schedule;
mod http;
pub mod run;

pub use error::FetchError;
pub use job::{Job, JobId};
pub use options::Options;
pub use record::{Outcome, Record};
