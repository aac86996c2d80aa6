//! Reading inside of values: `.[key]`, `.[from:to]`, `.[]`.

use std::rc::Rc;

use super::super::meter;
use super::{Error, Key, List, Number, Object, Value, ValueResult};

/// What a value gives one by one.
type Each<T> = Box<dyn Iterator<Item = Result<T, Error>>>;

/// The bounds of a slice; None is the end on that side.
pub(super) type Bounds<'a> = std::ops::Range<Option<&'a Value>>;

impl Value {
    /// `.[key]`; what is not there is null.
    pub(in crate::transform::jq) fn at(self, key: &Value) -> ValueResult {
        match (&self, key) {
            (Value::Object(object), Value::Text(name)) => {
                meter::work(1 + name.as_str().len() / 64);
                Ok(object.get(name.as_str()).cloned().unwrap_or(Value::NULL))
            }
            (Value::List(list), Value::Number(index)) => {
                let place = place(index, list.items().len());
                Ok(place.and_then(|at| list.items().get(at)).cloned().unwrap_or(Value::NULL))
            }
            (Value::List(list), Value::List(wanted)) => Ok(places_of(list, wanted)),
            (Value::Null(steps), Value::Text(_) | Value::Number(_) | Value::Null(_)) => Ok(Value::nothing(*steps)),
            (Value::List(_) | Value::Text(_) | Value::Null(_), Value::Object(slice)) => {
                let (from, to) = (slice.get("start").cloned(), slice.get("end").cloned());
                self.slice(from.as_ref()..to.as_ref())
            }
            _ => Err(Error::index(self, key.clone())),
        }
    }

    /// Whether `.[key]` is there; an error where such a key can never be.
    pub(in crate::transform::jq) fn has(&self, key: &Value) -> Result<bool, Error> {
        match (self, key) {
            (Value::Object(object), Value::Text(name)) => Ok(object.get(name.as_str()).is_some()),
            (Value::List(list), Value::Number(index)) => {
                let index = index.float();
                Ok(index >= 0.0 && index < list.items().len() as f64)
            }
            _ => Err(Error::index(self.clone(), key.clone())),
        }
    }

    /// `.[from:to]`
    pub(super) fn slice(self, bounds: Bounds<'_>) -> ValueResult {
        match self {
            Value::Null(steps) => Ok(Value::nothing(steps)),
            Value::List(list) => {
                let (from, to) = slice_of(bounds, list.items().len())?;
                Ok(list.items()[from..to].iter().cloned().collect())
            }
            Value::Text(text) => {
                meter::work(text.as_str().len() / 64);
                let (from, to) = slice_of(bounds, text.count())?;
                Ok(text.slice(from, to))
            }
            other => Err(Error::typ(other, "array or string")),
        }
    }

    /// `.[]`
    pub(super) fn each(self) -> Each<Value> {
        match self {
            Value::List(list) => Box::new(List::into_items(list).into_iter().map(Ok)),
            Value::Object(object) => Box::new(Object::into_entries(object).into_iter().map(|(_, value)| Ok(value))),
            other => Box::new(std::iter::once(Err(not_iterable(other)))),
        }
    }

    /// The keys with what is there.
    pub(super) fn each_entry(self) -> Each<(Value, Value)> {
        match self {
            Value::List(list) => Box::new(
                List::into_items(list)
                    .into_iter()
                    .enumerate()
                    .map(|(at, item)| Ok((Value::int(at), item))),
            ),
            Value::Object(object) => Box::new(Object::into_entries(object).into_iter().map(|(key, value)| Ok((key.into(), value)))),
            other => Box::new(std::iter::once(Err(not_iterable(other)))),
        }
    }
}

/// The error of `.[]` on a value that has no inside.
pub(super) fn not_iterable(value: Value) -> Error {
    Error::typ(value, "iterable (array or object)")
}

/// Where an index of a list stands: from the end where it is negative, None before the begin. Fractions are cut off downwards.
pub(super) fn place(index: &Number, length: usize) -> Option<usize> {
    let index = index.float().floor();
    let index = if index < 0.0 { index + length as f64 } else { index };
    // Past the end stays past the end; nan is nowhere.
    (index >= 0.0).then_some(index as usize)
}

/// The bounds of a slice of something so long; the first is never behind the second.
pub(super) fn slice_of(bounds: Bounds<'_>, length: usize) -> Result<(usize, usize), Error> {
    let bound = |value: Option<&Value>, otherwise: usize, round: fn(f64) -> f64| match value {
        None | Some(Value::Null(_)) => Ok(otherwise),
        Some(Value::Number(number)) => {
            let at = number.float();
            let at = if at < 0.0 { at + length as f64 } else { at };
            Ok((round(at).max(0.0) as usize).min(length))
        }
        Some(other) => Err(Error::typ(other.clone(), "number or null of a slice")),
    };
    let from = bound(bounds.start, 0, f64::floor)?;
    let to = bound(bounds.end, length, f64::ceil)?;
    Ok((from, to.max(from)))
}

/// Where in a list another one begins.
fn places_of(list: &Rc<List>, wanted: &Rc<List>) -> Value {
    let wanted = wanted.items();
    if wanted.is_empty() {
        return Value::NULL;
    }
    let windows = list.items().windows(wanted.len()).enumerate();
    windows
        .filter(|(_, window)| *window == wanted)
        .map(|(at, _)| Value::int(at))
        .collect()
}

impl Value {
    /// Where in a text or list another one, or an item, stands.
    pub(in crate::transform::jq) fn indices(&self, wanted: &Value) -> ValueResult {
        match (self, wanted) {
            (Value::Null(_), _) => Ok(Value::NULL),
            (Value::Text(text), Value::Text(wanted)) => Ok(places_in_text(text.as_str(), wanted.as_str())),
            (Value::List(list), Value::List(wanted)) => Ok(places_of(list, wanted)),
            (Value::List(list), item) => {
                let items = list.items().iter().enumerate();
                Ok(items.filter(|(_, other)| *other == item).map(|(at, _)| Value::int(at)).collect())
            }
            _ => Err(Error::index(self.clone(), wanted.clone())),
        }
    }

    /// Whether it contains the other: texts by a part of them, lists and objects by their inside, all else by being equal.
    pub(in crate::transform::jq) fn contains(&self, other: &Value) -> Result<bool, Error> {
        match (self, other) {
            (Value::Text(text), Value::Text(part)) => {
                meter::work(text.as_str().len() / 64);
                Ok(text.as_str().contains(part.as_str()))
            }
            (Value::Object(object), Value::Object(part)) => {
                for (key, wanted) in part.entries() {
                    let found = object.get(key.as_str());
                    if !found.map_or(Ok(false), |found| found.holds(wanted))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::List(list), Value::List(part)) => {
                for wanted in part.items() {
                    let mut found = false;
                    for item in list.items() {
                        found = found || item.holds(wanted)?;
                    }
                    if !found {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (a, b) if a.type_name() == b.type_name() => Ok(a == b),
            (a, b) => {
                let message = format!(
                    "{} ({a}) and {} ({b}) cannot have their containment checked",
                    a.type_name(),
                    b.type_name()
                );
                Err(Error::str(message))
            }
        }
    }

    /// As [`contains`](Value::contains), for a value inside of another one: types that differ are no error there.
    fn holds(&self, other: &Value) -> Result<bool, Error> {
        meter::work(1);
        if self.type_name() == other.type_name() {
            self.contains(other)
        } else {
            Ok(false)
        }
    }
}

/// Where a text stands in another, overlaps as well, counted in characters.
fn places_in_text(text: &str, wanted: &str) -> Value {
    if wanted.is_empty() {
        return Value::NULL;
    }
    let letters = text.char_indices().enumerate();
    let places = letters.filter(|(_, (byte, _))| {
        meter::work(1 + wanted.len() / 64);
        text[*byte..].starts_with(wanted)
    });
    places.map(|(at, _)| Value::int(at)).collect()
}

impl Value {
    /// An object's key of this name, for natives.
    pub(in crate::transform::jq) fn entry(name: &str, value: Value) -> (Key, Value) {
        (Key::of(name), value)
    }
}
