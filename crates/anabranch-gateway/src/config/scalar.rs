//! What a word without quotes is: null, boolean, number or text, by YAML 1.2's core schema (section 10.3.2).

use super::faults::Faults;
use super::yaml::{NodeKind, Span, Style};

/// Decides what a plain scalar is. Numbers that JSON cannot hold, or that other readers of YAML take for octal, are faults.
pub(super) fn plain(text: &str, span: Span, faults: &mut Faults) -> NodeKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return NodeKind::Null,
        "true" | "True" | "TRUE" => return NodeKind::Bool(true),
        "false" | "False" | "FALSE" => return NodeKind::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        faults.add_with_help(span, format!("`{text}` is no number in JSON"), "quote it if it is a text");
        return NodeKind::Null;
    }
    let based = text
        .strip_prefix("0x")
        .map(|digits| (digits, 16))
        .or_else(|| text.strip_prefix("0o").map(|digits| (digits, 8)));
    if let Some((digits, base)) = based {
        return in_base(text, digits, base, span, faults);
    }
    match decimal(text) {
        Some(number) => {
            let whole = unsigned.split(['.', 'e', 'E']).next().unwrap_or_default();
            if whole.len() > 1 && whole.starts_with('0') {
                let help = "leave the zeros out, or quote it if it is a text; octal numbers begin with `0o`";
                faults.add_with_help(span, format!("number `{text}` with leading zeros"), help);
            }
            NodeKind::Number(number)
        }
        None => NodeKind::Text(text.to_owned(), Style::Plain),
    }
}

fn in_base(text: &str, digits: &str, base: u32, span: Span, faults: &mut Faults) -> NodeKind {
    let all_digits = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    if !all_digits {
        return NodeKind::Text(text.to_owned(), Style::Plain);
    }
    let number = u64::from_str_radix(digits, base).unwrap_or_else(|_| {
        faults.add(span, format!("number `{text}` does not fit into 64 bits"));
        0
    });
    NodeKind::Number(number.to_string())
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?` as a JSON number, digits kept.
fn decimal(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits_only(whole) || !digits_only(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let exponent = match exponent {
        Some(exponent) => {
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            if digits.is_empty() || !digits_only(digits) {
                return None;
            }
            format!("e{exponent}")
        }
        None => String::new(),
    };
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}{exponent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (NodeKind, usize) {
        let mut faults = Faults::new("f", text);
        let kind = plain(text, Span { start: 0, end: text.len() }, &mut faults);
        (kind, faults.len())
    }

    #[test]
    fn numbers_keep_their_digits_and_become_json() {
        for (text, expected) in [
            ("0", "0"),
            ("-0", "-0"),
            ("12", "12"),
            ("+12", "12"),
            ("1.10", "1.10"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("5.", "5"),
            ("1e3", "1e3"),
            ("1.5E-07", "1.5e-07"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(read(text), (NodeKind::Number(expected.into()), 0), "{text}");
            serde_json::from_str::<serde_json::Value>(expected).unwrap();
        }
    }

    #[test]
    fn words_that_only_look_like_booleans_or_numbers_are_texts() {
        for text in [
            "yes", "no", "on", "off", "y", "1_000", "1:30", "1.2.3", "-", ".", "+", "e3", "1e", "1e+", "0x", "0o9", "20..100", "1s",
            "int!", "-0x1",
        ] {
            assert_eq!(read(text), (NodeKind::Text(text.into(), Style::Plain), 0), "{text}");
        }
        assert_eq!(read("~"), (NodeKind::Null, 0));
        assert_eq!(read("True"), (NodeKind::Bool(true), 0));
    }

    #[test]
    fn numbers_that_readers_disagree_about_are_faults() {
        for text in ["017", "-007", "00", "01.5", ".inf", "-.INF", ".NaN", "0xFFFFFFFFFFFFFFFFFF"] {
            assert_eq!(read(text).1, 1, "{text}");
        }
    }
}
