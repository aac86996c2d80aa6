//! An answer as the caller sees it: status, headers and the whole decoded body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A whole answer. The body has been read to its end and decoded; no connection is behind it any more.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Response {
    /// An answer that did not come over a wire: out of a cache, or in a test.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Response {
            status,
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    pub(super) fn from_wire(status: u16, headers: HeaderMap, body: Bytes) -> Self {
        Response { status, headers, body }
    }

    /// The same with one more header.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
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
        self.headers.get(name)?.to_str().ok()
    }

    /// The first header of that name as bytes.
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name).map(HeaderValue::as_bytes)
    }

    /// All headers, names in lower case. `content-encoding` and `content-length` are gone where the body was decoded.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
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
