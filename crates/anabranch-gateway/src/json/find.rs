//! The way into a validated document: entries, items, and what stands at a path. Values are slices of the document, never copies.

use super::text::{inside, to_special, trim, type_of, unescape, JsonType};
use super::NULL;
use crate::plan::model::Hop;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing, or null.
    Missing,
    /// One value, without blanks around it.
    One(&'a [u8]),
    /// The values behind `[]`, in order; null stands where an item has nothing there, so that places hold.
    Many(Vec<&'a [u8]>),
}

/// What stands at `path` in a validated document. Of duplicate keys the last counts, as in jq. An index into an object is a key.
/// Lists inside lists (`posts[].tags[]`) give one list.
pub fn find<'a>(document: &'a [u8], path: &[Hop]) -> Found<'a> {
    let straight = path.iter().position(|hop| *hop == Hop::Each).unwrap_or(path.len());
    let Some(value) = follow(trim(document), &path[..straight]) else {
        return Found::Missing;
    };
    if straight == path.len() {
        return if value == NULL { Found::Missing } else { Found::One(value) };
    }
    if type_of(value) != JsonType::List {
        return Found::Missing;
    }
    let mut values = Vec::new();
    collect(value, &path[straight + 1..], &mut values);
    Found::Many(values)
}

/// Adds what stands at `path` in each item of `list`. Recurses once for each `[]` of the path, which is as long as the config wrote it.
fn collect<'a>(list: &'a [u8], path: &[Hop], values: &mut Vec<&'a [u8]>) {
    let straight = path.iter().position(|hop| *hop == Hop::Each).unwrap_or(path.len());
    for item in items(list) {
        match follow(item, &path[..straight]) {
            Some(value) if straight == path.len() => values.push(value),
            Some(inner) if type_of(inner) == JsonType::List => collect(inner, &path[straight + 1..], values),
            _ => values.push(NULL),
        }
    }
}

/// Follows hops that lead to one value at most.
fn follow<'a>(value: &'a [u8], path: &[Hop]) -> Option<&'a [u8]> {
    path.iter().try_fold(value, |value, hop| match hop {
        Hop::Field(name) => field(value, name),
        Hop::Index(index) if type_of(value) == JsonType::Object => field(value, &index.to_string()),
        Hop::Index(index) => items(value).nth(*index),
        Hop::Each => None,
    })
}

fn field<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut found = None;
    for (key, value) in entries(object) {
        if key == name.as_bytes() || key.contains(&b'\\') && unescape(key) == name {
            found = Some(value);
        }
    }
    found
}

/// The entries of a validated object in order, duplicates included: the key as written between its quotes (see [`unescape`]), and the
/// value. Empty for anything that is no object.
pub fn entries(object: &[u8]) -> Entries<'_> {
    Entries {
        object,
        at: first_inside(object, b'{'),
    }
}

/// The items of a validated list in order. Empty for anything that is no list.
pub fn items(list: &[u8]) -> Items<'_> {
    Items {
        list,
        at: first_inside(list, b'['),
    }
}

fn first_inside(container: &[u8], opening: u8) -> usize {
    let at = to_token(container, 0);
    if container.get(at) == Some(&opening) {
        at + 1
    } else {
        container.len()
    }
}

/// Iterator over the entries of an object, see [`entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    object: &'a [u8],
    /// Somewhere between two entries.
    at: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key_start = to_token(self.object, self.at);
        if self.object.get(key_start) != Some(&b'"') {
            return None;
        }
        let key_end = value_end(self.object, key_start);
        let start = to_token(self.object, key_end);
        let end = value_end(self.object, start);
        self.at = end;
        Some((inside(&self.object[key_start..key_end]), &self.object[start..end]))
    }
}

/// Iterator over the items of a list, see [`items`].
#[derive(Clone, Debug)]
pub struct Items<'a> {
    list: &'a [u8],
    /// Somewhere between two items.
    at: usize,
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let start = to_token(self.list, self.at);
        if start >= self.list.len() || self.list[start] == b']' {
            return None;
        }
        let end = value_end(self.list, start);
        self.at = end;
        Some(&self.list[start..end])
    }
}

/// The next byte that is no blank, comma or colon: in a valid document the beginning of a key or value, or the end of a container.
fn to_token(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':')) {
        at += 1;
    }
    at
}

/// The byte after the value that begins at `start`; past `start` unless that is the end.
fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        None => bytes.len(),
        Some(b'"') => string_end(bytes, start + 1),
        Some(b'{' | b'[') => container_end(bytes, start),
        Some(_) => {
            let rest = &bytes[start + 1..];
            let length = rest
                .iter()
                .position(|byte| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'));
            start + 1 + length.unwrap_or(rest.len())
        }
    }
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = to_special(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

fn container_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::json::tests_support::any_json;

    /// `a.0[].b` as hops.
    fn hops(text: &str) -> Vec<Hop> {
        let mut hops = Vec::new();
        for piece in text.split('.').filter(|piece| !piece.is_empty()) {
            let name = piece.trim_end_matches("[]");
            match name.parse() {
                Ok(index) => hops.push(Hop::Index(index)),
                Err(_) if name.is_empty() => {}
                Err(_) => hops.push(Hop::Field(name.to_string())),
            }
            hops.extend((0..(piece.len() - name.len()) / 2).map(|_| Hop::Each));
        }
        hops
    }

    fn check(document: &str, path: &str, expected: &str) {
        let found = match find(document.as_bytes(), &hops(path)) {
            Found::Missing => "missing".to_string(),
            Found::One(value) => String::from_utf8_lossy(value).into_owned(),
            Found::Many(values) => values
                .iter()
                .map(|value| String::from_utf8_lossy(value).into_owned() + ";")
                .collect(),
        };
        assert_eq!(found, expected, "{path} in {document}");
    }

    #[test]
    fn a_path_leads_to_one_value() {
        check(r#" {"a": {"b": [1, {"c":"x\"]}"}, 2 ]}} "#, "a.b.1.c", r#""x\"]}""#);
        check(r#"{"a":[10,20]}"#, "a.1", "20");
        check(r#"{"a":[10,20]}"#, "a.2", "missing");
        check(r#"{"a":[10,20]}"#, "a.b", "missing");
        check(r#"{"a":"x"}"#, "a.b", "missing");
        check(r#"{"a":"x"}"#, "a.0", "missing");
        check(r#"{"a":null}"#, "a", "missing");
        check("null", "", "missing");
        check(" [1 , 2]\n", "", "[1 , 2]");
        check(r#"{"":1,"x":2}"#, "x", "2");
        check("{}", "a", "missing");
        check("[]", "0", "missing");
    }

    #[test]
    fn an_index_into_an_object_is_a_key() {
        check(r#"{"0":"zero"}"#, "0", r#""zero""#);
    }

    #[test]
    fn of_duplicate_keys_the_last_counts_and_escaped_keys_are_keys() {
        check(r#"{"a":1,"a":2}"#, "a", "2");
        check(r#"{"a":1,"\u0061":3}"#, "a", "3");
        check(r#"{"\u0061":{"b":4}}"#, "a.b", "4");
    }

    #[test]
    fn brackets_give_every_item_with_null_where_nothing_is() {
        check(
            r#"{"p":[{"id":1},{},{"id":null},3,{"id":{"x":[1]}}]}"#,
            "p[].id",
            r#"1;null;null;null;{"x":[1]};"#,
        );
        check(r#"[[1,2],[],[3]]"#, "[].0", "1;null;3;");
        check(r#"[1,null,"x"]"#, "[]", "1;null;\"x\";");
        check("[]", "[]", "");
        check(r#"{"p":{"id":1}}"#, "p[].id", "missing");
        check(r#"{"p":null}"#, "p[]", "missing");
    }

    #[test]
    fn brackets_inside_brackets_give_one_list() {
        check(r#"{"p":[{"t":[1,2]},{"t":[]},{},{"t":[3]}]}"#, "p[].t[]", "1;2;null;3;");
        check(r#"[[[1],[2]],[[3]]]"#, "[][][]", "1;2;3;");
    }

    #[test]
    fn bytes_that_were_never_validated_end_without_panic_or_loop() {
        for text in [
            "{", "[", "{\"a", "{\"a\":", "[1,", "{\"a\\", "]", "}", "[}", "{]", "[[", ",", "\"", "{\"a\" 1", "[1 2", "tru",
        ] {
            for path in ["", "a", "0", "[]", "a.0[].b"] {
                find(text.as_bytes(), &hops(path));
            }
            assert!(entries(text.as_bytes()).count() < 9 && items(text.as_bytes()).count() < 9, "{text}");
        }
    }

    /// Every place of a document, as a JSON pointer's hops.
    fn places(value: &Value, here: &mut Vec<Hop>, all: &mut Vec<Vec<Hop>>) {
        all.push(here.clone());
        match value {
            Value::Array(values) => values.iter().enumerate().for_each(|(index, value)| {
                here.push(Hop::Index(index));
                places(value, here, all);
                here.pop();
            }),
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                here.push(Hop::Field(key.clone()));
                places(value, here, all);
                here.pop();
            }),
            _ => {}
        }
    }

    fn pointer(path: &[Hop]) -> String {
        path.iter()
            .map(|hop| match hop {
                Hop::Field(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
                Hop::Index(index) => format!("/{index}"),
                Hop::Each => unreachable!("pointers have no lists"),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn find_agrees_with_the_pointers_of_serde_json(tree in any_json(), pretty in any::<bool>(), wrong in 0usize..4) {
            let text = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
            let mut all = Vec::new();
            places(&tree, &mut Vec::new(), &mut all);
            for mut path in all {
                if wrong == 0 {
                    path.push(Hop::Field("not there".to_string()));
                }
                let expected = tree.pointer(&pointer(&path)).filter(|value| !value.is_null());
                let found = match find(text.as_bytes(), &path) {
                    Found::One(value) => Some(serde_json::from_slice::<Value>(value).unwrap()),
                    Found::Missing => None,
                    Found::Many(_) => panic!("no list was asked for"),
                };
                prop_assert_eq!(found.as_ref(), expected);
            }
        }

        #[test]
        fn items_and_entries_are_all_there(tree in any_json()) {
            let text = serde_json::to_string(&tree).unwrap();
            let listed: Vec<Value> = items(text.as_bytes()).map(|item| serde_json::from_slice(item).unwrap()).collect();
            prop_assert_eq!(listed, tree.as_array().cloned().unwrap_or_default());
            let mut map = serde_json::Map::new();
            for (key, value) in entries(text.as_bytes()) {
                map.insert(unescape(key).into_owned(), serde_json::from_slice(value).unwrap());
            }
            prop_assert_eq!(map, tree.as_object().cloned().unwrap_or_default());
        }
    }
}
