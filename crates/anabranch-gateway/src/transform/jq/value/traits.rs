//! What the interpreter and its library ask of values.

use std::ops::Range;

use jaq_core::path::Opt;
use jaq_core::{ValT, ValX};

use super::super::meter::{self, Cut, cut};
use super::{Error, Key, List, Number, Value, ValueResult, write};

impl ValT for Value {
    fn from_num(digits: &str) -> ValueResult {
        Ok(Value::Number(Number::read_literal(digits)))
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(entries: I) -> ValueResult {
        let entry = |(key, value)| match key {
            Value::Text(name) => Ok((Key(name), value)),
            other => Err(Error::str(format!(
                "object keys must be strings, and {other} is {}",
                other.type_name()
            ))),
        };
        Ok(Value::object(entries.into_iter().map(entry).collect::<Result<Vec<_>, Error>>()?))
    }

    fn key_values(self) -> Box<dyn Iterator<Item = Result<(Self, Self), Error>>> {
        self.each_entry()
    }

    fn values(self) -> Box<dyn Iterator<Item = ValueResult>> {
        self.each()
    }

    fn index(self, key: &Self) -> ValueResult {
        self.at(key)
    }

    fn range(self, bounds: Range<Option<&Self>>) -> ValueResult {
        self.slice(bounds)
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        self.change_each(opt, f)
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(self, key: &Self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        self.change_at(key, opt, f)
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        bounds: Range<Option<&Self>>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        self.change_slice(bounds, opt, f)
    }

    fn as_bool(&self) -> bool {
        self.is_true()
    }

    fn into_string(self) -> Self {
        match self {
            Value::Text(text) => Value::Text(text),
            other => other.into_json(),
        }
    }
}

impl Value {
    /// The value as JSON text.
    pub(in crate::transform::jq) fn into_json(self) -> Value {
        Value::text(write::to_text(&self))
    }
}

impl jaq_std::ValT for Value {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        match self {
            Value::List(list) => Ok(List::into_items(list).into_iter().collect()),
            other => Err(other),
        }
    }

    fn is_int(&self) -> bool {
        self.as_number().is_some_and(Number::is_whole)
    }

    fn as_isize(&self) -> Option<isize> {
        self.as_number()?.int()?.try_into().ok()
    }

    fn as_f64(&self) -> Option<f64> {
        self.as_number().map(Number::float)
    }

    fn is_utf8_str(&self) -> bool {
        matches!(self, Value::Text(_))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        self.as_text().map(str::as_bytes)
    }

    fn as_sub_str(&self, part: &[u8]) -> Self {
        Value::text(String::from_utf8_lossy(part))
    }

    /// Bytes that are no UTF-8 become U+FFFD.
    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        Value::text(String::from_utf8_lossy(bytes.as_ref()))
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Value::Bool(yes)
    }
}

impl From<isize> for Value {
    fn from(int: isize) -> Self {
        Value::Number(Number::Int(int as i64))
    }
}

impl From<usize> for Value {
    fn from(int: usize) -> Self {
        Value::int(int)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Value::Number(Number::of(float))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::text(text)
    }
}

/// The key of a slice in a path. The interpreter makes one with each slice that a path gets longer by, and a path can be sliced without
/// end and without getting deeper; so what it costs bounds how long a path can be.
impl From<Range<Option<Value>>> for Value {
    fn from(bounds: Range<Option<Value>>) -> Self {
        meter::work(1);
        if meter::path_slice() {
            cut(Cut::Nesting);
        }
        let bounds = [("start", bounds.start), ("end", bounds.end)];
        Value::object(bounds.map(|(name, value)| (Key::of(name), value.unwrap_or(Value::NULL))))
    }
}
