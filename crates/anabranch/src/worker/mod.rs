//! Work for other programs: processes that take one JSON value a line and answer with one, under the policies of a source.
//!
//! For code that is not ours to run in this process: Python, a plug-in of somebody else, what may crash, leak or never return.
//!
//! ```no_run
//! # async fn example(client: &anabranch::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use anabranch::{Deadline, Workers};
//!
//! let score = Workers::builder("score", &["python3", "score.py"])
//!     .count(4)
//!     .timeout(Duration::from_millis(500))
//!     .memory(256 << 20)
//!     .build()?;
//! let answer = score.run(client, r#"{"words": ["a", "b"]}"#.into(), Deadline::after(Duration::from_secs(2))).await?;
//! assert!(answer.starts_with(b"{"));
//! # Ok(())
//! # }
//! ```
//!
//! **What a worker does.** It reads a line from its standard input, one JSON value, and writes a line to its standard output, one
//! JSON value: the answer. Then the next. At the end of its input it should end. Two lines begin with `!` and are no JSON: `!ready`, as
//! its first, says that it has loaded what it needs; `!failed REASON` in place of an answer says that it has none, and REASON (a word
//! or two, no values of the job) is what the caller's error says. Its error output goes to the
//! [listener](WorkersBuilder::listener), line by line. Nothing else may be on its standard output.
//!
//! **What it gets.** No environment but what is listed, its own process group, lower priority than this process on Linux, a limit of
//! address space if one is set, no core files. It sees the files and the network as this process does.
//!
//! **When it fails.** A worker that dies, is late, writes too much, something else, or anything unasked is killed with all that it
//! started, its caller is told which of these it was, and another takes its place after a rest that grows as long as they do not live.
//! So is one whose caller leaves: nobody wants what it computes, and it cannot be asked to stop. After a number of jobs it is replaced
//! in any case, so that what it leaks is bounded.
//!
//! **Starting.** A process is started when a job finds none free, up to the count, or ahead of that by [`Workers::start`]. If one has
//! ever said `!ready`, its successors get no job before they say so too. Without that a process may take its time for its first answer:
//! a job that it is given before is given up by its caller at the usual limits, but the process goes on until it has started.
//!
//! **Where.** The processes of one source belong to this process as a whole; each is tended by a task in the background scope of the
//! client that first needed it. [`release`](Workers::release) ends those of a client, [`close`](Workers::close) all.

mod builder;
mod json;
mod life;
mod lines;
mod log;
mod pool;
mod process;
mod tend;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::{Either, select};
use tokio::time::Instant;

pub use builder::{BadWorkers, WorkersBuilder};
pub use log::WorkerNote;

use self::pool::{Place, Pool, Refusal, Reply, Task};
use crate::client::Timings;
use crate::{Attempt, CallError, CallReport, Client, Deadline, Kind, Phase};

/// Processes that do jobs. Cheap to clone; all clones, on all threads, share the processes. Dropping the last one ends them.
#[derive(Clone)]
pub struct Workers(Arc<Owner>);

/// The tasks hold the pool as well; this is held by the handles only.
struct Owner {
    pool: Arc<Pool>,
    settings: WorkerSettings,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.pool.close();
    }
}

/// How a job is done. A source has one for all its jobs; a job may carry its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// The limit of a job, from when a process is given it; without one it may take what is left of the deadline.
    pub timeout: Option<Duration>,
    /// The largest answer, in bytes, and the largest job.
    pub max_body: u64,
}

impl Default for WorkerSettings {
    /// No limit but the deadline, 8 MiB.
    fn default() -> Self {
        WorkerSettings {
            timeout: None,
            max_body: 8 << 20,
        }
    }
}

/// What a source of workers holds at one moment, and what has become of its jobs and processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Places for a process that are tended; no more than the count.
    pub seats: usize,
    /// Processes with a job.
    pub busy: usize,
    /// Seats that wait before they start another process.
    pub resting: usize,
    /// Jobs that wait for a process.
    pub waiting: usize,
    /// Processes started so far.
    pub started: u64,
    /// Processes that died or had to be killed, and starts that failed.
    pub failed: u64,
    /// Jobs that a process has answered, also with `!failed`.
    pub answered: u64,
    /// Jobs turned away because all processes were busy.
    pub refused: u64,
}

impl Workers {
    /// Starts a source with settings of its own. `command` is the program and its arguments.
    pub fn builder(name: &str, command: &[impl AsRef<str>]) -> WorkersBuilder {
        WorkersBuilder::new(name, command)
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.pool.name
    }

    /// The settings that its jobs have unless they carry their own.
    pub fn settings(&self) -> &WorkerSettings {
        &self.0.settings
    }

    /// What it holds now.
    pub fn counts(&self) -> WorkerCounts {
        self.0.pool.counts()
    }

    /// Starts all processes that are not there yet, tended by this client, without waiting for them: so that the first jobs need not.
    pub fn start(&self, client: &Client) {
        self.start_some(client, usize::MAX);
    }

    /// The same for this many of them at the most, so that several clients can share the tending.
    pub fn start_some(&self, client: &Client, most: usize) {
        for _ in 0..most {
            if self.tend(client, true) != Some(true) {
                return;
            }
        }
    }

    /// Processes that there may be.
    pub fn count(&self) -> usize {
        self.0.pool.limits.count
    }

    /// Does one job: `input` is one JSON value, the answer another.
    ///
    /// Ends by the deadline at the latest. Dropping the future takes the job back if no process was given it yet; else the process
    /// is killed.
    ///
    /// # Errors
    /// `busy`: all processes stayed busy, or too many jobs wait. `connect`: no process lives; the error says what the last one
    /// died of and when the next try is made. `timeout`. `reset`: the process ended before its answer, `truncated`: in it. `decode`: its
    /// line was no JSON, or not the only one. `too_large`. `status`: it said that it failed. `value`: the input is empty or too large.
    /// `cancelled`: closed.
    pub async fn run(&self, client: &Client, input: Bytes, deadline: Deadline) -> Result<Bytes, CallError> {
        self.call(client, input, &self.0.settings, deadline).await.0
    }

    /// The same with settings of its own, and says what it did: one attempt, for a job may have effects. Its time in the queue is
    /// `queue`, that with the process `first_byte`.
    ///
    /// # Errors
    /// As [`run`](Workers::run); the error names the source.
    pub async fn call(
        &self,
        client: &Client,
        input: Bytes,
        settings: &WorkerSettings,
        deadline: Deadline,
    ) -> (Result<Bytes, CallError>, CallReport) {
        let started = Instant::now();
        let mut timings = Timings::default();
        let result = self.ask(client, input, settings, deadline, &mut timings).await;
        let took = started.elapsed();
        let kind = result.as_ref().err().map(CallError::kind);
        let attempt = Attempt {
            took,
            kind,
            timings,
            ..Attempt::default()
        };
        (
            result.map_err(|error| error.of_call(self.name(), 1, took)),
            CallReport {
                attempts: vec![attempt],
                took,
            },
        )
    }

    /// Ends the processes that this client tends, each after its job: to be done before the client is [drained](Client::drain),
    /// which otherwise waits for them until its deadline. Other clients start others as they need them.
    pub fn release(&self, client: &Client) {
        self.0.pool.release(owner(client));
    }

    /// Refuses jobs from now on, also those that wait, and ends the processes, each after its job.
    pub fn close(&self) {
        self.0.pool.close();
    }

    /// Kills all processes at once, for a program that is about to end without waiting for anything: what it leaves behind nobody
    /// would end. Others take their places where there is somebody to start them; [`close`](Workers::close) first.
    pub fn kill(&self) {
        self.0.pool.kill();
    }

    async fn ask(
        &self,
        client: &Client,
        input: Bytes,
        settings: &WorkerSettings,
        deadline: Deadline,
        timings: &mut Timings,
    ) -> Result<Bytes, CallError> {
        if deadline.has_passed() {
            return Err(CallError::new(Kind::Timeout, "the deadline had passed before it could be sent"));
        }
        let pool = &self.0.pool;
        let task = Task {
            line: line(&input, settings.max_body)?,
            settings: *settings,
        };
        let queued = Instant::now();
        let until = deadline.within(pool.limits.queue_wait.min(deadline.left() / 4));
        let mut place = pool.push(task, until.instant()).map_err(|refusal| self.refused(refusal))?;
        let reply = match until.bound(self.taken(client, &mut place)).await {
            Ok(reply) => reply?,
            Err(_elapsed) if place.leave() => return Err(self.refused(pool.in_vain())),
            // Taken in this moment.
            Err(_elapsed) => (&mut place.taken).await.map_err(|_closed| self.refused(Refusal::Closed))?,
        };
        let asked = Instant::now();
        timings.queue = Some(asked.duration_since(queued));
        let answer = deadline.bound(reply).await;
        timings.first_byte = Some(asked.elapsed());
        match answer {
            Ok(Ok(result)) => result,
            Ok(Err(_task_ended)) => {
                Err(CallError::new(Kind::Cancelled, "the worker was ended from outside before its answer").after_send())
            }
            Err(_elapsed) => Err(CallError::new(Kind::Timeout, "the worker did not answer before the deadline").after_send()),
        }
    }

    /// Waits until a process takes the job, with a task for it if there is none.
    async fn taken(&self, client: &Client, place: &mut Place) -> Result<Reply, CallError> {
        loop {
            // Made before the look at the seats: it hears of everything that happens after this line.
            let changed = self.0.pool.changed();
            if self.tend(client, false) == Some(false) {
                return Err(CallError::new(
                    Kind::Cancelled,
                    "no process was started: the client is shutting down or has too many tasks",
                ));
            }
            match select(&mut place.taken, pin!(changed)).await {
                Either::Left((reply, _)) => return reply.map_err(|_closed| self.refused(Refusal::Closed)),
                Either::Right(((), _)) => {}
            }
        }
    }

    /// Tends one more seat, if more is wanted. Whether that succeeded; None if it is not.
    fn tend(&self, client: &Client, all: bool) -> Option<bool> {
        let seat = self.0.pool.seat(owner(client), all)?;
        // A refused task is dropped, and with it the seat is free again.
        Some(client.background().spawn("worker", Deadline::never(), tend::tend(seat)))
    }

    fn refused(&self, refusal: Refusal) -> CallError {
        let count = self.0.pool.limits.count;
        let busy = |what: String| {
            CallError::new(Kind::Busy, what)
                .in_phase(Phase::Queue)
                .retry_in(Duration::from_secs(1))
        };
        match refusal {
            Refusal::Closed => CallError::new(Kind::Cancelled, "the workers are being shut down"),
            Refusal::Full => busy(format!("all {count} processes are busy and the queue is full")),
            Refusal::InVain => busy(format!("none of the {count} processes became free in time")),
            Refusal::Outage(error) => error,
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("name", self.name())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// The input as one line. JSON has newlines between its values only, where a blank does as well.
fn line(input: &[u8], max: u64) -> Result<Bytes, CallError> {
    let value = input.trim_ascii();
    if value.is_empty() {
        return Err(CallError::new(Kind::Value, "the job is empty: expected one JSON value"));
    }
    if u64::try_from(value.len()).unwrap_or(u64::MAX) > max {
        return Err(CallError::new(Kind::Value, format!("the job is larger than {max} bytes")));
    }
    let mut line = BytesMut::with_capacity(value.len() + 1);
    line.extend_from_slice(value);
    line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    line.put_u8(b'\n');
    Ok(line.freeze())
}

/// Tells clients apart. An address may be used again after its client is gone, and then the tasks of that one are gone too.
fn owner(client: &Client) -> usize {
    std::ptr::from_ref(client.background()).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_one_line() {
        assert_eq!(line(b" {\"a\":\r\n1} \n", 100).unwrap(), "{\"a\":\r 1}\n");
        assert_eq!(line(b"12345", 5).unwrap(), "12345\n");
        for (input, max) in [(&b""[..], 100), (b" \n", 100), (b"123456", 5)] {
            assert_eq!(line(input, max).unwrap_err().kind(), Kind::Value);
        }
    }
}
