//! Items of a batch whose time is over and that may still be served: renewed in the background, each by one request at a time.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use anabranch::policy::{Cache, CacheKey, Item as Stored, Keep, Ticket};
use anabranch::Deadline;
use bytes::Bytes;

use super::kept::{NOTHING_MAX, freshness};
use super::matching;
use super::scope::Item;
use super::Run;
use crate::connector::{self, Answer, Made, StoredAnswer};
use crate::gateway::Core;
use crate::plan::{KEYS_PER_REQUEST, ListKind};
use crate::respond::cache_control::Freshness;
use crate::transform::Reshaping;
use crate::transform::jq::Input;

/// Items that are being renewed, over all requests and cores.
#[derive(Clone, Debug, Default)]
pub(crate) struct Renewals(Arc<Mutex<HashSet<CacheKey>>>);

/// Some of them, until this is dropped.
struct Claimed {
    all: Renewals,
    keys: Vec<CacheKey>,
}

impl Renewals {
    /// Claims an item; whether nobody else has.
    fn claim(&self, key: CacheKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key)
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.keys.iter().for_each(|key| _ = all.remove(key));
    }
}

/// Where an item is kept.
#[derive(Clone, Copy)]
pub(super) struct Shelf<'a> {
    pub(super) cache: &'a Cache<StoredAnswer>,
    pub(super) ticket: Ticket,
    pub(super) label: &'a str,
}

impl Shelf<'_> {
    /// Keeps an item, and says how fresh it is. That there is nothing for a key is kept for a second at the most.
    pub(super) fn put(&self, key: CacheKey, value: Option<Bytes>, keep: Keep, said: Freshness) -> Freshness {
        let keep = match value {
            Some(_) => keep,
            None => Keep {
                age: keep.age,
                fresh: keep.fresh.min(NOTHING_MAX),
                ..Keep::default()
            },
        };
        let answer = Answer::item(value, said, keep);
        let weight = answer.weight();
        let item = Stored::new(Arc::new(answer), weight, keep).labelled(self.label);
        freshness(&self.cache.put(self.ticket, key, item))
    }
}

/// One request in the background.
struct Renewal {
    core: Core,
    route: usize,
    call: usize,
    made: Made,
    reshaping: Option<Reshaping>,
    /// Keys as they are asked for.
    asked: Vec<Bytes>,
    claimed: Claimed,
    ticket: Ticket,
    label: String,
}

impl Run<'_> {
    /// Renews these items of a batch, as far as nobody does so already. Nobody waits for it.
    pub(super) fn renew(&self, call: usize, items: Vec<(Bytes, CacheKey)>, ticket: Ticket, label: &str) {
        let Some(answers) = &self.core.gateway().answers else { return };
        let unclaimed: Vec<(Bytes, CacheKey)> = items.into_iter().filter(|(_, key)| answers.renewals.claim(*key)).collect();
        for chunk in unclaimed.chunks(KEYS_PER_REQUEST) {
            let (asked, keys): (Vec<Bytes>, Vec<CacheKey>) = chunk.iter().cloned().unzip();
            // From here on they are given back, whatever happens.
            let claimed = Claimed {
                all: answers.renewals.clone(),
                keys,
            };
            let known = self.known(Item::Keys(&asked));
            let setup = &self.core.gateway().setups[self.index][call];
            let Ok(made) = connector::request(&self.route.calls[call], setup, &known, self.shared) else {
                continue;
            };
            let renewal = Renewal {
                reshaping: self.reshaping(call, &known),
                core: self.core.clone(),
                route: self.index,
                call,
                made,
                asked,
                claimed,
                ticket,
                label: label.to_string(),
            };
            let limit = Deadline::after(self.route.deadline);
            self.core.client().background().spawn("renewal", limit, renewal.run(limit));
        }
    }
}

impl Renewal {
    /// Asks, and keeps what comes. What fails is left as it was.
    async fn run(self, deadline: Deadline) {
        let gateway = self.core.gateway();
        let plan = &gateway.plan.routes[self.route];
        let call = &plan.calls[self.call];
        let setup = &gateway.setups[self.route][self.call];
        let end = connector::exchange(&self.core, call, setup, self.made, deadline).await;
        let (Some(keep), Some(answers)) = (end.kept.and_then(|kept| kept.items), &gateway.answers) else {
            return;
        };
        let answer = match (end.result, self.reshaping) {
            (Ok(answer), None) => Ok(answer),
            (Ok(answer), Some(reshaping)) => {
                let input = Input::Value(answer);
                reshaping.apply(input, self.core.compute(), &plan.pattern, deadline).await
            }
            (Err(error), _) => Err(error),
        };
        let (Ok(answer), Some(ListKind::Batch(matching))) = (answer, call.list.as_ref().map(|list| &list.kind)) else {
            return;
        };
        let Ok(found) = matching::matched(matching, &answer, &self.asked) else {
            return;
        };
        let shelf = Shelf {
            cache: answers.store.cache(),
            ticket: self.ticket,
            label: &self.label,
        };
        for (key, value) in self.claimed.keys.iter().zip(found) {
            // Bytes of its own: it lies in the answer to many keys.
            let value = value.map(|value| Bytes::copy_from_slice(&value));
            shelf.put(*key, value, keep, end.freshness.unwrap_or_default());
        }
    }
}
