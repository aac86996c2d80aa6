//! An entry of `calls:`: a text `source /path`, or a mapping with exactly one key that says what the call does.

use super::faults::one_of;
use super::keys;
use super::lists;
use super::model::{ActionConfig, CallConfig, CallSettings, SqlVerb};
use super::read::{Reader, Section};
use super::yaml::{Node, NodeKind, Span, Spanned};

/// Reads one call. One with faults keeps its name and does nothing, so that what refers to it brings no further faults.
pub(super) fn read(reader: &mut Reader<'_>, name: &Spanned<String>, node: &Node) -> CallConfig {
    let mut call = CallConfig {
        name: name.clone(),
        action: nothing(node.span),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        when: None,
        after: Vec::new(),
        ok: None,
        otherwise: None,
        idempotent: None,
        forward: Vec::new(),
        pick: None,
        drop: Vec::new(),
        rename: Vec::new(),
        jq: None,
        list: None,
        settings: CallSettings::default(),
    };
    let what = format!("call `{}`", name.value);
    match &node.kind {
        NodeKind::Text(..) => {
            if let Some(target) = reader.template(node, &what) {
                call.action = ActionConfig::Http {
                    method: Spanned::new("GET".to_owned(), node.span),
                    target,
                };
            }
        }
        NodeKind::Map(_) => {
            if let Some(section) = reader.section(node, &what, &keys::CALL) {
                call.action = action(reader, name, &section).unwrap_or_else(|| nothing(node.span));
                rest(reader, &section, &mut call);
            }
        }
        _ => reader.wrong(node, &what, "a text `source /path`, or a mapping with a key such as `get:`"),
    }
    call
}

fn nothing(span: Span) -> ActionConfig {
    ActionConfig::Value(Node {
        kind: NodeKind::Null,
        span,
    })
}

fn action(reader: &mut Reader<'_>, name: &Spanned<String>, section: &Section<'_>) -> Option<ActionConfig> {
    let actions = section.present(keys::ACTIONS);
    let Some((key, node)) = actions.first() else {
        if section.present(keys::ACTIONS_PLANNED).is_empty() {
            let help = format!("expected exactly one of {}", one_of(keys::ACTIONS));
            reader
                .faults
                .add_with_help(name.span, format!("call `{}` does nothing", name.value), help);
        }
        return None;
    };
    for (second, _) in &actions[1..] {
        let message = format!("`{}` and `{}` in one call", key.value, second.value);
        reader
            .faults
            .add_with_help(second.span, message, format!("expected exactly one of {}", one_of(keys::ACTIONS)));
    }
    let beside = |keys: &[&str], help: &str, reader: &mut Reader<'_>| {
        for (useless, _) in section.present(keys) {
            let message = format!("`{}` has no meaning beside `{}`", useless.value, key.value);
            reader.faults.add_with_help(useless.span, message, help);
        }
    };
    if key.value != "sql" {
        beside(keys::SQL_ONLY, "expected `sql: db` with it", reader);
    }
    match key.value.as_str() {
        "value" => {
            beside(keys::REQUEST_ONLY, "a value sends no request", reader);
            Some(ActionConfig::Value(reader.template_tree(node)))
        }
        "sql" => {
            beside(keys::HTTP_ONLY, "it belongs to HTTP requests", reader);
            sql(reader, key, node, section)
        }
        "redis" => {
            beside(keys::HTTP_ONLY, "it belongs to HTTP requests", reader);
            Some(ActionConfig::Redis(reader.template(node, "`redis`")?))
        }
        "run" => {
            let (retried, http): (Vec<&str>, Vec<&str>) = keys::CALL_NOT_RUN.iter().partition(|key| **key == "retry");
            beside(&http, "it belongs to HTTP requests", reader);
            beside(&retried, "a job is done once", reader);
            let source = reader.text(node, "`run`")?;
            if section.get("body").is_none() {
                let help = "expected `body: { id: $id }` beside it, the job; `body: null` if it needs nothing";
                reader.faults.add_with_help(key.span, "`run` without `body`", help);
            }
            Some(ActionConfig::Run(source))
        }
        method => {
            let target = reader.template(node, &format!("`{method}`"))?;
            Some(ActionConfig::Http {
                method: Spanned::new(method.to_ascii_uppercase(), key.span),
                target,
            })
        }
    }
}

fn sql(reader: &mut Reader<'_>, key: &Spanned<String>, node: &Node, section: &Section<'_>) -> Option<ActionConfig> {
    const EXPECTED: &str = "expected `select:` for a statement that reads, or `exec:` for one that changes something";
    let source = reader.text(node, "`sql`");
    let one = section.get("one").and_then(|node| reader.flag(node, "`one`"));
    let verbs = section.present(&["select", "exec"]);
    let Some((verb, node)) = verbs.first() else {
        reader.faults.add_with_help(key.span, "`sql` without a statement", EXPECTED);
        return None;
    };
    if let Some((second, _)) = verbs.get(1) {
        let message = format!("`{}` and `{}` in one call", verb.value, second.value);
        reader.faults.add_with_help(second.span, message, EXPECTED);
    }
    let what = format!("`{}`", verb.value);
    let node = reader.literal_tree(node, "a statement");
    let statement = reader.text(&node, &what)?;
    let is_select = verb.value == "select";
    let verb = Spanned::new(if is_select { SqlVerb::Select } else { SqlVerb::Exec }, verb.span);
    Some(ActionConfig::Sql {
        source: source?,
        verb,
        statement,
        one,
    })
}

fn rest(reader: &mut Reader<'_>, section: &Section<'_>, call: &mut CallConfig) {
    if let Some(node) = section.get("query") {
        let entries = reader.entries(node, "`query`", "a mapping of names and values").unwrap_or_default();
        call.query = entries
            .iter()
            .map(|(name, node)| (name.clone(), reader.template_tree(node)))
            .collect();
    }
    if let Some(node) = section.get("headers") {
        let entries = reader
            .entries(node, "`headers`", "a mapping of names and values")
            .unwrap_or_default();
        for (name, node) in entries {
            let value = reader.template(node, &format!("header `{}`", name.value));
            call.headers.extend(value.map(|value| (name.clone(), value)));
        }
    }
    call.body = section.get("body").map(|node| reader.template_tree(node));
    call.when = section.get("when").and_then(|node| reader.condition(node, "`when`"));
    call.after = section.get("after").map(|node| reader.names(node, "`after`")).unwrap_or_default();
    call.ok = section.get("ok").cloned();
    call.otherwise = section.get("else").map(|node| reader.template_tree(node));
    call.idempotent = section.get("idempotent").and_then(|node| reader.flag(node, "`idempotent`"));
    call.forward = section
        .get("forward")
        .map(|node| reader.names(node, "`forward`"))
        .unwrap_or_default();
    call.pick = section.get("pick").map(|node| reader.names(node, "`pick`"));
    call.drop = section.get("drop").map(|node| reader.names(node, "`drop`")).unwrap_or_default();
    call.rename = section.get("rename").map(|node| renames(reader, node)).unwrap_or_default();
    call.jq = section.get("jq").and_then(|node| reader.text(node, "`jq`"));
    call.list = lists::read(reader, section);
    call.settings = reader.settings(section);
}

/// `rename: { old: new }`.
fn renames(reader: &mut Reader<'_>, node: &Node) -> Vec<(Spanned<String>, Spanned<String>)> {
    let entries = reader
        .entries(node, "`rename`", "a mapping of old and new keys such as `{ old: new }`")
        .unwrap_or_default();
    let new = |(old, node): &(Spanned<String>, Node)| Some((old.clone(), reader.text(node, &format!("the new name of `{}`", old.value))?));
    entries.iter().filter_map(new).collect()
}
