//! Jobs for programs: a value in, a value out.

use anabranch::client::Request;
#[cfg(unix)]
use anabranch::{WorkerSettings, Workers};
use anabranch::{CallError, Deadline, Kind, Phase, Source};
use bytes::Bytes;
use http::{HeaderValue, Method};

use super::http::{Answering, CallSetup};
#[cfg(unix)]
use super::shield::shielded;
use super::CallEnd;
use crate::gateway::Core;
use crate::plan::{CallPlan, RunAction};
use crate::render;
use crate::respond::cache_control::Freshness;
use crate::run::Known;

/// What a program is given, from what is known now.
pub(super) fn job(action: &RunAction, known: &Known<'_>) -> Bytes {
    let mut out = Vec::new();
    render::json(&action.job, known, &mut out);
    Bytes::from(out)
}

/// Has the job done. Its process is killed if nobody waits any more, unless the call says that it must not be.
///
/// What a process writes was checked byte by byte as it came, to the same depth as other answers, so it is not looked at again.
#[cfg(unix)]
pub(super) async fn exchange(core: &Core, workers: &Workers, call: &CallPlan, job: Bytes, deadline: Deadline) -> CallEnd {
    let settings = WorkerSettings {
        timeout: call.timeout,
        max_body: call.max_body,
    };
    let (result, report) = if call.idempotent {
        workers.call(core.client(), job, &settings, deadline).await
    } else {
        let (client, workers) = (core.client().clone(), workers.clone());
        let work = async move { workers.call(&client, job, &settings, deadline).await };
        shielded(core, deadline, work).await
    };
    CallEnd::without_caching(result, report)
}

/// Asks a service in place of a program, as specs do: each job is a POST to `/`, its answer the body of a 200.
pub(super) async fn stand_in(core: &Core, source: &Source, call: &CallPlan, setup: &CallSetup, job: Bytes, deadline: Deadline) -> CallEnd {
    let request = match Request::new(Method::POST, "/".to_string()) {
        Ok(request) => request.body(job, HeaderValue::from_static("application/json")),
        Err(error) => return CallEnd::failed(error),
    };
    let (result, report) = source.call(core.client(), &request, &setup.settings, deadline).await;
    // All places taken: of a program that is `busy`.
    let result = result.map_err(|error| match error.kind() {
        Kind::Limit => CallError::new(Kind::Busy, "all processes are busy").in_phase(Phase::Queue),
        _ => error,
    });
    let mut end = Answering::of(core, setup, call, deadline).end(result, report).await;
    end.refusal = None;
    end.freshness = end.result.is_ok().then(Freshness::default);
    end
}
