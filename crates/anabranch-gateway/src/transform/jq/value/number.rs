//! Numbers: whole ones of 64 bits exactly, all others as floating point, and those of a document as they were written until somebody
//! computes with them.

use std::cmp::Ordering;
use std::rc::Rc;

use super::super::meter;

/// A number.
#[derive(Clone, Debug)]
pub(in crate::transform::jq) enum Number {
    /// Whole, exact.
    Int(i64),
    /// Anything else that was computed; never a whole number up to 2^53.
    Float(f64),
    /// As it stands in a document or program, where that is more than the other two can say: `1.10`, `1e400`, twenty digits.
    Written(Rc<Written>),
}

/// A number with the digits that it was written with.
#[derive(Debug)]
pub(in crate::transform::jq) struct Written {
    /// A valid JSON number.
    text: Box<str>,
    /// About the same.
    float: f64,
}

/// Up to here every whole number is a floating point number.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// Reads a valid JSON number.
    pub(in crate::transform::jq) fn read(text: &str) -> Self {
        // `-0` is not 0, and -0 as a whole number would be.
        match text.parse() {
            Ok(int) if text != "-0" => Number::Int(int),
            _ => Number::Written(Rc::new(Written {
                text: text.into(),
                float: text.parse().unwrap_or(f64::NAN),
            })),
        }
    }

    /// Reads a number as programs write it, where zeros may stand in front.
    pub(in crate::transform::jq) fn read_literal(text: &str) -> Self {
        let zeros = text.bytes().take_while(|byte| *byte == b'0').count();
        let next_is_digit = text.as_bytes().get(zeros).is_some_and(u8::is_ascii_digit);
        let from = if next_is_digit { zeros } else { zeros.saturating_sub(1) };
        Number::read(&text[from..])
    }

    pub(in crate::transform::jq) fn of(float: f64) -> Self {
        let whole = float.fract() == 0.0 && float.abs() <= EXACT && !(float == 0.0 && float.is_sign_negative());
        if whole { Number::Int(float as i64) } else { Number::Float(float) }
    }

    pub(in crate::transform::jq) fn float(&self) -> f64 {
        match self {
            Number::Int(int) => *int as f64,
            Number::Float(float) => *float,
            Number::Written(written) => written.float,
        }
    }

    /// As a whole number, where it is one.
    pub(in crate::transform::jq) fn int(&self) -> Option<i64> {
        match self {
            Number::Int(int) => Some(*int),
            other => {
                let float = other.float();
                (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
            }
        }
    }

    /// The number for `round` and its like: whole, however large.
    pub(in crate::transform::jq) fn is_whole(&self) -> bool {
        matches!(self, Number::Int(_)) || self.float().fract() == 0.0
    }

    pub(in crate::transform::jq) fn add(&self, other: &Number) -> Number {
        self.whole(other, i64::checked_add)
            .unwrap_or_else(|| Number::of(self.float() + other.float()))
    }

    pub(in crate::transform::jq) fn subtract(&self, other: &Number) -> Number {
        self.whole(other, i64::checked_sub)
            .unwrap_or_else(|| Number::of(self.float() - other.float()))
    }

    pub(in crate::transform::jq) fn multiply(&self, other: &Number) -> Number {
        self.whole(other, i64::checked_mul)
            .unwrap_or_else(|| Number::of(self.float() * other.float()))
    }

    /// None for a divisor of zero.
    pub(in crate::transform::jq) fn divide(&self, other: &Number) -> Option<Number> {
        if other.float() == 0.0 {
            return None;
        }
        let exact = |a: i64, b: i64| (a.checked_rem(b) == Some(0)).then(|| a / b);
        Some(self.whole(other, exact).unwrap_or_else(|| Number::of(self.float() / other.float())))
    }

    /// What is left of a division of whole numbers, with the sign of the dividend; fractions are cut off before. None for a divisor
    /// that is zero then.
    pub(in crate::transform::jq) fn remainder(&self, other: &Number) -> Option<Number> {
        let (a, b) = (self.float(), other.float());
        if a.is_nan() || b.is_nan() {
            return Some(Number::Float(f64::NAN));
        }
        let whole = |number: &Number| match number {
            Number::Int(int) => *int,
            other => other.float() as i64,
        };
        let divisor = whole(other);
        (divisor != 0).then(|| Number::Int(whole(self).wrapping_rem(divisor)))
    }

    pub(in crate::transform::jq) fn negate(&self) -> Number {
        match self {
            Number::Int(0) => Number::Float(-0.0),
            Number::Int(int) => int.checked_neg().map_or_else(|| Number::of(-(*int as f64)), Number::Int),
            Number::Float(float) => Number::of(-float),
            // The digits stay, with or without the sign.
            Number::Written(written) => match written.text.strip_prefix('-') {
                Some(text) => Number::read(text),
                None => Number::read(&format!("-{}", written.text)),
            },
        }
    }

    fn whole(&self, other: &Number, operation: impl Fn(i64, i64) -> Option<i64>) -> Option<Number> {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => operation(*a, *b).map(Number::Int),
            _ => None,
        }
    }

    /// The order of values, in which nan is less than any other number and the same as itself.
    pub(in crate::transform::jq) fn compare(&self, other: &Number) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(b),
            (Number::Written(_), _) | (_, Number::Written(_)) if self.is_finite() && other.is_finite() => {
                let (a, b) = (self.text(), other.text());
                meter::work((a.len() + b.len()) / 64);
                crate::json::compare(a.as_bytes(), b.as_bytes())
            }
            (Number::Int(a), b) if b.is_finite() => compare_mixed(*a, b.float()),
            (a, Number::Int(b)) if a.is_finite() => compare_mixed(*b, a.float()).reverse(),
            (a, b) => {
                let (x, y) = (a.float(), b.float());
                let by_value = x.partial_cmp(&y).unwrap_or_else(|| y.is_nan().cmp(&x.is_nan()));
                // Digits that floating point rounds to infinity are still short of it.
                let reach = if x < 0.0 {
                    a.is_finite().cmp(&b.is_finite())
                } else {
                    b.is_finite().cmp(&a.is_finite())
                };
                by_value.then(if x.is_nan() { Ordering::Equal } else { reach })
            }
        }
    }

    /// Equality as `==` has it: nan is nothing's equal.
    pub(in crate::transform::jq) fn equals(&self, other: &Number) -> bool {
        !self.float().is_nan() && self.compare(other).is_eq()
    }

    fn is_finite(&self) -> bool {
        // What was written is finite, however large.
        matches!(self, Number::Int(_) | Number::Written(_)) || self.float().is_finite()
    }

    /// As JSON; nan, which JSON does not have, is null, and what is infinite is the largest number, as in jq.
    pub(in crate::transform::jq) fn text(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Number::Int(int) => int.to_string().into(),
            Number::Written(written) => (&*written.text).into(),
            Number::Float(float) if float.is_nan() => "null".into(),
            Number::Float(float) => float_text(float.clamp(f64::MIN, f64::MAX)).into(),
        }
    }
}

/// Compares without the rounding that a conversion would bring.
fn compare_mixed(int: i64, float: f64) -> Ordering {
    (int as f64).partial_cmp(&float).unwrap_or(Ordering::Equal).then_with(|| {
        // Equal as floating point: the float is whole here, and within 64 bits but for 2^63.
        if float >= 9_223_372_036_854_775_808.0 {
            Ordering::Less
        } else {
            int.cmp(&(float as i64))
        }
    })
}

/// The shortest digits that read back as the same number, with an exponent where there would be many zeros.
fn float_text(float: f64) -> String {
    let size = float.abs();
    if size == 0.0 || (1e-5..1e17).contains(&size) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: &Number) -> String {
        number.text().into_owned()
    }

    #[test]
    fn what_nobody_computes_with_keeps_every_digit() {
        for written in ["0", "-0", "1.10", "1e400", "-1E+2", "123456789012345678901234567890", "0.1000"] {
            assert_eq!(text(&Number::read(written)), written);
        }
        assert_eq!(text(&Number::read_literal("007")), "7");
        assert_eq!(text(&Number::read_literal("00.50")), "0.50");
        assert_eq!(text(&Number::read_literal("0")), "0");
        assert_eq!(text(&Number::read("1.10").negate()), "-1.10");
        assert_eq!(text(&Number::read("-1.10").negate()), "1.10");
    }

    #[test]
    fn whole_numbers_are_exact_up_to_64_bits_and_floating_point_behind_it() {
        let most = Number::Int(i64::MAX);
        assert_eq!(text(&most.add(&Number::Int(-1))), "9223372036854775806");
        assert_eq!(text(&most.add(&Number::Int(1))), "9.223372036854776e+18");
        assert_eq!(text(&Number::Int(6).divide(&Number::Int(2)).unwrap()), "3");
        assert_eq!(text(&Number::Int(1).divide(&Number::Int(4)).unwrap()), "0.25");
        assert_eq!(text(&Number::read("1.50").add(&Number::read("0.5"))), "2");
        assert!(Number::Int(1).divide(&Number::Int(0)).is_none());
        assert_eq!(
            text(&Number::Int(i64::MIN).divide(&Number::Int(-1)).unwrap()),
            "9.223372036854776e+18"
        );
        assert_eq!(text(&Number::Int(i64::MIN).negate()), "9.223372036854776e+18");
        assert_eq!(text(&Number::Int(i64::MIN).remainder(&Number::Int(-1)).unwrap()), "0");
        assert_eq!(text(&Number::Int(-5).remainder(&Number::Int(3)).unwrap()), "-2");
        assert!(Number::Int(5).remainder(&Number::Float(0.5)).is_none());
    }

    #[test]
    fn floats_are_written_as_json() {
        for (float, expected) in [
            (0.1, "0.1"),
            (1e17, "1e+17"),
            (1.5e300, "1.5e+300"),
            (1e-7, "1e-7"),
            (f64::NAN, "null"),
            (f64::INFINITY, "1.7976931348623157e+308"),
            (3.0, "3"),
            (-0.0, "-0"),
        ] {
            assert_eq!(text(&Number::of(float)), expected);
        }
    }

    #[test]
    fn the_order_is_by_value_with_nan_first() {
        let ascending = [
            "-1e400",
            "-2",
            "-0.5",
            "0",
            "1e-9",
            "1",
            "9007199254740992",
            "9007199254740993",
            "1e400",
        ];
        let mut numbers: Vec<Number> = ascending.iter().map(|text| Number::read(text)).collect();
        numbers.insert(0, Number::Float(f64::NEG_INFINITY));
        numbers.insert(0, Number::Float(f64::NAN));
        numbers.push(Number::Float(f64::INFINITY));
        for (at, a) in numbers.iter().enumerate() {
            for (other, b) in numbers.iter().enumerate() {
                assert_eq!(a.compare(b), at.cmp(&other), "{} against {}", text(a), text(b));
            }
        }
        assert!(Number::read("1.0").equals(&Number::Int(1)));
        assert!(!Number::Float(f64::NAN).equals(&Number::Float(f64::NAN)));
        assert_eq!(
            Number::Int(i64::MAX).compare(&Number::Float(9_223_372_036_854_775_808.0)),
            Ordering::Less
        );
    }
}
