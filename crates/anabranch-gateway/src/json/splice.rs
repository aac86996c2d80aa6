//! Something is added to each item of a list inside a document: the rest of the document stays byte for byte as it came.

use super::find::{entries, find, Found};
use super::text::{type_of, unescape, write_string, JsonType};
use super::NULL;
use crate::plan::model::Hop;

/// Where something is added to the items of a list.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// From the document to the items; ends with `[]`.
    pub list: &'p [Hop],
    /// From an item to the object that gets the key.
    pub inside: &'p [Hop],
    /// The key.
    pub key: &'p str,
}

/// The document with `key: value` in each object at the place, the first value in the first item and so on. An entry of that name gets
/// the new value where it stands; of duplicates the last one does, which is the one that counts. Without one the key comes last. An item
/// for which no value is left gets null. What is no object stays as it is, and its value is not used.
///
/// All of it is validated JSON without blanks around the values. Reads the document once and allocates the result once.
pub fn add_to_each<'a>(document: &'a [u8], place: Place<'_>, values: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let Found::Many(items) = find(document, place.list) else {
        return document.to_vec();
    };
    let mut key = Vec::with_capacity(place.key.len() + 3);
    write_string(&mut key, place.key);
    key.push(b':');
    let mut values = values;
    let mut edits = Vec::with_capacity(items.len());
    for item in items {
        let value = values.next().unwrap_or(NULL);
        if let Found::One(object) = find(item, place.inside)
            && type_of(object) == JsonType::Object
        {
            edits.push(edit(document, object, place.key, value));
        }
    }
    apply(document, &key, &edits)
}

/// A piece of the document that gives way to a value.
struct Edit<'a> {
    start: usize,
    end: usize,
    /// What stands before the value.
    before: Before,
    value: &'a [u8],
}

/// What a new value needs before it.
#[derive(Clone, Copy)]
enum Before {
    /// Nothing: it takes the place of another.
    Nothing,
    /// Its key.
    Key,
    /// A comma and its key.
    CommaAndKey,
}

fn edit<'a>(document: &[u8], object: &[u8], key: &str, value: &'a [u8]) -> Edit<'a> {
    let mut before = Before::Key;
    let mut old = None;
    for (name, value) in entries(object) {
        before = Before::CommaAndKey;
        if name == key.as_bytes() || name.contains(&b'\\') && unescape(name) == key {
            old = Some(value);
        }
    }
    let start_of = |piece: &[u8]| piece.as_ptr() as usize - document.as_ptr() as usize;
    match old {
        Some(old) => {
            let start = start_of(old);
            Edit {
                start,
                end: start + old.len(),
                before: Before::Nothing,
                value,
            }
        }
        None => {
            // Before the brace that closes the object.
            let start = start_of(object) + object.len() - 1;
            Edit {
                start,
                end: start,
                before,
                value,
            }
        }
    }
}

fn apply(document: &[u8], key: &[u8], edits: &[Edit<'_>]) -> Vec<u8> {
    let added: usize = edits.iter().map(|edit| edit.value.len() + key.len() + 1).sum();
    let mut out = Vec::with_capacity(document.len() + added);
    let mut done = 0;
    for edit in edits {
        out.extend_from_slice(document.get(done..edit.start).unwrap_or_default());
        match edit.before {
            Before::Nothing => {}
            Before::Key => out.extend_from_slice(key),
            Before::CommaAndKey => {
                out.push(b',');
                out.extend_from_slice(key);
            }
        }
        out.extend_from_slice(edit.value);
        done = edit.end;
    }
    out.extend_from_slice(document.get(done..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::json::tests_support::{any_json, odd_text};
    use crate::json::{validate, Limits};

    fn field(name: &str) -> Hop {
        Hop::Field(name.to_string())
    }

    fn check(document: &str, list: &[Hop], values: &[&str], expected: &str) {
        let place = Place {
            list,
            inside: &[],
            key: "k",
        };
        let added = add_to_each(document.as_bytes(), place, values.iter().map(|value| value.as_bytes()));
        assert_eq!(String::from_utf8(added).unwrap(), expected, "{document}");
    }

    #[test]
    fn a_key_comes_last_and_every_other_byte_stays() {
        check(
            " [ {\"a\" : 1.50 , \"a\":2e3 } ,{}, { } ]\n",
            &[Hop::Each],
            &["{\"x\": 10000000000000000000000000.10}", "2", "3"],
            " [ {\"a\" : 1.50 , \"a\":2e3 ,\"k\":{\"x\": 10000000000000000000000000.10}} ,{\"k\":2}, { \"k\":3} ]\n",
        );
    }

    #[test]
    fn a_key_that_is_there_gets_the_new_value_in_its_place() {
        check(
            r#"[{"k":[1,{"k":2}],"b":1},{"k":7}]"#,
            &[Hop::Each],
            &["9", "8"],
            r#"[{"k":9,"b":1},{"k":8}]"#,
        );
        check(r#"[{"\u006b" : "old" }]"#, &[Hop::Each], &["9"], r#"[{"\u006b" : 9 }]"#);
        check(r#"[{"k":1,"k":2}]"#, &[Hop::Each], &["9"], r#"[{"k":1,"k":9}]"#);
    }

    #[test]
    fn what_is_no_object_stays_and_keeps_its_place_in_the_order() {
        check(
            r#"[1,{},null,[{}],{}]"#,
            &[Hop::Each],
            &["10", "11", "12", "13", "14"],
            r#"[1,{"k":11},null,[{}],{"k":14}]"#,
        );
        check(r#"[{},{}]"#, &[Hop::Each], &["1"], r#"[{"k":1},{"k":null}]"#);
        check(r#"{"a":1}"#, &[Hop::Each], &["1"], r#"{"a":1}"#);
        check("[]", &[Hop::Each], &["1"], "[]");
    }

    #[test]
    fn lists_inside_lists_are_counted_through() {
        let list = [field("p"), Hop::Each, field("t"), Hop::Each];
        check(
            r#"{"p":[{"t":[{"a":1},{}]},{},{"t":[]},{"t":[{}]}]}"#,
            &list,
            // The second post has no tags: one value is its own, as when the items are listed.
            &["1", "2", "none", "3"],
            r#"{"p":[{"t":[{"a":1,"k":1},{"k":2}]},{},{"t":[]},{"t":[{"k":3}]}]}"#,
        );
    }

    #[test]
    fn the_object_may_be_inside_of_the_item() {
        let inside = [field("meta")];
        let place = Place {
            list: &[Hop::Each],
            inside: &inside,
            key: "k",
        };
        let document = br#"[{"meta":{"a":1}},{"meta":null},{}]"#;
        let added = add_to_each(document, place, [&b"1"[..], b"2", b"3"].into_iter());
        assert_eq!(String::from_utf8(added).unwrap(), r#"[{"meta":{"a":1,"k":1}},{"meta":null},{}]"#);
    }

    #[test]
    fn the_result_is_allocated_once() {
        let document = br#"[{},{"k":1},{"a":2}]"#;
        let place = Place {
            list: &[Hop::Each],
            inside: &[],
            key: "k",
        };
        let added = add_to_each(document, place, [&b"123"[..], b"4", b"5"].into_iter());
        assert!(added.len() <= document.len() + 5 + 3 * 5 && added.capacity() <= document.len() + 5 + 3 * 5);
    }

    #[test]
    fn bytes_that_were_never_validated_end_without_panic() {
        for text in ["[{", "[{\"k\":", "[{]", "[{}", "[[{}", "{", "[{\"a\":1", "[{\"k\"}"] {
            let place = Place {
                list: &[Hop::Each],
                inside: &[],
                key: "k",
            };
            add_to_each(text.as_bytes(), place, [&b"1"[..]].into_iter());
        }
    }

    /// The same with trees. Keys of one object are unique there, and come in any order.
    fn by_tree(items: &mut [Value], key: &str, values: &[Value]) {
        for (at, item) in items.iter_mut().enumerate() {
            if let Value::Object(map) = item {
                map.insert(key.to_string(), values.get(at).cloned().unwrap_or(Value::Null));
            }
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_trees(
            mut items in prop::collection::vec(any_json(), 0..6),
            values in prop::collection::vec(any_json(), 0..6),
            key in odd_text(),
            pretty in any::<bool>(),
            wrapped in any::<bool>(),
        ) {
            let document = if wrapped { serde_json::json!({ "a": 1, "list": items }) } else { Value::from(items.clone()) };
            let text = if pretty { serde_json::to_vec_pretty(&document) } else { serde_json::to_vec(&document) }.unwrap();
            let list = if wrapped { vec![field("list"), Hop::Each] } else { vec![Hop::Each] };
            let written: Vec<Vec<u8>> = values.iter().map(|value| serde_json::to_vec(value).unwrap()).collect();
            let added = add_to_each(&text, Place { list: &list, inside: &[], key: &key }, written.iter().map(Vec::as_slice));
            prop_assert!(validate(&added, &Limits::default()).is_ok());
            by_tree(&mut items, &key, &values);
            let expected = if wrapped { serde_json::json!({ "a": 1, "list": items }) } else { Value::from(items) };
            prop_assert_eq!(serde_json::from_slice::<Value>(&added).unwrap(), expected);
        }
    }
}
