//! Turns and bounds of the queue, on a clock that is a number.

use super::*;
use proptest::prelude::*;

fn us(microseconds: u64) -> Duration {
    Duration::from_micros(microseconds)
}

/// Fills a lane per cost with jobs of that cost, works them off on `threads` threads until `spend` is over, and returns what each lane
/// got to compute. A thread that is free takes the next job; time is when the earliest busy one is done.
fn shares(costs: &[u64], threads: usize, spend: Duration) -> Vec<Duration> {
    let labels: Vec<String> = (0..costs.len()).map(|lane| format!("lane {lane}")).collect();
    let mut queue = Queue::new(usize::MAX);
    for (lane, label) in labels.iter().enumerate() {
        for _ in 0..2 {
            queue.push(label, lane).unwrap(); // two, so that a lane is not empty when one is taken
        }
    }
    let mut got = vec![Duration::ZERO; costs.len()];
    let mut busy: Vec<(Duration, Taken<usize>)> = Vec::new();
    let mut clock = Duration::ZERO;
    while clock < spend {
        while busy.len() < threads {
            let taken = queue.pop().expect("each lane is refilled below");
            queue.push(&labels[taken.job], taken.job).unwrap();
            busy.push((clock + us(costs[taken.job]), taken));
        }
        let first = (0..busy.len()).min_by_key(|index| busy[*index].0).unwrap();
        let (done_at, taken) = busy.swap_remove(first);
        clock = done_at;
        let took = us(costs[taken.job]);
        got[taken.job] += took;
        queue.settle(&taken.bill, Some(took));
    }
    got
}

proptest! {
    /// Whatever the jobs of a lane cost, a lane that always has some waiting gets as much time as any other, but for a
    /// quantum and the jobs that were begun before their cost was known.
    #[test]
    fn time_is_shared_evenly(costs in prop::collection::vec(20_u64..5_000, 2..6), threads in 1_usize..4) {
        let got = shares(&costs, threads, Duration::from_secs(1));
        let (most, least) = (got.iter().max().unwrap(), got.iter().min().unwrap());
        let dearest = us(*costs.iter().max().unwrap());
        let slack = us(2_000) + dearest * 3 * u32::try_from(threads).unwrap();
        prop_assert!(*most <= *least + slack, "{costs:?} on {threads} threads got {got:?}");
    }

    /// Whatever is pushed, removed and taken in whatever order, nothing is lost, doubled or taken out of its lane's order.
    #[test]
    fn every_job_leaves_once_and_in_order(steps in prop::collection::vec((0_u8..4, 0_usize..5), 1..200), most in 1_usize..12) {
        let mut queue = Queue::new(most);
        let mut waiting: Vec<(String, u64)> = Vec::new();
        let mut bills: Vec<Bill> = Vec::new();
        for (step, pick) in steps {
            match step {
                0 | 1 => {
                    let label = format!("lane {pick}");
                    let number = queue.push(&label, queue.next_number);
                    prop_assert_eq!(number.is_some(), waiting.len() < most);
                    waiting.extend(number.map(|number| (label, number)));
                }
                2 => {
                    let taken = queue.pop();
                    prop_assert_eq!(taken.is_some(), !waiting.is_empty());
                    if let Some(Taken { job, bill }) = taken {
                        let oldest = waiting.iter().position(|(label, _)| **label == *bill.label).unwrap();
                        prop_assert_eq!(waiting.remove(oldest).1, job);
                        bills.push(bill);
                    }
                }
                _ if pick < waiting.len() => {
                    let (label, number) = waiting.remove(pick);
                    prop_assert_eq!(queue.remove(&label, number), Some(number));
                    prop_assert_eq!(queue.remove(&label, number), None);
                }
                _ => if let Some(bill) = bills.pop() {
                    let took = (pick > 0).then(|| us(pick as u64 * 700));
                    queue.settle(&bill, took);
                }
            }
            prop_assert_eq!(queue.waiting(), waiting.len());
        }
        for bill in &bills {
            queue.settle(bill, Some(us(1)));
        }
        while let Some(taken) = queue.pop() {
            let oldest = waiting.iter().position(|(label, _)| **label == *taken.bill.label).unwrap();
            prop_assert_eq!(waiting.remove(oldest).1, taken.job);
            queue.settle(&taken.bill, None);
        }
        prop_assert!(waiting.is_empty() && queue.lanes.is_empty() && queue.turns.is_empty());
    }
}

#[test]
fn a_lane_in_debt_sits_out_until_the_others_have_had_as_much() {
    let mut queue = Queue::new(1_000);
    for job in 0..100 {
        queue.push("dear", job).unwrap();
        queue.push("cheap", job).unwrap();
    }
    let mut order = String::new();
    for _ in 0..60 {
        let taken = queue.pop().unwrap();
        let is_dear = &*taken.bill.label == "dear";
        order.push(if is_dear { 'D' } else { '.' });
        queue.settle(&taken.bill, Some(us(if is_dear { 20_000 } else { 1_000 })));
    }
    let dear = order.matches('D').count();
    assert_eq!(dear, 3, "3 of 20 ms beside 57 of 1 ms, not every other one: {order}");
}

#[test]
fn alone_a_lane_in_debt_does_not_wait() {
    let mut queue = Queue::new(8);
    queue.push("only", 0).unwrap();
    queue.push("only", 1).unwrap();
    let first = queue.pop().unwrap();
    queue.settle(&first.bill, Some(Duration::from_secs(86_400)));
    assert_eq!(queue.pop().map(|taken| taken.job), Some(1));
}

#[test]
fn lanes_that_are_idle_are_forgotten_beyond_a_number() {
    let mut queue = Queue::new(8);
    queue.push("busy", 0).unwrap();
    let bill = queue.pop().unwrap().bill;
    for number in 0..10_000 {
        let label = format!("GET /{number}");
        queue.push(&label, 1).unwrap();
        queue.remove(&label, number + 1).unwrap();
        assert!(queue.lanes.len() <= LANES_KEPT);
    }
    assert!(queue.lanes.contains_key("busy"), "its job runs");
    queue.settle(&bill, Some(us(5)));
    assert!(queue.lanes.is_empty());
}
