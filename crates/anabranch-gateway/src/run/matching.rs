//! Which answer of a batch is for which key, by the text of the key.

use std::borrow::Cow;
use std::collections::HashMap;

use anabranch::{CallError, Kind};
use bytes::Bytes;

use crate::json::{self, Found, JsonType};
use crate::plan::{Hop, Matching};

/// The answers in the order of the keys; None for a key that has none, or null. Of several answers for one key the last counts. Values
/// are slices of the answer.
///
/// # Errors
/// `decode` for an answer that does not have the form that `match` says, so that no key can be found in it.
pub(super) fn matched(matching: &Matching, answer: &Bytes, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, CallError> {
    let mut answers = vec![None; keys.len()];
    if json::type_of(answer) == JsonType::Null {
        return Ok(answers);
    }
    let numbers: HashMap<Cow<'_, str>, usize> = keys
        .iter()
        .enumerate()
        .filter_map(|(number, key)| Some((json::scalar_text(key)?, number)))
        .collect();
    let mut put = |number: Option<usize>, value: &[u8]| {
        if let Some(number) = number {
            answers[number] = (value != json::NULL).then(|| answer.slice_ref(value));
        }
    };
    match matching {
        Matching::Field { list, key } => {
            for item in json::items(list_at(answer, list)?) {
                if let Found::One(key) = json::find(item, key)
                    && let Some(text) = json::scalar_text(key)
                {
                    put(numbers.get(&text).copied(), item);
                }
            }
        }
        Matching::Key => {
            expect(answer, JsonType::Object, "`match: key`")?;
            for (name, value) in json::entries(answer) {
                put(numbers.get(&json::unescape(name)).copied(), value);
            }
        }
        Matching::Order => {
            expect(answer, JsonType::List, "`match: order`")?;
            let count = json::items(answer).count();
            if count != keys.len() {
                return Err(unfit(format!(
                    "has {count} items for {} keys, and `match: order` needs one for each",
                    keys.len()
                )));
            }
            json::items(answer).enumerate().for_each(|(number, value)| put(Some(number), value));
        }
    }
    Ok(answers)
}

fn list_at<'a>(answer: &'a Bytes, path: &[Hop]) -> Result<&'a [u8], CallError> {
    match json::find(answer, path) {
        Found::One(list) => expect(list, JsonType::List, "`match`").map(|()| list),
        _ => Err(unfit("has no list where `match` says".to_string())),
    }
}

fn expect(value: &[u8], expected: JsonType, by: &str) -> Result<(), CallError> {
    let found = json::type_of(value);
    if found == expected {
        return Ok(());
    }
    Err(unfit(format!("is {} where {by} needs {}", found.as_str(), expected.as_str())))
}

fn unfit(what: String) -> CallError {
    CallError::new(Kind::Decode, format!("the answer {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str) -> Hop {
        Hop::Field(name.to_string())
    }

    /// The answers by key, or why there are none.
    fn check(matching: &Matching, answer: &str, keys: &[&str], expected: &str) {
        let keys: Vec<Bytes> = keys.iter().map(|key| Bytes::from(key.to_string())).collect();
        let shown = match matched(matching, &Bytes::from(answer.to_string()), &keys) {
            Ok(answers) => answers
                .iter()
                .map(|answer| answer.as_deref().map_or("-".into(), String::from_utf8_lossy).into_owned() + ";")
                .collect(),
            Err(error) => error.to_string(),
        };
        assert!(
            shown.contains(expected) && !expected.is_empty(),
            "{answer}: {shown}, expected {expected}"
        );
    }

    #[test]
    fn a_list_is_searched_for_the_keys_in_it() {
        let id = Matching::Field {
            list: Vec::new(),
            key: vec![field("id")],
        };
        check(
            &id,
            r#" [ {"id":2, "n":1.0} , {"id":"1"}, {"id":9}, 7, {"x":1} ] "#,
            &["1", "2", "3"],
            r#"{"id":"1"};{"id":2, "n":1.0};-;"#,
        );
        check(&id, r#"[{"id":1,"a":1},{"id":1,"a":2}]"#, &["\"1\""], r#"{"id":1,"a":2};"#);
        check(&id, "[]", &["1"], "-;");
        check(&id, "null", &["1"], "-;");
        check(&id, r#"{"id":1}"#, &["1"], "is an object where `match` needs a list");
        let wrapped = Matching::Field {
            list: vec![field("data"), field("users")],
            key: vec![field("u"), field("id")],
        };
        check(&wrapped, r#"{"data":{"users":[{"u":{"id":1}}]}}"#, &["1"], r#"{"u":{"id":1}};"#);
        check(&wrapped, r#"{"data":{}}"#, &["1"], "has no list where `match` says");
    }

    #[test]
    fn an_object_has_its_answers_by_key() {
        check(
            &Matching::Key,
            r#"{"1":{"n":1},"\u0061":2,"c":null}"#,
            &["1", "\"a\"", "\"b\"", "\"c\""],
            r#"{"n":1};2;-;-;"#,
        );
        check(&Matching::Key, "[1]", &["1"], "is a list where `match: key` needs an object");
    }

    #[test]
    fn a_list_in_the_order_of_the_keys_has_one_item_for_each() {
        check(&Matching::Order, r#"["a",null,3]"#, &["1", "2", "3"], "\"a\";-;3;");
        check(&Matching::Order, "[1]", &["1", "2"], "has 1 items for 2 keys");
        check(&Matching::Order, "7", &["1"], "is a number where `match: order` needs a list");
    }
}
