//! The limit on calls per second.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::Deadline;

/// The longest pause that [`Rate::pause_until`] accepts, whatever the source asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The burst where none is given: what the rate brings in this time.
const DEFAULT_BURST_SECONDS: f64 = 0.1;

/// Lets calls start at a steady rate, with a burst after quiet times.
///
/// A token bucket, kept as one number: the time at which the bucket would be full again (the generic cell rate algorithm,
/// ITU-T I.371). A call that has to wait reserves its token first, so those who wait start in the order in which they came,
/// one interval apart; their number is bounded by their deadlines, since a call that cannot start before its own is refused
/// at once.
pub struct Rate {
    /// The clock below counts nanoseconds from here.
    origin: Instant,
    bucket: Bucket,
}

/// The call cannot start before its deadline. This is our own refusal, not the source's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFast {
    /// How long until a call could start.
    pub wait: Duration,
}

impl Rate {
    /// A rate of so many calls per second, with a burst of `burst` calls after quiet times: at least one, by default what the
    /// rate brings in 100 ms.
    ///
    /// The rate is kept as an interval in whole nanoseconds, rounded up, and held between one call in 11 days and 10⁹ per
    /// second; a number without sense (zero, negative, NaN) means the slowest.
    pub fn per_second(rate: f64, burst: Option<u32>) -> Self {
        let rate = if rate >= 1e-6 { rate.min(1e9) } else { 1e-6 };
        let burst = burst.unwrap_or((rate * DEFAULT_BURST_SECONDS) as u32).max(1);
        let interval = (1e9 / rate).ceil() as u64;
        Rate {
            origin: Instant::now(),
            bucket: Bucket::new(interval, burst),
        }
    }

    /// Waits until the call may start. If that is not before `deadline`, refuses at once and takes no token.
    ///
    /// The timer has a resolution of a millisecond: a call may start so much late, which does not slow down the others.
    /// Dropping the future while it waits gives its token back if nobody has reserved one after it, and else the token is
    /// spent: the others keep their turns, and the source sees one call less.
    pub async fn acquire(&self, deadline: Deadline) -> Result<(), TooFast> {
        loop {
            let now = self.nanoseconds(Instant::now());
            let latest = self.nanoseconds(deadline.instant());
            let reserved = self.bucket.reserve(now, latest).map_err(|wait| TooFast {
                wait: Duration::from_nanos(wait),
            })?;
            if reserved.start <= now {
                return Ok(());
            }
            let unused = Unused {
                bucket: &self.bucket,
                full_at: reserved.full_at,
            };
            Deadline::at(self.origin + Duration::from_nanos(reserved.start)).wait().await;
            unused.spend();
            // A pause that began meanwhile holds for those who already waited as well. They queue up anew behind it, since
            // starting them all when it ends would be the burst that the source asked us not to send.
            if !self.bucket.is_paused(self.nanoseconds(Instant::now())) {
                return Ok(());
            }
        }
    }

    /// Lets no call start before `until`, because the source said so (`Retry-After`); a pause is never made shorter, and never
    /// reaches further than five minutes from now. After it calls start one by one; the burst has to be saved up again.
    pub fn pause_until(&self, until: Instant) {
        let until = until.min(Instant::now() + LONGEST_PAUSE);
        self.bucket.pause(self.nanoseconds(until));
    }

    /// The instant on our clock: zero before the origin, and a far future (585 years) means for ever.
    fn nanoseconds(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The bucket. Times are nanoseconds of a clock that the caller keeps.
struct Bucket {
    /// What one token takes to drip in.
    interval: u64,
    /// What all tokens but one take to drip in.
    tolerance: u64,
    /// When the bucket is full again if nobody takes a token until then.
    full_at: AtomicU64,
    /// The least that `full_at` counts as: what a pause has moved it to. Apart from it, so that a token given back cannot
    /// shorten a pause.
    floor: AtomicU64,
}

/// A token, from the time on when it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reserved {
    start: u64,
    /// What the reservation has moved the bucket's `full_at` to.
    full_at: u64,
}

impl Bucket {
    fn new(interval: u64, burst: u32) -> Self {
        let tolerance = interval.saturating_mul(u64::from(burst) - 1);
        Bucket {
            interval,
            tolerance,
            full_at: AtomicU64::new(0),
            floor: AtomicU64::new(0),
        }
    }

    /// Takes the next token, if it is there now or before `latest`; the error is how long until there is one.
    fn reserve(&self, now: u64, latest: u64) -> Result<Reserved, u64> {
        let mut stored = self.full_at.load(Relaxed);
        loop {
            let full_at = stored.max(self.floor.load(Relaxed)).max(now);
            let start = full_at.saturating_sub(self.tolerance).max(now);
            if start > now && start >= latest {
                return Err(start - now);
            }
            let reserved = Reserved {
                start,
                full_at: full_at.saturating_add(self.interval),
            };
            match self.full_at.compare_exchange_weak(stored, reserved.full_at, Relaxed, Relaxed) {
                Ok(_) => return Ok(reserved),
                Err(changed) => stored = changed,
            }
        }
    }

    /// Puts a token back, if it was the last one taken. With others behind it that would let two calls start at once.
    fn give_back(&self, full_at: u64) {
        let _ = self
            .full_at
            .compare_exchange(full_at, full_at.saturating_sub(self.interval), Relaxed, Relaxed);
    }

    /// Leaves one token at `until`, and none before.
    fn pause(&self, until: u64) {
        self.floor.fetch_max(until.saturating_add(self.tolerance), Relaxed);
    }

    fn is_paused(&self, now: u64) -> bool {
        self.floor.load(Relaxed).saturating_sub(self.tolerance) > now
    }
}

/// Gives a reserved token back if its call is dropped before it starts.
struct Unused<'a> {
    bucket: &'a Bucket,
    full_at: u64,
}

impl Unused<'_> {
    fn spend(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unused<'_> {
    fn drop(&mut self) {
        self.bucket.give_back(self.full_at);
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rate(one call in {:?})", Duration::from_nanos(self.bucket.interval))
    }
}

impl fmt::Display for TooFast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rate allows the next call in {:?}, after the deadline", self.wait)
    }
}

impl Error for TooFast {}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "calls that take time; the clock is paused")]
mod tests;
