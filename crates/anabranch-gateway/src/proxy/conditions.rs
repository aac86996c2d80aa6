//! What a client asks of an answer that is stored: only if it has changed, or only a part of it (RFC 9110 sections 13 and 14).

use std::ops::Range;

use http::{HeaderMap, HeaderName, header};

/// What is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    /// 304.
    Unchanged,
    /// 206 with these bytes.
    Part(Range<usize>),
    /// 416.
    NoSuchPart,
}

/// What a stored answer is compared by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validators<'a> {
    pub(super) etag: Option<&'a [u8]>,
    pub(super) last_modified: Option<&'a [u8]>,
}

/// Headers that ask such things. None of them goes along when the source is asked whether a stored answer still holds.
pub(super) const CONDITIONS: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// Whether only the source can say: these are meant for what is there now.
pub(super) fn is_for_source(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_UNMODIFIED_SINCE)
}

/// What a request wants of a stored 200 of this length. Several ranges, units other than bytes and what cannot be read want the whole.
pub(super) fn wanted(headers: &HeaderMap, validators: Validators<'_>, length: usize) -> Wanted {
    let first = |name: HeaderName| headers.get(name).map(|value| value.as_bytes().trim_ascii());
    match (headers.contains_key(header::IF_NONE_MATCH), first(header::IF_MODIFIED_SINCE)) {
        // With tags there dates do not count (section 13.2.2).
        (true, _) => {
            let tags = headers.get_all(header::IF_NONE_MATCH).iter();
            if tags.into_iter().any(|list| matches_any(list.as_bytes(), validators.etag)) {
                return Wanted::Unchanged;
            }
        }
        (false, Some(since)) if !is_after(validators.last_modified, since) => return Wanted::Unchanged,
        _ => {}
    }
    let Some(range) = first(header::RANGE) else {
        return Wanted::Whole;
    };
    match first(header::IF_RANGE) {
        Some(tag) if tag.starts_with(b"\"") && validators.etag == Some(tag) => {}
        Some(date) if validators.last_modified == Some(date) => {}
        Some(_) => return Wanted::Whole,
        None => {}
    }
    part(range, length)
}

/// Whether one of the tags of a list, or `*`, is the tag of the answer, weak or not.
fn matches_any(list: &[u8], etag: Option<&[u8]>) -> bool {
    let strong = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let Some(etag) = etag.map(strong) else { return false };
    let mut tags = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|tag| tag == b"*" || strong(tag) == etag)
}

/// Whether the answer is newer than a date; what cannot be compared is.
fn is_after(last_modified: Option<&[u8]>, since: &[u8]) -> bool {
    let date = |text: &[u8]| httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok();
    match (last_modified.and_then(date), date(since)) {
        (Some(modified), Some(since)) => modified > since,
        _ => true,
    }
}

/// One range of bytes: `bytes=0-9`, `bytes=10-`, `bytes=-5` (RFC 9110 section 14.1.2).
fn part(range: &[u8], length: usize) -> Wanted {
    let text = std::str::from_utf8(range).unwrap_or_default();
    let spec = text.strip_prefix("bytes=").unwrap_or_default().trim();
    let number = |text: &str| {
        let plain = !text.is_empty() && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<usize>().ok().filter(|_| plain)
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Wanted::Whole;
    };
    let range = match (number(first), number(last)) {
        (Some(first), None) if last.is_empty() => first..length,
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (None, Some(count)) if first.is_empty() => length.saturating_sub(count)..length,
        _ => return Wanted::Whole,
    };
    if range.start >= range.end {
        Wanted::NoSuchPart
    } else {
        Wanted::Part(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8] = b"Fri, 20 Nov 2026 12:00:00 GMT";

    #[track_caller]
    fn check(sent: &[(&'static str, &'static str)], expected: Wanted) {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        let validators = Validators {
            etag: Some(b"\"a\""),
            last_modified: Some(DATE),
        };
        assert_eq!(wanted(&headers, validators, 100), expected, "{sent:?}");
    }

    #[test]
    fn a_client_that_has_the_answer_is_told_so() {
        check(&[], Wanted::Whole);
        for list in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            check(&[("if-none-match", list)], Wanted::Unchanged);
        }
        check(&[("if-none-match", "\"b\"")], Wanted::Whole);
        check(&[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")], Wanted::Unchanged);
        check(&[("if-modified-since", "Fri, 20 Nov 2026 12:00:00 GMT")], Wanted::Unchanged);
        check(&[("if-modified-since", "Fri, 20 Nov 2026 11:59:59 GMT")], Wanted::Whole);
        check(&[("if-modified-since", "yesterday")], Wanted::Whole);
        // Tags count more than dates.
        let both = [("if-none-match", "\"b\""), ("if-modified-since", "Fri, 20 Nov 2026 13:00:00 GMT")];
        check(&both, Wanted::Whole);
    }

    #[test]
    fn a_part_is_given_where_one_is_asked_for() {
        check(&[("range", "bytes=0-9")], Wanted::Part(0..10));
        check(&[("range", "bytes=90-")], Wanted::Part(90..100));
        check(&[("range", "bytes=-10")], Wanted::Part(90..100));
        check(&[("range", "bytes=-1000")], Wanted::Part(0..100));
        check(&[("range", "bytes=90-1000")], Wanted::Part(90..100));
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            check(&[("range", beyond)], Wanted::NoSuchPart);
        }
        for whole in [
            "bytes=0-1,5-6",
            "items=0-1",
            "bytes=5-1",
            "bytes=-",
            "bytes=a-b",
            "bytes",
            "bytes=99999999999999999999-",
        ] {
            check(&[("range", whole)], Wanted::Whole);
        }
        check(&[("range", "bytes=0-9"), ("if-range", "\"a\"")], Wanted::Part(0..10));
        check(&[("range", "bytes=0-9"), ("if-range", "\"b\"")], Wanted::Whole);
        check(&[("range", "bytes=0-9"), ("if-range", "W/\"a\"")], Wanted::Whole);
        check(
            &[("range", "bytes=0-9"), ("if-range", "Fri, 20 Nov 2026 12:00:00 GMT")],
            Wanted::Part(0..10),
        );
        check(&[("range", "bytes=0-9"), ("if-none-match", "\"a\"")], Wanted::Unchanged);
    }
}
