//! What calls with `into` give goes where they say: into a copy of the answer that they add to, byte for byte the same but for that.

use anabranch::Outcome;
use bytes::Bytes;

use super::{Ended, Run};
use crate::json::{self, Place};
use crate::plan::{IntoPlan, RoutePlan};

impl Run<'_> {
    /// Puts everything that was added into the answers that the reply is made of. Once all has ended: until then other calls see these
    /// answers as they were fetched.
    pub(super) fn join(&mut self) {
        if self.lost.is_some() {
            return;
        }
        for call in &self.route.joins {
            let Some(into) = place_of(self.route, *call) else { continue };
            let joined = self.added(into, self.value_of(*call));
            if let (Some(joined), Some(ended)) = (joined, &mut self.ended[into.call]) {
                ended.replace_value(joined);
            }
        }
    }

    /// Keeps what a call adds to with that in its place, for the calls that refer to it.
    pub(super) fn join_for_others(&mut self, call: usize) {
        if !self.route.calls[call].list.as_ref().is_some_and(|list| list.is_entered) {
            return;
        }
        let mut value = self.value_of(call).cloned();
        let mut from = call;
        while let Some(into) = place_of(self.route, from) {
            value = self.added(into, value.as_ref());
            from = into.call;
        }
        if self.joined.is_empty() {
            self.joined.resize(self.route.calls.len(), None);
        }
        self.joined[call] = value;
    }

    /// The answer that a call adds to, with these values in their places; null where there are none. None where there is no answer.
    fn added(&self, into: &IntoPlan, values: Option<&Bytes>) -> Option<Bytes> {
        let document = self.value_of(into.call)?;
        let place = Place {
            list: &into.list,
            inside: &into.inside,
            key: &into.key,
        };
        let values = values.map_or(json::NULL, |values| values);
        Some(Bytes::from(json::add_to_each(document, place, json::items(values))))
    }

    fn value_of(&self, call: usize) -> Option<&Bytes> {
        self.ended[call].as_ref().and_then(Ended::value)
    }
}

/// Where a call adds to another.
fn place_of(route: &RoutePlan, call: usize) -> Option<&IntoPlan> {
    route.calls[call].list.as_ref()?.into.as_ref()
}

impl Ended {
    fn replace_value(&mut self, new: Bytes) {
        if let Outcome::Ok(value) | Outcome::Stale(value, _) | Outcome::Fallback(value, _) = &mut self.outcome {
            *value = new;
        }
    }
}
