//! Durations, sizes and rates as people write them, always with their unit: `2.5s`, `8M`, `200/s`.

use std::time::Duration;

/// Longest duration in a config: a year of 365 days. Longer ones overflow timers for no gain.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Nanoseconds of each unit.
const DURATION_UNITS: &[(&str, u128)] = &[
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];
/// Bytes of each unit; small letters mean the same.
const SIZE_UNITS: &[(&str, u128)] = &[("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];
/// Digits read behind the point.
const FRACTION_DIGITS_MAX: usize = 9;

/// Reads `400ms`, `2.5s`, `10m`, `1h`, `2d`. An error says what was expected.
pub fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration with its unit `ms`, `s`, `m`, `h` or `d`";
    let (number, unit) = split(text).ok_or_else(|| format!("{EXPECTED}, such as `2.5s`"))?;
    if unit.is_empty() {
        return Err(format!("{EXPECTED}: write `{text}s` or `{text}ms`"));
    }
    let scale = scale_of(DURATION_UNITS, unit).ok_or_else(|| format!("{EXPECTED}, found `{unit}`"))?;
    let nanoseconds = number.times(scale).filter(|nanoseconds| *nanoseconds <= DURATION_MAX.as_nanos());
    let nanoseconds = nanoseconds.ok_or("expected at most `365d`")?;
    let too_fine = nanoseconds == 0 && !number.is_zero();
    if too_fine {
        return Err("expected at least a nanosecond, or `0ms`".to_owned());
    }
    Ok(Duration::from_nanos(nanoseconds as u64))
}

/// Reads `64K`, `8M`, `1.5G` as bytes; units are powers of 1024. An error says what was expected.
pub fn size(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a size with its unit `K`, `M` or `G` (1024 each)";
    let (number, unit) = split(text).ok_or_else(|| format!("{EXPECTED}, such as `8M`"))?;
    if unit.is_empty() {
        return Err(format!("{EXPECTED}: write `{text}K` or `{text}M`"));
    }
    let scale = scale_of(SIZE_UNITS, &unit.to_ascii_uppercase()).ok_or_else(|| format!("{EXPECTED}, found `{unit}`"))?;
    // `i64::MAX` so that sizes can be added and subtracted without a thought.
    let bytes = number.times(scale).filter(|bytes| *bytes <= i64::MAX as u128);
    bytes
        .map(|bytes| bytes as u64)
        .ok_or_else(|| "expected at most `8000000000G`".to_owned())
}

/// Reads `200/s` or `30/m` as a number a second. An error says what was expected.
pub fn rate(text: &str) -> Result<f64, String> {
    const EXPECTED: &str = "expected a rate `N/s` or `N/m`";
    let Some((number, unit)) = text.split_once('/') else {
        let bare = split(text).is_some_and(|(_, unit)| unit.is_empty());
        return Err(if bare {
            format!("{EXPECTED}: write `{text}/s` or `{text}/m`")
        } else {
            format!("{EXPECTED}, such as `200/s`")
        });
    };
    let seconds = match unit {
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(format!("{EXPECTED}, found `/{unit}`")),
    };
    let plain = split(number).filter(|(_, rest)| rest.is_empty()).is_some();
    let number: f64 = if plain {
        number.parse().map_err(|_| EXPECTED.to_owned())?
    } else {
        return Err(format!("{EXPECTED}, such as `200/s`"));
    };
    let rate = number / seconds;
    // A thousand million a second is no limit, and the bound keeps arithmetic on rates finite.
    if rate > 0.0 && rate <= 1e9 {
        Ok(rate)
    } else {
        Err("expected a rate above 0 and at most `1000000000/s`".to_owned())
    }
}

/// A decimal number without sign and exponent.
struct Decimal {
    digits: u128,
    fraction_digits: u32,
}

impl Decimal {
    /// The number times `scale`, what is below one cut off; None when too large.
    fn times(&self, scale: u128) -> Option<u128> {
        self.digits
            .checked_mul(scale)
            .map(|product| product / 10_u128.pow(self.fraction_digits))
    }

    fn is_zero(&self) -> bool {
        self.digits == 0
    }
}

/// The number that `text` begins with, and what is behind it.
fn split(text: &str) -> Option<(Decimal, &str)> {
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let well_formed = !whole.is_empty() && (!fraction.is_empty() || !number.contains('.')) && !fraction.contains('.');
    if !well_formed || whole.len() > 20 || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((
        Decimal {
            digits,
            fraction_digits: fraction.len() as u32,
        },
        unit,
    ))
}

fn scale_of(units: &[(&str, u128)], unit: &str) -> Option<u128> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in [
            ("400ms", 400.0),
            ("2.5s", 2500.0),
            ("1s", 1000.0),
            ("10m", 6e5),
            ("1h", 3.6e6),
            ("2d", 1.728e8),
            ("0ms", 0.0),
            ("0.25ms", 0.25),
        ] {
            assert_eq!(duration(text).unwrap().as_secs_f64() * 1000.0, milliseconds, "{text}");
        }
        assert_eq!(duration("365d").unwrap(), DURATION_MAX);
        for text in [
            "",
            "s",
            "1",
            "1 s",
            "-1s",
            "+1s",
            "1.s",
            ".5s",
            "1.2.3s",
            "1sec",
            "1S",
            "1us",
            "366d",
            "1e3s",
            "99999999999999999999d",
            "0.0000001ms",
            "1.0000000001s",
        ] {
            duration(text).expect_err(text);
        }
    }

    #[test]
    fn a_bare_number_is_told_what_to_write() {
        assert!(duration("5").unwrap_err().ends_with("write `5s` or `5ms`"));
        assert!(size("8").unwrap_err().ends_with("write `8K` or `8M`"));
        assert!(rate("200").unwrap_err().ends_with("write `200/s` or `200/m`"));
        assert!(size("8MB").unwrap_err().ends_with("found `MB`"));
    }

    #[test]
    fn sizes_count_in_1024() {
        for (text, bytes) in [
            ("64K", 64 << 10),
            ("8M", 8 << 20),
            ("1.5M", 3 << 19),
            ("2G", 2_u64 << 30),
            ("8m", 8 << 20),
            ("0K", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["8", "8MB", "8 M", "M", "-1M", "99999999999999999999G", "8MiB", "10T"] {
            size(text).expect_err(text);
        }
    }

    #[test]
    fn rates_are_per_second() {
        assert_eq!(rate("200/s"), Ok(200.0));
        assert_eq!(rate("30/m"), Ok(0.5));
        assert_eq!(rate("0.5/s"), Ok(0.5));
        for text in [
            "200",
            "200/h",
            "/s",
            "0/s",
            "-1/s",
            "x/s",
            "1e3/s",
            "inf/s",
            "9999999999/s",
            "200/ s",
            "1./s",
        ] {
            rate(text).expect_err(text);
        }
    }
}
