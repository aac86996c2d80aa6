//! `cache`, `stale` and `vary`: how long the answers of a call are kept, and what they depend on.
//!
//! A kept call is made for many clients at once. So it is sent nothing of one client that its key does not hold: what `vary` leaves out
//! stays here, and so does what tells one request from the next.

use anabranch::policy::Times;
use http::{HeaderName, Method};

use super::call::{is_safe, Around};
use super::headers;
use super::model::{Action, HttpAction, KeepPlan, RoutePlan};
use super::names::Names;
use super::place::{fault, Text};
use super::settings::Layers;
use crate::config::faults::Faults;
use crate::config::model::{CacheConfig, CallConfig, CallSettings, Config, Way};
use crate::config::yaml::{Span, Spanned};

/// Headers of a client that are about one request and never about what is asked for: request ids, traces, conditions, wishes to caches.
const OF_ONE_REQUEST: &[&str] = &[
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "uber-trace-id",
    "request-id",
    "x-request-id",
    "x-correlation-id",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "cache-control",
    "pragma",
];

/// Compiles how the answers of a call are kept, and takes from its request what must not go out with it then; None where they are not
/// kept. What is inherited is left out in silence where it cannot hold, what is written on the call itself is a fault there.
pub(super) fn compile(
    call: &CallConfig,
    layers: &Layers<'_>,
    action: &mut Action,
    around: &Around<'_>,
    faults: &mut Faults,
) -> Option<KeepPlan> {
    if let Action::Value(_) | Action::Run(_) = action {
        return None;
    }
    if let Some((what, help)) = unkept(action, around.method) {
        for (key, span) in written(&call.settings) {
            fault(faults, span, format!("`{key}` for {what}"), help);
        }
        return None;
    }
    let (fresh, by_source) = match cache(call, layers, action, faults) {
        CacheConfig::For(time) => (time, false),
        CacheConfig::Http => (std::time::Duration::ZERO, true),
    };
    let times = Times {
        fresh,
        stale: layers.nearest(|settings| &settings.stale).unwrap_or_default(),
    };
    let own = call.settings.vary.as_deref().map(|written| own_vary(written, around.names, faults));
    if times == Times::default() && !by_source {
        if let Some(first) = call.settings.vary.as_ref().and_then(|vary| vary.first()) {
            fault(
                faults,
                first,
                "`vary` without `cache` or `stale`",
                "`cache: 10m` with it, or leave it out",
            );
        }
        return None;
    }
    let mut keep = KeepPlan {
        times,
        by_source,
        vary: Vec::new(),
        left_out: Vec::new(),
    };
    if let Action::Http(http) = action {
        let said = own.or_else(|| inherited_vary(layers, around.names));
        leave_out(http, said, around, &mut keep);
    }
    Some(keep)
}

/// Reports what sources and `defaults` say and no call of theirs could mean.
pub(super) fn check_inherited(config: &Config, faults: &mut Faults) {
    let settings = config.sources.iter().map(|source| &source.settings).chain([&config.defaults]);
    for vary in settings.filter_map(|settings| settings.vary.as_deref()) {
        headers::names(vary, faults);
    }
    for source in config.sources.iter().filter(|source| source.way() != Way::Http) {
        if let Some(cache) = source.settings.cache.as_ref().filter(|cache| cache.value == CacheConfig::Http) {
            without_headers(cache, faults);
        }
    }
}

/// What a route's calls leave out because they are kept, for `check`.
pub(super) fn warnings(route: &RoutePlan) -> impl Iterator<Item = String> + '_ {
    route.calls.iter().flat_map(move |call| {
        let left_out = call.keep.iter().flat_map(|keep| &keep.left_out);
        left_out.map(move |header| {
            let why = if is_of_one_request(header) {
                "which differs from one request to the next"
            } else {
                "which its `vary` does not name"
            };
            format!(
                "`{} {}`: the kept call `{}` is not sent the header `{header}`, {why}",
                route.method, route.pattern, call.name
            )
        })
    })
}

/// Why the answers of a call cannot be kept, and what could.
fn unkept(action: &Action, route: &Method) -> Option<(String, &'static str)> {
    match action {
        Action::Http(http) if !matches!(http.method, Method::GET | Method::HEAD) => Some((
            format!("a {} request, whose answers are not kept", http.method),
            "`get` or `head`; else leave it out",
        )),
        Action::Sql(sql) if sql.is_exec => Some(("what may change something".to_owned(), "`select:`; else leave it out")),
        Action::Sql(_) if !is_safe(route) => Some((
            format!("a statement in a {route} route, which may have changed what is read"),
            "a GET or HEAD route; else leave it out",
        )),
        Action::Redis(redis) if !redis.is_read => Some((
            "a command that does more than read".to_owned(),
            "one such as `GET` or `SMEMBERS`; else leave it out",
        )),
        _ => None,
    }
}

/// The nearest `cache`. `http` needs an answer with headers, to GET (RFC 9111, 3): an inherited one is none elsewhere.
fn cache(call: &CallConfig, layers: &Layers<'_>, action: &Action, faults: &mut Faults) -> CacheConfig {
    const NONE: CacheConfig = CacheConfig::For(std::time::Duration::ZERO);
    let nearest = layers.nearest(|settings| &settings.cache).unwrap_or(NONE);
    let is_get = matches!(action, Action::Http(http) if http.method == Method::GET);
    if nearest != CacheConfig::Http || is_get {
        return nearest;
    }
    if let Some(own) = &call.settings.cache {
        match action {
            Action::Http(_) => fault(
                faults,
                own,
                "`cache: http` for a HEAD request: only answers to GET are kept as they say",
                "a fixed time such as `cache: 10m`",
            ),
            _ => without_headers(own, faults),
        }
    }
    NONE
}

fn without_headers(cache: &Spanned<CacheConfig>, faults: &mut Faults) {
    fault(
        faults,
        cache,
        "`cache: http` for answers without headers, which say nothing of it",
        "a fixed time such as `cache: 10m`",
    );
}

/// Takes from the request what its key does not hold. Where no `vary` stands anywhere, all plain headers that it passes on are in the key.
fn leave_out(http: &mut HttpAction, said: Option<Vec<usize>>, around: &Around<'_>, keep: &mut KeepPlan) {
    let name = |header: usize| &around.names.headers[header];
    let is_credential = |header: usize| around.credentials.contains(name(header));
    let plain = |header: &usize| !is_credential(*header) && !is_of_one_request(name(*header));
    keep.vary = said.unwrap_or_else(|| http.pass.iter().copied().filter(plain).collect());
    keep.vary.retain(|header| !is_credential(*header));
    let (pass, out): (Vec<usize>, Vec<usize>) = http
        .pass
        .iter()
        .partition(|header| is_credential(**header) || keep.vary.contains(header));
    http.pass = pass;
    let named = out.into_iter().filter(|header| !is_of_one_request(name(*header)));
    keep.left_out = named.map(|header| name(header).clone()).collect();
    let is_of_one = |(name, value): &(HeaderName, _)| is_of_one_request(name) && has_references(value);
    keep.left_out
        .extend(http.headers.iter().filter(|header| is_of_one(header)).map(|(name, _)| name.clone()));
    http.headers.retain(|header| !is_of_one(header));
}

fn has_references(template: &super::model::Template) -> bool {
    !template.references().is_empty()
}

fn is_of_one_request(name: &HeaderName) -> bool {
    OF_ONE_REQUEST.contains(&name.as_str())
}

fn written(settings: &CallSettings) -> Vec<(&'static str, Span)> {
    let cache = settings.cache.as_ref().map(|cache| ("cache", cache.span));
    let stale = settings.stale.as_ref().map(|stale| ("stale", stale.span));
    let vary = settings.vary.as_ref().and_then(|vary| Some(("vary", vary.first()?.span)));
    [cache, stale, vary].into_iter().flatten().collect()
}

/// The call's own `vary`, all of which must be let in.
fn own_vary(written: &[Spanned<String>], names: &Names<'_>, faults: &mut Faults) -> Vec<usize> {
    let mut found = Vec::new();
    for written in written {
        let Some(name) = headers::name(Text::of(written), faults) else {
            continue;
        };
        if is_of_one_request(&name) {
            let what = format!(
                "`{}` differs from one request to the next, so no answer would be served twice",
                written.value
            );
            fault(faults, written, what, "leave it out");
            continue;
        }
        match index(&name, names) {
            Some(index) => found.push(index),
            None => {
                let what = format!("the header `{}` is not let in, so nothing can depend on it", written.value);
                fault(
                    faults,
                    written,
                    what,
                    format!("`headers: [{}]` of the route, or leave it out", written.value),
                );
            }
        }
    }
    found
}

/// That of the source or of `defaults`, as far as this route lets it in; None where neither says anything.
fn inherited_vary(layers: &Layers<'_>, names: &Names<'_>) -> Option<Vec<usize>> {
    let of_source = layers.source.and_then(|source| source.vary.as_deref());
    let nearest = of_source.or(layers.defaults.vary.as_deref())?;
    let let_in = |written: &Spanned<String>| {
        let name = HeaderName::from_bytes(written.value.as_bytes()).ok()?;
        index(&name, names).filter(|_| !is_of_one_request(&name))
    };
    Some(nearest.iter().filter_map(let_in).collect())
}

fn index(name: &HeaderName, names: &Names<'_>) -> Option<usize> {
    names.headers.iter().position(|header| header == name)
}
