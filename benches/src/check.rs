//! Whether an answer is the right one: every part once, about the id that was asked for, as the service said it.

use std::collections::HashMap;

use serde_json::Value;

use crate::answer::Reader;
use crate::page::{Body, MARK, RECORD_MARK};

/// Bodies up to this size are compared value by value now and then; larger ones are searched only.
const COMPARED_BYTES: usize = 2_000_000;
/// All of so many first answers, and one of so many later ones, are compared value by value.
const COMPARED_FIRST: u64 = 32;
const COMPARED_EVERY: u64 = 256;

/// Knows what a right answer is.
pub struct Checker {
    /// The names of the parts that must be there, once each.
    names: HashMap<Vec<u8>, usize>,
    order: Vec<String>,
    body: Body,
    /// The member of the answer that holds the parts, if it is not the answer itself.
    inside: Option<String>,
    /// For each part, the number of the last answer that had it.
    seen: Vec<u64>,
    answers: u64,
}

impl Checker {
    /// For answers with these parts, of bodies of this size.
    pub fn new(names: &[String], body_bytes: usize, inside: Option<&str>) -> Checker {
        Checker {
            names: names.iter().enumerate().map(|(at, name)| (name.clone().into_bytes(), at)).collect(),
            order: names.to_vec(),
            body: Body::new(body_bytes),
            inside: inside.map(str::to_owned),
            seen: vec![0; names.len()],
            answers: 0,
        }
    }

    /// Whether this is the answer for an id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&mut self, answer: &Reader, id: u64) -> Result<(), String> {
        let head = answer.head().ok_or("no head")?;
        if head.status != 200 {
            return Err(format!(
                "status {}: {}",
                head.status,
                String::from_utf8_lossy(&answer.body()[..answer.body().len().min(200)])
            ));
        }
        if !head.is_json {
            return Err("not said to be JSON".to_owned());
        }
        if head.parts_missing {
            return Err("parts are missing".to_owned());
        }
        self.answers += 1;
        self.search(answer.body(), id)?;
        let compares = self.answers <= COMPARED_FIRST || self.answers.is_multiple_of(COMPARED_EVERY);
        if compares && self.body.bytes * self.order.len() <= COMPARED_BYTES {
            self.compare(answer.body(), id)?;
        }
        Ok(())
    }

    /// Every part is there once and is about this id, and there are as many records as there should be.
    fn search(&mut self, body: &[u8], id: u64) -> Result<(), String> {
        let mut found = 0;
        for at in memchr::memmem::find_iter(body, MARK) {
            let path = text_after(&body[at + MARK.len()..]).ok_or("a part without its path")?;
            let (name, of) = path.split_at(memchr::memchr(b'/', path).ok_or("a part without an id")?);
            if of[1..] != *id.to_string().as_bytes() {
                return Err(format!("asked for {id}, got `{}`", String::from_utf8_lossy(path)));
            }
            let part = *self
                .names
                .get(name)
                .ok_or_else(|| format!("unknown part `{}`", String::from_utf8_lossy(path)))?;
            if std::mem::replace(&mut self.seen[part], self.answers) == self.answers {
                return Err(format!("part `{}` twice", String::from_utf8_lossy(name)));
            }
            found += 1;
        }
        if found != self.order.len() {
            return Err(format!("{found} parts of {}", self.order.len()));
        }
        if body.len() < self.order.len() * self.body.bytes {
            return Err(format!("only {} bytes", body.len()));
        }
        let is_cheap_here = self.answers % 16 == 1 || self.body.bytes > COMPARED_BYTES;
        let records = if is_cheap_here {
            memchr::memmem::find_iter(body, RECORD_MARK).count()
        } else {
            0
        };
        let wanted = self.order.len() * self.body.records;
        // Some gateways write blanks; what they wrote is compared value by value.
        if records != 0 && records != wanted {
            return Err(format!("{records} records of {wanted}"));
        }
        Ok(())
    }

    fn compare(&self, body: &[u8], id: u64) -> Result<(), String> {
        let answer: Value = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        let parts = self
            .inside
            .as_ref()
            .filter(|_| !self.is_bare())
            .map_or(&answer, |inside| &answer[inside.as_str()]);
        for name in &self.order {
            let part = if self.is_bare() { parts } else { &parts[name.as_str()] };
            if !same(part, &self.body.value(&format!("{name}/{id}"))) {
                return Err(format!("part `{name}` is not what the service said"));
            }
        }
        let members = parts.as_object().map_or(0, serde_json::Map::len);
        if !self.is_bare() && members != self.order.len() {
            return Err(format!("{members} members instead of {}", self.order.len()));
        }
        Ok(())
    }

    /// One part and nothing around it: a service that is asked without a gateway.
    fn is_bare(&self) -> bool {
        self.inside.as_deref() == Some("")
    }
}

/// The text in quotes that begins here, blanks before it left out.
fn text_after(bytes: &[u8]) -> Option<&[u8]> {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let text = bytes[start..].strip_prefix(b"\"")?;
    Some(&text[..memchr::memchr(b'"', text)?])
}

/// The same value, members in any order.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other)),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(ids: &[(&str, u64)]) -> String {
        let body = Body::new(1_000);
        let members = ids
            .iter()
            .map(|(name, id)| format!("\"{name}\":{}", body.value(&format!("{name}/{id}"))));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    fn check(answer: &str) -> Result<(), String> {
        let mut reader = Reader::new();
        let mut bytes = answer.as_bytes();
        assert!(reader.read(&mut bytes).map_err(|error| error.to_string())?);
        Checker::new(&["a".to_owned(), "b".to_owned()], 1_000, None).check(&reader, 100_007)
    }

    fn plain(status: u16, body: &str) -> String {
        format!(
            "HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[test]
    fn a_whole_page_is_right_with_a_length_and_in_chunks() {
        let page = page(&[("b", 100_007), ("a", 100_007)]);
        assert_eq!(check(&plain(200, &page)), Ok(()));
        let (one, two) = page.split_at(300);
        let chunks = format!("{:x}\r\n{one}\r\n{:X};x=y\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
        assert_eq!(
            check(&format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            )),
            Ok(())
        );
    }

    #[test]
    fn anything_else_is_wrong() {
        let right = page(&[("a", 100_007), ("b", 100_007)]);
        for (answer, why) in [
            (plain(502, "{}"), "status 502"),
            (plain(200, "{}"), "0 parts of 2"),
            (plain(200, &page(&[("a", 100_007)])), "1 parts of 2"),
            (plain(200, &page(&[("a", 100_007), ("a", 100_007)])), "twice"),
            (plain(200, &page(&[("a", 100_007), ("b", 100_008)])), "asked for 100007"),
            (plain(200, &page(&[("a", 100_007), ("b", 100_007), ("c", 100_007)])), "unknown part"),
            (plain(200, &right.replacen("number 3", "number 4", 1)), "not what the service said"),
            (
                plain(200, &right).replacen("content-length", "Anabranch-Parts: a\r\ncontent-length", 1),
                "parts are missing",
            ),
            (format!("{}x", plain(200, &right)), "bytes after"),
        ] {
            let said = check(&answer).unwrap_err();
            assert!(said.contains(why), "{said:?} should say {why:?}");
        }
    }
}
