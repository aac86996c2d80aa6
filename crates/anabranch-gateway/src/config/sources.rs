//! `sources:` — the services that calls go to.

use super::faults::one_of;
use super::keys;
use super::model::{CallSettings, HttpConfig, SourceConfig, TlsConfig, WireConfig};
use super::read::{Reader, Section};
use super::units;
use super::workers;
use super::yaml::{Node, NodeKind, Spanned};

/// Stands in for a `url` that is a fault, so that the calls of the source bring no further ones.
const PLACEHOLDER_URL: &str = "http://placeholder.invalid";

/// Reads all sources. One with faults stays in the list, so that its name is known.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Vec<SourceConfig> {
    let entries = reader.entries(
        node,
        "`sources`",
        "a mapping of names such as `shop: { url: http://shop.svc:8000 }`",
    );
    entries
        .unwrap_or_default()
        .iter()
        .map(|(name, node)| source(reader, name, node))
        .collect()
}

fn source(reader: &mut Reader<'_>, name: &Spanned<String>, node: &Node) -> SourceConfig {
    let mut source = SourceConfig {
        name: name.clone(),
        url: Vec::new(),
        postgres: None,
        redis: None,
        worker: None,
        allow: Vec::new(),
        in_flight: None,
        queue: None,
        queue_wait: None,
        rate: None,
        pool: None,
        pass: Vec::new(),
        headers: Vec::new(),
        http: None,
        wire: None,
        tls: None,
        settings: CallSettings::default(),
    };
    let what = format!("source `{}`", name.value);
    if let NodeKind::Text(text, _) = &node.kind {
        reader.wrong(node, &what, &format!("a mapping: write `{{ url: {text} }}`"));
    } else if let Some(section) = reader.section(node, &what, &keys::SOURCE) {
        reached(reader, &mut source, &section);
        source.allow = section.get("allow").map(|node| reader.names(node, "`allow`")).unwrap_or_default();
        source.in_flight = section
            .get("in_flight")
            .and_then(|node| reader.count(node, "`in_flight`", 1..=1_000_000));
        source.queue = section.get("queue").and_then(|node| reader.count(node, "`queue`", 0..=1_000_000));
        source.queue_wait = section
            .get("queue_wait")
            .and_then(|node| reader.unit(node, "`queue_wait`", units::duration));
        source.rate = section.get("rate").and_then(|node| reader.unit(node, "`rate`", units::rate));
        source.pool = section.get("pool").and_then(|node| reader.count(node, "`pool`", 0..=100_000));
        source.pass = section.get("pass").map(|node| reader.names(node, "`pass`")).unwrap_or_default();
        source.headers = section.get("headers").map(|node| headers(reader, node)).unwrap_or_default();
        let versions = &[("auto", HttpConfig::Auto), ("1.1", HttpConfig::Http1), ("2", HttpConfig::Http2)];
        source.http = section.get("http").and_then(|node| reader.choice(node, "`http`", versions));
        let wires = &[("own", WireConfig::Own), ("hyper", WireConfig::Hyper)];
        source.wire = section.get("wire").and_then(|node| reader.choice(node, "`wire`", wires));
        source.tls = section.get("tls").and_then(|node| tls(reader, node));
        source.settings = reader.settings(&section);
    }
    if source.url.is_empty() && source.postgres.is_none() && source.redis.is_none() && source.worker.is_none() {
        source.url.push(Spanned::new(PLACEHOLDER_URL.to_owned(), name.span));
    }
    source
}

/// How the source is reached, which says what other keys mean something.
fn reached(reader: &mut Reader<'_>, source: &mut SourceConfig, section: &Section<'_>) {
    let ways = section.present(keys::REACHED);
    let Some((key, node)) = ways.first() else {
        let message = format!("source `{}` has no `url`", source.name.value);
        let help = "expected `url: http://host:port`, or a list of them; `postgres:` or `redis:` for a database; `run:` for a program";
        reader.faults.add_with_help(source.name.span, message, help);
        return;
    };
    if let Some((second, _)) = ways.get(1) {
        let message = format!("`{}` and `{}` in one source", key.value, second.value);
        let help = format!("expected exactly one of {}", one_of(keys::REACHED));
        reader.faults.add_with_help(second.span, message, help);
    }
    let mut database = |what: &str| {
        let url = reader.final_text(node, what);
        // A fault takes nothing away from what the source is.
        Some(url.unwrap_or(Spanned::new(String::new(), source.name.span)))
    };
    let useless = match key.value.as_str() {
        "postgres" => {
            source.postgres = database("`postgres`");
            keys::NOT_POSTGRES
        }
        "redis" => {
            source.redis = database("`redis`");
            keys::NOT_REDIS
        }
        "run" => {
            source.worker = Some(workers::read(reader, node, section));
            keys::NOT_RUN
        }
        _ => {
            source.url = urls(reader, node);
            keys::NOT_URL
        }
    };
    for (useless, _) in section.present(useless) {
        let message = format!("`{}` has no meaning beside `{}`", useless.value, key.value);
        let help = match (key.value.as_str(), useless.value.as_str()) {
            ("postgres", "in_flight") => "`pool:` is the number of sessions, and with it of statements at once",
            ("redis", "pool") => "one connection for each core carries all commands; `in_flight:` bounds them",
            ("run", "in_flight") => "`count:` is the number of processes, and with it of jobs at once",
            ("run", "retry") => "a job is done once",
            ("run", "cache" | "stale") => "what a program answers is not kept",
            (_, "count" | "memory" | "env" | "start" | "recycle") => "it is for sources with `run:`",
            ("url", _) | ("run", "allow") => "it is for sources with `redis:`",
            _ => "it is for sources with `url:`",
        };
        reader.faults.add_with_help(useless.span, message, help);
    }
}

fn urls(reader: &mut Reader<'_>, node: &Node) -> Vec<Spanned<String>> {
    match &node.kind {
        NodeKind::List(items) if items.is_empty() => {
            reader
                .faults
                .add_with_help(node.span, "`url` is an empty list", "expected at least one `http://host:port`");
            Vec::new()
        }
        NodeKind::List(items) => items
            .iter()
            .filter_map(|item| reader.final_text(item, "an item of `url`"))
            .collect(),
        _ => reader.final_text(node, "`url`").into_iter().collect(),
    }
}

fn headers(reader: &mut Reader<'_>, node: &Node) -> Vec<(Spanned<String>, Spanned<String>)> {
    let entries = reader
        .entries(node, "`headers`", "a mapping of names and values")
        .unwrap_or_default();
    let read = entries.iter().filter_map(|(name, node)| {
        let value = reader.final_text(node, &format!("header `{}`", name.value))?;
        Some((name.clone(), value))
    });
    read.collect()
}

fn tls(reader: &mut Reader<'_>, node: &Node) -> Option<TlsConfig> {
    let section = reader.section(node, "`tls`", &keys::TLS)?;
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if let (Some((key, _)), None) = (section.entry(one), section.get(other)) {
            reader
                .faults
                .add_with_help(key.span, format!("`{one}` without `{other}`"), "a client certificate needs both");
        }
    }
    let mut text = |key: &str| section.get(key).and_then(|node| reader.final_text(node, &format!("`{key}`")));
    Some(TlsConfig {
        ca: text("ca"),
        cert: text("cert"),
        key: text("key"),
        server_name: text("server_name"),
    })
}
