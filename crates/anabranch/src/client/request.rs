//! What is asked: a method, a path and query, headers and a body, for whichever endpoint is picked.
//!
//! Many requests share one [`Prototype`]: the method and the headers that never change. What frames a message on the wire
//! (`Host`, `Content-Length`, `Connection`, ...) belongs to the connection; such headers are refused here, so that no value of
//! a caller can cut a message in two.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::Method;
use http_body_util::Full;

use super::endpoint::Endpoint;
use super::proxy::Proxy;
use super::upload::{Outgoing, Upload};
use crate::{CallError, Kind};

/// Headers that many requests share, kept in the two forms that wires want.
#[derive(Clone, Debug, Default)]
pub struct HeaderLines {
    list: Vec<(HeaderName, HeaderValue)>,
    /// The same as lines of HTTP/1.1.
    text: Vec<u8>,
}

impl HeaderLines {
    /// No headers.
    pub fn new() -> Self {
        HeaderLines::default()
    }

    /// Adds a header.
    ///
    /// # Errors
    /// [`Kind::Value`]: the header frames the message and is not the caller's to set.
    pub fn push(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), CallError> {
        refuse_framing(&name)?;
        write_line(&mut self.text, name.as_str(), value.as_bytes());
        self.list.push((name, value));
        Ok(())
    }

    /// Whether there is one of that name.
    pub fn has(&self, name: &HeaderName) -> bool {
        self.list.iter().any(|(other, _)| other == name)
    }
}

/// The method and the headers that many requests share.
#[derive(Clone, Debug)]
pub struct Prototype {
    method: Method,
    lines: HeaderLines,
}

impl Prototype {
    /// A prototype with no headers.
    pub fn new(method: Method) -> Self {
        Prototype {
            method,
            lines: HeaderLines::new(),
        }
    }

    /// The same with one more header.
    ///
    /// # Errors
    /// [`Kind::Value`]: the header frames the message and is not the caller's to set.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, CallError> {
        self.lines.push(name, value)?;
        Ok(self)
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }
}

/// The trace that a request belongs to, and its own span in it (W3C Trace Context): sent as `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace; not zero.
    pub trace: u128,
    /// The span; not zero.
    pub span: u64,
}

impl Span {
    /// A span of its own in the same trace.
    pub fn child(self) -> Span {
        Span {
            trace: self.trace,
            span: fastrand::u64(1..),
        }
    }

    /// Version 00, not sampled: 55 bytes (section 3.2 of the recommendation).
    fn text(self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace.to_be_bytes());
        write_hex(&mut text[36..52], &self.span.to_be_bytes());
        text
    }
}

fn write_hex(out: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// One request, not yet bound to an endpoint.
#[derive(Clone, Debug)]
pub struct Request {
    prototype: Arc<Prototype>,
    /// Headers that this request shares with others of one occasion.
    shared: Option<Arc<HeaderLines>>,
    span: Option<Span>,
    /// Path and query, checked.
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    content_type: Option<HeaderValue>,
    body: Bytes,
}

impl Request {
    /// A request without headers or body. The path starts with `/`, is encoded already and goes behind the endpoint's base path.
    ///
    /// # Errors
    /// [`Kind::Value`]: the path does not start with `/`, has a fragment or bytes that are not visible ASCII, or is longer
    /// than 64 KiB; or the method is CONNECT.
    pub fn new(method: Method, path_and_query: String) -> Result<Self, CallError> {
        Request::with_prototype(Arc::new(Prototype::new(method)), path_and_query)
    }

    /// A `GET` of a path.
    ///
    /// # Errors
    /// As [`new`](Request::new).
    pub fn get(path_and_query: impl Into<String>) -> Result<Self, CallError> {
        static GET: LazyLock<Arc<Prototype>> = LazyLock::new(|| Arc::new(Prototype::new(Method::GET)));
        Request::with_prototype(GET.clone(), path_and_query.into())
    }

    /// A request with a shared prototype.
    ///
    /// # Errors
    /// As [`new`](Request::new).
    pub fn with_prototype(prototype: Arc<Prototype>, path_and_query: String) -> Result<Self, CallError> {
        if prototype.method == Method::CONNECT {
            return Err(CallError::new(Kind::Value, "the method CONNECT cannot be sent"));
        }
        let is_plain = path_and_query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !path_and_query.starts_with('/') || !is_plain {
            return Err(CallError::new(Kind::Value, "the path must start with `/` and be percent-encoded"));
        }
        if path_and_query.len() > MAX_PATH {
            return Err(CallError::new(Kind::Value, "the path is longer than 64 KiB"));
        }
        Ok(Request {
            prototype,
            shared: None,
            span: None,
            path: path_and_query,
            headers: Vec::new(),
            content_type: None,
            body: Bytes::new(),
        })
    }

    /// The same with headers that it shares with other requests.
    pub fn shared(mut self, lines: Arc<HeaderLines>) -> Self {
        self.shared = Some(lines);
        self
    }

    /// The same as part of a trace.
    pub fn span(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// The same with one more header.
    ///
    /// # Errors
    /// [`Kind::Value`]: the header frames the message and is not the caller's to set.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, CallError> {
        refuse_framing(&name)?;
        self.headers.push((name, value));
        Ok(self)
    }

    /// The same with a body and its content type, which replaces one of the prototype.
    pub fn body(mut self, body: impl Into<Bytes>, content_type: HeaderValue) -> Self {
        self.body = body.into();
        self.content_type = Some(content_type);
        self
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.prototype.method
    }

    /// The path and query, without the endpoint's base path.
    pub fn path_and_query(&self) -> &str {
        &self.path
    }

    /// The body.
    pub fn body_bytes(&self) -> &Bytes {
        &self.body
    }

    /// Whether asking twice does what asking once does: GET, HEAD and OPTIONS.
    pub fn is_idempotent(&self) -> bool {
        matches!(*self.method(), Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// Writes the head as HTTP/1.1 has it, without a map in between.
    pub(super) fn write_http1(&self, endpoint: &Endpoint, out: &mut Vec<u8>) {
        self.write_lines(endpoint, out);
        if !self.body.is_empty() || self.expects_body() {
            write_line(out, "content-length", self.body.len().to_string().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The same for a body that comes piece by piece.
    pub(super) fn write_http1_before(&self, upload: &Upload, endpoint: &Endpoint, out: &mut Vec<u8>) {
        self.write_lines(endpoint, out);
        match upload.length() {
            Some(length) => write_line(out, "content-length", length.to_string().as_bytes()),
            None => write_line(out, "transfer-encoding", b"chunked"),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// All of the head but what frames the body.
    fn write_lines(&self, endpoint: &Endpoint, out: &mut Vec<u8>) {
        out.extend_from_slice(self.method().as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(endpoint.target().as_bytes());
        out.extend_from_slice(self.path.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        out.extend_from_slice(endpoint.opening());
        let replaces_type = self.content_type.is_some() && self.prototype.lines.has(&header::CONTENT_TYPE);
        if replaces_type {
            let others = self.prototype.lines.list.iter().filter(|(name, _)| *name != header::CONTENT_TYPE);
            others.for_each(|(name, value)| write_line(out, name.as_str(), value.as_bytes()));
        } else {
            out.extend_from_slice(&self.prototype.lines.text);
        }
        if let Some(shared) = &self.shared {
            out.extend_from_slice(&shared.text);
        }
        if let Some(span) = self.span {
            write_line(out, TRACEPARENT.as_str(), &span.text());
        }
        for (name, value) in &self.headers {
            write_line(out, name.as_str(), value.as_bytes());
        }
        if let Some(content_type) = &self.content_type {
            write_line(out, "content-type", content_type.as_bytes());
        }
    }

    /// The request as hyper's HTTP/1.1 sends it: origin form, or absolute form for a proxy, and a `Host`.
    pub(super) fn to_http1(&self, endpoint: &Endpoint, upload: Option<Upload>) -> Result<http::Request<Outgoing>, CallError> {
        let mut headers = HeaderMap::with_capacity(self.header_count().max(HEADERS_OF_AN_ANSWER));
        headers.insert(header::HOST, endpoint.host_header().clone());
        if let Some(authorization) = endpoint.absolute_form_reader().and_then(Proxy::authorization) {
            let mut authorization = HeaderValue::try_from(authorization)
                .map_err(|error| CallError::new(Kind::Value, "the proxy's user or password cannot be sent").caused_by(error))?;
            authorization.set_sensitive(true);
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        self.fill(&mut headers, upload.is_some());
        // hyper would send none where it does not expect one.
        if upload.as_ref().is_some_and(|upload| upload.length().is_none()) {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Ok(self.assemble(endpoint.request_target(&self.path)?, headers, upload))
    }

    /// The request as HTTP/2 sends it: scheme and authority stand in the URI, and there is no `Host`.
    pub(super) fn to_http2(&self, endpoint: &Endpoint, upload: Option<Upload>) -> Result<http::Request<Outgoing>, CallError> {
        let mut headers = HeaderMap::with_capacity(self.header_count());
        self.fill(&mut headers, upload.is_some());
        Ok(self.assemble(endpoint.absolute_form(&self.path)?, headers, upload))
    }

    fn header_count(&self) -> usize {
        self.prototype.lines.list.len() + self.shared.as_ref().map_or(0, |shared| shared.list.len()) + self.headers.len() + 4
    }

    fn fill(&self, headers: &mut HeaderMap, has_upload: bool) {
        let shared = self.shared.iter().flat_map(|shared| &shared.list);
        for (name, value) in self.prototype.lines.list.iter().chain(shared) {
            headers.append(name.clone(), value.clone());
        }
        if let Some(value) = self.span.and_then(|span| HeaderValue::from_bytes(&span.text()).ok()) {
            headers.append(TRACEPARENT, value);
        }
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        if let Some(content_type) = &self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        // hyper writes the length of a body that is there. An empty one it would leave out, and some servers then wait for it.
        if self.expects_body() && self.body.is_empty() && !has_upload {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }

    /// Whether servers wait for a length even where there is no body.
    fn expects_body(&self) -> bool {
        matches!(*self.method(), Method::POST | Method::PUT | Method::PATCH)
    }

    fn assemble(&self, uri: http::Uri, headers: HeaderMap, upload: Option<Upload>) -> http::Request<Outgoing> {
        let body = match upload {
            None => Outgoing::Whole(Full::new(self.body.clone())),
            Some(upload) => Outgoing::Upload(Box::new(upload)),
        };
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method().clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request
    }
}

/// hyper parses the answer's headers into the map of the request, so the map starts with room for a usual answer.
const HEADERS_OF_AN_ANSWER: usize = 12;

/// The longest path and query; also the most that a URI can hold.
const MAX_PATH: usize = u16::MAX as usize - 1;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn refuse_framing(name: &HeaderName) -> Result<(), CallError> {
    /// Framing and hop-by-hop fields (RFC 9110 sections 6.4 to 7.8, RFC 9113 section 8.2.2), and `Expect`, which changes the exchange.
    const REFUSED: [&str; 12] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "http2-settings",
    ];
    if REFUSED.contains(&name.as_str()) {
        return Err(CallError::new(
            Kind::Value,
            format!("the header `{name}` belongs to the connection and cannot be set"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::endpoint::WireSettings;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new(url, WireSettings::default()).unwrap()
    }

    #[test]
    fn a_path_that_could_break_the_request_line_is_refused() {
        for path in ["users", "", "/a b", "/a\r\nx: y", "/a#b", "/caf\u{e9}", "/a\u{7f}"] {
            let error = Request::get(path).unwrap_err();
            assert_eq!(error.kind(), Kind::Value, "{path:?}");
        }
        assert!(Request::new(Method::CONNECT, "/".to_string()).is_err());
        assert!(Request::get("/users/1?q=a%20b&x={y}").is_ok());
    }

    #[test]
    fn headers_that_frame_the_message_are_refused() {
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "te",
            "upgrade",
            "expect",
        ] {
            let name: HeaderName = name.parse().unwrap();
            let error = Request::get("/")
                .unwrap()
                .header(name.clone(), HeaderValue::from_static("1"))
                .unwrap_err();
            assert_eq!(error.kind(), Kind::Value, "{name}");
            assert!(Prototype::new(Method::GET).header(name, HeaderValue::from_static("1")).is_err());
        }
    }

    #[test]
    fn a_request_is_what_was_said_and_nothing_else() {
        let prototype = Prototype::new(Method::POST)
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .unwrap();
        let request = Request::with_prototype(Arc::new(prototype), "/users?x=1".to_string()).unwrap();
        let request = request
            .header(HeaderName::from_static("x-id"), HeaderValue::from_static("7"))
            .unwrap();
        let wire = request.to_http1(&endpoint("http://shop.svc:8000/base/"), None).unwrap();
        assert_eq!(wire.uri(), "/base/users?x=1");
        let headers: Vec<_> = wire
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            headers,
            ["host: shop.svc:8000", "accept: application/json", "x-id: 7", "content-length: 0"]
        );
    }

    #[test]
    fn http2_has_an_authority_in_place_of_a_host() {
        let wire = Request::get("/users")
            .unwrap()
            .to_http2(&endpoint("http://shop.svc"), None)
            .unwrap();
        assert_eq!(wire.uri(), "http://shop.svc/users");
        assert!(wire.headers().is_empty());
    }
}
