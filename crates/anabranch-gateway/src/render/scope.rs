//! What references name, at the time of one request.

use std::borrow::Cow;

use crate::json::{write_string, Found, NULL};
use crate::plan::model::{Reference, Root};

/// Gives references their values. Implemented by whoever holds the inputs of a request and the answers so far.
pub trait Scope {
    /// What `reference` stands for now.
    fn get(&self, reference: &Reference) -> Given<'_>;
}

/// What a reference stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// Nothing, or null.
    Missing,
    /// Text of the request: a parameter or a header.
    Text(&'a str),
    /// Text that keeps its slashes in a path: the parameter `*rest`.
    Rest(&'a str),
    /// One validated JSON value.
    Json(&'a [u8]),
    /// Texts of the request: a parameter that takes repeats.
    Texts(Vec<&'a str>),
    /// Validated JSON values, behind `[]` or a parameter of numbers that takes repeats.
    Values(Vec<&'a [u8]>),
}

impl<'a> From<Found<'a>> for Given<'a> {
    fn from(found: Found<'a>) -> Self {
        match found {
            Found::Missing => Given::Missing,
            Found::One(value) => Given::Json(value),
            Found::Many(values) => Given::Values(values),
        }
    }
}

impl<'a> Given<'a> {
    /// The value as JSON; missing is null.
    pub fn json(&self) -> Cow<'a, [u8]> {
        match self {
            Given::Missing => Cow::Borrowed(NULL),
            Given::Json(value) => Cow::Borrowed(value),
            Given::Text(text) | Given::Rest(text) => {
                let mut out = Vec::new();
                write_string(&mut out, text);
                Cow::Owned(out)
            }
            Given::Texts(texts) => Cow::Owned(list(texts, |out, text| write_string(out, text))),
            Given::Values(values) => Cow::Owned(list(values, |out, value| out.extend_from_slice(value))),
        }
    }

    /// Whether there is no value.
    pub fn is_missing(&self) -> bool {
        matches!(self, Given::Missing)
    }

    /// Whether it is a list without items.
    pub fn is_empty_list(&self) -> bool {
        match self {
            Given::Texts(texts) => texts.is_empty(),
            Given::Values(values) => values.is_empty(),
            _ => false,
        }
    }
}

fn list<T>(items: &[T], write: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = vec![b'['];
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(&mut out, item);
    }
    out.push(b']');
    out
}

/// Whether what `reference` names was sent by the client, who is to blame for it, and not by a source.
pub fn is_from_client(reference: &Reference) -> bool {
    match reference.root {
        Root::Param(_) | Root::Header(_) | Root::Body => true,
        // Of an item or a key the client is to blame where it sent the list; who asks for items knows that.
        Root::Call(_) | Root::Joined(_) | Root::It | Root::Keys => false,
    }
}
