//! The account of a reply: which parts are not plainly what was asked for, and why.
//!
//! As the header `Anabranch-Parts` it is a dictionary of structured fields (RFC 9651): `cart=timeout;ms=400, recommend=stale;age=412`.
//! As JSON, `{"cart":{"outcome":"timeout","ms":400}}`, it is `_parts` of a reply and `parts` of a problem. A part that is absent is complete.

use std::fmt::Write;
use std::time::Duration;

use anabranch::{Kind, Outcome};
use http::{HeaderName, HeaderValue};

use crate::json::write_string;

/// The header's name.
pub const HEADER: HeaderName = HeaderName::from_static("anabranch-parts");

/// The longest header, in bytes; what does not fit is counted in a last member `*="31 more"`. Proxies refuse longer heads: nginx reads
/// one into 4 KiB (`proxy_buffer_size`) unless told otherwise. `_parts` holds everything.
pub const HEADER_MAX: usize = 3_072;

/// One part and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartAccount<'a> {
    /// The call's name in lower case.
    pub key: &'a str,
    /// The call's name as written.
    pub name: &'a str,
    /// How it ended.
    pub state: PartState,
    /// From its start to its end, in milliseconds; told only of failures.
    pub ms: u64,
    /// The age of the stored answer; told only of stale parts.
    pub age: Duration,
}

/// How a part ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// As asked for, or not asked for by its own condition.
    Ok,
    /// An older answer stands in.
    Stale,
    /// Its `else` stands in, because of this.
    Fallback(Kind),
    /// It was not asked, since what this reference names is missing; its `else` stands in.
    FallbackMissing(String),
    /// It was not asked since this reference has no value.
    Skipped(String),
    /// It failed and is null.
    Failed(Kind),
    /// Of the items of a list that were asked, so many failed.
    Items {
        /// How many failed.
        failed: u64,
        /// How many were asked.
        asked: u64,
    },
}

impl PartState {
    /// The state of a call's outcome. A call that its own condition kept from running is complete.
    pub fn of<T>(outcome: &Outcome<T>) -> Self {
        match outcome {
            Outcome::Ok(_) | Outcome::Skipped(None) => PartState::Ok,
            Outcome::Stale(..) => PartState::Stale,
            Outcome::Fallback(_, error) => PartState::Fallback(error.kind()),
            Outcome::Skipped(Some(reference)) => PartState::Skipped(reference.clone()),
            Outcome::Failed(error) => PartState::Failed(error.kind()),
            // The engine may learn more ways to end; none of them is plainly ok.
            _ => PartState::Failed(Kind::Cancelled),
        }
    }

    /// Whether the part is left out of the account.
    pub fn is_complete(&self) -> bool {
        matches!(self, PartState::Ok | PartState::Items { failed: 0, .. })
    }

    /// The state in the words of the account; `ok` where it is left out, and for lists, which say it in numbers.
    pub fn word(&self) -> &'static str {
        match self {
            PartState::Ok | PartState::Items { .. } => "ok",
            PartState::Stale => "stale",
            PartState::Fallback(_) | PartState::FallbackMissing(_) => "fallback",
            PartState::Skipped(_) => "skipped",
            PartState::Failed(kind) => kind.as_str(),
        }
    }
}

/// The value of `Anabranch-Parts`, in the order given; None when every part is complete.
pub fn header(parts: &[PartAccount<'_>]) -> Option<HeaderValue> {
    let mut text = String::new();
    let mut more = 0u64;
    for part in parts.iter().filter(|part| !part.state.is_complete()) {
        let member = member(part);
        if more > 0 || text.len() + member.len() > HEADER_MAX || !is_key(part.key) {
            more += 1;
            continue;
        }
        push_member(&mut text, &member);
    }
    if more > 0 {
        push_member(&mut text, &format!("*=\"{more} more\""));
    }
    if text.is_empty() { None } else { HeaderValue::from_str(&text).ok() }
}

fn push_member(text: &mut String, member: &str) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    text.push_str(member);
}

fn member(part: &PartAccount<'_>) -> String {
    let mut text = format!("{}=", part.key);
    match &part.state {
        PartState::Items { failed, asked } => _ = write!(text, "\"{failed}/{asked} failed\""),
        state => text.push_str(state.word()),
    }
    if part.name != part.key {
        push_string_parameter(&mut text, "name", part.name);
    }
    match &part.state {
        PartState::Stale => _ = write!(text, ";age={}", integer(part.age.as_secs())),
        PartState::Fallback(kind) => _ = write!(text, ";kind={kind};ms={}", integer(part.ms)),
        PartState::Failed(_) => _ = write!(text, ";ms={}", integer(part.ms)),
        PartState::Skipped(reference) | PartState::FallbackMissing(reference) => push_string_parameter(&mut text, "missing", reference),
        PartState::Ok | PartState::Items { .. } => {}
    }
    text
}

/// Adds `;key="text"`; nothing where the text is not ASCII, which strings of structured fields are (RFC 9651, 3.3.3).
fn push_string_parameter(out: &mut String, key: &str, text: &str) {
    if !text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return;
    }
    _ = write!(out, ";{key}=\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
}

/// Integers of structured fields have 15 digits at the most (RFC 9651, 3.3.1).
fn integer(number: u64) -> u64 {
    number.min(999_999_999_999_999)
}

/// Whether `key` can be a key of a dictionary (RFC 9651, 3.1.2). A plan refuses names whose key is none.
fn is_key(key: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.' | b'*');
    key.starts_with(|first: char| first.is_ascii_lowercase()) && key.bytes().all(rest)
}

/// The account as a JSON object by the names of the calls, incomplete ones only; `{}` when every part is complete.
pub fn json(parts: &[PartAccount<'_>]) -> Vec<u8> {
    let mut out = vec![b'{'];
    for part in parts.iter().filter(|part| !part.state.is_complete()) {
        if out.len() > 1 {
            out.push(b',');
        }
        write_string(&mut out, part.name);
        out.extend_from_slice(b":{\"outcome\":");
        write_details(&mut out, part);
        out.push(b'}');
    }
    out.push(b'}');
    out
}

fn write_details(out: &mut Vec<u8>, part: &PartAccount<'_>) {
    let rest = match &part.state {
        PartState::Items { failed, asked } => {
            write_string(out, &format!("{failed}/{asked} failed"));
            format!(",\"failed\":{failed},\"asked\":{asked}")
        }
        state => {
            write_string(out, state.word());
            match state {
                PartState::Stale => format!(",\"age\":{}", part.age.as_secs()),
                PartState::Fallback(kind) => format!(",\"kind\":\"{kind}\",\"ms\":{}", part.ms),
                PartState::Failed(_) => format!(",\"ms\":{}", part.ms),
                PartState::Skipped(_) | PartState::FallbackMissing(_) | PartState::Ok | PartState::Items { .. } => String::new(),
            }
        }
    };
    out.extend_from_slice(rest.as_bytes());
    if let PartState::Skipped(reference) = &part.state {
        out.extend_from_slice(b",\"missing\":");
        write_string(out, reference);
    }
}

#[cfg(test)]
mod tests;
