//! How long an answer is kept, and for what: fresh, then stale in one of three uses, then gone.

use std::time::Duration;

/// Longer than any process keeps an answer in memory; keeps sums of instants within what every system can hold.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// A failure is remembered no longer than this: it protects a failing source from a crowd, it must not prolong the failure.
pub(super) const FAILURE_MAX: Duration = Duration::from_secs(1);

/// Lifetimes shrink, or grow where that is allowed, by up to this share, so that what was stored together does not expire together.
const JITTER: f64 = 0.1;

/// The times that a call sets for its answers: `cache: 1m` and `stale: 1h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How long an answer is fresh; zero: the source is always asked.
    pub fresh: Duration,
    /// How long after that it may still be served when the source fails, and, where `fresh` is not zero, while it is being renewed.
    pub stale: Duration,
}

impl Times {
    /// How long a failure is remembered under these times: never longer than a success would be, and at most a second.
    pub fn failure(self) -> Duration {
        self.fresh.min(FAILURE_MAX)
    }
}

/// What may be done with an answer for how long. The stale times all begin where `fresh` ends; [`Keep::default`] keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// How old the answer was when it came, for answers out of somebody else's cache.
    pub age: Duration,
    /// How long from now it stands for what the source would say.
    pub fresh: Duration,
    /// How long it may then be served at once while it is renewed (RFC 5861 `stale-while-revalidate`).
    pub while_renewed: Duration,
    /// How long it may then be served when the source failed (RFC 5861 `stale-if-error`).
    pub if_failed: Duration,
    /// How long it may then be used to ask the source whether it has changed, and for nothing else (RFC 9111 section 4.3).
    pub to_compare: Duration,
    /// Which way `fresh` is varied.
    pub jitter: Jitter,
}

/// Which way a fresh time of T is varied. Stale times are promises of a longest age: they are only ever shortened, by up to 10 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// 0.9 T to 1.1 T: for times that we chose.
    #[default]
    Around,
    /// 0.9 T to T: for times that the source set, which must not be exceeded.
    Below,
}

impl From<Times> for Keep {
    fn from(times: Times) -> Keep {
        let while_renewed = if times.fresh.is_zero() { Duration::ZERO } else { times.stale };
        Keep {
            fresh: times.fresh,
            while_renewed,
            if_failed: times.stale,
            ..Keep::default()
        }
    }
}

/// Offsets from the moment of storing at which an answer changes what it is good for. Each is at least `fresh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) fresh: Duration,
    pub(super) while_renewed: Duration,
    pub(super) if_failed: Duration,
    /// The last of all.
    pub(super) kept: Duration,
}

impl Keep {
    /// Whether there is no use for it at all.
    pub fn is_nothing(&self) -> bool {
        [self.fresh, self.while_renewed, self.if_failed, self.to_compare]
            .iter()
            .all(Duration::is_zero)
    }

    /// The ends of its times, varied by a number from 0 up to 1; `None` leaves them as they are.
    pub(super) fn ends(&self, varied: Option<f64>) -> Ends {
        let (growth, shrinkage) = match (varied, self.jitter) {
            (None, _) => (1.0, 1.0),
            (Some(share), Jitter::Around) => (1.0 - JITTER + 2.0 * JITTER * share, 1.0 - JITTER * share),
            (Some(share), Jitter::Below) => (1.0 - JITTER * share, 1.0 - JITTER * share),
        };
        let nominal = self.fresh.min(LONGEST);
        let fresh = nominal.mul_f64(growth);
        // A stale time of zero ends with the fresh time as it came out; any other is counted from the fresh time as it was set,
        // so that no answer is served at an age beyond the sum that was asked for.
        let end = |stale: Duration| {
            if stale.is_zero() {
                fresh
            } else {
                fresh.max(nominal + stale.min(LONGEST).mul_f64(shrinkage))
            }
        };
        let (while_renewed, if_failed) = (end(self.while_renewed), end(self.if_failed));
        Ends {
            fresh,
            while_renewed,
            if_failed,
            kept: while_renewed.max(if_failed).max(end(self.to_compare)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn stale_without_fresh_serves_only_when_the_source_fails() {
        let keep = Keep::from(Times {
            fresh: Duration::ZERO,
            stale: HOUR,
        });
        assert_eq!((keep.while_renewed, keep.if_failed), (Duration::ZERO, HOUR));
        let keep = Keep::from(Times {
            fresh: MINUTE,
            stale: HOUR,
        });
        assert_eq!((keep.while_renewed, keep.if_failed), (HOUR, HOUR));
    }

    #[test]
    fn a_failure_is_remembered_no_longer_than_a_success_and_at_most_a_second() {
        assert_eq!(
            Times {
                fresh: MINUTE,
                stale: HOUR
            }
            .failure(),
            Duration::from_secs(1)
        );
        assert_eq!(
            Times {
                fresh: MINUTE / 600,
                stale: HOUR
            }
            .failure(),
            MINUTE / 600
        );
        assert_eq!(
            Times {
                fresh: Duration::ZERO,
                stale: HOUR
            }
            .failure(),
            Duration::ZERO
        );
    }

    #[test]
    fn nothing_is_kept_beyond_the_largest_of_what_was_asked() {
        let keep = Keep {
            fresh: Duration::MAX,
            if_failed: Duration::MAX,
            ..Keep::default()
        };
        assert!(keep.ends(Some(0.99)).kept <= LONGEST.mul_f64(2.1), "no overflow either");
        assert!(Keep::default().is_nothing());
        assert!(
            !Keep {
                to_compare: MINUTE,
                ..Keep::default()
            }
            .is_nothing()
        );
    }

    proptest! {
        #[test]
        fn varied_times_stay_within_a_tenth_and_stale_ones_are_never_longer(
            fresh in 0_u64..100_000, renewed in 0_u64..100_000, failed in 0_u64..100_000, share in 0.0..1.0_f64, below in any::<bool>(),
        ) {
            let ms = Duration::from_millis;
            let jitter = if below { Jitter::Below } else { Jitter::Around };
            let keep = Keep { fresh: ms(fresh), while_renewed: ms(renewed), if_failed: ms(failed), jitter, ..Keep::default() };
            let ends = keep.ends(Some(share));
            let most = if below { 1.0 } else { 1.1 };
            prop_assert!(ends.fresh >= ms(fresh).mul_f64(0.9 - 1e-9) && ends.fresh <= ms(fresh).mul_f64(most + 1e-9));
            for (end, stale) in [(ends.while_renewed, renewed), (ends.if_failed, failed)] {
                let longest = ms(fresh + stale);
                prop_assert!(end == ends.fresh || end <= longest);
                prop_assert!(end >= ends.fresh && ends.kept >= end);
                prop_assert!(stale == 0 || end >= (ms(fresh) + ms(stale).mul_f64(0.9 - 1e-9)));
            }
            prop_assert_eq!(keep.ends(None).if_failed, ms(fresh + failed));
        }
    }
}
