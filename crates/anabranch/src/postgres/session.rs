//! One session with a database: a connection that has logged in, its statements, and what it was told about time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, select};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_postgres::{CancelToken, Client};

use super::connect::{Link, Opened};
use super::answer::{Answer, Asked, execute};
use super::fault::{After, Failure};
use super::spare::OpenSlot;
use super::statement::{Prepared, Statements};
use super::wire::Meter;
use crate::client::Timings;
use crate::{CallError, Deadline, Kind, Marks, Phase};

/// How long a connection whose session was given up may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(100);
/// What may come beside an answer of the allowed size: heads of rows, names, notices.
const WIRE_SLACK: u64 = 1 << 20;
/// What a session may still bring of an answer that nobody wants; one that brings more is closed.
const DRAINED: u64 = 64 << 20;
/// Back to how a session began, except for its statements. The list is that of `DISCARD ALL` without `DEALLOCATE ALL`, which
/// would cost every statement (the server's manual, "DISCARD").
const RESET: &str = "rollback; close all; set session authorization default; reset all; unlisten *; \
    select pg_advisory_unlock_all(); discard temp; discard sequences";

/// What a statement takes and gives, as the server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The type of each parameter.
    pub params: Vec<String>,
    /// The name and type of each column.
    pub columns: Vec<(String, String)>,
}

/// A connection that has logged in. Dropping it closes the connection.
pub(super) struct Session {
    client: Client,
    statements: Statements,
    meter: Arc<Meter>,
    /// The statement timeout that the server was told; None for its own.
    server_timeout: Option<Duration>,
    /// Whether a statement is being prepared: were it interrupted, the server would keep a statement that nobody can name.
    is_preparing: bool,
    opened: Instant,
    /// The client whose runtime does its reading and writing.
    pub(super) owner: usize,
    /// Which host it is with.
    pub(super) host: usize,
    /// Ends the connection's task when dropped; declared before the place among the open ones, so that it goes first.
    _alive: oneshot::Sender<()>,
    _slot: OpenSlot,
}

/// The other half of a session: reads and writes until the session is dropped or the connection ends.
pub(super) struct Driver {
    link: Link,
    ended: oneshot::Receiver<()>,
}

impl Driver {
    pub(super) async fn run(mut self) {
        let was_given_up = {
            let link = pin!(self.link.run());
            matches!(select(self.ended, link).await, futures_util::future::Either::Left(_))
        };
        if was_given_up {
            // An idle one says goodbye and ends; one that is busy would go on until the server is done.
            let _ended = Deadline::after(GOODBYE).bound(self.link.run()).await;
        }
    }
}

impl Session {
    pub(super) fn new(opened: Opened, owner: usize, slot: OpenSlot) -> (Session, Driver, Timings) {
        let Opened {
            client,
            link,
            meter,
            host,
            timings,
        } = opened;
        let (alive, ended) = oneshot::channel();
        let session = Session {
            client,
            statements: Statements::default(),
            meter,
            server_timeout: None,
            is_preparing: false,
            opened: Instant::now(),
            owner,
            host,
            _alive: alive,
            _slot: slot,
        };
        (session, Driver { link, ended }, timings)
    }

    /// Whether the connection is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.opened)
    }

    pub(super) fn is_preparing(&self) -> bool {
        self.is_preparing
    }

    pub(super) fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// Tells the server how long statements may take, where what it knows will not do.
    pub(super) async fn tell_timeout(&mut self, left: Duration) -> Result<(), Failure> {
        let Some(timeout) = new_timeout(self.server_timeout, left) else {
            return Ok(());
        };
        self.server_timeout = None;
        self.client
            .batch_execute(&set_timeout(timeout))
            .await
            .map_err(|error| Failure::running(error, &self.meter))?;
        self.server_timeout = Some(timeout);
        Ok(())
    }

    /// The driver's client, and what counts its bytes.
    pub(super) fn parts(&self) -> (&Client, &Meter) {
        self.meter.allow(WIRE_SLACK);
        (&self.client, &self.meter)
    }

    /// The driver's client, for what has no word here.
    pub(super) fn raw(&mut self) -> &mut Client {
        self.meter.allow(u64::MAX);
        self.server_timeout = None;
        &mut self.client
    }

    /// Runs a statement. `left` is what the caller will wait; the server is told, as a last resort for when nobody can tell it
    /// to stop any more. Whether the session may go to another caller as it is comes beside the answer.
    pub(super) async fn run(
        &mut self,
        asked: Asked<'_>,
        left: Duration,
        marks: &Marks,
        timings: &mut Timings,
    ) -> (Result<Answer, Failure>, Trace) {
        self.meter.allow(asked.max_body.saturating_mul(2).saturating_add(WIRE_SLACK));
        marks.enter(Phase::FirstByte, None);
        let new_timeout = new_timeout(self.server_timeout, left);
        let Session {
            client,
            statements,
            meter,
            is_preparing,
            server_timeout,
            ..
        } = self;
        let client = &*client;
        let ask = async {
            let mut is_kept = true;
            loop {
                let prepared = match statements.get(asked.text) {
                    Some(prepared) => prepared,
                    None => {
                        is_kept = false;
                        let prepared = match prepare(client, asked.text, meter, is_preparing).await {
                            Ok(prepared) => prepared,
                            Err(failure) => return (Err(failure), Trace::None),
                        };
                        statements.keep(asked.text, &prepared);
                        prepared
                    }
                };
                let trace = if prepared.leaves_no_trace { Trace::None } else { Trace::Left };
                match execute(client, &prepared, asked, meter, marks, timings).await {
                    // The schema changed under a kept statement. The server says so before it does anything.
                    Err(failure) if failure.is_outdated && is_kept => statements.forget(asked.text),
                    result => return (result, trace),
                }
            }
        };
        let Some(timeout) = new_timeout else { return ask.await };
        *server_timeout = None;
        let text = set_timeout(timeout);
        // Both are sent at once: the server answers one after the other, and no round trip is added.
        let (set, (result, trace)) = join(client.batch_execute(&text), ask).await;
        match set {
            Ok(()) => *server_timeout = Some(timeout),
            // In a transaction that has failed already nothing can be set; the answer says as much.
            Err(_) if result.is_err() => {}
            Err(error) => return (Err(Failure::running(error, &self.meter)), Trace::Left),
        }
        (result, trace)
    }

    /// What a statement takes and gives.
    pub(super) async fn describe(&mut self, text: &str) -> Result<Described, Failure> {
        self.meter.allow(WIRE_SLACK);
        let prepared = prepare(&self.client, text, &self.meter, &mut self.is_preparing).await?;
        let statement = &prepared.statement;
        if let Err(detail) = &prepared.columns {
            return Err(Failure::new(CallError::new(Kind::Decode, detail.clone()), After::Usable));
        }
        Ok(Described {
            params: statement.params().iter().map(ToString::to_string).collect(),
            columns: statement
                .columns()
                .iter()
                .map(|column| (column.name().to_owned(), column.type_().to_string()))
                .collect(),
        })
    }

    /// Waits until everything sent before has been answered.
    pub(super) async fn settle(&mut self) -> Result<(), tokio_postgres::Error> {
        self.meter.allow(DRAINED);
        self.client.check_connection().await
    }

    /// Back to how it began, except for its statements.
    pub(super) async fn reset(&mut self) -> Result<(), tokio_postgres::Error> {
        self.meter.allow(DRAINED);
        self.server_timeout = None;
        self.client.batch_execute(RESET).await
    }
}

/// What a statement leaves behind in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    None,
    /// A transaction, a setting or the like may be left: reset it before another caller gets it.
    Left,
}

/// The statement timeout to tell the server, unless the one that it has will do: between what is left and half as much again,
/// so that calls with much the same deadline need not say it each time.
fn new_timeout(told: Option<Duration>, left: Duration) -> Option<Duration> {
    /// The server counts milliseconds in 31 bits; 0 would mean none.
    const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
    let left = left.clamp(Duration::from_millis(1), LONGEST);
    let longest = left.saturating_add(left / 2);
    if told.is_some_and(|told| left <= told && told <= longest) {
        return None;
    }
    let timeout = left.saturating_add(left / 4).min(LONGEST);
    Some(Duration::from_millis(timeout.as_millis() as u64 + 1).min(LONGEST))
}

fn set_timeout(timeout: Duration) -> String {
    format!("set statement_timeout = {}", timeout.as_millis())
}

async fn prepare(client: &Client, text: &str, meter: &Meter, is_preparing: &mut bool) -> Result<Arc<Prepared>, Failure> {
    if text.contains('\0') {
        return Err(Failure::value("a statement cannot have a NUL character".to_owned()));
    }
    *is_preparing = true;
    let statement = client.prepare(text).await;
    *is_preparing = false;
    let statement = statement.map_err(|error| Failure::preparing(error, meter))?;
    Ok(Arc::new(Prepared::new(text, statement)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn the_server_is_told_only_when_what_it_knows_will_not_do() {
        assert_eq!(new_timeout(None, ms(1000)), Some(ms(1251)));
        for left in [1251, 1000, 900, 835] {
            assert_eq!(new_timeout(Some(ms(1251)), ms(left)), None, "{left}");
        }
        for left in [1252, 833, 1] {
            assert!(new_timeout(Some(ms(1251)), ms(left)).is_some(), "{left}");
        }
    }

    #[test]
    fn a_timeout_is_never_none_and_never_too_long_for_the_server() {
        for left in [Duration::ZERO, Duration::from_micros(1), Duration::MAX] {
            let timeout = new_timeout(None, left).unwrap();
            assert!(timeout >= ms(1) && timeout.as_millis() <= i32::MAX as u128, "{timeout:?}");
        }
        assert_eq!(new_timeout(new_timeout(None, Duration::MAX), Duration::MAX), None);
    }
}
