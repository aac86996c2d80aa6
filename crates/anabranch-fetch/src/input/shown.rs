//! A row as a record or a message shows it: its beginning, without what is secret in it.

use super::draft::Members;

/// What of a row that is no job goes into its record.
const SHOWN: usize = 1_000;
/// What of it is looked at.
const LOOKED_AT: usize = 4 * SHOWN;

/// The beginning of a text.
pub(super) fn beginning(text: &str) -> &str {
    &text[..boundary(text, SHOWN)]
}

/// The beginning of a row that is no job, for its record: headers are left out, and `***` stands for names and passwords in URLs.
pub(super) fn shown(row: &str) -> String {
    let bare = without_headers(row);
    let row = bare.as_deref().unwrap_or(row);
    beginning(&without_logins(&row[..boundary(row, LOOKED_AT)])).to_owned()
}

/// A JSON object without its member `headers`; None where it has none.
fn without_headers(row: &str) -> Option<String> {
    let Members(members) = serde_json::from_str(row).ok()?;
    let is_headers = |name: &str| name == "headers";
    if !members.iter().any(|(name, _)| is_headers(name)) {
        return None;
    }
    let kept = members.iter().filter(|(name, _)| !is_headers(name));
    let kept: Vec<String> = kept
        .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name.as_ref()), value.get()))
        .collect();
    Some(format!("{{{}}}", kept.join(",")))
}

/// With `***` in place of what stands before the `@` of each URL, also of one that cannot be read as a URL.
fn without_logins(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    if !text.contains("://") {
        return masked(text);
    }
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after.find(|letter: char| letter.is_whitespace() || "\"'<>".contains(letter));
        let (url, behind) = after.split_at(end.unwrap_or(after.len()));
        // The next URL begins within this stretch where nothing stands between the two.
        let (url, behind) = match url.find("://") {
            Some(next) => after.split_at(next),
            None => (url, behind),
        };
        out.push_str(before);
        out.push_str(&masked(url));
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// What follows `://`, with `***` for the login.
fn masked(text: &str) -> String {
    let end = text.find(['/', '\\', '?', '#']).unwrap_or(text.len());
    let authority = &text[..end];
    // A password with a `/` in it ends the authority too early: what then looks like a port is no number.
    let is_cut_short = !authority.starts_with('[')
        && authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit()));
    let login = if is_cut_short { text } else { authority };
    match login.rfind('@') {
        Some(at) => format!("***{}", &text[at..]),
        None => text.to_owned(),
    }
}

/// The last place at or before `most` where a character begins.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_shown_without_names_and_passwords() {
        for (row, expected) in [
            ("http://bob:word@host:99999/a@b", "http://***@host:99999/a@b"),
            ("http://bob:wo/rd@[::1", "http://***@[::1"),
            ("http://word@host/", "http://***@host/"),
            ("bob:word@host/x", "***@host/x"),
            ("a,http://bob:word@h/ http://x/,1", "a,http://***@h/ http://x/,1"),
            ("http://x:1/@a http://bob:word@h", "http://x:1/@a http://***@h"),
            ("http://x/?to=http://bob:word@h", "http://x/?to=http://***@h"),
            ("not a url", "not a url"),
            ("http://[::1/a@b", "http://[::1/a@b"),
        ] {
            assert_eq!(shown(row), expected);
        }
    }

    #[test]
    fn a_row_is_shown_without_its_headers() {
        let row = r#"{"url": "nope", "headers": {"Authorization": "Bearer word"}, "row": 1.10}"#;
        assert_eq!(shown(row), r#"{"url":"nope","row":1.10}"#);
        assert_eq!(shown(r#"{"url": "nope"}"#), r#"{"url": "nope"}"#);
    }

    #[test]
    fn of_a_long_row_the_beginning_is_shown() {
        assert_eq!(shown(&"ü".repeat(5_000)), "ü".repeat(500));
        // Cut before the `@` that says that it was a password.
        let long = format!("http://bob:{}@h", "w".repeat(2_000));
        assert_eq!(shown(&long), "http://***@h");
    }
}
