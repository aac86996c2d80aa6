//! How many connections a client keeps, over all its endpoints.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the connections on the shelves of a client's pools.
#[derive(Debug)]
pub(super) struct Census {
    kept: AtomicUsize,
    max: usize,
}

impl Census {
    pub(super) fn new(max: usize) -> Self {
        Census {
            kept: AtomicUsize::new(0),
            max,
        }
    }

    pub(super) fn add(&self, count: usize) {
        self.kept.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, count: usize) {
        self.kept.fetch_sub(count, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > self.max
    }

    /// How many should go: those above the limit, and an eighth of it so that not each exchange looks through all pools.
    pub(super) fn excess(&self) -> usize {
        let kept = self.kept.load(Ordering::Relaxed);
        if kept > self.max { kept - self.max + self.max / 8 } else { 0 }
    }
}
