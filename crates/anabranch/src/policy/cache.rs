//! Answers kept in memory: which are fresh, which are stale but still of use, and which failures are too young to ask again.
//!
//! One cache serves the whole process and is bounded by bytes. quick_cache decides what stays (a CLOCK-PRO that survives scans);
//! freshness is ours: an entry carries the instants at which it changes what it is good for, and an entry that is good for nothing
//! goes when it is next asked for, or when its place is wanted. What a lifetime is comes from [`Keep`]; for HTTP from [`Freshness`].

mod key;
mod keep;
mod item;
mod directives;
mod freshness;
mod vary;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use quick_cache::sync::{Cache as Table, DefaultLifecycle};
use quick_cache::{Options, OptionsBuilder, UnitWeighter, Weighter};
use tokio::time::Instant;

use crate::{CallError, Kind};

pub use key::{CacheKey, KeyParts};
pub(crate) use key::HashedAlready;
pub use keep::{Jitter, Keep, Times};
pub use item::{Held, Item, StaleUse};
use item::Entry;
pub use freshness::{Asked, Freshness, NotStored, Reader};
pub use vary::{Vary, VaryIndex};

/// What an entry takes besides the bytes of its answer: the entry, its places in the table, and the allocator's share.
const OVERHEAD: u64 = 256;

/// A part of the table with a lock of its own holds at least this much, so that large answers find room in one.
const SHARD_BYTES: u64 = 16 << 20;

/// More locks than this bring nothing on the machines we know.
const SHARDS_MAX: u64 = 16;

/// A guess at the size of an answer, from which the table's own bookkeeping is sized; a wrong one costs some hit rate.
const USUAL_ANSWER: u64 = 4 << 10;

/// Failures remembered at once. They live for a second at most, so this is a rate of distinct failing calls.
const FAILURES_MAX: usize = 1024;

/// Answers by key, shared by all clones. `V` is handed out by reference and should be cheap to clone.
pub struct Cache<V>(Arc<Shared<V>>);

struct Shared<V> {
    answers: Table<CacheKey, Arc<Entry<V>>, ByWeight, HashedAlready>,
    failures: Table<CacheKey, Failure, UnitWeighter, HashedAlready>,
    /// Answers that weigh more are not kept.
    heaviest: u64,
    /// Whether lifetimes are varied.
    varies: bool,
    /// How often something was purged; see [`Ticket`].
    purges: AtomicU64,
    hits: AtomicU64,
    stale: AtomicU64,
    misses: AtomicU64,
}

#[derive(Clone)]
struct Failure {
    error: CallError,
    until: Instant,
}

#[derive(Clone)]
struct ByWeight;

impl<V> Weighter<CacheKey, Arc<Entry<V>>> for ByWeight {
    fn weight(&self, _key: &CacheKey, entry: &Arc<Entry<V>>) -> u64 {
        entry.weight
    }
}

/// What is known under a key.
#[derive(Debug)]
pub enum Lookup<V> {
    /// An answer that stands for what the source would say.
    Fresh(Held<V>),
    /// An answer past that; [`Held::stale_use`] says what for.
    Stale(Held<V>),
    /// Nothing.
    Miss,
}

/// The moment before a source was asked. What comes back is not kept if anything was purged since: it may be what the purge was for.
#[derive(Clone, Copy, Debug)]
pub struct Ticket(u64);

/// What a cache has done and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Look-ups that found a fresh answer.
    pub hits: u64,
    /// Look-ups that found a stale one.
    pub stale: u64,
    /// Look-ups that found nothing.
    pub misses: u64,
    /// Answers held now, those included that have expired and whose place nobody wanted yet.
    pub entries: usize,
    /// What they weigh.
    pub bytes: u64,
    /// What they may weigh.
    pub bytes_max: u64,
}

impl<V> Cache<V> {
    /// A cache of answers that together weigh at most this many bytes. A single answer may weigh up to half of what one part of
    /// the table holds: half of the whole up to 32 MiB, then 8 MiB or more.
    pub fn new(bytes: u64) -> Self {
        Cache::build(bytes, true)
    }

    /// The same, with lifetimes exactly as they are set: for tests that compare them with a clock.
    pub fn without_jitter(bytes: u64) -> Self {
        Cache::build(bytes, false)
    }

    fn build(bytes: u64, varies: bool) -> Self {
        let answers: Table<CacheKey, Arc<Entry<V>>, _, _> =
            Table::with_options(options(bytes), ByWeight, HashedAlready, DefaultLifecycle::default());
        let failures = Table::with(
            FAILURES_MAX,
            FAILURES_MAX as u64,
            UnitWeighter,
            HashedAlready,
            DefaultLifecycle::default(),
        );
        let heaviest = answers.shard_capacity() / 2;
        let (purges, hits, stale, misses) = Default::default();
        Cache(Arc::new(Shared {
            answers,
            failures,
            heaviest,
            varies,
            purges,
            hits,
            stale,
            misses,
        }))
    }

    /// Looks the key up and counts what was found. An answer that is good for nothing any more is removed and counts as a miss.
    pub fn get(&self, key: &CacheKey) -> Lookup<V> {
        let found = self.sort(key, self.0.answers.get(key));
        let count = match &found {
            Lookup::Fresh(_) => &self.0.hits,
            Lookup::Stale(_) => &self.0.stale,
            Lookup::Miss => &self.0.misses,
        };
        count.fetch_add(1, Relaxed);
        found
    }

    /// The same without counting, and without any effect on what stays.
    pub fn peek(&self, key: &CacheKey) -> Lookup<V> {
        self.sort(key, self.0.answers.peek(key))
    }

    fn sort(&self, key: &CacheKey, found: Option<Arc<Entry<V>>>) -> Lookup<V> {
        let Some(entry) = found else { return Lookup::Miss };
        let now = Instant::now();
        if now < entry.fresh_until {
            Lookup::Fresh(Held::new(entry))
        } else if now < entry.kept_until {
            Lookup::Stale(Held::new(entry))
        } else {
            self.remove_entry(key, &entry);
            Lookup::Miss
        }
    }

    /// Taken before a source is asked, for [`put`](Cache::put).
    pub fn ticket(&self) -> Ticket {
        Ticket(self.0.purges.load(SeqCst))
    }

    /// Keeps an answer in place of the one before, under its own key or else the one it was asked under, and forgets that one's
    /// failure. An answer that is to be kept for nothing, is heavier than allowed, or was asked for before a purge removes the one
    /// before, since it is newer, and is not kept itself. Either way the answer comes back as if it had been looked up.
    pub fn put(&self, ticket: Ticket, asked_under: CacheKey, item: Item<V>) -> Held<V> {
        let shared = &*self.0;
        let key = item.key.unwrap_or(asked_under);
        let varied = shared.varies.then(fastrand::f64);
        let weight = item.weight.saturating_add(OVERHEAD).saturating_add(item.label.len() as u64);
        let is_kept = !item.keep.is_nothing() && weight <= shared.heaviest;
        let entry = Arc::new(Entry::new(item, weight, Instant::now(), varied));
        shared.failures.remove(&asked_under);
        if !is_kept {
            shared.answers.remove(&key);
            return Held::new(entry);
        }
        shared.answers.insert(key, entry.clone());
        // After the insertion: a purge that came before is seen here, one that comes later finds the entry in the table.
        if shared.purges.load(SeqCst) != ticket.0 {
            self.remove_entry(&key, &entry);
        }
        Held::new(entry)
    }

    /// The failure that this key is remembered for.
    pub fn failure(&self, key: &CacheKey) -> Option<CallError> {
        let failure = self.0.failures.get(key)?;
        (Instant::now() < failure.until).then_some(failure.error)
    }

    /// Remembers that the source failed, for no longer than a second. An answer under the same key stays.
    ///
    /// Only what the source did is remembered: that our own limits, breaker or compute pool refused a call, that it was cancelled
    /// or that our code panicked, says nothing about the next one.
    pub fn put_failure(&self, key: CacheKey, error: &CallError, keep: Duration) {
        let is_ours = error.kind().is_local() || matches!(error.kind(), Kind::Cancelled | Kind::Panic | Kind::Value | Kind::TooMany);
        if !is_ours && !keep.is_zero() {
            let until = Instant::now() + keep.min(keep::FAILURE_MAX);
            self.0.failures.insert(
                key,
                Failure {
                    error: error.clone(),
                    until,
                },
            );
        }
    }

    /// Removes one answer; whether there was one. One that is on its way will be kept all the same: that takes a purge.
    pub fn remove(&self, key: &CacheKey) -> bool {
        self.0.answers.remove(key).is_some()
    }

    /// Removes all answers whose label starts with this, all of them for the empty one, and says how many. All remembered failures
    /// go too, and answers that are on their way are not kept. Goes through the whole table: for people, not for every request.
    pub fn purge(&self, label_prefix: &str) -> usize {
        self.purge_where(|label| label.starts_with(label_prefix))
    }

    /// The same for all answers whose label is chosen.
    pub fn purge_where(&self, is_chosen: impl Fn(&str) -> bool) -> usize {
        self.0.purges.fetch_add(1, SeqCst);
        let removed = Cell::new(0);
        self.0.answers.retain(|_key, entry| {
            let stays = !is_chosen(&entry.label);
            removed.set(removed.get() + usize::from(!stays));
            stays
        });
        self.0.failures.clear();
        removed.get()
    }

    /// What it has done and holds.
    pub fn counts(&self) -> Counts {
        let shared = &*self.0;
        Counts {
            hits: shared.hits.load(Relaxed),
            stale: shared.stale.load(Relaxed),
            misses: shared.misses.load(Relaxed),
            entries: shared.answers.len(),
            bytes: shared.answers.weight(),
            bytes_max: shared.answers.capacity(),
        }
    }

    /// Removes this entry, not one that has taken its place.
    fn remove_entry(&self, key: &CacheKey, entry: &Arc<Entry<V>>) {
        self.0.answers.remove_if(key, |current| Arc::ptr_eq(current, entry));
    }
}

/// Few parts for a small cache, a power of two of them, and a capacity that divides into them without rounding up.
fn options(bytes: u64) -> Options {
    let shards = (bytes / SHARD_BYTES).clamp(1, SHARDS_MAX);
    let shards = 1 << shards.ilog2();
    // quick_cache takes fewer parts when each would hold less than 32 entries.
    let entries = (bytes / USUAL_ANSWER).max(shards * 32);
    let mut options = OptionsBuilder::new();
    options
        .shards(shards as usize)
        .weight_capacity(bytes - bytes % shards)
        .estimated_items_capacity(usize::try_from(entries).unwrap_or(usize::MAX));
    options.build().expect("both capacities are set")
}

impl<V> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Cache(self.0.clone())
    }
}

impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({:?})", self.counts())
    }
}

#[cfg(test)]
mod tests;
