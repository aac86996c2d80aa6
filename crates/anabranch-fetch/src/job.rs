//! A job: one request to make, and what tells it from all others.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use serde_json::value::RawValue;
use url::Url;

/// What makes a job the same one in a later run: the user's `--id`, or a hash of method, normalised URL, body and how often these
/// three came before in the input (see [`JobId::of`]).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Box<str>);

impl JobId {
    /// An id that the user gave.
    pub fn given(text: impl Into<Box<str>>) -> Self {
        JobId(text.into())
    }

    /// The first 16 bytes, as 32 hex digits, of the BLAKE3 hash of the method, the URL as [`normalised`], the BLAKE3 hash of the
    /// body, and `nth`: how often the same three came before in the input. Crawled links use 0.
    pub fn of(method: &Method, url: &Url, body: Option<&[u8]>, nth: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(method.as_str().as_bytes());
        hasher.update(b"\n");
        hasher.update(normalised(url).as_bytes());
        hasher.update(b"\n");
        if let Some(body) = body {
            hasher.update(blake3::hash(body).as_bytes());
        }
        hasher.update(&nth.to_le_bytes());
        let mut text = hasher.finalize().to_hex().to_string();
        text.truncate(32);
        JobId(text.into())
    }

    /// As it stands in records.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL by which jobs are told apart: without fragment, and otherwise as the URL Standard writes it (scheme and host in lower case,
/// default port and dot segments gone).
pub fn normalised(url: &Url) -> &str {
    let text = url.as_str();
    &text[..text.find('#').unwrap_or(text.len())]
}

/// One request to make.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its place in the input, from 1: the line of a list, the row of a table. None for what was discovered.
    pub seq: Option<u64>,
    /// What tells it from all others.
    pub id: JobId,
    /// GET unless said.
    pub method: Method,
    /// Where to; http or https, with a host.
    pub url: Url,
    /// Headers of this job, on top of those of the run.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is sent.
    pub body: Option<Bytes>,
    /// What the input says of it besides: passed through into the record as JSON.
    pub meta: Option<Box<RawValue>>,
    /// Links followed to get here: 0 for what the input names.
    pub depth: u32,
    /// The job whose page named this one.
    pub parent: Option<JobId>,
}

impl Job {
    /// A GET of `url`, the only job of its kind.
    pub fn get(url: Url) -> Self {
        Job {
            seq: None,
            id: JobId::of(&Method::GET, &url, None, 0),
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: None,
            meta: None,
            depth: 0,
            parent: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(method: Method, url: &str, body: Option<&[u8]>, nth: u32) -> JobId {
        JobId::of(&method, &Url::parse(url).unwrap(), body, nth)
    }

    #[test]
    fn an_id_depends_on_what_is_asked_and_not_on_how_it_is_written() {
        let one = id(Method::GET, "HTTP://Example.com:80/a/../b#top", None, 0);
        assert_eq!(one, id(Method::GET, "http://example.com/b", None, 0));
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one, id(Method::GET, "http://example.com/b", None, 1));
        assert_ne!(one, id(Method::POST, "http://example.com/b", None, 0));
        assert_ne!(one, id(Method::GET, "http://example.com/b", Some(b""), 0));
        assert_ne!(one, id(Method::GET, "http://example.com/B", None, 0));
    }
}
