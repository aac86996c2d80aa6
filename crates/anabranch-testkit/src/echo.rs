//! The two bodies an upstream writes itself: the echo of a request, and the 404 for a request that no rule answers.

use crate::{Seen, Upstream};
use bytes::Bytes;
use std::{collections::BTreeMap, fmt::Write};

/// Describes a request as JSON; the form is documented at [`Body::Echo`](crate::Body::Echo).
pub(crate) fn echo(request: &Seen) -> Bytes {
    let mut headers: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &request.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str())
            .and_modify(|joined| {
                joined.push_str(", ");
                joined.push_str(&value);
            })
            .or_insert_with(|| value.to_string());
    }
    let headers: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)))
        .collect();
    let text = format!(
        r#"{{"method":{},"path":{},"query":{},"headers":{{{}}},"body":{}}}"#,
        quoted(request.method.as_str()),
        quoted(request.path()),
        quoted(request.query()),
        headers.join(","),
        quoted(&String::from_utf8_lossy(&request.body)),
    );
    Bytes::from(text)
}

/// Names a request that no rule answers, and the rules there are.
pub(crate) fn unmatched(upstream: &Upstream, request: &Seen) -> Bytes {
    let rules: Vec<String> = upstream.replies.iter().map(|reply| quoted(&rule_name(reply))).collect();
    let error = format!(
        "no reply of `{}` answers {} {}",
        upstream.name, request.method, request.path_and_query
    );
    Bytes::from(format!(r#"{{"error":{},"replies":[{}]}}"#, quoted(&error), rules.join(",")))
}

fn rule_name(reply: &crate::Reply) -> String {
    let method = reply.when.method.as_ref().map_or("*", |method| method.as_str());
    let path = reply.when.path.as_deref().unwrap_or("/**");
    let times = reply.times.map(|times| format!(" (first {times})")).unwrap_or_default();
    format!("{method} {path}{times}")
}

/// Writes a JSON string (RFC 8259, section 7).
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reply;
    use http::Method;

    #[test]
    fn an_echo_tells_what_arrived() {
        let mut request = Seen::of(Method::POST, "/a%20b?q=1&q=2");
        request.headers.append("x-tag", "one".parse().unwrap());
        request.headers.append("accept", "*/*".parse().unwrap());
        request.headers.append("x-tag", "two".parse().unwrap());
        request.body = Bytes::from_static(b"say \"hi\"\n\x01\xff");
        assert_eq!(
            echo(&request),
            r#"{"method":"POST","path":"/a%20b","query":"q=1&q=2","headers":{"accept":"*/*","x-tag":"one, two"},"body":"say \"hi\"\n\u0001�"}"#
        );
    }

    #[test]
    fn a_404_names_the_request_and_the_rules() {
        let upstream = Upstream::new("users")
            .reply(Reply::get("/user/*").times(2))
            .reply(Reply::path("/x"));
        assert_eq!(
            unmatched(&upstream, &Seen::of(Method::PUT, "/y?z")),
            r#"{"error":"no reply of `users` answers PUT /y?z","replies":["GET /user/* (first 2)","* /x"]}"#
        );
    }
}
