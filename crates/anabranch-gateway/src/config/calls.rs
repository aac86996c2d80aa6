//! An entry of `calls:`: a text `source /path`, or a mapping with exactly one key that says what the call does.

use super::faults::one_of;
use super::keys;
use super::lists;
use super::model::{ActionConfig, CallConfig, CallSettings};
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
    if key.value == "value" {
        for (useless, _) in section.present(keys::REQUEST_ONLY) {
            let message = format!("`{}` has no meaning beside `value`", useless.value);
            reader.faults.add_with_help(useless.span, message, "a value sends no request");
        }
        return Some(ActionConfig::Value(reader.template_tree(node)));
    }
    let target = reader.template(node, &format!("`{}`", key.value))?;
    Some(ActionConfig::Http {
        method: Spanned::new(key.value.to_ascii_uppercase(), key.span),
        target,
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
    call.list = lists::read(reader, section);
    call.settings = reader.settings(section);
}
