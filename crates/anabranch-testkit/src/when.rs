//! Which requests a rule answers: method, path, query and headers.

use crate::Seen;
use http::Method;

/// Says which requests a rule answers. What is left out matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// The method.
    pub method: Option<Method>,
    /// The path: exact, with `*` standing for one whole segment, or with a trailing `/**` standing for any number of segments, none
    /// included. A segment matches as written and decoded, so `/a b` matches `/a%20b`; an encoded slash does not end a segment.
    pub path: Option<String>,
    /// Pairs that must be in the query, as text before encoding; the value `*` stands for any.
    pub query: Vec<(String, String)>,
    /// Headers that must be there with this value; the value `*` stands for any.
    pub headers: Vec<(String, String)>,
}

impl When {
    /// Tells whether a request is one of these.
    pub fn matches(&self, request: &Seen) -> bool {
        let method_matches = self.method.as_ref().is_none_or(|method| *method == request.method);
        let path_matches = self.path.as_deref().is_none_or(|pattern| path_matches(pattern, request.path()));
        method_matches && path_matches && self.query_matches(request) && self.headers_match(request)
    }

    fn query_matches(&self, request: &Seen) -> bool {
        if self.query.is_empty() {
            return true;
        }
        let pairs: Vec<(String, String)> = query_pairs(request.query());
        self.query.iter().all(|(name, value)| {
            pairs
                .iter()
                .any(|(other, found)| name == other && value_matches(value, found.as_bytes()))
        })
    }

    fn headers_match(&self, request: &Seen) -> bool {
        self.headers.iter().all(|(name, value)| {
            request
                .headers
                .get_all(name.as_str())
                .iter()
                .any(|found| value_matches(value, found.as_bytes()))
        })
    }
}

fn value_matches(wanted: &str, found: &[u8]) -> bool {
    wanted == "*" || wanted.as_bytes() == found
}

fn path_matches(pattern: &str, path: &str) -> bool {
    let (pattern, open_ended) = match pattern.strip_suffix("/**") {
        Some(start) => (start, true),
        None => (pattern, false),
    };
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        match segments.next() {
            Some(segment) if segment_matches(wanted, segment) => {}
            _ => return false,
        }
    }
    open_ended || segments.next().is_none()
}

fn segment_matches(wanted: &str, segment: &str) -> bool {
    // An empty segment is a slash too many, not a value that `*` stands for.
    (wanted == "*" && !segment.is_empty()) || wanted == segment || wanted.as_bytes() == percent_decoded(segment)
}

/// Takes a query apart as a form does (WHATWG URL, `application/x-www-form-urlencoded`): `+` is a space.
fn query_pairs(query: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| String::from_utf8_lossy(&percent_decoded(&text.replace('+', " "))).into_owned();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        })
        .collect()
}

/// Decodes `%XX`; what is not two hexadecimal digits is left as it is.
fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|digits| Some((hex_digit(digits[0])?, hex_digit(digits[1])?)));
        match digits {
            Some((high, low)) if bytes[at] == b'%' => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reply;

    fn check(reply: Reply, method: Method, target: &str, expected: bool) {
        let mut request = Seen::of(method, target);
        request.headers.insert("accept", "text/html".parse().unwrap());
        assert_eq!(reply.when.matches(&request), expected, "{:?} on {target}", reply.when);
    }

    #[test]
    fn a_path_is_exact_or_has_stars_for_segments() {
        for (pattern, target, expected) in [
            ("/", "/", true),
            ("/user/7", "/user/7?full=1", true),
            ("/user/7", "/user/70", false),
            ("/user/7", "/user/7/", false),
            ("/user/*", "/user/7", true),
            ("/user/*", "/user/", false),
            ("/user/*", "/user/7/cart", false),
            ("/user/*/cart", "/user/7/cart", true),
            ("/files/**", "/files", true),
            ("/files/**", "/files/a/b/c", true),
            ("/files/**", "/filesystem", false),
            ("/**", "/anything/at/all", true),
            ("/a b", "/a%20b", true),
            ("/a%20b", "/a%20b", true),
            ("/a/b", "/a%2fb", false),
            ("/*", "/a%2fb", true),
            ("/100%", "/100%", true),
        ] {
            check(Reply::path(pattern), Method::GET, target, expected);
        }
    }

    #[test]
    fn method_query_and_headers_narrow_a_rule() {
        check(Reply::any(), Method::DELETE, "/x", true);
        check(Reply::get("/x"), Method::POST, "/x", false);
        check(Reply::get("/x").when_query("q", "a b"), Method::GET, "/x?p=1&q=a+b", true);
        check(Reply::get("/x").when_query("q", "a b"), Method::GET, "/x?q=a%20b", true);
        check(Reply::get("/x").when_query("q", "2"), Method::GET, "/x?q=1&q=2", true);
        check(Reply::get("/x").when_query("q", "3"), Method::GET, "/x?q=1", false);
        check(Reply::get("/x").when_query("q", "*"), Method::GET, "/x?q", true);
        check(Reply::get("/x").when_query("q", "*"), Method::GET, "/x", false);
        check(Reply::get("/x").when_header("Accept", "text/html"), Method::GET, "/x", true);
        check(Reply::get("/x").when_header("accept", "*"), Method::GET, "/x", true);
        check(Reply::get("/x").when_header("accept", "text/plain"), Method::GET, "/x", false);
        check(Reply::get("/x").when_header("cookie", "*"), Method::GET, "/x", false);
        // A name that no header can have matches nothing, rather than panicking.
        check(Reply::get("/x").when_header("no such name", "*"), Method::GET, "/x", false);
    }
}
