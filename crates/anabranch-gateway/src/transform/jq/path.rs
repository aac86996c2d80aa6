//! What `.a.b[0]` picks out of an answer, without reading the rest of it.

use bytes::Bytes;

use super::run::{Failure, Input};
use crate::json::{self, Found, JsonType, NULL};
use crate::plan::model::Hop;

/// Finds what stands at `hops` in a variable, or in the input where there is none. As in jq, what is not there is null, and a key of
/// something that can have none is an error.
pub(super) fn find(input: &Input, variable: Option<&Bytes>, hops: &[Hop]) -> Result<Bytes, Failure> {
    let (whole, hops) = match (variable, input) {
        (Some(variable), _) => (variable, hops),
        (None, Input::Value(value)) => (value, hops),
        (None, Input::Null) => return Ok(Bytes::from_static(NULL)),
        (None, Input::Parts(parts)) => match hops.split_first() {
            None => return Ok(input.to_json()),
            Some((Hop::Field(name), rest)) => match parts.iter().find(|(part, _)| **part == **name) {
                Some((_, Some(value))) => (value, rest),
                _ => return Ok(Bytes::from_static(NULL)),
            },
            Some(_) => return Err(Failure::Program("cannot index an object with a number".to_owned())),
        },
    };
    let mut value = json::trim(whole);
    for hop in hops {
        match (json::type_of(value), hop) {
            (JsonType::Null, _) => return Ok(Bytes::from_static(NULL)),
            (JsonType::Object, Hop::Field(_)) | (JsonType::List, Hop::Index(_)) => {}
            (other, Hop::Field(name)) => return Err(Failure::Program(format!("cannot index {} with `{name}`", other.as_str()))),
            (other, _) => return Err(Failure::Program(format!("cannot index {} with a number", other.as_str()))),
        }
        value = match json::find(value, std::slice::from_ref(hop)) {
            Found::One(inner) => inner,
            _ => return Ok(Bytes::from_static(NULL)),
        };
    }
    Ok(whole.slice_ref(value))
}
