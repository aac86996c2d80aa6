//! The key under which an answer is kept and a flight is shared: 128 bits over all that makes two calls equal.
//!
//! What a call sends is partly chosen by strangers, and whoever could make two calls collide would be handed somebody else's
//! answer. So the hash is keyed with numbers that only this process knows, and it is twice as wide as a table needs: two keyed
//! 64-bit hashes (std's SipHash-1-3), the second over a secret prefix as well, so that each is a function of its own. Among a
//! million keys two collide with a chance of 2^-89.
//!
//! Each part goes in with its kind and its length, so `/a` + `b` is not `/ab`, an empty body is not a missing one, and a body
//! can never pass for a header. Request ids and trace headers are never parts: no two calls would be equal.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use super::{Ticket, Times};

/// The key of an answer or a flight. Valid in this process only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CacheKey {
    first: u64,
    second: u64,
}

impl CacheKey {
    /// Starts the key of a call to this source. The id must differ between sources whose equal paths mean different things:
    /// its name together with its endpoints, for example.
    pub fn of_source(source: &str) -> KeyParts {
        static SECRETS: LazyLock<(RandomState, u64)> = LazyLock::new(|| (RandomState::new(), RandomState::new().hash_one(0_u8)));
        let (state, prefix) = &*SECRETS;
        let (first, mut second) = (state.build_hasher(), state.build_hasher());
        second.write_u64(*prefix);
        KeyParts { first, second }.part(Part::Source, source.as_bytes())
    }

    /// The key of a flight that was begun with this ticket: who asks after a purge does not join what was asked for before it.
    pub(crate) fn of_flight(self, ticket: Ticket) -> CacheKey {
        CacheKey {
            first: self.first.wrapping_add(ticket.0),
            ..self
        }
    }

    /// Which of so many parts of a table the key belongs to. The other half of the key spreads it within the part.
    pub(crate) fn shard(&self, shards: usize) -> usize {
        usize::try_from(self.second % shards as u64).unwrap_or(0)
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.first);
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({:016x}{:016x})", self.first, self.second)
    }
}

/// A key being made, part by part. The order of equal kinds matters: give headers and values in one order, sorted for example.
#[derive(Clone)]
pub struct KeyParts {
    first: DefaultHasher,
    second: DefaultHasher,
}

/// What a part is. Never renumbered between two parts of one key; the numbers mean nothing outside the process.
#[derive(Clone, Copy)]
enum Part {
    Source,
    Method,
    Url,
    Body,
    Header,
    MissingHeader,
    Value,
    Credential,
    Fresh,
    Stale,
}

impl KeyParts {
    /// The method.
    pub fn method(self, method: &str) -> Self {
        self.part(Part::Method, method.as_bytes())
    }

    /// Path and query as they are sent; or the statement or command of a source that is not HTTP.
    pub fn url(self, url: &str) -> Self {
        self.part(Part::Url, url.as_bytes())
    }

    /// The body; not given for a call without one.
    pub fn body(self, body: &[u8]) -> Self {
        self.part(Part::Body, body)
    }

    /// A bound value of a statement or an argument of a command.
    pub fn value(self, value: &[u8]) -> Self {
        self.part(Part::Value, value)
    }

    /// A header that the answer may depend on, or that it is missing. Its name counts in any case of letters, its value without
    /// blanks around it (RFC 9111 section 4.1 allows that much to be evened out).
    pub fn header(self, name: &str, value: Option<&[u8]>) -> Self {
        let name = lower_case(name);
        match value {
            Some(value) => self.part(Part::Header, name.as_bytes()).part(Part::Value, value.trim_ascii()),
            None => self.part(Part::MissingHeader, name.as_bytes()),
        }
    }

    /// The credential that is passed on: who it is that asks. It goes into the hash and nowhere else.
    pub fn credential(self, credential: &[u8]) -> Self {
        self.part(Part::Credential, credential)
    }

    /// The times that the call sets. Calls that agree in all else but not in these must not share answers: one would be handed
    /// what the other still calls fresh.
    pub fn times(self, times: Times) -> Self {
        let nanos = |time: Duration| time.as_nanos().to_le_bytes();
        self.part(Part::Fresh, &nanos(times.fresh)).part(Part::Stale, &nanos(times.stale))
    }

    /// The key of the parts so far.
    pub fn key(&self) -> CacheKey {
        CacheKey {
            first: self.first.finish(),
            second: self.second.finish(),
        }
    }

    fn part(mut self, part: Part, bytes: &[u8]) -> Self {
        for hasher in [&mut self.first, &mut self.second] {
            hasher.write_u8(part as u8);
            hasher.write_u64(bytes.len() as u64);
            hasher.write(bytes);
        }
        self
    }
}

impl fmt::Debug for KeyParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyParts({:?} so far)", self.key())
    }
}

fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Builds hashers for tables of [`CacheKey`]s: these are hashes already, keyed ones, and need no second hashing.
#[derive(Clone, Copy, Default)]
pub(crate) struct HashedAlready;

/// Hands out the number it was given.
#[derive(Default)]
pub(crate) struct PassThrough(u64);

impl BuildHasher for HashedAlready {
    type Hasher = PassThrough;

    fn build_hasher(&self) -> PassThrough {
        PassThrough(0)
    }
}

impl Hasher for PassThrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a `CacheKey` hashes one number");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn equal_calls_have_equal_keys() {
        let key = || {
            CacheKey::of_source("shop")
                .method("GET")
                .url("/a?b=1")
                .header("Accept", Some(b"*/*"))
                .credential(b"me")
                .key()
        };
        assert_eq!(key(), key());
        let evened_out = CacheKey::of_source("shop")
            .method("GET")
            .url("/a?b=1")
            .header("accept", Some(b" */*\t"))
            .credential(b"me");
        assert_eq!(evened_out.key(), key());
    }

    #[test]
    fn whatever_makes_two_calls_differ_makes_their_keys_differ() {
        let base = || CacheKey::of_source("shop").method("GET");
        let different = [
            CacheKey::of_source("promo").method("GET").url("/a"),
            CacheKey::of_source("shop").method("HEAD").url("/a"),
            CacheKey::of_source("shopG").method("ET").url("/a"),
            base().url("/a"),
            base().url("/ab"),
            base().url("/a").body(b"b"),
            base().url("/a").body(b""),
            base().url("/a").value(b"b"),
            base().url("/a").value(b"b").value(b"c"),
            base().url("/a").value(b"bc"),
            base().url("/a").value(b"").value(b"bc"),
            base().url("/a").credential(b"b"),
            base().url("/a").header("x", Some(b"b")),
            base().url("/a").header("xb", Some(b"")),
            base().url("/a").header("x", Some(b"")),
            base().url("/a").header("x", None),
            base().url("/a").times(Times::default()),
            base().url("/a").times(Times {
                fresh: Duration::from_secs(1),
                stale: Duration::ZERO,
            }),
            base().url("/a").times(Times {
                fresh: Duration::ZERO,
                stale: Duration::from_secs(1),
            }),
        ];
        let keys: HashSet<_> = different.iter().map(KeyParts::key).collect();
        assert_eq!(keys.len(), different.len());
    }

    #[test]
    fn a_value_that_looks_like_the_start_of_the_next_part_is_still_one_value() {
        let start_of_next: Vec<u8> = [b"a".as_slice(), &[Part::Value as u8], b"b"].concat();
        let one = CacheKey::of_source("shop").value(&start_of_next).key();
        let two = CacheKey::of_source("shop").value(b"a").value(b"b").key();
        assert_ne!(one, two);
    }

    #[test]
    fn the_two_halves_are_functions_of_their_own() {
        let keys: Vec<_> = (0..64)
            .map(|number: u8| CacheKey::of_source("shop").value(&[number]).key())
            .collect();
        assert!(keys.iter().all(|key| key.first != key.second));
        assert!(
            keys.windows(2)
                .any(|pair| pair[0].first ^ pair[0].second != pair[1].first ^ pair[1].second)
        );
    }

    fn key_of(parts: &[(u8, Vec<u8>)]) -> CacheKey {
        let add = |key: KeyParts, (kind, bytes): &(u8, Vec<u8>)| match kind {
            0 => key.value(bytes),
            1 => key.body(bytes),
            2 => key.credential(bytes),
            _ => key.url(&String::from_utf8_lossy(bytes)),
        };
        parts.iter().fold(CacheKey::of_source(""), add).key()
    }

    proptest! {
        /// Few bytes and short parts, the length bytes among them, so that what differs only in where it is cut comes up often.
        #[test]
        fn parts_cut_or_named_differently_differ(
            one in prop::collection::vec((0_u8..4, prop::collection::vec(0_u8..8, 0..4)), 0..4),
            other in prop::collection::vec((0_u8..4, prop::collection::vec(0_u8..8, 0..4)), 0..4),
        ) {
            prop_assert_eq!(key_of(&one) == key_of(&other), one == other);
        }
    }
}
