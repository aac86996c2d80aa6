//! JSON as bytes: checked once, then cut, compared and spliced without ever becoming a tree.
//!
//! A body that goes into a reply as it came keeps every digit of its numbers, its order of keys and its duplicates. Everything but
//! [`validate`] expects bytes that passed it; other bytes give a wrong answer, never a panic or a loop.

mod validate;
mod find;
mod splice;
mod text;
mod compare;

pub use validate::{validate, JsonFault, Limits, Shape};
pub use find::{entries, find, items, Entries, Found, Items};
pub use splice::{add_to_each, Place};
pub use text::{scalar_text, trim, type_of, unescape, write_string, JsonType};
pub use compare::compare;

/// The bytes of `null`.
pub const NULL: &[u8] = b"null";

#[cfg(test)]
pub(crate) mod tests_support;
