//! Postgres' dates and times as text: microseconds and days since 2000-01-01 become RFC 3339, or its parts where a zone or a
//! date is missing.
//!
//! Years outside 0000 to 9999, which RFC 3339 cannot say, take the expanded form of ISO 8601: a sign and six digits.

use std::io::Write;

/// Days from 1970-01-01 to 2000-01-01, where the server begins to count.
pub(super) const EPOCH_DAYS: i64 = 10_957;
/// The same in microseconds.
pub(super) const EPOCH_MICROS: i64 = EPOCH_DAYS * DAY;
const DAY: i64 = 86_400_000_000;
const HOUR: i64 = 3_600_000_000;
const MINUTE: i64 = 60_000_000;
const SECOND: i64 = 1_000_000;

/// Writes `2024-02-29T13:04:05.5`, with what marks the zone behind it, as a JSON string.
pub(super) fn write_timestamp(out: &mut Vec<u8>, micros: i64, zone: &str) {
    match micros {
        i64::MAX => out.extend_from_slice(b"\"infinity\""),
        i64::MIN => out.extend_from_slice(b"\"-infinity\""),
        _ => {
            out.push(b'"');
            write_day(out, micros.div_euclid(DAY));
            out.push(b'T');
            write_clock(out, micros.rem_euclid(DAY));
            out.extend_from_slice(zone.as_bytes());
            out.push(b'"');
        }
    }
}

/// Writes `2024-02-29` as a JSON string.
pub(super) fn write_date(out: &mut Vec<u8>, days: i32) {
    match days {
        i32::MAX => out.extend_from_slice(b"\"infinity\""),
        i32::MIN => out.extend_from_slice(b"\"-infinity\""),
        _ => {
            out.push(b'"');
            write_day(out, i64::from(days));
            out.push(b'"');
        }
    }
}

/// Writes `13:04:05.5` as a JSON string; `24:00:00` exists.
pub(super) fn write_time(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    write_clock(out, micros);
    out.push(b'"');
}

/// Writes `13:04:05.5+02:00` as a JSON string; the server counts the zone in seconds west of Greenwich.
pub(super) fn write_time_with_zone(out: &mut Vec<u8>, micros: i64, west: i32) {
    out.push(b'"');
    write_clock(out, micros);
    let east = -i64::from(west);
    let (sign, seconds) = (if east < 0 { '-' } else { '+' }, east.abs());
    put(out, format_args!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60));
    if seconds % 60 != 0 {
        put(out, format_args!(":{:02}", seconds % 60));
    }
    out.push(b'"');
}

fn write_clock(out: &mut Vec<u8>, micros: i64) {
    put(
        out,
        format_args!("{:02}:{:02}:{:02}", micros / HOUR, micros / MINUTE % 60, micros / SECOND % 60),
    );
    let fraction = micros % SECOND;
    if fraction != 0 {
        put(out, format_args!(".{fraction:06}"));
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

fn write_day(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days + EPOCH_DAYS);
    if (0..=9999).contains(&year) {
        put(out, format_args!("{year:04}-{month:02}-{day:02}"));
    } else {
        put(out, format_args!("{year:+07}-{month:02}-{day:02}"));
    }
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let is_early = month <= 2;
    (year + era * 400 + i64::from(is_early), month, day)
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_are_rfc_3339() {
        let at = |micros| text(|out| write_timestamp(out, micros, "Z"));
        assert_eq!(at(0), "\"2000-01-01T00:00:00Z\"");
        assert_eq!(at(-EPOCH_MICROS), "\"1970-01-01T00:00:00Z\"");
        assert_eq!(at(-1), "\"1999-12-31T23:59:59.999999Z\"");
        assert_eq!(at(59 * DAY + 13 * HOUR + 500_000), "\"2000-02-29T13:00:00.5Z\"");
        assert_eq!(at(i64::MAX), "\"infinity\"");
        assert_eq!(at(i64::MIN), "\"-infinity\"");
        // The first and the last moment that the server knows.
        assert_eq!(at(-211_813_488_000_000_000), "\"-004713-11-24T00:00:00Z\"");
        assert_eq!(at(9_223_371_331_200_000_000 - 1), "\"+294276-12-31T23:59:59.999999Z\"");
    }

    #[test]
    fn days_and_clocks() {
        assert_eq!(text(|out| write_date(out, 8_825)), "\"2024-02-29\"");
        assert_eq!(text(|out| write_date(out, i32::MIN)), "\"-infinity\"");
        assert_eq!(text(|out| write_time(out, DAY)), "\"24:00:00\"");
        assert_eq!(text(|out| write_time(out, 1)), "\"00:00:00.000001\"");
        assert_eq!(text(|out| write_time_with_zone(out, HOUR, -7_200)), "\"01:00:00+02:00\"");
        assert_eq!(text(|out| write_time_with_zone(out, HOUR, 12_630)), "\"01:00:00-03:30:30\"");
    }

    #[test]
    fn no_number_makes_it_panic() {
        for micros in [i64::MIN + 1, i64::MAX - 1] {
            text(|out| write_timestamp(out, micros, ""));
        }
        text(|out| write_date(out, i32::MAX - 1));
        text(|out| write_time(out, i64::MIN));
        text(|out| write_time_with_zone(out, i64::MAX, i32::MIN));
    }
}
