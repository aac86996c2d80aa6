//! Parts become one body by copying bytes: no tree, one allocation, every digit as it came.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use crate::json::{entries, trim, type_of, unescape, JsonType, NULL};

/// The key under which the account joins a body.
pub const ACCOUNT_KEY: &str = "_parts";

/// One object with a key for each part, in the order given. A key is the inside of a JSON string (a name of letters, digits and `_` is
/// one as it stands); a value is validated JSON, None is null. The account, if given, comes last as `_parts`. One allocation, exactly
/// as large as the body.
pub fn object(parts: &[(&str, Option<&[u8]>)], account: Option<&[u8]>) -> Vec<u8> {
    let parts = parts.iter().map(|(key, value)| (key.as_bytes(), value.unwrap_or(NULL)));
    join(parts.chain(account.map(|account| (ACCOUNT_KEY.as_bytes(), account))))
}

/// The entries of these objects in one; of keys that several have the last value counts, in the place of the first. None and null add
/// nothing. The account, if given, becomes `_parts`. Values are copied byte for byte. Anything else than an object is a fault.
pub fn merge(objects: &[Option<&[u8]>], account: Option<&[u8]>) -> Result<Vec<u8>, MergeFault> {
    let mut merged: Vec<(&[u8], &[u8])> = Vec::new();
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::new();
    let mut add = |key, value| {
        let place = *places.entry(unescape(key)).or_insert(merged.len());
        match merged.get_mut(place) {
            Some(entry) => entry.1 = value,
            None => merged.push((key, value)),
        }
    };
    for (index, object) in objects.iter().enumerate() {
        let object = trim(object.unwrap_or(NULL));
        match type_of(object) {
            JsonType::Object => entries(object).for_each(|(key, value)| add(key, value)),
            JsonType::Null => {}
            found => return Err(MergeFault { index, found }),
        }
    }
    if let Some(account) = account {
        add(ACCOUNT_KEY.as_bytes(), account);
    }
    Ok(join(merged.iter().copied()))
}

fn join<'a>(entries: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    // Of each entry: two quotes, a colon, and a comma or one of the braces; `{}` is one byte more than that.
    let size = 2 + entries.clone().map(|(key, value)| key.len() + value.len() + 4).sum::<usize>();
    let mut out = Vec::with_capacity(size);
    out.push(b'{');
    for (key, value) in entries {
        if out.len() > 1 {
            out.push(b',');
        }
        out.push(b'"');
        out.extend_from_slice(key);
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value);
    }
    out.push(b'}');
    out
}

/// A part that should be merged and is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeFault {
    /// Its place among the objects given.
    pub index: usize,
    /// What it is.
    pub found: JsonType,
}

impl fmt::Display for MergeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot merge {}, expected an object", self.found.as_str())
    }
}

impl Error for MergeFault {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::json::tests_support::any_json;
    use crate::json::{validate, Limits};

    #[test]
    fn parts_go_in_byte_for_byte_and_in_order() {
        let parts = [("b", Some(&b"{\"x\":1.50,\"x\":2}"[..])), ("a", None), ("c", Some(b"[ 1 ]"))];
        assert_eq!(object(&parts, None), br#"{"b":{"x":1.50,"x":2},"a":null,"c":[ 1 ]}"#);
        assert_eq!(object(&parts[1..2], Some(b"{\"a\":{}}")), br#"{"a":null,"_parts":{"a":{}}}"#);
        assert_eq!(object(&[], None), b"{}");
        assert_eq!(object(&[], Some(b"{}")), br#"{"_parts":{}}"#);
    }

    #[test]
    fn the_body_is_allocated_once() {
        for count in [0, 1, 2, 12] {
            let parts = vec![("name", Some(&b"12345"[..])); count];
            for account in [None, Some(&b"{}"[..])] {
                let body = object(&parts, account);
                assert!(body.capacity() - body.len() <= 1, "{} of {}", body.len(), body.capacity());
            }
        }
    }

    fn check(objects: &[&str], expected: &str) {
        let objects: Vec<Option<&[u8]>> = objects.iter().map(|text| Some(text.as_bytes())).collect();
        assert_eq!(String::from_utf8(merge(&objects, None).unwrap()).unwrap(), expected);
    }

    #[test]
    fn later_keys_win_in_the_place_of_the_first() {
        check(
            &[r#"{"a":1,"b":2}"#, r#" { "c" : 3 , "a" : [ 1.0 ] } "#],
            r#"{"a":[ 1.0 ],"b":2,"c":3}"#,
        );
        check(&[r#"{"a":1,"a":2}"#], r#"{"a":2}"#);
        check(&[r#"{"\u0061":1}"#, r#"{"a":2}"#], r#"{"\u0061":2}"#);
        check(&[r#"{"\"":"}"}"#, "{}", "null"], r#"{"\"":"}"}"#);
        check(&[], "{}");
    }

    #[test]
    fn the_account_takes_the_place_of_a_key_of_its_name() {
        let merged = merge(&[Some(br#"{"_parts":"theirs","a":1}"#), None], Some(b"{}")).unwrap();
        assert_eq!(merged, br#"{"_parts":{},"a":1}"#);
    }

    #[test]
    fn what_is_no_object_is_a_fault() {
        for (value, found) in [
            ("[1]", JsonType::List),
            ("1", JsonType::Number),
            ("\"a\"", JsonType::Text),
            ("false", JsonType::Bool),
        ] {
            assert_eq!(merge(&[None, Some(value.as_bytes())], None), Err(MergeFault { index: 1, found }));
        }
        assert_eq!(
            MergeFault {
                index: 0,
                found: JsonType::List
            }
            .to_string(),
            "cannot merge a list, expected an object"
        );
    }

    proptest! {
        #[test]
        fn merge_agrees_with_maps(trees in prop::collection::vec(any_json().prop_filter("object", Value::is_object), 0..4)) {
            let texts: Vec<Vec<u8>> = trees.iter().map(|tree| serde_json::to_vec_pretty(tree).unwrap()).collect();
            let objects: Vec<Option<&[u8]>> = texts.iter().map(|text| Some(text.as_slice())).collect();
            let merged = merge(&objects, None).unwrap();
            let expected: Map<String, Value> = trees.iter().flat_map(|tree| tree.as_object().unwrap().clone()).collect();
            prop_assert!(validate(&merged, &Limits::default()).is_ok());
            prop_assert_eq!(serde_json::from_slice::<Value>(&merged).unwrap(), Value::Object(expected));
        }
    }
}
