//! One answer in the cache: what is put in, and what is handed out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{CacheKey, Keep};

/// An answer on its way into the cache.
#[derive(Clone, Debug)]
pub struct Item<V> {
    /// The answer.
    pub value: V,
    /// What it weighs in bytes: body and headers. What the cache itself needs for an entry comes on top.
    pub weight: u64,
    /// How long it is kept, and for what.
    pub keep: Keep,
    /// By which it can be purged: `shop /rules/7`. Never holds a credential.
    pub label: Box<str>,
    /// The key to keep it under, where only the answer told what it depends on ([`VaryIndex`](super::VaryIndex)); else the one it was
    /// asked under.
    pub key: Option<CacheKey>,
}

impl<V> Item<V> {
    /// An answer with an empty label, kept under the key it was asked under.
    pub fn new(value: V, weight: u64, keep: impl Into<Keep>) -> Self {
        Item {
            value,
            weight,
            keep: keep.into(),
            label: Box::default(),
            key: None,
        }
    }

    /// The same with a label.
    pub fn labelled(mut self, label: impl Into<Box<str>>) -> Self {
        self.label = label.into();
        self
    }

    /// The same, kept under another key.
    pub fn under(mut self, key: CacheKey) -> Self {
        self.key = Some(key);
        self
    }
}

/// An answer as the cache keeps it. Never changes.
pub(super) struct Entry<V> {
    value: V,
    pub(super) weight: u64,
    pub(super) label: Box<str>,
    stored_at: Instant,
    /// How old it was then.
    age_then: Duration,
    /// The end of its time as fresh; each of the next three is no earlier.
    pub(super) fresh_until: Instant,
    while_renewed_until: Instant,
    if_failed_until: Instant,
    /// The last of them.
    pub(super) kept_until: Instant,
}

impl<V> Entry<V> {
    pub(super) fn new(item: Item<V>, weight: u64, stored_at: Instant, varied: Option<f64>) -> Self {
        let ends = item.keep.ends(varied);
        Entry {
            value: item.value,
            weight,
            label: item.label,
            stored_at,
            age_then: item.keep.age,
            fresh_until: stored_at + ends.fresh,
            while_renewed_until: stored_at + ends.while_renewed,
            if_failed_until: stored_at + ends.if_failed,
            kept_until: stored_at + ends.kept,
        }
    }
}

/// An answer out of the cache, or one just put there. Holding it does not keep its place, and what it says is as of now.
pub struct Held<V>(Arc<Entry<V>>);

/// What an answer that is no longer fresh is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleUse {
    /// It may be served at once if it is being renewed.
    WhileRenewed,
    /// It may be served if the source fails.
    IfFailed,
    /// It may be compared with what the source has now.
    ToCompare,
}

impl<V> Held<V> {
    pub(super) fn new(entry: Arc<Entry<V>>) -> Self {
        Held(entry)
    }

    /// The answer.
    pub fn value(&self) -> &V {
        &self.0.value
    }

    /// The time since the source made it, so far as we were told: the value of an `Age` header (RFC 9111 section 5.1).
    pub fn age(&self) -> Duration {
        self.0.age_then + self.0.stored_at.elapsed()
    }

    /// How long it is still fresh; zero when it is stale or was never fresh.
    pub fn fresh_for(&self) -> Duration {
        self.0.fresh_until.saturating_duration_since(Instant::now())
    }

    /// How long it has been stale; zero while it is fresh.
    pub fn stale_for(&self) -> Duration {
        Instant::now().saturating_duration_since(self.0.fresh_until)
    }

    /// What it is good for now, if it is no longer fresh: the most that it allows.
    pub fn stale_use(&self) -> Option<StaleUse> {
        let now = Instant::now();
        if now < self.0.while_renewed_until {
            Some(StaleUse::WhileRenewed)
        } else if now < self.0.if_failed_until {
            Some(StaleUse::IfFailed)
        } else {
            (now < self.0.kept_until).then_some(StaleUse::ToCompare)
        }
    }

    /// Whether it may be served now, the source having failed.
    pub fn may_stand_in(&self) -> bool {
        Instant::now() < self.0.if_failed_until
    }

    /// Whether both are the same entry.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<V> Clone for Held<V> {
    fn clone(&self) -> Self {
        Held(self.0.clone())
    }
}

impl<V> fmt::Debug for Held<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Held({} bytes, age {:?}, fresh for {:?})",
            self.0.weight,
            self.age(),
            self.fresh_for()
        )
    }
}
