//! Calls over a store, against a source that answers, fails or dawdles as told.

#![allow(
    clippy::disallowed_methods,
    reason = "time that passes, a source that takes it; the clock is paused"
)]

use super::*;
use crate::policy::{Keep, Times};
use futures_util::FutureExt;
use proptest::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::yield_now;
use tokio::time::{advance, sleep, Instant};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const CACHE_1M: Times = Times {
    fresh: MINUTE,
    stale: Duration::ZERO,
};
const CACHE_1M_STALE_1H: Times = Times {
    fresh: MINUTE,
    stale: HOUR,
};
const STALE_1H: Times = Times {
    fresh: Duration::ZERO,
    stale: HOUR,
};
const NEITHER: Times = Times {
    fresh: Duration::ZERO,
    stale: Duration::ZERO,
};

/// How the source takes the next calls.
#[derive(Clone, Copy)]
enum Mood {
    Answers,
    Fails,
    Panics,
}

/// A source whose answers are numbered, and a store before it.
#[derive(Clone)]
struct Scene {
    store: Store<u64>,
    background: Background,
    source: Arc<Mutex<Source>>,
}

struct Source {
    mood: Mood,
    takes: Duration,
    asked: u64,
    /// The answers that calls brought along to compare.
    brought: Vec<Option<u64>>,
}

impl Scene {
    fn new() -> Self {
        let source = Source {
            mood: Mood::Answers,
            takes: Duration::ZERO,
            asked: 0,
            brought: Vec::new(),
        };
        Scene {
            store: Store::new(Cache::without_jitter(1 << 20)),
            background: Background::new(),
            source: Arc::new(Mutex::new(source)),
        }
    }

    fn source<T>(&self, look: impl FnOnce(&mut Source) -> T) -> T {
        look(&mut self.source.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn feels(&self, mood: Mood, takes: Duration) {
        self.source(|source| (source.mood, source.takes) = (mood, takes));
    }

    fn asked(&self) -> u64 {
        self.source(|source| source.asked)
    }

    async fn call(&self, times: Times) -> Stored<u64> {
        self.call_within(times, SECOND * 5).await
    }

    async fn call_within(&self, times: Times, limit: Duration) -> Stored<u64> {
        self.ask(times, limit, false).await
    }

    async fn call_alone(&self, times: Times) -> Stored<u64> {
        self.ask(times, SECOND * 5, true).await
    }

    async fn ask(&self, times: Times, limit: Duration, alone: bool) -> Stored<u64> {
        let key = CacheKey::of_source("test").url("/").key();
        let asking = Asking {
            background: &self.background,
            flight_limit: SECOND * 10,
            failure: times.failure(),
            deadline: Deadline::after(limit),
            alone,
        };
        let scene = self.clone();
        let fetch = move |old: Option<Held<u64>>| async move {
            let (mood, takes, number) = scene.source(|source| {
                source.asked += 1;
                source.brought.push(old.map(|old| *old.value()));
                (source.mood, source.takes, source.asked)
            });
            sleep(takes).await;
            match mood {
                Mood::Answers => Ok(Item::new(number, 10, times)),
                Mood::Fails => Err(CallError::new(Kind::Reset, "by the peer")),
                Mood::Panics => panic!("out of hand"),
            }
        };
        self.store.answer(key, asking, fetch).await
    }

    fn caller(&self, times: Times, limit: Duration) -> tokio::task::JoinHandle<Stored<u64>> {
        let scene = self.clone();
        tokio::spawn(async move { scene.call_within(times, limit).await })
    }
}

/// The outcome in words: `ok 1`, `stale 1 at 60s because reset`, `failed reset`; and how.
fn told(stored: &Stored<u64>) -> (String, How) {
    let outcome = match &stored.outcome {
        Outcome::Ok(value) => format!("ok {value}"),
        Outcome::Stale(value, age) => {
            let because = stored
                .error
                .as_ref()
                .map(|error| format!(" because {}", error.kind()))
                .unwrap_or_default();
            format!("stale {value} at {}s{because}", age.as_secs())
        }
        Outcome::Failed(error) => format!("failed {}", error.kind()),
        other => format!("{other:?}"),
    };
    (outcome, stored.how)
}

#[track_caller]
fn expect(stored: &Stored<u64>, outcome: &str, how: How) {
    assert_eq!(told(stored), (outcome.to_string(), how));
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_answer_is_served_until_it_is_not() {
    let scene = Scene::new();
    let first = scene.call(CACHE_1M).await;
    expect(&first, "ok 1", How::Miss);
    assert_eq!((first.age, first.fresh_for), (Duration::ZERO, MINUTE));
    advance(SECOND * 59).await;
    let second = scene.call(CACHE_1M).await;
    expect(&second, "ok 1", How::Hit);
    assert_eq!((second.age, second.fresh_for), (SECOND * 59, SECOND));
    advance(SECOND).await;
    expect(&scene.call(CACHE_1M).await, "ok 2", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn equal_calls_at_once_are_collapsed_whether_or_not_the_answer_is_kept() {
    for times in [CACHE_1M, NEITHER] {
        let scene = Scene::new();
        scene.feels(Mood::Answers, SECOND);
        let (first, second, third) = tokio::join!(scene.call(times), scene.call(times), scene.call(times));
        expect(&first, "ok 1", How::Miss);
        expect(&second, "ok 1", How::Collapsed);
        expect(&third, "ok 1", How::Collapsed);
        assert_eq!(scene.store.flights(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_made_alone_joins_nobody_and_still_keeps_its_answer() {
    let scene = Scene::new();
    scene.feels(Mood::Answers, SECOND);
    let (first, second) = tokio::join!(scene.call_alone(CACHE_1M), scene.call_alone(CACHE_1M));
    expect(&first, "ok 1", How::Miss);
    expect(&second, "ok 2", How::Miss);
    assert_eq!(scene.store.flights(), 0);
    assert_eq!(scene.call(CACHE_1M).await.how, How::Hit);
    scene.feels(Mood::Fails, SECOND);
    advance(MINUTE).await;
    let cut = tokio::time::timeout(SECOND / 2, scene.call_alone(CACHE_1M)).await;
    assert!(cut.is_err());
    expect(&scene.call_alone(CACHE_1M).await, "failed reset", How::Miss);
    assert_eq!(scene.asked(), 4);
    let scene = Scene::new();
    scene.call(STALE_1H).await;
    scene.feels(Mood::Fails, Duration::ZERO);
    expect(&scene.call_alone(STALE_1H).await, "stale 1 at 0s because reset", How::Stale);
}

#[tokio::test(start_paused = true)]
async fn with_stale_an_answer_is_served_at_once_while_one_flight_renews_it() {
    let scene = Scene::new();
    scene.call(CACHE_1M_STALE_1H).await;
    scene.feels(Mood::Answers, SECOND);
    advance(MINUTE).await;
    let asked_at = Instant::now();
    for _ in 0..5 {
        let stored = scene.call(CACHE_1M_STALE_1H).await;
        expect(&stored, "stale 1 at 60s", How::Stale);
        assert!(stored.error.is_none());
    }
    assert_eq!(asked_at.elapsed(), Duration::ZERO, "nobody waited");
    sleep(SECOND).await;
    settle().await;
    expect(&scene.call(CACHE_1M_STALE_1H).await, "ok 2", How::Hit);
    assert_eq!(scene.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_leaves_the_answer_and_is_not_tried_again_for_a_second() {
    let scene = Scene::new();
    scene.call(CACHE_1M_STALE_1H).await;
    scene.feels(Mood::Fails, Duration::ZERO);
    advance(MINUTE).await;
    expect(&scene.call(CACHE_1M_STALE_1H).await, "stale 1 at 60s", How::Stale);
    settle().await;
    for _ in 0..10 {
        expect(&scene.call(CACHE_1M_STALE_1H).await, "stale 1 at 60s because reset", How::Stale);
        settle().await;
    }
    assert_eq!(scene.asked(), 2);
    advance(SECOND).await;
    expect(&scene.call(CACHE_1M_STALE_1H).await, "stale 1 at 61s", How::Stale);
    settle().await;
    assert_eq!(scene.asked(), 3);
    advance(HOUR).await;
    expect(&scene.call(CACHE_1M_STALE_1H).await, "failed reset", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn stale_without_cache_always_asks_and_falls_back_on_the_last_good_answer() {
    let scene = Scene::new();
    expect(&scene.call(STALE_1H).await, "ok 1", How::Miss);
    expect(&scene.call(STALE_1H).await, "ok 2", How::Miss);
    advance(MINUTE).await;
    scene.feels(Mood::Fails, Duration::ZERO);
    expect(&scene.call(STALE_1H).await, "stale 2 at 60s because reset", How::Stale);
    expect(&scene.call(STALE_1H).await, "stale 2 at 60s because reset", How::Stale);
    assert_eq!(scene.asked(), 4, "it was asked each time");
    scene.feels(Mood::Answers, Duration::ZERO);
    expect(&scene.call(STALE_1H).await, "ok 5", How::Miss);
    scene.feels(Mood::Fails, Duration::ZERO);
    advance(HOUR).await;
    expect(&scene.call(STALE_1H).await, "failed reset", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_is_a_failure_that_stale_stands_in_for() {
    let scene = Scene::new();
    scene.call(STALE_1H).await;
    scene.feels(Mood::Answers, SECOND * 3);
    let started = Instant::now();
    expect(
        &scene.call_within(STALE_1H, SECOND).await,
        "stale 1 at 1s because timeout",
        How::Stale,
    );
    assert_eq!(started.elapsed(), SECOND);
    settle().await;
    assert_eq!(scene.store.flights(), 0, "nobody waited any more");
    let empty = Scene::new();
    empty.feels(Mood::Answers, SECOND * 3);
    expect(&empty.call_within(STALE_1H, SECOND).await, "failed timeout", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_becomes_too_old_while_its_caller_waits_does_not_stand_in() {
    let scene = Scene::new();
    scene.call(STALE_1H).await;
    scene.feels(Mood::Fails, SECOND * 2);
    advance(HOUR - SECOND).await;
    expect(&scene.call(STALE_1H).await, "failed reset", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn one_caller_out_of_time_takes_neither_the_flight_nor_the_cache_from_the_others() {
    let scene = Scene::new();
    scene.feels(Mood::Answers, SECOND * 3);
    let hasty = scene.caller(CACHE_1M, SECOND);
    settle().await;
    let patient = scene.caller(CACHE_1M, SECOND * 5);
    expect(&hasty.await.unwrap(), "failed timeout", How::Miss);
    expect(&patient.await.unwrap(), "ok 1", How::Collapsed);
    expect(&scene.call(CACHE_1M).await, "ok 1", How::Hit);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_one_caller_is_not_remembered_as_the_sources_failure() {
    let scene = Scene::new();
    scene.feels(Mood::Answers, SECOND * 3);
    expect(&scene.call_within(CACHE_1M, SECOND).await, "failed timeout", How::Miss);
    settle().await;
    expect(&scene.call_within(CACHE_1M, SECOND * 5).await, "ok 2", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_failure_answers_for_a_second_where_there_is_a_cache() {
    let scene = Scene::new();
    scene.feels(Mood::Fails, Duration::ZERO);
    expect(&scene.call(CACHE_1M).await, "failed reset", How::Miss);
    advance(SECOND - Duration::from_millis(1)).await;
    expect(&scene.call(CACHE_1M).await, "failed reset", How::Hit);
    scene.feels(Mood::Answers, Duration::ZERO);
    advance(Duration::from_millis(1)).await;
    expect(&scene.call(CACHE_1M).await, "ok 2", How::Miss);
    scene.feels(Mood::Fails, Duration::ZERO);
    let always_asks = Scene::new();
    always_asks.feels(Mood::Fails, Duration::ZERO);
    expect(&always_asks.call(STALE_1H).await, "failed reset", How::Miss);
    expect(&always_asks.call(STALE_1H).await, "failed reset", How::Miss);
    assert_eq!(always_asks.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure_of_the_call() {
    let scene = Scene::new();
    scene.call(STALE_1H).await;
    scene.feels(Mood::Panics, Duration::ZERO);
    expect(&scene.call(STALE_1H).await, "stale 1 at 0s because panic", How::Stale);
    let empty = Scene::new();
    empty.feels(Mood::Panics, Duration::ZERO);
    expect(&empty.call(CACHE_1M).await, "failed panic", How::Miss);
    empty.feels(Mood::Answers, Duration::ZERO);
    expect(&empty.call(CACHE_1M).await, "ok 2", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_background_that_takes_no_more_is_our_own_refusal_and_fresh_answers_are_still_served() {
    let scene = Scene::new();
    scene.call(CACHE_1M_STALE_1H).await;
    scene.background.drain(Deadline::after(Duration::ZERO)).await;
    expect(&scene.call(CACHE_1M_STALE_1H).await, "ok 1", How::Hit);
    advance(MINUTE).await;
    expect(&scene.call(CACHE_1M_STALE_1H).await, "stale 1 at 60s", How::Stale);
    let empty = Scene::new();
    empty.background.drain(Deadline::after(Duration::ZERO)).await;
    expect(&empty.call(CACHE_1M).await, "failed limit", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_given_what_it_may_compare() {
    let scene = Scene::new();
    let key = CacheKey::of_source("test").url("/").key();
    let keep = Keep {
        fresh: MINUTE,
        to_compare: HOUR,
        ..Keep::default()
    };
    scene.store.cache().put(scene.store.cache().ticket(), key, Item::new(7, 10, keep));
    advance(MINUTE).await;
    expect(&scene.call(NEITHER).await, "ok 1", How::Miss);
    expect(&scene.call(NEITHER).await, "ok 2", How::Miss);
    assert_eq!(scene.source(|source| source.brought.clone()), [Some(7), None]);
    scene.store.cache().put(scene.store.cache().ticket(), key, Item::new(7, 10, keep));
    advance(MINUTE).await;
    scene.feels(Mood::Fails, Duration::ZERO);
    expect(&scene.call(NEITHER).await, "failed reset", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn what_was_purged_while_it_was_asked_for_is_served_to_who_asked_and_not_kept() {
    let scene = Scene::new();
    scene.feels(Mood::Answers, SECOND);
    let caller = scene.caller(CACHE_1M, SECOND * 5);
    settle().await;
    scene.store.cache().purge("");
    expect(&caller.await.unwrap(), "ok 1", How::Miss);
    expect(&scene.call(CACHE_1M).await, "ok 2", How::Miss);
}

#[tokio::test(start_paused = true)]
async fn who_looked_up_before_a_flight_landed_does_not_ask_again() {
    let scene = Scene::new();
    let key = CacheKey::of_source("test").url("/").key();
    let mut late = Box::pin(scene.call(CACHE_1M));
    assert!((&mut late).now_or_never().is_none(), "it has looked and begun a flight");
    let cache = scene.store.cache();
    cache.put(cache.ticket(), key, Item::new(7, 10, CACHE_1M));
    expect(&late.await, "ok 7", How::Miss);
    assert_eq!(scene.asked(), 0);
}

/// One caller of a storm: when it comes, how long it waits, and how the source feels from then on.
#[derive(Clone, Debug)]
struct Visit {
    after_ms: u64,
    patience_ms: u64,
    fails: bool,
    takes_ms: u64,
}

fn visit() -> impl Strategy<Value = Visit> {
    (0_u64..400, 1_u64..300, any::<bool>(), 0_u64..300).prop_map(|(after_ms, patience_ms, fails, takes_ms)| Visit {
        after_ms,
        patience_ms,
        fails,
        takes_ms,
    })
}

/// Counts calls that are under way, and the most there were.
#[derive(Clone, Default)]
struct AtOnce(Arc<Mutex<(u32, u32)>>);

impl AtOnce {
    fn enter(&self) -> Self {
        let mut counts = self.0.lock().unwrap();
        counts.0 += 1;
        counts.1 = counts.1.max(counts.0);
        AtOnce(self.0.clone())
    }

    fn most(&self) -> u32 {
        self.0.lock().unwrap().1
    }
}

/// Whatever happens, each caller is answered within its patience, with nothing older than it may be and nothing that the source never
/// said, and the source never has two calls of this key at once.
async fn keeps_its_promises(visits: Vec<Visit>, times: Times) {
    let ms = Duration::from_millis;
    let store: Store<usize> = Store::new(Cache::without_jitter(1 << 20));
    let background = Background::new();
    // When each answer was made, by its number.
    let made: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let at_once = AtOnce::default();
    let mut callers = Vec::new();
    for Visit {
        after_ms,
        patience_ms,
        fails,
        takes_ms,
    } in visits
    {
        sleep(ms(after_ms)).await;
        let (store, background, made, at_once) = (store.clone(), background.clone(), made.clone(), at_once.clone());
        callers.push(tokio::spawn(async move {
            let started = Instant::now();
            let asking = Asking {
                background: &background,
                flight_limit: ms(250),
                failure: times.failure(),
                deadline: Deadline::after(ms(patience_ms)),
                alone: false,
            };
            let said = made.clone();
            let fetch = move |_old| async move {
                let entered = at_once.enter();
                let leaves = scopeguard(move || entered.0.lock().unwrap().0 -= 1);
                sleep(ms(takes_ms)).await;
                drop(leaves);
                if fails {
                    return Err(CallError::new(Kind::Reset, ""));
                }
                let mut made = said.lock().unwrap();
                made.push(Instant::now());
                Ok(Item::new(made.len() - 1, 10, times))
            };
            let stored = store.answer(CacheKey::of_source("test").key(), asking, fetch).await;
            assert!(started.elapsed() <= ms(patience_ms));
            let Some(value) = stored.outcome.value() else { return };
            let age = made.lock().unwrap()[*value].elapsed();
            let is_stale = matches!(stored.outcome, Outcome::Stale(..));
            assert_eq!((age, is_stale), (stored.age, stored.how == How::Stale));
            match stored.how {
                How::Miss | How::Collapsed => assert!(started.elapsed() >= age),
                How::Hit => assert!(age < times.fresh),
                How::Stale => assert!(age >= times.fresh && age < times.fresh + times.stale),
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    sleep(ms(300)).await;
    settle().await;
    assert_eq!((store.flights(), background.count()), (0, 0));
    assert!(at_once.most() <= 1);
}

/// Runs this when dropped.
fn scopeguard(end: impl FnOnce() + Send) -> impl Send {
    struct Guard<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for Guard<F> {
        fn drop(&mut self) {
            self.0.take().expect("dropped once")();
        }
    }
    Guard(Some(end))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_store_keeps_its_promises(visits in prop::collection::vec(visit(), 1..40), fresh_ms in 0_u64..800, stale_ms in 0_u64..1500) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let times = Times { fresh: Duration::from_millis(fresh_ms), stale: Duration::from_millis(stale_ms) };
        runtime.block_on(keeps_its_promises(visits, times));
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_a_purge_is_not_given_what_was_asked_for_before_it() {
    let scene = Scene::new();
    scene.feels(Mood::Answers, SECOND);
    let early = scene.call(CACHE_1M);
    let late = async {
        sleep(SECOND / 2).await;
        scene.store.cache().purge("");
        tokio::join!(scene.call(CACHE_1M), scene.call(CACHE_1M))
    };
    let (early, (late, with_it)) = tokio::join!(early, late);
    expect(&early, "ok 1", How::Miss);
    expect(&late, "ok 2", How::Miss);
    expect(&with_it, "ok 2", How::Collapsed);
    expect(&scene.call(CACHE_1M).await, "ok 2", How::Hit);
    assert_eq!(scene.asked(), 2);
}
