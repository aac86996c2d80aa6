//! From what was typed to what it means: a [`Config`](crate::config::model::Config) becomes a [`Plan`], or faults, all at once.
//!
//! Each file below owns one noun of a config. None of them stops at the first fault: what is broken is left out, the rest is
//! still looked at, and no plan is made if anything was reported.

pub mod model;
mod compile;
mod source;
mod route;
mod proxy;
mod pattern;
mod params;
mod kind;
mod call;
mod list;
mod target;
mod sql;
mod tokens;
mod redis;
mod run;
mod template;
mod value;
mod condition;
mod program;
mod edit;
mod ok;
mod headers;
mod settings;
mod worker;
mod keep;
mod graph;
mod describe;
mod names;
mod reference;
mod walk;
mod place;
#[cfg(test)]
mod tests;

pub use model::*;
pub use compile::compile;
pub use describe::{CallBounds, RouteBounds};
pub(crate) use describe::KEYS_PER_REQUEST;
