//! One route: its parameters, its calls as a graph, and how the parts join.

use std::time::Duration;

use http::{HeaderName, Method};

use super::call;
use super::graph;
use super::headers;
use super::list;
use super::model::{Action, CallPlan, Need, Otherwise, Param, ParamDefault, ProxyPlan, Reply, Root, RoutePlan};
use super::names::{self, Here, Names};
use super::params;
use super::proxy;
use super::pattern::Pattern;
use super::program;
use super::place::{fault, Text};
use super::settings;
use super::value;
use crate::config::faults::Faults;
use crate::config::model::{CallConfig, Config, ReplyConfig, RouteConfig};
use crate::config::yaml::Spanned;
use crate::render::segment::check_segment;
use crate::schema;

/// A compiled route, and what decides which requests it takes.
pub(super) struct Compiled {
    /// The route.
    pub(super) plan: RoutePlan,
    /// Equal for two routes that take the same requests.
    pub(super) shape: String,
}

/// What a route is compiled in.
pub(super) struct Around<'a> {
    /// The whole config: sources, defaults.
    pub(super) config: &'a Config,
    /// Headers that carry credentials.
    pub(super) credentials: &'a [HeaderName],
    /// Whether `/x/` is `/x`.
    pub(super) ignore_slash: bool,
    /// Where the next route begins, in bytes of the file.
    pub(super) end: usize,
}

/// Compiles a route. What is wrong is reported and left out.
pub(super) fn compile(route: &RouteConfig, around: &Around<'_>, faults: &mut Faults) -> Compiled {
    let method = method(&route.method, faults);
    let Pattern { segments, params } = Pattern::read(&route.path, faults);
    let shape = format!("{method} {}", Pattern::shape(&segments, around.ignore_slash));
    let path_params = params.len();
    let mut params = with_query(params, route, faults);
    let headers = headers::names(&route.headers, faults);
    let deadline = route
        .deadline
        .as_ref()
        .map_or_else(|| usual_deadline(route), |deadline| deadline.value);
    check_call_names(route, &params, around.config, faults);

    let has_body = !matches!(method, Method::GET | Method::HEAD);
    if let Some(body) = route.body_max.as_ref().filter(|_| !has_body) {
        let help = "`body:` is for POST, PUT, PATCH and DELETE routes";
        fault(faults, body, format!("a {method} request has no body"), help);
    }
    if let Some(schema) = route.body_schema.as_ref().filter(|_| !has_body) {
        let help = "`body:` is for POST, PUT, PATCH and DELETE routes";
        fault(faults, schema.place(), format!("a {method} request has no body"), help);
    }
    let body_schema = route.body_schema.as_ref().and_then(|schema| schema::compile(schema, faults));
    let calls: Vec<&str> = route.calls.iter().map(|call| call.name.value.as_str()).collect();
    let names = Names {
        params: &params,
        calls,
        headers: &headers,
        has_body,
        here: Here::default(),
    };
    let intos = list::intos(&route.calls, &names, faults);
    let compile_call = |(index, call): (usize, &CallConfig)| {
        let scope = call::Around {
            config: around.config,
            names: &names.inside(index, &intos).with(list::item(call)),
            into: intos[index].as_ref(),
            credentials: around.credentials,
            deadline,
            method: &method,
        };
        call::compile(call, &scope, faults)
    };
    let mut calls: Vec<CallPlan> = route.calls.iter().enumerate().map(compile_call).collect();
    let reply = reply(route, &names, faults);
    let graph::Connected { parts, joins } = graph::connect(&mut calls, &reply);
    let need = need(route, &reply, &parts, &calls, &names, faults);
    let status_from = status_from(route, &need, &names, faults);
    graph::report_cycles(&route.calls, &calls, faults);
    // A broken reference may have been the one that names a call.
    if !has_faults(route, around.end, faults) {
        graph::report_unseen(&route.calls, &calls, &reply, &need, faults);
    }

    let proxy = route.proxy.as_ref().map(|written| {
        let around = proxy::Around {
            config: around.config,
            names: &names,
            credentials: around.credentials,
            method: &method,
            segments: &segments,
        };
        Box::new(proxy::compile(route, written, &around, faults))
    });
    let used = used(&calls, &reply, proxy.as_deref());
    let reads_body = used.contains(&Root::Body) || body_schema.is_some();
    mark_path_params(&mut params, &calls, proxy.as_deref());
    check_path_params(&params, route, faults);
    let plan = RoutePlan {
        method,
        pattern: route.path.value.clone(),
        segments,
        params,
        path_params,
        headers,
        reads_body,
        body_schema,
        body_max: route.body_max.as_ref().map_or(settings::REQUEST_BODY, |size| size.value),
        deadline,
        proxy,
        grace: route.grace.as_ref().map(|grace| grace.value),
        need,
        calls,
        parts,
        joins,
        reply,
        status_from,
        errors_pass: route.errors_pass.as_ref().is_some_and(|pass| pass.value),
        account_body: route.account_body,
        timing: route.timing,
    };
    Compiled { plan, shape }
}

/// A whole reply ends by itself; what is passed through may take as long as it moves.
fn usual_deadline(route: &RouteConfig) -> Duration {
    if route.proxy.is_some() {
        settings::NO_DEADLINE
    } else {
        settings::DEADLINE
    }
}

/// Whether anything was reported between this route and the next.
fn has_faults(route: &RouteConfig, end: usize, faults: &Faults) -> bool {
    let inside = route.method.span.start..end;
    faults.sorted().iter().any(|fault| inside.contains(&fault.span.start))
}

/// What the references of a route name; each may stand here many times.
pub(super) fn used(calls: &[CallPlan], reply: &Reply, proxy: Option<&ProxyPlan>) -> Vec<Root> {
    let mut references: Vec<_> = calls.iter().flat_map(CallPlan::references).collect();
    references.extend(calls.iter().flat_map(|call| match &call.otherwise {
        Some(Otherwise::Value { value, .. }) => value.references(),
        _ => Vec::new(),
    }));
    references.extend(reply.references());
    references.extend(proxy.iter().flat_map(|proxy| proxy.request.references()));
    references.into_iter().map(|reference| reference.root.clone()).collect()
}

fn method(written: &Spanned<String>, faults: &mut Faults) -> Method {
    const METHODS: [Method; 7] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ];
    METHODS
        .into_iter()
        .find(|method| method.as_str() == written.value)
        .unwrap_or_else(|| {
            fault(
                faults,
                written,
                format!("`{}` is no method of a route", written.value),
                "`GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`",
            );
            Method::GET
        })
}

fn with_query(mut params: Vec<Param>, route: &RouteConfig, faults: &mut Faults) -> Vec<Param> {
    for (name, node) in &route.query {
        let param = params::read(name, node, faults);
        if params.iter().any(|other| other.name == param.name) {
            fault(
                faults,
                name,
                format!("two parameters are named `{}`", name.value),
                "another name for one of them",
            );
        }
        params.push(param);
    }
    params
}

/// Names of calls are names of parts: the account has them as keys, in lower case.
fn check_call_names(route: &RouteConfig, params: &[Param], config: &Config, faults: &mut Faults) {
    for (at, call) in route.calls.iter().enumerate() {
        let name = &call.name;
        names::check("call", Text::of(name), faults);
        if name.value.starts_with('_') {
            fault(
                faults,
                name,
                "the name of a call does not begin with `_`",
                "`_parts` and its like are the gateway's own keys",
            );
        }
        if params.iter().any(|param| param.name == name.value) {
            let what = format!("both a parameter and a call are named `{}`", name.value);
            fault(
                faults,
                name,
                what,
                format!("another name for one of them, so that `${}` names one thing", name.value),
            );
        }
        let same = route.calls[..at]
            .iter()
            .find(|other| other.name.value.eq_ignore_ascii_case(&name.value));
        if let Some(other) = same {
            let what = format!("`{}` and `{}` differ only in case", other.name.value, name.value);
            fault(faults, name, what, "the account names parts in lower case");
        }
    }
    let most = config.max_calls.as_ref().map_or(settings::MAX_CALLS, |most| most.value) as usize;
    if route.calls.len() > most {
        let what = format!("{} calls, and one request may start {most}", route.calls.len());
        fault(faults, &route.path, what, "fewer calls, or a higher `max_calls`");
    }
}

fn reply(route: &RouteConfig, names: &Names<'_>, faults: &mut Faults) -> Reply {
    let Some(written) = &route.reply else {
        return Reply::Object;
    };
    match &written.value {
        // An unknown name is a fault, and no plan is made: what stands here then is never run.
        ReplyConfig::Only(name) => names.call(Text::of(name), faults).map_or(Reply::Object, Reply::Only),
        ReplyConfig::Merge(merged) => Reply::Merge(named_once(merged, names, faults)),
        ReplyConfig::Value(node) => Reply::Value(value::compile(node, names, faults)),
        ReplyConfig::Jq(text) => program::compile(Text::of(text), names, faults).map_or(Reply::Object, Reply::Jq),
    }
}

/// Finds calls by their names, each once.
fn named_once(written: &[Spanned<String>], names: &Names<'_>, faults: &mut Faults) -> Vec<usize> {
    let mut found = Vec::new();
    for name in written {
        let Some(index) = names.call(Text::of(name), faults) else {
            continue;
        };
        if found.contains(&index) {
            fault(faults, name, format!("`{}` stands here twice", name.value), "each call once");
        }
        found.push(index);
    }
    found
}

fn need(route: &RouteConfig, reply: &Reply, parts: &[usize], calls: &[CallPlan], names: &Names<'_>, faults: &mut Faults) -> Need {
    let written = route.need.as_deref();
    let mut needs = named_once(written.unwrap_or_default(), names, faults);
    for name in written.unwrap_or_default() {
        let call = calls.iter().find(|call| *call.name == *name.value);
        if call.is_some_and(|call| call.only_else) {
            let what = format!("`{}` starts only in place of another call, so the reply cannot need it", name.value);
            fault(faults, name, what, "need the call whose `else` it is");
        }
    }
    // An empty list says that nothing fails this reply.
    let never_fails = written.is_some_and(<[_]>::is_empty);
    if let Reply::Only(index) = reply
        && !never_fails
    {
        needs.retain(|need| need != index);
        needs.push(*index);
    }
    if let Some(grace) = route.grace.as_ref().filter(|_| needs.is_empty()) {
        fault(
            faults,
            grace,
            "`grace` counts from the last needed call, and none is needed",
            "name the calls in `need:`, or leave `grace` out",
        );
    }
    // A reply of fixed values and parameters has no part that could fail.
    if written.is_none() && needs.is_empty() && !parts.is_empty() {
        Need::OnePart
    } else {
        Need::All(needs)
    }
}

fn status_from(route: &RouteConfig, need: &Need, names: &Names<'_>, faults: &mut Faults) -> Option<usize> {
    let passes = route.errors_pass.as_ref().filter(|pass| pass.value);
    let Some(from) = &route.status_from else {
        if let Some(passes) = passes {
            fault(
                faults,
                passes,
                "`errors: pass` does not say whose",
                "`status: { from: call }` beside it",
            );
        }
        return None;
    };
    let index = names.call(Text::of(from), faults)?;
    if matches!(need, Need::All(needs) if !needs.contains(&index)) {
        let what = format!("the reply does not need `{}`, so its status is never taken", from.value);
        fault(faults, from, what, format!("add `{}` to `need:`", from.value));
    }
    Some(index)
}

/// Marks the parameters that some call puts into a path, where not every value can stand.
fn mark_path_params(params: &mut [Param], calls: &[CallPlan], proxy: Option<&ProxyPlan>) {
    if let Some(proxy) = proxy {
        for reference in proxy.request.path.references() {
            if let Root::Param(index) = reference.root {
                params[index].in_path = true;
                params[index].may_be_folder = proxy.rest == Some(index);
            }
        }
    }
    for call in calls {
        let Action::Http(action) = &call.action else { continue };
        for reference in action.path.references() {
            // An item of a parameter that takes repeats stands there like the parameter itself.
            let root = match (&reference.root, &call.list) {
                (Root::It, Some(list)) => &list.over.root,
                (root, _) => root,
            };
            if let Root::Param(index) = root {
                params[*index].in_path = true;
            }
        }
    }
}

/// A default that a path cannot hold would refuse every client that does not send the parameter.
fn check_path_params(params: &[Param], route: &RouteConfig, faults: &mut Faults) {
    for param in params.iter().filter(|param| param.in_path) {
        let Some((_, node)) = route.query.iter().find(|(name, _)| name.value == param.name) else {
            continue;
        };
        if let ParamDefault::Value(default) = &param.default
            && let Err(why) = check_segment(default)
        {
            fault(
                faults,
                node.span,
                format!("the default of `{}` {why}", param.name),
                "a call puts it into a path, as one segment",
            );
        }
    }
}
