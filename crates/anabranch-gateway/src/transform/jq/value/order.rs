//! The order of values: null < false < true < numbers < texts < lists < objects, as in jq.

use std::cmp::Ordering;
use std::rc::Rc;

use super::super::meter;
use super::{List, Object, Text, Value};

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        meter::work(1);
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => a.compare(b),
            (Value::Text(a), Value::Text(b)) => {
                read_both(a, b);
                a.as_str().cmp(b.as_str())
            }
            (Value::List(a), Value::List(b)) => a.items().cmp(b.items()),
            (Value::Object(a), Value::Object(b)) => compare_objects(a, b),
            (a, b) => rank(a).cmp(&rank(b)),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As `==` has it: nan is not the same as itself.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        meter::work(1);
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => a.equals(b),
            (Value::Text(a), Value::Text(b)) => {
                read_both(a, b);
                a.as_str() == b.as_str()
            }
            (Value::List(a), Value::List(b)) => equal_lists(a, b),
            (Value::Object(a), Value::Object(b)) => equal_objects(a, b),
            (a, b) => rank(a) == rank(b),
        }
    }
}

impl Eq for Value {}

/// Counts what it takes to compare long texts.
fn read_both(a: &Text, b: &Text) {
    meter::work(a.as_str().len().min(b.as_str().len()) / 64);
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null(_) => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(_) => 3,
        Value::Text(_) => 4,
        Value::List(_) => 5,
        Value::Object(_) => 6,
    }
}

fn equal_lists(a: &Rc<List>, b: &Rc<List>) -> bool {
    a.items().len() == b.items().len() && a.items().iter().zip(b.items()).all(|(a, b)| a == b)
}

fn equal_objects(a: &Rc<Object>, b: &Rc<Object>) -> bool {
    let (a, b) = (a.entries(), b.entries());
    a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| value == other))
}

/// First the sorted keys, then value by value in the order of the keys.
fn compare_objects(a: &Object, b: &Object) -> Ordering {
    meter::work(a.entries().len() + b.entries().len());
    let sorted = |object: &Object| {
        let mut keys: Vec<String> = object.entries().keys().map(|key| key.as_str().to_owned()).collect();
        keys.sort_unstable();
        keys
    };
    let (keys, others) = (sorted(a), sorted(b));
    keys.cmp(&others).then_with(|| {
        let mut orders = keys.iter().map(|key| a.get(key).cmp(&b.get(key)));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    })
}
