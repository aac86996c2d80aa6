//! How long an upstream holds a reply back.

use fastrand::Rng;
use std::{f64::consts::TAU, time::Duration};

/// The 99th percentile of the standard normal distribution.
const NORMAL_P99: f64 = 2.326_347_874;

/// A log-normal latency never exceeds this multiple of its 99th percentile: one draw in millions must not stop a test for an hour.
const TAIL_MAX: f64 = 10.0;

/// Says how long a reply is held back, counted from the moment the whole request has arrived. The default does not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// Always the same.
    Fixed(Duration),
    /// Any time between two, all as likely.
    Uniform {
        /// The shortest.
        from: Duration,
        /// The longest.
        to: Duration,
    },
    /// What latencies of services look like: most near the median, a long tail, cut at ten times the 99th percentile.
    LogNormal {
        /// Half of the replies are faster.
        median: Duration,
        /// One in a hundred is slower; taken as the median where it is below it.
        p99: Duration,
    },
}

impl Default for Latency {
    fn default() -> Self {
        Self::Fixed(Duration::ZERO)
    }
}

impl Latency {
    /// Draws a latency.
    pub fn sample(&self, rng: &mut Rng) -> Duration {
        match *self {
            Self::Fixed(delay) => delay,
            Self::Uniform { from, to } => from + to.saturating_sub(from).mul_f64(rng.f64()),
            Self::LogNormal { median, .. } if median.is_zero() => Duration::ZERO,
            Self::LogNormal { median, p99 } => {
                let p99 = p99.max(median);
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / NORMAL_P99;
                let delay = median.as_secs_f64() * (sigma * standard_normal(rng)).exp();
                Duration::from_secs_f64(delay.min(p99.as_secs_f64() * TAIL_MAX))
            }
        }
    }
}

/// Draws from the standard normal distribution (Box and Muller, 1958).
fn standard_normal(rng: &mut Rng) -> f64 {
    // `f64` draws from [0, 1); the logarithm of 0 would be infinite.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(latency: Latency, seed: u64) -> Vec<Duration> {
        let mut rng = Rng::with_seed(seed);
        let mut drawn: Vec<Duration> = (0..10_000).map(|_| latency.sample(&mut rng)).collect();
        drawn.sort_unstable();
        drawn
    }

    #[test]
    fn a_uniform_latency_stays_within_its_ends_and_fills_them() {
        let (from, to) = (Duration::from_millis(100), Duration::from_millis(300));
        let drawn = sorted(Latency::Uniform { from, to }, 1);
        assert!(drawn[0] >= from && drawn[9_999] <= to);
        assert!(drawn[0] < Duration::from_millis(105) && drawn[9_999] > Duration::from_millis(295));
        // Ends the wrong way round give the first one, not a panic.
        assert_eq!(Latency::Uniform { from: to, to: from }.sample(&mut Rng::with_seed(1)), to);
    }

    #[test]
    fn a_log_normal_latency_has_its_median_and_99th_percentile() {
        let drawn = sorted(
            Latency::LogNormal {
                median: Duration::from_millis(20),
                p99: Duration::from_millis(200),
            },
            7,
        );
        let near = |found: Duration, wanted: f64, tolerance: f64| (found.as_secs_f64() * 1e3 - wanted).abs() < wanted * tolerance;
        assert!(near(drawn[5_000], 20.0, 0.05), "median {:?}", drawn[5_000]);
        assert!(near(drawn[9_900], 200.0, 0.20), "p99 {:?}", drawn[9_900]);
        assert!(drawn[9_999] <= Duration::from_secs(2));
        assert_eq!(
            Latency::LogNormal {
                median: Duration::ZERO,
                p99: Duration::from_secs(1)
            }
            .sample(&mut Rng::with_seed(1)),
            Duration::ZERO
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_latencies() {
        let latency = Latency::LogNormal {
            median: Duration::from_millis(20),
            p99: Duration::from_millis(200),
        };
        assert_eq!(sorted(latency, 3), sorted(latency, 3));
        assert_ne!(sorted(latency, 3), sorted(latency, 4));
    }
}
