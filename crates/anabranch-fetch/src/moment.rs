//! Moments as records have them: RFC 3339, UTC, milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-20T10:00:00.123Z`.
pub(crate) fn rfc3339(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second_of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], second_of_day / 3_600);
    put(&mut text[14..16], second_of_day / 60 % 60);
    put(&mut text[17..19], second_of_day % 60);
    put(&mut text[20..23], u64::from(since.subsec_millis()));
    String::from_utf8_lossy(&text).into_owned()
}

/// Microseconds since 1970 of a moment that [`rfc3339`] or a header of HTTP wrote; None for any other text.
#[cfg_attr(
    not(any(feature = "postgres", feature = "parquet")),
    expect(dead_code, reason = "only sinks with types want numbers")
)]
pub(crate) fn micros(text: &str) -> Option<i64> {
    let moment = match httpdate::parse_http_date(text) {
        Ok(moment) => moment,
        Err(_) => {
            let (seconds, rest) = text.split_at_checked(19)?;
            let milliseconds: u64 = rest
                .strip_prefix('.')?
                .strip_suffix('Z')?
                .parse()
                .ok()
                .filter(|_| rest.len() == 5)?;
            let mut numbers = seconds.split(['-', 'T', ':']).map(|number| number.parse::<u64>().ok());
            let mut number = || numbers.next().flatten();
            let (year, month, day) = (number()?, number()?, number()?);
            let (hour, minute, second) = (number()?, number()?, number()?);
            let days = days(year, month, day)?;
            let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
            UNIX_EPOCH.checked_add(Duration::from_millis(seconds * 1_000 + milliseconds))?
        }
    };
    i64::try_from(moment.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

fn put(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Howard Hinnant, "chrono-compatible low-level date algorithms": `civil_from_days`, for days since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Days since 1970-01-01 (`days_from_civil` of the same source).
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_has_milliseconds() {
        assert_eq!(rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(
            rfc3339(UNIX_EPOCH + Duration::from_millis(1_709_210_096_789)),
            "2024-02-29T12:34:56.789Z"
        );
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn what_was_written_is_read_again() {
        for seconds in (0..8_000_000_000_u64).step_by(86_400 * 37 + 12_345) {
            let moment = UNIX_EPOCH + Duration::from_millis(seconds * 1_000 + 7);
            assert_eq!(
                micros(&rfc3339(moment)),
                Some((seconds * 1_000_000 + 7_000) as i64),
                "{}",
                rfc3339(moment)
            );
        }
        assert_eq!(micros("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000_000));
        for text in ["", "yesterday", "2026-01-02", "2026-13-02T00:00:00.000Z", "2026-01-02T03:04:05Z"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_date_of_http(seconds in 0_u64..250_000_000_000) {
            let moment = UNIX_EPOCH + Duration::from_secs(seconds);
            let ours = rfc3339(moment);
            let theirs = httpdate::fmt_http_date(moment);
            prop_assert_eq!(&ours[8..10], &theirs[5..7]);
            prop_assert_eq!(&ours[0..4], &theirs[12..16]);
            prop_assert_eq!(&ours[11..19], &theirs[17..25]);
        }
    }
}
