//! Whether a database may be dialled now: the pure decision behind "no storm of reconnects".
//!
//! A database that has just accepted a session may be dialled by whoever needs one. One that nobody knows anything about, or
//! whose sessions break, gets one dial at a time, and the others wait for its end. One that refused is left alone for a while
//! that grows, then asked by one; all others are told at once what the last dial was told.

use std::time::Duration;

use tokio::time::Instant;

use crate::policy::Backoff;
use crate::{CallError, Kind};

/// The bounds of the rest after a failed dial; a database that comes back is found within the second.
const REST: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What is known of a database.
#[derive(Debug)]
pub(super) struct Health {
    state: State,
    backoff: Backoff,
}

#[derive(Debug)]
enum State {
    /// Nothing, or a session broke since the last dial.
    Unknown { is_dialing: bool },
    /// The last dial succeeded.
    Well,
    /// The last dial failed.
    Failing {
        failures: u32,
        rest_until: Instant,
        is_dialing: bool,
        error: CallError,
    },
}

/// The answer to one that wants to dial.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Dial, and say how it ended with [`Health::dialed`].
    Dial,
    /// One is dialling; look again when it has ended.
    Wait,
    /// Not now.
    Refuse(CallError),
}

impl Health {
    pub(super) fn new() -> Self {
        Health {
            state: State::Unknown { is_dialing: false },
            backoff: Backoff::new(REST.0, REST.1),
        }
    }

    /// Whether to dial now.
    pub(super) fn may_dial(&mut self, now: Instant) -> Verdict {
        match &mut self.state {
            State::Well => Verdict::Dial,
            State::Unknown { is_dialing: true } => Verdict::Wait,
            State::Unknown { is_dialing } => {
                *is_dialing = true;
                Verdict::Dial
            }
            State::Failing {
                rest_until,
                is_dialing,
                error,
                ..
            } if *is_dialing || now < *rest_until => Verdict::Refuse(error.clone().retry_in(rest_until.saturating_duration_since(now))),
            State::Failing { is_dialing, .. } => {
                *is_dialing = true;
                Verdict::Dial
            }
        }
    }

    /// A dial ended.
    pub(super) fn dialed(&mut self, now: Instant, result: Result<(), &CallError>) {
        self.state = match (result, &self.state) {
            (Ok(()), _) => State::Well,
            // Our own end says nothing about the database.
            (Err(error), State::Well) if error.kind() == Kind::Cancelled => return,
            (
                Err(error),
                State::Failing {
                    failures,
                    rest_until,
                    error: known,
                    ..
                },
            ) if error.kind() == Kind::Cancelled => State::Failing {
                failures: *failures,
                rest_until: *rest_until,
                is_dialing: false,
                error: known.clone(),
            },
            (Err(error), _) if error.kind() == Kind::Cancelled => State::Unknown { is_dialing: false },
            (Err(error), before) => {
                let failures = 1 + if let State::Failing { failures, .. } = before {
                    *failures
                } else {
                    0
                };
                State::Failing {
                    failures,
                    rest_until: now + self.rest(failures),
                    is_dialing: false,
                    error: error.clone(),
                }
            }
        };
    }

    /// A session broke, so the next dial may fail as well.
    pub(super) fn doubted(&mut self) {
        if matches!(self.state, State::Well) {
            self.state = State::Unknown { is_dialing: false };
        }
    }

    /// Between half of the bound and all of it: never at once, and no two sources in step.
    fn rest(&self, failures: u32) -> Duration {
        (self.backoff.longest(failures) + self.backoff.wait(failures)) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> CallError {
        CallError::new(Kind::Connect, "refused")
    }

    fn dials(health: &mut Health, now: Instant) -> bool {
        matches!(health.may_dial(now), Verdict::Dial)
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_dial_is_alone_and_success_lets_all_dial() {
        let (mut health, now) = (Health::new(), Instant::now());
        assert!(dials(&mut health, now));
        assert!(matches!(health.may_dial(now), Verdict::Wait));
        health.dialed(now, Ok(()));
        assert!(dials(&mut health, now) && dials(&mut health, now));
        health.doubted();
        assert!(dials(&mut health, now));
        assert!(matches!(health.may_dial(now), Verdict::Wait));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_a_minute_costs_about_two_dials_a_second() {
        let (mut health, start) = (Health::new(), Instant::now());
        let mut made = 0;
        for tick in 0..60_000 {
            let now = start + Duration::from_millis(tick);
            for _caller in 0..20 {
                if dials(&mut health, now) {
                    made += 1;
                    assert!(matches!(health.may_dial(now), Verdict::Wait | Verdict::Refuse(_)));
                    health.dialed(now, Err(&refused()));
                }
            }
        }
        assert!((60..=125).contains(&made), "{made}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_says_why_and_for_how_long() {
        let (mut health, now) = (Health::new(), Instant::now());
        assert!(dials(&mut health, now));
        health.dialed(now, Err(&refused()));
        let Verdict::Refuse(error) = health.may_dial(now) else {
            panic!("it must rest")
        };
        let wait = error.retry_after().unwrap();
        assert_eq!((error.kind(), error.detail()), (Kind::Connect, "refused"));
        assert!(wait >= REST.0 / 2 && wait <= REST.0);
        assert!(dials(&mut health, now + wait));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dial_that_we_gave_up_counts_for_nothing() {
        let (mut health, now) = (Health::new(), Instant::now());
        assert!(dials(&mut health, now));
        health.dialed(now, Err(&CallError::new(Kind::Cancelled, "")));
        assert!(dials(&mut health, now));
        health.dialed(now, Ok(()));
        health.dialed(now, Err(&CallError::new(Kind::Cancelled, "")));
        assert!(dials(&mut health, now) && dials(&mut health, now));
    }
}
