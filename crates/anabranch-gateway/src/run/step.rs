//! The start of one call: its condition, its request, and what is known without asking anybody.

use std::time::Duration;

use anabranch::{CallError, Kind};
use bytes::Bytes;

use super::scope::Item;
use super::{Ended, Key, Known, Lost, Run};
use crate::connector;
use crate::plan::{Action, ListKind, Otherwise, Value};
use crate::render::{self, RenderFault};
use crate::respond::problem::Problem;

impl Run<'_> {
    /// Starts a call whose waits are over, or ends it at once.
    pub(super) fn begin(&mut self, call: usize) {
        let plan = &self.route.calls[call];
        if let Some(missing) = plan.waits_ok.iter().find(|wait| !self.ended_well(**wait)) {
            let name = self.route.calls[*missing].name.to_string();
            return self.settle(call, Ended::skipped(name));
        }
        let known = self.known(Item::None);
        let list = plan.list.as_deref();
        let by_item = list.is_some_and(|list| matches!(list.kind, ListKind::Each { when_by_item: true }));
        if !by_item && plan.when.as_ref().is_some_and(|when| !render::holds(when, &known)) {
            return self.settle(call, Ended::not_asked());
        }
        if let Some(list) = list {
            return self.begin_list(call, list);
        }
        let action = match &plan.action {
            Action::Http(action) => action,
            Action::Value(value) => {
                let value = render_value(value, &known);
                return self.settle(call, Ended::computed(value, self.arrived.elapsed()));
            }
        };
        let gateway = self.core.gateway();
        let setup = &gateway.setups[self.index][call];
        let request = match connector::request(action, setup, &known, self.shared) {
            Ok(request) => request,
            Err(fault) => return self.cannot_render(call, fault),
        };
        if self.is_cut && self.under_way.end().has_passed() {
            return self.settle(call, Ended::failed(super::not_needed(), None, Duration::ZERO));
        }
        self.calls_made += 1;
        if self.calls_made > gateway.plan.max_calls {
            let error = CallError::new(Kind::TooMany, format!("more than {} calls for one request", gateway.plan.max_calls));
            return self.settle(call, Ended::failed(error, None, Duration::ZERO));
        }
        let source = &gateway.sources[action.source];
        let exchange = connector::exchange(self.core, source, plan, setup, request, self.calls_until);
        self.started[call] = Some(self.under_way.start(Key::new(call, 0), exchange));
    }

    /// What a template sees now.
    pub(super) fn known<'k>(&'k self, item: Item<'k>) -> Known<'k> {
        Known { route: self.route, inputs: self.inputs, ended: &self.ended, joined: &self.joined, item }
    }

    fn ended_well(&self, call: usize) -> bool {
        self.ended[call].as_ref().is_some_and(|ended| ended.value().is_some())
    }

    /// A request that cannot be written is never sent.
    fn cannot_render(&mut self, call: usize, fault: RenderFault) {
        match fault {
            RenderFault::Missing(reference) => self.settle(call, Ended::skipped(reference)),
            RenderFault::BadValue { reference, from_client: true, why } => {
                let problem = Problem::bad_param(reference.trim_start_matches('$'), why);
                self.lost = Some(Lost::Client(Box::new(problem)));
            }
            RenderFault::BadValue { reference, why, .. } => {
                let error = CallError::new(Kind::Value, format!("`{reference}` {why}"));
                self.settle(call, Ended::failed(error, None, Duration::ZERO));
            }
        }
    }

    /// What the `else` of a call, or of one of its items, gives, once all that it names has ended.
    pub(super) fn else_value(&self, call: usize, item: Item<'_>) -> Option<Bytes> {
        let known = self.known(item);
        match self.route.calls[call].otherwise.as_ref()? {
            Otherwise::Value { value, .. } => Some(render_value(value, &known)),
            Otherwise::Call(other) => self.ended[*other].as_ref()?.value().cloned(),
        }
    }
}

pub(super) fn render_value(value: &Value, known: &Known<'_>) -> Bytes {
    let mut out = Vec::new();
    render::json(value, known, &mut out);
    Bytes::from(out)
}
