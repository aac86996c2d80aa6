//! The start of one call: its condition, its request, and what is known without asking anybody.

use std::time::Duration;

use anabranch::{CallError, Deadline, Kind};
use bytes::Bytes;
use tokio::time::Instant;

use super::scope::Item;
use super::{Ended, Key, Known, Lost, Run};
use crate::connector::{self, CallEnd};
use crate::gateway::Core;
use crate::plan::{Action, ListKind, Otherwise, Value};
use crate::render::{self, RenderFault};
use crate::respond::problem::Problem;
use crate::transform::Reshaping;
use crate::transform::jq::Input;

impl<'a> Run<'a> {
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
        if let Some(program) = &plan.when_program
            && self.verdicts(call).is_none()
        {
            return self.judge(call, program);
        }
        let says_no = plan.when.as_ref().is_some_and(|when| !render::holds(when, &known)) || self.verdicts(call) == Some(&[false]);
        if !by_item && says_no {
            return self.settle(call, Ended::not_asked());
        }
        if let Some(list) = list {
            return self.begin_list(call, list);
        }
        if let Action::Value(value) = &plan.action {
            let value = render_value(value, &known);
            match self.reshaping(call, &known) {
                None => self.settle(call, Ended::computed(value, self.arrived.elapsed())),
                Some(reshaping) => {
                    let computed = computed(self.core, &self.route.pattern, reshaping, value, self.calls_until);
                    self.started[call] = Some(self.under_way.start(Key::new(call, 0), computed));
                }
            }
            return;
        }
        let gateway = self.core.gateway();
        let setup = &gateway.setups[self.index][call];
        let request = match connector::request(plan, setup, &known, self.shared) {
            Ok(request) => request,
            Err(fault) => return self.cannot_render(call, fault),
        };
        if self.is_cut && self.under_way.end().has_passed() {
            let reshaping = self.reshaping(call, &self.known(Item::None));
            if let Some(started) = self.start_stand_in(Key::new(call, 0), &request, reshaping) {
                self.started[call] = Some(started);
                return;
            }
            return self.settle(call, Ended::failed(super::not_needed(), None, Duration::ZERO));
        }
        self.calls_made += 1;
        if self.calls_made > gateway.plan.max_calls {
            let error = CallError::new(Kind::TooMany, format!("more than {} calls for one request", gateway.plan.max_calls));
            return self.settle(call, Ended::failed(error, None, Duration::ZERO));
        }
        let reshaping = self.reshaping(call, &self.known(Item::None));
        let exchange = connector::exchange(self.core, plan, setup, request, self.calls_until);
        self.started[call] = Some(self.start(Key::new(call, 0), exchange, reshaping));
    }

    /// Starts a call or one of its requests, with what becomes of its answer.
    pub(super) fn start(&mut self, key: Key, exchange: impl Future<Output = CallEnd> + Send + 'a, reshaping: Option<Reshaping>) -> Instant {
        match reshaping {
            None => self.under_way.start(key, exchange),
            Some(reshaping) => self
                .under_way
                .start(key, reshaped(self.core, &self.route.pattern, reshaping, exchange, self.calls_until)),
        }
    }

    /// What becomes of the answer of a call, with the values that are known now.
    pub(super) fn reshaping(&self, call: usize, known: &Known<'_>) -> Option<Reshaping> {
        let plan = &self.route.calls[call];
        let edit = plan.edit.as_deref()?;
        Some(Reshaping {
            keys: edit.keys.clone(),
            jq: edit.program.as_ref().map(|program| program.jq.clone()),
            variables: edit.program.as_ref().map(|program| known.variables(program)).unwrap_or_default(),
            most: usize::try_from(plan.max_body).unwrap_or(usize::MAX),
        })
    }

    /// What a template sees now.
    pub(super) fn known<'k>(&'k self, item: Item<'k>) -> Known<'k> {
        Known {
            route: self.route,
            inputs: self.inputs,
            ended: &self.ended,
            joined: &self.joined,
            item,
        }
    }

    fn ended_well(&self, call: usize) -> bool {
        self.ended[call].as_ref().is_some_and(|ended| ended.value().is_some())
    }

    /// A request that cannot be written is never sent.
    fn cannot_render(&mut self, call: usize, fault: RenderFault) {
        match fault {
            RenderFault::Missing(reference) => self.settle(call, Ended::skipped(reference)),
            RenderFault::BadValue {
                reference,
                from_client: true,
                why,
            } => {
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

/// A call whose good answer is reshaped before it is the value.
async fn reshaped(core: &Core, label: &str, reshaping: Reshaping, exchange: impl Future<Output = CallEnd>, deadline: Deadline) -> CallEnd {
    let mut end = exchange.await;
    end.result = match end.result {
        Ok(value) => reshaping.apply(Input::Value(value), core.compute(), label, deadline).await,
        Err(error) => Err(error),
    };
    end
}

/// A value that is reshaped; no source is asked.
async fn computed(core: &Core, label: &str, reshaping: Reshaping, value: Bytes, deadline: Deadline) -> CallEnd {
    let result = reshaping.apply(Input::Value(value), core.compute(), label, deadline).await;
    CallEnd::computed(result)
}
