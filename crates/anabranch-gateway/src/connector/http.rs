//! HTTP calls: the request out of the templates, the value out of the answer.

use std::sync::Arc;

use anabranch::client::{Prototype, Request, Response};
use anabranch::{CallError, CallReport, CallSettings, Compute, Deadline, Kind, Source};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

use super::headers::SharedHeaders;
use super::shield::shielded;
use super::kept::KeepSetup;
use super::{CallEnd, Origin};
use crate::gateway::{Core, SharedPrototype, call_settings};
use crate::json;
use crate::plan::{Action, CallPlan, HttpAction, OkEntry, OkSet, Plan, Root, RoutePlan};
use crate::render::{self, RenderFault};
use crate::respond::reply::freshness;
use crate::run::{Known, Refusal};
use crate::transform::check;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("anabranch/", env!("CARGO_PKG_VERSION")));

/// What of a call is ready before any request comes.
#[derive(Debug)]
pub(crate) struct CallSetup {
    pub(super) settings: CallSettings,
    /// Whose turn it is where its answers take long to check.
    pub(super) label: Arc<str>,
    prototype: Option<SharedPrototype>,
    /// Headers let in that carry credentials and go out with this call, as they came or inside something else.
    pub(crate) credentials: Vec<usize>,
    /// Where its answers are stored.
    pub(super) keep: Option<Arc<KeepSetup>>,
}

/// What every request of a call says. A call's own headers win over its source's, and those over ours; what frames a message was
/// refused when the config was compiled.
fn prototype(plan: &Plan, action: &HttpAction) -> Prototype {
    let ours = [
        (header::USER_AGENT, USER_AGENT),
        (header::ACCEPT, JSON),
        (header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, br, zstd")),
    ];
    let theirs = &plan.sources[action.source].headers;
    let set_by_source = |name: &HeaderName| theirs.iter().any(|(other, _)| other == name);
    let set_by_call = |name: &HeaderName| action.headers.iter().any(|(other, _)| other == name);
    let ours = ours.into_iter().filter(|(name, _)| !set_by_source(name));
    ours.chain(theirs.iter().cloned())
        .filter(|(name, _)| !set_by_call(name))
        .fold(Prototype::new(action.method.clone()), |prototype, (name, value)| {
            prototype.clone().header(name, value).unwrap_or(prototype)
        })
}

impl CallSetup {
    /// The setup of one call.
    pub(crate) fn new(plan: &Plan, route: &RoutePlan, call: &CallPlan) -> CallSetup {
        let (prototype, passed) = match &call.action {
            Action::Http(action) => (Some(Arc::new(prototype(plan, action))), &action.pass[..]),
            Action::Sql(_) | Action::Redis(_) | Action::Run(_) | Action::Value(_) => (None, &[][..]),
        };
        let named = call.references().into_iter().filter_map(|reference| match reference.root {
            Root::Header(index) => Some(index),
            _ => None,
        });
        let is_credential = |header: &usize| plan.credentials.contains(&route.headers[*header]);
        let credentials = passed.iter().copied().chain(named).filter(is_credential).collect();
        let settings = call_settings(call);
        let keep = KeepSetup::new(plan, route, call, settings).map(Arc::new);
        CallSetup {
            settings,
            label: route.pattern.as_str().into(),
            prototype,
            credentials,
            keep,
        }
    }
}

/// The request of a call, from the values known now, on behalf of the client that `shared` tells of.
pub(super) fn request(
    action: &HttpAction,
    setup: &CallSetup,
    known: &Known<'_>,
    shared: Option<&SharedHeaders>,
) -> Result<Request, RenderFault> {
    let target = target(action, known)?;
    let refused = |error: CallError| RenderFault::BadValue {
        reference: "request".to_string(),
        from_client: false,
        why: why(&error),
    };
    let prototype = setup
        .prototype
        .clone()
        .unwrap_or_else(|| Arc::new(Prototype::new(action.method.clone())));
    let request = Request::with_prototype(prototype, target).map_err(refused)?;
    let mut request = match shared {
        Some(shared) => request.shared(shared.forwarded.clone()).span(shared.span.child()),
        None => request,
    };
    for index in &action.pass {
        if let Some(value) = known.header(*index) {
            request = request.header(known.header_name(*index).clone(), value.clone()).map_err(refused)?;
        }
    }
    for (name, template) in &action.headers {
        let value = render::header(template, known)?;
        request = request.header(name.clone(), value).map_err(refused)?;
    }
    if let Some(body) = &action.body {
        let mut out = Vec::new();
        render::json(body, known, &mut out);
        request = request.body(out, JSON);
    }
    Ok(request)
}

fn target(action: &HttpAction, known: &Known<'_>) -> Result<String, RenderFault> {
    let mut out = Vec::with_capacity(96);
    render::path(&action.path, known, &mut out)?;
    out.push(b'?');
    let without_query = out.len();
    render::query(&action.query, known, &mut out)?;
    if out.len() == without_query {
        out.pop();
    }
    // Templates are text and values are encoded, so this is ASCII; a mistake there would surface as a refused request.
    Ok(String::from_utf8(out).unwrap_or_default())
}

fn why(error: &CallError) -> &'static str {
    if error.kind() == Kind::Value {
        "cannot stand in this request"
    } else {
        "cannot be sent"
    }
}

/// Asks the source. A call that must not be sent twice is not cancelled once it started: it runs to its own end in the background
/// scope of the client, whatever becomes of the request.
pub(super) async fn exchange(
    core: &Core,
    source: &Source,
    call: &CallPlan,
    setup: &CallSetup,
    request: Request,
    deadline: Deadline,
) -> CallEnd {
    if call.idempotent {
        let (result, report) = source.call(core.client(), &request, &setup.settings, deadline).await;
        return Answering::of(core, setup, call, deadline).end(result, report).await;
    }
    Box::pin(write(core, source, call, setup, request, deadline)).await
}

/// Asks in a task of its own. In a box, so that the many calls that only read do not carry its size.
async fn write(core: &Core, source: &Source, call: &CallPlan, setup: &CallSetup, request: Request, deadline: Deadline) -> CallEnd {
    let (client, source, settings) = (core.client().clone(), source.clone(), setup.settings);
    let work = async move { source.call(&client, &request, &settings, deadline).await };
    let (result, report) = shielded(core, deadline, work).await;
    Answering::of(core, setup, call, deadline).end(result, report).await
}

/// What an answer is read with.
pub(super) struct Answering<'a> {
    /// Statuses that are a success.
    pub(super) ok: &'a OkSet,
    /// Headers that go on to the client.
    pub(super) forward: &'a [HeaderName],
    pub(super) compute: &'a Compute,
    /// Whose turn it is there.
    pub(super) label: &'a str,
    pub(super) deadline: Deadline,
}

impl<'a> Answering<'a> {
    pub(super) fn of(core: &'a Core, setup: &'a CallSetup, call: &'a CallPlan, deadline: Deadline) -> Self {
        Answering {
            ok: &call.ok,
            forward: &call.forward,
            compute: core.compute(),
            label: &setup.label,
            deadline,
        }
    }

    /// What the answer means to the call. A large body is checked on the compute pool.
    pub(super) async fn end(self, result: Result<Response, CallError>, report: CallReport) -> CallEnd {
        let (mut end, body) = read(self.ok, self.forward, result, report);
        if let Some(body) = body {
            end.result = json_of(body, "the body is not JSON", self.compute, self.label, self.deadline).await;
        }
        end
    }
}

/// What an answer means to a call that takes these statuses for success; with a body that becomes its value once it is checked.
fn read(ok: &OkSet, forward: &[HeaderName], result: Result<Response, CallError>, report: CallReport) -> (CallEnd, Option<Bytes>) {
    let mut end = CallEnd {
        result: Err(CallError::new(Kind::Cancelled, "")),
        refusal: None,
        freshness: None,
        forward: Vec::new(),
        report,
        origin: Origin::Source,
        kept: None,
    };
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            end.result = Err(error);
            return (end, None);
        }
    };
    let status = response.status();
    match ok.find(status) {
        Some(OkEntry { value: Some(value), .. }) => {
            describe(&mut end, forward, &response);
            end.result = Ok(value.clone());
        }
        Some(_) => {
            describe(&mut end, forward, &response);
            return (end, Some(response.into_body()));
        }
        None => {
            end.result = Err(CallError::new(Kind::Status, format!("answered {status}")));
            let content_type = response
                .header_bytes("content-type")
                .and_then(|value| HeaderValue::from_bytes(value).ok());
            end.refusal = Some(Refusal {
                status,
                content_type,
                body: response.into_body(),
            });
        }
    }
    (end, None)
}

/// What a good answer says beside its value.
fn describe(end: &mut CallEnd, forward: &[HeaderName], response: &Response) {
    end.freshness = Some(freshness(response));
    for name in forward {
        let values = response
            .headers()
            .filter(|(other, _)| *other == name.as_str())
            .filter_map(|(_, value)| HeaderValue::from_bytes(value).ok());
        end.forward.extend(values.map(|value| (name.clone(), value)));
    }
}

/// Bytes as a value: nothing is null, all else must be one JSON document; `otherwise` is what is said of what is none.
pub(super) async fn json_of(body: Bytes, otherwise: &str, compute: &Compute, label: &str, deadline: Deadline) -> Result<Bytes, CallError> {
    if body.is_empty() {
        return Ok(Bytes::from_static(json::NULL));
    }
    match check(&body, compute, label, deadline).await? {
        Ok(()) => Ok(body),
        Err(fault) => Err(CallError::new(Kind::Decode, format!("{otherwise}: {fault}"))),
    }
}
