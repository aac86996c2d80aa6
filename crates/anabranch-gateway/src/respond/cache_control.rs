//! How long a reply may be kept: never longer than its parts (RFC 9111).

use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue};

/// What one answer said about being kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// How much longer it is fresh; zero when it must be asked for each time, None when nothing was said.
    pub left: Option<Duration>,
    /// It may not be kept at all.
    pub no_store: bool,
    /// It is for one user.
    pub private: bool,
}

/// The headers of an answer that tell its freshness, as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpstreamHeaders<'a> {
    /// `Cache-Control`
    pub cache_control: Option<&'a str>,
    /// `Expires`
    pub expires: Option<&'a str>,
    /// `Date`
    pub date: Option<&'a str>,
    /// `Age`
    pub age: Option<&'a str>,
    /// `Vary`
    pub vary: Option<&'a str>,
}

impl Freshness {
    /// Reads what an answer says. `Cache-Control` counts more than `Expires`; what has aged on its way counts as gone; what cannot be
    /// understood counts as stale. `now` is for `Expires` in answers without a `Date`.
    pub fn read(headers: &UpstreamHeaders<'_>, now: SystemTime) -> Self {
        let mut freshness = Freshness::default();
        let mut max_age = None;
        let mut always_ask = headers.vary.is_some_and(|vary| vary.split(',').any(|name| name.trim() == "*"));
        for (name, value) in directives(headers.cache_control.unwrap_or_default()) {
            match name.to_ascii_lowercase().as_str() {
                "no-store" => freshness.no_store = true,
                "private" => freshness.private = true,
                "no-cache" => always_ask = true,
                // Of two that differ the shorter is the safe one (RFC 9111, 4.2.1).
                "max-age" => max_age = Some(seconds(value).min(max_age.unwrap_or(Duration::MAX))),
                _ => {}
            }
        }
        let lifetime = if always_ask {
            Some(Duration::ZERO)
        } else {
            max_age.or_else(|| until_expiry(headers, now))
        };
        let age = headers
            .age
            .map_or(Duration::ZERO, |age| Duration::from_secs(age.trim().parse().unwrap_or(u64::MAX)));
        freshness.left = lifetime.map(|lifetime| lifetime.saturating_sub(age));
        freshness
    }
}

fn until_expiry(headers: &UpstreamHeaders<'_>, now: SystemTime) -> Option<Duration> {
    let expires = headers.expires?;
    let sent = headers.date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    // `Expires: 0` and the like mean already expired (RFC 9111, 5.3).
    let expiry = httpdate::parse_http_date(expires).unwrap_or(SystemTime::UNIX_EPOCH);
    Some(expiry.duration_since(sent).unwrap_or(Duration::ZERO))
}

/// The directives of `Cache-Control`; commas inside quotes belong to the value.
fn directives(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut quoted = false;
    let pieces = text.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    });
    pieces.map(|piece| match piece.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
        None => (piece.trim(), None),
    })
}

fn seconds(value: Option<&str>) -> Duration {
    let digits = value.filter(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    // Delta-seconds above 2^31 count as that (RFC 9111, 1.2.2).
    digits.map_or(Duration::ZERO, |digits| {
        Duration::from_secs(digits.parse().unwrap_or(1 << 31).min(1 << 31))
    })
}

/// A reply, as far as its caching goes.
#[derive(Clone, Copy, Debug)]
pub struct ReplyCaching<'a> {
    /// Of each answer that went into the reply; of a value that stands in (`else`, stale) the default, which says nothing.
    pub parts: &'a [Freshness],
    /// Whether the request was GET or HEAD.
    pub is_get: bool,
    /// Whether the reply is a success with no part missing.
    pub is_complete: bool,
    /// Whether a call was sent a credential of the client.
    pub passed_credential: bool,
    /// Whether the reply sets a cookie.
    pub sets_cookie: bool,
    /// The age that the reply is sent with, which counts as a part of its lifetime.
    pub age: Duration,
}

/// The value of the reply's `Cache-Control`: `no-store` for what is incomplete, an error, no GET, sets a cookie or holds what may not be
/// stored; else the shortest freshness if every part has one, and `no-cache` if not. `private` where anyone's credential was used.
pub fn cache_control(reply: &ReplyCaching<'_>) -> HeaderValue {
    let storable = reply.is_get && reply.is_complete && !reply.sets_cookie && !reply.parts.iter().any(|part| part.no_store);
    if !storable {
        return HeaderValue::from_static("no-store");
    }
    let private = reply.passed_credential || reply.parts.iter().any(|part| part.private);
    match (shortest(reply.parts), private) {
        (0, false) => HeaderValue::from_static("no-cache"),
        (0, true) => HeaderValue::from_static("private, no-cache"),
        (left, private) => {
            let seconds = left + reply.age.as_secs();
            let text = format!("{}max-age={seconds}", if private { "private, " } else { "" });
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("no-store"))
        }
    }
}

/// The shortest freshness in whole seconds; 0 when a part has none, or when there is no part.
fn shortest(parts: &[Freshness]) -> u64 {
    let left = parts.iter().map(|part| part.left.map_or(0, |left| left.as_secs()));
    left.min().unwrap_or(0)
}

/// The value of the reply's `Vary`: the headers that the route lets in, `Accept` and `Accept-Encoding`, each once.
pub fn vary(let_in: &[HeaderName]) -> HeaderValue {
    let mut names = vec!["accept", "accept-encoding"];
    for name in let_in {
        if !names.contains(&name.as_str()) {
            names.push(name.as_str());
        }
    }
    HeaderValue::from_str(&names.join(", ")).unwrap_or(HeaderValue::from_static("*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(seconds: u64) -> Freshness {
        Freshness {
            left: Some(Duration::from_secs(seconds)),
            ..Freshness::default()
        }
    }

    fn reply<'a>(parts: &'a [Freshness]) -> ReplyCaching<'a> {
        ReplyCaching {
            parts,
            is_get: true,
            is_complete: true,
            passed_credential: false,
            sets_cookie: false,
            age: Duration::ZERO,
        }
    }

    #[test]
    fn the_shortest_part_decides() {
        assert_eq!(cache_control(&reply(&[fresh(60), fresh(10), fresh(600)])), "max-age=10");
        assert_eq!(cache_control(&reply(&[fresh(60), fresh(0)])), "no-cache");
        assert_eq!(cache_control(&reply(&[fresh(60), Freshness::default()])), "no-cache");
        assert_eq!(cache_control(&reply(&[])), "no-cache");
        let half = Freshness {
            left: Some(Duration::from_millis(900)),
            ..Freshness::default()
        };
        assert_eq!(cache_control(&reply(&[half])), "no-cache");
    }

    #[test]
    fn what_is_sent_with_an_age_has_that_much_more_time() {
        let parts = [fresh(10)];
        let aged = ReplyCaching {
            age: Duration::from_millis(50_900),
            ..reply(&parts)
        };
        assert_eq!(cache_control(&aged), "max-age=60");
        assert_eq!(
            cache_control(&ReplyCaching {
                parts: &[fresh(0)],
                ..aged
            }),
            "no-cache"
        );
    }

    #[test]
    fn what_may_not_be_stored_is_not() {
        let parts = [fresh(60)];
        let good = reply(&parts);
        assert_eq!(cache_control(&ReplyCaching { is_get: false, ..good }), "no-store");
        assert_eq!(
            cache_control(&ReplyCaching {
                is_complete: false,
                ..good
            }),
            "no-store"
        );
        assert_eq!(cache_control(&ReplyCaching { sets_cookie: true, ..good }), "no-store");
        assert_eq!(
            cache_control(&reply(&[
                fresh(60),
                Freshness {
                    no_store: true,
                    ..fresh(60)
                }
            ])),
            "no-store"
        );
    }

    #[test]
    fn a_credential_makes_it_private() {
        let parts = [fresh(60)];
        assert_eq!(
            cache_control(&ReplyCaching {
                passed_credential: true,
                ..reply(&parts)
            }),
            "private, max-age=60"
        );
        assert_eq!(
            cache_control(&ReplyCaching {
                passed_credential: true,
                ..reply(&[])
            }),
            "private, no-cache"
        );
        assert_eq!(
            cache_control(&reply(&[fresh(60), Freshness { private: true, ..fresh(9) }])),
            "private, max-age=9"
        );
    }

    /// Reads `Cache-Control` and `Age`: seconds left and flags.
    fn check(cache_control: &str, age: Option<&str>, expected: &str) {
        let headers = UpstreamHeaders {
            cache_control: Some(cache_control),
            age,
            ..UpstreamHeaders::default()
        };
        let read = Freshness::read(&headers, SystemTime::UNIX_EPOCH);
        let left = read.left.map_or("?".to_string(), |left| left.as_secs().to_string());
        let text = format!(
            "{left}{}{}",
            if read.no_store { " no-store" } else { "" },
            if read.private { " private" } else { "" }
        );
        assert_eq!(text, expected, "{cache_control} {age:?}");
    }

    #[test]
    fn directives_are_read_in_any_case_and_quotes() {
        check("max-age=60", None, "60");
        check("Public, MAX-AGE=\"60\" , immutable", None, "60");
        check("max-age=60", Some("10"), "50");
        check("max-age=60", Some("61"), "0");
        check("max-age=60", Some("soon"), "0");
        check("private, max-age=5", None, "5 private");
        check("private=\"set-cookie, max-age=1\", max-age=5", None, "5 private");
        check("no-store, max-age=5", None, "5 no-store");
        check("no-cache, max-age=5", None, "0");
        check("max-age=5, max-age=3, max-age=4", None, "3");
        check("max-age=soon", None, "0");
        check("max-age", None, "0");
        check("max-age=-1", None, "0");
        check("max-age=99999999999999999999999", None, "2147483648");
        check("s-maxage=60", None, "?");
        check("", None, "?");
        check(",,=,", None, "?");
    }

    #[test]
    fn expires_counts_where_max_age_does_not_stand() {
        let now = httpdate::parse_http_date("Fri, 20 Nov 2026 12:00:00 GMT").unwrap();
        let left = |headers: UpstreamHeaders<'_>| Freshness::read(&headers, now).left.map(|left| left.as_secs());
        let minute = Some("Fri, 20 Nov 2026 12:01:00 GMT");
        assert_eq!(
            left(UpstreamHeaders {
                expires: minute,
                ..Default::default()
            }),
            Some(60)
        );
        let date = Some("Fri, 20 Nov 2026 12:00:30 GMT");
        assert_eq!(
            left(UpstreamHeaders {
                expires: minute,
                date,
                ..Default::default()
            }),
            Some(30)
        );
        assert_eq!(
            left(UpstreamHeaders {
                expires: minute,
                date,
                age: Some("20"),
                ..Default::default()
            }),
            Some(10)
        );
        assert_eq!(
            left(UpstreamHeaders {
                expires: minute,
                cache_control: Some("max-age=7"),
                ..Default::default()
            }),
            Some(7)
        );
        assert_eq!(
            left(UpstreamHeaders {
                expires: Some("0"),
                ..Default::default()
            }),
            Some(0)
        );
        assert_eq!(
            left(UpstreamHeaders {
                expires: Some("Thu, 20 Nov 2025 12:00:00 GMT"),
                ..Default::default()
            }),
            Some(0)
        );
        assert_eq!(left(UpstreamHeaders::default()), None);
        assert_eq!(
            left(UpstreamHeaders {
                vary: Some("Accept, *"),
                cache_control: Some("max-age=7"),
                ..Default::default()
            }),
            Some(0)
        );
        assert_eq!(
            left(UpstreamHeaders {
                vary: Some("Accept"),
                cache_control: Some("max-age=7"),
                ..Default::default()
            }),
            Some(7)
        );
    }

    #[test]
    fn vary_names_what_is_let_in() {
        let names = [HeaderName::from_static("authorization"), HeaderName::from_static("accept")];
        assert_eq!(vary(&names), "accept, accept-encoding, authorization");
        assert_eq!(vary(&[]), "accept, accept-encoding");
    }
}
