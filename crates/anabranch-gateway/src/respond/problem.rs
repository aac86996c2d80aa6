//! Replies that are no data: problem details (RFC 9457).
//!
//! The type is `about:blank`, left out; the title is then the status's own phrase. A problem names parameters, calls and kinds, never a
//! value that was sent, nor a URL, host or body of an upstream.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::account::{self, PartAccount};
use crate::json::write_string;

/// The media type of a problem.
pub const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request gets no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The reply's status.
    pub status: StatusCode,
    /// What is wrong with this request; empty where the status says it all.
    pub detail: String,
    /// The account of the parts, a JSON object.
    pub parts: Option<Box<[u8]>>,
    /// The parameter, header or reference that is to blame.
    pub param: Option<String>,
    /// Where and how the body does not fit its schema.
    pub errors: Option<Box<Errors>>,
    /// When it is worth asking again; at least a second, whole seconds are sent.
    pub retry_after: Option<Duration>,
    /// The methods that are allowed, for 405.
    pub allow: Option<String>,
}

/// The member `errors`, a JSON list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<u8>);

impl Problem {
    /// A problem with this status; `detail` is a fragment for whoever reads it.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Problem {
            status,
            detail: detail.into(),
            parts: None,
            param: None,
            errors: None,
            retry_after: None,
            allow: None,
        }
    }

    /// 400 for a parameter: `parameter `page` must be ...`. The reason must not hold what was sent.
    pub fn bad_param(name: &str, why: &str) -> Self {
        Problem {
            param: Some(name.to_string()),
            ..Problem::new(StatusCode::BAD_REQUEST, format!("parameter `{name}` {why}"))
        }
    }

    /// 400 for a header.
    pub fn bad_header(name: &str, why: &str) -> Self {
        Problem {
            param: Some(name.to_string()),
            ..Problem::new(StatusCode::BAD_REQUEST, format!("header `{name}` {why}"))
        }
    }

    /// 404.
    pub fn not_found() -> Self {
        Problem::new(StatusCode::NOT_FOUND, "no route has this path")
    }

    /// 405 with the methods that the path has.
    pub fn method_not_allowed(allow: String) -> Self {
        let detail = format!("this path answers {allow}");
        Problem {
            allow: Some(allow),
            ..Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        }
    }

    /// The same with the account of the parts.
    pub fn with_parts(mut self, parts: &[PartAccount<'_>]) -> Self {
        self.parts = Some(account::json(parts).into());
        self
    }

    /// The same with the wait after which it is worth asking again.
    pub fn retry_in(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The status in words, the same for every problem with it.
    pub fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Unknown")
    }

    /// The reply's body.
    pub fn body(&self) -> Bytes {
        let mut out = b"{\"title\":".to_vec();
        write_string(&mut out, self.title());
        out.extend_from_slice(format!(",\"status\":{}", self.status.as_u16()).as_bytes());
        for (name, text) in [
            ("detail", Some(self.detail.as_str()).filter(|text| !text.is_empty())),
            ("param", self.param.as_deref()),
        ] {
            if let Some(text) = text {
                out.extend_from_slice(format!(",\"{name}\":").as_bytes());
                write_string(&mut out, text);
            }
        }
        let errors = self.errors.as_ref().map(|errors| &errors.0[..]);
        for (name, json) in [("errors", errors), ("parts", self.parts.as_deref())] {
            if let Some(json) = json {
                out.extend_from_slice(format!(",\"{name}\":").as_bytes());
                out.extend_from_slice(json);
            }
        }
        out.push(b'}');
        out.into()
    }

    /// Sets the headers that belong to it: its media type, `no-store`, and what it has of `Retry-After` and `Allow`.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
    }
}

/// Rounded up, so that nobody asks too early, and never 0, which would mean at once.
fn whole_seconds(wait: Duration) -> u64 {
    let begun = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(begun).max(1)
}

#[cfg(test)]
mod tests {
    use anabranch::Kind;

    use super::*;
    use crate::respond::PartState;

    fn check(problem: &Problem, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&problem.body()), expected);
        assert!(crate::json::validate(&problem.body(), &Default::default()).is_ok());
    }

    #[test]
    fn a_problem_says_what_and_where() {
        let problem = Problem::bad_param("page", "must be a whole number");
        check(
            &problem,
            r#"{"title":"Bad Request","status":400,"detail":"parameter `page` must be a whole number","param":"page"}"#,
        );
        check(
            &Problem::new(StatusCode::INTERNAL_SERVER_ERROR, ""),
            r#"{"title":"Internal Server Error","status":500}"#,
        );
        check(
            &Problem::new(StatusCode::BAD_REQUEST, "a \"b\"\n"),
            r#"{"title":"Bad Request","status":400,"detail":"a \"b\"\n"}"#,
        );
        check(
            &Problem::new(StatusCode::from_u16(499).unwrap(), ""),
            r#"{"title":"Unknown","status":499}"#,
        );
    }

    #[test]
    fn the_parts_of_a_failed_reply_are_a_member() {
        let cart = PartAccount {
            key: "cart",
            name: "cart",
            state: PartState::Failed(Kind::Timeout),
            ms: 400,
            age: Duration::ZERO,
        };
        let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, "a needed part is missing").with_parts(&[cart]);
        check(
            &problem,
            r#"{"title":"Gateway Timeout","status":504,"detail":"a needed part is missing","parts":{"cart":{"outcome":"timeout","ms":400}}}"#,
        );
    }

    #[test]
    fn headers_say_when_to_ask_again_and_how() {
        let headers = |problem: Problem| {
            let mut headers = HeaderMap::new();
            problem.write_headers(&mut headers);
            headers
        };
        let refused = headers(Problem::method_not_allowed("GET, HEAD".to_string()));
        assert_eq!(refused[ALLOW], "GET, HEAD");
        assert_eq!(refused[CONTENT_TYPE], "application/problem+json");
        assert_eq!(refused[CACHE_CONTROL], "no-store");
        assert!(!refused.contains_key(RETRY_AFTER));
        for (millis, seconds) in [(0, "1"), (1, "1"), (1_000, "1"), (1_001, "2"), (60_000, "60")] {
            let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "").retry_in(Duration::from_millis(millis));
            assert_eq!(headers(busy)[RETRY_AFTER], seconds);
        }
    }
}
