use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::options::{HostLimit, LimitOptions, RetryOptions};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn schedule(limits: LimitOptions, now: Instant) -> Schedule<u32> {
    Schedule::new(Rules::new(&limits, &RetryOptions::default()), now)
}

fn limits(concurrency: usize, per_host: usize) -> LimitOptions {
    LimitOptions {
        concurrency,
        per_host,
        ..LimitOptions::default()
    }
}

/// Starts all that may start now.
fn start_all(schedule: &mut Schedule<u32>, now: Instant) -> Vec<(u32, Place, Waited)> {
    let mut started = Vec::new();
    while let Next::Start(item, place, waited) = schedule.next(now) {
        started.push((item, place, waited));
    }
    started
}

fn end(schedule: &mut Schedule<u32>, place: Place, verdict: Verdict, now: Instant) {
    assert!(schedule.ended(place, verdict, now).is_empty(), "the host was given up");
}

/// When the next start is.
fn next_start(schedule: &mut Schedule<u32>, now: Instant) -> Option<Duration> {
    match schedule.next(now) {
        Next::Wait(until) => Some(until.duration_since(now)),
        Next::Start(..) => panic!("it starts now"),
        Next::Blocked => None,
    }
}

#[test]
fn a_host_that_is_full_stands_in_nobodys_way() {
    let now = Instant::now();
    let mut schedule = schedule(limits(4, 1), now);
    for item in 0..100 {
        schedule.push("slow", item, now).unwrap();
    }
    schedule.push("quick", 100, now).unwrap();
    let items: Vec<u32> = start_all(&mut schedule, now).iter().map(|(item, ..)| *item).collect();
    assert_eq!(items, [0, 100]);
    assert_eq!((schedule.in_flight(), schedule.queued(), schedule.free_places()), (2, 99, 2));
}

#[test]
fn hosts_share_the_places_and_the_one_with_the_least_goes_first() {
    let now = Instant::now();
    let mut schedule = schedule(limits(6, 16), now);
    for item in 0..50 {
        for (host, name) in ["a", "b", "c"].into_iter().enumerate() {
            schedule.push(name, host as u32 * 100 + item, now).unwrap();
        }
    }
    let started = start_all(&mut schedule, now);
    let of_host = |host: u32| started.iter().filter(|(item, ..)| item / 100 == host).count();
    assert_eq!((of_host(0), of_host(1), of_host(2)), (2, 2, 2));
    // Those of `a` never end; its share stays what it is while the others go on.
    let mut others: Vec<Place> = started
        .into_iter()
        .filter(|(item, ..)| item / 100 != 0)
        .map(|(_, place, _)| place)
        .collect();
    for _ in 0..30 {
        end(&mut schedule, others.remove(0), Verdict::Answered, now);
        let next = start_all(&mut schedule, now);
        assert_eq!(next.len(), 1);
        assert_ne!(next[0].0 / 100, 0, "the slow host took a place of the others");
        others.extend(next.into_iter().map(|(_, place, _)| place));
    }
}

#[test]
fn a_burst_of_refusals_is_one_event() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 8), now);
    for item in 0..20 {
        schedule.push("a", item, now).unwrap();
    }
    let places: Vec<Place> = start_all(&mut schedule, now).into_iter().map(|(_, place, _)| place).collect();
    assert_eq!(places.len(), 8);
    let later = now + ms(100);
    for place in places {
        end(&mut schedule, place, Verdict::Overloaded(None), later);
    }
    let first = next_start(&mut schedule, later).expect("it backs off");
    assert!(first <= ms(250), "eight refusals of one burst made it wait {first:?}");
    let probe_at = later + first;
    let mut probes = start_all(&mut schedule, probe_at);
    assert_eq!(probes.len(), 1, "one request finds out whether it is over");
    let (_, probe, _) = probes.remove(0);
    end(&mut schedule, probe, Verdict::Answered, probe_at + ms(10));
    let after = start_all(&mut schedule, probe_at + ms(10));
    assert!(
        after.len() <= 4,
        "it comes back to half of what was too much, not to all: {}",
        after.len()
    );
}

#[test]
fn an_old_answer_does_not_end_a_back_off_that_began_since() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 2), now);
    (0..4).for_each(|item| schedule.push("a", item, now).unwrap());
    let mut places = start_all(&mut schedule, now);
    let (_, good, _) = places.remove(0);
    let (_, bad, _) = places.remove(0);
    end(&mut schedule, bad, Verdict::Overloaded(Some(Duration::from_secs(7))), now + ms(1));
    end(&mut schedule, good, Verdict::Answered, now + ms(2));
    assert_eq!(next_start(&mut schedule, now + ms(2)), Some(ms(6_999)));
    let explanation = schedule.explain("a", now + ms(2));
    assert_eq!((explanation.reason, explanation.limit), (Reason::RetryAfter, 1));
}

#[test]
fn a_wait_of_zero_seconds_does_not_turn_back_off_off() {
    let now = Instant::now();
    let mut waits = Vec::new();
    let mut schedule = schedule(limits(64, 1), now);
    (0..12).for_each(|item| schedule.push("a", item, now).unwrap());
    let mut at = now;
    for _ in 0..10 {
        let (_, place, _) = start_all(&mut schedule, at).remove(0);
        end(&mut schedule, place, Verdict::Overloaded(Some(Duration::ZERO)), at);
        let wait = next_start(&mut schedule, at).unwrap();
        waits.push(wait);
        at += wait;
    }
    assert!(waits.iter().sum::<Duration>() > Duration::from_secs(1), "{waits:?}");
}

#[test]
fn a_host_that_asks_for_too_long_is_asked_again_after_the_longest_wait() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 1), now);
    (0..2).for_each(|item| schedule.push("a", item, now).unwrap());
    let (_, place, _) = start_all(&mut schedule, now).remove(0);
    end(&mut schedule, place, Verdict::Overloaded(Some(Duration::from_secs(86_400))), now);
    assert_eq!(next_start(&mut schedule, now), Some(Duration::from_secs(300)));
}

#[test]
fn a_used_up_quota_pauses_without_blame() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 16), now);
    (0..40).for_each(|item| schedule.push("a", item, now).unwrap());
    let mut places = start_all(&mut schedule, now);
    let (_, place, _) = places.remove(0);
    schedule.pause(&place, Duration::from_secs(30), now);
    end(&mut schedule, place, Verdict::Answered, now);
    assert_eq!(next_start(&mut schedule, now), Some(Duration::from_secs(30)));
    assert_eq!(schedule.explain("a", now).limit, 16);
    assert_eq!(start_all(&mut schedule, now + Duration::from_secs(30)).len(), 1);
}

#[test]
fn a_host_without_one_answer_is_given_up_and_stays_so() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 1), now);
    (0..5).for_each(|item| schedule.push("dead", item, now).unwrap());
    schedule.push_again("dead", 5, now + Duration::from_secs(9_999), now).unwrap();
    let (_, place, _) = start_all(&mut schedule, now).remove(0);
    end(&mut schedule, place, Verdict::Failed, now);
    let late = now + Duration::from_secs(15 * 60);
    let (_, place, _) = start_all(&mut schedule, late).remove(0);
    let mut left = schedule.ended(place, Verdict::Failed, late);
    left.sort_unstable();
    assert_eq!(left, [2, 3, 4, 5]);
    assert_eq!(schedule.push("dead", 9, late), Err(9));
    assert_eq!((schedule.queued(), schedule.in_flight()), (0, 0));
    assert_eq!(schedule.explain("dead", late).reason, Reason::GivenUp);
}

#[test]
fn one_answer_is_enough_not_to_be_given_up() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 1), now);
    (0..3).for_each(|item| schedule.push("a", item, now).unwrap());
    let late = now + Duration::from_secs(15 * 60);
    for (at, verdict) in [(now, Verdict::Failed), (late, Verdict::Answered), (late + ms(1), Verdict::Failed)] {
        let (_, place, _) = start_all(&mut schedule, at).remove(0);
        end(&mut schedule, place, verdict, at);
    }
}

#[test]
fn a_troubled_host_holds_few_places() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 16), now);
    (0..100).for_each(|item| schedule.push("a", item, now).unwrap());
    for (_, place, _) in start_all(&mut schedule, now) {
        end(&mut schedule, place, Verdict::Failed, now + ms(5));
    }
    let places = start_all(&mut schedule, now + ms(5));
    assert_eq!(places.len(), 3);
    let (_, place, _) = places.into_iter().next().unwrap();
    end(&mut schedule, place, Verdict::Answered, now + ms(9));
    assert_eq!(start_all(&mut schedule, now + ms(9)).len(), 14);
}

#[test]
fn a_host_that_has_answered_is_waited_for_and_one_that_never_has_is_not() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 16), now);
    (0..100).for_each(|item| schedule.push("restarts", item, now).unwrap());
    let mut places = start_all(&mut schedule, now);
    let (_, place, _) = places.pop().unwrap();
    end(&mut schedule, place, Verdict::Answered, now);
    for (_, place, _) in places {
        end(&mut schedule, place, Verdict::Failed, now + ms(1));
    }
    // Its jobs are asked for one at a time, further and further apart.
    let mut at = now + ms(1);
    let mut asked = 0;
    while at < now + Duration::from_secs(20) {
        match schedule.next(at) {
            Next::Start(_, place, _) => {
                asked += 1;
                end(&mut schedule, place, Verdict::Failed, at);
            }
            Next::Wait(until) => at = until,
            Next::Blocked => panic!("it waits for nothing"),
        }
    }
    assert!((5..40).contains(&asked), "{asked} jobs lost an attempt in 20 s");
    assert_eq!(schedule.explain("restarts", at).reason, Reason::None);
}

#[test]
fn who_finds_out_whether_a_host_is_back_has_all_attempts_left() {
    let now = Instant::now();
    let mut schedule = schedule(limits(64, 1), now);
    (0..3).for_each(|item| schedule.push("a", item, now).unwrap());
    let (item, place, _) = start_all(&mut schedule, now).remove(0);
    end(&mut schedule, place, Verdict::Overloaded(Some(ms(10))), now);
    schedule.push_again("a", item, now, now).unwrap();
    let later = now + Duration::from_secs(1);
    let (probe, place, _) = start_all(&mut schedule, later).remove(0);
    assert_eq!(probe, 1);
    end(&mut schedule, place, Verdict::Answered, later);
    assert_eq!(start_all(&mut schedule, later + Duration::from_secs(1)).remove(0).0, item);
}

#[test]
fn retries_are_a_share_of_the_starts_but_for_three_at_once() {
    let now = Instant::now();
    let mut schedule = schedule(limits(1_000, 1_000), now);
    (0..50).for_each(|item| schedule.push_again("a", item, now, now).unwrap());
    let alone = start_all(&mut schedule, now);
    assert_eq!(alone.len(), 3);
    assert_eq!(schedule.explain("a", now).reason, Reason::RetryBudget);
    for (_, place, _) in alone {
        end(&mut schedule, place, Verdict::Answered, now);
    }
    (100..200).for_each(|item| schedule.push("a", item, now).unwrap());
    let mixed = start_all(&mut schedule, now);
    let retries = mixed.iter().filter(|(item, ..)| *item < 50).count();
    assert_eq!(mixed.len() - retries, 100);
    // 20 % of the 103 starts before and those that they make themselves.
    assert!((20..=26).contains(&retries), "{retries}");
}

#[test]
fn a_retry_waits_for_its_time_and_then_goes_before_the_others() {
    let now = Instant::now();
    let mut schedule = schedule(limits(1, 1), now);
    schedule.push_again("a", 1, now + ms(50), now).unwrap();
    schedule.push("a", 2, now).unwrap();
    let (item, place, _) = start_all(&mut schedule, now).remove(0);
    assert_eq!(item, 2);
    schedule.push("a", 3, now).unwrap();
    end(&mut schedule, place, Verdict::Answered, now + ms(60));
    let (item, place, waited) = start_all(&mut schedule, now + ms(60)).remove(0);
    assert_eq!((item, waited.host, waited.queue), (1, ms(60), Duration::ZERO));
    end(&mut schedule, place, Verdict::Answered, now + ms(60));
}

#[test]
fn waits_for_the_host_and_for_all_are_told_apart() {
    let now = Instant::now();
    let mut schedule = schedule(
        LimitOptions {
            host_delay: Some(ms(100)),
            ..limits(1, 4)
        },
        now,
    );
    schedule.push("a", 1, now).unwrap();
    schedule.push("a", 2, now).unwrap();
    let (_, place, _) = start_all(&mut schedule, now).remove(0);
    // From 100 ms on the host would be ready; the only place is free at 130 ms.
    assert!(start_all(&mut schedule, now + ms(100)).is_empty());
    end(&mut schedule, place, Verdict::Answered, now + ms(130));
    let (_, _place, waited) = start_all(&mut schedule, now + ms(130)).remove(0);
    assert_eq!((waited.host, waited.queue), (ms(100), ms(30)));
}

#[test]
fn robots_delay_holds_from_the_last_start_on() {
    let now = Instant::now();
    let mut schedule = schedule(limits(8, 8), now);
    (0..3).for_each(|item| schedule.push("a", item, now).unwrap());
    let Next::Start(_, _place, _) = schedule.next(now) else {
        panic!("nothing starts")
    };
    schedule.crawl_delay("a", Duration::from_secs(2), now);
    assert_eq!(next_start(&mut schedule, now + ms(500)), Some(ms(1_500)));
    assert_eq!(schedule.held(5, now)[0].reason, Reason::Delay);
}

#[test]
fn the_rate_of_all_hosts_is_kept_and_does_not_wait_for_one() {
    let now = Instant::now();
    let mut schedule = schedule(
        LimitOptions {
            rate: Some(10.0),
            ..limits(64, 64)
        },
        now,
    );
    for item in 0..30 {
        schedule.push(&format!("h{}", item % 3), item, now).unwrap();
    }
    let mut at = now;
    let mut started = 0;
    while at < now + Duration::from_secs(2) {
        match schedule.next(at) {
            Next::Start(_, place, _) => {
                started += 1;
                end(&mut schedule, place, Verdict::Answered, at);
            }
            Next::Wait(until) => at = until,
            Next::Blocked => break,
        }
    }
    assert!((20..=21).contains(&started), "{started} in two seconds at 10 a second");
}

#[test]
fn jobs_put_aside_come_back_when_their_host_runs_low() {
    let now = Instant::now();
    let mut schedule = schedule(limits(4, 1), now);
    (0..1_000).for_each(|item| schedule.push("big", item, now).unwrap());
    schedule.push("small", 1_000, now).unwrap();
    let (host, items) = schedule.spill(64).unwrap();
    assert_eq!((&*host, items.len(), items[0], schedule.queued()), ("big", 936, 64, 65));
    assert!(schedule.spill(64).is_none());
    assert!(schedule.hungry().is_none(), "it has enough");
    let mut seen = 0;
    while schedule.hungry().is_none() {
        for (_, place, _) in start_all(&mut schedule, now) {
            seen += 1;
            end(&mut schedule, place, Verdict::Answered, now);
            if schedule.queued() < HUNGRY_BELOW {
                break;
            }
        }
    }
    assert!(seen >= 64 - HUNGRY_BELOW, "{seen}");
    schedule.push("big", 64, now).unwrap();
    schedule.restored("big", Some(1), now);
    assert_eq!(schedule.explain("big", now).queued, schedule.queued() as u64 + 935);
    schedule.restored("big", None, now);
    assert_eq!(schedule.explain("big", now).queued, schedule.queued() as u64);
    assert!(schedule.hungry().is_none());
}

#[test]
fn hosts_without_work_are_forgotten_once_a_new_one_would_do() {
    let now = Instant::now();
    let mut schedule = schedule(
        LimitOptions {
            host_delay: Some(Duration::from_secs(1)),
            ..limits(8, 8)
        },
        now,
    );
    for item in 0..5_000_u32 {
        schedule.push(&format!("h{item}"), item, now).unwrap();
        for (_, place, _) in start_all(&mut schedule, now) {
            end(&mut schedule, place, Verdict::Answered, now);
        }
    }
    assert_eq!(schedule.hosts(), 5_000, "their delays still hold");
    for second in 2..20 {
        let _ = schedule.next(now + Duration::from_secs(second));
    }
    assert_eq!(schedule.hosts(), 0);
}

#[test]
fn what_was_learned_of_many_hosts_is_bounded() {
    let origin = Instant::now();
    let mut now = origin;
    let mut schedule = schedule(limits(8, 8), now);
    for item in 0..(REMEMBERED as u32 + 5_000) {
        now += ms(1);
        schedule.push(&format!("h{item}"), item, now).unwrap();
        for (_, place, _) in start_all(&mut schedule, now) {
            end(&mut schedule, place, Verdict::Failed, now);
        }
    }
    assert!(schedule.hosts() <= REMEMBERED + FORGET_AT_ONCE, "{}", schedule.hosts());
}

#[test]
fn an_explanation_names_the_pattern_and_what_is_waited_for() {
    let now = Instant::now();
    let mut schedule = schedule(
        LimitOptions {
            hosts: vec![HostLimit {
                pattern: "*.example.com".into(),
                in_flight: Some(1),
                rate: Some(5.0),
                delay: None,
            }],
            ..limits(64, 16)
        },
        now,
    );
    assert_eq!(schedule.explain("a.example.com", now).reason, Reason::None);
    (0..2).for_each(|item| schedule.push("a.example.com", item, now).unwrap());
    let _started = start_all(&mut schedule, now);
    let text = schedule.explain("a.example.com", now).to_string();
    for part in [
        "`*.example.com`",
        "in flight 1 of 1",
        "5 starts a second",
        "1 jobs wait",
        "waits for: host places",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

/// A run over hosts whose answers take some time: how long until the jobs of all but the last host are done.
fn simulated(hosts: u32, jobs: u32, takes: impl Fn(u32) -> (Duration, Verdict)) -> Duration {
    let origin = Instant::now();
    let mut now = origin;
    let mut schedule = schedule(limits(64, 16), now);
    for item in 0..hosts * jobs {
        let host = item % hosts;
        schedule.push(&format!("h{host}"), item, now).unwrap();
    }
    let mut in_flight: BTreeMap<(Instant, u32), Place> = BTreeMap::new();
    let mut tries: HashMap<u32, u32> = HashMap::new();
    let mut left = (hosts - 1) * jobs;
    loop {
        let wake = loop {
            match schedule.next(now) {
                Next::Start(item, place, _) => {
                    in_flight.insert((now + takes(item % hosts).0, item), place);
                }
                Next::Wait(until) => break Some(until),
                Next::Blocked => break None,
            }
        };
        let first = in_flight.first_key_value().map(|((at, _), _)| *at);
        now = match (first, wake) {
            (Some(first), Some(wake)) => first.min(wake),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => panic!("{left} jobs are left and nothing happens"),
        };
        while let Some(entry) = in_flight.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, item), place) = entry.remove_entry();
            let verdict = takes(item % hosts).1;
            end(&mut schedule, place, verdict, now);
            let tried = tries.entry(item).or_default();
            *tried += 1;
            if verdict != Verdict::Answered && *tried < 4 {
                schedule
                    .push_again(&format!("h{}", item % hosts), item, now + ms(500), now)
                    .unwrap();
            } else if item % hosts != hosts - 1 {
                left -= 1;
            }
        }
        if left == 0 {
            return now.duration_since(origin);
        }
    }
}

#[test]
fn one_bad_host_of_a_hundred_costs_the_others_nothing() {
    let good = (ms(100), Verdict::Answered);
    let without = simulated(100, 40, |_| good);
    let slow = (Duration::from_secs(20), Verdict::Answered);
    let hanging = (Duration::from_secs(15), Verdict::Failed);
    let refusing = (ms(1), Verdict::Failed);
    let overloaded = (ms(5), Verdict::Overloaded(Some(Duration::from_secs(3))));
    for bad in [slow, hanging, refusing, overloaded] {
        let with = simulated(100, 40, |host| if host == 99 { bad } else { good });
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        assert!(ratio <= 1.05, "{bad:?}: {with:?} in place of {without:?}");
    }
}

#[derive(Clone, Debug)]
enum Event {
    Push { host: u8 },
    Again { host: u8, wait: u16 },
    Pass { ms: u16 },
    End { pick: usize, verdict: Verdict },
}

fn event() -> impl Strategy<Value = Event> {
    let verdict = prop_oneof![
        6 => Just(Verdict::Answered),
        1 => Just(Verdict::Overloaded(None)),
        1 => (0_u64..3_000).prop_map(|wait| Verdict::Overloaded(Some(ms(wait)))),
        1 => Just(Verdict::Failed),
        1 => Just(Verdict::Unknown),
    ];
    prop_oneof![
        4 => (0_u8..5).prop_map(|host| Event::Push { host }),
        1 => (0_u8..5, 0_u16..2_000).prop_map(|(host, wait)| Event::Again { host, wait }),
        2 => (1_u16..700).prop_map(|ms| Event::Pass { ms }),
        4 => (any::<usize>(), verdict).prop_map(|(pick, verdict)| Event::End { pick, verdict }),
    ]
}

proptest! {
    /// Whatever happens: no limit is broken, no job is lost or started twice, nothing waits that could start, and all of it ends.
    #[test]
    fn limits_hold_and_no_job_is_lost(
        events in prop::collection::vec(event(), 1..200),
        concurrency in 1_usize..6,
        per_host in 1_usize..4,
        delay in prop::option::of(1_u64..200),
        rate in prop::option::of(1.0_f64..100.0),
        adaptive in any::<bool>(),
    ) {
        let origin = Instant::now();
        let mut now = origin;
        let options = LimitOptions {
            host_delay: delay.map(ms),
            host_rate: rate,
            adaptive,
            ..limits(concurrency, per_host)
        };
        let mut schedule = schedule(options, now);
        let mut pushed = 0_u32;
        let mut started: Vec<u32> = Vec::new();
        let mut in_flight: Vec<(u8, Place)> = Vec::new();
        let mut last_start: HashMap<u8, Instant> = HashMap::new();
        let mut hosts: HashMap<u32, (u8, Instant, Instant)> = HashMap::new();
        let names = ["a", "b", "c", "d", "e"];
        // In the end time passes and all ends, until nothing is left.
        let many = events.len();
        let finish = (0..4_000).map(|turn| match turn % 2 {
            0 => Event::End { pick: 0, verdict: Verdict::Answered },
            _ => Event::Pass { ms: 500 },
        });
        for (turn, event) in events.into_iter().chain(finish).enumerate() {
            if turn > many && started.len() == pushed as usize && in_flight.is_empty() {
                break;
            }
            match event {
                Event::Push { host } => {
                    schedule.push(names[host as usize], pushed, now).unwrap();
                    hosts.insert(pushed, (host, now, now));
                    pushed += 1;
                }
                Event::Again { host, wait } => {
                    let not_before = now + ms(u64::from(wait));
                    schedule.push_again(names[host as usize], pushed, not_before, now).unwrap();
                    hosts.insert(pushed, (host, not_before, now));
                    pushed += 1;
                }
                Event::Pass { ms: passes } => now += ms(u64::from(passes)),
                Event::End { .. } if in_flight.is_empty() => {}
                Event::End { pick, verdict } => {
                    let at = pick % in_flight.len();
                    let (_, place) = in_flight.swap_remove(at);
                    prop_assert!(schedule.ended(place, verdict, now).is_empty());
                }
            }
            loop {
                match schedule.next(now) {
                    Next::Start(item, place, waited) => {
                        let (host, not_before, since) = hosts[&item];
                        prop_assert!(not_before <= now, "a retry went too early");
                        prop_assert_eq!(waited.queue + waited.host, now.duration_since(since));
                        if let (Some(delay), Some(last)) = (delay, last_start.insert(host, now)) {
                            prop_assert!(now.duration_since(last) >= ms(delay), "the delay was not kept");
                        }
                        started.push(item);
                        in_flight.push((host, place));
                    }
                    Next::Wait(until) => {
                        prop_assert!(until > now);
                        break;
                    }
                    Next::Blocked => {
                        prop_assert!(schedule.queued() == 0 || !in_flight.is_empty(), "jobs wait for nothing");
                        break;
                    }
                }
            }
            prop_assert!(in_flight.len() <= concurrency);
            for host in 0..5_u8 {
                let of_host = in_flight.iter().filter(|(other, _)| *other == host).count();
                prop_assert!(of_host <= per_host);
                let explanation = schedule.explain(names[host as usize], now);
                prop_assert_eq!(explanation.in_flight, of_host);
                prop_assert!(explanation.queued == 0 || explanation.reason != Reason::None, "{} could start something", names[host as usize]);
            }
            prop_assert_eq!(schedule.in_flight(), in_flight.len());
            prop_assert_eq!(schedule.queued() + started.len(), pushed as usize);
        }
        started.sort_unstable();
        prop_assert_eq!(started, (0..pushed).collect::<Vec<_>>());
    }
}
