//! The order of values: null < false < true < numbers < strings < lists < objects, as in jq.
//!
//! Numbers compare by value with all their digits, so that two ids of 64 bits that differ in the last one are not the same.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::text::{scalar_text, trim, type_of, unescape, JsonType};
use super::{entries, items};

/// Compares two validated values. Strings compare by code point. Lists compare item by item, objects by their sorted keys and then
/// value by value in the order of the keys; of duplicate keys the last counts. Recurses as deep as the documents, 64 at the most.
pub fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (trim(a), trim(b));
    let kind = type_of(a);
    kind.cmp(&type_of(b)).then_with(|| match kind {
        JsonType::Null => Ordering::Equal,
        JsonType::Bool => (a == b"true").cmp(&(b == b"true")),
        JsonType::Number => Decimal::of(a).compare(&Decimal::of(b)),
        JsonType::Text => scalar_text(a).cmp(&scalar_text(b)),
        JsonType::List => compare_lists(a, b),
        JsonType::Object => compare_objects(a, b),
    })
}

fn compare_lists(a: &[u8], b: &[u8]) -> Ordering {
    let (mut left, mut right) = (items(a), items(b));
    loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) => match compare(a, b) {
                Ordering::Equal => {}
                unequal => return unequal,
            },
            (a, b) => return a.is_some().cmp(&b.is_some()),
        }
    }
}

fn compare_objects(a: &[u8], b: &[u8]) -> Ordering {
    let sorted = |object| {
        entries(object)
            .map(|(key, value)| (unescape(key), value))
            .collect::<BTreeMap<_, _>>()
    };
    let (a, b) = (sorted(a), sorted(b));
    let by_keys = a.keys().cmp(b.keys());
    let mut by_values = a.values().zip(b.values()).map(|(a, b)| compare(a, b));
    by_keys.then_with(|| by_values.find(|order| order.is_ne()).unwrap_or(Ordering::Equal))
}

/// A number as `0.DIGITS * 10^exponent`, its digits without zeros at either end; zero has no digits.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn of(number: &[u8]) -> Self {
        let (negative, number) = match number {
            [b'-', rest @ ..] => (true, rest),
            rest => (false, rest),
        };
        let mantissa_end = number.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(number.len());
        let (mantissa, exponent) = number.split_at(mantissa_end);
        let mut digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
        let whole = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
        let zeros = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
        digits.drain(..zeros);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let exponent = written_exponent(exponent).saturating_add(whole as i64 - zeros as i64);
        Decimal {
            negative: negative && !digits.is_empty(),
            digits,
            exponent,
        }
    }

    fn compare(&self, other: &Decimal) -> Ordering {
        let sign = |number: &Decimal| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = match sign(self) {
            0 => Ordering::Equal,
            _ => self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits)),
        };
        sign(self).cmp(&sign(other)).then(if self.negative { size.reverse() } else { size })
    }
}

/// The value of `e-12`; one that no 64 bits hold counts as the largest or smallest that they do.
fn written_exponent(text: &[u8]) -> i64 {
    let (negative, digits) = match text {
        [_, b'-', digits @ ..] => (true, digits),
        [_, b'+', digits @ ..] | [_, digits @ ..] => (false, digits),
        [] => return 0,
    };
    let size = digits.iter().fold(0i64, |size, digit| {
        size.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0')))
    });
    if negative { -size } else { size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::json::tests_support::any_json;

    fn check(a: &str, b: &str, expected: Ordering) {
        assert_eq!(compare(a.as_bytes(), b.as_bytes()), expected, "{a} against {b}");
        assert_eq!(compare(b.as_bytes(), a.as_bytes()), expected.reverse(), "{b} against {a}");
    }

    #[test]
    fn types_come_in_the_order_of_jq() {
        let ascending = [
            "null",
            "false",
            "true",
            "-5",
            "0",
            "3.5",
            "\"\"",
            "\"a\"",
            "\"b\"",
            "[]",
            "[0]",
            "{}",
            "{\"a\":1}",
        ];
        for (index, a) in ascending.iter().enumerate() {
            check(a, a, Ordering::Equal);
            for b in &ascending[index + 1..] {
                check(a, b, Ordering::Less);
            }
        }
    }

    #[test]
    fn numbers_compare_by_value_and_by_every_digit() {
        for (a, b) in [
            ("1", "1.0"),
            ("100", "1e2"),
            ("0", "-0.00e7"),
            ("0.001", "1E-3"),
            ("12.50", "1.25e+1"),
            ("1e400", "10e399"),
        ] {
            check(a, b, Ordering::Equal);
        }
        for (a, b) in [
            ("9007199254740992", "9007199254740993"),
            ("-2", "-1"),
            ("-1", "0"),
            ("0", "1e-400"),
            ("2", "10"),
            ("0.09", "0.1"),
            ("1.5", "1.50001"),
            ("-1e99", "-1e98"),
            ("1e99999999999999999999", "2e99999999999999999999"),
            ("1e-99999999999999999999", "1"),
        ] {
            check(a, b, Ordering::Less);
        }
    }

    #[test]
    fn strings_compare_by_their_text() {
        check(r#""\u0061""#, "\"a\"", Ordering::Equal);
        check("\"Z\"", "\"a\"", Ordering::Less);
        check("\"\u{ffff}\"", "\"😀\"", Ordering::Less);
        check("\"10\"", "\"9\"", Ordering::Less);
    }

    #[test]
    fn lists_and_objects_compare_inside() {
        check("[1,2]", "[1,3]", Ordering::Less);
        check("[1]", "[1,0]", Ordering::Less);
        check("[2]", "[1,9]", Ordering::Greater);
        check(r#"{"a":1,"b":2}"#, r#" { "b" : 2 , "a" : 1 } "#, Ordering::Equal);
        check(r#"{"a":9}"#, r#"{"b":1}"#, Ordering::Less);
        check(r#"{"a":1,"b":1}"#, r#"{"a":1,"b":2}"#, Ordering::Less);
        check(r#"{"a":1,"a":3}"#, r#"{"a":2}"#, Ordering::Greater);
    }

    proptest! {
        #[test]
        fn numbers_compare_as_numbers(a in any::<i64>(), b in any::<i64>(), x in -1e300f64..1e300, y in -1e-300f64..1e300) {
            prop_assert_eq!(compare(a.to_string().as_bytes(), b.to_string().as_bytes()), a.cmp(&b));
            let (text_x, text_y) = (serde_json::to_string(&x).unwrap(), serde_json::to_string(&y).unwrap());
            prop_assert_eq!(Some(compare(text_x.as_bytes(), text_y.as_bytes())), x.partial_cmp(&y));
        }

        #[test]
        fn the_order_is_total_and_spelling_does_not_matter(a in any_json(), b in any_json()) {
            let text = |value: &Value| serde_json::to_string(value).unwrap();
            let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
            let order = compare(text(&a).as_bytes(), text(&b).as_bytes());
            prop_assert_eq!(order, compare(pretty(&a).as_bytes(), pretty(&b).as_bytes()));
            prop_assert_eq!(order.reverse(), compare(text(&b).as_bytes(), text(&a).as_bytes()));
            prop_assert_eq!(order == Ordering::Equal, a == b);
        }
    }
}
