//! Odd documents by table, in the manner of JSONTestSuite (n_ refused, y_ accepted), and agreement with serde_json.

mod agreement;
mod reference;

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;
use crate::json::tests_support::any_json;

fn check(bytes: &[u8]) -> Result<Shape, JsonFault> {
    validate(bytes, &Limits::default())
}

#[test]
fn documents_that_are_json_pass() {
    let documents = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1",
        "1e5",
        "1E+5",
        "1e-5",
        "-0.0e-0",
        "0.1",
        "123.456e78",
        "1e400",
        "\"\"",
        "[]",
        "{}",
        " [ ] ",
        "\t{\r\n}\n",
        "[1,2,3]",
        "[ 1 , 2 ]",
        "[[],[[]],{}]",
        "{\"a\":1}",
        "{\"a\":{\"b\":[]},\"c\":\"\"}",
        "{ \"a\" : 1 , \"b\" : 2 }",
        "{\"a\":1,\"a\":1}",
        "{\"\":0}",
        "\"\\u0000\"",
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\uABcd\"",
        "\"\\ud800\"",
        "\"\\uDFAA\"",
        "\"\u{7f}\"",
        "\"é€😀\u{2028}\u{feff}\u{ffff}\"",
        "\"1234567\"",
        "\"12345678\"",
        "\"123456789\"",
        "\"a b/*c*/ # d\"",
        "[true,false,null]",
        "99999999999999999999999999999999999999999999",
        "[\"\\\\\"]",
        "{\"a\\\"b\":1}",
        "\"\\\\u0000\"",
    ];
    for document in documents {
        assert!(check(document.as_bytes()).is_ok(), "{document}: {:?}", check(document.as_bytes()));
    }
}

#[test]
fn documents_that_are_not_json_are_refused_at_the_byte() {
    let documents: &[(&str, usize, &str)] = &[
        ("", 0, "expected a value"),
        (" \n", 2, "expected a value"),
        ("nul", 0, "expected a value"),
        ("nulll", 4, "expected the end of the document"),
        ("True", 0, "expected a value"),
        ("NaN", 0, "expected a value"),
        ("Infinity", 0, "expected a value"),
        ("-Infinity", 1, "expected a digit"),
        ("+1", 0, "expected a value"),
        ("01", 1, "expected the end of the document"),
        ("-01", 2, "expected the end of the document"),
        ("-", 1, "expected a digit"),
        (".5", 0, "expected a value"),
        ("1.", 2, "expected a digit"),
        ("1.e5", 2, "expected a digit"),
        ("1e", 2, "expected a digit"),
        ("1e+", 3, "expected a digit"),
        ("0x10", 1, "expected the end of the document"),
        ("1 000", 2, "expected the end of the document"),
        ("１", 0, "expected a value"),
        ("[", 1, "expected a value"),
        ("]", 0, "expected a value"),
        ("[1", 2, "expected `,` or `]`"),
        ("[1,", 3, "expected a value"),
        ("[1,]", 3, "expected a value"),
        ("[,1]", 1, "expected a value"),
        ("[1 2]", 3, "expected `,` or `]`"),
        ("[1}", 2, "expected `,` or `]`"),
        ("[1:2]", 2, "expected `,` or `]`"),
        ("[1]]", 3, "expected the end of the document"),
        ("[] []", 3, "expected the end of the document"),
        ("{", 1, "expected a key in quotes"),
        ("}", 0, "expected a value"),
        ("{]", 1, "expected a key in quotes"),
        ("{a:1}", 1, "expected a key in quotes"),
        ("{'a':1}", 1, "expected a key in quotes"),
        ("{1:1}", 1, "expected a key in quotes"),
        ("{\"a\"}", 4, "expected `:`"),
        ("{\"a\",1}", 4, "expected `:`"),
        ("{\"a\":}", 5, "expected a value"),
        ("{\"a\":1", 6, "expected `,` or `}`"),
        ("{\"a\":1]", 6, "expected `,` or `}`"),
        ("{\"a\":1,}", 7, "expected a key in quotes"),
        ("{\"a\":1,,\"b\":2}", 7, "expected a key in quotes"),
        ("{\"a\":1 \"b\":2}", 7, "expected `,` or `}`"),
        ("{\"a\"::1}", 5, "expected a value"),
        ("{} // comment", 3, "expected the end of the document"),
        ("/* c */ {}", 0, "expected a value"),
        ("\"", 1, "expected the end of a string"),
        ("\"12345678", 9, "expected the end of a string"),
        ("\"a\\\"", 4, "expected the end of a string"),
        ("\"\\", 1, "an unknown escape in a string"),
        ("\"\\x41\"", 1, "an unknown escape in a string"),
        ("\"\\'\"", 1, "an unknown escape in a string"),
        ("\"\\u\"", 1, "expected four hexadecimal digits after `\\u`"),
        ("\"\\u12\"", 1, "expected four hexadecimal digits after `\\u`"),
        ("\"\\u12G4\"", 1, "expected four hexadecimal digits after `\\u`"),
        ("\"\\u+123\"", 1, "expected four hexadecimal digits after `\\u`"),
        ("\"\\U0041\"", 1, "an unknown escape in a string"),
        ("\"a\nb\"", 2, "a control character in a string"),
        ("\"\t\"", 1, "a control character in a string"),
        ("\"\u{0}\"", 1, "a control character in a string"),
        ("\"12345678\u{1f}\"", 9, "a control character in a string"),
        ("[\u{0}]", 1, "expected a value"),
        ("1\u{0}", 1, "expected the end of the document"),
        ("[\u{c}]", 1, "expected a value"),
        ("[\u{a0}]", 1, "expected a value"),
        ("\u{feff}{}", 0, "expected a value"),
        ("<html></html>", 0, "expected a value"),
        ("a=1&b=2", 0, "expected a value"),
    ];
    for (document, at, what) in documents {
        assert_eq!(check(document.as_bytes()), Err(JsonFault { at: *at, what }), "{document:?}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_wherever_they_stand() {
    for (bytes, at) in [
        (&b"\"\xff\""[..], 1),
        (b"\"\xc0\x80\"", 1),
        (b"\"\xed\xa0\x80\"", 1),
        (b"[1]\xc3", 3),
        (b"\xfe\xff\0\"", 0),
    ] {
        assert_eq!(
            check(bytes),
            Err(JsonFault {
                at,
                what: "bytes that are not UTF-8"
            })
        );
    }
}

#[test]
fn depth_is_limited_to_one_word_of_bits() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(check(nested(64).as_bytes()).is_ok());
    assert_eq!(
        check(nested(65).as_bytes()),
        Err(JsonFault {
            at: 64,
            what: "containers nested deeper than allowed"
        })
    );
    let objects = format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64));
    assert!(check(objects.as_bytes()).is_ok());
    let wide = Limits {
        depth: 1000,
        nodes: 1_000_000,
    };
    assert!(validate(nested(65).as_bytes(), &wide).is_err());
    let flat = Limits { depth: 0, nodes: 10 };
    assert!(validate(b"1", &flat).is_ok());
    assert!(validate(b"[]", &flat).is_err());
}

#[test]
fn a_bomb_of_brackets_is_refused_at_once() {
    assert_eq!(check(&b"[".repeat(1 << 20)).map_err(|fault| fault.at), Err(64));
    assert_eq!(check(&b"{\"a\":".repeat(1 << 18)).map_err(|fault| fault.at), Err(64 * 5));
}

#[test]
fn mixed_containers_close_in_order() {
    let mixed = format!("{}{}", "[{\"a\":".repeat(32), "0}]") + &"}]".repeat(31);
    assert!(check(mixed.as_bytes()).is_ok());
    let crossed = mixed.replacen("0}]", "0]}", 1);
    assert_eq!(check(crossed.as_bytes()).map_err(|fault| fault.what), Err("expected `,` or `}`"));
}

#[test]
fn values_are_counted_and_limited() {
    let limits = Limits { depth: 64, nodes: 5 };
    assert_eq!(
        validate(b" {\"a\":[1,2],\"b\":3} ", &limits).unwrap(),
        Shape {
            kind: JsonType::Object,
            start: 1,
            end: 18,
            nodes: 5
        }
    );
    assert_eq!(validate(b"[1,2,3,4,5]", &limits).map_err(|fault| fault.at), Err(9));
}

#[test]
fn a_fault_says_where_and_never_what_stood_there() {
    assert_eq!(check(b"[secret]").unwrap_err().to_string(), "expected a value at byte 1");
}

/// What serde_json says of the same bytes. `IgnoredAny` neither recurses nor looks at the size of numbers; it does not check UTF-8.
fn serde_accepts(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn depth_of(bytes: &[u8]) -> usize {
    let (mut depth, mut most, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in bytes {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_serde_json_writes_passes(tree in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        let shape = check(text.as_bytes());
        prop_assert!(shape.is_ok(), "{:?} in {}", shape, text);
        prop_assert_eq!(shape.unwrap().end, text.len());
    }

    #[test]
    fn mutated_documents_get_the_verdict_of_serde_json(
        tree in any_json(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4, prop::sample::select(b"[]{},:\"\\0-1.eEtn u/\n".to_vec())), 1..5),
    ) {
        let mut bytes = serde_json::to_vec(&tree).unwrap();
        for (place, random, action, likely) in edits {
            let at = place.index(bytes.len() + 1);
            match action {
                0 => bytes.insert(at, likely),
                1 => bytes.insert(at, random),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        if depth_of(&bytes) <= 64 {
            prop_assert_eq!(check(&bytes).is_ok(), serde_accepts(&bytes), "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn soups_of_tokens_get_the_verdict_of_serde_json(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "[", "]", "{", "}", ",", ":", "\"a\"", "\"", "\\", "0", "-", "1", ".", "e", "+", "true", "false", "null", "nul", " ", "\\u12", "é", "\u{0}",
        ]), 0..12),
    ) {
        let text = tokens.concat();
        prop_assert_eq!(check(text.as_bytes()).is_ok(), serde_accepts(text.as_bytes()), "{:?}", text);
    }
}
