//! One value of a type without parts, checked before it is sent.

use std::borrow::Cow;

use tokio_postgres::types::Type;

use super::{json, numeric};

/// What was expected in place of a value.
pub(super) type Expected = String;

/// Fails with what was expected.
pub(super) fn expected<T>(what: impl Into<String>) -> Result<T, Expected> {
    Err(what.into())
}

/// One value of a type with no parts.
pub(super) fn scalar<'a>(text: &'a str, kind: &Type) -> Result<Cow<'a, str>, Expected> {
    let is_fine = match *kind {
        Type::BOOL => matches!(text, "true" | "false" | "t" | "f" | "1" | "0"),
        Type::INT2 => return whole::<i16>(text),
        Type::INT4 => return whole::<i32>(text),
        Type::INT8 => return whole::<i64>(text),
        Type::OID => return whole::<u32>(text),
        Type::FLOAT4 => return float(text, |text| text.parse::<f32>().ok().map(f32::is_finite)),
        Type::FLOAT8 => return float(text, |text| text.parse::<f64>().ok().map(f64::is_finite)),
        Type::NUMERIC => numeric::is_numeric(text),
        Type::BYTEA => return bytes(text),
        _ => return without_nul(text).map(Cow::Borrowed),
    };
    let what = if *kind == Type::BOOL { "`true` or `false`" } else { "a number" };
    if is_fine { Ok(Cow::Borrowed(text)) } else { expected(what) }
}

fn whole<N: std::str::FromStr>(text: &str) -> Result<Cow<'_, str>, Expected> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<N>() {
        Ok(_) => Ok(Cow::Borrowed(text)),
        Err(_) if is_whole => expected("a whole number in its range"),
        Err(_) => expected("a whole number"),
    }
}

/// `is_finite` is None for what is no number; infinite where the text is not infinity is out of range.
fn float(text: &str, is_finite: impl FnOnce(&str) -> Option<bool>) -> Result<Cow<'_, str>, Expected> {
    let says_so = text.bytes().all(|byte| !byte.is_ascii_digit());
    match is_finite(text) {
        Some(is_finite) if is_finite || says_so => Ok(Cow::Borrowed(text)),
        Some(_) => expected("a number in its range"),
        None => expected("a number"),
    }
}

/// Base64 to the hexadecimal form that the server reads.
fn bytes(text: &str) -> Result<Cow<'_, str>, Expected> {
    let Some(bytes) = json::from_base64(text) else {
        return expected("base64");
    };
    let mut hex = String::with_capacity(2 + 2 * bytes.len());
    hex.push_str("\\x");
    for byte in bytes {
        hex.push(char::from(json::hex(byte >> 4)));
        hex.push(char::from(json::hex(byte & 15)));
    }
    Ok(Cow::Owned(hex))
}

/// The server's text has no place for NUL.
pub(super) fn without_nul(text: &str) -> Result<&str, Expected> {
    if text.contains('\0') {
        expected("text without a NUL character")
    } else {
        Ok(text)
    }
}
