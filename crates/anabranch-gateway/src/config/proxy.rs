//! `proxy:` of a route: its requests go to a source as they are, and its answers come back as they are.

use super::keys;
use super::model::ProxyConfig;
use super::read::{Reader, Section};
use super::yaml::{Node, NodeKind, Spanned};

/// Keys of a route that say what becomes of answers, which a proxy does not look at.
const NOT_BESIDE: &[&str] = &["calls", "need", "grace", "reply", "status", "errors", "account", "timing"];

/// Reads `proxy:` in its short form `source /path` or its long one.
pub(super) fn read(reader: &mut Reader<'_>, route: &Section<'_>, node: &Node) -> Option<ProxyConfig> {
    for (key, _) in route.present(NOT_BESIDE) {
        let message = format!("`{}` and `proxy` in one route", key.value);
        let help = "a proxy passes requests and answers through as they are: leave one of them out";
        reader.faults.add_with_help(key.span, message, help);
    }
    if matches!(&node.kind, NodeKind::Text(..)) {
        let target = reader.template(node, "`proxy`")?;
        return Some(ProxyConfig {
            target,
            pass_query: false,
            headers: Vec::new(),
            forward: Vec::new(),
            settings: Default::default(),
        });
    }
    let section = match &node.kind {
        NodeKind::Map(_) => reader.section(node, "`proxy`", &keys::PROXY)?,
        _ => {
            reader.wrong(node, "`proxy`", "a source and a path such as `media /files/$path`");
            return None;
        }
    };
    let Some(to) = section.get("to") else {
        let help = "expected `to: source /path`";
        reader.faults.add_with_help(node.span, "`proxy` has no `to`", help);
        return None;
    };
    Some(ProxyConfig {
        target: reader.template(to, "`to`")?,
        pass_query: section
            .get("query")
            .and_then(|node| reader.choice(node, "`query` of a proxy", &[("pass", true), ("drop", false)]))
            .is_some_and(|pass| pass.value),
        headers: section.get("headers").map(|node| headers(reader, node)).unwrap_or_default(),
        forward: section
            .get("forward")
            .map(|node| reader.names(node, "`forward`"))
            .unwrap_or_default(),
        settings: reader.settings(&section),
    })
}

fn headers(reader: &mut Reader<'_>, node: &Node) -> Vec<(Spanned<String>, Spanned<String>)> {
    let entries = reader
        .entries(node, "`headers`", "a mapping of names and values")
        .unwrap_or_default();
    let header = |(name, node): &(Spanned<String>, Node)| {
        let value = reader.template(node, &format!("header `{}`", name.value))?;
        Some((name.clone(), value))
    };
    entries.iter().filter_map(header).collect()
}
