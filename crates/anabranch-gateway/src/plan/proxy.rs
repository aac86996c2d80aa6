//! A route that is passed through: where to, with what of the request, and what of the answer comes back.

use std::time::Duration;

use http::{HeaderName, Method};

use super::call::{Sent, is_safe, passes, refuse_leaks};
use super::headers;
use super::model::{HttpAction, Piece, ProxyPlan, Reference, Root, RoutePlan, Segment, Template};
use super::names::Names;
use super::place::{Text, fault};
use super::settings::{self, Layers};
use super::target::Target;
use super::template;
use crate::config::faults::Faults;
use crate::config::model::{CacheConfig, Config, ProxyConfig, RouteConfig};
use crate::config::yaml::Spanned;

/// How long a proxy waits for the head of an answer, and for each piece of a body, unless said: what nginx does.
const IDLE: Duration = Duration::from_secs(60);

impl RoutePlan {
    /// Whether it must have ended at some time; a proxy need not, as long as something moves.
    pub fn has_deadline(&self) -> bool {
        self.deadline < settings::NO_DEADLINE
    }
}

/// What a proxy is compiled in.
pub(super) struct Around<'a> {
    pub(super) config: &'a Config,
    pub(super) names: &'a Names<'a>,
    pub(super) credentials: &'a [HeaderName],
    pub(super) method: &'a Method,
    pub(super) segments: &'a [Segment],
}

/// Compiles a proxy. What is wrong is reported and left out.
pub(super) fn compile(route: &RouteConfig, proxy: &ProxyConfig, around: &Around<'_>, faults: &mut Faults) -> ProxyPlan {
    if let Some(schema) = &route.body_schema {
        let help = "leave `schema` out; a body that is passed through is not read";
        fault(faults, schema.place(), "a proxy cannot check a body against a schema", help);
    }
    let names = around.names;
    let written = with_path(&proxy.target, around);
    let target = Target::read(&written, &[], &around.config.sources, names, faults);
    let source = target.source.map(|index| &around.config.sources[index]);
    let own = own_headers(&proxy.headers, names, faults);
    let sets = |name: &HeaderName| {
        let by_source = source.is_some_and(|source| source.headers.iter().any(|(key, _)| name.as_str().eq_ignore_ascii_case(&key.value)));
        by_source || own.iter().any(|(other, _)| other == name)
    };
    let pass = names.headers.iter().enumerate().filter(|(_, name)| {
        let is_credential = around.credentials.contains(name);
        may_pass(name, is_credential) && !sets(name) && (!is_credential || passes(source, name))
    });
    let pass: Vec<usize> = pass.map(|(index, _)| index).collect();
    let always = ALWAYS_PASSED
        .iter()
        .map(|name| HeaderName::from_static(name))
        .filter(|name| !sets(name) && !names.headers.contains(name));
    let layers = Layers {
        call: &proxy.settings,
        source: source.map(|source| &source.settings),
        defaults: &around.config.defaults,
    };
    let plan = ProxyPlan {
        always: always.collect(),
        rest: last_rest(&target.path, names),
        pass_query: proxy.pass_query,
        keep: keep(proxy, around.method, faults),
        forward: forward(&proxy.forward, faults),
        retry: retry(proxy, &layers, around.method, faults),
        max_body: proxy.settings.max_body.as_ref().map(|max| max.value),
        first_byte: layers.nearest(|settings| &settings.first_byte).unwrap_or(IDLE),
        body_idle: layers.nearest(|settings| &settings.body_idle).unwrap_or(IDLE),
        request: HttpAction {
            source: target.source.unwrap_or_default(),
            method: around.method.clone(),
            path: target.path,
            query: target.query,
            pass,
            headers: own,
            body: None,
        },
    };
    if plan.request.references().iter().any(|reference| reference.root == Root::Body) {
        let help = "leave `$body` out";
        fault(faults, &proxy.target, "a body that is passed through is not read", help);
    }
    let sent = Sent {
        place: &proxy.target,
        source,
        names,
        credentials: around.credentials,
    };
    refuse_leaks(&plan.request.references(), &sent, faults);
    plan
}

/// What of a request goes along without being let in: it describes the body that is sent and the answer that is wanted, and without it
/// ranges, conditions and languages would not work through the proxy.
const ALWAYS_PASSED: [&str; 13] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-type",
    "content-encoding",
    "content-language",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];

/// As for calls, but what describes body and answer is the client's here.
fn may_pass(name: &HeaderName, is_credential: bool) -> bool {
    let describes = ALWAYS_PASSED.contains(&name.as_str()) || *name == http::header::USER_AGENT;
    describes || headers::may_pass(name, is_credential)
}

/// A target without a path has the route's own.
fn with_path(target: &Spanned<String>, around: &Around<'_>) -> Spanned<String> {
    let text = target.value.trim();
    if text.is_empty() || text.contains([' ', '\t']) {
        return target.clone();
    }
    let mut path = String::new();
    for segment in around.segments {
        path.push('/');
        match segment {
            Segment::Fixed(text) => path.push_str(&text.replace('$', "$$")),
            Segment::Param(index) | Segment::Rest(index) => {
                path.push_str(&format!("${{{}}}", around.names.params[*index].name));
            }
        }
    }
    Spanned::new(format!("{text} {path}"), target.span)
}

/// The parameter `*rest` that ends the path. It may end with a slash, as paths of folders do.
fn last_rest(path: &Template, names: &Names<'_>) -> Option<usize> {
    match path.0.last() {
        Some(Piece::Ref(Reference {
            root: Root::Param(index), ..
        })) if names.params[*index].rest => Some(*index),
        _ => None,
    }
}

fn own_headers(written: &[(Spanned<String>, Spanned<String>)], names: &Names<'_>, faults: &mut Faults) -> Vec<(HeaderName, Template)> {
    let mut own: Vec<(HeaderName, Template)> = Vec::new();
    for (key, value) in written {
        let Some(name) = headers::sent_name(Text::of(key), faults) else {
            continue;
        };
        if own.iter().any(|(other, _)| *other == name) {
            let what = format!("`{}` stands here twice", key.value);
            fault(faults, key, what, "each header once, in any case of letters");
        }
        own.push((name, template::header(Text::of(value), names, faults)));
    }
    own
}

/// `cache: http` and `stale`. What is inherited is of calls.
fn keep(proxy: &ProxyConfig, method: &Method, faults: &mut Faults) -> Option<Duration> {
    let stale = proxy.settings.stale.as_ref();
    let Some(cache) = &proxy.settings.cache else {
        if let Some(stale) = stale {
            fault(faults, stale, "`stale` without `cache`", "write `cache: http` beside it");
        }
        return None;
    };
    if cache.value != CacheConfig::Http {
        let help = "expected `cache: http`; what is passed through is kept as its source says";
        fault(faults, cache, "a fixed time for what is passed through", help);
    } else if *method != Method::GET {
        fault(faults, cache, format!("`cache` for {method}"), "only answers to GET are kept");
    }
    Some(stale.map_or(Duration::ZERO, |stale| stale.value))
}

fn forward(written: &[Spanned<String>], faults: &mut Faults) -> Vec<HeaderName> {
    for name in written {
        if headers::is_framing_name(&name.value.to_ascii_lowercase()) {
            let what = format!("`{}` belongs to the source's connection", name.value);
            fault(faults, name, what, "leave it out; the gateway writes its own");
        }
    }
    headers::names(written, faults)
}

fn retry(proxy: &ProxyConfig, layers: &Layers<'_>, method: &Method, faults: &mut Faults) -> u32 {
    if is_safe(method) {
        return layers.nearest(|settings| &settings.retry).unwrap_or(settings::RETRY);
    }
    if let Some(written) = proxy.settings.retry.as_ref().filter(|retry| retry.value > 0) {
        let help = "leave `retry` out";
        fault(faults, written, "a request with a body is passed on once", help);
    }
    0
}
