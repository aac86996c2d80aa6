//! SQL calls: values bound to the places of a statement, its rows as the call's value.

use anabranch::policy::RetrySettings;
use anabranch::postgres::{Answer, Param, Postgres, SqlCall, SqlSettings, Want};
use anabranch::{CallError, Deadline, Kind};
use bytes::Bytes;

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

/// Asks the database. A statement that may not be carried out twice is not stopped once it was begun.
pub(super) async fn exchange(core: &Core, db: &Postgres, call: &CallPlan, params: Vec<Param>, deadline: Deadline) -> CallEnd {
    let Action::Sql(action) = &call.action else {
        return CallEnd::failed(CallError::new(Kind::Cancelled, "the call has no statement"));
    };
    let settings = settings(call);
    let want = want(action.want);
    let (result, report) = if call.idempotent {
        let asked = SqlCall {
            text: &action.text,
            params: &params,
            want,
            settings: &settings,
        };
        db.call(core.client(), &asked, deadline).await
    } else {
        let (client, db, text) = (core.client().clone(), db.clone(), action.text.clone());
        let work = async move {
            let asked = SqlCall {
                text: &text,
                params: &params,
                want,
                settings: &settings,
            };
            db.call(&client, &asked, deadline).await
        };
        shielded(core, deadline, work).await
    };
    CallEnd::of_database(result.and_then(|answer| value(action.want, answer)), report)
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

/// A column of type `json` may hold anything, so the rows are checked like a body.
fn value(want: SqlWant, answer: Answer) -> Result<Bytes, CallError> {
    if want == SqlWant::Count {
        return Ok(Bytes::from(format!("{{\"rows\":{}}}", answer.rows)));
    }
    match json::validate(&answer.json, &json::Limits::default()) {
        Ok(_) => Ok(answer.json),
        Err(fault) => Err(CallError::new(
            Kind::Decode,
            format!("the rows are no JSON that can be taken: {}", fault.what),
        )),
    }
}
