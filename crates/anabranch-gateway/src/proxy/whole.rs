//! A proxied answer as a whole, for where there is no socket to stream to: `try`, specs and callers of the library.

use std::sync::Arc;

use anabranch::client::Upload;
use anabranch::{CallError, CallReport, Deadline, Kind};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{StatusCode, header};
use tokio::time::Instant;

use super::{Heard, Looking, Outgoing, Passed, PassedHead, Ready, problem};
use crate::gateway::{Answer, CallTrace, Core, RequestTrace};
use crate::respond::{Problem, cache_status};

/// The largest answer that is gathered.
const WHOLE_MAX: usize = 64 << 20;

/// Passes a request on and gathers the answer.
pub(crate) async fn answer(core: &Core, passed: &Passed<'_>, body: Bytes) -> Answer {
    let arrived = Instant::now();
    let route = &core.gateway().plan.routes[passed.matched.index];
    let (outgoing, looking) = match Outgoing::of(core, passed) {
        Ok(Ready::Ask(outgoing, looking)) => (outgoing, looking),
        Ok(Ready::Answer(answer)) => return *answer,
        Err(problem) => return problem.into_answer(),
    };
    let (result, report) = Deadline::after(route.deadline)
        .bound(gathered(core, &outgoing, passed, body, looking))
        .await
        .unwrap_or_else(|_| {
            (
                Err(CallError::new(Kind::Timeout, "no whole answer before the deadline")),
                CallReport::default(),
            )
        });
    let (outcome, detail) = match &result {
        Ok(_) => ("ok".to_owned(), String::new()),
        Err(error) => (error.kind().as_str().to_owned(), error.to_string()),
    };
    let mut answer = result.unwrap_or_else(|error| problem(&error, core).into_answer());
    if core.options().trace {
        answer.trace = Some(Box::new(RequestTrace {
            route: format!("{} {}", route.method, route.pattern),
            deadline: route.deadline,
            took: arrived.elapsed(),
            calls: vec![CallTrace {
                name: Arc::from("proxy"),
                source: Some(outgoing.source.name().clone()),
                waits: Vec::new(),
                started: Some(std::time::Duration::ZERO),
                took: arrived.elapsed(),
                outcome,
                detail,
                attempts: report.attempts,
            }],
        }));
    }
    answer
}

async fn gathered(
    core: &Core,
    outgoing: &Outgoing<'_>,
    passed: &Passed<'_>,
    body: Bytes,
    looking: Option<Box<Looking<'_>>>,
) -> (Result<Answer, CallError>, CallReport) {
    let upload = (!body.is_empty()).then(|| Upload::new(Some(body.len() as u64), stream::iter([Ok(body)])));
    let (opened, report) = outgoing
        .source
        .open(core.client(), &outgoing.request, upload, outgoing.settings, Deadline::never())
        .await;
    let mut call = match opened {
        Ok(call) => call,
        Err(error) => {
            let kept = looking.and_then(|looking| looking.stands_in(passed.method, error.kind()));
            return (kept.ok_or(error), report);
        }
    };
    outgoing.note_write(core, call.response().status());
    let (said, mut storing) = match looking.map(|looking| looking.heard(call.response(), passed.method)) {
        Some(Heard::Kept(answer)) => return (Ok(*answer), report),
        Some(Heard::Passed { said, storing }) => (Some(said), storing),
        None => (None, None),
    };
    let head = match PassedHead::of(call.response(), passed.method, &outgoing.proxy.forward) {
        Ok(head) => head,
        Err(problem) => return (Ok(problem.into_answer()), report),
    };
    let mut body = BytesMut::new();
    loop {
        match call.piece().await {
            Ok(None) => break,
            Ok(Some(piece)) if body.len() + piece.len() <= WHOLE_MAX => {
                storing = storing.and_then(|storing| storing.piece(&piece));
                body.extend_from_slice(&piece);
            }
            Ok(Some(_)) => {
                let detail = "the answer is larger than 64 MiB, which only a server passes on";
                return (Ok(Problem::new(StatusCode::BAD_GATEWAY, detail).into_answer()), report);
            }
            Err(error) => return (Err(error), report),
        }
    }
    storing.into_iter().for_each(|storing| storing.finish());
    let mut headers = head.headers;
    if let Some(said) = said {
        headers.append(cache_status::HEADER, said);
    }
    // When it was made is for caches on the way, of which there is none here.
    headers.remove(header::DATE);
    let answer = Answer {
        status: head.status,
        headers,
        body: body.freeze(),
        trace: None,
    };
    (Ok(answer), report)
}
