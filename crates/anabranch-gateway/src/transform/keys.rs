//! `pick`, `drop` and `rename`: keys of an answer's object change, or of each object in an answer's list; values stay as they came, byte
//! for byte.

use crate::json::{JsonType, entries, items, trim, type_of, unescape, write_string};

/// What happens to keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyEdit {
    /// Only these stay; None: all.
    pub(crate) pick: Option<Vec<String>>,
    /// These go.
    pub(crate) drop: Vec<String>,
    /// The first becomes the second, in its place. An entry that had the new name before goes.
    pub(crate) rename: Vec<(String, String)>,
}

impl KeyEdit {
    /// Changes a validated document. What is neither an object nor in a list stays as it is.
    pub(crate) fn apply(&self, document: &[u8]) -> Vec<u8> {
        let document = trim(document);
        let mut out = Vec::with_capacity(document.len() + 64);
        match type_of(document) {
            JsonType::List => {
                out.push(b'[');
                for item in items(document) {
                    if out.len() > 1 {
                        out.push(b',');
                    }
                    self.value(item, &mut out);
                }
                out.push(b']');
            }
            _ => self.value(document, &mut out),
        }
        out
    }

    fn value(&self, value: &[u8], out: &mut Vec<u8>) {
        if type_of(value) != JsonType::Object {
            out.extend_from_slice(value);
            return;
        }
        let start = out.len();
        out.push(b'{');
        for (key, value) in entries(value) {
            let name = unescape(key);
            let stays = self.pick.as_ref().is_none_or(|pick| pick.iter().any(|kept| *kept == name));
            if !stays || self.drop.iter().any(|dropped| *dropped == name) {
                continue;
            }
            let renamed = self.rename.iter().find(|(from, _)| *from == name);
            if renamed.is_none() && self.rename.iter().any(|(_, to)| *to == name) {
                continue;
            }
            if out.len() > start + 1 {
                out.push(b',');
            }
            match renamed {
                Some((_, to)) => write_string(out, to),
                None => {
                    out.push(b'"');
                    out.extend_from_slice(key);
                    out.push(b'"');
                }
            }
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn edit(pick: Option<&[&str]>, drop: &[&str], rename: &[(&str, &str)]) -> KeyEdit {
        KeyEdit {
            pick: pick.map(names),
            drop: names(drop),
            rename: rename.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        }
    }

    fn check(edit: &KeyEdit, before: &str, after: &str) {
        assert_eq!(String::from_utf8(edit.apply(before.as_bytes())).unwrap(), after);
    }

    #[test]
    fn values_stay_as_they_came() {
        let edit = edit(Some(&["b", "a"]), &[], &[]);
        check(
            &edit,
            r#" { "a" : 1.500, "c": 2, "b":{ "x" : [ 1 ]} } "#,
            r#"{"a":1.500,"b":{ "x" : [ 1 ]}}"#,
        );
        check(&edit, r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#);
        check(&edit, r#"{"c":1}"#, "{}");
    }

    #[test]
    fn lists_are_changed_item_by_item_and_all_else_stays() {
        let edit = edit(None, &["a"], &[]);
        check(&edit, r#"[{"a":1,"b":2}, 3 ,[{"a":1}], {"a":1}]"#, r#"[{"b":2},3,[{"a":1}],{}]"#);
        check(&edit, "[]", "[]");
        check(&edit, " \"a\" ", "\"a\"");
        check(&edit, "null", "null");
    }

    #[test]
    fn keys_are_renamed_in_their_place() {
        let swap = edit(None, &[], &[("a", "b"), ("b", "a")]);
        check(&swap, r#"{"a":1,"x":0,"b":2}"#, r#"{"b":1,"x":0,"a":2}"#);
        let taken = edit(None, &[], &[("a", "b")]);
        check(&taken, r#"{"b":2,"a":1}"#, r#"{"b":1}"#);
        check(&taken, r#"{"\u0061":1}"#, r#"{"b":1}"#);
        check(&edit(None, &[], &[("a", "\"q\"")]), r#"{"a":1}"#, r#"{"\"q\"":1}"#);
        check(&edit(Some(&["a"]), &[], &[("a", "b")]), r#"{"a":1,"b":2}"#, r#"{"b":1}"#);
    }

    #[test]
    fn names_are_compared_as_text() {
        check(&edit(None, &["é"], &[]), r#"{"\u00e9":1,"é":2,"e":3}"#, r#"{"e":3}"#);
    }
}
