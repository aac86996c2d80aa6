//! The life of one process: it starts, does one job after the other, and is ended in good order or by force.
//!
//! A worker answers a line with a line. Whatever else it does (it ends, is late, writes what is no answer or what nobody asked for)
//! leaves us not knowing what its next line will be about, so it is killed, and the next process starts afresh.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::io::AsyncWriteExt;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lines::{Line, Lines, NoLine};
use super::log::{self, WorkerNote};
use super::pool::{Doing, Job, Seat, Task};
use super::process::{self, Pipes, Process};
use crate::{CallError, Deadline, Kind};

/// How long the last words of a process are waited for. Its own are in the pipe already; another process may hold that open.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// The longest line where no answer is expected: only words of the protocol are.
const NO_ANSWER_BYTES: usize = 1 << 10;

/// How a process ended.
pub(super) enum End {
    /// The seat's task should end.
    Stopped,
    /// It has done as many jobs as one process may.
    Worn,
    /// It had to be killed, or died.
    Failed(Failure),
}

/// A process that is of no use any more, or was never there.
pub(super) struct Failure {
    /// Its number in the system, if there was one.
    pub(super) process: Option<u32>,
    /// What it did, as a fragment.
    pub(super) why: String,
    /// Whether it had answered before.
    pub(super) has_answered: bool,
}

/// Lets a process work until it should not any more, and does not return before it is gone.
pub(super) async fn live(seat: &Seat, mut process: Process, pipes: Pipes) -> End {
    let number = process.number();
    let mut log = pin!(log::hand_on(pipes.errors, number, |note: &WorkerNote<'_>| seat.pool.tell(note)).fuse());
    let mut life = Life {
        seat,
        input: pipes.input,
        lines: Lines::new(pipes.output),
        born: Instant::now(),
        has_spoken: false,
        given: 0,
        answered: 0,
    };
    let last = beside(log.as_mut(), life.work()).await;
    seat.enter(Doing::Ending);
    let end = match last {
        Last::Job { is_worn } => {
            drop(life.input);
            beside(log.as_mut(), process.stop(seat.pool.limits.stop)).await;
            if is_worn { End::Worn } else { End::Stopped }
        }
        Last::Fault(fault, caller) => {
            let status = beside(log.as_mut(), process.kill()).await;
            let why = match fault {
                Fault::Ended { .. } => process::describe(status),
                _ => fault.to_string(),
            };
            if let Some(caller) = caller {
                let _left = caller.send(Err(fault.error(&why)));
            }
            End::Failed(Failure {
                process: Some(number),
                why,
                has_answered: life.answered > 0,
            })
        }
    };
    let _words = Deadline::after(LAST_WORDS).bound(log).await;
    end
}

/// Runs the future, and the log for as long as it has something to do.
async fn beside<T>(log: Pin<&mut impl Future<Output = ()>>, future: impl Future<Output = T>) -> T {
    match select(pin!(future), log).await {
        Either::Left((output, _)) => output,
        Either::Right(((), future)) => future.await,
    }
}

/// A process at work.
struct Life<'a> {
    seat: &'a Seat,
    input: ChildStdin,
    lines: Lines<ChildStdout>,
    born: Instant,
    /// Whether it has said a line. Until then it is starting.
    has_spoken: bool,
    /// Jobs that it was given.
    given: u64,
    /// Jobs that it answered.
    answered: u64,
}

type Caller = oneshot::Sender<Result<Bytes, CallError>>;

/// What a process did last.
enum Last {
    /// A job, and there will be no other.
    Job { is_worn: bool },
    /// Something that ends it; and who is still to be told.
    Fault(Fault, Option<Caller>),
}

/// Why a process is killed.
enum Fault {
    /// It has gone, or has closed its output.
    Ended {
        is_partial: bool,
    },
    /// It did not say that it is ready, as others of its kind do.
    Unready(Duration),
    /// It did not answer in time.
    Late(Duration),
    /// The caller left before the answer.
    Deserted,
    Garbage(&'static str),
    TooLong(usize),
    /// It wrote when there was no job, or more than one line for one.
    Unasked,
}

impl Life<'_> {
    /// Does jobs until it must not.
    async fn work(&mut self) -> Last {
        if self.seat.pool.greets()
            && let Err(last) = self.first_line().await
        {
            return last;
        }
        loop {
            if self.given >= self.seat.pool.limits.recycle {
                return Last::Job { is_worn: true };
            }
            self.seat.enter(Doing::Free);
            // Its output first: what it wrote unasked must not become the answer to the next job.
            let turn = match select(pin!(self.lines.stirs()), pin!(self.seat.job())).await {
                Either::Left(((), _)) => Turn::Stirs,
                Either::Right((job, _)) => Turn::Job(job),
            };
            let done = match turn {
                Turn::Job(Some(job)) => self.exchange(job).await,
                Turn::Job(None) => return Last::Job { is_worn: false },
                Turn::Stirs if self.has_spoken && self.lines.has_more() => Err(Last::Fault(Fault::Unasked, None)),
                Turn::Stirs if self.has_spoken => Err(Last::Fault(Fault::Ended { is_partial: false }, None)),
                Turn::Stirs => self.first_line().await,
            };
            if let Err(last) = done {
                return last;
            }
        }
    }

    /// Waits until it says that it is ready, which is all that it may say without a job.
    async fn first_line(&mut self) -> Result<(), Last> {
        let limit = self.seat.pool.limits.start;
        let line = Deadline::at(self.born + limit).bound(self.lines.next(NO_ANSWER_BYTES));
        let fault = match select(pin!(line), pin!(self.seat.end())).await {
            Either::Right(((), _)) => return Err(Last::Job { is_worn: false }),
            Either::Left((Err(_elapsed), _)) => Fault::Unready(limit),
            Either::Left((Ok(Ok(Line::Ready)), _)) => {
                self.has_spoken = true;
                self.seat.pool.has_greeted();
                return Ok(());
            }
            Either::Left((Ok(Ok(_) | Err(NoLine::TooLong(_))), _)) => Fault::Unasked,
            Either::Left((Ok(Err(no_line)), _)) => no_line.into(),
        };
        Err(Last::Fault(fault, None))
    }

    /// Does one job.
    async fn exchange(&mut self, job: Job) -> Result<(), Last> {
        let Job { task, mut answer } = job;
        let timeout = task.settings.timeout.unwrap_or(Duration::MAX);
        let may_finish = if self.has_spoken {
            None
        } else {
            Some(Deadline::at(self.born + self.seat.pool.limits.start))
        };
        self.given += 1;
        let (result, caller) = {
            let mut asked = pin!(ask(&mut self.input, &mut self.lines, !self.has_spoken, &task));
            // In one statement: what it waits for borrows the caller.
            let first = match select(asked.as_mut(), pin!(Deadline::after(timeout).bound(answer.closed()))).await {
                Either::Left((result, _)) => Ok(result),
                Either::Right((Ok(()), _)) => Err(Fault::Deserted),
                Either::Right((Err(_elapsed), _)) => Err(Fault::Late(timeout)),
            };
            match (first, may_finish) {
                (Ok(result), _) => (result, Some(answer)),
                (Err(fault), None) => return Err(Last::Fault(told(fault, answer), None)),
                // It is starting, and another one would have to start from the beginning: it may finish, for nobody.
                (Err(fault), Some(until)) => {
                    let fault = told(fault, answer);
                    match select(pin!(until.bound(asked)), pin!(self.seat.end())).await {
                        Either::Left((Ok(result), _)) => (result, None),
                        Either::Left((Err(_), _)) | Either::Right(((), _)) => return Err(Last::Fault(fault, None)),
                    }
                }
            }
        };
        let Asked { line, is_greeted } = match result {
            Ok(asked) if !self.lines.has_more() => asked,
            Ok(_) => return Err(Last::Fault(Fault::Unasked, caller)),
            Err(no_line) => return Err(Last::Fault(no_line.into(), caller)),
        };
        self.has_spoken = true;
        self.answered += 1;
        if is_greeted {
            self.seat.pool.has_greeted();
        }
        self.seat.pool.count(|counts| counts.answered += 1);
        if let Some(caller) = caller {
            let _left = caller.send(line);
        }
        Ok(())
    }
}

/// Tells the caller, if it is still there, what its worker is about to be killed for.
fn told(fault: Fault, caller: Caller) -> Fault {
    let _left = caller.send(Err(fault.error(&fault.to_string())));
    fault
}

/// What comes to a process without a job.
enum Turn {
    Stirs,
    Job(Option<Job>),
}

/// The end of a job that left the process in step.
struct Asked {
    line: Result<Bytes, CallError>,
    /// Whether the process said before that it is ready.
    is_greeted: bool,
}

/// Writes a job and reads its answer, both at once: a worker may begin to answer before it has read all. One that has not said a
/// line yet may say first that it is ready.
async fn ask(input: &mut ChildStdin, lines: &mut Lines<ChildStdout>, mut may_greet: bool, task: &Task) -> Result<Asked, NoLine> {
    let mut is_greeted = false;
    let read = async {
        loop {
            match lines.next(task.max_body()).await? {
                Line::Answer(value) => return Ok(Ok(value)),
                Line::Failed(reason) => return Ok(Err(failed(&reason))),
                Line::Ready if may_greet => (may_greet, is_greeted) = (false, true),
                Line::Ready => return Err(NoLine::Garbage("`!ready` when it had a job")),
            }
        }
    };
    // If it does not take its job, how its output goes on or ends says why.
    let write = async { input.write_all(&task.line).await.unwrap_or_default() };
    let line = match select(pin!(read), pin!(write)).await {
        Either::Right(((), read)) => read.await?,
        Either::Left((line, write)) => {
            let line = line?;
            write.await;
            line
        }
    };
    Ok(Asked { line, is_greeted })
}

fn failed(reason: &str) -> CallError {
    let reason = if reason.is_empty() { "without a reason" } else { reason };
    CallError::new(Kind::Status, format!("the worker failed: {reason}")).after_send()
}

impl Fault {
    /// What its caller is told.
    fn error(&self, why: &str) -> CallError {
        let kind = match self {
            Fault::Ended { is_partial: false } => Kind::Reset,
            Fault::Ended { is_partial: true } => Kind::Truncated,
            Fault::Unready(_) | Fault::Late(_) => Kind::Timeout,
            Fault::Deserted => Kind::Cancelled,
            Fault::Garbage(_) | Fault::Unasked => Kind::Decode,
            Fault::TooLong(_) => Kind::TooLarge,
        };
        CallError::new(kind, format!("the worker {why}")).after_send()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Ended { .. } => f.write_str("ended"),
            Fault::Unready(limit) => write!(f, "was not ready within {limit:?}"),
            Fault::Late(limit) => write!(f, "did not answer within {limit:?}"),
            Fault::Deserted => f.write_str("was killed, because its caller had left"),
            Fault::Garbage(what) => write!(f, "wrote {what}"),
            Fault::TooLong(most) => write!(f, "wrote more than {most} bytes in a line"),
            Fault::Unasked => f.write_str("wrote more than the answer to its job"),
        }
    }
}

impl From<NoLine> for Fault {
    fn from(no_line: NoLine) -> Self {
        match no_line {
            NoLine::Ended { is_partial } => Fault::Ended { is_partial },
            NoLine::Garbage(what) => Fault::Garbage(what),
            NoLine::TooLong(most) => Fault::TooLong(most),
        }
    }
}
