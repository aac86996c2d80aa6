//! JSON text to values.

use std::collections::HashSet;
use std::rc::Rc;

use super::super::meter;
use super::{Error, Key, Number, Text, Value, ValueResult};
use crate::json::{self, JsonType, Limits};

/// Reads a document that was validated, so that it is at most 64 levels deep.
pub(in crate::transform::jq) fn read(document: &[u8]) -> Value {
    Reader { keys: HashSet::new() }.value(json::trim(document))
}

/// Reads text that a program made.
pub(in crate::transform::jq) fn read_bytes(text: &[u8]) -> ValueResult {
    meter::work(text.len() / 16);
    match json::validate(text, &Limits::default()) {
        Ok(_) => Ok(read(text)),
        Err(fault) => Err(Error::str(format!("cannot parse as JSON: {fault}"))),
    }
}

/// The same few keys stand in every item of a list; each is kept once.
struct Reader {
    keys: HashSet<Key>,
}

impl Reader {
    fn value(&mut self, value: &[u8]) -> Value {
        match json::type_of(value) {
            JsonType::Null => Value::NULL,
            JsonType::Bool => Value::Bool(value == b"true"),
            JsonType::Number => Value::Number(Number::read(&String::from_utf8_lossy(value))),
            JsonType::Text => {
                let text = json::scalar_text(value).unwrap_or_default();
                Value::Text(Rc::new(Text::new(text.into_owned())))
            }
            JsonType::List => json::items(value).map(|item| self.value(item)).collect(),
            JsonType::Object => {
                let entries: Vec<(Key, Value)> = json::entries(value).map(|(key, value)| (self.key(key), self.value(value))).collect();
                Value::object(entries)
            }
        }
    }

    fn key(&mut self, raw: &[u8]) -> Key {
        let name = json::unescape(raw);
        if let Some(key) = self.keys.get(&*name) {
            return key.clone();
        }
        let key = Key::of(&name);
        self.keys.insert(key.clone());
        key
    }
}
