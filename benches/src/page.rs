//! What is asked for: the parts of a page, the ports of their services, and the body of one part, which says what it was asked for,
//! so that an answer can be told from another one.

use serde_json::{Value, json};

/// The names of the parts of the page, which are the paths of the services too.
pub const PARTS: [&str; 12] = [
    "activity",
    "items",
    "prices",
    "stock",
    "rules",
    "banners",
    "coupons",
    "profile",
    "cart",
    "rank",
    "comments",
    "recommend",
];
/// The first port of the services; each has the next one. Fixed, so that the peers' configs can be run by hand, and so that two
/// benchmarks cannot run at once.
pub const FIRST_SERVICE: u16 = 19_100;
/// The port of every gateway.
pub const GATEWAY: u16 = 19_200;
/// The size of a part's body unless a scene says otherwise.
pub const BODY_BYTES: usize = 1_000;
/// Requests ask for ids of six digits, one after another.
pub const FIRST_ID: u64 = 100_000;
/// How many ids there are.
pub const IDS: u64 = 900_000;

/// What precedes the name and id in a body; the checks look for it.
pub const MARK: &[u8] = b"\"part\":";
/// What stands once in each record of a body.
pub const RECORD_MARK: &[u8] = b"\"on\":true";

/// The bodies of one size: `{"part":"cart/100007","note":"xxx","total":8,"items":[...]}`. All have the same length, whatever the path.
#[derive(Clone, Copy)]
pub struct Body {
    /// Its length in bytes.
    pub bytes: usize,
    /// How many records it lists.
    pub records: usize,
    /// The note's filling and all that follows; a longer path takes more of the filling away.
    tail: &'static [u8],
}

const FRONT: &str = r#"{"part":""#;
const BETWEEN: &str = r#"","note":""#;
/// The longest path, `recommend/100007`, and some more.
const PATH_MAX: usize = 24;

impl Body {
    /// Bodies of so many bytes, at least 100.
    pub fn new(bytes: usize) -> Body {
        let around = |total: usize| FRONT.len() + PATH_MAX + BETWEEN.len() + format!(r#"","total":{total},"items":[]}}"#).len();
        let mut records = Vec::new();
        let mut length = 0;
        loop {
            let record = record(records.len());
            length += record.len() + 1;
            if around(records.len() + 1) + length > bytes {
                break;
            }
            records.push(record);
        }
        let end = format!(r#"","total":{},"items":[{}]}}"#, records.len(), records.join(","));
        let filling = bytes.saturating_sub(FRONT.len() + BETWEEN.len() + end.len());
        let tail = format!("{}{end}", "x".repeat(filling)).into_bytes().leak();
        Body {
            bytes,
            records: records.len(),
            tail,
        }
    }

    /// Appends the beginning of the body for a path such as `cart/100007`.
    pub fn write_front(&self, path: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(FRONT.as_bytes());
        out.extend_from_slice(path);
        out.extend_from_slice(BETWEEN.as_bytes());
    }

    /// The rest of the body.
    pub fn rest(&self, path: &[u8]) -> &'static [u8] {
        &self.tail[path.len()..]
    }

    /// The whole body.
    pub fn whole(&self, path: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.bytes);
        self.write_front(path, &mut whole);
        whole.extend_from_slice(self.rest(path));
        whole
    }

    /// The value that the body stands for.
    pub fn value(&self, path: &str) -> Value {
        serde_json::from_slice(&self.whole(path.as_bytes())).unwrap_or_else(|error| json!(error.to_string()))
    }
}

fn record(number: usize) -> String {
    format!(
        r#"{{"id":{},"name":"item number {number} of a list","price":{}.25,"tags":["red","small"],"on":true}}"#,
        1000 + number,
        10 + number % 90
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_one_size_are_json_of_that_size_whatever_the_path() {
        for bytes in [200, 1_000, 100_000, 5_000_000] {
            let body = Body::new(bytes);
            for path in ["c0/100000", "recommend/999999"] {
                assert_eq!(body.whole(path.as_bytes()).len(), bytes);
                assert_eq!(body.value(path)["part"], path);
                assert_eq!(body.value(path)["items"].as_array().map(Vec::len), Some(body.records));
            }
        }
    }
}
