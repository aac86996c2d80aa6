//! Parts of a URL by which jobs are told apart: its origin, for credentials and connections, and its host, for limits.

use url::{Position, Url};

/// Scheme, host and port as the URL writes them. URLs in here have no userinfo: it was taken out when the job came in.
pub(crate) fn origin(url: &Url) -> &str {
    &url[..Position::BeforePath]
}

/// Host, and port where it is not the scheme's own: what limits are kept for.
pub(crate) fn host(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::BeforePath]
}

/// What goes into the request line.
pub(crate) fn path_and_query(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

/// Without the fragment.
pub(crate) fn without_fragment(url: &Url) -> &str {
    &url[..Position::AfterQuery]
}

/// Whether a request to the second may carry what was meant for the first.
pub(crate) fn is_same_origin(one: &Url, other: &Url) -> bool {
    origin(one) == origin(other)
}

/// Takes user and password out of a URL.
pub(crate) fn take_userinfo(url: &mut Url) -> Option<(String, String)> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decoded = |text: &str| percent_decoded(text);
    let userinfo = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
    // They fail only for URLs without a host, which are none of ours.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(userinfo)
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = hex
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_falls_into_origin_and_path() {
        let url = Url::parse("https://Shop.example:8443/a b?q=ü#top").unwrap();
        assert_eq!(
            (origin(&url), host(&url), path_and_query(&url)),
            ("https://shop.example:8443", "shop.example:8443", "/a%20b?q=%C3%BC")
        );
        assert_eq!(without_fragment(&url), "https://shop.example:8443/a%20b?q=%C3%BC");
        let plain = Url::parse("http://[::1]:80").unwrap();
        assert_eq!(
            (origin(&plain), host(&plain), path_and_query(&plain)),
            ("http://[::1]", "[::1]", "/")
        );
    }

    #[test]
    fn userinfo_is_taken_out_and_decoded() {
        let mut url = Url::parse("http://us%40er:p%3Aw%zz@host/x").unwrap();
        assert_eq!(take_userinfo(&mut url), Some(("us@er".to_string(), "p:w%zz".to_string())));
        assert_eq!(url.as_str(), "http://host/x");
        assert_eq!(take_userinfo(&mut url), None);
    }
}
