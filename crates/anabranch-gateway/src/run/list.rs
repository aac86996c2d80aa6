//! What is known of a call that is made for the items of a list: one request per item (`each`), or one for many keys (`batch`).
//!
//! It gives a list with one place per item, in their order, however the requests end. When they start is said by `requests`.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use anabranch::{Attempt, CallError, CallReport, Kind};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::Ended;
use super::ended::{Freshness, Items};
use super::kept::KeptItems;
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
    pub(super) items: Vec<Bytes>,
    /// How many of them, the first, are asked for; there are answers to the others.
    pub(super) to_ask: usize,
    /// What came for each of them.
    pub(super) answers: Vec<Answer>,
    /// What is kept of them, where single items are.
    pub(super) kept: Option<Box<KeptItems>>,
    /// The places of the list that it gives.
    pub(super) places: Vec<Place>,
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
    pub(super) stale: Option<Duration>,
    /// Response headers that go on to the client, with the number of their request.
    forward: Vec<(u32, HeaderName, HeaderValue)>,
    attempts: Vec<Attempt>,
}

/// What came for an item or a key.
pub(super) enum Answer {
    Value(Bytes),
    /// The source has none for this key: null, and no failure.
    Nothing,
    /// Its request failed, or has not ended.
    None,
}

/// One place of the list.
#[derive(Clone, Copy)]
pub(super) enum Place {
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
        self.to_ask = self.items.len();
        self
    }

    pub(super) fn requests(&self) -> usize {
        self.to_ask.div_ceil(self.per_request)
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
        &self.items[self.numbers(request)]
    }

    /// The numbers of these items.
    pub(super) fn numbers(&self, request: usize) -> Range<usize> {
        let start = request * self.per_request;
        start..self.to_ask.min(start + self.per_request)
    }

    /// Counts another answer that it is made of.
    pub(super) fn is_as_fresh_as(&mut self, other: Freshness) {
        self.freshness = Some(self.freshness.map_or(other, |one| shorter(one, other)));
    }

    /// Takes the answer to one request; whether it is one that items were found in.
    pub(super) fn take(&mut self, request: u32, end: CallEnd, plan: &ListPlan) -> bool {
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
        if let Some(freshness) = freshness {
            self.is_as_fresh_as(freshness);
        }
        let answers = result.and_then(|answer| self.hold(answer)).and_then(|answer| match &plan.kind {
            ListKind::Each { .. } => Ok(vec![Some(answer.slice_ref(json::trim(&answer)))]),
            ListKind::Batch(matching) => matching::matched(matching, &answer, self.of_request(request as usize)),
        });
        match answers {
            Err(error) => {
                self.fail(request as usize, error);
                false
            }
            Ok(answers) => {
                self.under_way -= 1;
                let first = request as usize * self.per_request;
                for (slot, answer) in self.answers[first..].iter_mut().zip(answers) {
                    *slot = answer.map_or(Answer::Nothing, Answer::Value);
                }
                true
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

    /// A request failed: its items keep their place, with what was kept of them or without an answer.
    pub(super) fn fail(&mut self, request: usize, error: CallError) {
        self.under_way -= 1;
        self.stand_in(request);
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
        if let Some(of_kept) = self.kept.as_ref().and_then(|kept| kept.freshness()) {
            self.is_as_fresh_as(of_kept);
        }
        ended.freshness = self.freshness;
        ended.is_hit = self.to_ask == 0 && self.stale.is_none() && self.kept.as_ref().is_some_and(|kept| kept.hits > 0);
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
pub(super) fn shorter(one: Freshness, other: Freshness) -> Freshness {
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

    use anabranch::policy::{Cache, CacheKey, Jitter, Keep};

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
            kept: None,
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
        list.fail(1, CallError::new(Kind::Timeout, "late"));
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

    fn by_key() -> ListPlan {
        plan(ListKind::Batch(Matching::Key))
    }

    /// Keys of a cache by the text of an item; none for those that are not listed.
    fn keys_of(list: &List, known: &str) -> Vec<Option<CacheKey>> {
        let key = |item: &Bytes| CacheKey::of_source("users").value(item).key();
        list.items
            .iter()
            .map(|item| known.contains(&*String::from_utf8_lossy(item)).then(|| key(item)))
            .collect()
    }

    const MINUTE: Keep = Keep {
        age: Duration::ZERO,
        fresh: Duration::from_secs(60),
        while_renewed: Duration::ZERO,
        if_failed: Duration::from_secs(60),
        to_compare: Duration::ZERO,
        jitter: Jitter::Around,
    };

    #[tokio::test(start_paused = true)]
    async fn only_what_is_not_kept_is_asked_for_and_the_places_stay() {
        let cache = Cache::without_jitter(1 << 20);
        let said = Freshness {
            left: Some(Duration::from_secs(60)),
            ..Freshness::default()
        };
        let recalled = |texts: &[&str]| {
            let mut list = List::of_keys(items(texts));
            let keys = keys_of(&list, "1234");
            list.recall(keys, "users /users".to_string(), &cache);
            list
        };
        let mut first = asking(recalled(&["1", "2", "3", "9"]));
        first.take(0, answer(r#"{"1":"a","2":"b","9":"z"}"#), &by_key());
        first.keep(0, MINUTE, said, &cache);
        assert_eq!(shown(&first), r#"["a","b",null,"z"]"#);
        assert_eq!(cache.counts().entries, 3, "an item without a key is not kept");
        let mut second = asking(recalled(&["4", "2", "3", "4", "null", "1", "9"]));
        assert_eq!(second.of_request(0), items(&["4", "9"]));
        second.take(0, answer(r#"{"4":"d","9":"y"}"#), &by_key());
        assert_eq!(shown(&second), r#"["d","b",null,"d",null,"a","y"]"#);
        let ended = second.end(None, Duration::ZERO);
        assert_eq!(ended.items.as_ref().map(|items| (items.asked, items.failed)), Some((6, 0)));
        assert_eq!(
            ended.freshness.and_then(|freshness| freshness.left),
            Some(Duration::from_secs(1)),
            "of nothing for 3"
        );
        let mut third = recalled(&["2", "1"]);
        assert_eq!((third.requests(), third.has_ended()), (0, true));
        assert!(third.end(None, Duration::ZERO).is_hit);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_whose_request_fails_takes_what_was_kept_for_it() {
        let cache = Cache::without_jitter(1 << 20);
        let recalled = || {
            let mut list = List::of_keys(items(&["1", "2"]));
            let keys = keys_of(&list, "12");
            list.recall(keys, String::new(), &cache);
            asking(list)
        };
        let mut list = recalled();
        list.take(0, answer(r#"{"1":"a"}"#), &by_key());
        list.keep(0, MINUTE, Freshness::default(), &cache);
        let pass = async |seconds: u64| anabranch::Deadline::after(Duration::from_secs(seconds)).wait().await;
        pass(70).await;
        let mut list = recalled();
        list.fail(0, CallError::new(Kind::Timeout, "late"));
        assert_eq!(shown(&list), r#"["a",null]"#);
        let ended = list.end(None, Duration::ZERO);
        let items = ended.items.as_ref().unwrap();
        assert_eq!((items.failed, items.stale), (1, Some(Duration::from_secs(70))));
        pass(50).await;
        let mut list = recalled();
        list.fail(0, CallError::new(Kind::Timeout, "late"));
        assert_eq!(list.value(|_| None).1, 2, "too old by now");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_purged_while_it_was_asked_for_is_not_kept() {
        let cache = Cache::without_jitter(1 << 20);
        let mut list = List::of_keys(items(&["1"]));
        let keys = keys_of(&list, "1");
        list.recall(keys, "users /users".to_string(), &cache);
        let mut list = asking(list);
        cache.purge("users");
        list.take(0, answer(r#"{"1":"a"}"#), &by_key());
        list.keep(0, MINUTE, Freshness::default(), &cache);
        assert_eq!((shown(&list).as_str(), cache.counts().entries), (r#"["a"]"#, 0));
    }
}
