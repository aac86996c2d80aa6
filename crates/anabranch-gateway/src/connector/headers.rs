//! The headers that every call of a request carries: where it came from and which trace it belongs to.
//!
//! What a client sends of these names does not count; the gateway sets them anew.

use std::fmt::Write;
use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Set once per request and cloned into its calls.
pub(crate) struct SharedHeaders {
    forwarded: Vec<(HeaderName, HeaderValue)>,
    /// W3C Trace Context: the trace that the request and all its calls belong to.
    trace: u128,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

impl SharedHeaders {
    /// Those of a request with these headers from this peer.
    pub(crate) fn of(headers: &HeaderMap, peer: Option<IpAddr>) -> SharedHeaders {
        let mut forwarded = Vec::with_capacity(3);
        if let Some(value) = peer.and_then(|peer| HeaderValue::try_from(peer.to_canonical().to_string()).ok()) {
            forwarded.push((X_FORWARDED_FOR, value));
        }
        if let Some(host) = headers.get(header::HOST) {
            forwarded.push((X_FORWARDED_HOST, host.clone()));
        }
        forwarded.push((X_FORWARDED_PROTO, HeaderValue::from_static("http")));
        SharedHeaders { forwarded, trace: fastrand::u128(1..) }
    }

    /// The headers for one call: a span of its own within the trace (W3C Trace Context level 1, section 3.2).
    pub(crate) fn for_call(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> + '_ {
        let mut text = String::with_capacity(55);
        let _ = write!(text, "00-{:032x}-{:016x}-00", self.trace, fastrand::u64(1..));
        let trace = HeaderValue::try_from(text).ok().map(|value| (TRACEPARENT, value));
        self.forwarded.iter().cloned().chain(trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_request_share_a_trace_and_have_spans_of_their_own() {
        let shared = SharedHeaders::of(&HeaderMap::new(), None);
        let trace = || shared.for_call().find(|(name, _)| *name == TRACEPARENT).expect("traceparent").1.to_str().expect("ascii").to_string();
        let (one, other) = (trace(), trace());
        assert_eq!(one.len(), 55);
        assert_eq!(one[..36], other[..36]);
        assert_ne!(one, other);
    }

    #[test]
    fn the_client_is_named_and_what_it_claims_is_not() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("shop.example"));
        headers.insert("x-forwarded-for", HeaderValue::from_static("6.6.6.6"));
        let shared = SharedHeaders::of(&headers, Some("10.0.0.7".parse().expect("ip")));
        let sent: Vec<String> = shared.for_call().map(|(name, value)| format!("{name}: {}", value.to_str().expect("ascii"))).collect();
        assert_eq!(&sent[..3], ["x-forwarded-for: 10.0.0.7", "x-forwarded-host: shop.example", "x-forwarded-proto: http"]);
    }
}
