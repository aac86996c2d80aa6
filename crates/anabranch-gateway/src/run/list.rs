//! What is known of a call that is made for the items of a list: one request per item (`each`), or one for many keys (`batch`).
//!
//! It gives a list with one place per item, in their order, however the requests end. When they start is said by `requests`.

use std::collections::HashMap;
use std::time::Duration;

use anabranch::{Attempt, CallError, CallReport, Kind};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Ended;
use super::ended::{Freshness, Items};
use super::matching;
use crate::connector::{CallEnd, Origin};
use crate::json;
use crate::plan::{KEYS_PER_REQUEST, ListKind, ListPlan};

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
    /// The age of the oldest answer among those that are stale.
    stale: Option<Duration>,
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

impl List {
    /// One request for each item that is wanted.
    pub(super) fn of_items(all: Vec<Bytes>, is_wanted: impl Fn(&Bytes) -> bool) -> List {
        let mut list = List {
            per_request: 1,
            places: Vec::with_capacity(all.len()),
            ..List::default()
        };
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
    pub(super) fn of_keys(all: Vec<Bytes>) -> List {
        let mut list = List {
            per_request: KEYS_PER_REQUEST,
            places: Vec::with_capacity(all.len()),
            ..List::default()
        };
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

    pub(super) fn requests(&self) -> usize {
        self.items.len().div_ceil(self.per_request)
    }

    /// The number of the next request; None where all have been given out, or as many are under way as may be. Each that is given out
    /// ends with [`take`](List::take) or [`fail`](List::fail), whether or not it was sent.
    pub(super) fn next(&mut self, width: usize) -> Option<usize> {
        if self.next == self.requests() || self.under_way == width {
            return None;
        }
        self.under_way += 1;
        self.next += 1;
        Some(self.next - 1)
    }

    /// Notes when a request was sent, from the first of them.
    pub(super) fn has_started(&mut self, request: usize, after: Duration) {
        self.starts.resize(request, after);
        self.starts.push(after);
    }

    /// Whether every request has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.under_way == 0 && self.next == self.requests()
    }

    /// What one request asks for; at least one item or key.
    pub(super) fn of_request(&self, request: usize) -> &[Bytes] {
        let start = request * self.per_request;
        &self.items[start..self.items.len().min(start + self.per_request)]
    }

    /// Takes the answer to one request.
    pub(super) fn take(&mut self, request: u32, end: CallEnd, plan: &ListPlan) {
        let CallEnd {
            result,
            freshness,
            forward,
            report,
            origin,
            ..
        } = end;
        if let Origin::Stale(age) = origin {
            self.stale = self.stale.max(Some(age));
        }
        let started = self.starts.get(request as usize).copied().unwrap_or_default();
        self.attempts.extend(report.attempts.into_iter().map(|attempt| Attempt {
            started: started + attempt.started,
            ..attempt
        }));
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
                self.under_way -= 1;
                let first = request as usize * self.per_request;
                for (slot, answer) in self.answers[first..].iter_mut().zip(answers) {
                    *slot = answer.map_or(Answer::Nothing, Answer::Value);
                }
            }
        }
    }

    fn hold(&mut self, answer: Bytes) -> Result<Bytes, CallError> {
        if self.held + answer.len() > LIST_MAX {
            return Err(CallError::new(
                Kind::TooLarge,
                format!("the answers for one list are more than {} MiB", LIST_MAX >> 20),
            ));
        }
        self.held += answer.len();
        Ok(answer)
    }

    /// A request failed: its items keep their place, without an answer.
    pub(super) fn fail(&mut self, error: CallError) {
        self.under_way -= 1;
        self.error.get_or_insert(error);
    }

    /// The end of the call once every request has ended.
    pub(super) fn end(&mut self, started: Option<Duration>, took: Duration) -> Ended {
        let (value, failed) = self.value(|_| None);
        let asked = self.places.iter().filter(|place| !matches!(place, Place::NotAsked)).count() as u64;
        let mut ended = Ended::of_items(
            value,
            Items {
                asked,
                failed,
                error: self.error.take(),
                stale: self.stale,
            },
            started,
            took,
        );
        ended.freshness = self.freshness;
        self.forward.sort_by_key(|(request, ..)| *request);
        ended.forward = self.forward.drain(..).map(|(_, name, value)| (name, value)).collect();
        self.attempts.sort_by_key(|attempt| attempt.started);
        ended.report = CallReport {
            attempts: std::mem::take(&mut self.attempts),
            took,
        };
        ended
    }

    /// One place per item, in their order, and how many have no answer; they get what `otherwise` gives, or null.
    pub(super) fn value(&self, otherwise: impl Fn(&Bytes) -> Option<Bytes>) -> (Bytes, u64) {
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
    Freshness {
        left,
        no_store: one.no_store || other.no_store,
        private: one.private || other.private,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{Hop, Matching, Reference, Root};

    fn items(texts: &[&str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::from(text.to_string())).collect()
    }

    fn each() -> ListPlan {
        plan(ListKind::Each { when_by_item: false })
    }

    fn plan(kind: ListKind) -> ListPlan {
        let over = Reference {
            root: Root::Body,
            path: Vec::new(),
            text: "$body[]".to_string(),
        };
        ListPlan {
            kind,
            over,
            into: None,
            width: 8,
            max_items: 1_000,
            is_entered: false,
        }
    }

    fn answer(body: impl Into<Bytes>) -> CallEnd {
        let freshness = Some(Freshness {
            left: Some(Duration::from_secs(9)),
            ..Freshness::default()
        });
        CallEnd {
            result: Ok(body.into()),
            refusal: None,
            freshness,
            forward: Vec::new(),
            report: CallReport::default(),
            origin: Origin::Source,
        }
    }

    /// The list with all its requests under way.
    fn asking(mut list: List) -> List {
        while list.next(usize::MAX).is_some() {}
        list
    }

    fn shown(list: &List) -> String {
        String::from_utf8(list.value(|_| None).0.to_vec()).unwrap()
    }

    #[test]
    fn answers_take_their_place_in_whatever_order_they_come() {
        let mut list = List::of_items(items(&["1", "2", "3", "4"]), |item| item != "3");
        assert_eq!((list.requests(), list.items.len()), (3, 3));
        assert_eq!((list.next(2), list.next(2), list.next(2)), (Some(0), Some(1), None));
        list.take(0, answer("10"), &each());
        assert_eq!((list.next(2), list.next(2), list.has_ended()), (Some(2), None, false));
        list.take(2, answer(" 40 "), &each());
        list.fail(CallError::new(Kind::Timeout, "late"));
        assert!(list.has_ended());
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
        assert_eq!(
            (list.of_request(0).len(), list.of_request(1).len(), list.of_request(2)),
            (50, 50, &items(&["100"])[..])
        );
        let odd = List::of_keys(items(&["1", "\"1\"", "null", "[1]", "\"\\u0031\"", "1.0"]));
        assert_eq!(odd.items, items(&["1", "1.0"]));
        let ended = { odd }.end(None, Duration::ZERO);
        let counted = ended.items.as_ref().map(|items| (items.asked, items.failed));
        assert_eq!(counted, Some((5, 5)), "null is no key, a list can be none");
        assert_eq!(List::of_keys(Vec::new()).requests(), 0);
    }

    #[test]
    fn the_answers_of_one_list_are_bounded_together() {
        let mut list = asking(List::of_items(items(&["1", "2", "3"]), |_| true));
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
        let mut list = asking(List::of_keys(vec![Bytes::from_static(b"1"); 1_000]));
        let author = format!("{{\"id\":1,\"text\":\"{}\"}}", "x".repeat(1 << 20));
        let matching = Matching::Field {
            list: Vec::new(),
            key: vec![Hop::Field("id".to_string())],
        };
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
        let of = |seconds: Option<u64>| Freshness {
            left: seconds.map(Duration::from_secs),
            ..Freshness::default()
        };
        assert_eq!(shorter(of(Some(3)), of(Some(2))), of(Some(2)));
        assert_eq!(shorter(of(Some(3)), of(None)), of(None));
        let private = Freshness {
            private: true,
            no_store: true,
            ..of(Some(1))
        };
        assert_eq!(shorter(of(Some(3)), private), private);
    }
}
