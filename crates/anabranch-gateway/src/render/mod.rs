//! Templates of a plan become what is sent: path, query, header, JSON, or the truth of a condition.
//!
//! A value never becomes syntax: it is encoded for the place it stands in, or refused there, and then nothing is sent. What references
//! name is the business of a [`Scope`].

mod scope;
mod target;
mod value;
mod condition;
pub mod percent;
pub mod segment;

use std::error::Error;
use std::fmt;

use crate::plan::model::Reference;

pub use scope::{is_from_client, Given, Scope};
pub use target::{header, path, query};
pub use value::json;
pub use condition::holds;

/// Why a request cannot be made of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderFault {
    /// This reference, as written, has no value (or, in a query, none that has text): the call is skipped.
    Missing(String),
    /// A value cannot stand where it is needed: 400 when the client sent it, outcome `value` when a source did.
    BadValue {
        /// The reference as written: `$id`.
        reference: String,
        /// Whether the client sent it.
        from_client: bool,
        /// What the value must or must not be; never the value.
        why: &'static str,
    },
}

impl RenderFault {
    fn missing(reference: &Reference) -> Self {
        RenderFault::Missing(reference.text.clone())
    }

    fn bad(reference: &Reference, why: &'static str) -> Self {
        RenderFault::BadValue {
            reference: reference.text.clone(),
            from_client: is_from_client(reference),
            why,
        }
    }
}

impl fmt::Display for RenderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RenderFault::Missing(reference) => write!(f, "`{reference}` is missing"),
            RenderFault::BadValue { reference, why, .. } => write!(f, "`{reference}` {why}"),
        }
    }
}

impl Error for RenderFault {}

#[cfg(test)]
mod tests;
