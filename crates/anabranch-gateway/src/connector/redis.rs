//! Redis calls: each word of a command is one argument, whatever its values are, or one for each value of a list.

use std::borrow::Cow;

use anabranch::policy::RetrySettings;
use anabranch::redis::{Redis, RedisCall, RedisSettings};
use anabranch::{CallError, CallReport, Client, Deadline};
use bytes::Bytes;

use super::shield::shielded;
use super::CallEnd;
use crate::gateway::Core;
use crate::json::{self, JsonType};
use crate::plan::{CallPlan, Piece, RedisAction, Reference, Template};
use crate::render::{is_from_client, Given, RenderFault, Scope};

/// The words of a command, from what is known now.
pub(super) fn words(action: &RedisAction, known: &dyn Scope) -> Result<Vec<Bytes>, RenderFault> {
    let mut words = Vec::with_capacity(action.words.len());
    for word in &action.words {
        match word.whole() {
            Some(reference) => push_values(&mut words, reference, known.get(reference))?,
            None => words.push(joined(word, known)?),
        }
    }
    Ok(words)
}

/// One argument, or one for each value of a list. A list without values is missing: the command would be another one without it.
fn push_values(words: &mut Vec<Bytes>, reference: &Reference, given: Given<'_>) -> Result<(), RenderFault> {
    let before = words.len();
    match given {
        Given::Missing => {}
        Given::Text(text) | Given::Rest(text) => words.push(Bytes::copy_from_slice(text.as_bytes())),
        Given::Texts(texts) => words.extend(texts.into_iter().map(|text| Bytes::copy_from_slice(text.as_bytes()))),
        Given::Json(value) if json::type_of(value) == JsonType::List => push_items(words, reference, json::items(value))?,
        Given::Json(value) => words.push(argument(reference, value)?),
        Given::Values(values) => push_items(words, reference, values.into_iter())?,
    }
    if words.len() == before {
        Err(RenderFault::Missing(reference.text.clone()))
    } else {
        Ok(())
    }
}

fn push_items<'a>(words: &mut Vec<Bytes>, reference: &Reference, items: impl Iterator<Item = &'a [u8]>) -> Result<(), RenderFault> {
    for item in items.filter(|item| *item != json::NULL) {
        words.push(argument(reference, item)?);
    }
    Ok(())
}

/// The text of a plain value; an object or a list stands as JSON.
fn argument(reference: &Reference, value: &[u8]) -> Result<Bytes, RenderFault> {
    match json::scalar_text(value) {
        Some(text) => without_nul(reference, text),
        None => Ok(Bytes::copy_from_slice(value)),
    }
}

fn without_nul(reference: &Reference, text: Cow<'_, str>) -> Result<Bytes, RenderFault> {
    if text.contains('\0') {
        return Err(bad(reference, "must not hold NUL"));
    }
    Ok(Bytes::from(text.into_owned()))
}

/// A word of several pieces, in which every value is a plain one.
fn joined(word: &Template, known: &dyn Scope) -> Result<Bytes, RenderFault> {
    let mut out = Vec::new();
    for piece in &word.0 {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Ref(reference) => match known.get(reference) {
                Given::Missing => return Err(RenderFault::Missing(reference.text.clone())),
                Given::Text(text) | Given::Rest(text) => out.extend_from_slice(text.as_bytes()),
                Given::Json(value) => {
                    let text = json::scalar_text(value).ok_or_else(|| bad(reference, "must be a plain value beside other text"))?;
                    out.extend_from_slice(&without_nul(reference, text)?);
                }
                Given::Texts(_) | Given::Values(_) => return Err(bad(reference, "must be a plain value beside other text")),
            },
        }
    }
    Ok(Bytes::from(out))
}

fn bad(reference: &Reference, why: &'static str) -> RenderFault {
    RenderFault::BadValue {
        reference: reference.text.clone(),
        from_client: is_from_client(reference),
        why,
    }
}

/// Asks the server. A command that may not be carried out twice is not taken back once it was begun.
pub(super) async fn exchange(core: &Core, hot: &Redis, call: &CallPlan, words: Vec<Bytes>, deadline: Deadline) -> CallEnd {
    let settings = settings(call);
    let (result, report) = if call.idempotent {
        ask(core.client(), hot, &words, &settings, deadline).await
    } else {
        let (client, hot) = (core.client().clone(), hot.clone());
        let work = async move { ask(&client, &hot, &words, &settings, deadline).await };
        shielded(core, deadline, work).await
    };
    CallEnd::without_caching(result, report)
}

/// Sends a command.
pub(super) async fn ask(
    client: &Client,
    hot: &Redis,
    words: &[Bytes],
    settings: &RedisSettings,
    deadline: Deadline,
) -> (Result<Bytes, CallError>, CallReport) {
    hot.call(client, &RedisCall { words, settings }, deadline).await
}

/// How the command of a call is sent.
pub(super) fn settings(call: &CallPlan) -> RedisSettings {
    RedisSettings {
        timeout: call.timeout,
        retry: RetrySettings {
            retries: call.retry,
            ..RetrySettings::ONCE_MORE
        },
        idempotent: call.idempotent,
        max_body: call.max_body,
        ..RedisSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Root;

    /// Values of references by their text.
    struct Values(&'static [(&'static str, Value)]);

    #[derive(Clone, Copy)]
    enum Value {
        Text(&'static str),
        Json(&'static str),
        Each(&'static [&'static str]),
    }

    impl Scope for Values {
        fn get(&self, reference: &Reference) -> Given<'_> {
            let found = self.0.iter().find(|(name, _)| *name == reference.text);
            match found.map(|(_, value)| *value) {
                None => Given::Missing,
                Some(Value::Text(text)) => Given::Text(text),
                Some(Value::Json(json)) => Given::Json(json.as_bytes()),
                Some(Value::Each(values)) => Given::Values(values.iter().map(|value| value.as_bytes()).collect()),
            }
        }
    }

    const VALUES: Values = Values(&[
        ("$text", Value::Text("a b\r\nDEL \"x\" $y")),
        ("$number", Value::Json("1.50")),
        ("$list", Value::Json(r#"["a b",null,2,{"c":3}]"#)),
        ("$each", Value::Each(&["\"x\"", "null", "1"])),
        ("$empty", Value::Json("[]")),
        ("$object", Value::Json(r#"{"a":[1]}"#)),
        ("$nul", Value::Json(r#""a\u0000b""#)),
    ]);

    /// The words of a command whose references stand for these values; words are divided by blanks.
    fn filled(command: &str) -> Result<Vec<String>, RenderFault> {
        let piece = |text: &str| match text.starts_with('$') {
            true => Piece::Ref(Reference {
                root: Root::Body,
                path: Vec::new(),
                text: text.to_owned(),
            }),
            false => Piece::Text(text.to_owned()),
        };
        let word = |word: &str| Template(word.split('+').map(piece).collect());
        let action = RedisAction {
            source: 0,
            words: command.split(' ').map(word).collect(),
            is_read: true,
        };
        let words = words(&action, &VALUES)?;
        Ok(words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    #[track_caller]
    fn check(command: &str, expected: &[&str]) {
        assert_eq!(filled(command).unwrap(), expected, "{command}");
    }

    #[track_caller]
    fn refused(command: &str, expected: &str) {
        assert_eq!(filled(command).unwrap_err().to_string(), expected, "{command}");
    }

    #[test]
    fn a_value_is_one_argument_whatever_is_in_it() {
        check("GET $text", &["GET", "a b\r\nDEL \"x\" $y"]);
        check("SET seen:+$text+:x $number", &["SET", "seen:a b\r\nDEL \"x\" $y:x", "1.50"]);
        check("SET k $object", &["SET", "k", r#"{"a":[1]}"#]);
    }

    #[test]
    fn a_list_is_one_argument_for_each_of_its_values() {
        check("MGET $list", &["MGET", "a b", "2", r#"{"c":3}"#]);
        check("MGET x $each y", &["MGET", "x", "x", "1", "y"]);
    }

    #[test]
    fn what_is_missing_or_cannot_stand_there_is_not_sent() {
        refused("GET $nothing", "`$nothing` is missing");
        refused("GET x:+$nothing", "`$nothing` is missing");
        refused("MGET $empty", "`$empty` is missing");
        refused("GET x:+$list", "`$list` must be a plain value beside other text");
        refused("GET x:+$each", "`$each` must be a plain value beside other text");
        refused("GET x:+$object", "`$object` must be a plain value beside other text");
        refused("GET $nul", "`$nul` must not hold NUL");
        refused("GET x:+$nul", "`$nul` must not hold NUL");
    }
}
