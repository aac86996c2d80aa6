//! Text for the wire: path, query and header values.

use std::borrow::Cow;

use http::HeaderValue;

use super::percent::encode;
use super::segment::{check_rest, check_segment, has_control};
use super::{Given, RenderFault, Scope};
use crate::json::{scalar_text, type_of, JsonType, NULL};
use crate::plan::model::{Piece, Reference, Root, Template};

/// Appends the path: text as it stands, each reference as one encoded segment, `*rest` as several. Refuses what
/// [`check_segment`] refuses, lists and objects. What was appended before a fault is of no use.
pub fn path(template: &Template, scope: &dyn Scope, out: &mut Vec<u8>) -> Result<(), RenderFault> {
    for piece in &template.0 {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Ref(reference) => path_value(reference, scope.get(reference), out)?,
        }
    }
    Ok(())
}

fn path_value(reference: &Reference, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), RenderFault> {
    let refused = |why| RenderFault::bad(reference, why);
    if let Given::Rest(rest) = given {
        check_rest(rest).map_err(refused)?;
        for (index, segment) in rest.split('/').enumerate() {
            if index > 0 {
                out.push(b'/');
            }
            encode(out, segment);
        }
        return Ok(());
    }
    let text = one_text(reference, &given, "must be a plain value in a path")?;
    check_segment(&text).map_err(refused)?;
    encode(out, &text);
    Ok(())
}

/// Appends the query without its `?`: `a=1&b=2`. Names and text were encoded with the plan, values are encoded; lists join by `,`,
/// null items left out. A pair whose whole value is one parameter that is missing, or a list without items, is left out.
pub fn query(pairs: &[(String, Template)], scope: &dyn Scope, out: &mut Vec<u8>) -> Result<(), RenderFault> {
    let mut first = true;
    for (name, template) in pairs {
        if is_left_out(template, scope) {
            continue;
        }
        if !first {
            out.push(b'&');
        }
        first = false;
        out.extend_from_slice(name.as_bytes());
        out.push(b'=');
        for piece in &template.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Ref(reference) => query_value(reference, scope.get(reference), out)?,
            }
        }
    }
    Ok(())
}

fn is_left_out(template: &Template, scope: &dyn Scope) -> bool {
    let [Piece::Ref(reference)] = template.0.as_slice() else {
        return false;
    };
    if !matches!(reference.root, Root::Param(_)) {
        return false;
    }
    let given = scope.get(reference);
    given.is_missing() || given.is_empty_list()
}

fn query_value(reference: &Reference, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), RenderFault> {
    let texts = texts_of(&given).ok_or_else(|| RenderFault::missing(reference))?;
    for (index, text) in texts.as_slice().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if text.contains('\0') {
            return Err(RenderFault::bad(reference, "must not hold NUL"));
        }
        encode(out, text);
    }
    Ok(())
}

/// The value of a header. Lists join by `, `; control characters and objects are refused.
pub fn header(template: &Template, scope: &dyn Scope) -> Result<HeaderValue, RenderFault> {
    let mut out = Vec::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Ref(reference) => header_value(reference, scope.get(reference), &mut out)?,
        }
    }
    let why = "must be text without control characters";
    HeaderValue::from_bytes(&out).map_err(|_| RenderFault::BadValue {
        reference: String::new(),
        from_client: false,
        why,
    })
}

fn header_value(reference: &Reference, given: Given<'_>, out: &mut Vec<u8>) -> Result<(), RenderFault> {
    if given.is_missing() {
        return Err(RenderFault::missing(reference));
    }
    let texts = texts_of(&given).ok_or_else(|| RenderFault::bad(reference, "must not be an object in a header"))?;
    let text = texts.joined(", ");
    if has_control(&text) {
        return Err(RenderFault::bad(reference, "must not hold control characters"));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The text of a value that must be one.
fn one_text<'a>(reference: &Reference, given: &Given<'a>, why: &'static str) -> Result<Cow<'a, str>, RenderFault> {
    match given {
        Given::Missing => Err(RenderFault::missing(reference)),
        Given::Text(text) | Given::Rest(text) => Ok(Cow::Borrowed(text)),
        Given::Json(value) => scalar_text(value).ok_or_else(|| RenderFault::bad(reference, why)),
        Given::Texts(_) | Given::Values(_) => Err(RenderFault::bad(reference, why)),
    }
}

/// The texts of a value. Nearly always there is one, which needs no list.
pub(super) enum Texts<'a> {
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
}

impl<'a> Texts<'a> {
    fn as_slice(&self) -> &[Cow<'a, str>] {
        match self {
            Texts::One(text) => std::slice::from_ref(text),
            Texts::Many(texts) => texts,
        }
    }

    /// The texts with `separator` between them.
    pub(super) fn joined(&self, separator: &str) -> Cow<'_, str> {
        match self {
            Texts::One(text) => Cow::Borrowed(text),
            Texts::Many(texts) => Cow::Owned(texts.join(separator)),
        }
    }
}

/// The text of a value or the texts of the items of a list, nulls left out. None where something has no text: an object, a list inside
/// a list, or nothing at all.
pub(super) fn texts_of<'a>(given: &Given<'a>) -> Option<Texts<'a>> {
    match given {
        Given::Missing => None,
        Given::Text(text) | Given::Rest(text) => Some(Texts::One(Cow::Borrowed(text))),
        Given::Texts(texts) => Some(Texts::Many(texts.iter().map(|text| Cow::Borrowed(*text)).collect())),
        Given::Json(value) if type_of(value) == JsonType::List => scalars(crate::json::items(value)).map(Texts::Many),
        Given::Json(value) => scalar_text(value).map(Texts::One),
        Given::Values(values) => scalars(values.iter().copied()).map(Texts::Many),
    }
}

fn scalars<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Vec<Cow<'a, str>>> {
    values.filter(|value| *value != NULL).map(scalar_text).collect()
}
