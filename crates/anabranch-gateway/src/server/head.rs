//! The head of a client's request: parsed strictly, so that no two readers of it can disagree on where the request ends.
//!
//! RFC 9112 lets a recipient repair several things that have been used for request smuggling; here they are refused instead: a
//! length and chunks together, two lengths, a transfer coding other than `chunked` alone, blanks before a colon, bare line feeds,
//! folded lines, and names with an underscore (edge proxies map them onto dashes).

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// The largest head, in bytes; above it 431 (or 414 when the target alone is too long).
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// The longest request target, in bytes; above it 414.
pub(crate) const MAX_TARGET: usize = 16 * 1024;
/// The most header lines; above it 431.
const MAX_HEADERS: usize = 100;

/// A request's head.
#[derive(Debug)]
pub(crate) struct Head {
    /// Its method.
    pub(crate) method: Method,
    /// Its path, as sent.
    pub(crate) path: String,
    /// Its query without the question mark, as sent; empty without one.
    pub(crate) query: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// How its body is framed.
    pub(crate) body: Framing,
    /// Whether the client speaks HTTP/1.1 rather than HTTP/1.0.
    pub(crate) is_http_11: bool,
    /// Whether the connection may be used again.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// A head that is refused; the connection closes after the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadHead {
    /// 400, 414, 431, 501 or 505.
    pub(crate) status: StatusCode,
    /// Why, for the client.
    pub(crate) why: &'static str,
}

fn bad(why: &'static str) -> BadHead {
    BadHead {
        status: StatusCode::BAD_REQUEST,
        why,
    }
}

/// Parses the head at the start of `bytes`: `Ok(None)` while it is not complete, else the head and its length.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, BadHead> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return still_fits(bytes, &request),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(BadHead {
                status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                why: "more than 100 header lines",
            });
        }
        Err(httparse::Error::Version) => {
            return Err(BadHead {
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                why: "expected HTTP/1.1 or HTTP/1.0",
            });
        }
        Err(error) => return Err(bad(what(error))),
    };
    if length > MAX_HEAD {
        return Err(BadHead {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            why: "the head is larger than 64 KiB",
        });
    }
    if has_bare_line_feed(&bytes[..length]) {
        return Err(bad("a line of the head ends with a bare line feed"));
    }
    let method = request
        .method
        .and_then(|method| Method::from_bytes(method.as_bytes()).ok())
        .ok_or_else(|| bad("the method is no token"))?;
    let (path, query) = target(request.path.unwrap_or_default())?;
    let is_http_11 = request.version == Some(1);
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for line in request.headers.iter() {
        if line.name.contains('_') {
            return Err(bad("a header name has an underscore"));
        }
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| bad("a header name is no token"))?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| bad("a header value has control characters"))?;
        headers.append(name, value);
    }
    let body = framing(&headers, is_http_11)?;
    if is_http_11 && headers.get_all(http::header::HOST).iter().count() != 1 {
        return Err(bad("expected exactly one host header"));
    }
    let keep_alive = keeps_alive(&headers, is_http_11);
    let expects_continue = is_http_11
        && headers
            .get(http::header::EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Ok(Some((
        Head {
            method,
            path,
            query,
            headers,
            body,
            is_http_11,
            keep_alive,
            expects_continue,
        },
        length,
    )))
}

/// A head that is not complete yet must still be able to become one.
fn still_fits(bytes: &[u8], request: &httparse::Request<'_, '_>) -> Result<Option<(Head, usize)>, BadHead> {
    let line_is_open = request.path.is_none() || request.version.is_none();
    if line_is_open && bytes.len() > MAX_TARGET + 64 {
        return Err(too_long());
    }
    if bytes.len() >= MAX_HEAD {
        return Err(BadHead {
            status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            why: "the head is larger than 64 KiB",
        });
    }
    Ok(None)
}

fn too_long() -> BadHead {
    BadHead {
        status: StatusCode::URI_TOO_LONG,
        why: "the path and query are longer than 16 KiB",
    }
}

/// The path and the query of a target in origin form or absolute form (RFC 9112 section 3.2).
fn target(target: &str) -> Result<(String, String), BadHead> {
    if target.len() > MAX_TARGET {
        return Err(too_long());
    }
    let origin = match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    if !origin.starts_with('/') && origin != "*" {
        return Err(bad("the request target does not start with `/`"));
    }
    if origin.contains('#') {
        return Err(bad("the request target has a fragment"));
    }
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    Ok((path.to_string(), query.to_string()))
}

/// How long the body is. A request without length and chunks has none (RFC 9112 section 6.3).
fn framing(headers: &HeaderMap, is_http_11: bool) -> Result<Framing, BadHead> {
    let mut lengths = headers.get_all(http::header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(bad("two content-length headers"));
    }
    let mut codings = headers.get_all(http::header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return match length {
            None => Ok(Framing::Length(0)),
            Some(value) => decimal(value.as_bytes())
                .map(Framing::Length)
                .ok_or_else(|| bad("content-length is no number")),
        };
    };
    if length.is_some() {
        return Err(bad("both content-length and transfer-encoding"));
    }
    if !is_http_11 {
        return Err(bad("transfer-encoding in HTTP/1.0"));
    }
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(BadHead {
            status: StatusCode::NOT_IMPLEMENTED,
            why: "expected the transfer coding `chunked` alone",
        });
    }
    Ok(Framing::Chunked)
}

/// Digits only: no sign, no blanks, no list; at most 18 of them.
fn decimal(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 18 && text.iter().all(u8::is_ascii_digit);
    plain.then(|| text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// HTTP/1.1 keeps a connection unless told to close it; HTTP/1.0 the other way round (RFC 9112 section 9.3).
fn keeps_alive(headers: &HeaderMap, is_http_11: bool) -> bool {
    let says = |word: &str| {
        headers
            .get_all(http::header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    if is_http_11 {
        !says("close")
    } else {
        says("keep-alive") && !says("close")
    }
}

/// httparse takes `\n` alone for a line's end; a strict reader does not.
fn has_bare_line_feed(head: &[u8]) -> bool {
    head.iter()
        .enumerate()
        .any(|(at, byte)| *byte == b'\n' && (at == 0 || head[at - 1] != b'\r'))
}

fn what(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header name has a character that is not allowed",
        httparse::Error::HeaderValue => "a header value has a character that is not allowed",
        httparse::Error::NewLine => "a line of the head does not end as it should",
        httparse::Error::Token => "the request line has a character that is not allowed",
        _ => "the head is not HTTP",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> u16 {
        parse(text.as_bytes())
            .map(|head| head.map(|(head, _)| head.path))
            .expect_err(text)
            .status
            .as_u16()
    }

    fn read(text: &str) -> Head {
        parse(text.as_bytes()).expect(text).expect("complete").0
    }

    #[test]
    fn a_plain_request_is_read() {
        let head = read("GET /a/b?x=1&y HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\nrest");
        assert_eq!(
            (head.method, head.path.as_str(), head.query.as_str()),
            (Method::GET, "/a/b", "x=1&y")
        );
        assert_eq!(head.body, Framing::Length(0));
        assert!(head.keep_alive);
    }

    #[test]
    fn an_incomplete_head_waits_for_more() {
        let whole = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
        for end in 0..whole.len() {
            assert!(parse(&whole.as_bytes()[..end]).expect("no fault yet").is_none(), "{end}");
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n\r\n");
        for lines in [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Content-Length: 3\r\nContent-Length: 3",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: 0x3",
            "Content-Length:",
            "Content-Length : 3",
            "X: a\r\n folded",
            "X: a\nY: b",
            "X_Y: z",
            "X: a\0b",
            "Host: other",
        ] {
            assert_eq!(refused(&with(lines)), 400, "{lines:?}");
        }
        assert_eq!(refused(&with("Transfer-Encoding: gzip, chunked")), 501);
        assert_eq!(refused(&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")), 501);
        assert_eq!(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\nHost: h\n\n"), 400);
        assert_eq!(refused("GET http HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), 505);
    }

    #[test]
    fn sizes_are_bounded() {
        assert_eq!(
            refused(&format!("GET /?q={} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(MAX_TARGET))),
            414
        );
        assert_eq!(refused(&format!("GET /?q={}", "a".repeat(MAX_TARGET + 100))), 414);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}", "a".repeat(MAX_HEAD))), 431);
        assert_eq!(
            refused(&format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(100))),
            431
        );
    }

    #[test]
    fn the_absolute_form_names_a_path_only() {
        let head = read("GET http://evil.example/a?b HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((head.path.as_str(), head.query.as_str()), ("/a", "b"));
    }

    #[test]
    fn connections_close_when_asked_to() {
        assert!(!read("GET / HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n").keep_alive);
        assert!(!read("GET / HTTP/1.0\r\n\r\n").keep_alive);
        assert!(read("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
    }
}
