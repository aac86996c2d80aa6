//! What goes back to the client: the joined body, its account, its caching, its timings, or a problem.
//!
//! Nothing here knows a URL, a host or a body of an upstream that failed, so none can leak.

pub mod account;
pub mod cache_control;
pub mod cache_status;
pub mod problem;
pub mod server_timing;
pub mod splice;
pub(crate) mod reply;

pub use account::{PartAccount, PartState};
pub use problem::Problem;
