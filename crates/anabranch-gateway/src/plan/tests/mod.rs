//! Whole configs: what they become, and what their faults say.

mod targets;
mod graph;
mod keep;
mod lists;
mod params;
#[cfg(feature = "postgres")]
mod proxies;
mod sent;
mod conditions;
mod programs;
mod sources;
#[cfg(feature = "postgres")]
mod sql;
#[cfg(feature = "redis")]
mod redis;

use std::fmt::Write;
use std::time::Duration;

use http::HeaderName;

use super::*;
use crate::config::{self, MapLookup};

const ACTIVITY: &str = include_str!("../../../../../examples/activity/gateway.yaml");

/// Two sources, of which only `auth` is passed a credential.
const SOURCES: &str = "sources:\n  shop: { url: http://shop:8000 }\n  auth: { url: http://auth:8000, pass: [Authorization] }\n";

fn lookup() -> MapLookup {
    MapLookup::new().with_env("TOKEN", "s3cret$x")
}

fn plan(text: &str) -> Plan {
    config::compile("gateway.yaml", text, &lookup()).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// The faults, each as the text underlined, the message and what was expected.
fn faults(text: &str) -> String {
    let Err(faults) = config::compile("gateway.yaml", text, &lookup()) else {
        panic!("no faults in\n{text}")
    };
    let mut shown = String::new();
    for fault in faults.sorted() {
        let underlined = &text[fault.span.start..fault.span.end];
        writeln!(
            shown,
            "`{underlined}`: {} ({})",
            fault.message,
            fault.help.as_deref().unwrap_or_default()
        )
        .unwrap();
    }
    shown
}

/// A config with the two sources and this text below `routes:`.
fn routes(text: &str) -> String {
    format!("{SOURCES}routes:\n{text}\n")
}

/// A route `GET /x/{id:int}` with parameters, two headers and this one call `c`.
fn with_call(call: &str) -> String {
    with_calls(&format!("      c: {call}\n"))
}

fn with_calls(calls: &str) -> String {
    let head =
        "  GET /x/{id:int}:\n    query: { lang: en, page: 1, tag: [] }\n    headers: [Authorization, X-Beta, Cookie]\n    deadline: 2s\n";
    format!("{SOURCES}routes:\n{head}    calls:\n{calls}")
}

fn call(text: &str) -> CallPlan {
    plan(&with_call(text)).routes.remove(0).calls.remove(0)
}

fn http(text: &str) -> HttpAction {
    match call(text).action {
        Action::Http(action) => action,
        _ => panic!("`{text}` sends no HTTP request"),
    }
}

/// A template as it would be read: references as written.
fn shown(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Ref(reference) => format!("<{}>", reference.text),
    };
    template.0.iter().map(piece).collect()
}

fn target(text: &str) -> String {
    let action = http(text);
    let pair = |(name, value): &(String, Template)| format!("{name}={}", shown(value));
    format!(
        "{}?{}",
        shown(&action.path),
        action.query.iter().map(pair).collect::<Vec<String>>().join("&")
    )
}

#[track_caller]
fn check_target(written: &str, expected: &str) {
    assert_eq!(target(written), expected, "{written}");
}

/// The config has exactly this fault, with this piece underlined.
#[track_caller]
fn check_fault(text: &str, expected: &str) {
    let faults = faults(text);
    assert_eq!(faults.trim_end(), expected, "\n{text}");
}

/// The faults hold this.
#[track_caller]
fn check_says(text: &str, expected: &str) {
    let faults = faults(text);
    assert!(faults.contains(expected), "\n{text}\n{faults}\n{expected}");
}

#[track_caller]
fn check_call_fault(written: &str, expected: &str) {
    check_fault(&with_call(written), expected);
}

/// A route whose calls are these.
fn graph(reply: &str, calls: &str) -> String {
    format!("{SOURCES}routes:\n  GET /x/{{id:int}}:\n{reply}    calls:\n{calls}")
}

#[test]
fn the_activity_page_compiles() {
    let plan = plan(ACTIVITY);
    assert_eq!(
        (plan.listen.as_str(), plan.sources.len(), plan.warnings.len()),
        ("0.0.0.0:8080", 4, 0)
    );
    let route = &plan.routes[0];
    assert_eq!(
        (route.calls.len(), route.parts.len(), route.deadline),
        (12, 12, Duration::from_millis(2500))
    );
    assert_eq!(route.need, Need::All(vec![0, 1]));
    assert_eq!(route.levels(), vec![0; 12]);
    let names: Vec<&str> = route.params.iter().map(|param| param.name.as_str()).collect();
    assert_eq!((names, route.path_params), (vec!["id", "lang", "page"], 1));
    assert!(route.params[0].in_path && !route.params[1].in_path);
    let cart = route.calls.iter().find(|call| &*call.name == "cart").unwrap();
    assert_eq!((cart.timeout, cart.retry), (Some(Duration::from_millis(400)), 1));
    // Authorization goes to `user` alone, the plain header to all that is not kept: it is a request id.
    let passed = |name: &str| match &route.calls.iter().find(|call| &*call.name == name).unwrap().action {
        Action::Http(action) => action.pass.clone(),
        _ => Vec::new(),
    };
    assert_eq!((passed("cart"), passed("items"), passed("rank")), (vec![0, 1], vec![1], vec![]));
}

#[test]
fn what_is_not_said_is_built_in() {
    let plan = plan(&routes("  GET /:\n    calls: { c: shop / }"));
    assert_eq!(
        (plan.listen.as_str(), plan.health.as_deref(), plan.max_calls),
        ("127.0.0.1:8080", None, 1_000)
    );
    let source = &plan.sources[0];
    assert_eq!(
        (source.in_flight, source.queue, source.queue_wait),
        (64, 64, Duration::from_millis(250))
    );
    assert_eq!(
        (source.pool, source.connect_timeout, source.rate),
        (64, Duration::from_secs(1), None)
    );
    let route = &plan.routes[0];
    assert_eq!(
        (route.deadline, route.body_max, route.grace),
        (Duration::from_secs(5), 1 << 20, None)
    );
    assert_eq!(route.need, Need::OnePart);
    let call = &route.calls[0];
    assert_eq!(
        (call.timeout, call.retry, call.max_body, call.body_idle),
        (None, 1, 8 << 20, Duration::from_secs(5))
    );
    assert!(call.idempotent && call.ok.find(204).is_some() && call.ok.find(304).is_none());
}

#[test]
fn the_nearest_setting_wins_and_an_inherited_timeout_is_cut_in_silence() {
    let text = "defaults: { timeout: 9s, retry: 3, body_idle: 1s }\nsources:\n  a: { url: http://a, timeout: 300ms, queue: 0 }\n  b: { url: http://b }\n\
                routes:\n  GET /:\n    deadline: 1s\n    calls:\n      x: a /\n      y: b /\n      z: { get: a /, timeout: 200ms, retry: 0 }\n";
    let plan = plan(text);
    let calls = &plan.routes[0].calls;
    let timeouts: Vec<Option<Duration>> = calls.iter().map(|call| call.timeout).collect();
    let ms = |ms: u64| Some(Duration::from_millis(ms));
    assert_eq!(timeouts, [ms(300), ms(1000), ms(200)]);
    assert_eq!((calls[0].retry, calls[2].retry, calls[2].body_idle), (3, 0, Duration::from_secs(1)));
    assert_eq!((plan.sources[0].queue, plan.sources[1].queue), (0, 64));
}

#[test]
fn all_faults_come_at_once_each_with_its_place() {
    let text = routes(
        "  GET /x/{id:int}:\n    query: { page: 1, limit: 0..10 }\n    need: [itemz]\n    calls:\n      items: shop /items?p=$pag\n      \
         user: shopp /users/$id.name\n      cart: { get: shop /cart, timeout: 9s }",
    );
    let faults = faults(&text);
    let expected = [
        "`0..10`: the default 0 is outside 1..10",
        "`itemz`: unknown call `itemz` (did you mean `items`?)",
        "`$pag`: unknown name `$pag` (did you mean `$page`?)",
        "`shopp`: unknown source `shopp` (did you mean `shop`?)",
        "`$id.name`: `id` is a parameter and has no fields (write `${id}.name` if `.name` is text behind it)",
        "`9s`: `timeout` of 9s can never pass: the route ends after 5s",
    ];
    assert_eq!(faults.lines().count(), expected.len(), "{faults}");
    for expected in expected {
        assert!(faults.contains(expected), "{faults}\n{expected}");
    }
}
