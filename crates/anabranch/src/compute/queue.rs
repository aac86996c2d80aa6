//! The queue of a compute pool: bounded, and fair between labels by the time their jobs take.
//!
//! Deficit round robin (Shreedhar and Varghese, 1995) serves each lane while it has credit and gives it a quantum when its
//! turn comes round. There the cost of a packet is known before it is sent; a job's is known when it has ended. So a job is
//! charged what its lane's jobs took of late when it starts, and the difference when it ends, as Linux does with the airtime
//! of Wi-Fi stations (net/mac80211/tx.c). A lane may thus get into debt, and sits out rounds until that is paid.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What a lane gets each round, in nanoseconds: about one small job. A lane of tiny jobs runs this long in a row at most.
const QUANTUM: i64 = 1_000_000;
/// The least that a job is charged: what it takes to hand it over and to wake its caller.
const LEAST_COST: i64 = 20_000;
/// Lanes without jobs are forgotten beyond this number, their debts with them. More routes than most gateways have.
const LANES_KEPT: usize = 1_024;

/// Jobs that wait, by label. It runs nothing and reads no clock.
pub(super) struct Queue<J> {
    lanes: HashMap<Arc<str>, Lane<J>>,
    /// The labels of lanes with waiting jobs, in the order of their turns; each once.
    turns: VecDeque<Arc<str>>,
    waiting: usize,
    most: usize,
    /// Jobs that were taken and have not been settled.
    taken: usize,
    next_number: u64,
    /// At this many lanes the idle ones are swept out: constant work per lane.
    sweep_at: usize,
}

struct Lane<J> {
    /// Oldest first; their numbers ascend.
    jobs: VecDeque<(u64, J)>,
    /// Nanoseconds of computing that it may still use in this round; below zero it is in debt.
    credit: i64,
    /// What its jobs cost of late, smoothed.
    usual: i64,
    /// Jobs that were taken and have not been settled.
    taken: usize,
}

/// A job at its turn. It has to be settled.
pub(super) struct Taken<J> {
    pub(super) job: J,
    pub(super) bill: Bill,
}

/// Who pays for a job, and what was charged so far.
#[derive(Debug)]
pub(super) struct Bill {
    label: Arc<str>,
    charged: i64,
}

impl<J> Queue<J> {
    pub(super) fn new(most: usize) -> Self {
        Queue {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            most,
            taken: 0,
            next_number: 0,
            sweep_at: LANES_KEPT,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Adds a job at the end of its label's lane; the number it can be removed by, or nothing if the queue is full.
    pub(super) fn push(&mut self, label: &str, job: J) -> Option<u64> {
        if self.waiting >= self.most {
            return None;
        }
        if !self.lanes.contains_key(label) {
            self.sweep();
            self.lanes.insert(Arc::from(label), Lane::new());
        }
        let number = self.next_number;
        self.next_number += 1;
        self.waiting += 1;
        let lane = self.lanes.get_mut(label).expect("inserted above if it was missing");
        lane.jobs.push_back((number, job));
        if lane.jobs.len() == 1 {
            self.turns.push_back(Arc::from(label));
        }
        Some(number)
    }

    /// Takes the job whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Taken<J>> {
        self.come_to_credit();
        let label = self.turns.front()?.clone();
        let lane = self.lane(&label);
        let (_, job) = lane.jobs.pop_front().expect("a lane with a turn has a job");
        let charged = lane.usual;
        lane.credit -= charged;
        lane.taken += 1;
        if lane.jobs.is_empty() {
            self.turns.pop_front();
        }
        self.waiting -= 1;
        self.taken += 1;
        Some(Taken {
            job,
            bill: Bill { label, charged },
        })
    }

    /// Corrects what a taken job was charged to what it took; `None` is a job that was not run.
    pub(super) fn settle(&mut self, bill: &Bill, took: Option<Duration>) {
        let cost = took.map_or(0, |took| i64::try_from(took.as_nanos()).unwrap_or(i64::MAX / 2).max(LEAST_COST));
        let lane = self.lane(&bill.label);
        lane.credit = lane.credit.saturating_add(bill.charged).saturating_sub(cost);
        lane.taken -= 1;
        if took.is_some() {
            lane.usual += (cost - lane.usual) / 4;
        }
        self.taken -= 1;
        self.forget_when_idle();
    }

    /// Takes a job out of its turn, if it still waits.
    pub(super) fn remove(&mut self, label: &str, number: u64) -> Option<J> {
        let lane = self.lanes.get_mut(label)?;
        let place = lane.jobs.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        let (_, job) = lane.jobs.remove(place)?;
        if lane.jobs.is_empty() {
            self.turns.retain(|turn| **turn != *label);
        }
        self.waiting -= 1;
        self.forget_when_idle();
        Some(job)
    }

    /// Brings a lane with credit to the front. Rounds in which no lane would get any are given at once, so that a debt of
    /// seconds costs no more steps than one of microseconds: at most two for each lane.
    fn come_to_credit(&mut self) {
        let Some(front) = self.turns.front().cloned() else { return };
        if self.lane(&front).credit > 0 {
            return;
        }
        let turns = std::mem::take(&mut self.turns);
        let rounds = turns
            .iter()
            .map(|label| (-self.lane(label).credit).max(0) / QUANTUM)
            .min()
            .unwrap_or(0);
        for label in &turns {
            self.lane(label).credit += rounds * QUANTUM;
        }
        self.turns = turns;
        while let Some(label) = self.turns.front().cloned() {
            let lane = self.lane(&label);
            if lane.credit > 0 {
                return;
            }
            lane.credit += QUANTUM;
            self.turns.rotate_left(1);
        }
    }

    /// With nothing waiting and nothing running there is nobody to be fair to: old debts end here.
    fn forget_when_idle(&mut self) {
        if self.waiting == 0 && self.taken == 0 {
            self.lanes.clear();
        }
    }

    /// Keeps labels from filling the memory when the pool is never idle.
    fn sweep(&mut self) {
        if self.lanes.len() >= self.sweep_at {
            self.lanes.retain(|_, lane| lane.taken > 0 || !lane.jobs.is_empty());
            self.sweep_at = (2 * self.lanes.len()).max(LANES_KEPT);
        }
    }

    fn lane(&mut self, label: &str) -> &mut Lane<J> {
        self.lanes.get_mut(label).expect("a lane with waiting or running jobs is kept")
    }
}

impl<J> Lane<J> {
    fn new() -> Self {
        Lane {
            jobs: VecDeque::new(),
            credit: 0,
            usual: QUANTUM,
            taken: 0,
        }
    }
}

#[cfg(test)]
mod tests;
