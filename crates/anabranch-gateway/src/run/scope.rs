//! What a template sees while a request runs: the parameters, the headers let in, the body, and the values of calls that ended.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Ended;
use crate::inputs::Inputs;
use crate::json;
use crate::plan::{Hop, Program, Reference, Root, RoutePlan, Variable};
use crate::render::{Given, Scope};

/// The values known at one moment of a run.
pub(crate) struct Known<'a> {
    pub(super) route: &'a RoutePlan,
    pub(super) inputs: &'a Inputs,
    pub(super) ended: &'a [Option<Ended>],
    /// For calls with `into`, the answers that they add to with theirs in place, where some call refers to that.
    pub(super) joined: &'a [Option<Bytes>],
    pub(super) item: Item<'a>,
}

/// What of a list a request is made of.
#[derive(Clone, Copy)]
pub(super) enum Item<'a> {
    /// The call is made once.
    None,
    /// `$it`
    It(&'a Bytes),
    /// `$keys`
    Keys(&'a [Bytes]),
}

impl<'a> Known<'a> {
    /// A view for what is built after the run, for example `reply: { value: ... }`.
    pub(crate) fn at_end(route: &'a RoutePlan, inputs: &'a Inputs, ended: &'a [Option<Ended>]) -> Self {
        Known {
            route,
            inputs,
            ended,
            joined: &[],
            item: Item::None,
        }
    }

    /// The values of a program's variables, in its order.
    pub(crate) fn variables(&self, program: &Program) -> Vec<Bytes> {
        program.variables.iter().map(|variable| self.variable(variable)).collect()
    }

    fn variable(&self, variable: &Variable) -> Bytes {
        let reference = match variable {
            Variable::Value(reference) => reference,
            Variable::Headers(headers) => {
                let values: Vec<_> = headers.iter().map(|(name, reference)| (name, self.get(reference).json())).collect();
                return headers_object(&values);
            }
        };
        let shared = match reference.root {
            Root::Call(call) => self.ended[call].as_ref().and_then(Ended::value),
            Root::Joined(call) => self.joined.get(call).and_then(Option::as_ref),
            Root::Body => self.inputs.body.as_ref(),
            _ => None,
        };
        match shared {
            Some(value) => value.clone(),
            None => Bytes::from(self.get(reference).json().into_owned()),
        }
    }

    /// A header that the client sent and the route lets in.
    pub(crate) fn header(&self, index: usize) -> Option<&HeaderValue> {
        self.inputs.headers[index].as_ref()
    }

    /// Its name.
    pub(crate) fn header_name(&self, index: usize) -> &HeaderName {
        &self.route.headers[index]
    }
}

impl Scope for Known<'_> {
    fn get(&self, reference: &Reference) -> Given<'_> {
        let value = match reference.root {
            Root::Call(call) => self.ended[call].as_ref().and_then(Ended::value),
            Root::Joined(call) => self.joined.get(call).and_then(Option::as_ref),
            Root::It | Root::Keys => return self.item.get(&reference.path),
            Root::Param(_) | Root::Header(_) | Root::Body => return self.inputs.get(self.route, reference),
        };
        match value {
            Some(value) => json::find(value, &reference.path).into(),
            None => Given::Missing,
        }
    }
}

impl<'a> Item<'a> {
    fn get(self, path: &[Hop]) -> Given<'a> {
        match self {
            Item::None => Given::Missing,
            Item::It(item) => json::find(item, path).into(),
            Item::Keys(keys) => Given::Values(keys.iter().map(|key| &key[..]).collect()),
        }
    }
}

fn headers_object(values: &[(&String, Cow<'_, [u8]>)]) -> Bytes {
    let mut out = vec![b'{'];
    for (name, value) in values {
        if out.len() > 1 {
            out.push(b',');
        }
        json::write_string(&mut out, name);
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
    Bytes::from(out)
}
