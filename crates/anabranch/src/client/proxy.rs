//! A proxy that connections go through: where it is, how it is spoken to, and who we are to it.

use std::fmt;
use std::sync::Arc;

use http::uri::Uri;

/// A proxy between the client and an endpoint. Neither its text nor its debug output shows a user or a password.
///
/// Through an HTTP proxy, `http` endpoints are asked in absolute form (RFC 9112 section 3.2.2), unless they speak HTTP/2 or are guarded;
/// all others are reached by a tunnel: `CONNECT` (RFC 9110 section 9.3.6) or SOCKS5 (RFC 1928).
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    kind: ProxyKind,
    host: String,
    port: u16,
    login: Option<Login>,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyKind {
    Http,
    /// SOCKS5, names looked up here.
    Socks,
    /// SOCKS5, names looked up by the proxy.
    SocksNames,
}

/// Who we are to a proxy.
#[derive(PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// RFC 1929: each is told in one byte of length.
const MAX_LOGIN: usize = 255;

impl Proxy {
    /// Takes `http://`, `socks5://` (names are looked up here) or `socks5h://` (by the proxy), with a port, and a user and password where
    /// the proxy wants them: `socks5h://user:password@proxy.svc:1080`. What is not a letter or digit in them is percent-encoded.
    ///
    /// # Errors
    /// Another scheme, no host, no port, a path, or a user or password that is empty, too long (255 bytes) or not UTF-8.
    pub fn parse(url: &str) -> Result<Self, BadProxy> {
        let bad = |what: &'static str| BadProxy(what);
        let (scheme, rest) = url.split_once("://").ok_or(BadProxy("it has no scheme"))?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            "http" => ProxyKind::Http,
            "socks5" => ProxyKind::Socks,
            "socks5h" => ProxyKind::SocksNames,
            _ => return Err(bad("expected `http://`, `socks5://` or `socks5h://`")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(bad("it has a path"));
        }
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(Login::parse(login)?), place),
            None => (None, rest),
        };
        let uri: Uri = format!("http://{place}").parse().map_err(|_| BadProxy("its host is no host"))?;
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let port = uri.port_u16().filter(|port| *port != 0).ok_or(BadProxy("it has no port"))?;
        Ok(Proxy(Arc::new(Inner {
            kind,
            host: host.to_string(),
            port,
            login,
        })))
    }

    pub(super) fn kind(&self) -> ProxyKind {
        self.0.kind
    }

    /// The host, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    pub(super) fn login(&self) -> Option<&Login> {
        self.0.login.as_ref()
    }

    /// The value of `Proxy-Authorization` for an HTTP proxy (RFC 7617).
    pub(super) fn authorization(&self) -> Option<String> {
        let login = self.0.login.as_ref()?;
        Some(format!("Basic {}", base64(format!("{}:{}", login.user, login.password).as_bytes())))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.0.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks => "socks5",
            ProxyKind::SocksNames => "socks5h",
        };
        match self.0.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.0.host, self.0.port),
            false => write!(f, "{scheme}://{}:{}", self.0.host, self.0.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, BadProxy> {
        let (user, password) = text.split_once(':').ok_or(BadProxy("its user has no password"))?;
        let login = Login {
            user: decode(user)?,
            password: decode(password)?,
        };
        let is_sayable = |text: &str| !text.is_empty() && text.len() <= MAX_LOGIN;
        if !is_sayable(&login.user) || !is_sayable(&login.password) {
            return Err(BadProxy("its user or password is empty or longer than 255 bytes"));
        }
        // RFC 7617 section 2: the first colon ends the user.
        if login.user.contains(':') {
            return Err(BadProxy("its user has a colon"));
        }
        Ok(login)
    }
}

fn decode(text: &str) -> Result<String, BadProxy> {
    let broken = BadProxy("its user or password is not percent-encoded UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte == b'%' {
            let (hex, tail) = tail.split_at_checked(2).ok_or(broken)?;
            let hex = std::str::from_utf8(hex).map_err(|_| broken)?;
            // A sign is a digit to the parser.
            bytes.push(u8::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+')).ok_or(broken)?);
            rest = tail;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| broken)
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Why a text is no proxy. Never quotes it: there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxy(&'static str);

impl fmt::Display for BadProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the proxy cannot be used: {}; expected `http://host:port` or `socks5h://user:password@host:port`",
            self.0
        )
    }
}

impl std::error::Error for BadProxy {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_taken_apart_and_shows_no_password() {
        let proxy = Proxy::parse("socks5h://us%40er:p%3Aw%2F@proxy.svc:1080/").unwrap();
        let login = proxy.login().unwrap();
        assert_eq!(
            (proxy.kind(), proxy.host(), proxy.port()),
            (ProxyKind::SocksNames, "proxy.svc", 1080)
        );
        assert_eq!((&login.user[..], &login.password[..]), ("us@er", "p:w/"));
        assert_eq!(
            format!("{proxy} {proxy:?}"),
            "socks5h://proxy.svc:1080 Proxy(socks5h://proxy.svc:1080)"
        );
        let v6 = Proxy::parse("HTTP://[::1]:3128").unwrap();
        assert_eq!(
            (v6.kind(), v6.host(), v6.to_string()),
            (ProxyKind::Http, "::1", "http://[::1]:3128".to_string())
        );
        assert!(v6.authorization().is_none());
        let plain = Proxy::parse("http://Aladdin:open%20sesame@h:1").unwrap();
        assert_eq!(plain.authorization().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_and_not_repeated() {
        for url in [
            "",
            "proxy:1080",
            "https://proxy:443",
            "socks4://proxy:1080",
            "http://proxy",
            "http://proxy:0",
            "http://:80",
            "http://pro xy:80",
            "http://proxy:80/path",
            "http://hunter2@proxy:80",
            "http://:hunter2@proxy:80",
            "http://user:@proxy:80",
            "http://hunter2:%zz@proxy:80",
            "http://hunter2:%+1@proxy:80",
            "http://hunter2:%f@proxy:80",
            "http://a%3Ab:hunter2@proxy:80",
        ] {
            let error = Proxy::parse(url).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(Proxy::parse(&format!("socks5://u:{}@proxy:80", "p".repeat(256))).is_err());
    }
}
