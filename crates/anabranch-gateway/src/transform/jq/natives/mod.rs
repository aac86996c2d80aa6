//! Filters that are not written in jq, beside those of the interpreter's library.

mod regex;
mod text;

use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::RunPtr;

use super::engine::Engine;
use super::meter;
use super::value::{Error, List, Number, Value, ValueResult, read_bytes, without};

/// Name, arguments, and what runs; that is a bare function, so arguments are taken out of the context.
type Native = Filter<RunPtr<Engine>>;

/// All of them.
pub(super) fn all() -> Vec<Fun<Engine>> {
    let lists = [values(), numbers(), text::all(), regex::all()];
    lists.into_iter().flat_map(<[Native]>::into_vec).map(run::<Engine>).collect()
}

fn values() -> Box<[Native]> {
    Box::new([
        ("tojson", v(0), |cv| bome(Ok(cv.1.into_json()))),
        ("fromjson", v(0), |cv| {
            bome(cv.1.expect_text().and_then(|text| read_bytes(text.as_bytes())))
        }),
        ("type", v(0), |cv| bome(Ok(Value::text(cv.1.type_name())))),
        ("length", v(0), |cv| bome(length(cv.1))),
        ("_sum", v(0), |cv| bome(sum(cv.1))),
        ("contains", v(1), |cv| {
            unary(cv, |value, part| value.contains(&part).map(Value::Bool))
        }),
        ("has", v(1), |cv| unary(cv, |value, key| value.has(&key).map(Value::Bool))),
        ("indices", v(1), |cv| unary(cv, |value, wanted| value.indices(&wanted))),
        ("delpaths", v(1), |cv| {
            unary(cv, |value, paths| match paths {
                Value::List(paths) => without(value, List::into_items(paths)),
                other => Err(Error::typ(other, "array of paths")),
            })
        }),
        ("bsearch", v(1), |cv| {
            unary(cv, |value, wanted| match &value {
                Value::List(list) => Ok(place_in(list.items(), &wanted)),
                _ => Err(Error::typ(value, "array")),
            })
        }),
    ])
}

fn length(value: Value) -> ValueResult {
    match &value {
        Value::Null(_) => Ok(Value::int(0)),
        Value::Number(number) => Ok(absolute(number)),
        Value::Text(text) => {
            meter::work(text.as_str().len() / 64);
            Ok(Value::int(text.count()))
        }
        Value::List(list) => Ok(Value::int(list.items().len())),
        Value::Object(object) => Ok(Value::int(object.entries().len())),
        Value::Bool(_) => Err(Error::str(format!("boolean ({value}) has no length"))),
    }
}

fn absolute(number: &Number) -> Value {
    Value::Number(if number.float() < 0.0 { number.negate() } else { number.clone() })
}

/// All items added up, without copying what came before each time.
fn sum(value: Value) -> ValueResult {
    let Value::List(list) = value else {
        return Err(Error::typ(value, "array"));
    };
    List::into_items(list).into_iter().try_fold(Value::NULL, |sum, item| sum + item)
}

/// The place of a value in a sorted list, or `-1 -` the place where it would be.
fn place_in(items: &[Value], wanted: &Value) -> Value {
    match items.binary_search(wanted) {
        Ok(at) => Value::int(at),
        Err(at) => Value::Number(Number::Int(-1 - at as i64)),
    }
}

fn numbers() -> Box<[Native]> {
    Box::new([
        ("nan", v(0), |_| bome(Ok(Value::from(f64::NAN)))),
        ("infinite", v(0), |_| bome(Ok(Value::from(f64::INFINITY)))),
        ("isnan", v(0), |cv| bome(float(&cv.1).map(|float| Value::Bool(float.is_nan())))),
        ("isinfinite", v(0), |cv| {
            bome(float(&cv.1).map(|float| Value::Bool(float.is_infinite())))
        }),
        ("isnormal", v(0), |cv| {
            bome(float(&cv.1).map(|float| Value::Bool(float.is_normal())))
        }),
        ("abs", v(0), |cv| {
            bome(cv.1.as_number().map(absolute).ok_or_else(|| Error::typ(cv.1.clone(), "number")))
        }),
        ("tonumber", v(0), |cv| bome(to_number(cv.1))),
    ])
}

fn to_number(value: Value) -> ValueResult {
    match &value {
        Value::Number(_) => Ok(value),
        Value::Text(text) if is_number(text.as_str()) => Ok(Value::Number(Number::read_literal(text.as_str()))),
        _ => Err(Error::str(format!("{} ({value}) cannot be parsed as a number", value.type_name()))),
    }
}

fn float(value: &Value) -> Result<f64, Error> {
    let number = value.as_number().map(Number::float);
    number.ok_or_else(|| Error::str(format!("{} ({value}) number required", value.type_name())))
}

/// Whether text is a number as JSON or a program writes it.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned.trim_start_matches('0');
    let digits = if digits.starts_with(|first: char| first.is_ascii_digit()) || digits.len() == unsigned.len() {
        digits.to_owned()
    } else {
        format!("0{digits}")
    };
    matches!(crate::json::type_of(digits.as_bytes()), crate::json::JsonType::Number)
        && crate::json::validate(digits.as_bytes(), &crate::json::Limits::default()).is_ok()
        && !digits.ends_with(char::is_whitespace)
}
