//! The task of a seat: one process after the other, with growing rests where they do not live.

use std::time::Duration;

use tokio::time::Instant;

use super::life::{self, End, Failure};
use super::log::WorkerNote;
use super::pool::{Doing, Seat};
use crate::policy::Backoff;
use crate::{CallError, Deadline, Kind, Phase};

/// The bounds of the rest before the next process. A worker that cannot start costs a start every few seconds and is found mended as
/// soon; one that dies now and then is replaced at once for whoever waits.
const REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// A process that ends sooner and without an answer counts as one that does not live, so that none is started in a loop. One answer
/// is enough: callers who leave, and jobs that kill a worker, must not make it rest for long at the cost of the others.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// Keeps a process in the seat until the seat's task should end.
pub(super) async fn tend(seat: Seat) {
    let mut short_lives = 0;
    while !seat.should_end() {
        seat.enter(Doing::Free);
        let born = Instant::now();
        let failure = match seat.pool.recipe.start() {
            Ok((process, pipes)) => {
                seat.pool.count(|counts| counts.started += 1);
                seat.pool.tell(&WorkerNote::Started { process: process.number() });
                seat.holds(Some(process.number()));
                let end = life::live(&seat, process, pipes).await;
                seat.holds(None);
                match end {
                    End::Stopped => return,
                    End::Worn => {
                        short_lives = 0;
                        continue;
                    }
                    End::Failed(failure) => failure,
                }
            }
            Err(error) => Failure {
                process: None,
                why: format!("cannot start `{}`: {error}", seat.pool.recipe.program().display()),
                has_answered: false,
            },
        };
        let has_lived = failure.has_answered || born.elapsed() >= SHORT_LIFE;
        short_lives = if has_lived { 0 } else { short_lives + 1 };
        rest(&seat, &failure, short_lives).await;
    }
}

async fn rest(seat: &Seat, failure: &Failure, short_lives: u32) {
    let backoff = Backoff::new(REST.0, REST.1);
    let number = short_lives.max(1);
    // Between half of the bound and all of it: never at once, and no two seats in step.
    let rest = (backoff.longest(number) + backoff.wait(number)) / 2;
    let error = CallError::new(Kind::Connect, format!("no process is up: the last one {}", failure.why)).in_phase(Phase::Connect);
    seat.enter(Doing::Resting {
        until: Instant::now() + rest,
        error,
    });
    seat.pool.count(|counts| counts.failed += 1);
    let why = &failure.why;
    seat.pool.tell(&match failure.process {
        Some(process) => WorkerNote::Ended { process, why, rest },
        None => WorkerNote::NotStarted { why, rest },
    });
    let _ends = Deadline::after(rest).bound(seat.end()).await;
}
