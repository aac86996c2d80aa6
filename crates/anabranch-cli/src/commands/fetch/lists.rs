//! Texts that hold several things: headers, statuses, selections, templates. Errors are fragments that say what was expected.

use std::ops::RangeInclusive;

use http::header::HeaderName;

/// `--retry-on`, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RetryOn {
    /// Statuses, each once.
    pub(crate) statuses: Vec<u16>,
    /// Whether attempts without an answer are tried again.
    pub(crate) broken: bool,
}

/// What attempts without an answer are called one by one; they are tried again together.
const BROKEN: [&str; 3] = ["connect", "reset", "timeout"];

/// `429,5xx,broken`; empty for nothing.
pub(crate) fn retry_on(text: &str) -> Result<RetryOn, String> {
    let mut on = RetryOn {
        statuses: Vec::new(),
        broken: false,
    };
    let mut kinds: Vec<&str> = Vec::new();
    for word in words(text) {
        match word {
            "broken" => on.broken = true,
            "none" => {}
            kind if BROKEN.contains(&kind) => kinds.push(kind),
            _ => {
                let range =
                    status_range(word).ok_or_else(|| format!("`{word}` is no status, expected such as `429`, `5xx` or `broken`"))?;
                on.statuses.extend(range);
            }
        }
    }
    let is_part_of_broken = !kinds.is_empty() && !on.broken;
    if is_part_of_broken && !BROKEN.iter().all(|kind| kinds.contains(kind)) {
        return Err("connect, reset and timeout are tried again together: write `broken`, or name all three".into());
    }
    on.broken |= is_part_of_broken;
    on.statuses.sort_unstable();
    on.statuses.dedup();
    Ok(on)
}

/// `2xx,304,400-404`.
pub(crate) fn statuses(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    let range = |word| status_range(word).ok_or_else(|| format!("`{word}` is no status, expected such as `200`, `2xx` or `200-299`"));
    let ranges: Vec<_> = words(text).map(range).collect::<Result<_, _>>()?;
    if ranges.is_empty() {
        return Err("expected statuses such as `2xx,304`".into());
    }
    Ok(ranges)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn status_range(word: &str) -> Option<RangeInclusive<u16>> {
    let range = if let Some(class) = word.strip_suffix("xx") {
        let first = class.parse::<u16>().ok()?.checked_mul(100)?;
        first..=first.checked_add(99)?
    } else if let Some((from, to)) = word.split_once('-') {
        from.trim().parse().ok()?..=to.trim().parse().ok()?
    } else {
        let status = word.parse().ok()?;
        status..=status
    };
    (100..=599).contains(range.start()).then_some(())?;
    ((*range.start()..=599).contains(range.end())).then_some(range)
}

/// `Name: value`.
pub(crate) fn header(text: &str) -> Result<(HeaderName, String), String> {
    let bad = || format!("`{text}` is no header, expected 'Name: value'");
    let (name, value) = text.split_once(':').ok_or_else(bad)?;
    let value = value.trim();
    let is_writable = value.bytes().all(|byte| byte == b'\t' || (byte >= 0x20 && byte != 0x7f));
    if !is_writable {
        return Err(bad());
    }
    Ok((name.trim().parse().map_err(|_| bad())?, value.to_string()))
}

/// `title=css:h1`.
pub(crate) fn selection(text: &str) -> Result<(String, String), String> {
    let expected = || format!("`{text}` selects nothing, expected `NAME=css:SELECTOR` or `NAME=json:PATH`");
    let (name, selector) = text.split_once('=').ok_or_else(expected)?;
    let is_known = ["css:", "json:"]
        .iter()
        .any(|kind| selector.strip_prefix(kind).is_some_and(|rest| !rest.trim().is_empty()));
    if name.is_empty() || !is_known {
        return Err(expected());
    }
    Ok((name.to_string(), selector.to_string()))
}

/// Whether a text holds `{name}` or `{name:raw}`: what may be a column.
pub(crate) fn has_holes(text: &str) -> bool {
    next_hole(text).is_some()
}

/// Whether a body is JSON once its holes are filled: inside of quotes any text may stand there, elsewhere any value.
pub(crate) fn is_json(body: &str) -> bool {
    let mut filled = String::with_capacity(body.len());
    let mut rest = body;
    while let Some((start, end)) = next_hole(rest) {
        filled.push_str(&rest[..start]);
        filled.push('0');
        rest = &rest[end..];
    }
    filled.push_str(rest);
    serde_json::from_str::<serde::de::IgnoredAny>(&filled).is_ok()
}

/// The first hole of a text: where it begins and where it ends.
fn next_hole(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let inside = &text[open + 1..];
        let length = inside
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-' | ':')))
            .unwrap_or(inside.len());
        if length > 0 && inside[length..].starts_with('}') {
            return Some((open, open + length + 2));
        }
        from = open + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_come_alone_in_classes_and_in_ranges() {
        assert_eq!(statuses("2xx,304, 400-404"), Ok(vec![200..=299, 304..=304, 400..=404]));
        for bad in ["", "6xx", "20", "304-200", "abc", "xx", "99xx"] {
            assert!(statuses(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_tried_again_is_read() {
        let on = retry_on("503,429,429,broken").unwrap();
        assert_eq!((on.statuses, on.broken), (vec![429, 503], true));
        assert_eq!(retry_on("connect,reset,timeout").map(|on| on.broken), Ok(true));
        assert_eq!(retry_on("5xx").map(|on| (on.statuses.len(), on.broken)), Ok((100, false)));
        assert_eq!(retry_on("none").map(|on| on.statuses), Ok(vec![]));
        assert!(retry_on("connect").unwrap_err().contains("`broken`"));
        assert!(retry_on("sometimes").is_err());
    }

    #[test]
    fn headers_and_selections_are_split_at_the_first_sign() {
        assert_eq!(header("X-Id: a:b").map(|(_, value)| value), Ok("a:b".into()));
        assert!(header("X-Id").is_err() && header(": x").is_err() && header("X: a\nb").is_err());
        assert_eq!(selection("link=css:a[rel=next]@href").map(|(name, _)| name), Ok("link".into()));
        for bad in ["css:h1", "t=h1", "t=css:", "=css:h1"] {
            assert!(selection(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn holes_are_names_in_braces_and_nothing_else() {
        assert!(has_holes("Bearer {token}") && has_holes("{a:raw}"));
        assert!(!has_holes("{}") && !has_holes("{ a }") && !has_holes("{\"a\": 1}") && !has_holes("{a"));
    }

    #[test]
    fn a_body_is_json_when_it_is_once_its_holes_are_filled() {
        assert!(is_json(r#"{"id": {id}, "name": "{name}"}"#));
        assert!(is_json("[{line}]") && is_json("{line}"));
        assert!(!is_json("a={line}&b=1") && !is_json(""));
    }
}
