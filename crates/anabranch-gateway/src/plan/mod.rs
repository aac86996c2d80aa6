//! From what was typed to what it means: a [`Config`](crate::config::model::Config) becomes a [`Plan`], or faults, all at once.
//!
//! Each file below owns one noun of a config. None of them stops at the first fault: what is broken is left out, the rest is
//! still looked at, and no plan is made if anything was reported.

pub mod model;
mod compile;
mod source;
mod route;
mod pattern;
mod params;
mod kind;
mod call;
mod list;
mod target;
mod template;
mod value;
mod condition;
mod ok;
mod headers;
mod settings;
mod graph;
mod names;
mod reference;
mod walk;
mod place;
#[cfg(test)]
mod tests;

pub use model::*;
pub use compile::compile;
