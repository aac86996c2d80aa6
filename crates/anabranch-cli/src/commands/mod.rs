//! One file per command. Each has `run`, which returns how the process ends and never ends it itself.

pub(crate) mod serve;
#[cfg(unix)]
mod admin_socket;
pub(crate) mod purge;
pub(crate) mod check;
pub(crate) mod plan;
pub(crate) mod try_;
pub(crate) mod mock;
pub(crate) mod demo;
pub(crate) mod fetch;
pub(crate) mod completions;

use tokio::runtime::{Builder, Runtime};

use crate::exit::Failure;

/// A runtime of this thread only: enough for every command but `serve`.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread().enable_all().build().map_err(Failure::environment)
}
