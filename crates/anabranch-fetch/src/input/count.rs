//! How often a job came before in the input, in memory that grows by 4 bytes a job whatever the jobs are.
//!
//! A chain of Bloom filters for "has come", one for "has come twice", and so on; what comes more often than there are chains is
//! counted in a map, which then has few entries. A filter errs now and then and says that a job came that did not: of ten million different
//! jobs, about 900 were taken for repeats.
//! That does no harm: the number only has to be the same when the same input is read again, and nothing here is random.

use std::collections::HashMap;

use crate::store::Key;

/// Chains. A job that comes more often is in the map: at most one entry for 16 jobs.
const LEVELS: usize = 16;
/// Jobs that the first filter of a chain is for; each further one is for twice as many...
const FIRST: usize = 1 << 14;
/// ...up to this.
const LARGEST: usize = 1 << 21;
/// Bits for each job. With [`PROBES`] bits in one block of 512, a full filter errs about ten times in a million; a chain has several.
const BITS: usize = 32;
/// Bits that a job sets.
const PROBES: usize = 9;
/// Words of a block: 512 bits, a cache line, so that a question costs one access to memory.
const BLOCK: usize = 8;

/// Counts.
#[derive(Default)]
pub(super) struct Counter {
    levels: Vec<Chain>,
    often: HashMap<Key, u32>,
}

impl Counter {
    /// How often `key` was asked for before.
    pub(super) fn nth(&mut self, key: Key) -> u32 {
        for nth in 0..LEVELS {
            if self.levels.len() == nth {
                self.levels.push(Chain::default());
            }
            if self.levels[nth].insert(key) {
                return u32::try_from(nth).unwrap_or(u32::MAX);
            }
        }
        let more = self.often.entry(key).or_insert(LEVELS as u32 - 1);
        *more = more.saturating_add(1);
        *more
    }
}

/// A set that may say of a key that it has it when it has not.
#[derive(Default)]
struct Chain {
    filters: Vec<Filter>,
}

impl Chain {
    /// Whether the key is new.
    fn insert(&mut self, key: Key) -> bool {
        if self.filters.iter().any(|filter| filter.has(key)) {
            return false;
        }
        let is_full = self.filters.last().is_none_or(|last| last.jobs == last.room);
        if is_full {
            let room = self.filters.last().map_or(FIRST, |last| (last.room * 2).min(LARGEST));
            self.filters.push(Filter::new(room));
        }
        if let Some(last) = self.filters.last_mut() {
            last.insert(key);
        }
        true
    }
}

struct Filter {
    words: Box<[u64]>,
    jobs: usize,
    room: usize,
}

impl Filter {
    fn new(room: usize) -> Self {
        Filter {
            words: vec![0; room * BITS / 64].into(),
            jobs: 0,
            room,
        }
    }

    fn has(&self, key: Key) -> bool {
        let block = self.block(key);
        probes(key).all(|bit| self.words[block + bit / 64] & (1 << (bit % 64)) != 0)
    }

    fn insert(&mut self, key: Key) {
        let block = self.block(key);
        for bit in probes(key) {
            self.words[block + bit / 64] |= 1 << (bit % 64);
        }
        self.jobs += 1;
    }

    /// The first word of the key's block, by its last 32 bits.
    fn block(&self, key: Key) -> usize {
        let [.., a, b, c, d] = key.0;
        let blocks = self.words.len() / BLOCK;
        u32::from_be_bytes([a, b, c, d]) as usize % blocks * BLOCK
    }
}

/// Places in the key's block: 9 bits each, of its first 96.
fn probes(key: Key) -> impl Iterator<Item = usize> {
    let bits = u128::from_be_bytes(key.0);
    (0..PROBES).map(move |probe| (bits >> (128 - 9 * (probe + 1))) as usize & 511)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        Key::of_text(&format!("job {number}"))
    }

    #[test]
    fn what_comes_again_is_counted_beyond_the_chains_too() {
        let mut counter = Counter::default();
        for nth in 0..40 {
            assert_eq!(counter.nth(key(1)), nth);
        }
        assert_eq!(counter.nth(key(2)), 0);
        assert_eq!(counter.nth(key(1)), 40);
    }

    #[test]
    fn many_different_jobs_are_hardly_ever_taken_for_one_that_came() {
        let mut counter = Counter::default();
        let wrong = (0..100_000).filter(|&number| counter.nth(key(number)) != 0).count();
        assert!(wrong <= 5, "{wrong} of 100,000");
        let right = (0..100_000).filter(|&number| counter.nth(key(number)) >= 1).count();
        assert_eq!(right, 100_000);
    }

    #[test]
    fn the_same_input_gives_the_same_numbers() {
        let numbers = || {
            let mut counter = Counter::default();
            (0..50_000_u64)
                .map(|number| counter.nth(key(number * 7 % 20_000)))
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(), numbers());
    }
}
