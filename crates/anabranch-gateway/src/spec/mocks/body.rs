//! `body:` of a mock: any YAML value as JSON, in which `$path.N` is the N-th segment of the request's path, counted from 0.

use std::sync::Arc;

use anabranch_testkit::{Body, Seen};
use bytes::Bytes;

use super::read::Reader;
use crate::config::{Node, NodeKind};

const REFERENCE: &str = "$path.";

/// Makes the body; one without references is made once.
pub(super) fn json(node: &Node, reader: &mut Reader<'_>) -> Body {
    let mut pieces = Pieces(vec![Piece::Text(String::new())]);
    pieces.value(node, reader);
    match pieces.0.as_slice() {
        [Piece::Text(text)] => Body::Bytes(text.clone().into()),
        _ => {
            let pieces: Arc<[Piece]> = pieces.0.into();
            Body::Computed(Arc::new(move |request: &Seen| fill(&pieces, request)))
        }
    }
}

enum Piece {
    /// JSON as it stands.
    Text(String),
    /// A segment as a value of its own.
    Value(usize),
    /// A segment within a string.
    Inside(usize),
}

fn fill(pieces: &[Piece], request: &Seen) -> Bytes {
    let segments: Vec<&str> = request.path().split('/').skip(1).collect();
    let segment = |at: &usize| segments.get(*at).copied();
    let mut json = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => json.push_str(text),
            Piece::Value(at) => json.push_str(&segment(at).map_or_else(|| "null".to_string(), scalar)),
            Piece::Inside(at) => json.push_str(&segment(at).map(inside).unwrap_or_default()),
        }
    }
    json.into()
}

/// A number where the text is a whole one as JSON writes it, else a string.
fn scalar(segment: &str) -> String {
    let whole = segment.parse::<i64>().is_ok_and(|number| number.to_string() == segment);
    if whole { segment.to_string() } else { quoted(segment) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// As it stands between the quotes of a string.
fn inside(text: &str) -> String {
    let json = quoted(text);
    json[1..json.len() - 1].to_string()
}

/// The pieces so far; the last one is text as often as possible.
struct Pieces(Vec<Piece>);

impl Pieces {
    fn value(&mut self, node: &Node, reader: &mut Reader<'_>) {
        match &node.kind {
            NodeKind::Null => self.text("null"),
            NodeKind::Bool(value) => self.text(if *value { "true" } else { "false" }),
            NodeKind::Number(digits) => self.text(digits),
            NodeKind::Text(text, _) => self.string(text, node, reader),
            NodeKind::List(items) => {
                self.text("[");
                for (at, item) in items.iter().enumerate() {
                    self.text(if at > 0 { "," } else { "" });
                    self.value(item, reader);
                }
                self.text("]");
            }
            NodeKind::Map(entries) => {
                self.text("{");
                for (at, (key, value)) in entries.iter().enumerate() {
                    self.text(if at > 0 { "," } else { "" });
                    self.text(&quoted(&key.value));
                    self.text(":");
                    self.value(value, reader);
                }
                self.text("}");
            }
        }
    }

    fn string(&mut self, text: &str, node: &Node, reader: &mut Reader<'_>) {
        let mut rest = text;
        let mut parts = Vec::new();
        while let Some(at) = rest.find(REFERENCE) {
            let behind = &rest[at + REFERENCE.len()..];
            let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
            let Ok(segment) = behind[..digits].parse::<usize>() else {
                reader.fault(
                    node.span,
                    "`$path.` without a number",
                    "expected `$path.0` for the first segment of the path, `$path.1` for the second",
                );
                return;
            };
            parts.push((&rest[..at], Some(segment)));
            rest = &behind[digits..];
        }
        parts.push((rest, None));
        if let [("", Some(segment)), ("", None)] = parts[..] {
            self.0.push(Piece::Value(segment));
            return;
        }
        self.text("\"");
        for (text, segment) in parts {
            self.text(&inside(text));
            self.0.extend(segment.map(Piece::Inside));
        }
        self.text("\"");
    }

    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.0.push(Piece::Text(text.to_string())),
        }
    }
}
