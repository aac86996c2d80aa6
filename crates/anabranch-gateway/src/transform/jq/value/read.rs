//! JSON text to values.

use std::collections::HashSet;
use std::rc::Rc;

use super::super::meter;
use super::{Error, Key, Number, Text, Value, ValueResult};
use crate::json::{self, Limits};

/// Reads a document that was validated, so that it is at most 64 levels deep; for other bytes the value means nothing.
pub(in crate::transform::jq) fn read(document: &[u8]) -> Value {
    let mut reader = Reader {
        bytes: document,
        at: 0,
        keys: HashSet::new(),
    };
    reader.value()
}

/// Reads text that a program made.
pub(in crate::transform::jq) fn read_bytes(text: &[u8]) -> ValueResult {
    meter::work(text.len() / 16);
    match json::validate(text, &Limits::default()) {
        Ok(_) => Ok(read(text)),
        Err(fault) => Err(Error::str(format!("cannot parse as JSON: {fault}"))),
    }
}

/// Reads in one pass.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The same few keys stand in every item of a list; each is kept once.
    keys: HashSet<Key>,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Value {
        match self.token() {
            Some(b'{') => self.object(),
            Some(b'[') => self.list(),
            Some(b'"') => {
                let text = json::unescape(self.string());
                Value::Text(Rc::new(Text::new(text.into_owned())))
            }
            Some(b't') => self.word(4, Value::Bool(true)),
            Some(b'f') => self.word(5, Value::Bool(false)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(4, Value::NULL),
        }
    }

    fn list(&mut self) -> Value {
        self.at += 1;
        let mut items = Vec::new();
        while !matches!(self.token(), Some(b']') | None) {
            items.push(self.value());
        }
        self.at += 1;
        Value::list(items)
    }

    fn object(&mut self) -> Value {
        self.at += 1;
        let mut entries = Vec::new();
        while self.token() == Some(b'"') {
            let key = self.key();
            entries.push((key, self.value()));
        }
        self.at += 1;
        Value::object(entries)
    }

    fn key(&mut self) -> Key {
        let name = json::unescape(self.string());
        if let Some(key) = self.keys.get(&*name) {
            return key.clone();
        }
        let key = Key::of(&name);
        self.keys.insert(key.clone());
        key
    }

    fn number(&mut self) -> Value {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
        let digits = &rest[..length.unwrap_or(rest.len())];
        self.at += digits.len();
        Value::Number(Number::read(&String::from_utf8_lossy(digits)))
    }

    fn word(&mut self, length: usize, value: Value) -> Value {
        self.at += length;
        value
    }

    /// What stands between the quotes of the string that begins here.
    fn string(&mut self) -> &'a [u8] {
        let start = (self.at + 1).min(self.bytes.len());
        let mut end = start;
        while let Some(byte) = self.bytes.get(end).filter(|byte| **byte != b'"') {
            end += if *byte == b'\\' { 2 } else { 1 };
        }
        let end = end.min(self.bytes.len());
        self.at = end + 1;
        &self.bytes[start..end]
    }

    /// The first byte of what comes next.
    fn token(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }
}
