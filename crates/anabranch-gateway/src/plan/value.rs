//! JSON values with references: `body:`, `value:`, `else:`, `reply: { value: ... }`, and the fixed values of `ok:`.

use bytes::Bytes;

use super::model::{Template, Piece, Value};
use super::names::Names;
use super::place::{fault, Text};
use super::reference::{parse, Part};
use super::template;
use crate::config::faults::Faults;
use crate::config::yaml::{Node, NodeKind};

/// Compiles a value. What holds no reference becomes JSON text at once.
pub(super) fn compile(node: &Node, names: &Names<'_>, faults: &mut Faults) -> Value {
    match &node.kind {
        NodeKind::Null => literal("null"),
        NodeKind::Bool(true) => literal("true"),
        NodeKind::Bool(false) => literal("false"),
        NodeKind::Number(digits) => literal(digits),
        NodeKind::Text(text, _) => compile_text(Text::new(text, node.span), names, faults),
        NodeKind::List(items) => join_list(items.iter().map(|item| compile(item, names, faults)).collect()),
        NodeKind::Map(entries) => {
            let fields = entries
                .iter()
                .map(|(key, value)| (key.value.clone(), compile(value, names, faults)));
            join_object(fields.collect())
        }
    }
}

/// Compiles a value that may hold no references.
pub(super) fn fixed(node: &Node, what: &str, faults: &mut Faults) -> Bytes {
    match &node.kind {
        NodeKind::Text(text, _) => {
            let text = Text::new(text, node.span);
            let mut plain = String::new();
            for part in parse(text, faults) {
                match part {
                    Part::Text(text, _) => plain.push_str(&text),
                    Part::Reference(written) => fault(faults, written.whole, format!("{what} is fixed"), "a value without references"),
                }
            }
            Bytes::from(quoted(&plain))
        }
        NodeKind::List(items) => fixed_bytes(join_list(
            items.iter().map(|item| Value::Literal(fixed(item, what, faults))).collect(),
        )),
        NodeKind::Map(entries) => {
            let fields = entries
                .iter()
                .map(|(key, value)| (key.value.clone(), Value::Literal(fixed(value, what, faults))));
            fixed_bytes(join_object(fields.collect()))
        }
        NodeKind::Null => Bytes::from_static(b"null"),
        NodeKind::Bool(yes) => Bytes::from(yes.to_string()),
        NodeKind::Number(digits) => Bytes::from(digits.clone()),
    }
}

fn compile_text(text: Text<'_>, names: &Names<'_>, faults: &mut Faults) -> Value {
    let Template(mut pieces) = template::plain(text, names, faults);
    match pieces.as_slice() {
        [] => literal("\"\""),
        [Piece::Text(text)] => literal(&quoted(text)),
        [Piece::Ref(_)] => match pieces.remove(0) {
            Piece::Ref(reference) => Value::Ref(reference),
            Piece::Text(text) => literal(&quoted(&text)),
        },
        _ => Value::Text(Template(pieces)),
    }
}

fn join_list(items: Vec<Value>) -> Value {
    let Some(texts) = items.iter().map(literal_text).collect::<Option<Vec<&str>>>() else {
        return Value::List(items);
    };
    literal(&format!("[{}]", texts.join(",")))
}

fn join_object(fields: Vec<(String, Value)>) -> Value {
    let field = |(key, value): &(String, Value)| Some(format!("{}:{}", quoted(key), literal_text(value)?));
    let Some(texts) = fields.iter().map(field).collect::<Option<Vec<String>>>() else {
        return Value::Object(fields);
    };
    literal(&format!("{{{}}}", texts.join(",")))
}

fn literal(json: &str) -> Value {
    Value::Literal(Bytes::copy_from_slice(json.as_bytes()))
}

fn literal_text(value: &Value) -> Option<&str> {
    match value {
        Value::Literal(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn fixed_bytes(value: Value) -> Bytes {
    match value {
        Value::Literal(bytes) => bytes,
        _ => Bytes::from_static(b"null"),
    }
}

/// Writes a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}
