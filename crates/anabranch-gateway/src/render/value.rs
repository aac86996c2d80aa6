//! JSON made of references: request bodies, `value:`, `else:` and `reply: { value: ... }`.

use super::target::texts_of;
use super::Scope;
use crate::json::write_string;
use crate::plan::model::{Piece, Template, Value};

/// Appends the value as JSON. A missing reference is null, and so is text with a missing reference inside; values go in as they came,
/// byte for byte. In text a list joins by `,` and an object stands as JSON. Recurses as deep as the config was written.
pub fn json(value: &Value, scope: &dyn Scope, out: &mut Vec<u8>) {
    match value {
        Value::Literal(bytes) => out.extend_from_slice(bytes),
        Value::Ref(reference) => out.extend_from_slice(&scope.get(reference).json()),
        Value::Text(template) => match text(template, scope) {
            Some(text) => write_string(out, &text),
            None => out.extend_from_slice(crate::json::NULL),
        },
        Value::List(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json(value, scope, out);
            }
            out.push(b']');
        }
        Value::Object(entries) => {
            out.push(b'{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(out, key);
                out.push(b':');
                json(value, scope, out);
            }
            out.push(b'}');
        }
    }
}

fn text(template: &Template, scope: &dyn Scope) -> Option<String> {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Ref(reference) => {
                let given = scope.get(reference);
                if given.is_missing() {
                    return None;
                }
                match texts_of(&given) {
                    Some(texts) => text.push_str(&texts.joined(",")),
                    None => text.push_str(&String::from_utf8_lossy(&given.json())),
                }
            }
        }
    }
    Some(text)
}
