//! Concurrent I/O that is bounded, observable and safe to stop.
//!
//! A [`Source`] is what calls go to: an HTTP service with its limits, retries and endpoints. A [`Client`] is the
//! engine bound to one tokio runtime: its connections and its background scope. [`gather`] runs many calls at once
//! inside one task and says of each how it ended; a [`Deadline`] reaches everything below it.

#![warn(missing_docs)]

mod deadline;
mod gather;
mod timekeeper;
mod gathering;
mod settled;
mod scope;
mod background;
mod tasks;
mod error;
mod outcome;
pub mod policy;
pub mod client;
mod source;
mod call;
mod streamed;
mod ask;
mod around;
pub mod compute;
#[cfg(unix)]
pub mod worker;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;

pub use deadline::{Bound, BoundMarked, Deadline, Elapsed, Expired, Marks};
pub use gather::{call, gather, Child, Gather, Join, Report};
pub use gathering::Gathering;
pub use settled::{Finished, Settled, Why};
pub use scope::{scope, Handle, Scope, ScopeError};
pub use background::Background;
pub use tasks::stragglers;
pub use error::{CallError, Kind, Phase};
pub use outcome::Outcome;
pub use client::{Client, Request, Response};
pub use source::{CallSettings, Source, SourceBuilder};
pub use call::{Attempt, CallReport};
pub use streamed::StreamedCall;
pub use ask::{Ask, OnClient};
pub use around::{retry, retry_if, timed, RetryError};
pub use compute::{Compute, ComputeError, ComputeSettings, JobContext};
#[cfg(unix)]
pub use worker::{BadWorkers, WorkerCounts, WorkerNote, Workers, WorkersBuilder, WorkerSettings};
