//! Where reshaping runs: on the loop where it is short, on the compute pool where it is not.

use std::sync::Arc;

use anabranch::{CallError, Compute, Deadline, JobContext};
use bytes::Bytes;

use super::KeyEdit;
use super::jq::{Failure, Input, Jq, Room};
use crate::json;

/// Bytes of all inputs that a program may have on the loop; reading 16 KiB into a tree takes about 100 µs.
const PROGRAM_ON_LOOP: usize = 16 << 10;
/// Bytes that are searched or copied on the loop.
const BYTES_ON_LOOP: usize = 64 << 10;
/// Bytes of what a condition gives before it is taken for yes or no.
const VERDICT_MAX: usize = 1 << 20;

/// One value to be reshaped, with all that is needed for it.
#[derive(Clone, Debug)]
pub(crate) struct Reshaping {
    /// Applied first.
    pub(crate) keys: Option<Arc<KeyEdit>>,
    /// Applied to what that gave.
    pub(crate) jq: Option<Arc<Jq>>,
    /// The values of the program's variables, in its order.
    pub(crate) variables: Vec<Bytes>,
    /// Bytes of the output.
    pub(crate) most: usize,
}

impl Reshaping {
    /// Reshapes a value. What takes longer than a loop can wait is done on the pool, in the turn of `label`.
    ///
    /// # Errors
    /// `value` where the program fails, `timeout` and `too_large` where it is cut, `busy` where the pool is full.
    pub(crate) async fn apply(self, input: Input, compute: &Compute, label: &str, deadline: Deadline) -> Result<Bytes, CallError> {
        let is_program = self.jq.as_ref().is_some_and(|jq| jq.is_program());
        let size = input.len() + self.variables.iter().map(Bytes::len).sum::<usize>();
        if size <= if is_program { PROGRAM_ON_LOOP } else { BYTES_ON_LOOP } {
            match self.run(&input, &Room::on_loop(self.most)) {
                Err(Failure::NotHere) => {}
                ended => return ended.map_err(Failure::into_error),
            }
        }
        let has_threads = compute.counts().threads > 0;
        let job = move |job: &JobContext| self.run(&input, &Room::on_pool(job, has_threads, self.most));
        compute.run(label, deadline, job).await?.map_err(Failure::into_error)
    }

    fn run(&self, input: &Input, room: &Room<'_>) -> Result<Bytes, Failure> {
        let edited = match (&self.keys, input) {
            (Some(keys), Input::Value(value)) => Some(Input::Value(Bytes::from(keys.apply(value)))),
            _ => None,
        };
        let input = edited.as_ref().unwrap_or(input);
        match (&self.jq, input) {
            (Some(jq), input) => jq.run(input, &self.variables, room),
            (None, Input::Value(value)) => Ok(value.clone()),
            (None, _) => Ok(Bytes::from_static(json::NULL)),
        }
    }
}

/// The conditions of one call, for its items or once.
pub(crate) fn judge(jq: &Arc<Jq>, all: Vec<Vec<Bytes>>) -> Judging {
    Judging { jq: jq.clone(), all }
}

/// Conditions to be judged.
#[derive(Clone, Debug)]
pub(crate) struct Judging {
    jq: Arc<Jq>,
    /// For each, the values of the program's variables.
    all: Vec<Vec<Bytes>>,
}

impl Judging {
    /// Judges on the loop; None where that would take too long.
    pub(crate) fn here(&self) -> Option<Result<Vec<bool>, CallError>> {
        let size = self.all.iter().flatten().map(Bytes::len).sum::<usize>();
        // Each condition may take half a millisecond; a few of them are as much as others can wait.
        if size > PROGRAM_ON_LOOP || self.all.len() > 8 && self.jq.is_program() {
            return None;
        }
        match self.run(|| Room::on_loop(VERDICT_MAX)) {
            Err(Failure::NotHere) => None,
            judged => Some(judged.map_err(Failure::into_error)),
        }
    }

    /// Judges on the pool.
    pub(crate) async fn on_pool(self, compute: &Compute, label: &str, deadline: Deadline) -> Result<Vec<bool>, CallError> {
        let has_threads = compute.counts().threads > 0;
        let job = move |job: &JobContext| self.run(|| Room::on_pool(job, has_threads, VERDICT_MAX));
        compute.run(label, deadline, job).await?.map_err(Failure::into_error)
    }

    fn run<'r>(&self, room: impl Fn() -> Room<'r>) -> Result<Vec<bool>, Failure> {
        let verdict = |variables: &Vec<Bytes>| {
            let output = self.jq.run(&Input::Null, variables, &room())?;
            Ok(!matches!(json::trim(&output), b"null" | b"false"))
        };
        self.all.iter().map(verdict).collect()
    }
}
