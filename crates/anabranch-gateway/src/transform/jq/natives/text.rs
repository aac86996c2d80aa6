//! Filters on texts.

use jaq_core::native::{bome, unary, v};

use super::Native;
use crate::transform::jq::meter::{self, Charge};
use crate::transform::jq::value::{Error, List, Value, ValueResult};

pub(super) fn all() -> Box<[Native]> {
    Box::new([
        ("escape_html", v(0), |cv| {
            bome(cv.1.expect_text().map(|text| Value::text(html(text))))
        }),
        ("_to_base32", v(0), |cv| {
            bome(cv.1.expect_text().map(|text| Value::text(to_base32(text.as_bytes()))))
        }),
        ("_from_base32", v(0), |cv| bome(from_base32(&cv.1))),
        ("ltrimstr", v(1), |cv| {
            unary(cv, |value, part| Ok(without(value, &part, |text, part| text.strip_prefix(part))))
        }),
        ("rtrimstr", v(1), |cv| {
            unary(cv, |value, part| Ok(without(value, &part, |text, part| text.strip_suffix(part))))
        }),
        ("join", v(1), |cv| {
            unary(cv, |value, separator| match value {
                Value::List(list) => join(&List::into_items(list), &separator),
                other => Err(Error::typ(other, "array")),
            })
        }),
        ("_replace", v(2), |mut cv| {
            let (with, what) = (cv.0.pop_var(), cv.0.pop_var());
            bome(replace(&cv.1, &what, &with))
        }),
    ])
}

/// What is no text, or has no such end, stays as it is.
fn without(value: Value, part: &Value, cut: for<'a> fn(&'a str, &str) -> Option<&'a str>) -> Value {
    match (value.as_text(), part.as_text()) {
        (Some(text), Some(part)) => cut(text, part).map(Value::text).unwrap_or(value),
        _ => value,
    }
}

/// The texts with a separator between them; numbers and booleans become text, null nothing.
fn join(items: &[Value], separator: &Value) -> ValueResult {
    if items.is_empty() {
        return Ok(Value::text(""));
    }
    let separator = separator.expect_text()?;
    let mut joined = String::new();
    let mut charge = Charge::default();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            joined.push_str(separator);
        }
        match item {
            Value::Text(text) => joined.push_str(text.as_str()),
            Value::Null(_) => {}
            Value::Number(number) => joined.push_str(&number.text()),
            Value::Bool(yes) => joined.push_str(if *yes { "true" } else { "false" }),
            other => return Err(Error::typ(other.clone(), "string, number, boolean or null to join")),
        }
        meter::work(1);
        charge.set(joined.capacity());
    }
    drop(charge);
    Ok(Value::text(joined))
}

fn replace(value: &Value, what: &Value, with: &Value) -> ValueResult {
    let (text, what, with) = (value.expect_text()?, what.expect_text()?, with.expect_text()?);
    let times = if what.is_empty() { text.len() + 1 } else { text.len() / what.len() };
    Charge::reserve(text.len() + times.saturating_mul(with.len()));
    Ok(Value::text(text.replace(what, with)))
}

fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// RFC 4648, section 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn to_base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let bits = (0..5).fold(0u64, |bits, at| bits << 8 | u64::from(chunk.get(at).copied().unwrap_or(0)));
        let letters = (chunk.len() * 8).div_ceil(5);
        for at in 0..8 {
            let letter = BASE32[(bits >> (35 - 5 * at)) as usize & 31];
            text.push(if at < letters { char::from(letter) } else { '=' });
        }
    }
    text
}

fn from_base32(value: &Value) -> ValueResult {
    let text = value.expect_text()?;
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let Some(digit) = BASE32.iter().position(|other| *other == letter) else {
            return Err(Error::str(format!("string ({value}) is not valid base32 data")));
        };
        bits = bits << 5 | digit as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Ok(Value::text(String::from_utf8_lossy(&bytes)))
}
