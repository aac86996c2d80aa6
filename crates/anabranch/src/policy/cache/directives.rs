//! `Cache-Control` of an answer as a struct (RFC 9111 section 5.2.2, RFC 5861).
//!
//! Where the text is broken the reading is the careful one: broken freshness counts as none (section 4.2.1 encourages that), an
//! unfinished quote as `no-store`, since nobody knows what it swallowed. Directives with field names (`private="set-cookie"`) count
//! as if they had none, which sections 5.2.2.4 and 5.2.2.7 allow.

use std::time::Duration;

/// Numbers beyond this count as this (section 1.2.2): 68 years.
const SECONDS_MAX: u64 = 1 << 31;

/// What `Cache-Control` says, over all its lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) s_maxage: Option<Duration>,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
}

impl Directives {
    /// Reads one more line.
    pub(super) fn read(&mut self, line: &[u8]) {
        let mut rest = line;
        while !rest.is_empty() {
            let (member, after) = split_member(rest);
            rest = after;
            match parse_member(member) {
                Member::Empty => {}
                Member::Unfinished => self.no_store = true,
                Member::Directive { name, value } => self.apply(&name, value.as_deref()),
            }
        }
    }

    fn apply(&mut self, name: &str, value: Option<&[u8]>) {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "max-age" => set_lifetime(&mut self.max_age, value),
            "s-maxage" => set_lifetime(&mut self.s_maxage, value),
            "stale-while-revalidate" => set_stale(&mut self.stale_while_revalidate, value),
            "stale-if-error" => set_stale(&mut self.stale_if_error, value),
            _ => {} // Section 5.2.3: unknown ones are ignored.
        }
    }
}

/// A lifetime that is broken, or given twice with different values, is zero.
fn set_lifetime(slot: &mut Option<Duration>, value: Option<&[u8]>) {
    let lifetime = value.and_then(delta_seconds).unwrap_or_default();
    let contradicts = slot.is_some_and(|other| other != lifetime);
    *slot = Some(if contradicts { Duration::ZERO } else { lifetime });
}

/// A permission that is broken is none; of two the smaller counts.
fn set_stale(slot: &mut Option<Duration>, value: Option<&[u8]>) {
    let permitted = value.and_then(delta_seconds).unwrap_or_default();
    *slot = Some(slot.map_or(permitted, |other| other.min(permitted)));
}

/// A number of seconds: digits and nothing else, capped.
pub(super) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX);
    is_number.then(|| Duration::from_secs(text.iter().fold(0, add)))
}

/// The part before the first comma outside quotes, and what follows it.
fn split_member(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, &[])
}

enum Member {
    Empty,
    /// A quote was opened and not closed.
    Unfinished,
    Directive {
        name: String,
        value: Option<Vec<u8>>,
    },
}

/// `name`, `name=value` or `name="value"`; section 5.2 asks recipients to take both forms of a value.
fn parse_member(member: &[u8]) -> Member {
    let member = member.trim_ascii();
    if member.is_empty() {
        return Member::Empty;
    }
    let equals = member.iter().position(|byte| *byte == b'=');
    let (name, value) = equals.map_or((member, None), |at| (&member[..at], Some(member[at + 1..].trim_ascii())));
    let name = String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase();
    let quotes = member.iter().filter(|byte| **byte == b'"').count();
    match value {
        Some([b'"', quoted @ ..]) => unquote(quoted).map_or(Member::Unfinished, |value| Member::Directive { name, value: Some(value) }),
        _ if quotes > 0 => Member::Unfinished,
        value => Member::Directive {
            name,
            value: value.map(<[u8]>::to_vec),
        },
    }
}

/// What stands before the closing quote, escapes resolved; nothing may follow it.
fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let mut bytes = text.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then_some(value),
            b'\\' => value.push(*bytes.next()?),
            byte => value.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> Directives {
        let mut directives = Directives::default();
        lines.iter().for_each(|line| directives.read(line.as_bytes()));
        directives
    }

    fn seconds(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    #[test]
    fn directives_are_read_in_any_case_with_blanks_empty_members_and_both_forms_of_values() {
        let read = read(&["  Max-Age = \"6\\0\" ,, PUBLIC,unknown=\"a, no-store\"", "s-maxage=10"]);
        assert_eq!(
            (read.max_age, read.s_maxage, read.public, read.no_store),
            (seconds(60), seconds(10), true, false)
        );
    }

    #[test]
    fn directives_with_field_names_count_as_without() {
        let read = read(&["private=\"x-a, x-b\", no-cache=\"set-cookie\", max-age=5"]);
        assert_eq!((read.private, read.no_cache, read.max_age), (true, true, seconds(5)));
    }

    #[test]
    fn broken_freshness_is_none_and_numbers_are_capped() {
        for broken in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age=abc",
            "max-age=\"\"",
            "max-age=1, max-age=2",
        ] {
            assert_eq!(read(&[broken]).max_age, seconds(0), "{broken}");
        }
        assert_eq!(read(&["max-age=7, max-age=7"]).max_age, seconds(7));
        assert_eq!(read(&["max-age=99999999999999999999999999"]).max_age, seconds(1 << 31));
        assert_eq!(
            read(&["stale-if-error, stale-while-revalidate=9, stale-while-revalidate=4"]).stale_if_error,
            seconds(0)
        );
        assert_eq!(
            read(&["stale-while-revalidate=9, stale-while-revalidate=4"]).stale_while_revalidate,
            seconds(4)
        );
    }

    #[test]
    fn an_unfinished_quote_is_no_store() {
        for broken in [
            "max-age=\"60",
            "max-age=60, x=\"a, b",
            "max-age=60, x=\"a\\\"",
            "x=\"a\"b",
            "x\"y\"",
            "max-age=60\"",
        ] {
            assert!(read(&[broken]).no_store, "{broken}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_a_plain_no_store_is_never_missed(before in "[ -~]{0,40}", after in "[ -~]{0,40}") {
            prop_assume!(!before.contains('"'));
            let line = format!("{before},no-store,{after}");
            prop_assert!(read(&[&line]).no_store);
        }

        #[test]
        fn no_bytes_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            Directives::default().read(&line);
        }
    }
}
