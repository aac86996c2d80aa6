//! The page as a plain loop makes it: the same calls, by the same client, one after another.

use std::time::Duration;

use anabranch::{Client, Deadline, Request, Response, Source};
use anabranch_gateway::plan::{Action, CallPlan, Hop, ParamDefault, Piece, Reference, Root, RoutePlan, Template};
use anyhow::{anyhow, Context};
use serde_json::{Map, Value};

use super::stage::Stage;
use crate::exit::Failure;

/// Each call takes 2 to 3 s; this is for when something is broken.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How often progress is shown while a call lasts.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Asks the services one after another, each after those whose answers it needs, and joins what they say. `progress` hears how many
/// of how many are done and which is asked now.
pub(super) async fn page(stage: &Stage, mut progress: impl FnMut(usize, usize, &str)) -> Result<Value, Failure> {
    let route = stage.route();
    let client = Client::new();
    let mut parts: Vec<Option<Value>> = vec![None; route.calls.len()];
    for done in 0..route.calls.len() {
        let Some(next) = next_call(route, &parts) else { break };
        let call = &route.calls[next];
        let ask = ask(stage, &client, route, call, &parts);
        let part = with_progress(ask, || progress(done, route.calls.len(), &call.name)).await;
        parts[next] = Some(
            part.with_context(|| format!("asking for `{}`", call.name))
                .map_err(Failure::failed)?,
        );
    }
    let names = route.calls.iter().map(|call| call.name.to_string());
    Ok(Value::Object(
        names
            .zip(parts)
            .map(|(name, part)| (name, part.unwrap_or_default()))
            .collect::<Map<_, _>>(),
    ))
}

/// The first call that is not done and whose references are there.
fn next_call(route: &RoutePlan, parts: &[Option<Value>]) -> Option<usize> {
    (0..route.calls.len()).find(|at| parts[*at].is_none() && route.calls[*at].waits.iter().all(|wait| parts[*wait].is_some()))
}

async fn with_progress<T>(work: impl Future<Output = T>, mut show: impl FnMut()) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        show();
        if let Ok(output) = Deadline::after(PROGRESS_EVERY).bound(&mut work).await {
            return output;
        }
    }
}

async fn ask(stage: &Stage, client: &Client, route: &RoutePlan, call: &CallPlan, parts: &[Option<Value>]) -> anyhow::Result<Value> {
    let (name, mock) = stage.mock_of(call).context("the call has no service")?;
    let source = Source::http(name, &mock.url())?;
    let request = Request::get(target(route, call, parts)?)?;
    let (reply, _) = source.call(client, &request, source.settings(), Deadline::after(CALL_LIMIT)).await;
    let reply: Response = reply?;
    anyhow::ensure!(reply.is_success(), "`{name}` answered {}", reply.status());
    Ok(serde_json::from_slice(reply.body())?)
}

/// Path and query with their references filled in. The demo's values need no encoding.
fn target(route: &RoutePlan, call: &CallPlan, parts: &[Option<Value>]) -> anyhow::Result<String> {
    let Action::Http(http) = &call.action else {
        return Err(anyhow!("the call asks nobody"));
    };
    let query: Vec<String> = http
        .query
        .iter()
        .map(|(name, value)| Ok(format!("{name}={}", filled(value, route, parts)?)))
        .collect::<anyhow::Result<_>>()?;
    let path = filled(&http.path, route, parts)?;
    Ok(if query.is_empty() {
        path
    } else {
        format!("{path}?{}", query.join("&"))
    })
}

fn filled(template: &Template, route: &RoutePlan, parts: &[Option<Value>]) -> anyhow::Result<String> {
    let pieces = template.0.iter().map(|piece| match piece {
        Piece::Text(text) => Ok(text.clone()),
        Piece::Ref(reference) => value(reference, route, parts).with_context(|| format!("`{}` has no value", reference.text)),
    });
    pieces.collect()
}

fn value(reference: &Reference, route: &RoutePlan, parts: &[Option<Value>]) -> Option<String> {
    match reference.root {
        Root::Param(at) => match &route.params[at].default {
            ParamDefault::Value(text) => Some(text.clone()),
            // Only the page's id has no default.
            ParamDefault::Required | ParamDefault::Missing => super::PAGE.rsplit('/').next().map(str::to_string),
        },
        Root::Call(at) => {
            let found = reference.path.iter().try_fold(parts[at].as_ref()?, |value, hop| match hop {
                Hop::Field(name) => value.get(name),
                Hop::Index(index) => value.get(index),
                Hop::Each => None,
            })?;
            Some(found.as_str().map_or_else(|| found.to_string(), str::to_string))
        }
        Root::Header(_) | Root::Body | Root::Joined(_) | Root::It | Root::Keys => None,
    }
}
