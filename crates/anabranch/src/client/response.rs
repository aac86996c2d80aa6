//! An answer as the caller sees it: status, headers and the whole decoded body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::facts::{Facts, WireFacts};
use super::own;

/// A whole answer. The body has been read to its end and decoded; no connection is behind it any more.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: Headers,
    body: Bytes,
    facts: WireFacts,
}

/// Headers as their wire left them.
#[derive(Clone, Debug)]
pub(super) enum Headers {
    /// In a box: the other is the usual one, and an answer is moved often.
    Map(Box<HeaderMap>),
    /// Lines `name:value`, names in lower case; looked through only when somebody asks.
    Lines { lines: Box<[u8]>, says_caching: bool },
}

impl Response {
    /// An answer that did not come over a wire: out of a cache, or in a test.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Response {
            status,
            headers: Headers::Map(Box::default()),
            body: body.into(),
            facts: WireFacts::NONE,
        }
    }

    pub(super) fn from_wire(status: u16, headers: Headers, body: Bytes, facts: WireFacts) -> Self {
        Response {
            status,
            headers,
            body,
            facts,
        }
    }

    /// The same with one more header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        let mut map = self.headers.into_map();
        map.append(name, value);
        self.headers = Headers::Map(Box::new(map));
        self
    }

    /// The status code, from 200 to 599 unless the peer is creative.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of that name as text; `None` also where its value is not visible ASCII. The case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.text(name)
    }

    /// The first header of that name as bytes.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.headers.bytes(name)
    }

    /// All headers, names in lower case. `content-encoding` and `content-length` are gone where the body was decoded.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter()
    }

    /// How it came over the wire.
    pub fn facts(&self) -> Facts {
        self.facts.told()
    }

    /// Whether it says anything of how long it may be kept or what it varies by: `Cache-Control`, `Expires` or `Vary`. Costs no look at
    /// the headers.
    pub fn says_caching(&self) -> bool {
        match &self.headers {
            Headers::Map(map) => [header::CACHE_CONTROL, header::EXPIRES, header::VARY]
                .iter()
                .any(|name| map.contains_key(name)),
            Headers::Lines { says_caching, .. } => *says_caching,
        }
    }

    /// The body; empty where the answer has none.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body, without a copy.
    pub fn into_body(self) -> Bytes {
        self.body
    }
}

impl Headers {
    /// The first of that name, if it is visible ASCII.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let value = self.bytes(name)?;
        let is_visible = value.iter().all(|byte| matches!(byte, b'\t' | 0x20..=0x7e));
        std::str::from_utf8(value).ok().filter(|_| is_visible)
    }

    /// The first of that name.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        match self {
            Headers::Map(map) => map.get(name).map(HeaderValue::as_bytes),
            Headers::Lines { lines, .. } => own::find(lines, name),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let (map, lines): (Option<&HeaderMap>, &[u8]) = match self {
            Headers::Map(map) => (Some(map), &[]),
            Headers::Lines { lines, .. } => (None, lines),
        };
        let of_map = map.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_bytes()));
        of_map.chain(own::iter(lines))
    }

    /// The same as a map.
    pub(super) fn into_map(self) -> HeaderMap {
        let lines = match self {
            Headers::Map(map) => return *map,
            Headers::Lines { lines, .. } => lines,
        };
        let pairs =
            own::iter(&lines).filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(value).ok()?)));
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        map
    }
}
