//! SQL calls: values bound to the places of a statement, its rows as the call's value.

use std::sync::Arc;

use anabranch::policy::{KeyParts, RetrySettings};
use anabranch::postgres::{Answer, Param, Postgres, SqlCall, SqlSettings, Want};
use anabranch::{CallError, CallReport, Client, Deadline, Kind};
use bytes::Bytes;

use super::http::{CallSetup, json_of};
use super::shield::shielded;
use super::CallEnd;
use crate::gateway::Core;
use crate::json;
use crate::plan::{Action, CallPlan, Reference, SqlAction, SqlWant};
use crate::render::{is_from_client, Given, RenderFault, Scope};

/// The values of a statement, from what is known now.
pub(super) fn params(action: &SqlAction, known: &dyn Scope) -> Result<Vec<Param>, RenderFault> {
    action
        .params
        .iter()
        .map(|reference| param(reference, known.get(reference)))
        .collect()
}

fn param(reference: &Reference, given: Given<'_>) -> Result<Param, RenderFault> {
    Ok(match given {
        Given::Missing => return Err(RenderFault::Missing(reference.text.clone())),
        Given::Text(text) | Given::Rest(text) => Param::text(text),
        Given::Json(value) => {
            // The server would refuse it too, but not say that the client is to blame.
            if json::scalar_text(value).is_some_and(|text| text.contains('\0')) {
                return Err(RenderFault::BadValue {
                    reference: reference.text.clone(),
                    from_client: is_from_client(reference),
                    why: "must not hold NUL",
                });
            }
            Param::json(Bytes::copy_from_slice(value))
        }
        Given::Texts(texts) => Param::List(texts.into_iter().map(Param::text).collect()),
        Given::Values(values) => Param::List(values.into_iter().map(|value| Param::json(Bytes::copy_from_slice(value))).collect()),
    })
}

/// What is asked of a database, whatever the values are.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    text: Arc<str>,
    want: SqlWant,
    settings: SqlSettings,
    /// Whose turn it is where its rows take long to check.
    label: Arc<str>,
}

/// Letters of a statement by which its kept answers can be purged.
const START: usize = 48;

impl Statement {
    /// That of a call.
    pub(super) fn of(action: &SqlAction, call: &CallPlan, label: Arc<str>) -> Statement {
        Statement {
            text: action.text.clone(),
            want: action.want,
            settings: settings(call),
            label,
        }
    }

    /// Its first letters.
    pub(super) fn start(&self) -> &str {
        start(&self.text)
    }

    /// Asks the database, and makes a value of what it gives.
    pub(super) async fn ask(
        &self,
        core: &Core,
        db: &Postgres,
        params: &[Param],
        deadline: Deadline,
    ) -> (Result<Bytes, CallError>, CallReport) {
        let (result, report) = self.send(core.client(), db, params, deadline).await;
        (self.value(core, result, deadline).await, report)
    }

    async fn send(&self, client: &Client, db: &Postgres, params: &[Param], deadline: Deadline) -> (Result<Answer, CallError>, CallReport) {
        let asked = SqlCall {
            text: &self.text,
            params,
            want: want(self.want),
            settings: &self.settings,
        };
        db.call(client, &asked, deadline).await
    }

    /// A column of type `json` may hold anything, so the rows are checked like a body.
    async fn value(&self, core: &Core, result: Result<Answer, CallError>, deadline: Deadline) -> Result<Bytes, CallError> {
        let answer = result?;
        if self.want == SqlWant::Count {
            return Ok(Bytes::from(format!("{{\"rows\":{}}}", answer.rows)));
        }
        json_of(
            answer.json,
            "the rows are no JSON that can be taken",
            core.compute(),
            &self.label,
            deadline,
        )
        .await
    }
}

/// The first letters of a statement.
pub(crate) fn start(statement: &str) -> &str {
    let end = statement.char_indices().nth(START).map_or(statement.len(), |(at, _)| at);
    &statement[..end]
}

/// Adds the values of a statement to a key, each with what it is.
pub(super) fn keyed(parts: KeyParts, params: &[Param]) -> KeyParts {
    params.iter().fold(parts, |parts, param| match param {
        Param::Null => parts.value(b"null"),
        Param::Text(text) => parts.value(b"text").value(text.as_bytes()),
        Param::Json(json) => parts.value(b"json").value(json),
        Param::List(items) => keyed(parts.value(b"list").value(&items.len().to_le_bytes()), items),
    })
}

/// Asks the database. A statement that may not be carried out twice is not stopped once it was begun.
pub(super) async fn exchange(
    core: &Core,
    db: &Postgres,
    call: &CallPlan,
    setup: &CallSetup,
    params: Vec<Param>,
    deadline: Deadline,
) -> CallEnd {
    let Action::Sql(action) = &call.action else {
        return CallEnd::failed(CallError::new(Kind::Cancelled, "the call has no statement"));
    };
    let statement = Statement::of(action, call, setup.label.clone());
    if call.idempotent {
        let (result, report) = statement.ask(core, db, &params, deadline).await;
        return CallEnd::without_caching(result, report);
    }
    let (client, db, sent) = (core.client().clone(), db.clone(), statement.clone());
    let work = async move { sent.send(&client, &db, &params, deadline).await };
    let (result, report) = shielded(core, deadline, work).await;
    let result = statement.value(core, result, deadline).await;
    CallEnd::without_caching(result, report)
}

fn settings(call: &CallPlan) -> SqlSettings {
    SqlSettings {
        timeout: call.timeout,
        retry: RetrySettings {
            retries: call.retry,
            ..RetrySettings::ONCE_MORE
        },
        idempotent: call.idempotent,
        max_body: call.max_body,
    }
}

fn want(want: SqlWant) -> Want {
    match want {
        SqlWant::Rows => Want::Rows,
        SqlWant::One => Want::One,
        SqlWant::Count => Want::Count,
    }
}
