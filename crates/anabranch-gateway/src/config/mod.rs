//! The config: YAML text becomes a [`Config`] with the place of each value, all faults at once.
//!
//! `tree` reads the text into a [`yaml`] tree, `read` with `sources`, `workers`, `routes` and `calls` turns the tree into the config; `resolve` puts
//! in what stands in the environment and in files. What the names mean is the plan's business.

pub mod faults;
mod secrets;
mod nearest;
mod written;
pub mod yaml;
mod tree;
mod scalar;
pub mod model;
mod keys;
mod read;
mod sources;
mod workers;
mod routes;
mod proxy;
mod calls;
mod lists;
pub mod units;
mod lookup;
mod resolve;
#[cfg(test)]
mod tests;

pub use faults::{Fault, Faults, nearest};
pub use lookup::{Lookup, MapLookup};
pub use model::Config;
pub use yaml::{Node, NodeKind, Span, Spanned, Style};

use crate::plan::{self, Plan};

/// Compiles the text of a config. It does no I/O but through `lookup`.
///
/// # Errors
/// All faults of the text at once, those of its YAML, its keys and values, and its graphs.
///
/// # Example
/// ```
/// use anabranch_gateway::config::{compile, MapLookup};
///
/// let text = "
/// sources:
///   shop: { url: http://shop.svc:8000 }
/// routes:
///   GET /users/{id:int}:
///     calls:
///       user: shop /users/$id
/// ";
/// let plan = compile("gateway.yaml", text, &MapLookup::new())?;
/// assert_eq!(plan.routes.len(), 1);
/// # Ok::<(), anabranch_gateway::config::Faults>(())
/// ```
pub fn compile(file: &str, text: &str, lookup: &dyn Lookup) -> Result<Plan, Faults> {
    let mut faults = Faults::new(file, text);
    let config = read(text, lookup, &mut faults);
    match config.and_then(|config| plan::compile(&config, &mut faults)) {
        Some(plan) if faults.is_empty() => Ok(plan),
        _ => Err(faults),
    }
}

/// Reads the text of a config without making a plan. None when it is no YAML; else what could be read, the rest is in `faults`.
pub fn read(text: &str, lookup: &dyn Lookup, faults: &mut Faults) -> Option<Config> {
    let root = yaml::parse(text, faults)?;
    Some(read::file(&root, lookup, faults))
}
