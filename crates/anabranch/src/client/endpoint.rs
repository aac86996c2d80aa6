//! One URL that requests go to, taken apart once: what is needed per exchange (host header, authority, base path, TLS
//! settings) is computed here and shared.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};

use super::guard::AddressGuard;
use super::proxy::{Proxy, ProxyKind};
use super::tls::{Tls, TlsSettings};
use crate::{CallError, Kind};

/// Which HTTP is spoken to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// Over TLS what the peer chooses (ALPN), else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 only; over plain TCP with prior knowledge (RFC 9113 section 3.3).
    Http2,
}

/// Whose HTTP/1.1 is spoken. HTTP/2 is hyper's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Our own: cheaper in time and memory, as strict or stricter.
    #[default]
    Own,
    /// hyper's, the reference.
    Hyper,
}

/// How endpoints are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireSettings {
    /// Which HTTP is spoken.
    pub http: HttpVersion,
    /// Whose HTTP/1.1.
    pub codec: Codec,
    /// How the peer is verified, for `https` URLs; the system's roots where absent.
    pub tls: Option<TlsSettings>,
    /// Idle HTTP/1.1 connections kept per endpoint and client. 0 closes each after its exchange.
    pub pool_idle: usize,
    /// How long an HTTP/1.1 connection may idle where the server does not say `Keep-Alive: timeout=n`; where it does, n - 1 seconds.
    pub idle_timeout: Duration,
    /// The age at which a connection gets no more exchanges, so that changes behind a name are seen.
    pub max_lifetime: Duration,
    /// Opening a connection, TLS included.
    pub connect_timeout: Duration,
    /// Looking up the host.
    pub dns_timeout: Duration,
    /// Waiting for an HTTP/2 stream while all are taken and no connection is being opened.
    pub pool_wait: Duration,
    /// What connections go through.
    pub proxy: Option<Proxy>,
    /// Which addresses may not be connected to: for URLs that somebody else wrote. The proxy's own address is not asked about; behind
    /// a proxy the host is looked up here, and the proxy is told the address.
    pub guard: Option<AddressGuard>,
}

impl Default for WireSettings {
    /// HTTP by ALPN, 64 idle connections for 4 s (less than the 5 s of common servers), 5 minutes of life, 1 s to connect,
    /// 2 s to look up, 250 ms for a stream; no proxy, no guard.
    fn default() -> Self {
        WireSettings {
            http: HttpVersion::Auto,
            codec: Codec::Own,
            tls: None,
            pool_idle: 64,
            idle_timeout: Duration::from_secs(4),
            max_lifetime: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(1),
            dns_timeout: Duration::from_secs(2),
            pool_wait: Duration::from_millis(250),
            proxy: None,
            guard: None,
        }
    }
}

/// One URL as written, and how it is reached. Cheap to clone; clones are the same endpoint and share connections, two
/// endpoints made from one URL do not.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    /// Unique in the process; the key of pools.
    id: u64,
    /// Scheme, authority and base path; for logs.
    url: String,
    scheme: Scheme,
    authority: Authority,
    /// The host to look up, without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// The authority as `Host` sends it, without the scheme's own port.
    host_header: HeaderValue,
    /// The path that goes before each request's, without a slash at its end; usually empty.
    base: String,
    /// What goes before each request's path in a request line: the base path, or the whole URL where a proxy reads it.
    target: String,
    /// The first lines of a head in HTTP/1.1: the host, and who we are to a proxy that reads them.
    opening: Vec<u8>,
    tls: Option<Tls>,
    settings: WireSettings,
}

impl Endpoint {
    /// Takes a URL apart and prepares its TLS settings. Nothing is looked up or opened.
    ///
    /// # Errors
    /// The URL is not `http` or `https`, has no host, or carries a user, a query or a fragment; or its TLS settings
    /// contain a certificate, key or name that cannot be used.
    pub fn new(url: &str, settings: WireSettings) -> Result<Self, BadEndpoint> {
        // The text of a URL with a password in it must not get into an error, so this comes before all that quotes it.
        let authority_end = url.find("://").map_or(0, |at| at + 3);
        let authority_len = url[authority_end..].find(['/', '?', '#']).unwrap_or(url.len() - authority_end);
        if url[authority_end..authority_end + authority_len].contains('@') {
            return Err(BadEndpoint(
                "a URL with a user or password is not accepted, expected an `authorization` header".to_string(),
            ));
        }
        let bad = |what: &str| BadEndpoint(format!("`{url}` cannot be an endpoint: {what}"));
        if url.contains('#') {
            return Err(bad("it has a fragment"));
        }
        let uri: Uri = url.parse().map_err(|error| bad(&format!("{error}")))?;
        let scheme = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => scheme.clone(),
            _ => return Err(bad("expected `http://` or `https://`")),
        };
        let is_tls = scheme == Scheme::HTTPS;
        if uri.query().is_some() {
            return Err(bad("it has a query, which belongs to the path of a request"));
        }
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_string();
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let own_port = if is_tls { 443 } else { 80 };
        let port = match uri.port() {
            Some(port) => Some(port.as_u16())
                .filter(|port| *port != 0)
                .ok_or_else(|| bad("port 0 cannot be connected to"))?,
            None => own_port,
        };
        let bare_host = uri.host().unwrap_or_default();
        let authority_text = if port == own_port {
            bare_host.to_string()
        } else {
            format!("{bare_host}:{port}")
        };
        let authority = Authority::try_from(authority_text.as_str()).map_err(|error| bad(&format!("{error}")))?;
        let host_header = HeaderValue::try_from(authority_text.as_str()).map_err(|error| bad(&format!("{error}")))?;
        let base = uri.path().trim_end_matches('/').to_string();
        let tls = match (is_tls, &settings.tls) {
            (true, tls) => Some(Tls::new(&tls.clone().unwrap_or_default(), settings.http, &host).map_err(|error| bad(&error))?),
            (false, Some(_)) => return Err(bad("it has TLS settings, expected an `https` URL")),
            (false, None) => None,
        };
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let url = format!("{scheme}://{authority}{base}");
        let reader = absolute_form_reader(&settings, is_tls);
        let target = if reader.is_some() { url.clone() } else { base.clone() };
        let mut opening = format!("host: {authority}\r\n");
        if let Some(authorization) = reader.and_then(Proxy::authorization) {
            opening.push_str(&format!("proxy-authorization: {authorization}\r\n"));
        }
        let opening = opening.into_bytes();
        Ok(Endpoint(Arc::new(Inner {
            id,
            url,
            scheme,
            authority,
            host,
            port,
            host_header,
            base,
            target,
            opening,
            tls,
            settings,
        })))
    }

    /// A number that no other endpoint of this process has.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Scheme, host, port and base path, for logs.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port, also where it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// How it is reached.
    pub fn settings(&self) -> &WireSettings {
        &self.0.settings
    }

    pub(super) fn host_header(&self) -> &HeaderValue {
        &self.0.host_header
    }

    /// What goes before each request's path in a request line.
    pub(super) fn target(&self) -> &str {
        &self.0.target
    }

    /// The first lines of a head in HTTP/1.1.
    pub(super) fn opening(&self) -> &[u8] {
        &self.0.opening
    }

    /// The proxy that reads requests rather than passing bytes on.
    pub(super) fn absolute_form_reader(&self) -> Option<&Proxy> {
        absolute_form_reader(&self.0.settings, self.0.tls.is_some())
    }

    /// The proxy that makes a tunnel.
    pub(super) fn tunnel(&self) -> Option<&Proxy> {
        match self.absolute_form_reader() {
            Some(_) => None,
            None => self.0.settings.proxy.as_ref(),
        }
    }

    pub(super) fn tls(&self) -> Option<&Tls> {
        self.0.tls.as_ref()
    }

    /// Whether this is the last handle: nobody can ask for this endpoint again.
    pub(super) fn is_last_handle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Base path and path as HTTP/1.1 has them in the request line, or all of the URL where a proxy reads it.
    pub(super) fn request_target(&self, path: &str) -> Result<Uri, CallError> {
        match self.absolute_form_reader() {
            Some(_) => self.absolute_form(path),
            None => Ok(Uri::from(self.full_path(path)?)),
        }
    }

    /// The whole URL, as HTTP/2 takes its pseudo headers from.
    pub(super) fn absolute_form(&self, path: &str) -> Result<Uri, CallError> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.0.scheme.clone());
        parts.authority = Some(self.0.authority.clone());
        parts.path_and_query = Some(self.full_path(path)?);
        Uri::from_parts(parts).map_err(|error| CallError::new(Kind::Value, "the path cannot be sent").caused_by(error))
    }

    fn full_path(&self, path: &str) -> Result<PathAndQuery, CallError> {
        if self.0.base.is_empty() {
            return PathAndQuery::try_from(path).map_err(cannot_send);
        }
        PathAndQuery::try_from(format!("{}{path}", self.0.base)).map_err(cannot_send)
    }
}

/// Only what a guard need not judge and what is plain HTTP/1.1 is asked of a proxy by its URL.
fn absolute_form_reader(settings: &WireSettings, is_tls: bool) -> Option<&Proxy> {
    let is_plain = !is_tls && settings.http != HttpVersion::Http2 && settings.guard.is_none();
    settings.proxy.as_ref().filter(|proxy| is_plain && proxy.kind() == ProxyKind::Http)
}

fn cannot_send(error: http::uri::InvalidUri) -> CallError {
    CallError::new(Kind::Value, "the path cannot be sent").caused_by(error)
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.0.url)
    }
}

/// Why a URL with its settings cannot be an endpoint. Never quotes a user or a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEndpoint(String);

impl BadEndpoint {
    /// There is no URL at all.
    pub fn missing() -> Self {
        BadEndpoint("a source needs at least one endpoint".to_string())
    }
}

impl fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadEndpoint {}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Result<Endpoint, BadEndpoint> {
        Endpoint::new(url, WireSettings::default())
    }

    #[test]
    fn a_url_is_taken_apart_once() {
        let shop = endpoint("http://shop.svc:8000/base/v1/").unwrap();
        assert_eq!(
            (shop.url(), shop.host(), shop.port()),
            ("http://shop.svc:8000/base/v1", "shop.svc", 8000)
        );
        let v6 = endpoint("http://[::1]:80").unwrap();
        assert_eq!((v6.host(), v6.port(), v6.host_header().to_str().unwrap()), ("::1", 80, "[::1]"));
        assert_ne!(shop.id(), v6.id());
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        for url in [
            "shop:80",
            "ftp://shop",
            "http://",
            "http://shop/?a=1",
            "http://shop/#a",
            "http://shop:0",
            "http://sh op",
            "/path",
            "",
        ] {
            assert!(endpoint(url).is_err(), "{url:?}");
        }
        let settings = WireSettings {
            tls: Some(TlsSettings::default()),
            ..WireSettings::default()
        };
        assert!(Endpoint::new("http://shop", settings).is_err());
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        let error = endpoint("http://user:hunter2@shop/").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(endpoint("http://shop/@v1").is_ok());
    }
}
