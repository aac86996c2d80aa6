//! How long jobs took: quantiles from buckets that are at most an eighth wide, in 4 KiB however many jobs there are.

use std::time::Duration;

/// Buckets in each doubling.
const PARTS: usize = 8;
/// Doublings from a microsecond on: up to 2^56 of them, two thousand years.
const DOUBLINGS: usize = 56;

#[derive(Clone, Debug)]
pub(super) struct Latencies {
    counts: Box<[u64]>,
    total: u64,
}

impl Latencies {
    pub(super) fn new() -> Self {
        Latencies {
            counts: vec![0; PARTS * DOUBLINGS].into(),
            total: 0,
        }
    }

    pub(super) fn add(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
        self.total += 1;
    }

    /// The time in which this share of all were done, in milliseconds: the upper end of its bucket.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end_ms(index);
            }
        }
        0.0
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let doubling = micros.ilog2() as usize;
    let part = match doubling {
        0..=2 => ((micros << 3 >> doubling) & 7) as usize,
        _ => ((micros >> (doubling - 3)) & 7) as usize,
    };
    (doubling * PARTS + part).min(PARTS * DOUBLINGS - 1)
}

fn upper_end_ms(index: usize) -> f64 {
    let start = 2_f64.powi((index / PARTS) as i32);
    start * (1.0 + (index % PARTS + 1) as f64 / PARTS as f64) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(Latencies::new().quantile_ms(0.5), 0.0);
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_an_eighth_too_high(mut micros in prop::collection::vec(1_u64..100_000_000, 1..200), share in 0.01_f64..1.0) {
            let mut latencies = Latencies::new();
            micros.iter().for_each(|micros| latencies.add(Duration::from_micros(*micros)));
            micros.sort_unstable();
            let rank = ((micros.len() as f64 * share).ceil() as usize).max(1) - 1;
            let exact = micros[rank] as f64 / 1000.0;
            let found = latencies.quantile_ms(share);
            prop_assert!(found >= exact && found <= exact * 1.2501 + 0.001, "{found} for {exact}");
        }
    }
}
