//! Templates filled from a small table of values.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::percent::{decode, Broken};
use super::*;
use crate::json::{find, tests_support::any_json};
use crate::plan::model::{Comparison, Condition, Hop, Operand, Piece, Root, Template, Value};

/// Values by the text of the reference; all else is missing.
#[derive(Default)]
struct Table(HashMap<&'static str, Kept>);

enum Kept {
    Text(String),
    Rest(String),
    Texts(Vec<String>),
    Json(String),
    Each(String),
}

impl Scope for Table {
    fn get(&self, reference: &Reference) -> Given<'_> {
        match self.0.get(reference.text.as_str()) {
            None => Given::Missing,
            Some(Kept::Text(text)) => Given::Text(text),
            Some(Kept::Rest(text)) => Given::Rest(text),
            Some(Kept::Texts(texts)) => Given::Texts(texts.iter().map(String::as_str).collect()),
            Some(Kept::Json(json)) => find(json.as_bytes(), &[]).into(),
            Some(Kept::Each(json)) => find(json.as_bytes(), &[Hop::Each]).into(),
        }
    }
}

fn table() -> Table {
    let json = |text: &str| Kept::Json(text.to_string());
    Table(HashMap::from([
        ("$id", json("7")),
        ("$name", Kept::Text("a b&c/é".to_string())),
        ("$word", Kept::Text("word".to_string())),
        ("$rest", Kept::Rest("a b/c.css".to_string())),
        ("$badrest", Kept::Rest("a/../c".to_string())),
        ("$tags", Kept::Texts(vec!["a,b".to_string(), "c".to_string()])),
        ("$notags", Kept::Texts(Vec::new())),
        ("$nul", Kept::Text("a\0".to_string())),
        ("@list", json(r#"[1,null,"x y",true]"#)),
        ("@ids", Kept::Each(r#"[1,null,2]"#.to_string())),
        ("@nested", json("[[1]]")),
        ("@objects", Kept::Each("[{}]".to_string())),
        ("@object", json(r#"{"a":[1.50]}"#)),
        ("@text", json(r#""line\nbreak""#)),
        ("@dots", json(r#""..""#)),
        ("@null", json("null")),
        ("@no", json("false")),
        ("@zero", json("0")),
    ]))
}

/// `$x` is a parameter, `@x` a call.
fn reference(text: &str) -> Reference {
    let root = if text.starts_with('$') { Root::Param(0) } else { Root::Call(0) };
    Reference {
        root,
        path: Vec::new(),
        text: text.to_string(),
    }
}

/// Words that begin with `$` or `@` are references: `/a/|$id|.json`.
fn template(text: &str) -> Template {
    let piece = |word: &str| {
        if word.starts_with(['$', '@']) {
            Piece::Ref(reference(word))
        } else {
            Piece::Text(word.to_string())
        }
    };
    Template(text.split('|').filter(|word| !word.is_empty()).map(piece).collect())
}

fn line(result: Result<Vec<u8>, RenderFault>) -> String {
    match result {
        Ok(bytes) => String::from_utf8(bytes).unwrap(),
        Err(RenderFault::BadValue {
            reference,
            from_client,
            why,
        }) => {
            format!("{} {reference} {why}", if from_client { "client" } else { "source" })
        }
        Err(fault) => fault.to_string(),
    }
}

fn check_path(text: &str, expected: &str) {
    let mut out = Vec::new();
    let result = path(&template(text), &table(), &mut out);
    assert_eq!(line(result.map(|()| out)), expected, "{text}");
}

#[test]
fn a_value_in_a_path_is_one_encoded_segment() {
    check_path("/a/|$id|/b", "/a/7/b");
    check_path("/a/|$word|.json", "/a/word.json");
    check_path("/f/|$rest", "/f/a%20b/c.css");
    check_path("/a/|@list", "source @list must be a plain value in a path");
    check_path("/a/|@ids", "source @ids must be a plain value in a path");
    check_path("/a/|$tags", "client $tags must be a plain value in a path");
    check_path("/a/|@object", "source @object must be a plain value in a path");
    check_path("/a/|$name", "client $name must not hold a slash or backslash in a path");
    check_path("/f/|$badrest", "client $badrest must not be `.` or `..` in a path");
    check_path("/a/|@dots", "source @dots must not be `.` or `..` in a path");
    check_path("/a/|@text", "source @text must not hold control characters");
    check_path("/a/|$none", "`$none` is missing");
    check_path("/a/|@null", "`@null` is missing");
}

fn check_query(pairs: &[(&str, &str)], expected: &str) {
    let pairs: Vec<(String, Template)> = pairs.iter().map(|(name, text)| (name.to_string(), template(text))).collect();
    let mut out = Vec::new();
    let result = query(&pairs, &table(), &mut out);
    assert_eq!(line(result.map(|()| out)), expected, "{pairs:?}");
}

#[test]
fn values_in_a_query_are_encoded_and_lists_join() {
    check_query(&[("a", "$name"), ("b%5B%5D", "x%20y")], "a=a%20b%26c%2F%C3%A9&b%5B%5D=x%20y");
    check_query(&[("l", "@list"), ("i", "@ids"), ("t", "$tags")], "l=1,x%20y,true&i=1,2&t=a%2Cb,c");
    check_query(&[("q", "of:|$id|!")], "q=of:7!");
    check_query(&[("x", "")], "x=");
    check_query(&[("n", "@text")], "n=line%0Abreak");
    check_query(&[], "");
}

#[test]
fn only_a_pair_that_is_one_missing_parameter_is_left_out() {
    check_query(&[("a", "$none"), ("b", "$id"), ("c", "$notags"), ("d", "$id")], "b=7&d=7");
    check_query(&[("a", "$none")], "");
    check_query(&[("a", "x|$none")], "`$none` is missing");
    check_query(&[("a", "@none")], "`@none` is missing");
    check_query(&[("a", "@null")], "`@null` is missing");
    check_query(&[("a", "@object")], "`@object` is missing");
    check_query(&[("a", "@nested")], "`@nested` is missing");
    check_query(&[("a", "@objects")], "`@objects` is missing");
    check_query(&[("a", "$nul")], "client $nul must not hold NUL");
}

#[test]
fn a_header_is_text_without_control_characters() {
    let check = |text: &str, expected: &str| {
        let result = header(&template(text), &table()).map(|value| value.as_bytes().to_vec());
        assert_eq!(line(result), expected, "{text}");
    };
    check("Bearer |$word", "Bearer word");
    check("$name", "a b&c/é");
    check("$tags", "a,b, c");
    check("@ids", "1, 2");
    check("x|@none", "`@none` is missing");
    check("@text", "source @text must not hold control characters");
    check("$nul", "client $nul must not hold control characters");
    check("@object", "source @object must not be an object in a header");
}

#[test]
fn json_takes_values_as_they_came_and_null_for_what_is_missing() {
    let check = |value: Value, expected: &str| {
        let mut out = Vec::new();
        json(&value, &table(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    };
    let of = |text: &str| Value::Ref(reference(text));
    check(Value::Literal(Bytes::from_static(b"{\"x\":1.0}")), "{\"x\":1.0}");
    check(of("@object"), r#"{"a":[1.50]}"#);
    check(of("@none"), "null");
    check(of("$name"), r#""a b&c/é""#);
    check(of("$tags"), r#"["a,b","c"]"#);
    check(of("@ids"), "[1,null,2]");
    check(Value::Text(template("id |$id|: |@text")), r#""id 7: line\nbreak""#);
    check(Value::Text(template("|$tags| and |@object")), r#""a,b,c and {\"a\":[1.50]}""#);
    check(Value::Text(template("id |@none")), "null");
    check(Value::List(vec![of("$id"), of("@none"), Value::List(Vec::new())]), "[7,null,[]]");
    let object = vec![("a\"".to_string(), of("$id")), ("b".to_string(), Value::Object(Vec::new()))];
    check(Value::Object(object), r#"{"a\"":7,"b":{}}"#);
}

#[test]
fn conditions_follow_the_truth_of_jq() {
    let truth = |text: &str| Condition::Truth(reference(text));
    for (text, expected) in [
        ("@none", false),
        ("@null", false),
        ("@no", false),
        ("@zero", true),
        ("$word", true),
        ("@ids", true),
        ("$notags", true),
    ] {
        assert_eq!(holds(&truth(text), &table()), expected, "{text}");
    }
    let compare = |left: &str, comparison, right: &'static str| {
        Condition::Compare(
            Operand::Ref(reference(left)),
            comparison,
            Operand::Literal(Bytes::from_static(right.as_bytes())),
        )
    };
    let cases = [
        (compare("$id", Comparison::Equal, "7.0"), true),
        (compare("$id", Comparison::NotEqual, "7"), false),
        (compare("$id", Comparison::Less, "10"), true),
        (compare("$id", Comparison::Less, "7"), false),
        (compare("$id", Comparison::LessOrEqual, "7"), true),
        (compare("$id", Comparison::Greater, "\"7\""), false),
        (compare("$id", Comparison::GreaterOrEqual, "7"), true),
        (compare("$word", Comparison::Equal, "\"word\""), true),
        (compare("@none", Comparison::Equal, "null"), true),
        (Condition::And(Box::new(truth("$id")), Box::new(truth("@no"))), false),
        (Condition::Or(Box::new(truth("@no")), Box::new(truth("$id"))), true),
        (Condition::Not(Box::new(truth("@no"))), true),
    ];
    for (condition, expected) in cases {
        assert_eq!(holds(&condition, &table()), expected, "{condition:?}");
    }
}

/// Values made of what attacks on paths are made of.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        ".", "..", "/", "\\", "%2e", "%2E", "%2f", "%5c", "%25", "%", "a", "\0", "\r\n", "?", "#", "é", "%00", "%c0%af", " ", "2e",
    ]);
    prop_oneof![3 => prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat()), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_value_never_leaves_its_segment(text in hostile_text(), from_json in any::<bool>()) {
        let kept = if from_json { Kept::Json(serde_json::to_string(&text).unwrap()) } else { Kept::Text(text.clone()) };
        let table = Table(HashMap::from([("$x", kept)]));
        let mut out = Vec::new();
        if path(&template("/a/|$x|/b"), &table, &mut out).is_ok() {
            let sent = String::from_utf8(out).unwrap();
            let segments: Vec<&str> = sent.split('/').collect();
            prop_assert_eq!(segments.len(), 4, "{}", sent);
            let mut bytes = segments[2].as_bytes().to_vec();
            prop_assert!(bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"/\\?#".contains(byte)));
            prop_assert_eq!(decode(&bytes, Broken::Refuse).unwrap(), text.as_bytes());
            for _ in 0..2 {
                bytes = decode(&bytes, Broken::Keep).unwrap();
                prop_assert!(!bytes.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0..=0x1f | 0x7f)), "{:?}", text);
                prop_assert!(!matches!(bytes.as_slice(), b"" | b"." | b".."), "{:?}", text);
            }
        }
    }

    #[test]
    fn the_rest_of_a_path_never_climbs(text in hostile_text()) {
        let table = Table(HashMap::from([("$x", Kept::Rest(text))]));
        let mut out = Vec::new();
        if path(&template("/f/|$x"), &table, &mut out).is_ok() {
            let sent = String::from_utf8(out).unwrap();
            for segment in sent.split('/').skip(1) {
                let decoded = decode(segment.as_bytes(), Broken::Refuse).unwrap();
                prop_assert!(!matches!(decoded.as_slice(), b"" | b"." | b".."), "{}", sent);
            }
        }
    }

    #[test]
    fn a_value_never_adds_a_pair_to_a_query(text in hostile_text()) {
        let table = Table(HashMap::from([("$x", Kept::Text(text.clone()))]));
        let mut out = Vec::new();
        if query(&[("a".to_string(), template("$x"))], &table, &mut out).is_ok() {
            let value = out.strip_prefix(b"a=").unwrap();
            prop_assert!(!value.iter().any(|byte| b"&=#+? ".contains(byte)));
            prop_assert_eq!(decode(value, Broken::Refuse).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn json_of_any_values_is_json(tree in any_json(), text in any::<String>()) {
        let table = Table(HashMap::from([("@tree", Kept::Json(tree.to_string())), ("$x", Kept::Text(text.clone()))]));
        let value = Value::Object(vec![
            ("tree".to_string(), Value::Ref(reference("@tree"))),
            ("text".to_string(), Value::Text(template("<|$x|>"))),
        ]);
        let mut out = Vec::new();
        json(&value, &table, &mut out);
        let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(&parsed["tree"], &tree);
        prop_assert_eq!(&parsed["text"], &serde_json::Value::String(format!("<{text}>")));
    }
}
