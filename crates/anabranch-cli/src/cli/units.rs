//! Values with units as they are typed: `250ms`, `64k`, `200/s`, `20%`, and `none` where a limit may be taken away.

use std::time::Duration;

use anabranch_gateway::config::units;

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound<T> {
    /// At most this.
    At(T),
    /// Without one.
    None,
}

impl<T> Bound<T> {
    /// None is no limit.
    pub(crate) fn into_option(self) -> Option<T> {
        match self {
            Bound::At(limit) => Some(limit),
            Bound::None => None,
        }
    }
}

/// `--min-speed`: fewer bytes than this in that time are too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed {
    /// How many.
    pub(crate) bytes: u64,
    /// In how long.
    pub(crate) time: Duration,
}

/// `--max-failures`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Failures {
    /// So many.
    Count(u64),
    /// Such a share of the jobs.
    Share(f64),
}

/// `250ms`, `5s`, `10m`, `1h`; a bare `0` is none at all.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    units::duration(text)
}

/// The same, above zero.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than 0, such as `5s`".into()),
        time => Ok(time),
    }
}

/// The same, or `none`.
pub(crate) fn time_bound(text: &str) -> Result<Bound<Duration>, String> {
    match text {
        "none" => Ok(Bound::None),
        _ => some_time(text)
            .map(Bound::At)
            .map_err(|expected| format!("{expected}; `none` takes the limit away")),
    }
}

/// `64k`, `10M`, `1.5G`, or bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let is_bytes = !text.is_empty() && text.len() <= 18 && text.bytes().all(|digit| digit.is_ascii_digit());
    if is_bytes {
        return text.parse().map_err(|_| "expected a size such as `10M`".into());
    }
    units::size(text)
}

/// The same, or `none`.
pub(crate) fn size_bound(text: &str) -> Result<Bound<u64>, String> {
    match text {
        "none" => Ok(Bound::None),
        _ => size(text)
            .map(Bound::At)
            .map_err(|expected| format!("{expected}; `none` takes the limit away")),
    }
}

/// `20M` or `20M/s`.
pub(crate) fn bytes_per_second(text: &str) -> Result<u64, String> {
    match size(text.strip_suffix("/s").unwrap_or(text))? {
        0 => Err("expected more than 0, such as `20M`".into()),
        bytes => Ok(bytes),
    }
}

/// `200/s`, `30/m`.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    units::rate(text)
}

/// `250ms..30s`.
pub(crate) fn backoff(text: &str) -> Result<(Duration, Duration), String> {
    let (from, to) = text
        .split_once("..")
        .ok_or("expected the first wait and the longest, such as `250ms..30s`")?;
    let (from, to) = (some_time(from)?, some_time(to)?);
    if from > to {
        return Err(format!("expected the shorter one first, such as `{text}` the other way round"));
    }
    Ok((from, to))
}

/// `1k/30s`.
pub(crate) fn speed(text: &str) -> Result<Speed, String> {
    let (bytes, time) = text.split_once('/').ok_or("expected bytes and time, such as `1k/30s`")?;
    Ok(Speed {
        bytes: size(bytes)?,
        // `1k/s` reads as a second.
        time: if time == "s" { Duration::from_secs(1) } else { some_time(time)? },
    })
}

/// `20%`, as a fraction of 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| "expected a share from `0%` to `100%`".to_string())
}

/// `50` or `5%`.
pub(crate) fn failures(text: &str) -> Result<Failures, String> {
    if text.ends_with('%') {
        return share(text).map(Failures::Share);
    }
    let count: Option<u64> = text.parse().ok();
    count
        .filter(|count| *count > 0)
        .map(Failures::Count)
        .ok_or_else(|| "expected a number of jobs such as `50`, or a share such as `5%`".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_may_be_bytes_and_durations_need_a_unit() {
        assert_eq!(size("64k"), Ok(64 << 10));
        assert_eq!(size("1500"), Ok(1500));
        assert!(size("10X").is_err() && size("").is_err() && size("-1").is_err());
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("5").unwrap_err().contains("`5s`"));
        assert!(some_time("0").is_err());
    }

    #[test]
    fn a_limit_can_be_taken_away() {
        assert_eq!(time_bound("none"), Ok(Bound::None));
        assert_eq!(size_bound("1G"), Ok(Bound::At(1 << 30)));
        assert!(time_bound("0").unwrap_err().contains("`none`"));
    }

    #[test]
    fn pairs_are_read_and_swapped_ones_refused() {
        assert_eq!(backoff("250ms..30s"), Ok((Duration::from_millis(250), Duration::from_secs(30))));
        assert!(backoff("30s..250ms").is_err() && backoff("1s").is_err());
        let speed_of = |text| speed(text).map(|speed| (speed.bytes, speed.time));
        assert_eq!(speed_of("1k/30s"), Ok((1024, Duration::from_secs(30))));
        assert_eq!(speed_of("1k/s"), Ok((1024, Duration::from_secs(1))));
        assert!(speed("1k").is_err());
    }

    #[test]
    fn shares_and_counts() {
        assert_eq!(share("20%"), Ok(0.2));
        assert!(share("101%").is_err() && share("20").is_err());
        assert_eq!(failures("5%"), Ok(Failures::Share(0.05)));
        assert_eq!(failures("50"), Ok(Failures::Count(50)));
        assert!(failures("0").is_err());
        assert_eq!(bytes_per_second("20M/s"), Ok(20 << 20));
    }
}
