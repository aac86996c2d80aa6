//! What an answer says of when to ask again: `Retry-After`, and the headers by which services tell how many requests they still take.

use std::time::{Duration, SystemTime};

/// A reset in more than this many seconds is no length of time but a moment since 1970, as some services write it.
const IS_A_DATE: u64 = 1_000_000_000;

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3). A date that has passed is no wait.
pub(crate) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Some(seconds) = seconds(value) {
        return Some(seconds);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// How long to send nothing, where the answer says that no request is left: `RateLimit: "name";r=0;t=30` (draft-ietf-httpapi-ratelimit-headers),
/// the earlier `RateLimit-Remaining` with `RateLimit-Reset`, and both with `X-`.
pub(crate) fn pause<'h>(header: impl Fn(&str) -> Option<&'h str>, now: SystemTime) -> Option<Duration> {
    if let Some(value) = header("ratelimit") {
        return structured(value);
    }
    for (remaining, reset) in [
        ("ratelimit-remaining", "ratelimit-reset"),
        ("x-ratelimit-remaining", "x-ratelimit-reset"),
        ("x-rate-limit-remaining", "x-rate-limit-reset"),
    ] {
        let Some(left) = header(remaining) else { continue };
        // A list names several quotas; the first is the nearest.
        let left = left.split([',', ';']).next().unwrap_or_default().trim();
        if left.parse::<f64>().is_ok_and(|left| left < 1.0) {
            return until(header(reset)?.split([',', ';']).next()?.trim(), now);
        }
        return None;
    }
    None
}

/// The longest `t` of the quotas that have `r=0`.
fn structured(value: &str) -> Option<Duration> {
    let of_quota = |quota: &str| {
        let parameter = |name: &str| {
            let mut parameters = quota.split([';', ' ']).filter_map(|parameter| parameter.trim().split_once('='));
            parameters
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim().to_string())
        };
        let left = parameter("r").or_else(|| parameter("remaining"))?;
        let reset = parameter("t").or_else(|| parameter("reset"))?;
        (left == "0").then(|| seconds(&reset)).flatten()
    };
    value.split(',').filter_map(of_quota).max()
}

fn until(value: &str, now: SystemTime) -> Option<Duration> {
    let wait = seconds(value)?;
    if wait.as_secs() < IS_A_DATE {
        return Some(wait);
    }
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(wait.saturating_sub(since_1970))
}

/// Whole seconds, or with a fraction, which some services send. A number beyond all sense counts as 30 years.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = if is_number { text.parse().ok()? } else { return None };
    Duration::try_from_secs_f64(seconds.min(30.0 * 365.0 * 86_400.0 * 3.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        httpdate::parse_http_date("Fri, 20 Nov 2026 10:00:00 GMT").unwrap()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let wait = |value| retry_after(value, now());
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait(" 0 "), Some(Duration::ZERO));
        assert_eq!(wait("1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(wait("Fri, 20 Nov 2026 10:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("Fri, 20 Nov 2026 09:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-1", "1e9", "nan", "1 2"] {
            assert_eq!(wait(nonsense), None, "{nonsense:?}");
        }
        assert!(wait("99999999999999999999999").unwrap() < Duration::from_secs(100 * 365 * 86_400));
    }

    fn pause_of(headers: &[(&str, &'static str)]) -> Option<Duration> {
        pause(
            |name| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| *value),
            now(),
        )
    }

    #[test]
    fn a_quota_that_is_used_up_pauses_until_its_reset() {
        let thirty = Some(Duration::from_secs(30));
        assert_eq!(pause_of(&[("ratelimit", r#""default";r=0;t=30"#)]), thirty);
        assert_eq!(pause_of(&[("ratelimit", r#""a";r=5;t=90, "b";r=0;t=30"#)]), thirty);
        assert_eq!(pause_of(&[("ratelimit", r#""default";r=1;t=30"#)]), None);
        assert_eq!(pause_of(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "30")]), thirty);
        assert_eq!(
            pause_of(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795168830")]),
            thirty
        );
        assert_eq!(pause_of(&[("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "30")]), None);
        assert_eq!(pause_of(&[("x-ratelimit-remaining", "0")]), None);
        assert_eq!(pause_of(&[]), None);
    }
}
