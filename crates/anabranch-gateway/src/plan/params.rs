//! The parameters that `query:` lets in, in their short forms (`page: 1`, `20..100`, `int!`, `"int?"`, `[]`) and the long one,
//! and the values that each type takes.

use super::model::{Param, ParamDefault, ParamKind};
use super::names;
use super::place::{fault, unknown, Place, Text};
use crate::config::faults::{one_of, Faults};
use crate::config::yaml::{Node, NodeKind, Span, Spanned, Style};

/// The names of the types.
pub(super) const KINDS: [&str; 6] = ["int", "number", "bool", "string", "uuid", "date"];

const FORMS: &str = "a default (`1`, `en`, `true`), `20..100` (default and maximum), `int!` (required), `\"int?\"` (optional), \
     `[]` (repeats), or `{ type: int, default: 20, min: 1, max: 100 }`";

/// Finds a type by its name, without bounds.
pub(super) fn kind_named(name: &str) -> Option<ParamKind> {
    Some(match name {
        "int" => ParamKind::Int {
            min: i64::MIN,
            max: i64::MAX,
        },
        "number" => ParamKind::Number,
        "bool" => ParamKind::Bool,
        "string" => ParamKind::Text,
        "uuid" => ParamKind::Uuid,
        "date" => ParamKind::Date,
        _ => return None,
    })
}

/// Reads one entry of `query:`. A broken one is reported, and its name still known, so that references to it are no second fault.
pub(super) fn read(name: &Spanned<String>, node: &Node, faults: &mut Faults) -> Param {
    names::check("parameter", Text::of(name), faults);
    let form = match &node.kind {
        NodeKind::Number(digits) => number(digits, node.span, faults),
        NodeKind::Bool(yes) => Some(Form::default(ParamKind::Bool, yes.to_string())),
        NodeKind::Text(text, style) => word(Text::new(text, node.span), *style, faults),
        NodeKind::List(items) if items.is_empty() => Some(Form {
            repeats: true,
            ..Form::optional(ParamKind::Text)
        }),
        NodeKind::Map(entries) => long(entries, node.span, faults),
        NodeKind::Null | NodeKind::List(_) => None,
    };
    let form = form.unwrap_or_else(|| {
        if matches!(node.kind, NodeKind::Null | NodeKind::List(_)) {
            fault(
                faults,
                node.span,
                format!("`{}` says neither a type nor a default", name.value),
                FORMS,
            );
        }
        Form::optional(ParamKind::Text)
    });
    let Form { kind, default, repeats } = form;
    Param {
        name: name.value.clone(),
        kind,
        default,
        repeats,
        in_path: false,
        rest: false,
        may_be_folder: false,
    }
}

struct Form {
    kind: ParamKind,
    default: ParamDefault,
    repeats: bool,
}

impl Form {
    fn default(kind: ParamKind, value: String) -> Self {
        Self {
            kind,
            default: ParamDefault::Value(value),
            repeats: false,
        }
    }

    fn optional(kind: ParamKind) -> Self {
        Self {
            kind,
            default: ParamDefault::Missing,
            repeats: false,
        }
    }

    fn required(kind: ParamKind) -> Self {
        Self {
            kind,
            default: ParamDefault::Required,
            repeats: false,
        }
    }
}

fn number(digits: &str, span: Span, faults: &mut Faults) -> Option<Form> {
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let kind = if whole {
        ParamKind::Int {
            min: i64::MIN,
            max: i64::MAX,
        }
    } else {
        ParamKind::Number
    };
    with_default(kind, digits, span, faults)
}

fn word(text: Text<'_>, style: Style, faults: &mut Faults) -> Option<Form> {
    if let Some((default, max)) = text
        .text
        .split_once("..")
        .and_then(|(low, high)| Some((low.parse().ok()?, high.parse().ok()?)))
    {
        return range(text, default, max, faults);
    }
    let stem = text.text.strip_suffix(['!', '?']);
    let plain = style == Style::Plain;
    match (stem, stem.and_then(kind_named)) {
        (Some(_), Some(kind)) if text.text.ends_with('!') => return Some(Form::required(kind)),
        (Some(_), Some(kind)) => return Some(Form::optional(kind)),
        (Some(stem), None) if plain => {
            let help = format!("expected {}; quote it if it is a default", one_of(&KINDS));
            fault(faults, text, format!("unknown type `{stem}`"), help);
            return None;
        }
        _ => {}
    }
    if plain && kind_named(text.text).is_some() {
        let what = format!("`{}` alone does not say whether it must be there", text.text);
        let help = format!("`{0}!` is required, `\"{0}?\"` optional; quote it if it is a default", text.text);
        fault(faults, text, what, help);
        return None;
    }
    if text.text.contains('$') {
        fault(faults, text, "a default is fixed", "a value without references");
        return None;
    }
    with_default(ParamKind::Text, text.text, text, faults)
}

/// `20..100`: default and maximum; the minimum is 1.
fn range(text: Text<'_>, default: i64, max: i64, faults: &mut Faults) -> Option<Form> {
    if !(1..=max).contains(&default) {
        let what = format!("the default {default} is outside 1..{max}");
        fault(
            faults,
            text,
            what,
            "write `{ type: int, default: 0, min: 0, max: 100 }` for another minimum",
        );
        return None;
    }
    Some(Form::default(ParamKind::Int { min: 1, max }, default.to_string()))
}

fn with_default(kind: ParamKind, value: &str, place: impl Place, faults: &mut Faults) -> Option<Form> {
    match kind.canonical(value) {
        Ok(value) => Some(Form::default(kind, value)),
        Err(expected) => {
            fault(
                faults,
                place,
                "a default that the parameter would refuse",
                format!("expected {expected}"),
            );
            None
        }
    }
}

/// `{ type: int, default: 20, min: 1, max: 100, required: true, repeats: true }`
fn long(entries: &[(Spanned<String>, Node)], span: Span, faults: &mut Faults) -> Option<Form> {
    const KEYS: [&str; 6] = ["type", "default", "min", "max", "required", "repeats"];
    for (key, _) in entries.iter().filter(|(key, _)| !KEYS.contains(&key.value.as_str())) {
        unknown(faults, key, "key", &key.value, KEYS);
    }
    let get = |wanted: &str| entries.iter().find(|(key, _)| key.value == wanted).map(|(_, node)| node);
    let kind = long_kind(get("type"), span, faults)?;
    let kind = bounded(kind, get("min"), get("max"), faults)?;
    let required = flag(get("required"), faults);
    let repeats = flag(get("repeats"), faults);
    let Some(node) = get("default") else {
        let form = if required { Form::required(kind) } else { Form::optional(kind) };
        return Some(Form { repeats, ..form });
    };
    if required || repeats {
        fault(
            faults,
            node.span,
            "a default has no use here",
            "`default` for a parameter that is sent once at most and not `required`",
        );
    }
    let Some(text) = scalar(node) else {
        fault(
            faults,
            node.span,
            "a default is a single value",
            "a number, a text, `true` or `false`",
        );
        return None;
    };
    with_default(kind, &text, node.span, faults)
}

fn long_kind(node: Option<&Node>, span: Span, faults: &mut Faults) -> Option<ParamKind> {
    let Some(node) = node else {
        fault(faults, span, "the parameter has no `type`", format!("expected {}", one_of(&KINDS)));
        return None;
    };
    let kind = scalar(node).and_then(|name| kind_named(&name));
    if kind.is_none() {
        let name = scalar(node).unwrap_or_default();
        unknown(faults, node.span, "type", &name, KINDS);
    }
    kind
}

fn bounded(kind: ParamKind, min: Option<&Node>, max: Option<&Node>, faults: &mut Faults) -> Option<ParamKind> {
    let Some(first) = min.or(max) else { return Some(kind) };
    let ParamKind::Int { min: lowest, max: highest } = kind else {
        fault(faults, first.span, "only an `int` has bounds", "leave `min` and `max` out");
        return None;
    };
    let (min, max) = (bound(min, lowest, faults)?, bound(max, highest, faults)?);
    if min > max {
        fault(
            faults,
            first.span,
            format!("no number is from {min} to {max}"),
            "`min` not above `max`",
        );
        return None;
    }
    Some(ParamKind::Int { min, max })
}

fn bound(node: Option<&Node>, otherwise: i64, faults: &mut Faults) -> Option<i64> {
    let Some(node) = node else { return Some(otherwise) };
    let bound = scalar(node).and_then(|digits| digits.parse().ok());
    if bound.is_none() {
        fault(faults, node.span, "a bound that is no whole number", "a 64 bit whole number");
    }
    bound
}

fn flag(node: Option<&Node>, faults: &mut Faults) -> bool {
    match node.map(|node| (&node.kind, node.span)) {
        None => false,
        Some((NodeKind::Bool(yes), _)) => *yes,
        Some((_, span)) => {
            fault(faults, span, "neither `true` nor `false`", "`true` or `false`");
            false
        }
    }
}

fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        NodeKind::Number(digits) => Some(digits.clone()),
        NodeKind::Bool(yes) => Some(yes.to_string()),
        NodeKind::Text(text, _) => Some(text.clone()),
        NodeKind::Null | NodeKind::List(_) | NodeKind::Map(_) => None,
    }
}
