//! What a run came to, for the lines that it ends with.

use crate::Outcome;

/// What a run came to: this call of it, as far as it is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Jobs that ended and are committed.
    pub total: u64,
    /// How they ended, in the order of [`Outcome::ALL`]; those that nothing ended with are left out.
    pub by_outcome: Vec<(Outcome, u64)>,
    /// Jobs that ended in earlier calls of the same run.
    pub earlier: u64,
    /// Those of the earlier ones that failed.
    pub earlier_failed: u64,
    /// Jobs that needed more than one attempt.
    pub retried: u64,
    /// Bytes of bodies, as sent.
    pub bytes: u64,
    /// Half of the jobs that were requested were done in this time, in milliseconds; waits before the first attempt are not in it.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// The hosts whose answers took longest: name, mean in milliseconds, jobs. At most 3.
    pub slowest_hosts: Vec<(String, f64, u64)>,
    /// Why it ended.
    pub ended: Ended,
    /// What to do to go on, where something is left and that is possible.
    pub resume: Option<String>,
    /// The cookies at the end, in Netscape's format, where there was a jar.
    pub cookies: Option<String>,
    /// From the start to the end, in seconds.
    pub seconds: f64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All jobs have ended.
    Complete,
    /// `stop.deadline`.
    Deadline,
    /// `stop.fail_fast`.
    FailFast,
    /// `stop.max_failures`.
    MaxFailures,
    /// A [`StopSignal`](super::StopSignal).
    Interrupted,
}

impl Summary {
    /// Jobs of this call that failed.
    pub fn failed(&self) -> u64 {
        let failed = self.by_outcome.iter().filter(|(outcome, _)| !outcome.is_fine());
        failed.map(|(_, count)| count).sum()
    }

    /// Jobs that ended like this.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.by_outcome
            .iter()
            .find(|(other, _)| *other == outcome)
            .map_or(0, |(_, count)| *count)
    }
}
