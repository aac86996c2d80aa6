//! Texts: UTF-8, counted and cut by characters as jq does.

use std::rc::Rc;

use super::super::meter::{self, Charge};
use super::Value;

/// What a text holds beside its bytes.
const OVERHEAD: usize = 64;
/// Bytes that count as a step when they are copied.
const BYTES_PER_STEP: usize = 64;

/// A text and what it costs.
#[derive(Debug)]
pub(in crate::transform::jq) struct Text {
    text: String,
    charge: Charge,
}

impl Text {
    pub(in crate::transform::jq) fn new(text: String) -> Self {
        meter::work(text.len() / BYTES_PER_STEP);
        let charge = Charge::new(text.capacity() + OVERHEAD);
        Text { text, charge }
    }

    pub(in crate::transform::jq) fn as_str(&self) -> &str {
        &self.text
    }

    /// The two texts as one; in place where nobody else holds the first.
    pub(super) fn join(mut first: Rc<Text>, second: &Text) -> Rc<Text> {
        if let Some(own) = Rc::get_mut(&mut first) {
            if own.text.capacity() - own.text.len() < second.text.len() {
                Charge::reserve(own.text.len() + second.text.len());
            }
            meter::work(second.text.len() / BYTES_PER_STEP);
            own.text.push_str(&second.text);
            own.charge.set(own.text.capacity() + OVERHEAD);
            return first;
        }
        Charge::reserve(first.text.len() + second.text.len());
        Rc::new(Text::new([first.as_str(), second.as_str()].concat()))
    }

    /// The characters from one place to another.
    pub(super) fn slice(&self, from: usize, to: usize) -> Value {
        let text = self.as_str();
        let slice = if text.is_ascii() {
            text.get(from..to.max(from)).unwrap_or_default()
        } else {
            let start = byte_of(text, from);
            let rest = &text[start..];
            &rest[..byte_of(rest, to.saturating_sub(from))]
        };
        Value::text(slice)
    }

    /// How many characters it has.
    pub(in crate::transform::jq) fn count(&self) -> usize {
        self.text.chars().count()
    }

    /// So many times this text.
    pub(super) fn repeat(&self, times: usize) -> Value {
        Charge::reserve(self.text.len().saturating_mul(times));
        Value::text(self.text.repeat(times))
    }

    /// The texts between a separator; the characters where that is empty.
    pub(in crate::transform::jq) fn split(&self, separator: &str) -> Value {
        let text = self.as_str();
        if text.is_empty() {
            return Value::list(Vec::new());
        }
        if separator.is_empty() {
            return text.chars().map(Value::text).collect();
        }
        text.split(separator).map(Value::text).collect()
    }
}

/// Where a character begins, in bytes; the end of the text for one that is not there.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}
