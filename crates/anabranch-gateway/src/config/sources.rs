//! `sources:` — the services that calls go to.

use super::keys;
use super::model::{CallSettings, HttpConfig, SourceConfig, TlsConfig, WireConfig};
use super::read::Reader;
use super::units;
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
        match section.get("url") {
            Some(node) => source.url = urls(reader, node),
            None if section.present(&["postgres", "redis", "run"]).is_empty() => {
                reader.faults.add_with_help(
                    name.span,
                    format!("{what} has no `url`"),
                    "expected `url: http://host:port`, or a list of them",
                );
            }
            None => {}
        }
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
    if source.url.is_empty() {
        source.url.push(Spanned::new(PLACEHOLDER_URL.to_owned(), name.span));
    }
    source
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
