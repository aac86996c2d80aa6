//! Ranges of a body and what makes them safe to put together (RFC 9110, sections 13.1.5 and 14).

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use anabranch::client::StreamedResponse;
use http::HeaderValue;

/// How much older than the answer a `Last-Modified` must be to count as a strong validator. RFC 9110, section 8.8.2.2, asks for a second
/// at least; a minute, as RFC 7232 had it, also bears clocks that do not agree.
const OLD_ENOUGH: Duration = Duration::from_secs(60);

/// What a request for a part says: the values of `Range` and `If-Range`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranged {
    pub(crate) range: HeaderValue,
    pub(crate) if_range: HeaderValue,
}

/// What tells one version of a file from another: a strong ETag, or the time of a last change long enough ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validator(String);

/// Whether the rest of this answer could be asked for later: all of a file, as it is stored, of a known length, by a server that does not
/// refuse ranges, with a validator.
pub(crate) fn is_resumable(head: &StreamedResponse) -> bool {
    let is_plain = head
        .header_bytes("content-encoding")
        .is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let takes_ranges = head
        .header("accept-ranges")
        .is_none_or(|units| !units.trim().eq_ignore_ascii_case("none"));
    head.status() == 200 && is_plain && takes_ranges && head.length().is_some_and(|length| length > 0) && Validator::of(head).is_some()
}

impl Validator {
    pub(crate) fn of(head: &StreamedResponse) -> Option<Validator> {
        Validator::from(head.header("etag"), head.header("last-modified"), head.header("date"))
    }

    fn from(etag: Option<&str>, modified: Option<&str>, date: Option<&str>) -> Option<Validator> {
        if let Some(etag) = etag {
            // A weak one may be the same for bytes that differ, and then the date is no better.
            let is_strong = etag.len() >= 2 && etag.starts_with('"') && etag.ends_with('"');
            return is_strong.then(|| Validator(etag.to_string()));
        }
        let (modified, date) = (modified?, date?);
        let age = httpdate::parse_http_date(date)
            .ok()?
            .duration_since(httpdate::parse_http_date(modified).ok()?);
        age.is_ok_and(|age| age >= OLD_ENOUGH).then(|| Validator(modified.to_string()))
    }

    /// As a note has it.
    pub(crate) fn read(text: &str) -> Option<Validator> {
        let is_header = HeaderValue::from_str(text).is_ok() && !text.is_empty() && !text.starts_with("W/");
        is_header.then(|| Validator(text.to_string()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What asks for these bytes; without an end where they are the last ones of the file.
    pub(crate) fn ask_for(&self, bytes: &Range<u64>, total: u64) -> Ranged {
        let range = if bytes.end >= total {
            format!("bytes={}-", bytes.start)
        } else {
            format!("bytes={}-{}", bytes.start, bytes.end - 1)
        };
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        Ranged {
            range: value(&range),
            if_range: value(&self.0),
        }
    }

    /// Whether an answer's ETag, if it has one, is this one. A date is compared by the server alone.
    fn is_of(&self, etag: Option<&str>) -> bool {
        !self.0.starts_with('"') || etag.is_none_or(|etag| etag == self.0)
    }
}

/// `Content-Range: bytes 0-9/100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ContentRange {
    first: u64,
    last: u64,
    /// None: the server does not say.
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<ContentRange> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let range = ContentRange {
            first: number(first)?,
            last: number(last)?,
            total: if total == "*" { None } else { Some(number(total)?) },
        };
        let is_sound =
            unit.eq_ignore_ascii_case("bytes") && range.first <= range.last && range.total.is_none_or(|total| range.last < total);
        is_sound.then_some(range)
    }
}

/// Why an answer to a request for a part is not that part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotThePart {
    /// It is the whole file: it has changed, or ranges are not honoured.
    Whole,
    /// The part does not exist any more: the file is shorter now.
    Gone,
    /// 206, and yet not what was asked for.
    Wrong,
    /// Another status: nothing of the file.
    Status(u16),
}

/// Up to which byte of the file an answer goes that was asked for `bytes` of it. It may be fewer than were asked for.
pub(crate) fn end_of_part(head: &StreamedResponse, bytes: &Range<u64>, total: u64, validator: &Validator) -> Result<u64, NotThePart> {
    match head.status() {
        206 => {}
        200 => return Err(NotThePart::Whole),
        416 => return Err(NotThePart::Gone),
        status => return Err(NotThePart::Status(status)),
    }
    let is_plain = head
        .header_bytes("content-encoding")
        .is_none_or(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let range = head.header("content-range").and_then(ContentRange::parse);
    let end = range
        .and_then(|range| end_of(range, bytes, total))
        .filter(|_| is_plain && validator.is_of(head.header("etag")));
    let end = end.ok_or(NotThePart::Wrong)?;
    let is_framed_so = head.length().is_none_or(|length| length == end - bytes.start);
    if is_framed_so { Ok(end) } else { Err(NotThePart::Wrong) }
}

fn end_of(range: ContentRange, bytes: &Range<u64>, total: u64) -> Option<u64> {
    let is_it = range.first == bytes.start && range.total.is_none_or(|other| other == total) && range.last < total;
    is_it.then_some(range.last + 1)
}

impl fmt::Display for NotThePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotThePart::Whole => {
                f.write_str("a part of the file was asked for and all of it came: it has changed, or ranges are not honoured")
            }
            NotThePart::Gone => f.write_str("the file is shorter than it was"),
            NotThePart::Wrong => f.write_str("the answer is not the part of the file that was asked for"),
            NotThePart::Status(status) => write!(f, "a part of the file was answered with status {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OLD: &str = "Fri, 20 Nov 2026 10:00:00 GMT";

    #[test]
    fn only_what_is_the_same_byte_for_byte_is_a_validator() {
        let from = |etag, modified, date| Validator::from(etag, modified, date).map(|validator| validator.0);
        assert_eq!(from(Some("\"a\""), None, None).as_deref(), Some("\"a\""));
        assert_eq!(from(Some("W/\"a\""), Some(OLD), Some("Fri, 20 Nov 2026 11:00:00 GMT")), None);
        assert_eq!(from(Some("a"), None, None), None);
        assert_eq!(from(None, Some(OLD), Some("Fri, 20 Nov 2026 10:01:00 GMT")).as_deref(), Some(OLD));
        assert_eq!(from(None, Some(OLD), Some("Fri, 20 Nov 2026 10:00:59 GMT")), None);
        assert_eq!(from(None, Some(OLD), None), None);
        assert_eq!(from(None, Some("yesterday"), Some(OLD)), None);
    }

    #[test]
    fn the_last_bytes_are_asked_for_without_an_end() {
        let validator = Validator("\"a\"".into());
        assert_eq!(validator.ask_for(&(5..10), 20).range, "bytes=5-9");
        assert_eq!(validator.ask_for(&(5..20), 20).range, "bytes=5-");
        assert_eq!(validator.ask_for(&(5..20), 20).if_range, "\"a\"");
    }

    #[test]
    fn a_content_range_must_make_sense() {
        let parsed = |text| ContentRange::parse(text).map(|range| (range.first, range.last, range.total));
        assert_eq!(parsed("bytes 0-9/100"), Some((0, 9, Some(100))));
        assert_eq!(parsed("Bytes 5-5/*"), Some((5, 5, None)));
        for text in [
            "bytes */100",
            "bytes 9-0/100",
            "bytes 0-100/100",
            "lines 0-1/2",
            "bytes 0-9",
            "0-9/100",
            "bytes +1-2/3",
            "",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_begins_where_it_was_asked_to() {
        let end = |first, last, total| end_of(ContentRange { first, last, total }, &(10..20), 100);
        assert_eq!(end(10, 19, Some(100)), Some(20));
        assert_eq!(end(10, 14, None), Some(15));
        assert_eq!(end(9, 19, Some(100)), None);
        assert_eq!(end(10, 19, Some(101)), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "(bytes|x)? ?[0-9*]{0,22}-?[0-9]{0,3}/?[0-9*]{0,3}|\\PC{0,12}") {
            ContentRange::parse(&text);
            Validator::from(Some(&text), None, None);
            Validator::read(&text);
        }
    }
}
