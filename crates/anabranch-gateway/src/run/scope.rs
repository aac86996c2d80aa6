//! What a template sees while a request runs: the parameters, the headers let in, the body, and the values of calls that ended.

use http::{HeaderName, HeaderValue};

use super::Ended;
use crate::inputs::Inputs;
use crate::json;
use crate::plan::{Reference, Root, RoutePlan};
use crate::render::{Given, Scope};

/// The values known at one moment of a run.
pub(crate) struct Known<'a> {
    pub(super) route: &'a RoutePlan,
    pub(super) inputs: &'a Inputs,
    pub(super) ended: &'a [Option<Ended>],
}

impl<'a> Known<'a> {
    /// A view for what is built after the run, for example `reply: { value: ... }`.
    pub(crate) fn at_end(route: &'a RoutePlan, inputs: &'a Inputs, ended: &'a [Option<Ended>]) -> Self {
        Known { route, inputs, ended }
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
        let Root::Call(call) = reference.root else { return self.inputs.get(self.route, reference) };
        match self.ended[call].as_ref().and_then(Ended::value) {
            Some(value) => json::find(value, &reference.path).into(),
            None => Given::Missing,
        }
    }
}
