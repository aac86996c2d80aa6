//! Postgres as a source: statements under the same policies as calls to a service, rows as JSON bytes.
//!
//! ```no_run
//! # async fn example(client: &anabranch::Client) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use anabranch::Deadline;
//! use anabranch::postgres::{Param, Postgres};
//!
//! let db = Postgres::new("db", "postgres://app:secret@db.svc/shop")?;
//! let deadline = Deadline::after(Duration::from_millis(300));
//! let posts = db.query(client, "select id, title from posts where feed = $1", &[Param::from(7)], deadline).await?;
//! assert!(posts.starts_with(b"["));
//! # Ok(())
//! # }
//! ```
//!
//! **Limits.** A source has a number of sessions, over all threads; calls that find them in use wait a bounded time for one.
//! What a call may bring is bounded in bytes. **Time.** The deadline reaches the server: as its own `statement_timeout`, and as
//! a request to stop when the call ends before the statement does, by its deadline or by being dropped. A session that was
//! stopped is used again only when the server has said that it is free. **Values** are always bound, never written into a
//! statement. **Failure.** A database that refuses is dialled by one caller at a time, with growing rests; all others are told
//! at once.
//!
//! Hosts of the URL are tried in order (`target_session_attrs=read-write` passes over replicas). TLS is spoken where the server
//! offers it, and asked for with `sslmode=require`; either way the certificate must be good. `sslmode=disable` turns it off. The
//! pool needs sessions of its own: put no pooler that hands out a session per transaction between it and the server.

mod builder;
mod pool;
mod spare;
mod health;
mod connect;
mod tls;
mod wire;
mod lease;
mod lent;
mod session;
mod statement;
mod answer;
mod param;
mod scalar;
mod value;
mod numeric;
mod moment;
mod json;
mod copy;
mod fault;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::time::Instant;

pub use answer::{Answer, Want};
pub use builder::PostgresBuilder;
pub use connect::BadDatabase;
pub use copy::{CopyInto, CopyValue};
pub use param::Param;
pub use lent::Session;
pub use pool::PoolCounts;
pub use session::Described;
/// The driver, for what a [`Session`] does with [`raw`](Session::raw).
pub use tokio_postgres as driver;

use self::answer::Asked;
use self::lease::Lease;
use self::pool::Pool;
use self::session::Trace;
use crate::client::Timings;
use crate::policy::{AttemptEnd, Budget, Next, RetrySettings};
use crate::{Attempt, CallError, CallReport, CallSettings, Client, Deadline, Expired, Kind, Marks, Phase};

/// A Postgres database that calls go to. Cheap to clone; all clones, on all threads, share its sessions and limits.
#[derive(Clone)]
pub struct Postgres(Arc<Shared>);

struct Shared {
    /// Names the source in errors.
    name: Arc<str>,
    pool: Arc<Pool>,
    /// What retries may cost.
    budget: Budget,
    settings: SqlSettings,
}

/// How a statement is sent. A source has one for all its calls; a call may carry its own.
#[derive(Clone, Copy, Debug)]
pub struct SqlSettings {
    /// The limit of each attempt; without one an attempt may take what is left of the deadline.
    pub timeout: Option<Duration>,
    /// Attempts after the first, for statements that may be sent twice, and for any whose session could not be opened.
    pub retry: RetrySettings,
    /// Whether the statement may be sent twice.
    pub idempotent: bool,
    /// The largest answer, in bytes of JSON.
    pub max_body: u64,
}

impl Default for SqlSettings {
    /// No attempt timeout, one retry after 25 to 250 ms, not to be sent twice, 8 MiB.
    fn default() -> Self {
        SqlSettings {
            timeout: None,
            retry: CallSettings::default().retry,
            idempotent: false,
            max_body: 8 << 20,
        }
    }
}

/// A statement with its values and what is wanted of it.
#[derive(Clone, Copy, Debug)]
pub struct SqlCall<'a> {
    /// The statement, with `$1`, `$2` and so on for values. It is prepared once per session and kept by its text.
    pub text: &'a str,
    /// A value for each.
    pub params: &'a [Param],
    /// What is made of its rows.
    pub want: Want,
    /// How it is sent.
    pub settings: &'a SqlSettings,
}

impl Postgres {
    /// A source with the default limits: 10 sessions, as many calls waiting for up to 250 ms, one retry. Nothing is opened.
    ///
    /// # Errors
    /// The URL is none of Postgres, or its TLS settings cannot be used.
    pub fn new(name: &str, url: &str) -> Result<Postgres, BadDatabase> {
        Postgres::builder(name, url).build()
    }

    /// Starts a source with settings of its own.
    pub fn builder(name: &str, url: &str) -> PostgresBuilder {
        PostgresBuilder::new(name, url)
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The settings that its calls have unless they carry their own.
    pub fn settings(&self) -> &SqlSettings {
        &self.0.settings
    }

    /// What its pool holds now.
    pub fn counts(&self) -> PoolCounts {
        self.0.pool.counts()
    }

    /// Reads: all rows, as a JSON list of objects with the columns in order. The statement may be sent twice; one that writes
    /// belongs into [`execute`](Postgres::execute) or [`call`](Postgres::call).
    ///
    /// Ends by the deadline at the latest. Dropping the future cancels the statement in the server.
    ///
    /// # Errors
    /// `value`: a value does not fit its place. `status`: the server refused the statement; the text has its SQLSTATE.
    /// `limit`: all sessions stayed in use. `connect`, `tls`, `dns`: no session. `reset`: the session broke. `decode`: a column has
    /// a type without a JSON form. `too_large`, `timeout`, `cancelled`.
    pub async fn query(&self, client: &Client, text: &str, params: &[Param], deadline: Deadline) -> Result<Bytes, CallError> {
        let settings = SqlSettings {
            idempotent: true,
            ..self.0.settings
        };
        let call = SqlCall {
            text,
            params,
            want: Want::Rows,
            settings: &settings,
        };
        self.call(client, &call, deadline).await.0.map(|answer| answer.json)
    }

    /// The same for a statement that gives one row: its object, or `null` if there is none.
    ///
    /// # Errors
    /// As [`query`](Postgres::query); `too_many` if more than one row comes.
    pub async fn query_one(&self, client: &Client, text: &str, params: &[Param], deadline: Deadline) -> Result<Bytes, CallError> {
        let settings = SqlSettings {
            idempotent: true,
            ..self.0.settings
        };
        let call = SqlCall {
            text,
            params,
            want: Want::One,
            settings: &settings,
        };
        self.call(client, &call, deadline).await.0.map(|answer| answer.json)
    }

    /// Writes, and says how many rows were changed. Sent once only, unless the source's settings say that it may be repeated.
    /// A statement whose call was dropped or timed out may have been carried out all the same.
    ///
    /// # Errors
    /// As [`query`](Postgres::query).
    pub async fn execute(&self, client: &Client, text: &str, params: &[Param], deadline: Deadline) -> Result<u64, CallError> {
        let call = SqlCall {
            text,
            params,
            want: Want::Count,
            settings: &self.0.settings,
        };
        self.call(client, &call, deadline).await.0.map(|answer| answer.rows)
    }

    /// Makes one call and says what it did.
    ///
    /// # Errors
    /// As [`query`](Postgres::query) and [`query_one`](Postgres::query_one); the error names the source and the number of attempts.
    pub async fn call(&self, client: &Client, call: &SqlCall<'_>, deadline: Deadline) -> (Result<Answer, CallError>, CallReport) {
        let started = Instant::now();
        let mut report = CallReport::default();
        let result = self.attempts(client, call, deadline, started, &mut report).await;
        report.took = started.elapsed();
        let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
        (result.map_err(|error| error.of_call(&self.0.name, made, report.took)), report)
    }

    /// What a statement takes and gives, without running it: for checking a config against a database.
    ///
    /// # Errors
    /// As [`query`](Postgres::query): `status` with the server's words and the place in the text for a statement that is wrong,
    /// `decode` for a column without a JSON form.
    pub async fn describe(&self, client: &Client, text: &str, deadline: Deadline) -> Result<Described, CallError> {
        let describe = async |lease: &mut Lease<'_>| lease.work(async |session| (session.describe(text).await, Trace::None)).await;
        self.with_lease(client, deadline, describe).await
    }

    /// Copies rows into a table by binary COPY, in one transaction, and says how many. Rows are taken as fast as the server
    /// takes them; what is under way between is bounded to about 200 KiB, whatever the number of rows.
    ///
    /// # Errors
    /// As [`query`](Postgres::query); `value` names the row and column of a value that does not fit. No row is kept then.
    pub async fn copy_in<'r, R>(
        &self,
        client: &Client,
        into: &CopyInto<'_>,
        rows: impl IntoIterator<Item = R>,
        deadline: Deadline,
    ) -> Result<u64, CallError>
    where
        R: AsRef<[CopyValue<'r>]>,
    {
        self.copy_in_stream(client, into, stream::iter(rows.into_iter().map(Ok)), deadline)
            .await
    }

    /// The same for rows that come one after the other. A row that is an error ends it with that error, and no row is kept.
    ///
    /// # Errors
    /// As [`copy_in`](Postgres::copy_in).
    pub async fn copy_in_stream<'r, R>(
        &self,
        client: &Client,
        into: &CopyInto<'_>,
        rows: impl Stream<Item = Result<R, CallError>>,
        deadline: Deadline,
    ) -> Result<u64, CallError>
    where
        R: AsRef<[CopyValue<'r>]>,
    {
        let copy = async |lease: &mut Lease<'_>| {
            lease
                .work(async |session| (session.copy_in(into, rows, deadline.left()).await, Trace::None))
                .await
        };
        self.with_lease(client, deadline, copy).await
    }

    /// A session of one's own, for transactions and what else needs several statements in one. It counts against the source's
    /// limit until it is dropped; then it is rolled back, reset and used by others.
    ///
    /// # Errors
    /// As [`query`](Postgres::query) where no session is to be had.
    pub async fn session<'a>(&self, client: &'a Client, deadline: Deadline) -> Result<Session<'a>, CallError> {
        let started = Instant::now();
        let marks = Marks::new();
        let mut timings = Timings::default();
        let lease = deadline
            .bound_marked(&marks, self.lease(client, deadline, &marks, &mut timings))
            .await;
        let lease = lease.unwrap_or_else(|expired| Err(timed_out(expired, None, deadline)));
        match lease {
            Ok(lease) => Ok(Session {
                name: self.0.name.clone(),
                settings: self.0.settings,
                lease,
            }),
            Err(error) => Err(error.of_call(&self.0.name, 0, started.elapsed())),
        }
    }

    /// Closes the sessions at rest that belong to this client: to be done before the client is
    /// [drained](Client::drain), which otherwise waits for them until its deadline.
    pub fn release(&self, client: &Client) {
        self.0.pool.close_idle(Some(client));
    }

    /// Closes the sessions at rest and refuses new calls; calls under way go on.
    pub fn close(&self) {
        self.0.pool.close();
    }

    async fn attempts(
        &self,
        client: &Client,
        call: &SqlCall<'_>,
        deadline: Deadline,
        started: Instant,
        report: &mut CallReport,
    ) -> Result<Answer, CallError> {
        let settings = call.settings;
        let mut token = None;
        self.0.budget.record_call();
        loop {
            let (result, attempt) = self.one_attempt(client, call, deadline, started).await;
            drop(token.take());
            report.attempts.push(attempt);
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_repeat = settings.idempotent || !error.was_sent();
            let retry = if may_repeat { settings.retry } else { RetrySettings::NONE };
            let made = u32::try_from(report.attempts.len()).unwrap_or(u32::MAX);
            let Next::Again(rest) = retry.next(made, AttemptEnd::Failed(&error), deadline.left(), 1) else {
                return Err(error);
            };
            token = self.0.budget.withdraw();
            if token.is_none() {
                return Err(error);
            }
            deadline.within(rest).wait().await;
        }
    }

    async fn one_attempt(
        &self,
        client: &Client,
        call: &SqlCall<'_>,
        deadline: Deadline,
        call_started: Instant,
    ) -> (Result<Answer, CallError>, Attempt) {
        let started = Instant::now();
        let settings = call.settings;
        let marks = Marks::new();
        let mut timings = Timings::default();
        let limit = settings.timeout.map_or(deadline, |timeout| deadline.within(timeout));
        let ask = async {
            let mut lease = self.lease(client, limit, &marks, &mut timings).await?;
            let asked = Asked {
                text: call.text,
                params: call.params,
                want: call.want,
                max_body: settings.max_body,
            };
            lease.run(asked, limit, &marks, &mut timings).await
        };
        let result = match limit.bound_marked(&marks, ask).await {
            Ok(result) => result,
            Err(expired) => Err(timed_out(expired, settings.timeout, deadline)),
        };
        let kind = result.as_ref().err().map(CallError::kind);
        let attempt = Attempt {
            started: started.duration_since(call_started),
            took: started.elapsed(),
            endpoint: None,
            status: None,
            kind,
            timings,
        };
        (result, attempt)
    }

    async fn lease<'a>(
        &self,
        client: &'a Client,
        deadline: Deadline,
        marks: &Marks,
        timings: &mut Timings,
    ) -> Result<Lease<'a>, CallError> {
        if deadline.has_passed() {
            return Err(CallError::new(Kind::Timeout, "the deadline had passed before it could be sent"));
        }
        let pool = &self.0.pool;
        let place = pool.place(deadline, timings).await?;
        let spare = pool.session(client, place, marks, timings).await?;
        Ok(Lease::new(client, spare))
    }

    /// Does one thing with a session, within the deadline and without a second attempt.
    async fn with_lease<T>(
        &self,
        client: &Client,
        deadline: Deadline,
        work: impl AsyncFnOnce(&mut Lease<'_>) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let started = Instant::now();
        let marks = Marks::new();
        let mut timings = Timings::default();
        let whole = async {
            let mut lease = self.lease(client, deadline, &marks, &mut timings).await?;
            work(&mut lease).await
        };
        let result = deadline.bound_marked(&marks, whole).await;
        let result = result.unwrap_or_else(|expired| Err(timed_out(expired, None, deadline)));
        result.map_err(|error| error.of_call(&self.0.name, 1, started.elapsed()))
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("name", &self.0.name)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

fn timed_out(expired: Expired, timeout: Option<Duration>, deadline: Deadline) -> CallError {
    let detail = match timeout {
        Some(timeout) if !deadline.has_passed() => format!("no whole answer within the timeout of {timeout:?}"),
        _ => "no whole answer before the deadline".to_owned(),
    };
    let error = CallError::new(Kind::Timeout, detail);
    match expired.phase {
        Some(phase @ (Phase::FirstByte | Phase::Body)) => error.in_phase(phase).after_send(),
        Some(phase) => error.in_phase(phase),
        None => error,
    }
}
