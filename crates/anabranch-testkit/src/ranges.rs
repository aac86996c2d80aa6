//! A body that may be asked for in part (RFC 9110, section 14): one range of bytes, and `If-Range`.

use bytes::Bytes;

use crate::Seen;

/// What is answered to a request for a body, which may be one for a part of it.
#[derive(Debug)]
pub(crate) struct Part {
    /// 200, 206 or 416.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Part {
    /// Reads `Range` and `If-Range`. `etag` and `modified` are the headers of the rule, if it has them. What is no single range of bytes
    /// is answered with all of it, as the RFC lets a server do.
    pub(crate) fn of(whole: &Bytes, request: &Seen, etag: Option<&str>, modified: Option<&str>) -> Part {
        let accepts = ("accept-ranges".to_owned(), "bytes".to_owned());
        let is_same = request
            .header("if-range")
            .is_none_or(|wanted| Some(wanted) == modified || Some(wanted) == etag.filter(|etag| !etag.starts_with("W/")));
        let Some((from, to)) = request
            .header("range")
            .filter(|_| is_same)
            .and_then(|text| parse(text, whole.len()))
        else {
            return Part {
                status: 200,
                headers: vec![accepts],
                body: whole.clone(),
            };
        };
        let length = whole.len();
        if from >= length || from > to {
            return Part {
                status: 416,
                headers: vec![accepts, ("content-range".to_owned(), format!("bytes */{length}"))],
                body: Bytes::new(),
            };
        }
        let to = to.min(length - 1);
        Part {
            status: 206,
            headers: vec![accepts, ("content-range".to_owned(), format!("bytes {from}-{to}/{length}"))],
            body: whole.slice(from..=to),
        }
    }
}

/// `bytes=a-b`, `bytes=a-` or `bytes=-n`, as first and last byte.
fn parse(text: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    if from.is_empty() {
        let count: usize = to.parse().ok()?;
        // None of the bytes: one that cannot be satisfied.
        return Some((
            length.saturating_sub(count).max(usize::from(count == 0) * length),
            length.saturating_sub(1),
        ));
    }
    let to = if to.is_empty() { usize::MAX } else { to.parse().ok()? };
    Some((from.parse().ok()?, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, Method};

    fn part(headers: &[(&'static str, &str)]) -> Part {
        let mut request = Seen::of(Method::GET, "/");
        for (name, value) in headers {
            request.headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        Part::of(&Bytes::from_static(b"0123456789"), &request, Some("\"a\""), None)
    }

    #[test]
    fn a_range_is_answered_with_its_bytes() {
        for (range, status, body) in [
            ("bytes=0-3", 206, "0123"),
            ("bytes=8-", 206, "89"),
            ("bytes=8-99", 206, "89"),
            ("bytes=-2", 206, "89"),
            ("bytes=-99", 206, "0123456789"),
            ("bytes=10-", 416, ""),
            ("bytes=-0", 416, ""),
            ("bytes=5-3", 416, ""),
            ("bytes=0-1,3-4", 200, "0123456789"),
            ("lines=0-1", 200, "0123456789"),
        ] {
            let part = part(&[("range", range)]);
            assert_eq!((part.status, &part.body[..]), (status, body.as_bytes()), "{range}");
        }
    }

    #[test]
    fn what_has_changed_is_answered_as_a_whole() {
        assert_eq!(part(&[("range", "bytes=1-2"), ("if-range", "\"a\"")]).status, 206);
        assert_eq!(part(&[("range", "bytes=1-2"), ("if-range", "\"b\"")]).status, 200);
        assert_eq!(part(&[]).status, 200);
    }
}
