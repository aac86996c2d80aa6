//! `+`, `-`, `*`, `/`, `%` and the sign, as jq has them for each pair of types.

use std::collections::BTreeSet;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::rc::Rc;

use jaq_core::ops::Math;

use super::super::meter;
use super::{Error, List, Number, Object, Text, Value, ValueResult};

impl Add for Value {
    type Output = ValueResult;

    fn add(self, other: Value) -> ValueResult {
        meter::work(1);
        match (self, other) {
            (Value::Null(_), value) | (value, Value::Null(_)) => Ok(value),
            (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a.add(&b))),
            (Value::Text(a), Value::Text(b)) => Ok(Value::Text(Text::join(a, &b))),
            (Value::List(a), Value::List(b)) => Ok(Value::List(List::join(a, b))),
            (Value::Object(a), Value::Object(b)) => Ok(Value::Object(Object::join(a, b))),
            (a, b) => Err(Error::math(a, Math::Add, b)),
        }
    }
}

impl Sub for Value {
    type Output = ValueResult;

    fn sub(self, other: Value) -> ValueResult {
        meter::work(1);
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a.subtract(&b))),
            (Value::List(a), Value::List(b)) => {
                let taken: BTreeSet<&Value> = b.items().iter().collect();
                Ok(List::into_items(a).into_iter().filter(|item| !taken.contains(item)).collect())
            }
            (a, b) => Err(Error::math(a, Math::Sub, b)),
        }
    }
}

impl Mul for Value {
    type Output = ValueResult;

    fn mul(self, other: Value) -> ValueResult {
        meter::work(1);
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => Ok(Value::Number(a.multiply(&b))),
            (Value::Text(text), Value::Number(times)) | (Value::Number(times), Value::Text(text)) => Ok(repeated(&text, &times)),
            (Value::Object(a), Value::Object(b)) => Ok(Value::Object(Object::merge(a, b))),
            (a, b) => Err(Error::math(a, Math::Mul, b)),
        }
    }
}

/// A text so many times, begun ones counted whole; not once is null.
fn repeated(text: &Rc<Text>, times: &Number) -> Value {
    let times = times.float();
    if times > 0.0 {
        text.repeat(times.ceil() as usize)
    } else {
        Value::NULL
    }
}

impl Div for Value {
    type Output = ValueResult;

    fn div(self, other: Value) -> ValueResult {
        meter::work(1);
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => match a.divide(&b) {
                Some(number) => Ok(Value::Number(number)),
                None => Err(by_zero(&a, &b)),
            },
            (Value::Text(text), Value::Text(separator)) => Ok(text.split(separator.as_str())),
            (a, b) => Err(Error::math(a, Math::Div, b)),
        }
    }
}

impl Rem for Value {
    type Output = ValueResult;

    fn rem(self, other: Value) -> ValueResult {
        meter::work(1);
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => match a.remainder(&b) {
                Some(number) => Ok(Value::Number(number)),
                None => Err(by_zero(&a, &b)),
            },
            (a, b) => Err(Error::math(a, Math::Rem, b)),
        }
    }
}

fn by_zero(a: &Number, b: &Number) -> Error {
    let (a, b) = (a.text(), b.text());
    Error::str(format!(
        "number ({a}) and number ({b}) cannot be divided because the divisor is zero"
    ))
}

impl Neg for Value {
    type Output = ValueResult;

    fn neg(self) -> ValueResult {
        match self {
            Value::Number(number) => Ok(Value::Number(number.negate())),
            other => Err(Error::typ(other, "number")),
        }
    }
}
