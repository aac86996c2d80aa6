//! The one place that says what may become a segment of a path upstream.

use super::percent::{decode, Broken};

/// Says why `value` may not be one segment of a path: empty, `.`, `..`, a slash, a backslash or a control character, as it stands or
/// after one decode, since an upstream may decode twice.
pub fn check_segment(value: &str) -> Result<(), &'static str> {
    check_once(value.as_bytes())?;
    if value.contains('%') {
        let decoded = decode(value.as_bytes(), Broken::Keep).unwrap_or_default();
        check_once(&decoded)?;
    }
    Ok(())
}

/// Says why `value` may not be the rest of a path, its slashes included: a segment between them may not be one.
pub fn check_rest(value: &str) -> Result<(), &'static str> {
    value.split('/').try_for_each(check_segment)
}

fn check_once(value: &[u8]) -> Result<(), &'static str> {
    match value {
        b"" => return Err("must not be empty in a path"),
        b"." | b".." => return Err("must not be `.` or `..` in a path"),
        _ => {}
    }
    if value.iter().any(|byte| matches!(byte, b'/' | b'\\')) {
        return Err("must not hold a slash or backslash in a path");
    }
    if has_control(&String::from_utf8_lossy(value)) {
        return Err("must not hold control characters");
    }
    Ok(())
}

/// Whether `text` holds a control character: C0, DEL or C1.
pub fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_leave_its_place_is_refused_also_encoded() {
        let refused = [
            "",
            ".",
            "..",
            "/",
            "a/b",
            "\\",
            "a\\b",
            "..\\admin",
            "%2e",
            "%2E%2e",
            ".%2e",
            "%2f",
            "a%2Fb",
            "%5c",
            "%5C..",
            "\0",
            "a\nb",
            "\u{7f}",
            "%00",
            "%0d%0a",
            "\u{85}",
            "%C2%85",
        ];
        for value in refused {
            assert!(check_segment(value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn ordinary_values_pass() {
        for value in [
            "a", "...", "a.b", "..a", "100%", "%", "50%25", "a b", "é", "a:b;c", "%zz", "-1", "?x#y", "%252e",
        ] {
            assert_eq!(check_segment(value), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn the_rest_of_a_path_is_checked_segment_by_segment() {
        for value in ["a", "a/b/c.css"] {
            assert_eq!(check_rest(value), Ok(()), "{value:?}");
        }
        for value in ["", "/", "a/", "/a", "a//b", "a/../b", "a/%2e%2e/b", "a/b\\c", "a/./b"] {
            assert!(check_rest(value).is_err(), "{value:?}");
        }
    }
}
