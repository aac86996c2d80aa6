//! A session lent to one caller: the public face of a [`Lease`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;
use tokio_postgres as driver;

use super::answer::{Answer, Asked, Want};
use super::lease::Lease;
use super::session::Trace;
use super::{CopyInto, CopyValue, Param, SqlSettings, timed_out};
use crate::client::Timings;
use crate::{CallError, Deadline, Kind, Marks};

/// A session in the hands of one caller. Nothing is retried in it. Dropping it rolls back what was not committed.
pub struct Session<'a> {
    pub(super) name: Arc<str>,
    pub(super) settings: SqlSettings,
    pub(super) lease: Lease<'a>,
}

impl Session<'_> {
    /// Reads: all rows, as a JSON list of objects.
    ///
    /// # Errors
    /// As [`Postgres::query`](super::Postgres::query). After a statement that was given up, by its deadline or by a drop, every further one is `cancelled`.
    pub async fn query(&mut self, text: &str, params: &[Param], deadline: Deadline) -> Result<Bytes, CallError> {
        self.ask(text, params, Want::Rows, deadline).await.map(|answer| answer.json)
    }

    /// Reads one row: its object, or `null`.
    ///
    /// # Errors
    /// As [`query`](Session::query).
    pub async fn query_one(&mut self, text: &str, params: &[Param], deadline: Deadline) -> Result<Bytes, CallError> {
        self.ask(text, params, Want::One, deadline).await.map(|answer| answer.json)
    }

    /// Writes, or does what gives no rows, such as `begin`; says how many rows were changed.
    ///
    /// # Errors
    /// As [`query`](Session::query).
    pub async fn execute(&mut self, text: &str, params: &[Param], deadline: Deadline) -> Result<u64, CallError> {
        self.ask(text, params, Want::Count, deadline).await.map(|answer| answer.rows)
    }

    /// Copies rows in, inside the transaction that was begun, if one was.
    ///
    /// # Errors
    /// As [`Postgres::copy_in`](super::Postgres::copy_in).
    pub async fn copy_in<'r, R>(
        &mut self,
        into: &CopyInto<'_>,
        rows: impl IntoIterator<Item = R>,
        deadline: Deadline,
    ) -> Result<u64, CallError>
    where
        R: AsRef<[CopyValue<'r>]>,
    {
        let rows = stream::iter(rows.into_iter().map(Ok));
        let copy = self
            .lease
            .work(async |session| (session.copy_in(into, rows, deadline.left()).await, Trace::None));
        let result = deadline.bound(copy).await;
        let late = |_elapsed| Err(CallError::new(Kind::Timeout, "not all rows were in before the deadline").after_send());
        result
            .unwrap_or_else(late)
            .map_err(|error| error.of_call(&self.name, 1, Duration::ZERO))
    }

    /// The driver's own client, for what has no word here. No limit on sizes holds for it and nothing bounds it but the caller.
    pub fn raw(&mut self) -> &mut driver::Client {
        self.lease.raw().raw()
    }

    async fn ask(&mut self, text: &str, params: &[Param], want: Want, deadline: Deadline) -> Result<Answer, CallError> {
        let started = Instant::now();
        let marks = Marks::new();
        let mut timings = Timings::default();
        let asked = Asked {
            text,
            params,
            want,
            max_body: self.settings.max_body,
        };
        let result = deadline
            .bound_marked(&marks, self.lease.run(asked, deadline, &marks, &mut timings))
            .await;
        let result = result.unwrap_or_else(|expired| Err(timed_out(expired, None, deadline)));
        result.map_err(|error| error.of_call(&self.name, 1, started.elapsed()))
    }
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("name", &self.name).finish_non_exhaustive()
    }
}
