//! The values that each type of parameter takes, and the form in which they are sent on.

use super::model::ParamKind;

impl ParamKind {
    /// Gives a value the form in which it is sent on.
    ///
    /// # Errors
    /// What was expected, where the value is not of this type or outside its bounds: `a whole number from 1 to 100`.
    pub fn canonical(&self, value: &str) -> Result<String, String> {
        let canonical = match self {
            Self::Int { min, max } => whole_number(value)
                .filter(|number| (min..=max).contains(&number))
                .map(|number| number.to_string()),
            Self::Number => is_number(value).then(|| value.to_owned()),
            Self::Bool => matches!(value, "true" | "false").then(|| value.to_owned()),
            Self::Text => (!value.chars().any(char::is_control)).then(|| value.to_owned()),
            Self::Uuid => is_uuid(value).then(|| value.to_ascii_lowercase()),
            Self::Date => is_date(value).then(|| value.to_owned()),
        };
        canonical.ok_or_else(|| self.expected())
    }

    fn expected(&self) -> String {
        match self {
            Self::Int {
                min: i64::MIN,
                max: i64::MAX,
            } => "a whole number of 64 bits".to_owned(),
            Self::Int { min, max: i64::MAX } => format!("a whole number from {min}"),
            Self::Int { min: i64::MIN, max } => format!("a whole number up to {max}"),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number => "a number".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Text => "text without control characters".to_owned(),
            Self::Uuid => "a UUID".to_owned(),
            Self::Date => "a date like `2026-11-20`".to_owned(),
        }
    }
}

fn whole_number(value: &str) -> Option<i64> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    value.parse().ok()
}

/// A finite number as JSON writes it.
fn is_number(value: &str) -> bool {
    let bytes = value.as_bytes();
    let begins = matches!(bytes.first(), Some(b'-' | b'0'..=b'9'));
    let ends = matches!(bytes.last(), Some(b'0'..=b'9'));
    begins && ends && serde_json::from_str::<f64>(value).is_ok_and(f64::is_finite)
}

fn is_uuid(value: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| {
        if matches!(at, 8 | 13 | 18 | 23) {
            byte == b'-'
        } else {
            byte.is_ascii_hexdigit()
        }
    };
    value.len() == 36 && value.bytes().enumerate().all(shape)
}

/// A day of the Gregorian calendar, `YYYY-MM-DD`.
fn is_date(value: &str) -> bool {
    let bytes = value.as_bytes();
    let digits = |at: usize, byte: u8| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    if bytes.len() != 10 || !bytes.iter().enumerate().all(|(at, &byte)| digits(at, byte)) {
        return false;
    }
    let number = |from: usize, to: usize| bytes[from..to].iter().fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}
