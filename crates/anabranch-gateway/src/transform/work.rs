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
/// Conditions of one call that are judged on the loop: each may take a third of a millisecond.
const CONDITIONS_ON_LOOP: usize = 8;
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
        if self.fits_a_loop(&input) {
            match self.run(&input, &Room::on_loop(self.most)) {
                Err(Failure::NotHere) => self.jq.iter().for_each(|jq| jq.did_not_fit_a_loop()),
                ended => return ended.map_err(Failure::into_error),
            }
        }
        let has_threads = compute.counts().threads > 0;
        let job = move |job: &JobContext| self.run(&input, &Room::on_pool(job, has_threads, self.most));
        compute.run(label, deadline, job).await?.map_err(Failure::into_error)
    }

    fn fits_a_loop(&self, input: &Input) -> bool {
        let size = input.len() + self.variables.iter().map(Bytes::len).sum::<usize>();
        match self.jq.as_ref().filter(|jq| jq.is_program()) {
            Some(jq) => size <= PROGRAM_ON_LOOP && jq.may_fit_a_loop(),
            None => size <= BYTES_ON_LOOP,
        }
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
        if size > PROGRAM_ON_LOOP || self.jq.is_program() && (self.all.len() > CONDITIONS_ON_LOOP || !self.jq.may_fit_a_loop()) {
            return None;
        }
        match self.run(|| Room::on_loop(VERDICT_MAX)) {
            Err(Failure::NotHere) => {
                self.jq.did_not_fit_a_loop();
                None
            }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anabranch::{ComputeSettings, Kind};

    use super::*;

    fn reshaping(program: &str) -> Reshaping {
        Reshaping {
            keys: None,
            jq: Some(Arc::new(Jq::compile(program).unwrap())),
            variables: Vec::new(),
            most: 1 << 20,
        }
    }

    fn list(items: usize) -> Input {
        Input::Value(Bytes::from(format!("[{}]", vec!["1"; items].join(","))))
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[tokio::test]
    async fn what_is_short_stays_and_what_is_not_goes_to_the_pool() {
        let compute = Compute::new(ComputeSettings {
            threads: 1,
            ..ComputeSettings::default()
        });
        let submitted = async |program: &str, items: usize| {
            let before = compute.counts().submitted;
            let output = reshaping(program).apply(list(items), &compute, "here", soon()).await.unwrap();
            (compute.counts().submitted - before, output)
        };
        assert_eq!(submitted("length", 10).await, (0, Bytes::from_static(b"10")));
        assert_eq!(submitted("length", 10_000).await, (1, Bytes::from_static(b"10000")));
        // Short to read, long to run.
        assert_eq!(
            submitted("reduce range(3000) as $i (0; . + 1)", 1).await,
            (1, Bytes::from_static(b"3000"))
        );
        // Deep, but not too deep for the pool.
        assert_eq!(
            submitted("def f: if . == 0 then 0 else 1 + (. - 1 | f) end; 100 | f", 1).await.1,
            Bytes::from_static(b"100")
        );
        // A path finds its way in bytes.
        assert_eq!(submitted(".[0]", 20_000).await, (0, Bytes::from_static(b"1")));
        assert_eq!(submitted(".[0]", 40_000).await, (1, Bytes::from_static(b"1")));
    }

    #[tokio::test]
    async fn a_program_that_was_broken_off_is_not_tried_on_the_loop_again_for_a_while() {
        let slow = reshaping("[range(.[0] * 10000)] | length");
        let compute = Compute::inline();
        assert!(slow.fits_a_loop(&list(1)));
        slow.clone().apply(list(1), &compute, "here", soon()).await.unwrap();
        let tried = (0..33).map(|_| slow.fits_a_loop(&list(1))).collect::<Vec<_>>();
        assert_eq!(tried.iter().position(|tried| *tried), Some(31));
    }

    #[tokio::test]
    async fn a_full_pool_is_busy_and_a_late_job_is_a_timeout() {
        let compute = Compute::new(ComputeSettings {
            threads: 1,
            queue_per_thread: 1,
            limit: Duration::from_millis(250),
        });
        let endless = || reshaping("def f: f; f").apply(list(10_000), &compute, "here", soon());
        let ended = futures_util::future::join4(endless(), endless(), endless(), endless()).await;
        let kinds: Vec<Kind> = [ended.0, ended.1, ended.2, ended.3]
            .into_iter()
            .map(|ended| ended.unwrap_err().kind())
            .collect();
        assert!(kinds.contains(&Kind::Busy) && kinds.contains(&Kind::Timeout), "{kinds:?}");
        let late = reshaping("length")
            .apply(list(10_000), &compute, "here", Deadline::after(Duration::ZERO))
            .await;
        assert_eq!(late.unwrap_err().kind(), Kind::Timeout);
    }

    #[tokio::test]
    async fn a_job_ends_soon_after_nobody_waits_for_it() {
        let compute = Compute::new(ComputeSettings {
            threads: 1,
            limit: Duration::from_secs(60),
            ..ComputeSettings::default()
        });
        let endless = reshaping("def f: f; f").apply(list(10_000), &compute, "here", soon());
        let gone = Deadline::after(Duration::from_millis(20)).bound(endless).await;
        assert!(gone.is_err());
        let output = reshaping("length").apply(list(10_000), &compute, "here", soon()).await;
        assert_eq!(output.unwrap(), "10000");
        // It was told, and did not go on to its own limit of time, with which it would have finished.
        let counts = compute.counts();
        assert_eq!((counts.stopped, counts.finished + counts.running as u64), (1, 1));
    }

    #[tokio::test]
    async fn conditions_are_judged_together() {
        let jq = Arc::new(Jq::compile("$x > 2").unwrap());
        let all = |count: usize| (0..count).map(|x| vec![Bytes::from(x.to_string())]).collect::<Vec<_>>();
        let here = judge(&jq, all(5)).here().unwrap().unwrap();
        assert_eq!(here, [false, false, false, true, true]);
        assert!(judge(&jq, all(100)).here().is_none());
        let there = judge(&jq, all(100)).on_pool(&Compute::inline(), "here", soon()).await.unwrap();
        assert_eq!(there.iter().filter(|yes| **yes).count(), 97);
        let failed = judge(&Arc::new(Jq::compile("$x.a").unwrap()), all(1)).here().unwrap();
        assert_eq!(failed.unwrap_err().kind(), Kind::Value);
    }
}
