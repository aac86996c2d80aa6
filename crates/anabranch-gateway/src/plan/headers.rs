//! Names of headers: which may be written, which may be passed on, and which carry credentials.

use http::{header, HeaderName, HeaderValue};

use super::place::{fault, Text};
use crate::config::faults::Faults;
use crate::config::yaml::Spanned;

/// Headers of a client that no source is sent as they are: the gateway makes its own, for its own connection and body.
const NEVER_PASSED: [HeaderName; 8] = [
    header::ACCEPT,
    header::USER_AGENT,
    header::ACCEPT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
];

/// Reads a header's name; a fault where it cannot be one.
pub(super) fn name(written: Text<'_>, faults: &mut Faults) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(written.text.as_bytes()).ok();
    if name.is_none() {
        fault(
            faults,
            written,
            format!("`{}` cannot be the name of a header", written.text),
            "letters, digits and `-`: `X-Request-Id`",
        );
    }
    name
}

/// Reads names of headers, each once.
pub(super) fn names(written: &[Spanned<String>], faults: &mut Faults) -> Vec<HeaderName> {
    let mut found: Vec<HeaderName> = Vec::new();
    for written in written {
        let Some(name) = name(Text::of(written), faults) else { continue };
        if found.contains(&name) {
            fault(
                faults,
                written,
                format!("`{}` stands here twice", written.value),
                "each header once, in any case of letters",
            );
        } else {
            found.push(name);
        }
    }
    found
}

/// Reads the name of a header that a source or a call adds; those of the connection and of the body are the gateway's business.
pub(super) fn sent_name(written: Text<'_>, faults: &mut Faults) -> Option<HeaderName> {
    let name = name(written, faults)?;
    let of_body = [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ACCEPT_ENCODING].contains(&name);
    if is_framing(&name) || of_body || name.as_str().starts_with("proxy-") {
        let what = format!("the header `{}` belongs to the connection or the body", written.text);
        fault(
            faults,
            written,
            what,
            "leave it out; the gateway writes it as each request needs it",
        );
        return None;
    }
    Some(name)
}

/// Reads the headers of a source, which hold no references any more.
pub(super) fn fixed(written: &[(Spanned<String>, Spanned<String>)], faults: &mut Faults) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (key, value) in written {
        let Some(name) = sent_name(Text::of(key), faults) else { continue };
        if headers.iter().any(|(other, _)| *other == name) {
            fault(
                faults,
                key,
                format!("`{}` stands here twice", key.value),
                "each header once, in any case of letters",
            );
        }
        match HeaderValue::from_str(&value.value) {
            Ok(mut header) => {
                // Kept out of hyper's and our own debug output: most fixed headers are keys.
                header.set_sensitive(true);
                headers.push((name, header));
            }
            Err(_) => {
                let what = format!("the value of `{}` holds a character that headers cannot", key.value);
                fault(faults, value, what, "visible ASCII characters, blanks and tabs");
            }
        }
    }
    headers
}

/// Lists the headers that carry credentials: the three known ones, and those that the config names.
pub(super) fn credentials(written: &[Spanned<String>], faults: &mut Faults) -> Vec<HeaderName> {
    let mut credentials = vec![header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];
    let more = names(written, faults);
    credentials.extend(
        more.into_iter()
            .filter(|name| ![header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].contains(name)),
    );
    credentials
}

/// Whether what a client sends of it may go to a source that is allowed to have it.
pub(super) fn may_pass(name: &HeaderName, is_credential: bool) -> bool {
    let for_proxies = name.as_str().starts_with("proxy-") && !is_credential;
    let is_trace = matches!(name.as_str(), "traceparent" | "tracestate");
    !is_framing(name) && !for_proxies && !is_trace && !NEVER_PASSED.contains(name)
}

/// Whether it belongs to one connection or frames one message (RFC 9110, 7.6.1; RFC 9112, 6).
pub(super) fn is_framing(name: &HeaderName) -> bool {
    is_framing_name(name.as_str())
}

/// The same of a name in lower case.
pub(super) fn is_framing_name(name: &str) -> bool {
    const FRAMING: [&str; 10] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "http2-settings",
    ];
    FRAMING.contains(&name)
}
