//! What a gather promises whatever its children do: nothing of it is alive afterwards, each child is reported once, and it
//! ends at the instant that its rule says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use anabranch::{Child, Deadline, Join, Report, Settled, Why, call, gather};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use crate::cancel::poll_once;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Runs a future on a clock that jumps to the next timer.
pub(crate) fn paused<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

/// Counts the children that are alive and how many were at most.
#[derive(Clone, Default)]
pub(crate) struct Census {
    alive: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

/// One child that is alive, until it is dropped.
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Census {
    pub(crate) fn enter(&self) -> Alive {
        let alive = self.alive.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(alive, SeqCst);
        self.begun.fetch_add(1, SeqCst);
        Alive(self.alive.clone())
    }

    /// How many were ever started.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(SeqCst)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(SeqCst)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// What a child will do.
#[derive(Clone, Copy, Debug)]
struct Plan {
    lasts: u64,
    end: End,
    optional: bool,
    timeout: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Succeeds,
    Fails,
    Panics,
}

impl Plan {
    fn child(self, name: String, census: &Census) -> Child<'_, u64, &'static str> {
        let child = call(name, async move {
            let _alive = census.enter();
            sleep(ms(self.lasts)).await;
            match self.end {
                End::Succeeds => Ok(self.lasts),
                End::Fails => Err("no"),
                // Without the panic hook: a thousand cases would fill the terminal.
                End::Panics => std::panic::resume_unwind(Box::new("as planned")),
            }
        });
        let child = if self.optional { child.optional() } else { child };
        match self.timeout {
            Some(limit) => child.timeout(ms(limit)),
            None => child,
        }
    }

    /// When it ends if nobody stops it: what is ready at its timeout counts.
    fn ends(self) -> u64 {
        self.timeout.map_or(self.lasts, |limit| self.lasts.min(limit))
    }

    fn in_time(self) -> bool {
        self.timeout.is_none_or(|limit| self.lasts <= limit)
    }

    fn succeeds(self) -> bool {
        self.in_time() && self.end == End::Succeeds
    }

    fn left_alone(self) -> Settled<Result<u64, &'static str>> {
        match self.end {
            _ if !self.in_time() => Settled::TimedOut,
            End::Succeeds => Settled::Done(Ok(self.lasts)),
            End::Fails => Settled::Done(Err("no")),
            End::Panics => Settled::Panicked("as planned".to_owned()),
        }
    }
}

/// When a gather without a limit ends, by the words of [`Join`].
fn expected_end(join: Join, deadline: u64, plans: &[Plan]) -> u64 {
    let all = plans.iter().map(|plan| plan.ends()).max().unwrap_or(0);
    let required = plans.iter().filter(|plan| !plan.optional);
    let by_rule = match join {
        Join::All => None,
        Join::FailFast => required.filter(|plan| !plan.succeeds()).map(|plan| plan.ends()).min(),
        Join::First(wanted) => {
            let mut successes: Vec<u64> = plans.iter().filter(|plan| plan.succeeds()).map(|plan| plan.ends()).collect();
            successes.sort_unstable();
            successes.get(wanted.max(1) - 1).copied()
        }
        Join::Required { grace } => required.map(|plan| plan.ends()).max().map(|last| last + grace.as_millis() as u64),
    };
    by_rule.unwrap_or(all).min(all).min(deadline)
}

fn plan() -> impl Strategy<Value = Plan> {
    let end = prop_oneof![6 => Just(End::Succeeds), 2 => Just(End::Fails), 1 => Just(End::Panics)];
    (0_u64..120, end, any::<bool>(), prop::option::weighted(0.2, 1_u64..120)).prop_map(|(lasts, end, optional, timeout)| Plan {
        lasts,
        end,
        optional,
        timeout,
    })
}

fn join() -> impl Strategy<Value = Join> {
    prop_oneof![
        Just(Join::All),
        Just(Join::FailFast),
        (0_usize..5).prop_map(Join::First),
        (0_u64..60).prop_map(|grace| Join::Required { grace: ms(grace) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_gather_keeps_its_promises(
        plans in prop::collection::vec(plan(), 0..14),
        at_once in prop::option::of(0_usize..6),
        join in join(),
        deadline in 1_u64..150,
    ) {
        paused(check(plans, at_once, join, deadline))?;
    }
}

async fn check(plans: Vec<Plan>, at_once: Option<usize>, join: Join, deadline: u64) -> Result<(), TestCaseError> {
    let census = Census::default();
    let mut heard: Vec<(String, Settled<Result<u64, &'static str>>)> = Vec::new();
    let start = Instant::now();
    let report = {
        let mut gather = gather(Deadline::after(ms(deadline))).join(join);
        if let Some(at_once) = at_once {
            gather = gather.limit(at_once);
        }
        for (index, plan) in plans.iter().enumerate() {
            gather = gather.add(plan.child(index.to_string(), &census));
        }
        gather
            .on_each(|name, settled| heard.push((name.to_owned(), settled.clone())))
            .run()
            .await
    };
    let elapsed = start.elapsed();

    // 1: nothing of it is alive.
    prop_assert_eq!(census.alive(), 0);
    // 3: in time, and one outcome each, in order, told once each.
    prop_assert!(elapsed <= ms(deadline), "took {:?}", elapsed);
    let names: Vec<String> = report.outcomes.iter().map(|(name, ..)| name.clone()).collect();
    prop_assert_eq!(&names, &(0..plans.len()).map(|index| index.to_string()).collect::<Vec<_>>());
    heard.sort_by_key(|(name, _)| name.parse::<usize>().unwrap());
    let told: Vec<_> = report
        .outcomes
        .iter()
        .map(|(name, settled, _)| (name.clone(), settled.clone()))
        .collect();
    prop_assert_eq!(heard, told);
    // 6: never more than the limit, and what was not started says so.
    if let Some(at_once) = at_once {
        prop_assert!(census.most.load(SeqCst) <= at_once.max(1));
    }
    let stopped_unpolled = |settled: &Settled<_>, took: Duration| matches!(settled, Settled::Cancelled(_)) && took.is_zero();
    let polled = report
        .outcomes
        .iter()
        .filter(|(_, settled, took)| !stopped_unpolled(settled, *took))
        .count();
    let not_started = report
        .outcomes
        .iter()
        .filter(|(_, settled, _)| *settled == Settled::Cancelled(Why::NotStarted))
        .count();
    prop_assert!((polled..=plans.len() - not_started).contains(&census.begun()));

    for ((name, settled, took), plan) in report.outcomes.iter().zip(&plans) {
        let in_words = format!("`{name}` {plan:?} {settled:?} after {took:?}, all after {elapsed:?}");
        match settled {
            Settled::Cancelled(Why::NotStarted) => prop_assert!(*took == Duration::ZERO && at_once.is_some(), "{}", in_words),
            Settled::Cancelled(Why::Grace) => prop_assert!(plan.optional && matches!(join, Join::Required { .. }), "{}", in_words),
            Settled::Cancelled(Why::FailFast) => prop_assert!(join == Join::FailFast, "{}", in_words),
            Settled::Cancelled(Why::Enough) => prop_assert!(matches!(join, Join::First(_)), "{}", in_words),
            Settled::Cancelled(Why::Parent) => prop_assert!(false, "{}", in_words),
            // By the deadline of all, or else by its own.
            Settled::TimedOut if elapsed == ms(deadline) && *took < ms(plan.ends()) => {}
            // 5: a panic and a failure are the child's own affair.
            own => prop_assert!(*own == plan.left_alone() && *took == ms(plan.ends()), "{}", in_words),
        }
    }
    // 7 and 8: it ends at the very instant that the rule says.
    if at_once.is_none() {
        prop_assert_eq!(elapsed, ms(expected_end(join, deadline, &plans)));
    }
    prop_assert_eq!(report.complete, is_complete(join, &report));
    Ok(())
}

fn is_complete(join: Join, report: &Report<u64, &'static str>) -> bool {
    let succeeded = report.outcomes.iter().filter(|(_, settled, _)| settled.is_ok()).count();
    match join {
        Join::First(wanted) => succeeded >= wanted.max(1),
        _ => succeeded == report.outcomes.len(),
    }
}

async fn ok_after(census: &Census, lasts: u64) -> Result<u64, &'static str> {
    let _alive = census.enter();
    sleep(ms(lasts)).await;
    Ok(lasts)
}

#[tokio::test(start_paused = true)]
async fn dropping_a_gather_half_way_ends_its_children_at_once() {
    let census = Census::default();
    let run = gather(Deadline::after(ms(500)))
        .add(call("a", ok_after(&census, 100)))
        .add(call("b", ok_after(&census, 200)))
        .run();
    let mut run = Box::pin(run);
    assert!(poll_once(&mut run).await.is_pending());
    assert_eq!(census.alive(), 2);
    drop(run);
    assert_eq!(census.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_gather_inside_another_never_outlives_it() {
    let census = Census::default();
    let inner = async {
        let report = gather(Deadline::after(ms(10_000)))
            .add(call("leaf", ok_after(&census, 5_000)))
            .run()
            .await;
        Err::<u64, _>(report.outcomes.len())
    };
    let start = Instant::now();
    let report = gather(Deadline::after(ms(100))).add(call("inner", inner)).run().await;
    assert_eq!(report.outcomes, [("inner".to_owned(), Settled::TimedOut, ms(100))]);
    assert_eq!((start.elapsed(), census.alive()), (ms(100), 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_contained_and_named_and_its_siblings_finish() {
    let census = Census::default();
    let broken = async {
        sleep(ms(5)).await;
        std::panic::resume_unwind(Box::new("out of cheese".to_owned()))
    };
    let report = gather(Deadline::after(ms(500)))
        .add(call("broken", broken))
        .add(call("fine", ok_after(&census, 50)))
        .run()
        .await;
    assert_eq!(report.get("broken"), Some(&Settled::Panicked("out of cheese".to_owned())));
    assert_eq!(report.value("fine"), Some(&50));
    assert!(!report.complete);
}

#[tokio::test(start_paused = true)]
async fn optional_ones_get_the_grace_and_no_more() {
    let census = Census::default();
    let start = Instant::now();
    let mut report = gather(Deadline::after(ms(2_000)))
        .join(Join::Required { grace: ms(50) })
        .add(call("profile", ok_after(&census, 100)))
        .add(call("near", ok_after(&census, 150)).optional())
        .add(call("far", ok_after(&census, 151)).optional())
        .run()
        .await;
    assert_eq!(start.elapsed(), ms(150));
    assert_eq!(report.get("far"), Some(&Settled::Cancelled(Why::Grace)));
    assert_eq!(report.take("near").and_then(Settled::ok), Some(150), "ready at the cut counts");
    assert_eq!(report.take("near"), None);
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_nothing_is_started() {
    let census = Census::default();
    let report = gather(Deadline::after(ms(0))).add(call("late", ok_after(&census, 0))).run().await;
    assert_eq!(report.get("late"), Some(&Settled::Cancelled(Why::NotStarted)));
    let report = gather(Deadline::after(ms(10)))
        .limit(1)
        .add(call("first", ok_after(&census, 20)))
        .add(call("second", ok_after(&census, 0)))
        .run()
        .await;
    assert_eq!(report.get("first"), Some(&Settled::TimedOut));
    assert_eq!(report.get("second"), Some(&Settled::Cancelled(Why::NotStarted)));
}

#[tokio::test(start_paused = true)]
async fn the_future_of_a_gather_goes_to_other_threads() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let census = Census::default();
    let run = gather(Deadline::after(ms(10)))
        .on_each(|_, _| {})
        .add(call("a", ok_after(&census, 1)).timeout(ms(5)))
        .run();
    assert!(is_send(run).await.complete);
}
