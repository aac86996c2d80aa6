//! A good answer as it is stored, and what its source says about storing it (RFC 9111).

use std::time::{Duration, SystemTime};

use anabranch::client::Response;
use anabranch::policy::{Asked, Freshness as Said, Keep, NotStored, Reader, Times};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, header};

use crate::respond::cache_control::{Freshness, UpstreamHeaders};

/// Headers that say how long an answer is fresh, or by which it is compared; kept where the source decides, so that a 304 can renew them.
const SAYING: [&str; 6] = ["cache-control", "date", "etag", "expires", "last-modified", "vary"];

/// Header lines, names in lower case.
pub(super) type Lines = Vec<(Box<str>, Box<[u8]>)>;

/// A good answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// Validated JSON; None where the source has nothing for a key of a batch, or where this only marks a call whose answers are not
    /// for others.
    pub(crate) value: Option<Bytes>,
    /// Headers that go on to the client.
    pub(crate) forward: Vec<(HeaderName, HeaderValue)>,
    /// What the source said about keeping it.
    pub(crate) said: Freshness,
    /// How it is kept; of a batch, how each of its items is.
    pub(super) keep: Keep,
    /// Whether it may be handed to whoever waits for the same call.
    pub(super) is_for_all: bool,
    /// Whether it came to depend on headers by which those who waited for it were not told apart.
    pub(super) grew: bool,
    /// The status that the source answered now.
    pub(super) status: Option<u16>,
    /// What the source said, where it decides.
    pub(super) lines: Lines,
}

impl Answer {
    /// What a source without headers gave.
    pub(super) fn of_store(value: Bytes, times: Times) -> Answer {
        Answer {
            value: Some(value),
            keep: Keep::from(times),
            is_for_all: true,
            ..Answer::mark()
        }
    }

    /// Marks a call whose answers are not for others.
    pub(super) fn mark() -> Answer {
        Answer {
            value: None,
            forward: Vec::new(),
            said: Freshness::default(),
            keep: Keep::default(),
            is_for_all: false,
            grew: false,
            status: None,
            lines: Vec::new(),
        }
    }

    /// One item of an answer to a batch; None where the source has none.
    pub(crate) fn item(value: Option<Bytes>, said: Freshness, keep: Keep) -> Answer {
        Answer {
            value,
            said,
            keep,
            is_for_all: true,
            ..Answer::mark()
        }
    }

    /// The time since it came, of one that is this old.
    pub(crate) fn since(&self, age: Duration) -> Duration {
        age.saturating_sub(self.keep.age)
    }

    /// Whether a 304 is about this answer: one with another `ETag` is not (RFC 9111, 4.3.4).
    pub(super) fn is_meant_by(&self, response: &Response) -> bool {
        let tag = |value: &[u8]| value.strip_prefix(b"W/").unwrap_or(value).to_vec();
        let own = self.lines.iter().find(|(name, _)| &**name == "etag").map(|(_, value)| tag(value));
        let named = response.header_bytes("etag").map(tag);
        named.is_none() || own.is_none() || named == own
    }

    /// Whether equal calls that waited for it may have it.
    pub(super) fn is_for_those_who_waited(&self) -> bool {
        self.is_for_all && !self.grew
    }

    /// What it weighs in a store, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        let headers: usize = self.forward.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let lines: usize = self.lines.iter().map(|(name, value)| name.len() + value.len()).sum();
        (size_of::<Answer>() + self.value.as_ref().map_or(0, Bytes::len) + headers + lines) as u64
    }

    /// The headers by which the source can be asked whether it still holds (RFC 9111, 4.3.1).
    pub(super) fn conditions(&self) -> Vec<(HeaderName, HeaderValue)> {
        let named = |line: &str, name: HeaderName| {
            let (_, value) = self.lines.iter().find(|(other, _)| &**other == line)?;
            Some((name, HeaderValue::from_bytes(value).ok()?))
        };
        if self.value.is_none() {
            return Vec::new();
        }
        let conditions = [
            named("etag", header::IF_NONE_MATCH),
            named("last-modified", header::IF_MODIFIED_SINCE),
        ];
        conditions.into_iter().flatten().collect()
    }

    /// The same answer after the source has said that it holds: with what the 304 says in place of what was said before (RFC 9111, 4.3.4).
    /// None where it must not be kept any longer, so that it would have to be asked for anew.
    pub(super) fn renewed(&self, response: &Response, heard: &Heard, forward: &[HeaderName], stale: Duration) -> Answer {
        let mut lines = saying(response);
        // Of the two clocks the one of the old answer is over; its age begins anew as well.
        let is_new = |name: &str| lines.iter().any(|(new, _)| &**new == name);
        let old: Lines = self
            .lines
            .iter()
            .filter(|(name, _)| &**name != "date" && !is_new(name))
            .cloned()
            .collect();
        lines.extend(old);
        let of_now = ["age", "set-cookie"];
        let now = response.headers().filter(|(name, _)| of_now.contains(name));
        let all: Vec<(&str, &[u8])> = lines.iter().map(|(name, value)| (&**name, &**value)).chain(now).collect();
        let said = heard.said(200, &all);
        let mut forwarded = self.forward.clone();
        for name in forward {
            let values: Vec<HeaderValue> = response
                .headers()
                .filter(|(other, _)| *other == name.as_str())
                .filter_map(|(_, value)| HeaderValue::from_bytes(value).ok())
                .collect();
            if !values.is_empty() {
                forwarded.retain(|(other, _)| other != name);
                forwarded.extend(values.into_iter().map(|value| (name.clone(), value)));
            }
        }
        let freshness = freshness(&all);
        Answer {
            value: self.value.clone(),
            forward: forwarded,
            said: freshness,
            keep: by_source(said.as_ref(), stale),
            is_for_all: is_for_all_by_source(said.as_ref()),
            grew: false,
            status: Some(304),
            lines,
        }
    }
}

/// Whom an answer was for, and how long it took to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) reader: Reader,
    /// Whether the call carried `Authorization`.
    pub(super) authorized: bool,
    pub(super) delay: Duration,
}

impl Heard {
    /// What the source says about keeping an answer with these headers.
    pub(super) fn said(&self, status: u16, headers: &[(&str, &[u8])]) -> Result<Said, NotStored> {
        let asked = Asked {
            method: &Method::GET,
            authorized: self.authorized,
            reader: self.reader,
            delay: self.delay,
        };
        Said::of(asked, status, headers.iter().copied(), SystemTime::now())
    }

    /// Whether a fixed time may hold for an answer: whatever its time, some are for one client only.
    pub(super) fn may_share(&self, status: u16, headers: &[(&str, &[u8])]) -> bool {
        let whoever = Heard {
            authorized: false,
            ..*self
        };
        whoever.said(status, headers).is_ok()
    }
}

/// How an answer is kept where the source decides. What has no time and nothing to be compared by is not kept.
pub(super) fn by_source(said: Result<&Said, &NotStored>, stale: Duration) -> Keep {
    said.map_or(Keep::default(), |said| said.keep_to_compare(stale))
}

/// Whether those who waited may have it: it must be fresh, since what is not must be asked for by each (RFC 9111, 4).
pub(super) fn is_for_all_by_source(said: Result<&Said, &NotStored>) -> bool {
    said.is_ok_and(|said| said.lifetime > said.age)
}

/// What the source says that may be needed again.
pub(super) fn saying(response: &Response) -> Lines {
    let lines = response.headers().filter(|(name, _)| SAYING.contains(name));
    lines.map(|(name, value)| (name.into(), value.into())).collect()
}

/// The same for the reply.
fn freshness(headers: &[(&str, &[u8])]) -> Freshness {
    let first = |wanted: &str| {
        let (_, value) = headers.iter().find(|(name, _)| *name == wanted)?;
        std::str::from_utf8(value).ok()
    };
    let upstream = UpstreamHeaders {
        cache_control: first("cache-control"),
        expires: first("expires"),
        date: first("date"),
        age: first("age"),
        vary: first("vary"),
    };
    Freshness::read(&upstream, SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(lines: &[(&'static str, &'static str)]) -> Response {
        lines.iter().fold(Response::new(304, ""), |response, (name, value)| {
            response.with_header(HeaderName::from_static(name), HeaderValue::from_static(value))
        })
    }

    const HEARD: Heard = Heard {
        reader: Reader::Anyone,
        authorized: false,
        delay: Duration::ZERO,
    };

    fn stored() -> Answer {
        let lines = [
            ("cache-control", "max-age=60"),
            ("etag", "\"1\""),
            ("date", "Fri, 20 Nov 2026 12:00:00 GMT"),
        ];
        Answer {
            value: Some(Bytes::from_static(b"1")),
            forward: vec![
                (HeaderName::from_static("x-a"), HeaderValue::from_static("1")),
                (HeaderName::from_static("x-b"), HeaderValue::from_static("2")),
            ],
            lines: lines
                .iter()
                .map(|(name, value)| ((*name).into(), value.as_bytes().into()))
                .collect(),
            ..Answer::mark()
        }
    }

    fn renewed(lines: &[(&'static str, &'static str)]) -> Answer {
        let forward = [HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];
        stored().renewed(&response(lines), &HEARD, &forward, Duration::from_secs(5))
    }

    #[test]
    fn an_answer_is_asked_about_by_its_validators() {
        let conditions = stored().conditions();
        assert_eq!(conditions, [(header::IF_NONE_MATCH, HeaderValue::from_static("\"1\""))]);
        assert!(Answer::mark().conditions().is_empty());
    }

    #[test]
    fn a_304_renews_with_what_it_says_and_else_with_what_was_said_before() {
        let same = renewed(&[]);
        assert_eq!(
            (same.keep.fresh, same.keep.if_failed, same.is_for_all),
            (Duration::from_secs(60), Duration::from_secs(5), true)
        );
        let longer = renewed(&[("cache-control", "max-age=90"), ("age", "20"), ("x-b", "3")]);
        assert_eq!(
            (longer.keep.fresh, longer.keep.age),
            (Duration::from_secs(70), Duration::from_secs(20))
        );
        assert_eq!(longer.forward[0].1, "1");
        assert_eq!(longer.forward[1].1, "3");
        assert_eq!(longer.conditions()[0].1, "\"1\"", "it is still the same answer");
        let never = renewed(&[("cache-control", "no-store")]);
        assert_eq!((never.keep, never.is_for_all), (Keep::default(), false));
        assert!(!renewed(&[("set-cookie", "a=1")]).is_for_all);
    }

    #[test]
    fn a_304_about_another_answer_renews_nothing() {
        assert!(stored().is_meant_by(&response(&[])));
        assert!(stored().is_meant_by(&response(&[("etag", "W/\"1\"")])));
        assert!(!stored().is_meant_by(&response(&[("etag", "\"2\"")])));
    }

    #[test]
    fn what_must_be_asked_for_each_time_is_nobody_elses() {
        let always = renewed(&[("cache-control", "no-cache")]);
        assert!(!always.is_for_all && always.keep.fresh.is_zero() && !always.keep.to_compare.is_zero());
    }
}
