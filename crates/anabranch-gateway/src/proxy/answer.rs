//! The head of an answer on its way through a proxy: what stays, what goes, and how its body is framed anew.

use anabranch::client::StreamedResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::VIA;
use crate::respond::Problem;

/// Headers that belong to the connection that they came by, beside those that `Connection` names (RFC 9110 section 7.6.1).
const OF_CONNECTION: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];
/// Headers that do not go to the client unless `forward` names them: cookies, where else the source may be asked, what it is made of, and
/// orders to a proxy that is not this one.
const HELD_BACK: [&str; 7] = [
    "set-cookie",
    "set-cookie2",
    "alt-svc",
    "server",
    "x-powered-by",
    "x-sendfile",
    "x-aspnet-version",
];

/// The body that follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// None may follow: the answer to HEAD, 204, 304.
    Never,
    /// So many bytes.
    Length(u64),
    /// It ends where it ends.
    Unknown,
}

/// What the client is told before the body.
#[derive(Debug)]
pub(crate) struct PassedHead {
    pub(crate) status: StatusCode,
    /// Without what frames the body; but where none may follow, `Content-Length` says how long it would be.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

impl PassedHead {
    /// Reads the head of an answer to a request with this method.
    ///
    /// # Errors
    /// A 502 where its status is none.
    pub(crate) fn of(response: &StreamedResponse, method: &Method, forward: &[HeaderName]) -> Result<PassedHead, Problem> {
        let unusable = || Problem::new(StatusCode::BAD_GATEWAY, "the source gave no answer that could be passed on");
        let status = StatusCode::from_u16(response.status())
            .ok()
            .filter(|status| !status.is_informational())
            .ok_or_else(unusable)?;
        let sent: Vec<(&str, &[u8])> = response.headers().collect();
        let mut headers = passed(&sent, forward);
        headers.append(header::VIA, VIA);
        let never = *method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = match response.length() {
            _ if never => Body::Never,
            Some(length) => Body::Length(length),
            None => Body::Unknown,
        };
        if never && status != StatusCode::NO_CONTENT {
            let length = sent.iter().find(|(name, _)| *name == "content-length");
            if let Some(length) = length.and_then(|(_, value)| HeaderValue::from_bytes(value).ok()) {
                headers.insert(header::CONTENT_LENGTH, length);
            }
        }
        Ok(PassedHead { status, headers, body })
    }
}

/// Whether a header belongs to the connection, by its name alone.
pub(super) fn is_of_connection(name: &str) -> bool {
    OF_CONNECTION.contains(&name)
}

/// The headers that go on. What cannot stand in a head does not.
pub(super) fn passed(sent: &[(&str, &[u8])], forward: &[HeaderName]) -> HeaderMap {
    let connection = sent.iter().filter(|(name, _)| *name == "connection");
    let named: Vec<String> = connection
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|token| String::from_utf8_lossy(token.trim_ascii()).to_ascii_lowercase())
        .collect();
    let stays = |name: &str| {
        let of_connection = OF_CONNECTION.contains(&name) || named.iter().any(|other| other == name);
        let held_back = HELD_BACK.contains(&name) || name.starts_with("x-accel-");
        !of_connection && (!held_back || forward.iter().any(|other| other.as_str() == name))
    };
    let mut headers = HeaderMap::with_capacity(sent.len() + 2);
    for (name, value) in sent.iter().filter(|(name, _)| stays(name)) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sent: &[(&str, &str)], forward: &[HeaderName]) -> Vec<String> {
        let sent: Vec<(&str, &[u8])> = sent.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let headers = passed(&sent, forward);
        let mut names: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_belongs_to_the_connection_stays_behind_by_whatever_name() {
        let sent = [
            ("content-type", "text/css"),
            ("connection", "close, X-Secret ,keep-alive"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("upgrade", "h2c"),
            ("trailer", "x-sum"),
            ("proxy-authenticate", "Basic"),
            ("etag", "\"a\""),
            ("x-twice", "1"),
            ("x-twice", "2"),
        ];
        assert_eq!(names(&sent, &[]), ["content-type=text/css", "etag=\"a\"", "x-twice=1", "x-twice=2"]);
    }

    #[test]
    fn cookies_and_what_a_source_is_made_of_need_a_word() {
        let sent = [
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("server", "x/1"),
            ("x-accel-redirect", "/y"),
        ];
        assert!(names(&sent, &[]).is_empty());
        assert_eq!(names(&sent, &[header::SET_COOKIE]), ["set-cookie=a=1", "set-cookie=b=2"]);
        assert_eq!(
            names(&sent, &[HeaderName::from_static("x-accel-redirect")]),
            ["x-accel-redirect=/y"]
        );
    }
}
