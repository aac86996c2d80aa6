//! The mock file: upstreams as YAML, for `anabranch mock` and `anabranch demo`. Text becomes scripts of the test kit, with all faults
//! of the file at once; serving them is left to the test kit.
//!
//! ```yaml
//! seed: 7                              # same seed, same order of requests: same latencies and errors
//! upstreams:
//!   shop:
//!     listen: 127.0.0.1:8000           # without it a free port of 127.0.0.1
//!     latency: 10ms..40ms              # for all routes; also `20ms`, or { median: 20ms, p99: 200ms } (log-normal)
//!     errors: 1%                       # this share gets an empty 503; also { rate: 1%, status: 500, fault: reset }
//!     routes:                          # the first that matches answers; no match is a 404 that lists them
//!       GET /activities/*:             # `*` is one segment, `/**` at the end any number of them
//!         body: { id: $path.1, title: Autumn sale }      # JSON; $path.1 is the second segment, a number where it is one
//!       GET /slow:      { latency: 2s, body: [] }
//!       GET /page:      { text: "<html>", headers: { Content-Type: text/html } }
//!       POST /orders:   { echo: true }                   # what arrived, as JSON
//!       GET /none:      { status: 404, body: { error: no such thing } }
//!       GET /flaky:                                      # one after another; the last one for all that follow
//!         - { status: 503, headers: { Retry-After: 1 }, times: 2 }
//!         - { body: 1 }
//!       GET /second:    { when: { query: { page: 2 }, headers: { Accept: "*" } }, body: [] }
//!       GET /dead:      { fault: hang }                  # also { truncate: 20 }, { raw: "HTTP/9" }, ...: see `fault.rs`
//!       /**:            { status: 501 }                  # any method
//! ```

mod body;
mod fault;
mod latency;
mod read;

use std::net::SocketAddr;
use std::time::Duration;

use anabranch_testkit::{Body, Errors, Framing, Latency, Reply, Upstream, When};
use http::Method;

use crate::config::yaml;
use crate::config::{Faults, Node, NodeKind, Spanned};
use read::Reader;

/// Where an upstream listens unless its `listen` says otherwise: a free port.
const ANY_PORT: &str = "127.0.0.1:0";
/// The longest latency; more would outlast every deadline that a gateway has.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// The upstreams of a mock file.
#[derive(Clone, Debug)]
pub struct MockFile {
    /// In the order written.
    pub upstreams: Vec<Mock>,
}

/// One upstream: its script, and where it is served.
#[derive(Clone, Debug)]
pub struct Mock {
    /// Address and port for [`TcpUpstream::start`](anabranch_testkit::TcpUpstream::start); port 0 picks a free one.
    pub listen: String,
    /// What it answers.
    pub script: Upstream,
}

/// Reads a mock file.
///
/// # Errors
/// All faults of the text at once, each with its place.
pub fn parse(file: &str, text: &str) -> Result<MockFile, Faults> {
    let mut faults = Faults::new(file, text);
    let upstreams = yaml::parse(text, &mut faults)
        .map(|root| upstreams(&root, &mut Reader::new(&mut faults)))
        .unwrap_or_default();
    if faults.is_empty() {
        Ok(MockFile { upstreams })
    } else {
        Err(faults)
    }
}

impl MockFile {
    /// The same upstreams with their latencies multiplied, so that a show of seconds can be a test of milliseconds.
    pub fn scaled(mut self, factor: f64) -> Self {
        for reply in self.upstreams.iter_mut().flat_map(|mock| &mut mock.script.replies) {
            reply.latency = latency::scaled(reply.latency, factor);
        }
        self
    }
}

fn upstreams(root: &Node, reader: &mut Reader<'_>) -> Vec<Mock> {
    let file = reader.section(root, "the file", &["seed", "upstreams"]);
    let seed = file
        .get("seed")
        .and_then(|node| reader.whole(node, "`seed`", 0..=u64::from(u32::MAX)))
        .unwrap_or_default();
    let Some(list) = file.get("upstreams") else {
        if let NodeKind::Map(_) = root.kind {
            reader.fault(
                root.span,
                "the file has no `upstreams`",
                "expected `upstreams:` with entries such as `shop: { routes: { GET /x: { body: 1 } } }`",
            );
        }
        return Vec::new();
    };
    let mut mocks: Vec<Mock> = Vec::new();
    for (at, (name, node)) in reader.entries(list, "`upstreams`").iter().enumerate() {
        // Each upstream draws from a sequence of its own, or all would be late at the same time.
        let mock = upstream(name, node, seed.wrapping_add(at as u64), reader);
        let taken = mocks
            .iter()
            .any(|other| other.listen == mock.listen && !mock.listen.ends_with(":0"));
        if taken {
            reader.fault(
                name.span,
                format!("another upstream listens on `{}` already", mock.listen),
                "expected an address of its own, or none",
            );
        }
        mocks.push(mock);
    }
    mocks
}

fn upstream(name: &Spanned<String>, node: &Node, seed: u64, reader: &mut Reader<'_>) -> Mock {
    let section = reader.section(
        node,
        &format!("upstream `{}`", name.value),
        &["listen", "latency", "errors", "routes"],
    );
    let listen = section
        .get("listen")
        .and_then(|node| listen(node, reader))
        .unwrap_or_else(|| ANY_PORT.to_string());
    let defaults = Defaults {
        latency: section
            .get("latency")
            .and_then(|node| latency::read(node, reader))
            .unwrap_or_default(),
        errors: section.get("errors").and_then(|node| errors(node, reader)).unwrap_or_default(),
    };
    let mut script = Upstream::new(name.value.as_str()).seed(seed);
    match section.get("routes") {
        Some(routes) => {
            for (key, node) in reader.entries(routes, "`routes`") {
                script.replies.extend(route(key, node, &defaults, reader));
            }
        }
        None => reader.fault(
            name.span,
            format!("upstream `{}` has no `routes`", name.value),
            "expected `routes:` with entries such as `GET /x: { body: 1 }`",
        ),
    }
    Mock { listen, script }
}

fn listen(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
    let text = reader.text(node, "`listen`")?;
    let local = text.strip_prefix("localhost:").is_some_and(|port| port.parse::<u16>().is_ok());
    if !local && text.parse::<SocketAddr>().is_err() {
        reader.wrong(node, "`listen`", "an address with its port such as `127.0.0.1:8000`");
        return None;
    }
    Some(text)
}

/// What a route takes from its upstream.
struct Defaults {
    latency: Latency,
    errors: Errors,
}

/// One entry of `routes:`: a reply, or several that follow each other.
fn route(key: &Spanned<String>, node: &Node, defaults: &Defaults, reader: &mut Reader<'_>) -> Vec<Reply> {
    let when = pattern(key, reader).unwrap_or_default();
    match &node.kind {
        NodeKind::List(items) => items.iter().map(|item| reply(&when, item, defaults, reader)).collect(),
        _ => vec![reply(&when, node, defaults, reader)],
    }
}

/// `GET /x/*`, or a path alone for any method.
fn pattern(key: &Spanned<String>, reader: &mut Reader<'_>) -> Option<When> {
    let (method, path) = match key.value.split_once(' ') {
        Some((method, path)) => (Some(method), path.trim()),
        None => (None, key.value.as_str()),
    };
    let expected = "expected a method and a path such as `GET /activities/*`";
    let known = method
        .is_none_or(|method| method.bytes().all(|letter| letter.is_ascii_uppercase()) && Method::from_bytes(method.as_bytes()).is_ok());
    let star = path
        .strip_suffix("/**")
        .unwrap_or(path)
        .split('/')
        .find(|segment| segment.contains('*') && *segment != "*");
    let fault = if !known {
        Some(("a method is written in capitals", expected))
    } else if !path.starts_with('/') {
        Some(("a path begins with `/`", expected))
    } else if path.contains('?') {
        Some(("a path has no query", "write `when: { query: { name: value } }` into the reply"))
    } else if path.contains(['{', '}']) {
        Some(("a mock's path has no names", "write `*` for a segment"))
    } else if star.is_some() {
        Some((
            "`*` stands for a whole segment",
            "expected `/a/*/b`, or `/a/**` for all that begins with `/a`",
        ))
    } else {
        None
    };
    if let Some((message, help)) = fault {
        reader.fault(key.span, format!("{message}: `{}`", key.value), help);
        return None;
    }
    let method = method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    Some(When {
        method,
        path: Some(path.to_string()),
        ..When::default()
    })
}

const REPLY_KEYS: [&str; 11] = [
    "body", "text", "echo", "status", "headers", "latency", "errors", "fault", "framing", "times", "when",
];

fn reply(when: &When, node: &Node, defaults: &Defaults, reader: &mut Reader<'_>) -> Reply {
    let section = reader.section(node, "a reply", &REPLY_KEYS);
    let mut reply = Reply {
        when: when.clone(),
        latency: defaults.latency,
        errors: defaults.errors.clone(),
        ..Reply::default()
    };
    for (key, node) in section.entries {
        match key.value.as_str() {
            "status" => reply.status = reader.whole(node, "`status`", 200..=599).map_or(200, |status| status as u16),
            "headers" => reply.headers = reader.pairs(node, "`headers`"),
            "latency" => reply.latency = latency::read(node, reader).unwrap_or_default(),
            "errors" => reply.errors = errors(node, reader).unwrap_or_default(),
            "fault" => reply.fault = fault::read(node, reader),
            "framing" => reply.framing = framing(node, reader),
            "times" => reply.times = reader.whole(node, "`times`", 1..=1_000_000),
            "when" => narrow(&mut reply.when, node, reader),
            _ => {}
        }
    }
    let bodies = section
        .entries
        .iter()
        .filter(|(key, _)| matches!(key.value.as_str(), "body" | "text" | "echo"));
    for (at, (key, node)) in bodies.enumerate() {
        if at > 0 {
            reader.fault(
                key.span,
                format!("`{}` beside another body", key.value),
                "expected one of `body`, `text` and `echo`",
            );
        }
        let (body, content_type) = match key.value.as_str() {
            "body" => (body::json(node, reader), "application/json"),
            "text" => (
                Body::Bytes(reader.text(node, "`text`").unwrap_or_default().into()),
                "text/plain; charset=utf-8",
            ),
            _ => (
                if reader.flag(node, "`echo`") { Body::Echo } else { Body::Empty },
                "application/json",
            ),
        };
        let typed = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !typed && !matches!(body, Body::Empty) {
            reply.headers.push(("content-type".to_string(), content_type.to_string()));
        }
        reply.body = body;
    }
    reply
}

/// `5%`, or `{ rate: 5%, status: 500, headers: {}, fault: reset }`.
fn errors(node: &Node, reader: &mut Reader<'_>) -> Option<Errors> {
    let NodeKind::Map(_) = node.kind else {
        return Some(Errors {
            rate: reader.percent(node, "`errors`")?,
            ..Errors::default()
        });
    };
    let section = reader.section(node, "`errors`", &["rate", "status", "headers", "fault"]);
    let Some(rate) = section.get("rate") else {
        reader.fault(node.span, "`errors` has no `rate`", "expected `rate: 5%`");
        return None;
    };
    Some(Errors {
        rate: reader.percent(rate, "`rate`")?,
        status: section
            .get("status")
            .and_then(|node| reader.whole(node, "`status`", 200..=599))
            .map_or(503, |status| status as u16),
        headers: section
            .get("headers")
            .map(|node| reader.pairs(node, "`headers`"))
            .unwrap_or_default(),
        fault: section.get("fault").and_then(|node| fault::read(node, reader)),
    })
}

fn framing(node: &Node, reader: &mut Reader<'_>) -> Framing {
    match reader.text(node, "`framing`").as_deref() {
        Some("chunked") => Framing::Chunked,
        Some("until_close") => Framing::UntilClose,
        Some("length") | None => Framing::Length,
        Some(_) => {
            reader.wrong(node, "`framing`", "`length`, `chunked` or `until_close`");
            Framing::Length
        }
    }
}

/// `when: { query: { page: 2 }, headers: { Accept: "*" } }`.
fn narrow(when: &mut When, node: &Node, reader: &mut Reader<'_>) {
    let section = reader.section(node, "`when`", &["query", "headers"]);
    when.query = section.get("query").map(|node| reader.pairs(node, "`query`")).unwrap_or_default();
    when.headers = section
        .get("headers")
        .map(|node| reader.pairs(node, "`headers`"))
        .unwrap_or_default();
}

#[cfg(test)]
mod tests;
