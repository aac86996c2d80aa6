//! The headers that every call of a request carries: where it came from and which trace it belongs to.
//!
//! What a client sends of these names does not count; the gateway sets them anew.

use std::net::IpAddr;
use std::sync::Arc;

use anabranch::client::{HeaderLines, Span};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Made once per request and shared by its calls.
pub(crate) struct SharedHeaders {
    pub(crate) forwarded: Arc<HeaderLines>,
    /// The request's own span, the parent of its calls.
    pub(crate) span: Span,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl SharedHeaders {
    /// Those of a request with these headers from this peer.
    pub(crate) fn of(headers: &HeaderMap, peer: Option<IpAddr>) -> SharedHeaders {
        let mut lines = HeaderLines::new();
        let client = peer.and_then(|peer| HeaderValue::try_from(peer.to_canonical().to_string()).ok());
        let host = headers.get(header::HOST).cloned();
        let proto = Some(HeaderValue::from_static("http"));
        for (name, value) in [(X_FORWARDED_FOR, client), (X_FORWARDED_HOST, host), (X_FORWARDED_PROTO, proto)] {
            // None of these names frames a message, so none is refused.
            if let Some(value) = value {
                let _ = lines.push(name, value);
            }
        }
        let span = Span {
            trace: fastrand::u128(1..),
            span: fastrand::u64(1..),
        };
        SharedHeaders {
            forwarded: Arc::new(lines),
            span,
        }
    }
}
