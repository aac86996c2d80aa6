//! The requests of a call that is made for the items of a list: children of the run like other calls, a few of them at once.

use std::cell::RefCell;
use std::time::Duration;

use anabranch::{CallError, Kind, Settled};
use bytes::Bytes;
use tokio::time::Instant;

use super::list::List;
use super::scope::Item;
use super::{Ended, Key, Lost, Run, late, not_needed};
use crate::connector::{self, CallEnd, Made};
use crate::json;
use crate::plan::{ListKind, ListPlan, Reference, Root};
use crate::render::{self, Given, RenderFault, Scope, is_from_client};
use crate::respond::problem::Problem;
use crate::transform::Reshaping;

impl<'a> Run<'a> {
    /// Starts as many requests of the call as may be under way at once, or ends it.
    pub(super) fn begin_list(&mut self, call: usize, plan: &'a ListPlan) {
        let mut list = match self.open(call, plan) {
            Ok(list) => list,
            Err(ended) => return self.settle(call, *ended),
        };
        self.recall(call, &mut list);
        // All of them count before the first is sent, so that a list is asked for whole or not at all.
        let most = self.core.gateway().plan.max_calls;
        if self.calls_made + list.requests() > most {
            let error = CallError::new(
                Kind::TooMany,
                format!(
                    "its {} requests are more than the {most} calls of one request allow",
                    list.requests()
                ),
            );
            return self.settle(call, Ended::failed(error, None, Duration::ZERO));
        }
        self.calls_made += list.requests();
        if self.lists.is_empty() {
            self.lists.resize_with(self.route.calls.len(), || None);
        }
        self.lists[call] = Some(Box::new(list));
        if is_from_client(&plan.over) {
            self.check_all(call, plan);
        }
        self.ask_more(call, plan);
    }

    /// Refuses what the client sent before anything of it is asked for, and not when its turn comes.
    fn check_all(&mut self, call: usize, plan: &ListPlan) {
        let requests = self.list(call).map_or(0, |list| list.requests());
        for request in 0..requests {
            if self.lost.is_none()
                && let Err(fault) = self.request(call, plan, request)
            {
                self.not_sent(plan, fault);
            }
        }
    }

    /// The list as it is before anything is asked.
    fn open(&self, call: usize, plan: &ListPlan) -> Result<List, Box<Ended>> {
        let Some(items) = self.items_of(&plan.over) else {
            return Err(Box::new(Ended::skipped(plan.over.text.clone())));
        };
        if items.len() > plan.max_items {
            let message = format!(
                "`{}` has {} items, and `max_items` is {}",
                plan.over.text,
                items.len(),
                plan.max_items
            );
            return Err(Box::new(Ended::failed(
                CallError::new(Kind::TooMany, message),
                None,
                Duration::ZERO,
            )));
        }
        Ok(match &plan.kind {
            ListKind::Each { when_by_item } => {
                let when = self.route.calls[call].when.as_ref().filter(|_| *when_by_item);
                // Verdicts that took an interpreter are there already, in the order of the items.
                let judged = self
                    .verdicts(call)
                    .filter(|_| *when_by_item)
                    .map(|verdicts| RefCell::new(verdicts.iter()));
                List::of_items(items, |item| {
                    let judged = judged.as_ref().and_then(|verdicts| verdicts.borrow_mut().next()).copied();
                    judged.unwrap_or_else(|| when.is_none_or(|when| render::holds(when, &self.known(Item::It(item)))))
                })
            }
            ListKind::Batch(_) => List::of_keys(items),
        })
    }

    /// The items that a reference leads to; None where there is no list.
    pub(super) fn items_of(&self, over: &Reference) -> Option<Vec<Bytes>> {
        let owner = match over.root {
            Root::Call(call) => self.ended[call].as_ref().and_then(Ended::value),
            Root::Joined(call) => self.joined.get(call).and_then(Option::as_ref),
            Root::Body => self.inputs.body.as_ref(),
            Root::Param(_) | Root::Header(_) | Root::It | Root::Keys => None,
        };
        match self.known(Item::None).get(over) {
            Given::Values(values) => Some(values.into_iter().map(|value| share(owner, value)).collect()),
            Given::Texts(texts) => Some(texts.into_iter().map(text_as_json).collect()),
            // A parameter that takes repeats and was not sent has no items.
            Given::Missing if matches!(over.root, Root::Param(_)) => Some(Vec::new()),
            _ => None,
        }
    }

    /// Starts requests until as many are under way as may be, or ends the call where all have ended.
    fn ask_more(&mut self, call: usize, plan: &'a ListPlan) {
        while self.lost.is_none()
            && let Some(request) = self.list(call).and_then(|list| list.next(plan.width))
        {
            if let Err(error) = self.ask(call, plan, request)
                && let Some(list) = self.list(call)
            {
                list.fail(request, error);
            }
        }
        if self.lost.is_none() && self.list(call).is_some_and(|list| list.has_ended()) {
            self.end_list(call);
        }
    }

    /// What is known of a call that has begun to ask.
    fn list(&mut self, call: usize) -> Option<&mut List> {
        self.lists.get_mut(call)?.as_deref_mut()
    }

    /// Starts one request.
    fn ask(&mut self, call: usize, plan: &ListPlan, request: usize) -> Result<(), CallError> {
        let call_plan = &self.route.calls[call];
        let is_over = self.under_way.end().has_passed();
        let too_late = if self.is_cut { not_needed } else { late };
        if is_over && call_plan.keep.is_none() {
            return Err(too_late());
        }
        let gateway = self.core.gateway();
        let made = match self.request(call, plan, request) {
            Ok(made) => made,
            Err(fault) => return Err(self.not_sent(plan, fault)),
        };
        let setup = &gateway.setups[self.index][call];
        let reshaping = self.reshaping_of_request(call, plan, request);
        if is_over {
            let stands_in = self.start_stand_in(Key::new(call, request), &made, reshaping);
            return stands_in.map(|_started| ()).ok_or_else(too_late);
        }
        let exchange = connector::exchange(self.core, call_plan, setup, made, self.calls_until);
        let started = self.start(Key::new(call, request), exchange, reshaping);
        let first = *self.started[call].get_or_insert(started);
        if let Some(list) = self.list(call) {
            list.has_started(request, started.duration_since(first));
        }
        Ok(())
    }

    /// What becomes of the answer to one request.
    fn reshaping_of_request(&self, call: usize, plan: &ListPlan, request: usize) -> Option<Reshaping> {
        let list = self.lists.get(call)?.as_deref()?;
        self.reshaping(call, &self.known(item_of(plan, list, request)))
    }

    /// One request.
    fn request(&self, call: usize, plan: &ListPlan, request: usize) -> Result<Made, RenderFault> {
        let Some(Some(list)) = self.lists.get(call) else {
            return Err(RenderFault::Missing(plan.over.text.clone()));
        };
        let setup = &self.core.gateway().setups[self.index][call];
        connector::request(
            &self.route.calls[call],
            setup,
            &self.known(item_of(plan, list, request)),
            self.shared,
        )
    }

    /// A request that cannot be written fails its item alone, unless it is the client's doing.
    fn not_sent(&mut self, plan: &ListPlan, fault: RenderFault) -> CallError {
        let (reference, from_client, why) = match fault {
            RenderFault::Missing(reference) => return CallError::new(Kind::Cancelled, format!("not asked: `{reference}` is missing")),
            RenderFault::BadValue {
                reference,
                from_client,
                why,
            } => (reference, from_client, why),
        };
        let is_item = is_item(&reference);
        let culprit = if is_item { &plan.over.text } else { &reference };
        if from_client || is_item && is_from_client(&plan.over) {
            let name = culprit.trim_start_matches('$').trim_end_matches("[]");
            self.lost = Some(Lost::Client(Box::new(Problem::bad_param(name, why))));
        }
        CallError::new(Kind::Value, format!("`{reference}` {why}"))
    }

    /// Takes the end of one request.
    pub(super) fn finish_request(&mut self, key: Key, settled: Settled<CallEnd>) {
        let call = key.call();
        let (Some(plan), Some(Some(list))) = (self.route.calls[call].list.as_deref(), self.lists.get_mut(call)) else {
            return;
        };
        let request = key.request as usize;
        match settled {
            Settled::Done(end) => {
                let keep = end.kept.as_ref().and_then(|kept| kept.items);
                let said = end.freshness.unwrap_or_default();
                let is_good = list.take(key.request, end, plan);
                if let (true, Some(keep), Some(answers)) = (is_good, keep, &self.core.gateway().answers) {
                    list.keep(key.request, keep, said, answers.store.cache());
                }
            }
            Settled::TimedOut => list.fail(request, late()),
            Settled::Cancelled(_) => list.fail(request, not_needed()),
            Settled::Panicked(message) => list.fail(request, CallError::new(Kind::Panic, message)),
        }
        self.ask_more(call, plan);
    }

    fn end_list(&mut self, call: usize) {
        let started = self.started[call];
        let took = started.map_or(Duration::ZERO, |started| started.elapsed());
        let started = started.map(|started: Instant| started.duration_since(self.arrived));
        if let Some(ended) = self.list(call).map(|list| list.end(started, took)) {
            self.settle(call, ended);
        }
    }

    /// The same end with the `else` of the call in the places of the items that failed.
    pub(super) fn with_else_of_items(&self, call: usize, mut ended: Ended) -> Ended {
        if let Some(Some(list)) = self.lists.get(call) {
            let (value, _) = list.value(|item| self.else_value(call, Item::It(item)));
            ended.outcome = anabranch::Outcome::Ok(value);
        }
        ended
    }
}

/// What a request is made of.
fn item_of<'l>(plan: &ListPlan, list: &'l List, request: usize) -> Item<'l> {
    match plan.kind {
        ListKind::Each { .. } => Item::It(&list.of_request(request)[0]),
        ListKind::Batch(_) => Item::Keys(list.of_request(request)),
    }
}

/// Whether a reference, as written, names an item or the keys.
fn is_item(reference: &str) -> bool {
    let name = reference.trim_start_matches('$');
    let end = name.find(['.', '[']).unwrap_or(name.len());
    matches!(&name[..end], "it" | "keys")
}

/// A value as bytes of its own; those of the document that it stands in, where they are.
fn share(owner: Option<&Bytes>, value: &[u8]) -> Bytes {
    match owner {
        Some(owner) if owner.as_ptr_range().contains(&value.as_ptr()) => owner.slice_ref(value),
        _ => Bytes::copy_from_slice(value),
    }
}

fn text_as_json(text: &str) -> Bytes {
    let mut out = Vec::new();
    json::write_string(&mut out, text);
    Bytes::from(out)
}
