//! `Vary`: which headers of a call its answer depended on (RFC 9111 section 4.1), and the keys that follow from that.
//!
//! The list is known only once an answer has come. Until then a call's key holds every header that it passes on, so that calls which
//! might get different answers never share a flight; from then on it holds what the source named. A source that names now these,
//! now those headers gets the union: that can only cost a hit, never hand out the wrong variant.

use std::fmt;
use std::sync::Arc;

use quick_cache::UnitWeighter;
use quick_cache::sync::{Cache as Table, DefaultLifecycle};

use super::{CacheKey, HashedAlready, KeyParts};

/// A source that names more headers than this might as well say `*`.
const NAMES_MAX: usize = 32;

/// What the `Vary` lines of an answer say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// On things that are not in the request: the answer cannot be used again.
    OnMore,
    /// On these headers, in lower case, sorted; often none.
    On(Arc<[Box<str>]>),
}

impl Vary {
    /// Reads the `Vary` lines among an answer's headers; names in lower case. A line that is not a list of names counts as `*`.
    pub fn of<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vary {
        let mut names: Vec<Box<str>> = Vec::new();
        let lines = headers.filter(|(name, _)| *name == "vary").map(|(_, value)| value);
        for member in lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            match std::str::from_utf8(member) {
                Ok(name) if name.bytes().all(is_token) && name != "*" && names.len() < NAMES_MAX => {
                    names.push(name.to_ascii_lowercase().into())
                }
                _ => return Vary::OnMore,
            }
        }
        names.sort_unstable();
        names.dedup();
        Vary::On(names.into())
    }

    /// The headers that are named by either.
    fn and(&self, other: &Vary) -> Vary {
        let (Vary::On(one), Vary::On(two)) = (self, other) else {
            return Vary::OnMore;
        };
        let mut names: Vec<Box<str>> = one.iter().chain(two.iter()).cloned().collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > NAMES_MAX {
            Vary::OnMore
        } else {
            Vary::On(names.into())
        }
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What is known of the `Vary` of each call, for a bounded number of calls; a forgotten one is learned anew.
pub struct VaryIndex(Table<CacheKey, Vary, UnitWeighter, HashedAlready>);

impl VaryIndex {
    /// Remembers this many calls.
    pub fn new(calls: usize) -> Self {
        VaryIndex(Table::with(
            calls,
            calls as u64,
            UnitWeighter,
            HashedAlready,
            DefaultLifecycle::default(),
        ))
    }

    /// The key to look a call up under and to share its flight under. `base` is the key of all but its headers; `passed` are the
    /// headers that it passes on, those left out that no answer may depend on: request ids and trace headers.
    pub fn key(&self, base: &KeyParts, passed: &[(&str, &[u8])]) -> CacheKey {
        match self.0.get(&base.key()) {
            Some(Vary::On(names)) => with_named(base, &names, passed),
            // Answers that depend on more are shared with nobody who passes on anything else.
            Some(Vary::OnMore) | None => with_all(base, passed),
        }
    }

    /// Whether an answer has told which headers count.
    pub fn knows(&self, base: &KeyParts) -> bool {
        matches!(self.0.peek(&base.key()), Some(Vary::On(_)))
    }

    /// Learns from an answer, and gives the key to keep it under; `None`: it must not be kept.
    pub fn learn(&self, base: &KeyParts, vary: &Vary, passed: &[(&str, &[u8])]) -> Option<CacheKey> {
        let known = self.0.peek(&base.key());
        let Vary::On(new) = vary else {
            if known.is_none() {
                self.0.insert(base.key(), Vary::OnMore);
            }
            return None;
        };
        let all = match &known {
            Some(old @ Vary::On(_)) => old.and(vary),
            Some(Vary::OnMore) | None => Vary::On(new.clone()),
        };
        if known.as_ref() != Some(&all) {
            self.0.insert(base.key(), all.clone());
        }
        match all {
            Vary::On(names) => Some(with_named(base, &names, passed)),
            Vary::OnMore => None,
        }
    }
}

impl fmt::Debug for VaryIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaryIndex({} calls)", self.0.len())
    }
}

fn with_named(base: &KeyParts, names: &[Box<str>], passed: &[(&str, &[u8])]) -> CacheKey {
    let mut parts = base.clone();
    for name in names {
        let values = passed.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut is_missing = true;
        for (_, value) in values {
            parts = parts.header(name, Some(value));
            is_missing = false;
        }
        if is_missing {
            parts = parts.header(name, None);
        }
    }
    parts.key()
}

fn with_all(base: &KeyParts, passed: &[(&str, &[u8])]) -> CacheKey {
    let mut names: Vec<Box<str>> = passed.iter().map(|(name, _)| name.to_ascii_lowercase().into()).collect();
    names.sort_unstable();
    names.dedup();
    // A marker of its own: to have named these headers is to know more than to have passed them on.
    with_named(&base.clone().value(b"all that is passed on"), &names, passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Passed = &'static [(&'static str, &'static [u8])];

    const GERMAN: Passed = &[("accept-language", b"de"), ("x-app", b"1")];
    const GERMAN_OTHER_APP: Passed = &[("X-App", b"2"), ("Accept-Language", b" de ")];
    const FRENCH: Passed = &[("accept-language", b"fr"), ("x-app", b"1")];

    fn vary(lines: &[&str]) -> Vary {
        Vary::of(lines.iter().map(|line| ("vary", line.as_bytes())))
    }

    fn on(names: &[&str]) -> Vary {
        Vary::On(names.iter().map(|name| Box::from(*name)).collect())
    }

    fn base() -> KeyParts {
        CacheKey::of_source("shop").method("GET").url("/")
    }

    #[test]
    fn vary_is_read_over_all_lines_sorted_and_in_lower_case() {
        assert_eq!(vary(&[]), on(&[]));
        assert_eq!(vary(&["Origin, accept", " ,, ACCEPT"]), on(&["accept", "origin"]));
        for more in [
            &["*"] as &[&str],
            &["accept, *"],
            &["accept", "*"],
            &["a b"],
            &["a\u{e9}"],
            &["a;b"],
        ] {
            assert_eq!(vary(more), Vary::OnMore, "{more:?}");
        }
        let many: Vec<String> = (0..40).map(|number| format!("x-{number}")).collect();
        assert_eq!(vary(&[&many.join(",")]), Vary::OnMore);
    }

    #[test]
    fn until_an_answer_told_all_headers_count_then_only_those_it_named() {
        let index = VaryIndex::new(8);
        assert_ne!(
            index.key(&base(), GERMAN),
            index.key(&base(), GERMAN_OTHER_APP),
            "nobody knows yet what matters"
        );
        assert!(!index.knows(&base()));
        let kept_under = index.learn(&base(), &on(&["accept-language"]), GERMAN).unwrap();
        assert!(index.knows(&base()));
        assert_eq!(index.key(&base(), GERMAN), kept_under);
        assert_eq!(index.key(&base(), GERMAN_OTHER_APP), kept_under);
        assert_ne!(index.key(&base(), FRENCH), kept_under);
        assert_ne!(
            index.key(&base(), &[]),
            kept_under,
            "a header that is missing matches only where it was missing"
        );
        assert_ne!(index.key(&base().body(b"x"), GERMAN), kept_under);
    }

    #[test]
    fn a_source_that_names_now_these_now_those_gets_the_union() {
        let index = VaryIndex::new(8);
        index.learn(&base(), &on(&["accept-language"]), GERMAN);
        let kept_under = index.learn(&base(), &on(&["x-app"]), GERMAN).unwrap();
        assert_eq!(index.key(&base(), GERMAN), kept_under);
        assert_ne!(index.key(&base(), FRENCH), kept_under);
        assert_ne!(index.key(&base(), GERMAN_OTHER_APP), kept_under);
        assert_eq!(
            index.learn(&base(), &on(&[]), GERMAN),
            Some(kept_under),
            "an answer without Vary takes nothing back"
        );
    }

    #[test]
    fn what_depends_on_more_is_not_kept() {
        let index = VaryIndex::new(8);
        assert_eq!(index.learn(&base(), &Vary::OnMore, GERMAN), None);
        assert!(!index.knows(&base()));
        assert_ne!(index.key(&base(), GERMAN), index.key(&base(), FRENCH));
        let kept_under = index.learn(&base(), &on(&[]), GERMAN);
        assert_eq!(
            kept_under,
            Some(index.key(&base(), FRENCH)),
            "an answer that depends on nothing is kept again"
        );
    }

    #[test]
    fn more_calls_than_it_remembers_are_learned_anew() {
        let index = VaryIndex::new(4);
        for number in 0..1000 {
            index.learn(&base().body(format!("{number}").as_bytes()), &on(&["x-app"]), GERMAN);
        }
        assert!(index.0.len() <= 4);
    }
}
