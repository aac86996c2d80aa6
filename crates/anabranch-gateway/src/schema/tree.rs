//! The body as a tree, for the validator. Its text was checked before, so what is refused here is JSON that two readers could take for
//! different values: a schema that looked at one of them would say nothing about the other.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How the message of a repeated key begins.
const TWICE: &str = "twice";

/// Reads a body that is valid JSON, nested 64 deep at the most; the error says what it must do instead.
pub(super) fn read(body: &[u8]) -> Result<Value, &'static str> {
    let read: Result<Tree, _> = serde_json::from_slice(body);
    read.map(|tree| tree.0).map_err(|error| {
        if error.to_string().starts_with(TWICE) {
            "not hold a key twice in one object"
        } else {
            "hold no number beyond 1e308 and no half of a surrogate pair"
        }
    })
}

struct Tree(Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Tree)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Tree(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Tree(value))) = members.next_entry::<String, Tree>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        let text = r#"{"a":[1,-2,1.5,1e3,18446744073709551615,123456789012345678901234],"b":{"c":null,"d":true,"é":"\u00e9\n"}}"#;
        assert_eq!(read(text.as_bytes()), Ok(serde_json::from_str(text).unwrap()));
    }

    #[test]
    fn what_two_readers_take_for_different_values_is_refused() {
        let twice = Err("not hold a key twice in one object");
        assert_eq!(read(br#"{"a":1,"a":2}"#), twice);
        assert_eq!(read(br#"[{"b":{"a":1,"\u0061":1}}]"#), twice);
        assert!(read(br#"{"a":1,"A":2}"#).is_ok());
        let beyond = Err("hold no number beyond 1e308 and no half of a surrogate pair");
        assert_eq!(read(b"[1e400]"), beyond);
        assert_eq!(read(br#"["\ud800"]"#), beyond);
    }
}
