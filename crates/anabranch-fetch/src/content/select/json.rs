//! JSON paths (RFC 9535 without filters; jq is for those), run over the text itself.
//!
//! No tree is made: a value is found by stepping over what stands before it, so that numbers keep all of their digits and a large body
//! costs no memory but its own.

mod read;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::content::html::Patience;

/// Names and indices of a path.
const SEGMENTS_MAX: usize = 64;
/// What one path may read, as a multiple of the body: each step into a value reads it again, so that `..` over deep nesting would read
/// the square of the body.
const READS_MAX: usize = 64;
/// Each value costs something besides its bytes.
const VALUE_COST: usize = 16;
/// Items of one array or object, 16 to 40 bytes each while they are looked at.
const ITEMS_MAX: usize = 2_000_000;
/// The clock is read after so many bytes.
const BYTES_BETWEEN_LOOKS: usize = 256 << 10;

/// A path that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    segments: Vec<Segment>,
}

#[derive(Debug, PartialEq, Eq)]
struct Segment {
    /// `..`: in all that is below, too.
    descends: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug, PartialEq, Eq)]
enum Selector {
    Name(String),
    Index(i64),
    Slice { start: Option<i64>, end: Option<i64>, step: i64 },
    All,
}

/// A body as JSON.
pub(super) fn parse(text: &str) -> Result<&RawValue, String> {
    serde_json::from_str(text).map_err(|error| format!("the body is no JSON: {error}"))
}

/// The same JSON without white space, on one line.
pub(super) fn compact(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut in_string = false;
    let mut is_escaped = false;
    for byte in text.bytes() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    // Only whole ASCII characters were left out, so this never replaces anything.
    String::from_utf8_lossy(&out).into_owned()
}

impl Path {
    /// Whether it names at most one place.
    pub(super) fn is_singular(&self) -> bool {
        self.segments
            .iter()
            .all(|segment| !segment.descends && matches!(segment.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)]))
    }

    /// Gives each value that it names, in order, until `take` wants no more.
    pub(super) fn each<'a>(
        &self,
        root: &'a RawValue,
        patience: Patience,
        take: &mut dyn FnMut(&'a RawValue) -> bool,
    ) -> Result<(), String> {
        let mut budget = root.get().len().saturating_add(1024).saturating_mul(READS_MAX);
        let mut next_look = budget;
        // Depth first, the next one on top: values come in the order in which they stand.
        let mut waiting: Vec<(&RawValue, usize)> = vec![(root, 0)];
        while let Some((value, n)) = waiting.pop() {
            let Some(segment) = self.segments.get(n) else {
                if !take(value) {
                    return Ok(());
                }
                continue;
            };
            if budget <= next_look {
                patience.check()?;
                next_look = budget.saturating_sub(BYTES_BETWEEN_LOOKS);
            }
            let Some(children) = Children::of(value, &mut budget)? else {
                continue;
            };
            let mut next: Vec<(&RawValue, usize)> = Vec::new();
            for selector in &segment.selectors {
                children.select(selector, &mut |child| next.push((child, n + 1)));
            }
            if segment.descends {
                children.select(&Selector::All, &mut |child| next.push((child, n)));
            }
            budget = budget.checked_sub(next.len() * VALUE_COST).ok_or_else(too_much)?;
            waiting.extend(next.into_iter().rev());
        }
        Ok(())
    }
}

fn too_much() -> String {
    "the JSON path reads too much of the body; it is nested too deeply for `..` or `*`".into()
}

/// What is in an array or an object.
enum Children<'a> {
    Array(Vec<&'a RawValue>),
    Object(Vec<(Cow<'a, str>, &'a RawValue)>),
}

impl<'a> Children<'a> {
    /// None for what has no children.
    fn of(value: &'a RawValue, budget: &mut usize) -> Result<Option<Self>, String> {
        let text = value.get();
        let first = text.trim_start().bytes().next();
        if !matches!(first, Some(b'[' | b'{')) {
            return Ok(None);
        }
        *budget = budget.checked_sub(text.len()).ok_or_else(too_much)?;
        let children = match first {
            Some(b'[') => serde_json::from_str(text).map(|Items(items)| Children::Array(items)),
            _ => serde_json::from_str(text).map(|Pairs(pairs)| Children::Object(pairs)),
        };
        children
            .map(Some)
            .map_err(|error| format!("the JSON cannot be looked through: {error}"))
    }

    fn select(&self, selector: &Selector, take: &mut dyn FnMut(&'a RawValue)) {
        match (self, selector) {
            (Children::Array(items), Selector::All) => items.iter().copied().for_each(take),
            (Children::Object(pairs), Selector::All) => pairs.iter().for_each(|(_, value)| take(value)),
            // Of a name that stands twice, the last one counts, as for most readers of JSON.
            (Children::Object(pairs), Selector::Name(name)) => {
                if let Some((_, value)) = pairs.iter().rev().find(|(key, _)| key == name) {
                    take(value);
                }
            }
            (Children::Array(items), Selector::Index(index)) => {
                if let Some(item) = position(*index, items.len()).and_then(|at| items.get(at)) {
                    take(item);
                }
            }
            (Children::Array(items), Selector::Slice { start, end, step }) => {
                slice(*start, *end, *step, items.len()).for_each(|at| take(items[at]));
            }
            _ => {}
        }
    }
}

fn position(index: i64, length: usize) -> Option<usize> {
    let at = if index < 0 {
        index.checked_add_unsigned(length as u64)?
    } else {
        index
    };
    usize::try_from(at).ok()
}

/// The places of a slice (RFC 9535, section 2.3.4.2.2).
fn slice(start: Option<i64>, end: Option<i64>, step: i64, length: usize) -> Box<dyn Iterator<Item = usize>> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_end = |at: i64| if at < 0 { at.saturating_add(length) } else { at };
    let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX).max(1);
    if step > 0 {
        let first = from_end(start.unwrap_or(0)).clamp(0, length);
        let last = from_end(end.unwrap_or(length)).clamp(0, length);
        Box::new((first as usize..last as usize).step_by(stride))
    } else {
        // Backwards, and `end` is left out. One to the right of each place, so that nothing is below zero.
        let first = from_end(start.unwrap_or(length - 1)).clamp(-1, length - 1) + 1;
        let last = end.map_or(-1, |end| from_end(end).clamp(-1, length - 1)) + 1;
        let is_some = step < 0;
        let places = (last as usize + 1..first as usize + 1).rev().step_by(stride);
        Box::new(places.filter(move |_| is_some).map(|at| at - 1))
    }
}

/// An array as the texts of its items.
struct Items<'a>(Vec<&'a RawValue>);

/// An object as its pairs in order, repeated names included.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PairsVisitor)
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(item) = items.next_element()? {
            room(kept.len())?;
            kept.push(item);
        }
        Ok(Items(kept))
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        while let Some((Key(key), value)) = map.next_entry()? {
            room(kept.len())?;
            kept.push((key, value));
        }
        Ok(Pairs(kept))
    }
}

fn room<E: Error>(count: usize) -> Result<(), E> {
    if count < ITEMS_MAX {
        return Ok(());
    }
    Err(E::custom(format_args!("an array or object has more than {ITEMS_MAX} items")))
}
