//! Where an answer sends us on to, and what becomes of method and body on the way (RFC 9110 section 15.4).

use http::Method;
use url::Url;

use super::origin::{take_userinfo, without_fragment};

/// Where to go on, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub(crate) url: Url,
    /// The method of the next request; where it is another, the body is dropped with the headers that describe it.
    pub(crate) method: Method,
    pub(crate) keeps_body: bool,
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NoLocation,
    BadLocation,
    NotHttp,
    /// From `https` to `http`, with a body that would travel in the clear.
    Downgrade,
    Loop,
    TooMany,
}

impl Refused {
    pub(crate) fn message(self) -> &'static str {
        match self {
            Refused::NoLocation => "a redirect without a `location`",
            Refused::BadLocation => "a redirect whose `location` is no URL",
            Refused::NotHttp => "a redirect to something that is not http or https",
            Refused::Downgrade => "a redirect of a request with a body from https to http, which is not followed",
            Refused::Loop => "a redirect to a URL that it came from",
            Refused::TooMany => "more redirects than `--max-redirs`",
        }
    }

    /// One word for the record.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Refused::NoLocation | Refused::BadLocation | Refused::NotHttp => "redirect_target",
            Refused::Downgrade => "redirect_downgrade",
            Refused::Loop => "redirect_loop",
            Refused::TooMany => "redirect_count",
        }
    }
}

/// Statuses that send us on. 300 and 304 to 306 do not.
pub(crate) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// What a request is, as far as redirects care.
pub(crate) struct From<'a> {
    pub(crate) url: &'a Url,
    pub(crate) method: &'a Method,
    pub(crate) has_body: bool,
    /// The URLs that led here, this one left out.
    pub(crate) before: &'a [String],
    pub(crate) max: u32,
}

/// Where an answer sends a request on to. User and password of a `location` are dropped: a server does not choose who we are.
///
/// A URL that was asked before is a loop, unless the method has changed since or a cookie may have: for these two, coming by once more is
/// how some logins work, so a loop is called one at the second return.
///
/// # Errors
/// See [`Refused`].
pub(crate) fn follow(from: &From<'_>, status: u16, location: Option<&[u8]>) -> Result<Redirect, Refused> {
    let location = location.ok_or(Refused::NoLocation)?;
    let text = String::from_utf8_lossy(location.trim_ascii());
    let mut url = from.url.join(&text).map_err(|_| Refused::BadLocation)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(Refused::NotHttp);
    }
    let _ = take_userinfo(&mut url);
    if url.fragment().is_none() {
        // RFC 9110 section 10.2.2: the fragment is inherited.
        url.set_fragment(from.url.fragment());
    }
    if from.before.len() >= from.max as usize {
        return Err(Refused::TooMany);
    }
    let target = without_fragment(&url);
    let is_here = target == without_fragment(from.url);
    let returns = from.before.iter().filter(|before| *before == target).count() + usize::from(is_here);
    let (method, keeps_body) = next_method(from.method, status);
    let is_the_same = method == *from.method;
    if returns > 1 || (returns == 1 && is_here && is_the_same && from.before.iter().any(|before| before == target)) {
        return Err(Refused::Loop);
    }
    if keeps_body && from.has_body && from.url.scheme() == "https" && url.scheme() == "http" {
        return Err(Refused::Downgrade);
    }
    Ok(Redirect { url, method, keeps_body })
}

/// 303 asks for a GET (a HEAD stays one); after 301 and 302 a POST becomes a GET, as every browser does; 307 and 308 change nothing.
fn next_method(method: &Method, status: u16) -> (Method, bool) {
    match status {
        303 if *method != Method::HEAD => (Method::GET, false),
        301 | 302 if *method == Method::POST => (Method::GET, false),
        _ => (method.clone(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(method: Method, from: &str, status: u16, location: Option<&str>, before: &[&str]) -> Result<Redirect, Refused> {
        let before: Vec<String> = before.iter().map(|url| url.to_string()).collect();
        let url = Url::parse(from).unwrap();
        let has_body = method == Method::POST;
        let from = From {
            url: &url,
            method: &method,
            has_body,
            before: &before,
            max: 3,
        };
        follow(&from, status, location.map(str::as_bytes))
    }

    fn lands(from: &str, location: &str) -> String {
        go(Method::GET, from, 302, Some(location), &[]).unwrap().url.to_string()
    }

    #[test]
    fn a_location_is_relative_to_where_it_came_from() {
        assert_eq!(lands("http://a/x/y?q#f", "z"), "http://a/x/z#f");
        assert_eq!(lands("http://a/x/y", "//b/z#g"), "http://b/z#g");
        assert_eq!(lands("http://a/x", "https://me:pw@b/"), "https://b/");
    }

    #[test]
    fn methods_change_as_in_browsers() {
        let method = |method, status| {
            let redirect = go(method, "http://a/", status, Some("/b"), &[]).unwrap();
            (redirect.method, redirect.keeps_body)
        };
        for status in [301, 302, 303] {
            assert_eq!(method(Method::POST, status), (Method::GET, false), "{status}");
        }
        for status in [307, 308] {
            assert_eq!(method(Method::POST, status), (Method::POST, true), "{status}");
        }
        assert_eq!(method(Method::PUT, 302), (Method::PUT, true));
        assert_eq!(method(Method::PUT, 303), (Method::GET, false));
        assert_eq!(method(Method::HEAD, 303), (Method::HEAD, true));
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let refused = |location| go(Method::GET, "http://a/", 302, location, &[]).unwrap_err();
        assert_eq!(refused(None), Refused::NoLocation);
        assert_eq!(refused(Some("http://[::1")), Refused::BadLocation);
        for elsewhere in ["file:///etc/passwd", "javascript:alert(1)", "data:,x", "ftp://a/"] {
            assert_eq!(refused(Some(elsewhere)), Refused::NotHttp, "{elsewhere}");
        }
        assert_eq!(go(Method::POST, "https://a/", 307, Some("http://a/"), &[]), Err(Refused::Downgrade));
        assert!(go(Method::POST, "https://a/", 303, Some("http://a/"), &[]).is_ok());
    }

    #[test]
    fn loops_and_long_ways_end() {
        let before = ["http://a/1", "http://a/2"];
        assert!(
            go(Method::GET, "http://a/3", 302, Some("/1"), &before).is_ok(),
            "coming by once more"
        );
        let before = ["http://a/1", "http://a/2", "http://a/1"];
        assert_eq!(go(Method::GET, "http://a/2", 302, Some("/1"), &before[..]), Err(Refused::TooMany));
        assert_eq!(go(Method::GET, "http://a/1", 302, Some("/1"), &["http://a/1"]), Err(Refused::Loop));
        assert!(
            go(Method::GET, "http://a/1", 302, Some("/1"), &[]).is_ok(),
            "the first answer set a cookie"
        );
    }
}
