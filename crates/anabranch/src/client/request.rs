//! What is asked: a method, a path and query, headers and a body, for whichever endpoint is picked.
//!
//! Many requests share one [`Prototype`]: the method and the headers that never change. What frames a message on the wire
//! (`Host`, `Content-Length`, `Connection`, ...) belongs to the connection; such headers are refused here, so that no value of
//! a caller can cut a message in two.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::Method;
use http_body_util::Full;

use super::endpoint::Endpoint;
use crate::{CallError, Kind};

/// The method and the headers that many requests share.
#[derive(Clone, Debug)]
pub struct Prototype {
    method: Method,
    headers: HeaderMap,
}

impl Prototype {
    /// A prototype with no headers.
    pub fn new(method: Method) -> Self {
        Prototype {
            method,
            headers: HeaderMap::new(),
        }
    }

    /// The same with one more header.
    ///
    /// # Errors
    /// [`Kind::Value`]: the header frames the message and is not the caller's to set.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Result<Self, CallError> {
        refuse_framing(&name)?;
        self.headers.append(name, value);
        Ok(self)
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }
}

/// One request, not yet bound to an endpoint. Cloning is cheap: all parts are shared.
#[derive(Clone, Debug)]
pub struct Request {
    prototype: Arc<Prototype>,
    path: PathAndQuery,
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
        let path = PathAndQuery::try_from(path_and_query)
            .map_err(|error| CallError::new(Kind::Value, "the path cannot be sent").caused_by(error))?;
        Ok(Request {
            prototype,
            path,
            headers: Vec::new(),
            content_type: None,
            body: Bytes::new(),
        })
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
        self.path.as_str()
    }

    /// The body.
    pub fn body_bytes(&self) -> &Bytes {
        &self.body
    }

    /// Whether asking twice does what asking once does: GET, HEAD and OPTIONS.
    pub fn is_idempotent(&self) -> bool {
        matches!(*self.method(), Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// The request as HTTP/1.1 sends it: origin form and a `Host`.
    pub(super) fn to_http1(&self, endpoint: &Endpoint) -> Result<http::Request<Full<Bytes>>, CallError> {
        let mut headers = HeaderMap::with_capacity(self.header_count().max(HEADERS_OF_AN_ANSWER));
        headers.insert(header::HOST, endpoint.host_header().clone());
        self.fill(&mut headers);
        Ok(self.assemble(endpoint.origin_form(&self.path)?, headers))
    }

    /// The request as HTTP/2 sends it: scheme and authority stand in the URI, and there is no `Host`.
    pub(super) fn to_http2(&self, endpoint: &Endpoint) -> Result<http::Request<Full<Bytes>>, CallError> {
        let mut headers = HeaderMap::with_capacity(self.header_count());
        self.fill(&mut headers);
        Ok(self.assemble(endpoint.absolute_form(&self.path)?, headers))
    }

    fn header_count(&self) -> usize {
        self.prototype.headers.len() + self.headers.len() + 3
    }

    fn fill(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.prototype.headers {
            headers.append(name.clone(), value.clone());
        }
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        if let Some(content_type) = &self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        // hyper writes the length of a body that is there. An empty one it would leave out, and some servers then wait for it.
        let expects_body = matches!(*self.method(), Method::POST | Method::PUT | Method::PATCH);
        if expects_body && self.body.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }

    fn assemble(&self, uri: http::Uri, headers: HeaderMap) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method().clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request
    }
}

/// hyper parses the answer's headers into the map of the request, so the map starts with room for a usual answer.
const HEADERS_OF_AN_ANSWER: usize = 12;

fn refuse_framing(name: &HeaderName) -> Result<(), CallError> {
    /// Framing and hop-by-hop fields (RFC 9110 sections 6.4 to 7.8, RFC 9113 section 8.2.2), and `Expect`, which changes the exchange.
    const REFUSED: [&str; 11] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
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
        let wire = request.to_http1(&endpoint("http://shop.svc:8000/base/")).unwrap();
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
        let wire = Request::get("/users").unwrap().to_http2(&endpoint("http://shop.svc")).unwrap();
        assert_eq!(wire.uri(), "http://shop.svc/users");
        assert!(wire.headers().is_empty());
    }
}
