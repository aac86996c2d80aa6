//! `routes:` — what the gateway answers, without the calls.

use super::calls;
use super::proxy;
use super::keys;
use super::faults::{one_of, Faults};
use super::model::{CallConfig, ReplyConfig, RouteConfig, SchemaConfig, SchemaText};
use super::read::{Reader, Section};
use super::resolve::{file_alone, unreadable};
use super::units;
use super::yaml::{self, Node, NodeKind, Spanned};

/// Methods that a route may have.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Reads all routes. One whose key is a fault is left out after its inside has been read for faults.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Vec<RouteConfig> {
    let entries = reader
        .entries(node, "`routes`", "a mapping of routes such as `GET /activity/{id:int}:`")
        .unwrap_or_default();
    if entries.is_empty() && matches!(&node.kind, NodeKind::Map(_)) {
        reader
            .faults
            .add_with_help(node.span, "`routes` is empty", "expected entries such as `GET /activity/{id:int}:`");
    }
    let mut routes = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let split = method_and_path(reader, key);
        let placeholder = (Spanned::new("GET".to_owned(), key.span), Spanned::new("/".to_owned(), key.span));
        let known = split.is_some();
        let route = route(reader, key, split.unwrap_or(placeholder), node);
        if known {
            routes.extend(route);
        }
    }
    routes
}

/// Splits `GET /activity/{id:int}`.
fn method_and_path(reader: &mut Reader<'_>, key: &Spanned<String>) -> Option<(Spanned<String>, Spanned<String>)> {
    const EXPECTED: &str = "expected a method and a path such as `GET /activity/{id:int}`";
    let text = key.value.as_str();
    let Some((method, path)) = text.split_once([' ', '\t']) else {
        let help = if text.starts_with('/') {
            format!("{EXPECTED}: write `GET {text}`")
        } else {
            EXPECTED.to_owned()
        };
        reader.faults.add_with_help(
            key.span,
            format!("route `{text}` has no {}", if text.starts_with('/') { "method" } else { "path" }),
            help,
        );
        return None;
    };
    let path_start = text.len() - path.trim_start().len();
    let path = path.trim();
    let method_span = reader.faults.within(key.span, text, 0, method.len());
    let path_span = reader.faults.within(key.span, text, path_start, path_start + path.len());
    if !METHODS.contains(&method) {
        let upper = method.to_ascii_uppercase();
        let help = if METHODS.contains(&upper.as_str()) {
            format!("write `{upper}`")
        } else {
            format!("expected {}", one_of(METHODS))
        };
        reader.faults.add_with_help(method_span, format!("unknown method `{method}`"), help);
        return None;
    }
    if !path.starts_with('/') {
        reader
            .faults
            .add_with_help(path_span, format!("path `{path}` does not begin with `/`"), EXPECTED);
        return None;
    }
    Some((
        Spanned::new(method.to_owned(), method_span),
        Spanned::new(path.to_owned(), path_span),
    ))
}

fn route(
    reader: &mut Reader<'_>,
    key: &Spanned<String>,
    (method, path): (Spanned<String>, Spanned<String>),
    node: &Node,
) -> Option<RouteConfig> {
    let section = reader.section(node, &format!("route `{}`", key.value), &keys::ROUTE)?;
    let query = section
        .get("query")
        .and_then(|node| reader.entries(node, "`query`", "a mapping of parameters such as `{ page: 1, lang: en }`"));
    let query = query
        .unwrap_or_default()
        .iter()
        .map(|(name, node)| (name.clone(), parameter(reader, node)));
    let query: Vec<(Spanned<String>, Node)> = query.collect();
    let body = section
        .get("body")
        .and_then(|node| reader.section(node, "`body`", &keys::ROUTE_BODY));
    let status = section
        .get("status")
        .and_then(|node| reader.section(node, "`status`", &keys::STATUS));
    let from = status.and_then(|status| status.get("from"));
    if let (Some(_), None, Some((key, _))) = (status, from, section.entry("status")) {
        reader
            .faults
            .add_with_help(key.span, "`status` has no `from`", "expected `status: { from: CALL }`");
    }
    let status_from = from.and_then(|node| reader.text(node, "`from`"));
    Some(RouteConfig {
        method,
        path,
        query,
        headers: section
            .get("headers")
            .map(|node| reader.names(node, "`headers`"))
            .unwrap_or_default(),
        body_max: body
            .and_then(|body| body.get("max"))
            .and_then(|node| reader.unit(node, "`max`", units::size)),
        body_schema: body.and_then(|body| body.get("schema")).and_then(|node| schema(reader, node)),
        deadline: section.get("deadline").and_then(|node| reader.duration(node, "`deadline`")),
        grace: section.get("grace").and_then(|node| reader.unit(node, "`grace`", units::duration)),
        need: section.get("need").map(|node| reader.names(node, "`need`")),
        proxy: section.get("proxy").and_then(|node| proxy::read(reader, &section, node)),
        calls: read_calls(reader, key, &section),
        reply: section.get("reply").and_then(|node| reply(reader, node)),
        status_from,
        errors_pass: section
            .get("errors")
            .and_then(|node| reader.choice(node, "`errors`", &[("pass", true)])),
        account_body: section
            .get("account")
            .and_then(|node| reader.choice(node, "`account`", &[("header", false), ("body", true)]))
            .is_some_and(|account| account.value),
        timing: section
            .get("timing")
            .and_then(|node| reader.flag(node, "`timing`"))
            .map(|timing| timing.value),
    })
}

/// A parameter's form; of the plain ones the plan refuses every dollar.
fn parameter(reader: &mut Reader<'_>, node: &Node) -> Node {
    match &node.kind {
        NodeKind::Text(..) => node.clone(),
        _ => reader.literal_tree(node, "a parameter"),
    }
}

/// A JSON Schema: written here, or in a file of its own, which is YAML or JSON.
fn schema(reader: &mut Reader<'_>, node: &Node) -> Option<SchemaConfig> {
    match &node.kind {
        NodeKind::Map(_) | NodeKind::Bool(_) => Some(SchemaConfig {
            node: node.clone(),
            outside: None,
        }),
        NodeKind::Text(..) => {
            let text = schema_text(reader, node)?;
            let mut faults = Faults::new("schema", &text.value);
            let parsed = yaml::parse(&text.value, &mut faults);
            for fault in faults.sorted() {
                let (line, column) = faults.line_column(fault.span.start);
                let message = format!("the schema cannot be read: {}, at line {line}, column {column}", fault.message);
                reader.faults.add_with_help(
                    node.span,
                    message,
                    fault.help.clone().unwrap_or_else(|| "expected JSON or YAML".to_owned()),
                );
            }
            let root = parsed.filter(|_| faults.is_empty())?;
            if !matches!(root.kind, NodeKind::Map(_) | NodeKind::Bool(_)) {
                reader.wrong(node, "`schema`", "a JSON Schema, or a file with one: `$file.order.schema.json`");
                return None;
            }
            Some(SchemaConfig {
                node: root,
                outside: Some(SchemaText {
                    place: node.span,
                    text: text.value,
                }),
            })
        }
        _ => {
            reader.wrong(node, "`schema`", "a JSON Schema, or a file with one: `$file.order.schema.json`");
            None
        }
    }
}

/// What stands in the file, which is no secret, so that faults may quote it; or text with references.
fn schema_text(reader: &mut Reader<'_>, node: &Node) -> Option<Spanned<String>> {
    let NodeKind::Text(text, _) = &node.kind else { return None };
    let Some(path) = file_alone(text) else {
        return reader.final_text(node, "`schema`");
    };
    match reader.lookup.public_file(path) {
        Ok(text) => Some(Spanned::new(text, node.span)),
        Err(error) => {
            unreadable(node.span, path, &error, reader.faults);
            None
        }
    }
}

fn read_calls(reader: &mut Reader<'_>, key: &Spanned<String>, section: &Section<'_>) -> Vec<CallConfig> {
    const EXPECTED: &str = "a mapping of calls such as `user: shop /users/$id`";
    let Some(node) = section.get("calls") else {
        if section.get("proxy").is_none() {
            reader.faults.add_with_help(
                key.span,
                format!("route `{}` has no `calls`", key.value),
                format!("expected {EXPECTED}"),
            );
        }
        return Vec::new();
    };
    let Some(entries) = reader.entries(node, "`calls`", EXPECTED) else {
        return Vec::new();
    };
    if entries.is_empty() {
        reader
            .faults
            .add_with_help(node.span, "`calls` is empty", format!("expected {EXPECTED}"));
    }
    entries.iter().map(|(name, node)| calls::read(reader, name, node)).collect()
}

fn reply(reader: &mut Reader<'_>, node: &Node) -> Option<Spanned<ReplyConfig>> {
    let section = reader.section(node, "`reply`", &keys::REPLY)?;
    let forms = section.present(keys::REPLY.known);
    let Some((key, form)) = forms.first() else {
        if section.present(keys::REPLY.planned).is_empty() {
            reader.faults.add_with_help(
                node.span,
                "`reply` says nothing",
                format!("expected one of {}", one_of(keys::REPLY.known)),
            );
        }
        return None;
    };
    if let Some((second, _)) = forms.get(1) {
        let message = format!("`{}` and `{}` in one `reply`", key.value, second.value);
        reader.faults.add_with_help(
            second.span,
            message,
            format!("expected exactly one of {}", one_of(keys::REPLY.known)),
        );
    }
    let reply = match key.value.as_str() {
        "only" => ReplyConfig::Only(reader.text(form, "`only`")?),
        "merge" => {
            let names = reader.names(form, "`merge`");
            if names.is_empty() {
                return None;
            }
            ReplyConfig::Merge(names)
        }
        "jq" => ReplyConfig::Jq(reader.text(form, "`jq`")?),
        _ => ReplyConfig::Value(reader.template_tree(form)),
    };
    Some(Spanned::new(reply, node.span))
}
