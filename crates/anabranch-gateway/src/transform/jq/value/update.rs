//! Changing what is inside of values: `.[key] |= f`, `.[] |= f`, `.[from:to] |= f`, and taking paths out.
//!
//! Of several outputs of `f` the first counts; none takes the place away, as in jq.

use std::rc::Rc;

use jaq_core::path::Opt;
use jaq_core::{Exn, ValX};

use super::super::meter::{self, Charge};
use super::access::{Bounds, not_iterable, place, slice_of};
use super::{Error, Key, List, Object, Text, Value, ValueResult};

/// The longest list that a program can make by writing behind its end.
const INDEX_MAX: usize = 1_000_000;

impl Value {
    /// `.[] |= f`
    pub(super) fn change_each<'a, I: Iterator<Item = ValX<'a, Value>>>(self, opt: Opt, f: impl Fn(Value) -> I) -> ValX<'a, Value> {
        match self {
            Value::List(list) => {
                let items = List::into_items(list).into_iter().filter_map(|item| f(item).next());
                items.collect()
            }
            Value::Object(object) => {
                let mut entries = Vec::new();
                for (key, value) in Object::into_entries(object) {
                    if let Some(value) = f(value).next() {
                        entries.push((key, value?));
                    }
                }
                Ok(Value::object(entries))
            }
            other => opt.fail(other, |other| Exn::from(not_iterable(other))),
        }
    }

    /// `.[key] |= f`
    pub(super) fn change_at<'a, I: Iterator<Item = ValX<'a, Value>>>(
        self,
        key: &Value,
        opt: Opt,
        f: impl Fn(Value) -> I,
    ) -> ValX<'a, Value> {
        match (self, key) {
            (Value::Object(object), Value::Text(name)) => change_entry(object, name, f),
            (Value::Null(steps), Value::Text(name)) => match f(Value::nothing(steps)).next() {
                Some(value) => Ok(Value::object([(Key(name.clone()), value?)])),
                None => Ok(Value::Null(steps)),
            },
            (Value::List(list), Value::Number(index)) => match place(index, list.items().len()) {
                Some(at) => change_item(list, at, f),
                None => opt.fail(Value::List(list), |_| Exn::from(Error::str("out of bounds negative array index"))),
            },
            (Value::Null(steps), Value::Number(index)) => match place(index, 0) {
                Some(at) => change_item(Rc::new(List::new(Vec::new())), at, f),
                None => opt.fail(Value::Null(steps), |_| Exn::from(Error::str("out of bounds negative array index"))),
            },
            (value @ (Value::List(_) | Value::Null(_)), Value::Object(slice)) => {
                let (from, to) = (slice.get("start").cloned(), slice.get("end").cloned());
                value.change_slice(from.as_ref()..to.as_ref(), opt, f)
            }
            (value, key) => opt.fail(value, |value| Exn::from(Error::index(value, key.clone()))),
        }
    }

    /// `.[from:to] |= f`
    pub(super) fn change_slice<'a, I: Iterator<Item = ValX<'a, Value>>>(
        self,
        bounds: Bounds<'_>,
        opt: Opt,
        f: impl Fn(Value) -> I,
    ) -> ValX<'a, Value> {
        let list = match self {
            Value::List(list) => list,
            Value::Null(_) => Rc::new(List::new(Vec::new())),
            other => return opt.fail(other, |other| Exn::from(Error::typ(other, "array"))),
        };
        let (from, to) = match slice_of(bounds, list.items().len()) {
            Ok(bounds) => bounds,
            Err(error) => return opt.fail(Value::List(list), |_| Exn::from(error)),
        };
        let slice: Value = list.items()[from..to].iter().cloned().collect();
        let new = match f(slice).next().transpose()? {
            Some(Value::List(new)) => List::into_items(new),
            None => Vec::new(),
            Some(other) => return Err(Exn::from(Error::typ(other, "array, which is all that can stand for a slice"))),
        };
        let mut items = List::into_items(list);
        meter::work(items.len());
        items.splice(from..to, new);
        Ok(Value::list(items))
    }
}

fn change_entry<'a, I: Iterator<Item = ValX<'a, Value>>>(object: Rc<Object>, name: &Rc<Text>, f: impl Fn(Value) -> I) -> ValX<'a, Value> {
    // The old value leaves the object meanwhile, so that it is changed in place where nobody else holds it.
    let mut old = Value::NULL;
    let object = Object::change(object, |entries| {
        if let Some(value) = entries.get_mut(name.as_str()) {
            old = std::mem::replace(value, Value::NULL);
        }
        0
    });
    let new = f(old).next().transpose()?;
    let object = Object::change(object, |entries| match new {
        Some(value) => {
            let depth = value.depth();
            entries.insert(Key(name.clone()), value);
            depth
        }
        None => {
            meter::work(entries.len() / 8);
            entries.shift_remove(name.as_str());
            0
        }
    });
    Ok(Value::Object(object))
}

fn change_item<'a, I: Iterator<Item = ValX<'a, Value>>>(list: Rc<List>, at: usize, f: impl Fn(Value) -> I) -> ValX<'a, Value> {
    if at >= list.items().len() && at >= INDEX_MAX {
        return Err(Exn::from(Error::str("array index too large")));
    }
    let (list, old) = List::change(list, |items| {
        let item = items.get_mut(at);
        item.map_or(Value::NULL, |item| std::mem::replace(item, Value::NULL))
    });
    let new = f(old).next().transpose()?;
    let depth = new.as_ref().map_or(0, Value::depth);
    let (mut list, ()) = List::change(list, |items| match new {
        Some(value) => {
            if at >= items.len() {
                Charge::reserve((at + 1) * size_of::<Value>());
                meter::work(at - items.len());
                items.resize(at + 1, Value::NULL);
            }
            items[at] = value;
        }
        None if at < items.len() => {
            meter::work(items.len() / 8);
            items.remove(at);
        }
        None => {}
    });
    List::holds(&mut list, depth);
    Ok(Value::List(list))
}

/// Takes the places of all these paths away, the last ones first so that the others keep their places.
pub(in crate::transform::jq) fn without(value: Value, paths: Vec<Value>) -> ValueResult {
    let mut paths = paths;
    paths.sort();
    paths.iter().rev().try_fold(value, |value, path| match path {
        Value::List(path) => remove(value, path.items()),
        other => Err(Error::typ(other.clone(), "array, as a path is one")),
    })
}

fn remove(value: Value, path: &[Value]) -> ValueResult {
    meter::work(1);
    let Some((key, rest)) = path.split_first() else {
        return Ok(Value::NULL);
    };
    if let Value::Null(_) = value {
        return Ok(value);
    }
    if rest.is_empty() {
        return remove_key(value, key);
    }
    let inner = value.clone().at(key)?;
    if let Value::Null(_) = inner {
        return Ok(value);
    }
    let inner = remove(inner, rest)?;
    let put = value.change_at(key, Opt::Essential, |_| std::iter::once(Ok(inner.clone())));
    put.map_err(|error| error.get_err().unwrap_or_else(|_| Error::str("cannot be deleted")))
}

fn remove_key(value: Value, key: &Value) -> ValueResult {
    match (value, key) {
        (Value::Object(object), Value::Text(name)) => Ok(Value::Object(Object::change(object, |entries| {
            meter::work(entries.len() / 8);
            entries.shift_remove(name.as_str());
            0
        }))),
        (Value::List(list), Value::Number(index)) => {
            let Some(at) = place(index, list.items().len()).filter(|at| *at < list.items().len()) else {
                return Ok(Value::List(list));
            };
            meter::work(list.items().len() / 8);
            Ok(Value::List(List::change(list, |items| items.remove(at)).0))
        }
        (Value::List(list), Value::Object(slice)) => {
            let (from, to) = slice_of(slice.get("start")..slice.get("end"), list.items().len())?;
            let mut items = List::into_items(list);
            items.drain(from..to);
            Ok(Value::list(items))
        }
        (value, key) => Err(Error::index(value, key.clone())),
    }
}
