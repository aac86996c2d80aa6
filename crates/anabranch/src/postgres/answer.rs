//! What a session is asked and what it brings: rows turned into JSON as they come, within their limit.

use std::pin::pin;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::time::Instant;
use tokio_postgres::Client;

use super::fault::{After, Failure};
use super::param::{self, Param};
use super::statement::Prepared;
use super::wire::Meter;
use crate::client::Timings;
use crate::{CallError, Kind, Marks, Phase};

/// What is asked of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) text: &'a str,
    pub(super) params: &'a [Param],
    pub(super) want: Want,
    /// The largest answer in bytes of JSON.
    pub(super) max_body: u64,
}

/// What is made of a statement's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// All of them, as a JSON list of objects.
    Rows,
    /// The only one, as an object; `null` if there is none, an error if there are more.
    One,
    /// How many were returned or changed.
    Count,
}

/// What a statement brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The rows as JSON; empty for [`Want::Count`].
    pub json: Bytes,
    /// How many rows were returned or, for [`Want::Count`], changed.
    pub rows: u64,
}

/// Runs a prepared statement and reads its answer to the end.
pub(super) async fn execute(
    client: &Client,
    prepared: &Prepared,
    asked: Asked<'_>,
    meter: &Meter,
    marks: &Marks,
    timings: &mut Timings,
) -> Result<Answer, Failure> {
    let params = param::bind(asked.params, prepared.statement.params()).map_err(Failure::value)?;
    let sent = Instant::now();
    if asked.want == Want::Count {
        let rows = client
            .execute_raw(&prepared.statement, params)
            .await
            .map_err(|error| Failure::running(error, meter))?;
        timings.first_byte = Some(sent.elapsed());
        return Ok(Answer { json: Bytes::new(), rows });
    }
    let columns = match &prepared.columns {
        Ok(columns) => columns,
        Err(detail) => return Err(Failure::new(CallError::new(Kind::Decode, detail.clone()), After::Usable)),
    };
    let rows = client
        .query_raw(&prepared.statement, params)
        .await
        .map_err(|error| Failure::running(error, meter))?;
    let mut rows = pin!(rows);
    timings.first_byte = Some(sent.elapsed());
    marks.enter(Phase::Body, None);
    let started = Instant::now();
    let mut out = Vec::new();
    let mut count = 0_u64;
    while let Some(row) = rows.try_next().await.map_err(|error| Failure::running(error, meter))? {
        count += 1;
        if asked.want == Want::One && count > 1 {
            return Err(unfinished(Kind::TooMany, "more than one row came where one was wanted".to_owned()));
        }
        out.push(if count == 1 { b'[' } else { b',' });
        columns.write(&mut out, &row).map_err(|detail| unfinished(Kind::Decode, detail))?;
        if out.len() as u64 > asked.max_body {
            return Err(unfinished(
                Kind::TooLarge,
                format!("the rows are larger than {} bytes", asked.max_body),
            ));
        }
    }
    timings.body = Some(started.elapsed());
    Ok(Answer {
        json: whole(out, asked.want),
        rows: count,
    })
}

/// The list closed, or the one row taken out of it.
fn whole(mut out: Vec<u8>, want: Want) -> Bytes {
    match (want, out.is_empty()) {
        (Want::One, true) => Bytes::from_static(b"null"),
        (_, true) => Bytes::from_static(b"[]"),
        (Want::One, false) => Bytes::from(out).slice(1..),
        (_, false) => {
            out.push(b']');
            Bytes::from(out)
        }
    }
}

/// The call ends while rows still come.
fn unfinished(kind: Kind, detail: String) -> Failure {
    Failure::new(CallError::new(kind, detail).after_send(), After::Busy)
}
