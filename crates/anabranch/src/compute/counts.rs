//! What a compute pool tells of itself.

use super::job::Ended;

/// The state of a [`Compute`](super::Compute) at one instant, and what became of its jobs since it was made.
///
/// No job is lost from sight: `submitted` is always `busy + dropped + waiting + running + finished + stopped + panicked`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComputeCounts {
    /// Threads that take jobs; 0 in the inline form.
    pub threads: usize,
    /// Threads held by a job that ran beyond twice its limit.
    pub lost: usize,
    /// Jobs in the queue.
    pub waiting: usize,
    /// Jobs that run, also those whose caller is gone and those on lost threads.
    pub running: usize,
    /// Jobs handed in so far.
    pub submitted: u64,
    /// Refused, because the queue was full or no thread was left.
    pub busy: u64,
    /// Never ran: the caller left or the deadline passed before their turn.
    pub dropped: u64,
    /// Ran to their end without having been told to stop.
    pub finished: u64,
    /// Were told to stop, because the caller left or the time was up, and did.
    pub stopped: u64,
    /// Panicked.
    pub panicked: u64,
    /// Ran beyond twice their limit, however they ended after that or will.
    pub overran: u64,
}

impl ComputeCounts {
    /// Counts a job that ended; `None` is one that never ran.
    pub(super) fn add(&mut self, ended: Option<Ended>) {
        let total = match ended {
            None => &mut self.dropped,
            Some(Ended::Finished) => &mut self.finished,
            Some(Ended::Stopped) => &mut self.stopped,
            Some(Ended::Panicked) => &mut self.panicked,
        };
        *total += 1;
    }
}
