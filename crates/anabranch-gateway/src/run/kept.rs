//! What is kept for calls of a run: single items of a batch, each under its own key, and what stands in for a call that is cut off.

use std::time::Duration;

use anabranch::policy::{Cache, CacheKey, Held, Keep, Lookup, StaleUse, Ticket};
use anabranch::{Settled, Why};
use bytes::Bytes;
use tokio::time::Instant;

use super::list::{Answer, List, Place};
use super::renewal::Shelf;
use super::scope::Item;
use super::{Key, Run};
use crate::connector::{self, Answer as KeptAnswer, CallEnd, Made, StoredAnswer};
use crate::plan::ListKind;
use crate::respond::cache_control::Freshness;

/// For so long it is remembered that a source has nothing for a key.
pub(super) const NOTHING_MAX: Duration = Duration::from_secs(1);

/// Of a batch whose items are kept, what there is for each.
pub(super) struct KeptItems {
    /// By the number of the item; None where no request can be made for it.
    keys: Vec<Option<CacheKey>>,
    /// Answers whose time is over.
    olds: Vec<Option<Held<StoredAnswer>>>,
    /// From before anything was asked.
    ticket: Ticket,
    label: String,
    /// How many were there.
    pub(super) hits: usize,
    /// How fresh these were, and when.
    fresh: Option<(Freshness, Instant)>,
    /// Numbers of items that were there and whose time is over, so that they are to be renewed.
    to_renew: Vec<usize>,
}

impl KeptItems {
    /// How fresh what was there is by now.
    pub(super) fn freshness(&self) -> Option<Freshness> {
        let (fresh, then) = self.fresh?;
        let left = fresh.left.map(|left| left.saturating_sub(then.elapsed()));
        Some(Freshness { left, ..fresh })
    }
}

impl List {
    /// Takes what is kept and fresh out of the cache, so that only the other items are asked for. These come first from now on.
    pub(super) fn recall(&mut self, keys: Vec<Option<CacheKey>>, label: String, cache: &Cache<StoredAnswer>) {
        let ticket = cache.ticket();
        let look = |key: &Option<CacheKey>| key.as_ref().map_or(Lookup::Miss, |key| cache.get(key));
        let mut looked: Vec<Lookup<StoredAnswer>> = keys.iter().map(look).collect();
        let is_there = |number: &usize| match &looked[*number] {
            Lookup::Fresh(_) => true,
            Lookup::Stale(held) => held.stale_use() == Some(StaleUse::WhileRenewed),
            Lookup::Miss => false,
        };
        let (there, missing): (Vec<usize>, Vec<usize>) = (0..self.items.len()).partition(is_there);
        self.to_ask = missing.len();
        let order: Vec<usize> = missing.into_iter().chain(there.iter().copied()).collect();
        let mut moved = vec![0; order.len()];
        for (new, old) in order.iter().enumerate() {
            moved[*old] = new;
        }
        for place in &mut self.places {
            if let Place::Item(number) = place {
                *number = moved[*number];
            }
        }
        self.items = order.iter().map(|number| self.items[*number].clone()).collect();
        let mut kept = KeptItems {
            keys: order.iter().map(|number| keys[*number]).collect(),
            olds: Vec::new(),
            ticket,
            label,
            hits: there.len(),
            fresh: None,
            to_renew: Vec::new(),
        };
        let now = Instant::now();
        for (new, old) in order.into_iter().enumerate() {
            let (answer, held) = match std::mem::replace(&mut looked[old], Lookup::Miss) {
                Lookup::Fresh(held) => {
                    let fresh = freshness(&held);
                    let all = kept.fresh.map_or(fresh, |(others, _)| super::list::shorter(others, fresh));
                    kept.fresh = Some((all, now));
                    (taken(held.value()), None)
                }
                Lookup::Stale(held) if new >= self.to_ask => {
                    self.stale = self.stale.max(Some(held.age()));
                    kept.to_renew.push(new);
                    (taken(held.value()), None)
                }
                Lookup::Stale(held) => (Answer::None, Some(held)),
                Lookup::Miss => (Answer::None, None),
            };
            self.answers[new] = answer;
            kept.olds.push(held);
        }
        self.kept = Some(Box::new(kept));
    }

    /// What is to be renewed: items with their keys.
    fn to_renew(&self) -> Vec<(Bytes, CacheKey)> {
        let numbers = self
            .kept
            .iter()
            .flat_map(|kept| kept.to_renew.iter().map(|number| (*number, kept.keys[*number])));
        numbers
            .filter_map(|(number, key)| Some((self.items[number].clone(), key?)))
            .collect()
    }

    /// Keeps what a request brought, item by item.
    pub(super) fn keep(&mut self, request: u32, keep: Keep, said: Freshness, cache: &Cache<StoredAnswer>) {
        let Some(kept) = &self.kept else { return };
        let shelf = Shelf {
            cache,
            ticket: kept.ticket,
            label: &kept.label,
        };
        let mut soonest = None;
        for number in self.numbers(request as usize) {
            let value = match &self.answers[number] {
                Answer::None => continue,
                Answer::Nothing => None,
                // Bytes of its own: it lies in the answer to many keys.
                Answer::Value(value) => Some(Bytes::copy_from_slice(value)),
            };
            let Some(key) = kept.keys[number] else { continue };
            let left = shelf.put(key, value, keep, said);
            soonest = Some(soonest.map_or(left, |soonest| super::list::shorter(soonest, left)));
        }
        if let Some(soonest) = soonest {
            self.is_as_fresh_as(soonest);
        }
    }

    /// Puts kept answers whose time is over in the places of a request that failed.
    pub(super) fn stand_in(&mut self, request: usize) {
        let numbers = self.numbers(request);
        let Some(kept) = &self.kept else { return };
        for number in numbers {
            let old = kept.olds[number].as_ref().filter(|old| old.may_stand_in());
            if let Some(old) = old
                && let Answer::Value(value) = taken(old.value())
            {
                self.stale = self.stale.max(Some(old.age()));
                self.answers[number] = Answer::Value(value);
            }
        }
    }
}

fn taken(answer: &KeptAnswer) -> Answer {
    answer.value.clone().map_or(Answer::Nothing, Answer::Value)
}

/// How long a kept answer is fresh, for the reply.
pub(super) fn freshness(held: &Held<StoredAnswer>) -> Freshness {
    let said = held.value().said;
    let left = said.left.map(|left| left.saturating_sub(held.value().since(held.age())));
    Freshness {
        left: left.map(|left| left.min(held.fresh_for())),
        ..said
    }
}

impl<'a> Run<'a> {
    /// Looks up what is kept of the keys of a batch.
    pub(super) fn recall(&mut self, call: usize, list: &mut List) {
        let plan = &self.route.calls[call];
        let gateway = self.core.gateway();
        let is_batch = plan.list.as_ref().is_some_and(|list| matches!(list.kind, ListKind::Batch(_)));
        let (Some(answers), Some(source), true, true) = (&gateway.answers, plan.action.source(), is_batch, plan.keep.is_some()) else {
            return;
        };
        let setup = &gateway.setups[self.index][call];
        let mut label = String::new();
        let key = |item: &Bytes| {
            let known = self.known(Item::Keys(std::slice::from_ref(item)));
            let made = connector::request(plan, setup, &known, self.shared).ok()?;
            if label.is_empty() {
                label = connector::label(&made, gateway.sources[source].name());
            }
            let variables = self.reshaping(call, &known).map(|reshaping| reshaping.variables);
            connector::item_key(&made, item, &variables.unwrap_or_default())
        };
        let keys = list.items.iter().map(key).collect();
        list.recall(keys, label, answers.store.cache());
        let to_renew = list.to_renew();
        if let (Some(kept), false) = (&list.kept, to_renew.is_empty()) {
            self.renew(call, to_renew, kept.ticket, &kept.label);
        }
        if list.kept.as_ref().is_some_and(|kept| kept.hits > 0) {
            self.started[call] = Some(Instant::now());
        }
    }

    /// What becomes of a call or request that was cut off: a kept answer that may stand in ends it like the source's own. None where that
    /// has yet to be reshaped; it is then under way once more, and ready at once unless it takes long.
    pub(super) fn cut_off(&mut self, key: Key, settled: Settled<CallEnd>) -> Option<Settled<CallEnd>> {
        let call = key.call();
        let plan = &self.route.calls[call];
        if plan.keep.is_none() || self.stood_in.contains(&key) || self.lost.is_some() {
            return Some(settled);
        }
        let item = match (plan.list.as_deref(), self.lists.get(call)) {
            (None, _) => Item::None,
            (Some(list), Some(Some(items))) if matches!(list.kind, ListKind::Each { .. }) => {
                Item::It(&items.of_request(key.request as usize)[0])
            }
            // A batch looked its items up before it asked.
            _ => return Some(settled),
        };
        let known = self.known(item);
        let setup = &self.core.gateway().setups[self.index][call];
        let made = connector::request(plan, setup, &known, self.shared).ok();
        let Some(end) = made.and_then(|made| connector::stand_in(self.core, &made)) else {
            return Some(settled);
        };
        match self.reshaping(call, &known) {
            None => Some(Settled::Done(end)),
            Some(reshaping) => {
                self.stood_in.push(key);
                self.start(key, std::future::ready(end), Some(reshaping));
                None
            }
        }
    }

    /// Starts what stands in for a call that may not be asked any more; whether there is something.
    pub(super) fn start_stand_in(&mut self, key: Key, made: &Made, reshaping: Option<crate::transform::Reshaping>) -> Option<Instant> {
        let end = connector::stand_in(self.core, made)?;
        self.stood_in.push(key);
        Some(self.start(key, std::future::ready(end), reshaping))
    }
}

/// Whether a child was ended by the clock and not by itself.
pub(super) fn was_cut(settled: &Settled<CallEnd>) -> bool {
    matches!(settled, Settled::TimedOut | Settled::Cancelled(Why::Grace))
}
