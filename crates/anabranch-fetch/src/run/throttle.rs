//! Bytes a second over all bodies together: who has read something waits until its share of time has passed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What may come at once after a pause.
const BURST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Throttle {
    per_second: u64,
    /// When all that was read so far is paid for.
    paid_at: Mutex<Instant>,
}

impl Throttle {
    pub(super) fn new(per_second: u64, now: Instant) -> Self {
        Throttle {
            per_second: per_second.max(1),
            paid_at: Mutex::new(now),
        }
    }

    /// Counts bytes that were read, and says until when to wait before reading more.
    pub(super) fn count(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let costs = Duration::from_secs_f64(bytes as f64 / self.per_second as f64);
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        *paid_at = (*paid_at).max(now) + costs;
        let free_at = paid_at.checked_sub(BURST)?;
        (free_at > now).then_some(free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_together_stay_below_the_rate() {
        let origin = Instant::now();
        let throttle = Throttle::new(1_000_000, origin);
        let mut now = origin;
        for _ in 0..100 {
            if let Some(until) = throttle.count(64_000, now) {
                now = until;
            }
        }
        let took = now.duration_since(origin).as_secs_f64();
        assert!((6.2..6.5).contains(&took), "6.4 MB took {took} s");
    }
}
