//! `ok:`, the statuses that are a success: `2xx`, `404`, `200..204`, `{ 404: null }`.

use super::model::{OkEntry, OkSet};
use super::place::{fault, Text};
use super::value;
use crate::config::faults::Faults;
use crate::config::yaml::{Node, NodeKind, Span};

const FORMS: &str = "expected `2xx`, `404`, `200..204`, or `{ 404: null }` for a value in place of the body";

impl OkSet {
    /// Any 2xx: what holds where nothing is written.
    pub fn any_2xx() -> Self {
        Self {
            entries: vec![OkEntry {
                from: 200,
                to: 299,
                value: None,
            }],
        }
    }

    /// Finds the entry that takes this status.
    pub fn find(&self, status: u16) -> Option<&OkEntry> {
        self.entries.iter().find(|entry| (entry.from..=entry.to).contains(&status))
    }
}

/// Reads `ok:`.
pub(super) fn compile(node: Option<&Node>, faults: &mut Faults) -> OkSet {
    let Some(node) = node else { return OkSet::any_2xx() };
    let items = match &node.kind {
        NodeKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let set = OkSet {
        entries: items.iter().filter_map(|item| entry(item, faults)).collect(),
    };
    let takes_2xx = set.entries.iter().any(|entry| entry.from < 300 && entry.to >= 200);
    if !takes_2xx && set.entries.len() == items.len() {
        fault(
            faults,
            node.span,
            "no 2xx status would be a success",
            "`ok` lists all that is: write `ok: [2xx, ...]`",
        );
    }
    set
}

fn entry(node: &Node, faults: &mut Faults) -> Option<OkEntry> {
    match &node.kind {
        NodeKind::Number(digits) => range(Text::new(digits, node.span), faults),
        NodeKind::Text(text, _) => range(Text::new(text, node.span), faults),
        NodeKind::Map(entries) => match entries.as_slice() {
            [(key, node)] => {
                let value = value::fixed(node, "a value in `ok`", faults);
                range(Text::of(key), faults).map(|entry| OkEntry {
                    value: Some(value),
                    ..entry
                })
            }
            _ => not_a_status(node.span, faults),
        },
        NodeKind::Null | NodeKind::Bool(_) | NodeKind::List(_) => not_a_status(node.span, faults),
    }
}

fn range(text: Text<'_>, faults: &mut Faults) -> Option<OkEntry> {
    let ends = match text.text.split_once("..") {
        Some((from, to)) => status(from).zip(status(to)),
        None => class(text.text).or_else(|| status(text.text).map(|status| (status, status))),
    };
    let Some((from, to)) = ends.filter(|(from, to)| from <= to) else {
        fault(faults, text, format!("`{}` is no status", text.text), FORMS);
        return None;
    };
    Some(OkEntry { from, to, value: None })
}

/// Final statuses only: a 1xx is never the answer.
fn status(digits: &str) -> Option<u16> {
    let status = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse::<u16>().ok())??;
    (200..=599).contains(&status).then_some(status)
}

/// `2xx`
fn class(text: &str) -> Option<(u16, u16)> {
    let digit = text.strip_suffix("xx").filter(|digit| matches!(*digit, "2" | "3" | "4" | "5"))?;
    let hundred = digit.parse::<u16>().ok()? * 100;
    Some((hundred, hundred + 99))
}

fn not_a_status(span: Span, faults: &mut Faults) -> Option<OkEntry> {
    fault(faults, span, "not a status", FORMS);
    None
}
