//! The head of an HTTP/1.1 request, read strictly (RFC 9112): what a careful server refuses is refused, so that a client under test
//! cannot get away with it. Reading from a connection is left to `wire.rs`.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// The largest head, trailers likewise, in bytes.
pub(crate) const HEAD_MAX: usize = 64 * 1024;

/// The largest request body, in bytes.
pub(crate) const BODY_MAX: u64 = 64 << 20;

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: BodyFraming,
    /// Whether the client speaks HTTP/1.0, which knows no chunks.
    pub(crate) old: bool,
    /// Whether the client keeps the connection for another request.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

/// How the end of a request's body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    /// Its length in bytes; no body has length 0.
    Length(u64),
    Chunked,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
}

impl Refusal {
    pub(crate) fn bad(reason: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            reason,
        }
    }
}

impl Head {
    /// Parses a head, given without the empty line that ends it.
    pub(crate) fn parse(head: &[u8]) -> Result<Self, Refusal> {
        let head = std::str::from_utf8(head).map_err(|_| Refusal::bad("head is not UTF-8"))?;
        let mut lines = head.split("\r\n");
        let (method, target, old) = parse_request_line(lines.next().unwrap_or_default())?;
        let headers = parse_fields(lines)?;
        if !old && headers.get_all(header::HOST).iter().count() != 1 {
            return Err(Refusal::bad("expected one `host`"));
        }
        Ok(Self {
            method,
            target,
            body: body_framing(&headers, old)?,
            old,
            keep_alive: if old {
                has_token(&headers, "keep-alive")
            } else {
                !has_token(&headers, "close")
            },
            expects_continue: !old
                && headers
                    .get(header::EXPECT)
                    .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")),
            headers,
        })
    }
}

fn parse_request_line(line: &str) -> Result<(Method, String, bool), Refusal> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(Refusal::bad("request line is not `METHOD target version`"));
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::bad("unknown method"))?;
    if target.is_empty() || target.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Refusal::bad("bad request target"));
    }
    let old = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => {
            return Err(Refusal {
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                reason: "expected HTTP/1.1",
            });
        }
    };
    Ok((method, target.to_owned(), old))
}

fn parse_fields<'a>(lines: impl Iterator<Item = &'a str>) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    for line in lines {
        // Folded lines and a space before the colon fail here too, as names.
        let (name, value) = line.split_once(':').ok_or(Refusal::bad("header without a colon"))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Refusal::bad("bad header name"))?;
        let value = HeaderValue::from_str(value.trim_matches([' ', '\t']))
            .or_else(|_| HeaderValue::from_bytes(value.trim_matches([' ', '\t']).as_bytes()))
            .map_err(|_| Refusal::bad("bad header value"))?;
        headers.try_append(name, value).map_err(|_| Refusal::bad("too many headers"))?;
    }
    Ok(headers)
}

fn body_framing(headers: &HeaderMap, old: bool) -> Result<BodyFraming, Refusal> {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (encodings.next(), lengths.next()) {
        (None, None) => Ok(BodyFraming::Length(0)),
        (Some(_), Some(_)) => Err(Refusal::bad("both `content-length` and `transfer-encoding`")),
        (Some(encoding), None) if !old && encoding.as_bytes().eq_ignore_ascii_case(b"chunked") && encodings.next().is_none() => {
            Ok(BodyFraming::Chunked)
        }
        (Some(_), None) => Err(Refusal::bad("expected `transfer-encoding: chunked`")),
        (None, Some(length)) if lengths.next().is_none() => parse_length(length).map(BodyFraming::Length),
        (None, Some(_)) => Err(Refusal::bad("more than one `content-length`")),
    }
}

fn parse_length(value: &HeaderValue) -> Result<u64, Refusal> {
    let digits = value
        .to_str()
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
    let length: u64 = digits
        .and_then(|text| text.parse().ok())
        .ok_or(Refusal::bad("bad `content-length`"))?;
    check_length(length)
}

/// Refuses a body that is too large.
pub(crate) fn check_length(length: u64) -> Result<u64, Refusal> {
    if length > BODY_MAX {
        Err(Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            reason: "body over 64 MiB",
        })
    } else {
        Ok(length)
    }
}

/// Parses the line before a chunk; extensions are passed over.
pub(crate) fn parse_chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let size = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    let digits = std::str::from_utf8(size)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or(Refusal::bad("bad chunk size"))
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|found| found.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(lines: &[&str]) -> Result<Head, Refusal> {
        Head::parse(lines.join("\r\n").as_bytes())
    }

    #[test]
    fn a_proper_head_is_taken_apart() {
        let head = parse(&[
            "POST /a?b=%20 HTTP/1.1",
            "Host: x",
            "X-Tag:  one\t",
            "x-tag: ünï",
            "content-length: 12",
        ])
        .unwrap();
        assert_eq!((head.method, head.target.as_str()), (Method::POST, "/a?b=%20"));
        assert_eq!(head.body, BodyFraming::Length(12));
        assert_eq!(head.headers["x-tag"], "one");
        assert_eq!(head.headers.get_all("x-tag").iter().count(), 2);
        assert!(head.keep_alive && !head.old && !head.expects_continue);
    }

    #[test]
    fn a_connection_is_kept_as_version_and_header_say() {
        let keep_alive = |version: &str, connection: &str| {
            let request = format!("GET / {version}");
            parse(&[request.as_str(), "host: x", connection]).unwrap().keep_alive
        };
        assert!(keep_alive("HTTP/1.1", "x: y"));
        assert!(!keep_alive("HTTP/1.1", "connection: Upgrade, Close"));
        assert!(!keep_alive("HTTP/1.0", "x: y"));
        assert!(keep_alive("HTTP/1.0", "connection: keep-alive"));
    }

    #[test]
    fn what_a_careful_server_refuses_is_refused() {
        for lines in [
            &["GET /"][..],
            &["GET  / HTTP/1.1", "host: x"],
            &["GET / HTTP/2.0", "host: x"],
            &["GET /\t HTTP/1.1", "host: x"],
            &["GET / HTTP/1.1"],
            &["GET / HTTP/1.1", "host: x", "host: y"],
            &["GET / HTTP/1.1", "host : x"],
            &["GET / HTTP/1.1", "host: x", " folded"],
            &["GET / HTTP/1.1", "host: x", "name"],
            &["GET / HTTP/1.1", "host: x\ny: z"],
            &["GET / HTTP/1.1", "host: x\ry: z"],
            &["POST / HTTP/1.1", "host: x", "content-length: 1", "content-length: 1"],
            &["POST / HTTP/1.1", "host: x", "content-length: 1", "transfer-encoding: chunked"],
            &["POST / HTTP/1.1", "host: x", "content-length: +1"],
            &["POST / HTTP/1.1", "host: x", "content-length: 1, 1"],
            &["POST / HTTP/1.1", "host: x", "content-length: 99999999999"],
            &["POST / HTTP/1.1", "host: x", "transfer-encoding: gzip, chunked"],
            &[
                "POST / HTTP/1.1",
                "host: x",
                "transfer-encoding: chunked",
                "transfer-encoding: chunked",
            ],
            &["POST / HTTP/1.0", "transfer-encoding: chunked"],
        ] {
            assert!(parse(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn a_chunk_size_is_hexadecimal_and_nothing_else() {
        assert_eq!(parse_chunk_size(b"1aF"), Ok(0x1af));
        assert_eq!(parse_chunk_size(b"0 ;name=value"), Ok(0));
        for bad in [&b""[..], b"-1", b"+1", b"0x1", b"g", b";", b"11111111111111111"] {
            assert!(parse_chunk_size(bad).is_err(), "{bad:?}");
        }
    }
}
