//! Flights under those who come, wait, lose patience and leave.

#![allow(
    clippy::disallowed_methods,
    reason = "calls that take time, callers that are tasks; the clock is paused"
)]

use super::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn key(number: u64) -> CacheKey {
    CacheKey::of_source("test").value(&number.to_le_bytes()).key()
}

/// Flights of a source that counts how often it is asked and how many of its calls are alive.
#[derive(Clone)]
struct Airport {
    flights: Flights<u64>,
    background: Background,
    asked: Arc<AtomicU64>,
    alive: Arc<AtomicU64>,
}

struct Alive(Arc<AtomicU64>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Airport {
    fn new() -> Self {
        Airport {
            flights: Flights::new(),
            background: Background::new(),
            asked: Arc::default(),
            alive: Arc::default(),
        }
    }

    /// A call that takes this long and answers with its number.
    fn call(&self, takes: Duration) -> impl FnOnce() -> futures_util::future::BoxFuture<'static, u64> + Send + 'static + use<> {
        let (asked, alive) = (self.asked.clone(), self.alive.clone());
        move || {
            Box::pin(async move {
                let number = asked.fetch_add(1, SeqCst) + 1;
                alive.fetch_add(1, SeqCst);
                let _alive = Alive(alive);
                sleep(takes).await;
                number
            })
        }
    }

    async fn join(&self, number: u64, takes: Duration) -> Landed<u64> {
        self.flights.join(key(number), &self.background, LIMIT, self.call(takes)).await
    }

    /// The same as a task.
    fn caller(&self, number: u64, takes: Duration) -> tokio::task::JoinHandle<Landed<u64>> {
        let airport = self.clone();
        tokio::spawn(async move { airport.join(number, takes).await })
    }

    fn renew(&self, number: u64, takes: Duration) -> bool {
        self.flights.renew(key(number), &self.background, LIMIT, self.call(takes))
    }

    fn asked(&self) -> u64 {
        self.asked.load(SeqCst)
    }

    fn alive(&self) -> u64 {
        self.alive.load(SeqCst)
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

fn landed(number: u64, role: Role) -> Landed<u64> {
    Landed {
        settled: Settled::Done(number),
        role,
    }
}

#[tokio::test(start_paused = true)]
async fn equal_calls_at_once_are_made_once_and_other_calls_are_not_held_up() {
    let airport = Airport::new();
    let (first, second, other) = tokio::join!(airport.join(1, ms(100)), airport.join(1, ms(100)), airport.join(2, ms(50)));
    assert_eq!((first, second), (landed(1, Role::Led), landed(1, Role::Followed)));
    assert_eq!(other, landed(2, Role::Led));
    assert_eq!((airport.asked(), airport.alive(), airport.flights.count()), (2, 0, 0));
    assert_eq!(airport.join(1, ms(100)).await, landed(3, Role::Led), "what has landed is forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_kills_nobody() {
    let airport = Airport::new();
    let leader = airport.caller(1, ms(100));
    settle().await;
    let followers: Vec<_> = (0..5).map(|_| airport.caller(1, ms(100))).collect();
    settle().await;
    assert_eq!(airport.flights.waiting(&key(1)), 6);
    leader.abort();
    for follower in followers {
        assert_eq!(follower.await.unwrap(), landed(1, Role::Followed));
    }
    assert_eq!(airport.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_last_one_leaves_the_call_is_dropped_at_once() {
    let airport = Airport::new();
    let callers: Vec<_> = (0..3).map(|_| airport.caller(1, ms(100))).collect();
    settle().await;
    callers[0].abort();
    callers[2].abort();
    settle().await;
    assert_eq!((airport.alive(), airport.flights.count()), (1, 1), "one still waits");
    let left_at = Instant::now();
    callers[1].abort();
    settle().await;
    assert_eq!((airport.alive(), airport.flights.count(), airport.background.count()), (0, 0, 0));
    assert_eq!(left_at.elapsed(), Duration::ZERO);
    assert_eq!(airport.join(1, ms(100)).await, landed(2, Role::Led));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_before_the_flight_began_has_asked_nobody() {
    let airport = Airport::new();
    let mut join = Box::pin(airport.join(1, ms(100)));
    assert!((&mut join).now_or_never().is_none());
    drop(join);
    settle().await;
    assert_eq!((airport.asked(), airport.flights.count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_comes_before_the_flight_has_noticed_that_all_left_is_carried() {
    let airport = Airport::new();
    let mut leader = Box::pin(airport.join(1, ms(100)));
    assert!((&mut leader).now_or_never().is_none());
    settle().await;
    // Nothing else runs between these three lines.
    drop(leader);
    let mut follower = Box::pin(airport.join(1, ms(100)));
    assert!((&mut follower).now_or_never().is_none());
    assert_eq!(follower.await, landed(1, Role::Followed));
    assert_eq!(airport.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_waits_as_long_as_its_own_deadline_lets_it() {
    let airport = Airport::new();
    let started = Instant::now();
    let patient = airport.caller(1, ms(100));
    settle().await;
    assert!(Deadline::after(ms(30)).bound(airport.join(1, ms(100))).await.is_err());
    assert_eq!(started.elapsed(), ms(30));
    assert_eq!(patient.await.unwrap(), landed(1, Role::Led));
    assert_eq!(started.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn a_flight_ends_at_its_own_limit_for_all() {
    let airport = Airport::new();
    let join = || airport.flights.join(key(1), &airport.background, ms(50), airport.call(ms(100)));
    let started = Instant::now();
    let (first, second) = tokio::join!(join(), join());
    assert_eq!((first.settled, second.settled), (Settled::TimedOut, Settled::TimedOut));
    assert_eq!(started.elapsed(), ms(50));
    settle().await;
    assert_eq!((airport.alive(), airport.flights.count()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_goes_to_those_who_wait_and_to_nobody_after() {
    let flights: Flights<Result<u64, &str>> = Flights::new();
    let background = Background::new();
    let fails = || async {
        sleep(ms(10)).await;
        Err("broken")
    };
    let (first, second) = tokio::join!(
        flights.join(key(1), &background, LIMIT, fails),
        flights.join(key(1), &background, LIMIT, fails)
    );
    assert_eq!(
        (first.settled, second.settled),
        (Settled::Done(Err("broken")), Settled::Done(Err("broken")))
    );
    assert_eq!(
        flights.join(key(1), &background, LIMIT, || async { Ok(7) }).await.settled,
        Settled::Done(Ok(7))
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_to_those_who_wait_and_goes_no_further() {
    let airport = Airport::new();
    let panics = |late: bool| {
        let boom = move || -> futures_util::future::BoxFuture<'static, u64> {
            assert!(late, "in the closure");
            Box::pin(async { panic!("in the future") })
        };
        airport.flights.join(key(1), &airport.background, LIMIT, boom)
    };
    let (first, second) = tokio::join!(panics(true), panics(true));
    assert_eq!(
        (&first.settled, &second.settled),
        (
            &Settled::Panicked("in the future".into()),
            &Settled::Panicked("in the future".into())
        )
    );
    assert_eq!(panics(false).await.settled, Settled::Panicked("in the closure".into()));
    assert_eq!(airport.flights.count(), 0);
    assert_eq!(airport.join(1, ms(1)).await, landed(1, Role::Led));
}

#[tokio::test(start_paused = true)]
async fn a_background_that_takes_no_more_is_said_at_once() {
    let airport = Airport::new();
    airport.background.drain(Deadline::after(Duration::ZERO)).await;
    assert_eq!(
        airport.join(1, ms(100)).await,
        Landed {
            settled: Settled::Cancelled(Why::NotStarted),
            role: Role::Led
        }
    );
    assert!(!airport.renew(1, ms(100)));
    assert_eq!(airport.flights.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_the_leaders_client_goes_down_the_followers_begin_anew() {
    let airport = Airport::new();
    let other_core = Airport {
        background: Background::new(),
        ..airport.clone()
    };
    let leader = airport.caller(1, ms(100));
    settle().await;
    let followers: Vec<_> = (0..3).map(|_| other_core.caller(1, ms(100))).collect();
    settle().await;
    airport.background.drain(Deadline::after(ms(10))).await;
    assert_eq!(leader.await.unwrap().settled, Settled::Cancelled(Why::Parent));
    let mut roles = Vec::new();
    for follower in followers {
        let Landed { settled, role } = follower.await.unwrap();
        assert_eq!(settled, Settled::Done(2));
        roles.push(role);
    }
    assert_eq!(roles.iter().filter(|role| **role == Role::Led).count(), 1, "{roles:?}");
}

#[tokio::test(start_paused = true)]
async fn there_is_one_renewal_at_a_time_and_it_needs_nobody() {
    let airport = Airport::new();
    assert!(airport.renew(1, ms(100)));
    assert!(!airport.renew(1, ms(100)), "one at a time");
    assert!(airport.renew(2, ms(100)), "of each key");
    settle().await;
    let visitor = airport.caller(1, ms(100));
    settle().await;
    visitor.abort();
    settle().await;
    assert_eq!(airport.alive(), 2, "one who leaves a renewal does not end it");
    assert_eq!(airport.join(1, ms(100)).await, landed(1, Role::Followed));
    settle().await;
    assert_eq!((airport.asked(), airport.alive(), airport.flights.count()), (2, 0, 0));
    let leader = airport.caller(1, ms(100));
    settle().await;
    assert!(!airport.renew(1, ms(100)), "a flight that is under way renews as well");
    leader.await.unwrap();
    assert!(airport.renew(1, ms(100)));
}

#[tokio::test(start_paused = true)]
async fn a_renewal_ends_at_its_limit() {
    let airport = Airport::new();
    assert!(airport.flights.renew(key(1), &airport.background, ms(50), airport.call(LIMIT)));
    sleep(ms(51)).await;
    assert_eq!((airport.alive(), airport.flights.count()), (0, 0));
}

/// One who asks for a key at a time and waits so long. Arrivals, ends of patience and ends of flights fall on times that differ
/// modulo 3, so that no two things of different kinds happen at once.
#[derive(Clone, Debug)]
struct Caller {
    number: u64,
    arrives: u64,
    patience: u64,
}

fn caller() -> impl Strategy<Value = Caller> {
    (0_u64..3, 0_u64..60, 0_u64..40).prop_map(|(number, arrives, patience)| Caller {
        number,
        arrives: arrives * 3,
        patience: patience * 3 + 1,
    })
}

/// How long the n-th flight of a key takes.
fn takes(number: u64, nth: u64) -> u64 {
    ((number * 7 + nth * 11) % 30) * 3 + 2
}

/// What should come out: for each caller the number of the flight that answered it, if one did; and how many flights each key had.
fn model(callers: &[Caller]) -> (Vec<Option<u64>>, [u64; 3]) {
    let mut answers = vec![None; callers.len()];
    let mut flights = [0; 3];
    for number in 0..3 {
        let mut order: Vec<usize> = (0..callers.len()).filter(|at| callers[*at].number == number).collect();
        order.sort_by_key(|at| callers[*at].arrives);
        // The flight under way: its end, and when the last of those in it so far leaves.
        let (mut ends, mut abandoned) = (0, 0);
        for at in order {
            let Caller { arrives, patience, .. } = callers[at];
            if arrives >= ends.min(abandoned) {
                flights[number as usize] += 1;
                (ends, abandoned) = (arrives + takes(number, flights[number as usize]), 0);
            }
            abandoned = abandoned.max(arrives + patience);
            answers[at] = (ends < arrives + patience).then_some(flights[number as usize]);
        }
    }
    (answers, flights)
}

async fn agrees_with_the_model(callers: Vec<Caller>) {
    let (answers, flights) = model(&callers);
    let airport = Airport::new();
    let asked: Arc<[AtomicU64; 3]> = Arc::default();
    let start = Instant::now();
    let tasks: Vec<_> = callers
        .into_iter()
        .map(|Caller { number, arrives, patience }| {
            let (airport, asked) = (airport.clone(), asked.clone());
            tokio::spawn(async move {
                sleep_until(start + ms(arrives)).await;
                let call = move || async move {
                    let nth = asked[number as usize].fetch_add(1, SeqCst) + 1;
                    sleep_until(start + ms(arrives) + ms(takes(number, nth))).await;
                    nth
                };
                let joined = airport.flights.join(key(number), &airport.background, LIMIT, call);
                let landed = Deadline::at(start + ms(arrives + patience)).bound(joined).await;
                landed.ok().map(|landed| landed.settled)
            })
        })
        .collect();
    for (at, (task, expected)) in tasks.into_iter().zip(answers).enumerate() {
        assert_eq!(task.await.unwrap(), expected.map(Settled::Done), "caller {at}");
    }
    settle().await;
    assert_eq!(asked.each_ref().map(|asked| asked.load(SeqCst)), flights);
    assert_eq!((airport.flights.count(), airport.background.count()), (0, 0));
}

proptest! {
    #[test]
    fn flights_agree_with_a_model(callers in prop::collection::vec(caller(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(agrees_with_the_model(callers));
    }
}

/// Callers on several threads that come, wait a few turns and leave. Nobody is left waiting, nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_callers_that_leave_loses_no_wake_up_and_leaves_nothing() {
    let airport = Airport::new();
    let in_time = Deadline::after(Duration::from_secs(60));
    let storm: Vec<_> = (0..16)
        .map(|seed| {
            let airport = airport.clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                let (mut answered, mut left) = (0, 0);
                for _ in 0..2_000 {
                    let (number, turns, patience) = (random.u64(0..3), random.u8(0..4), random.u8(0..6));
                    let (asked, alive) = (airport.asked.clone(), airport.alive.clone());
                    let call = move || async move {
                        asked.fetch_add(1, SeqCst);
                        alive.fetch_add(1, SeqCst);
                        let _alive = Alive(alive);
                        for _ in 0..turns {
                            yield_now().await;
                        }
                        number
                    };
                    let joined = airport.flights.join(key(number), &airport.background, LIMIT, call);
                    if patience == 0 {
                        drop(joined);
                        continue;
                    }
                    let leaves = async {
                        for _ in 0..patience {
                            yield_now().await;
                        }
                        // The impatient leave, the others would wait for ever.
                        if patience > 4 {
                            std::future::pending::<()>().await;
                        }
                    };
                    tokio::select! {
                        landed = joined => {
                            assert_eq!(landed.settled, Settled::Done(number));
                            answered += 1;
                        }
                        () = leaves => left += 1,
                    }
                }
                (answered, left)
            })
        })
        .collect();
    let (mut answered, mut left) = (0, 0);
    for task in storm {
        let (of_one, left_by_one) = in_time.bound(task).await.expect("somebody waits for ever").unwrap();
        answered += of_one;
        left += left_by_one;
    }
    assert!(answered > 5_000 && left > 100, "{answered} answered, {left} left");
    while airport.background.count() > 0 {
        assert!(!in_time.has_passed());
        yield_now().await;
    }
    assert_eq!((airport.flights.count(), airport.alive()), (0, 0));
    assert!(airport.asked() <= answered + left);
}
