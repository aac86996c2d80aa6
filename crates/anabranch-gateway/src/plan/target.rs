//! The target of an HTTP call: `shop /activities/$id?lang=$lang`, with the pairs of `query:` added.

use super::model::Template;
use super::names::Names;
use super::place::{fault, unknown, Text};
use super::template;
use crate::config::faults::Faults;
use crate::config::model::{SourceConfig, Way};
use crate::config::yaml::{Node, NodeKind, Spanned};

/// Where a call goes.
pub(super) struct Target {
    /// Index of the source; None where it is unknown.
    pub(super) source: Option<usize>,
    /// Its path.
    pub(super) path: Template,
    /// Its query.
    pub(super) query: Vec<(String, Template)>,
}

impl Target {
    /// Reads a target. What is wrong is reported and left out.
    pub(super) fn read(
        written: &Spanned<String>,
        pairs: &[(Spanned<String>, Node)],
        sources: &[SourceConfig],
        names: &Names<'_>,
        faults: &mut Faults,
    ) -> Self {
        let text = Text::of(written).trimmed();
        let Some((source, url)) = text.split_once(' ') else {
            fault(
                faults,
                text,
                format!("`{}` is not a target", text.text),
                "a source, a blank, and a path: `shop /items/$id`",
            );
            return Self {
                source: None,
                path: Template(Vec::new()),
                query: Vec::new(),
            };
        };
        let index = find_source(source, Way::Http, sources, faults);
        let url = url.trimmed();
        let (path, query) = match url.split_once('?') {
            Some((path, query)) => (path, template::query(query, names, faults)),
            None => (url, Vec::new()),
        };
        let path = template::path(path, names, faults);
        let mut target = Self {
            source: index,
            path,
            query,
        };
        target.add(pairs, names, faults);
        target
    }

    fn add(&mut self, pairs: &[(Spanned<String>, Node)], names: &Names<'_>, faults: &mut Faults) {
        let written = self.query.len();
        for (key, node) in pairs {
            let name = template::escape(&key.value);
            if self.query[..written].iter().any(|(other, _)| *other == name) {
                fault(
                    faults,
                    key,
                    format!("`{}` is in the target's query too", key.value),
                    "one place for each pair",
                );
            }
            if let Some(value) = pair_value(node, names, faults) {
                self.query.push((name, value));
            }
        }
    }
}

/// Finds the source that a call names; a fault where there is none, or where it is not asked this way.
pub(super) fn find_source(name: Text<'_>, way: Way, sources: &[SourceConfig], faults: &mut Faults) -> Option<usize> {
    let index = sources.iter().position(|known| known.name.value == name.text);
    let Some(index) = index else {
        unknown(
            faults,
            name,
            "source",
            name.text,
            sources.iter().map(|source| source.name.value.as_str()),
        );
        return None;
    };
    let is = sources[index].way();
    if is == way {
        return Some(index);
    }
    let (what, help) = match is {
        Way::Http => ("a service that is asked by HTTP", format!("`get: {} /path`", name.text)),
        Way::Sql => (
            "a Postgres database",
            format!("a call with `sql: {}` and `select:` or `exec:`", name.text),
        ),
        Way::Redis => ("a Redis server", format!("a call with `redis: {} GET name`", name.text)),
        Way::Run => ("a program", format!("a call with `run: {}` and `body:`", name.text)),
    };
    fault(faults, name, format!("`{}` is {what}", name.text), help);
    None
}

fn pair_value(node: &Node, names: &Names<'_>, faults: &mut Faults) -> Option<Template> {
    match &node.kind {
        NodeKind::Text(text, _) => Some(template::query_value(Text::new(text, node.span), names, faults)),
        NodeKind::Number(digits) => Some(template::query_value(Text::new(digits, node.span), names, faults)),
        NodeKind::Bool(yes) => Some(template::query_value(
            Text::new(if *yes { "true" } else { "false" }, node.span),
            names,
            faults,
        )),
        NodeKind::Null | NodeKind::List(_) | NodeKind::Map(_) => {
            fault(
                faults,
                node.span,
                "the value of a query pair is text",
                "text, a number or a reference; a list that is referred to is joined by `,`",
            );
            None
        }
    }
}
