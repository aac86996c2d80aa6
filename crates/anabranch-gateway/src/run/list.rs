//! A call that is made for the items of a list: one request per item (`each`), or one for many keys (`batch`).
//!
//! Its requests are children of the run like other calls, a few of them at once. What it gives is a list with one place per item, in
//! their order, however they end.

use std::collections::HashMap;
use std::time::Duration;

use anabranch::{Attempt, CallError, CallReport, Kind, Settled};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::ended::{Freshness, Items};
use super::matching;
use super::scope::Item;
use super::{Ended, Key, Lost, Run, late, not_needed};
use crate::connector::{self, CallEnd};
use crate::json;
use crate::plan::{Action, ListKind, ListPlan, Reference, Root};
use crate::render::{self, Given, RenderFault, Scope, is_from_client};
use crate::respond::problem::Problem;

/// Keys that one request of a batch asks for.
const KEYS_PER_REQUEST: usize = 50;
/// What the answers of one list may hold together, and what its list may be, in bytes: without it a thousand answers of the size that
/// one may have would be held at once, and an answer that many places share would be written out for each of them.
const LIST_MAX: usize = 64 << 20;

/// What is known of one such call.
#[derive(Default)]
pub(super) struct List {
    /// What is asked for: items, or keys, each once.
    items: Vec<Bytes>,
    /// What came for each of them.
    answers: Vec<Answer>,
    /// The places of the list that it gives.
    places: Vec<Place>,
    /// Items that one request asks for.
    per_request: usize,
    /// The number of the next request.
    next: usize,
    under_way: usize,
    /// When each request started, from the start of the first.
    starts: Vec<Duration>,
    /// Size of the answers so far.
    held: usize,
    /// Why the first request to fail did.
    error: Option<CallError>,
    freshness: Option<Freshness>,
    /// Response headers that go on to the client, with the number of their request.
    forward: Vec<(u32, HeaderName, HeaderValue)>,
    attempts: Vec<Attempt>,
}

/// What came for an item or a key.
enum Answer {
    Value(Bytes),
    /// The source has none for this key: null, and no failure.
    Nothing,
    /// Its request failed, or has not ended.
    None,
}

/// One place of the list.
#[derive(Clone, Copy)]
enum Place {
    /// Null: `when` said no, or there is no key.
    NotAsked,
    /// The item or key with this number.
    Item(usize),
    /// What stands there can be no key.
    NoKey,
}

impl<'a> Run<'a> {
    /// Starts as many requests of the call as may be under way at once, or ends it.
    pub(super) fn begin_list(&mut self, call: usize, plan: &'a ListPlan) {
        let list = match self.open(call, plan) {
            Ok(list) => list,
            Err(ended) => return self.settle(call, ended),
        };
        // All of them count before the first is sent, so that a list is asked for whole or not at all.
        let most = self.core.gateway().plan.max_calls;
        if self.calls_made + list.requests() > most {
            let error = CallError::new(Kind::TooMany, format!("its {} requests are more than the {most} calls of one request allow", list.requests()));
            return self.settle(call, Ended::failed(error, None, Duration::ZERO));
        }
        self.calls_made += list.requests();
        if self.lists.is_empty() {
            self.lists.resize_with(self.route.calls.len(), || None);
        }
        self.lists[call] = Some(Box::new(list));
        self.ask_more(call, plan);
    }

    /// The list as it is before anything is asked.
    fn open(&self, call: usize, plan: &ListPlan) -> Result<List, Ended> {
        let Some(items) = self.items_of(&plan.over) else {
            return Err(Ended::skipped(plan.over.text.clone()));
        };
        if items.len() > plan.max_items {
            let message = format!("`{}` has {} items, and `max_items` is {}", plan.over.text, items.len(), plan.max_items);
            return Err(Ended::failed(CallError::new(Kind::TooMany, message), None, Duration::ZERO));
        }
        Ok(match &plan.kind {
            ListKind::Each { when_by_item } => {
                let when = self.route.calls[call].when.as_ref().filter(|_| *when_by_item);
                List::of_items(items, |item| when.is_none_or(|when| render::holds(when, &self.known(Item::It(item)))))
            }
            ListKind::Batch(_) => List::of_keys(items),
        })
    }

    /// The items that a reference leads to; None where there is no list.
    fn items_of(&self, over: &Reference) -> Option<Vec<Bytes>> {
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
        while let Some(list) = &mut self.lists[call]
            && list.next < list.requests()
            && list.under_way < plan.width
            && self.lost.is_none()
        {
            let request = list.next;
            list.next += 1;
            let started = self.ask(call, plan, request);
            if let Some(list) = &mut self.lists[call] {
                match started {
                    Ok(()) => list.under_way += 1,
                    Err(error) => list.fail(error),
                }
            }
        }
        let has_ended = self.lists[call].as_ref().is_some_and(|list| list.under_way == 0 && list.next == list.requests());
        if has_ended && self.lost.is_none() {
            self.end_list(call);
        }
    }

    /// Starts one request.
    fn ask(&mut self, call: usize, plan: &ListPlan, request: usize) -> Result<(), CallError> {
        if self.under_way.end().has_passed() {
            return Err(if self.is_cut { not_needed() } else { late() });
        }
        let call_plan = &self.route.calls[call];
        let (Action::Http(action), Some(list)) = (&call_plan.action, &self.lists[call]) else {
            return Err(CallError::new(Kind::Cancelled, "only a request is made for the items of a list"));
        };
        let gateway = self.core.gateway();
        let setup = &gateway.setups[self.index][call];
        let item = match plan.kind {
            ListKind::Each { .. } => Item::It(&list.items[request]),
            ListKind::Batch(_) => Item::Keys(list.of_request(request)),
        };
        let request_made = match connector::request(action, setup, &self.known(item), self.shared) {
            Ok(made) => made,
            Err(fault) => return Err(self.not_sent(plan, fault)),
        };
        let source = &gateway.sources[action.source];
        let exchange = connector::exchange(self.core, source, call_plan, setup, request_made, self.calls_until);
        let started = self.under_way.start(Key::new(call, request), exchange);
        let first = *self.started[call].get_or_insert(started);
        if let Some(list) = &mut self.lists[call] {
            list.starts.resize(request, Duration::ZERO);
            list.starts.push(started.duration_since(first));
        }
        Ok(())
    }

    /// A request that cannot be written fails its item alone, unless it is the client's doing.
    fn not_sent(&mut self, plan: &ListPlan, fault: RenderFault) -> CallError {
        let (reference, from_client, why) = match fault {
            RenderFault::Missing(reference) => return CallError::new(Kind::Cancelled, format!("not asked: `{reference}` is missing")),
            RenderFault::BadValue { reference, from_client, why } => (reference, from_client, why),
        };
        let is_item = reference.starts_with("$it") || reference.starts_with("$keys");
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
        let (Some(plan), Some(Some(list))) = (self.route.calls[call].list.as_deref(), self.lists.get_mut(call)) else { return };
        list.under_way -= 1;
        match settled {
            Settled::Done(end) => list.take(key.request, end, plan),
            Settled::TimedOut => list.fail(late()),
            Settled::Cancelled(_) => list.fail(not_needed()),
            Settled::Panicked(message) => list.fail(CallError::new(Kind::Panic, message)),
        }
        self.ask_more(call, plan);
    }

    fn end_list(&mut self, call: usize) {
        let Some(list) = &mut self.lists[call] else { return };
        let started = self.started[call];
        let took = started.map_or(Duration::ZERO, |started| started.elapsed());
        let started = started.map(|started: Instant| started.duration_since(self.arrived));
        let ended = list.end(started, took);
        self.settle(call, ended);
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

impl List {
    /// One request for each item that is wanted.
    fn of_items(all: Vec<Bytes>, is_wanted: impl Fn(&Bytes) -> bool) -> List {
        let mut list = List { per_request: 1, places: Vec::with_capacity(all.len()), ..List::default() };
        for item in all {
            if is_wanted(&item) {
                list.places.push(Place::Item(list.items.len()));
                list.items.push(item);
            } else {
                list.places.push(Place::NotAsked);
            }
        }
        list.with_answers()
    }

    /// A request for every so many keys, each asked for once. Keys are the same when their text is.
    fn of_keys(all: Vec<Bytes>) -> List {
        let mut list = List { per_request: KEYS_PER_REQUEST, places: Vec::with_capacity(all.len()), ..List::default() };
        let mut known = HashMap::new();
        for key in &all {
            list.places.push(match json::scalar_text(key) {
                None if key == json::NULL => Place::NotAsked,
                None => Place::NoKey,
                Some(text) => {
                    let number = *known.entry(text).or_insert(list.items.len());
                    if number == list.items.len() {
                        list.items.push(key.clone());
                    }
                    Place::Item(number)
                }
            });
        }
        list.with_answers()
    }

    fn with_answers(mut self) -> List {
        self.answers.resize_with(self.items.len(), || Answer::None);
        self
    }

    fn requests(&self) -> usize {
        self.items.len().div_ceil(self.per_request)
    }

    /// What one request asks for.
    fn of_request(&self, request: usize) -> &[Bytes] {
        let start = request * self.per_request;
        &self.items[start..self.items.len().min(start + self.per_request)]
    }

    /// Takes the answer to one request.
    fn take(&mut self, request: u32, end: CallEnd, plan: &ListPlan) {
        let CallEnd { result, freshness, forward, report, .. } = end;
        let started = self.starts.get(request as usize).copied().unwrap_or_default();
        self.attempts.extend(report.attempts.into_iter().map(|attempt| Attempt { started: started + attempt.started, ..attempt }));
        self.forward.extend(forward.into_iter().map(|(name, value)| (request, name, value)));
        self.freshness = match (self.freshness, freshness) {
            (Some(one), Some(other)) => Some(shorter(one, other)),
            (one, other) => one.or(other),
        };
        let answers = result.and_then(|answer| self.hold(answer)).and_then(|answer| match &plan.kind {
            ListKind::Each { .. } => Ok(vec![Some(answer.slice_ref(json::trim(&answer)))]),
            ListKind::Batch(matching) => matching::matched(matching, &answer, self.of_request(request as usize)),
        });
        match answers {
            Err(error) => self.fail(error),
            Ok(answers) => {
                let first = request as usize * self.per_request;
                for (slot, answer) in self.answers[first..].iter_mut().zip(answers) {
                    *slot = answer.map_or(Answer::Nothing, Answer::Value);
                }
            }
        }
    }

    fn hold(&mut self, answer: Bytes) -> Result<Bytes, CallError> {
        if self.held + answer.len() > LIST_MAX {
            return Err(CallError::new(Kind::TooLarge, format!("the answers for one list are more than {} MiB", LIST_MAX >> 20)));
        }
        self.held += answer.len();
        Ok(answer)
    }

    /// A request failed: its items keep their place, without an answer.
    fn fail(&mut self, error: CallError) {
        self.error.get_or_insert(error);
    }

    /// The end of the call once every request has ended.
    fn end(&mut self, started: Option<Duration>, took: Duration) -> Ended {
        let (value, failed) = self.value(|_| None);
        let asked = self.places.iter().filter(|place| !matches!(place, Place::NotAsked)).count() as u64;
        let mut ended = Ended::of_items(value, Items { asked, failed, error: self.error.take() }, started, took);
        ended.freshness = self.freshness;
        self.forward.sort_by_key(|(request, ..)| *request);
        ended.forward = self.forward.drain(..).map(|(_, name, value)| (name, value)).collect();
        self.attempts.sort_by_key(|attempt| attempt.started);
        ended.report = CallReport { attempts: std::mem::take(&mut self.attempts), took };
        ended
    }

    /// One place per item, in their order, and how many have no answer; they get what `otherwise` gives, or null.
    fn value(&self, otherwise: impl Fn(&Bytes) -> Option<Bytes>) -> (Bytes, u64) {
        let mut out = vec![b'['];
        let mut failed = 0;
        for (at, place) in self.places.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            // Past the limit nothing is asked of `else` any more.
            let fits = |value: &Bytes| out.len() + value.len() <= LIST_MAX;
            let otherwise = |item: &Bytes| Some(item).filter(|_| out.len() < LIST_MAX).and_then(&otherwise);
            let (value, has_failed) = match place {
                Place::NotAsked => (None, false),
                Place::NoKey => (otherwise(&Bytes::from_static(json::NULL)), true),
                Place::Item(number) => match &self.answers[*number] {
                    Answer::Value(value) => (Some(value.clone()), !fits(value)),
                    Answer::Nothing => (None, false),
                    Answer::None => (otherwise(&self.items[*number]), true),
                },
            };
            failed += u64::from(has_failed);
            let value = value.filter(fits);
            out.extend_from_slice(value.as_deref().unwrap_or(json::NULL));
        }
        out.push(b']');
        (Bytes::from(out), failed)
    }
}

/// What both allow.
fn shorter(one: Freshness, other: Freshness) -> Freshness {
    let left = match (one.left, other.left) {
        (Some(one), Some(other)) => Some(one.min(other)),
        _ => None,
    };
    Freshness { left, no_store: one.no_store || other.no_store, private: one.private || other.private }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn items(texts: &[&str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from(text.to_string())).collect()
    }

    fn each() -> ListPlan {
        plan(ListKind::Each { when_by_item: false })
    }

    fn plan(kind: ListKind) -> ListPlan {
        let over = Reference { root: Root::Body, path: Vec::new(), text: "$body[]".to_string() };
        ListPlan { kind, over, into: None, width: 8, max_items: 1_000, is_entered: false }
    }

    fn answer(body: impl Into<Bytes>) -> CallEnd {
        let freshness = Some(Freshness { left: Some(Duration::from_secs(9)), ..Freshness::default() });
        CallEnd { result: Ok(body.into()), refusal: None, freshness, forward: Vec::new(), report: CallReport::default() }
    }

    fn shown(list: &List) -> String {
        String::from_utf8(list.value(|_| None).0.to_vec()).unwrap()
    }

    #[test]
    fn answers_take_their_place_in_whatever_order_they_come() {
        let mut list = List::of_items(items(&["1", "2", "3", "4"]), |item| item != "3");
        assert_eq!((list.requests(), list.items.len()), (3, 3));
        list.take(2, answer(" 40 "), &each());
        list.take(0, answer("10"), &each());
        list.fail(CallError::new(Kind::Timeout, "late"));
        assert_eq!(shown(&list), "[10,null,null,40]");
        let ended = list.end(None, Duration::ZERO);
        let items = ended.items.as_ref().unwrap();
        assert_eq!((items.asked, items.failed), (3, 1));
        assert_eq!(items.error.as_ref().unwrap().kind(), Kind::Timeout);
        assert!(ended.satisfies() && ended.may_fall_back(true) && !ended.may_fall_back(false));
    }

    #[test]
    fn keys_are_asked_for_once_and_fifty_at_a_time() {
        let texts: Vec<String> = (0..120).map(|number| (number % 101).to_string()).collect();
        let list = List::of_keys(texts.iter().map(|text| Bytes::from(text.clone())).collect());
        assert_eq!((list.items.len(), list.requests(), list.places.len()), (101, 3, 120));
        assert_eq!((list.of_request(0).len(), list.of_request(1).len(), list.of_request(2)), (50, 50, &items(&["100"])[..]));
        let odd = List::of_keys(items(&["1", "\"1\"", "null", "[1]", "\"\\u0031\"", "1.0"]));
        assert_eq!(odd.items, items(&["1", "1.0"]));
        let ended = { odd }.end(None, Duration::ZERO);
        let counted = ended.items.as_ref().map(|items| (items.asked, items.failed));
        assert_eq!(counted, Some((5, 5)), "null is no key, a list can be none");
        assert_eq!(List::of_keys(Vec::new()).requests(), 0);
    }

    #[test]
    fn the_answers_of_one_list_are_bounded_together() {
        let mut list = List::of_items(items(&["1", "2", "3"]), |_| true);
        let large = Bytes::from(vec![b'7'; LIST_MAX / 2]);
        list.take(0, answer(large.clone()), &each());
        list.take(1, answer(large.clone()), &each());
        list.take(2, answer("3"), &each());
        assert_eq!(list.error.as_ref().unwrap().kind(), Kind::TooLarge);
        // Two of them and what stands around them are a little more than the limit: the second has no place.
        let (value, failed) = list.value(|_| None);
        assert_eq!((value.len(), failed), (1 + LIST_MAX / 2 + ",null,null]".len(), 2));
    }

    #[test]
    fn an_answer_for_many_places_is_not_written_out_without_end() {
        let mut list = List::of_keys(vec![Bytes::from_static(b"1"); 1_000]);
        let author = format!("{{\"id\":1,\"text\":\"{}\"}}", "x".repeat(1 << 20));
        let matching = crate::plan::Matching::Field { list: Vec::new(), key: vec![crate::plan::Hop::Field("id".to_string())] };
        list.take(0, answer(format!("[{author}]")), &plan(ListKind::Batch(matching)));
        let (value, failed) = list.value(|_| None);
        assert!(value.len() <= LIST_MAX + 5 * 1_000 && value.len() > LIST_MAX - (2 << 20));
        assert_eq!(failed, 1_000 - (LIST_MAX / (author.len() + 1)) as u64);
    }

    #[test]
    fn else_is_asked_for_each_item_that_failed_until_the_list_is_full() {
        let list = List::of_items(items(&["1", "2"]), |_| true);
        let (value, failed) = list.value(|item| Some(Bytes::from([b"[", &item[..], b"]"].concat())));
        assert_eq!((&value[..], failed), (&b"[[1],[2]]"[..], 2));
        let list = List::of_items(items(&["1"; 100]), |_| true);
        let large = Bytes::from(vec![b'7'; LIST_MAX / 4]);
        let (value, failed) = list.value(|_| Some(large.clone()));
        assert!(value.len() <= LIST_MAX + 500 && failed == 100);
    }

    #[test]
    fn a_list_is_as_fresh_as_its_oldest_answer() {
        let of = |seconds: Option<u64>| Freshness { left: seconds.map(Duration::from_secs), ..Freshness::default() };
        assert_eq!(shorter(of(Some(3)), of(Some(2))), of(Some(2)));
        assert_eq!(shorter(of(Some(3)), of(None)), of(None));
        let private = Freshness { private: true, no_store: true, ..of(Some(1)) };
        assert_eq!(shorter(of(Some(3)), private), private);
    }
}
