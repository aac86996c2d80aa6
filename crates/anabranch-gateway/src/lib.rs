//! The API aggregation gateway: a config becomes a plan, a plan answers requests.

pub mod config;
pub mod plan;
pub mod json;
pub mod render;
pub mod inputs;
mod schema;
mod transform;
pub mod jq;
pub mod route;
mod source;
mod connector;
mod run;
mod proxy;
pub mod purge;
pub mod respond;
pub mod gateway;
pub mod statements;
pub mod server;
pub mod spec;

pub use config::{compile, Faults, Lookup};
pub use gateway::{Answer, BuildError, CallTrace, Core, CoreOptions, Gateway, Health, RequestTrace};
pub use plan::Plan;
pub use purge::{BadPurge, Purge};
pub use source::{GatewaySource, NoteListener};

/// The examples of the library's page, compiled.
#[cfg(doctest)]
#[cfg(all(feature = "postgres", feature = "redis"))]
#[doc = include_str!("../../../docs/library.md")]
struct LibraryPage;
