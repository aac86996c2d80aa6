//! The cache against the clock, its bound, and a naive model of itself.

#![allow(clippy::disallowed_methods, reason = "time that passes; the clock is paused")]

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use tokio::time::advance;

const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

fn key(number: u32) -> CacheKey {
    CacheKey::of_source("test").value(&number.to_le_bytes()).key()
}

fn item(value: u32, fresh: u64, stale: u64) -> Item<u32> {
    Item::new(
        value,
        100,
        Times {
            fresh: SECOND * fresh as u32,
            stale: SECOND * stale as u32,
        },
    )
}

fn put(cache: &Cache<u32>, number: u32, item: Item<u32>) -> Held<u32> {
    cache.put(cache.ticket(), key(number), item)
}

/// The look-up as a word, the value and the age in seconds.
fn look(cache: &Cache<u32>, number: u32) -> (&'static str, u32, u64) {
    match cache.get(&key(number)) {
        Lookup::Fresh(held) => ("fresh", *held.value(), held.age().as_secs()),
        Lookup::Stale(held) => (stale_word(&held), *held.value(), held.age().as_secs()),
        Lookup::Miss => ("miss", 0, 0),
    }
}

fn stale_word(held: &Held<u32>) -> &'static str {
    match held.stale_use() {
        Some(StaleUse::WhileRenewed) => "while renewed",
        Some(StaleUse::IfFailed) => "if failed",
        Some(StaleUse::ToCompare) => "to compare",
        None => "nothing",
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_fresh_then_stale_then_gone() {
    let cache = Cache::without_jitter(MIB);
    put(&cache, 1, item(7, 60, 3600));
    assert_eq!(look(&cache, 1), ("fresh", 7, 0));
    advance(SECOND * 59).await;
    assert_eq!(look(&cache, 1), ("fresh", 7, 59));
    advance(SECOND).await;
    assert_eq!(look(&cache, 1), ("while renewed", 7, 60));
    advance(SECOND * 3599).await;
    assert_eq!(look(&cache, 1), ("while renewed", 7, 3659));
    assert_eq!(cache.counts().entries, 1);
    advance(SECOND).await;
    assert_eq!(look(&cache, 1), ("miss", 0, 0));
    assert_eq!(cache.counts().entries, 0, "what is good for nothing goes when it is asked for");
}

#[tokio::test(start_paused = true)]
async fn each_stale_use_has_its_own_end() {
    let cache = Cache::without_jitter(MIB);
    let keep = Keep {
        age: SECOND * 5,
        fresh: SECOND * 10,
        while_renewed: SECOND * 10,
        if_failed: SECOND * 20,
        to_compare: SECOND * 30,
        ..Keep::default()
    };
    put(&cache, 1, Item::new(7, 100, keep));
    for (expected, age) in [
        ("fresh", 5),
        ("while renewed", 15),
        ("if failed", 25),
        ("to compare", 35),
        ("miss", 0),
    ] {
        let (word, _, seen) = look(&cache, 1);
        assert_eq!((word, seen), (expected, age));
        advance(SECOND * 10).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_held_says_what_it_is_good_for_now() {
    let cache = Cache::without_jitter(MIB);
    let held = put(&cache, 1, item(7, 0, 10));
    assert_eq!(
        (held.stale_use(), held.may_stand_in(), held.fresh_for()),
        (Some(StaleUse::IfFailed), true, Duration::ZERO)
    );
    advance(SECOND * 10).await;
    assert_eq!(
        (held.stale_use(), held.may_stand_in(), held.stale_for()),
        (None, false, SECOND * 10)
    );
    let held = put(&cache, 1, item(7, 10, 0));
    assert_eq!((held.fresh_for(), held.may_stand_in()), (SECOND * 10, true));
}

#[tokio::test(start_paused = true)]
async fn lifetimes_differ_by_up_to_a_tenth() {
    let cache: Cache<u32> = Cache::new(64 * MIB);
    let fresh: Vec<f64> = (0..1000)
        .map(|number| put(&cache, number, item(0, 100, 0)).fresh_for().as_secs_f64())
        .collect();
    assert!(fresh.iter().all(|fresh| (90.0..=110.0).contains(fresh)));
    let (early, late) = (
        fresh.iter().filter(|fresh| **fresh < 95.0).count(),
        fresh.iter().filter(|fresh| **fresh > 105.0).count(),
    );
    assert!(
        (150..350).contains(&early) && (150..350).contains(&late),
        "a quarter of them each, {early} and {late}"
    );
    let below = Keep {
        fresh: SECOND * 100,
        jitter: Jitter::Below,
        ..Keep::default()
    };
    let fresh: Vec<f64> = (0..1000)
        .map(|number| put(&cache, number, Item::new(0, 100, below)).fresh_for().as_secs_f64())
        .collect();
    assert!(fresh.iter().all(|fresh| (90.0..=100.0).contains(fresh)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_the_place_of_the_one_before_even_where_it_is_not_kept() {
    let cache = Cache::without_jitter(MIB);
    put(&cache, 1, item(7, 60, 0));
    put(&cache, 1, item(8, 60, 0));
    assert_eq!(look(&cache, 1), ("fresh", 8, 0));
    assert_eq!(*put(&cache, 1, Item::new(9, 100, Keep::default())).value(), 9);
    assert_eq!(look(&cache, 1).0, "miss", "the source says that it is not to be kept");
    put(&cache, 1, item(8, 60, 0));
    let heavy = Item {
        weight: MIB,
        ..item(9, 60, 0)
    };
    put(&cache, 1, heavy);
    assert_eq!(look(&cache, 1).0, "miss", "heavier than half of the cache");
    assert_eq!(cache.counts().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_kept_under_another_key_than_it_was_asked_under() {
    let cache = Cache::without_jitter(MIB);
    cache.put_failure(key(1), &CallError::new(Kind::Reset, ""), SECOND);
    put(&cache, 1, item(7, 60, 0).under(key(2)));
    assert_eq!((look(&cache, 1).0, look(&cache, 2).0), ("miss", "fresh"));
    assert!(cache.failure(&key(1)).is_none());
}

#[tokio::test(start_paused = true)]
async fn failures_are_remembered_for_a_second_at_most_and_leave_the_answer_alone() {
    let cache = Cache::without_jitter(MIB);
    put(&cache, 1, item(7, 0, 60));
    cache.put_failure(key(1), &CallError::new(Kind::Connect, "refused"), SECOND * 60);
    assert_eq!(cache.failure(&key(1)).unwrap().kind(), Kind::Connect);
    assert_eq!(look(&cache, 1), ("if failed", 7, 0));
    advance(Duration::from_millis(999)).await;
    assert!(cache.failure(&key(1)).is_some());
    advance(Duration::from_millis(1)).await;
    assert!(cache.failure(&key(1)).is_none());
    cache.put_failure(key(1), &CallError::new(Kind::Connect, "refused"), SECOND);
    put(&cache, 1, item(8, 0, 60));
    assert!(cache.failure(&key(1)).is_none(), "an answer ends it");
}

#[tokio::test(start_paused = true)]
async fn what_we_did_ourselves_is_not_remembered_as_the_sources_failure() {
    let cache: Cache<u32> = Cache::without_jitter(MIB);
    let remembered: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| {
            cache.put_failure(key(1), &CallError::new(*kind, ""), SECOND);
            let is_remembered = cache.failure(&key(1)).is_some();
            cache.purge("");
            is_remembered
        })
        .collect();
    let expected = [
        Kind::Timeout,
        Kind::Connect,
        Kind::Tls,
        Kind::Dns,
        Kind::PrivateAddress,
        Kind::Reset,
        Kind::Truncated,
        Kind::Protocol,
        Kind::Status,
        Kind::Decode,
        Kind::TooLarge,
    ];
    assert_eq!(remembered, expected);
    cache.put_failure(key(1), &CallError::new(Kind::Reset, ""), Duration::ZERO);
    assert!(cache.failure(&key(1)).is_none());
}

#[tokio::test(start_paused = true)]
async fn failures_are_bounded_in_number() {
    let cache: Cache<u32> = Cache::without_jitter(MIB);
    (0..10_000).for_each(|number| cache.put_failure(key(number), &CallError::new(Kind::Reset, ""), SECOND));
    let remembered = (0..10_000).filter(|number| cache.failure(&key(*number)).is_some()).count();
    assert!((1..=FAILURES_MAX).contains(&remembered), "{remembered}");
}

#[tokio::test(start_paused = true)]
async fn a_purge_takes_what_its_prefix_names_and_what_is_on_its_way() {
    let cache = Cache::without_jitter(MIB);
    for (number, label) in ["shop /rules/1", "shop /rules/2", "shop /users/1", "promo /rules/1"]
        .into_iter()
        .enumerate()
    {
        put(&cache, number as u32, item(0, 60, 0).labelled(label));
    }
    cache.put_failure(key(9), &CallError::new(Kind::Reset, ""), SECOND);
    let asked_before = cache.ticket();
    assert_eq!(cache.purge("shop /rules/"), 2);
    assert_eq!(
        (0..4).map(|number| look(&cache, number).0).collect::<Vec<_>>(),
        ["miss", "miss", "fresh", "fresh"]
    );
    assert!(cache.failure(&key(9)).is_none());
    let held = cache.put(asked_before, key(0), item(7, 60, 0).labelled("shop /rules/1"));
    assert_eq!((*held.value(), look(&cache, 0).0), (7, "miss"), "who asked gets it, nobody else");
    cache.put(cache.ticket(), key(0), item(8, 60, 0).labelled("shop /rules/1"));
    assert_eq!(look(&cache, 0).0, "fresh");
    assert!(cache.remove(&key(0)) && !cache.remove(&key(0)));
    assert_eq!(cache.purge_where(|label| label.ends_with("/users/1")), 1);
    assert_eq!(cache.purge(""), 1);
    assert_eq!((cache.counts().entries, cache.counts().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn look_ups_are_counted_and_peeks_are_not() {
    let cache = Cache::without_jitter(MIB);
    put(&cache, 1, item(7, 10, 10));
    look(&cache, 1);
    look(&cache, 2);
    advance(SECOND * 10).await;
    look(&cache, 1);
    look(&cache, 1);
    assert!(matches!(cache.peek(&key(1)), Lookup::Stale(_)));
    let counts = cache.counts();
    assert_eq!((counts.hits, counts.stale, counts.misses, counts.entries), (1, 2, 1, 1));
    assert_eq!((counts.bytes, counts.bytes_max), (100 + OVERHEAD, MIB));
}

#[test]
fn the_bound_is_never_rounded_up_and_large_caches_hold_large_answers() {
    for bytes in [0, 1, 1000, MIB, 64 * MIB, 64 * MIB + 7, 1000 * MIB + 3, 64 * 1024 * MIB] {
        let cache: Cache<u32> = Cache::new(bytes);
        assert!(cache.counts().bytes_max <= bytes, "{bytes}");
        assert!(cache.counts().bytes_max >= bytes - bytes.min(16));
        assert!(bytes < 32 * MIB || cache.0.heaviest >= 8 * MIB, "{bytes}: {}", cache.0.heaviest);
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_does_not_push_out_what_is_asked_for_again_and_again() {
    let cache = Cache::without_jitter(MIB);
    (0..100).for_each(|number| drop(put(&cache, number, item(number, 3600, 0))));
    for number in 100..50_000 {
        put(&cache, number, item(number, 3600, 0));
        look(&cache, number % 100);
    }
    let kept = (0..100).filter(|number| look(&cache, *number).0 == "fresh").count();
    assert!(kept > 90, "{kept} of 100");
}

#[derive(Clone, Debug)]
enum Event {
    Put { number: u32, fresh: u64, stale: u64, weight: u64 },
    Seconds(u64),
    Purge(u32),
    Remove(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let weight = prop_oneof![9 => 0_u64..2_000, 1 => 0_u64..60_000];
    prop_oneof![
        8 => (0_u32..60, 0_u64..20, 0_u64..20, weight).prop_map(|(number, fresh, stale, weight)| Event::Put { number, fresh, stale, weight }),
        3 => (0_u64..8).prop_map(Event::Seconds),
        1 => (0_u32..6).prop_map(Event::Purge),
        1 => (0_u32..60).prop_map(Event::Remove),
    ]
}

/// What was put last under a number, when, and its ends.
struct Put {
    value: u32,
    at: u64,
    fresh: u64,
    kept: u64,
    weight: u64,
}

/// A map without a bound knows what the cache must say as long as all of it fits, and what it may say beyond that: nothing older, or
/// that it does not know. What the cache has dropped is struck off the map.
async fn agrees_with_a_map(events: Vec<Event>) {
    const BOUND: u64 = 40_000;
    let cache = Cache::without_jitter(BOUND);
    let mut map: HashMap<u32, Put> = HashMap::new();
    let mut now = 0;
    for (value, event) in (0..).zip(events) {
        match event {
            Event::Put {
                number,
                fresh,
                stale,
                weight,
            } => {
                let item = Item {
                    weight,
                    ..item(value, fresh, stale)
                }
                .labelled(format!("group {}", number % 6));
                put(&cache, number, item);
                let weight = weight + OVERHEAD + "group 0".len() as u64;
                map.remove(&number);
                if fresh + stale > 0 && weight <= BOUND / 2 {
                    map.insert(
                        number,
                        Put {
                            value,
                            at: now,
                            fresh: now + fresh,
                            kept: now + fresh + stale,
                            weight,
                        },
                    );
                }
            }
            Event::Seconds(seconds) => {
                advance(SECOND * seconds as u32).await;
                now += seconds;
            }
            Event::Purge(group) => {
                let in_group = map.keys().filter(|number| *number % 6 == group).count();
                assert_eq!(cache.purge(&format!("group {group}")), in_group);
                map.retain(|number, _| number % 6 != group);
            }
            Event::Remove(number) => assert_eq!(cache.remove(&key(number)), map.remove(&number).is_some()),
        }
        let all_fits = map.values().map(|put| put.weight).sum::<u64>() <= BOUND;
        map.retain(|_, put| now < put.kept);
        for number in 0..60 {
            let (word, seen, age) = look(&cache, number);
            let Some(last) = map.get(&number) else {
                assert_eq!(word, "miss");
                continue;
            };
            if word == "miss" && !all_fits {
                map.remove(&number);
                continue;
            }
            let expected = if now < last.fresh {
                "fresh"
            } else if last.fresh > last.at {
                "while renewed"
            } else {
                "if failed"
            };
            assert_eq!((word, seen, age), (expected, last.value, now - last.at));
        }
        let bytes = map.values().map(|put| put.weight).sum::<u64>();
        assert_eq!((cache.counts().entries, cache.counts().bytes), (map.len(), bytes));
        assert!(bytes <= BOUND);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_cache_agrees_with_a_map(events in prop::collection::vec(event(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(agrees_with_a_map(events));
    }
}

#[test]
fn threads_that_put_purge_and_look_up_find_only_what_belongs_to_the_key() {
    let cache: Cache<u32> = Cache::new(MIB / 4);
    std::thread::scope(|threads| {
        for seed in 0..4 {
            let cache = &cache;
            threads.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..20_000 {
                    let number = random.u32(0..2000);
                    match random.u8(0..100) {
                        0 => drop(cache.purge(&format!("{number}"))),
                        1..50 => drop(put(cache, number, item(number, 60, 60).labelled(format!("{number}")))),
                        _ => {
                            if let Lookup::Fresh(held) = cache.get(&key(number)) {
                                assert_eq!(*held.value(), number);
                            }
                        }
                    }
                }
            });
        }
    });
    let counts = cache.counts();
    assert!(counts.hits > 0 && counts.misses > 0 && counts.bytes <= counts.bytes_max);
}
