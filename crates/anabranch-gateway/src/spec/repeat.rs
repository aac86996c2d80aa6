//! `{{ "x" * 2000 }}`: so many repeats of a text, so that a large body needs no large file.

use super::BadSpec;

/// The largest text that repeats may make, in bytes.
const SIZE_MAX: usize = 64 << 20;

/// Puts the repeats in. Anything else between double braces stays as it is; `line` is where the text begins in its file.
pub(super) fn expand(text: &str, line: usize) -> Result<String, BadSpec> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{{ \"") {
        let (before, found) = rest.split_at(at);
        expanded.push_str(before);
        let Some((repeat, count, after)) = read(found) else {
            expanded.push_str("{{");
            rest = &found[2..];
            continue;
        };
        if repeat.len().saturating_mul(count).saturating_add(expanded.len()) > SIZE_MAX {
            let lines_before = text[..text.len() - found.len()].matches('\n').count();
            return Err(BadSpec::new(line + lines_before, "more than 64 MiB of repeats"));
        }
        expanded.push_str(&repeat.repeat(count));
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// What is repeated, how often, and the text behind the braces.
fn read(found: &str) -> Option<(&str, usize, &str)> {
    let (inside, after) = found.strip_prefix("{{ \"")?.split_once(" }}")?;
    let (repeat, count) = inside.rsplit_once("\" * ")?;
    Some((repeat, count.parse().ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_repeated_and_all_else_stays() {
        for (text, expected) in [
            ("a{{ \"xy\" * 3 }}b{{ \"[\" * 1 }}", "axyxyxyb["),
            ("{{ \"x\" * 0 }}", ""),
            ("{{ \"x\" * many }} {{ x }} {{}}", "{{ \"x\" * many }} {{ x }} {{}}"),
            ("{{ \"x", "{{ \"x"),
            ("{a: {b: 1}}", "{a: {b: 1}}"),
        ] {
            assert_eq!(expand(text, 1).unwrap(), expected, "{text}");
        }
        assert_eq!(expand("\n\n{{ \"x\" * 99999999999 }}", 5).unwrap_err().line, 7);
    }
}
