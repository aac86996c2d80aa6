//! One call: its request or value, its condition, what counts as success, its limits and what stands in for it.
//!
//! What it waits for and whether it is a part is said by `graph`, when all calls of the route are known.

use std::time::Duration;

use http::{HeaderName, Method};

use super::condition::{self, When};
use super::edit;
use super::headers;
use super::keep;
use super::list;
use super::model::{Action, CallPlan, Condition, HttpAction, IntoPlan, ListKind, Otherwise, Reference, Root, Template, Value};
use super::names::{Item, Names};
use super::ok;
use super::place::{fault, Text};
use super::redis;
use super::run;
use super::reference::is_name;
use super::settings::{self, Layers};
use super::sql;
use super::target::Target;
use super::template;
use super::value;
use super::walk;
use crate::config::faults::Faults;
use crate::config::model::{ActionConfig, CallConfig, Config, SourceConfig};
use crate::config::yaml::{Node, Spanned};

/// What a call is compiled in.
pub(super) struct Around<'a> {
    /// The whole config: sources and defaults.
    pub(super) config: &'a Config,
    /// What can be referred to by its request.
    pub(super) names: &'a Names<'a>,
    /// What this call adds to.
    pub(super) into: Option<&'a IntoPlan>,
    /// Headers that carry credentials.
    pub(super) credentials: &'a [HeaderName],
    /// Of the route.
    pub(super) deadline: Duration,
    /// Of the route.
    pub(super) method: &'a Method,
}

/// Compiles a call. What is wrong is reported and left out, so that the graph can be looked at all the same.
pub(super) fn compile(call: &CallConfig, around: &Around<'_>, faults: &mut Faults) -> CallPlan {
    let asked = match &call.action {
        ActionConfig::Http { method, target } => {
            let method = http_method(method, faults);
            Asked::Request(
                method,
                Target::read(target, &call.query, &around.config.sources, around.names, faults),
            )
        }
        ActionConfig::Sql {
            source,
            verb,
            statement,
            one,
        } => {
            let written = sql::Written {
                source,
                verb: verb.clone(),
                statement,
                one: one.as_ref(),
            };
            let (source, action) = sql::compile(&written, around, faults);
            Asked::Ready(source, Action::Sql(action))
        }
        ActionConfig::Redis(command) => {
            let (source, action) = redis::compile(command, around, faults);
            Asked::Ready(source, Action::Redis(action))
        }
        ActionConfig::Run(source) => {
            let (source, action) = run::compile(source, call.body.as_ref(), around, faults);
            Asked::Ready(source, Action::Run(action))
        }
        ActionConfig::Value(node) => Asked::Value(node),
    };
    let (source, safe) = match &asked {
        Asked::Request(method, target) => (target.source, is_safe(method)),
        Asked::Ready(source, action) => (*source, !is_write(action)),
        Asked::Value(_) => (None, true),
    };
    let layers = Layers {
        call: &call.settings,
        source: source.map(|index| &around.config.sources[index].settings),
        defaults: &around.config.defaults,
    };
    let idempotent = call.idempotent.as_ref().map_or(safe, |idempotent| idempotent.value);
    let (waits, waits_ok) = after(call, around.names, faults);
    // What stands beside the request is of the whole batch, where there is one.
    let beside = around.names.without_keys();
    let (when, when_program) = match call.when.as_ref().map(|when| condition::compile(Text::of(when), &beside, faults)) {
        Some(When::Small(condition)) => (Some(condition), None),
        Some(When::Program(program)) => (None, Some(Box::new(program))),
        Some(When::Broken) | None => (None, None),
    };
    let mut list = call
        .list
        .as_ref()
        .and_then(|list| list::compile(list, around.into, &around.names.with(Item::None), faults));
    if let Some(ListKind::Each { when_by_item }) = list.as_mut().map(|list| &mut list.kind) {
        let references = when.iter().flat_map(Condition::references);
        let references = references.chain(when_program.iter().flat_map(|program| program.references()));
        *when_by_item = references.into_iter().any(|reference| reference.root == Root::It);
    }
    let (mut action, retry) = match asked {
        Asked::Request(method, target) => {
            let retry = retry(call, &layers, idempotent, faults);
            (Action::Http(http_action(call, method, target, around, faults)), retry)
        }
        Asked::Ready(source, action) => {
            let source = source.map(|index| &around.config.sources[index]);
            refuse_leaks(&action.references(), &Sent::by(call, source, around), faults);
            let retry = match action {
                // A job may have effects, and one that killed its process would kill the next.
                Action::Run(_) => 0,
                _ => retry(call, &layers, idempotent, faults),
            };
            (action, retry)
        }
        Asked::Value(node) => (Action::Value(value::compile(node, around.names, faults)), 0),
    };
    let keep = keep::compile(call, &layers, &mut action, around, faults).map(Box::new);
    CallPlan {
        name: call.name.value.as_str().into(),
        account_key: call.name.value.to_ascii_lowercase(),
        action,
        waits,
        waits_ok,
        when,
        when_program,
        ok: ok::compile(call.ok.as_ref(), faults),
        timeout: layers.limit("timeout", |settings| &settings.timeout, around.deadline, faults),
        first_byte: layers.limit("first_byte", |settings| &settings.first_byte, around.deadline, faults),
        body_idle: layers.nearest(|settings| &settings.body_idle).unwrap_or(settings::BODY_IDLE),
        retry,
        idempotent,
        max_body: layers.nearest(|settings| &settings.max_body).unwrap_or(settings::MAX_BODY),
        otherwise: call.otherwise.as_ref().map(|node| otherwise(node, &beside, faults)),
        only_else: false,
        is_part: false,
        is_told: false,
        edit: edit::compile(call, around.names, faults).map(Box::new),
        keep,
        list: list.map(Box::new),
        forward: forward(call, faults),
    }
}

/// Whether a method changes nothing where it is sent (RFC 9110, 9.2.1).
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What a call does, as far as its target has been read.
enum Asked<'a> {
    Request(Method, Target),
    /// Of a database or a program; without a source where that is unknown.
    Ready(Option<usize>, Action),
    Value(&'a Node),
}

/// Whether what a call does may change something.
pub(super) fn is_write(action: &Action) -> bool {
    match action {
        Action::Http(http) => !is_safe(&http.method),
        Action::Sql(sql) => sql.is_exec,
        Action::Redis(redis) => !redis.is_read,
        // It computes; one that changes something says `idempotent: false`.
        Action::Run(_) | Action::Value(_) => false,
    }
}

fn http_method(written: &Spanned<String>, faults: &mut Faults) -> Method {
    match written.value.as_str() {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        "OPTIONS" => Method::OPTIONS,
        other => {
            fault(
                faults,
                written,
                format!("`{other}` is no method of a call"),
                "one of `get`, `head`, `post`, `put`, `patch`, `delete`",
            );
            Method::GET
        }
    }
}

fn http_action(call: &CallConfig, method: Method, target: Target, around: &Around<'_>, faults: &mut Faults) -> HttpAction {
    let names = around.names;
    if let Some(body) = call.body.as_ref().filter(|_| is_safe(&method)) {
        let help = "`post`, `put`, `patch` or `delete`; `query:` adds to the URL";
        fault(faults, body.span, format!("a {method} request has no body"), help);
    }
    let own = own_headers(call, names, faults);
    let source = target.source.map(|index| &around.config.sources[index]);
    let sets = |name: &HeaderName| {
        let by_source = source.is_some_and(|source| source.headers.iter().any(|(key, _)| name.as_str().eq_ignore_ascii_case(&key.value)));
        by_source || own.iter().any(|(other, _)| other == name)
    };
    let let_in = names.headers.iter().enumerate();
    let pass = let_in.filter(|(_, name)| {
        let is_credential = around.credentials.contains(name);
        headers::may_pass(name, is_credential) && !sets(name) && (!is_credential || passes(source, name))
    });
    let action = HttpAction {
        source: target.source.unwrap_or_default(),
        method,
        path: target.path,
        query: target.query,
        pass: pass.map(|(index, _)| index).collect(),
        headers: own,
        body: call.body.as_ref().map(|body| value::compile(body, names, faults)),
    };
    refuse_leaks(&action.references(), &Sent::by(call, source, around), faults);
    action
}

/// Whether a source is sent a credential.
pub(super) fn passes(source: Option<&SourceConfig>, name: &HeaderName) -> bool {
    source.is_some_and(|source| source.pass.iter().any(|pass| name.as_str().eq_ignore_ascii_case(&pass.value)))
}

/// Who sends references to whom.
pub(super) struct Sent<'a> {
    /// What a fault underlines.
    pub(super) place: &'a Spanned<String>,
    /// None where it is unknown.
    pub(super) source: Option<&'a SourceConfig>,
    pub(super) names: &'a Names<'a>,
    /// Headers that carry credentials.
    pub(super) credentials: &'a [HeaderName],
}

impl<'a> Sent<'a> {
    fn by(call: &'a CallConfig, source: Option<&'a SourceConfig>, around: &Around<'a>) -> Sent<'a> {
        Sent {
            place: &call.name,
            source,
            names: around.names,
            credentials: around.credentials,
        }
    }
}

/// A credential goes only to sources that `pass` it, also when it is referred to.
pub(super) fn refuse_leaks(references: &[&Reference], sent: &Sent<'_>, faults: &mut Faults) {
    for reference in references {
        let Root::Header(index) = reference.root else { continue };
        let name = &sent.names.headers[index];
        if sent.credentials.contains(name) && !passes(sent.source, name) {
            let what = format!("`{}` is a credential that this source is not passed", reference.text);
            fault(
                faults,
                sent.place,
                what,
                format!("add `pass: [{name}]` to the source if it may have it"),
            );
        }
    }
}

fn own_headers(call: &CallConfig, names: &Names<'_>, faults: &mut Faults) -> Vec<(HeaderName, Template)> {
    let mut own: Vec<(HeaderName, Template)> = Vec::new();
    for (key, value) in &call.headers {
        let Some(name) = headers::sent_name(Text::of(key), faults) else {
            continue;
        };
        if own.iter().any(|(other, _)| *other == name) {
            fault(
                faults,
                key,
                format!("`{}` stands here twice", key.value),
                "each header once, in any case of letters",
            );
        }
        own.push((name, template::header(Text::of(value), names, faults)));
    }
    own
}

fn forward(call: &CallConfig, faults: &mut Faults) -> Vec<HeaderName> {
    for written in &call.forward {
        let name = written.value.to_ascii_lowercase();
        if headers::is_framing_name(&name) || matches!(name.as_str(), "content-type" | "content-encoding") {
            let what = format!("`{}` belongs to the source's answer and not to the reply", written.value);
            fault(faults, written, what, "leave it out; the gateway writes its own");
        }
    }
    headers::names(&call.forward, faults)
}

fn retry(call: &CallConfig, layers: &Layers<'_>, idempotent: bool, faults: &mut Faults) -> u32 {
    if idempotent {
        return layers.nearest(|settings| &settings.retry).unwrap_or(settings::RETRY);
    }
    if let Some(written) = call.settings.retry.as_ref().filter(|retry| retry.value > 0) {
        let help = "write `idempotent: true` if sending it twice does no harm, or leave `retry` out";
        fault(faults, written, "a call that may not be sent twice is never retried", help);
    }
    0
}

/// `after:` entries `x` and `x ok`: all of them, and those that must have ended well.
fn after(call: &CallConfig, names: &Names<'_>, faults: &mut Faults) -> (Vec<usize>, Vec<usize>) {
    let (mut all, mut well) = (Vec::new(), Vec::new());
    for written in &call.after {
        let text = Text::of(written).trimmed();
        let (name, how) = text.split_once(' ').map_or((text, None), |(name, how)| (name, Some(how.trimmed())));
        if how.is_some_and(|how| how.text != "ok") || !is_name(name.text) {
            fault(
                faults,
                written,
                format!("`{}` does not say what to wait for", written.value),
                "`x`: it has ended, however; `x ok`: it has ended well",
            );
            continue;
        }
        let Some(index) = names.call(name, faults) else { continue };
        all.push(index);
        if how.is_some() {
            well.push(index);
        }
    }
    (all, well)
}

fn otherwise(node: &Node, names: &Names<'_>, faults: &mut Faults) -> Otherwise {
    let value = value::compile(node, names, faults);
    if let Value::Ref(reference) = &value
        && let (Root::Call(index), true) = (&reference.root, reference.path.is_empty())
    {
        return Otherwise::Call(*index);
    }
    let waits = walk::calls(&value.references());
    Otherwise::Value { value, waits }
}
