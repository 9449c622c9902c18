//! A histogram of durations with one writer: an update is a plain load and store.
//!
//! Log-linear, as HDR histograms are: eight steps to each doubling, so a value is off by an eighth
//! at most, from a nanosecond to five centuries in 4 KB.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const STEP_BITS: u32 = 3;
const STEPS: u64 = 1 << STEP_BITS;
const BUCKETS: usize = (65 - STEP_BITS as usize) << STEP_BITS;

/// Counts by bucket, written by one thread.
pub(super) struct Histogram {
    counts: Box<[AtomicU64; BUCKETS]>,
}

/// A histogram's quantiles at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Values recorded.
    pub count: u64,
    /// Half of the values were at most this.
    pub p50: Duration,
    /// 99 of 100.
    pub p99: Duration,
    /// 999 of 1,000.
    pub p999: Duration,
    /// All of them.
    pub max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { counts: Box::new([const { AtomicU64::new(0) }; BUCKETS]) }
    }
}

impl Histogram {
    /// By the one writer.
    pub(super) fn record(&self, value: Duration) {
        let count = &self.counts[bucket(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The quantiles of several histograms together.
    pub(super) fn percentiles<'a>(of: impl Iterator<Item = &'a Histogram>) -> Percentiles {
        let mut counts = [0; BUCKETS];
        for histogram in of {
            for (sum, count) in counts.iter_mut().zip(histogram.counts.iter()) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        let count: u64 = counts.iter().sum();
        let at = |thousandths: u64| {
            let rank = (count * thousandths).div_ceil(1000);
            let mut below = 0;
            let found = counts.iter().position(|here| {
                below += here;
                rank > 0 && below >= rank
            });
            found.map_or(Duration::ZERO, |bucket| Duration::from_nanos(upper_bound(bucket)))
        };
        Percentiles { count, p50: at(500), p99: at(990), p999: at(999), max: at(1000) }
    }
}

fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros();
    let step = (value >> (exponent - STEP_BITS)) % STEPS;
    ((u64::from(exponent - STEP_BITS + 1) << STEP_BITS) + step) as usize
}

/// The largest value of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let (group, step) = (bucket as u64 >> STEP_BITS, bucket as u64 % STEPS);
    match group {
        0 => step,
        group => ((STEPS + step + 1) as u128 * (1u128 << (group - 1)) - 1) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket_and_is_off_by_an_eighth_at_most() {
        for value in (0..2_000).chain((0..64).flat_map(|bit| [1 << bit, (1 << bit) + 1])) {
            let upper = upper_bound(bucket(value));
            assert!(upper >= value && upper - value <= value / 8, "{value}: {upper}");
        }
        assert_eq!(upper_bound(bucket(u64::MAX)), u64::MAX);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_of_several_are_those_of_all_their_values() {
        let (one, other) = (Histogram::default(), Histogram::default());
        for value in 1..=500 {
            one.record(Duration::from_micros(value));
            other.record(Duration::from_micros(value + 500));
        }
        let all = Histogram::percentiles([&one, &other].into_iter());
        let near = |found: Duration, micros: u64| {
            let wanted = Duration::from_micros(micros);
            assert!(found >= wanted && found <= wanted * 9 / 8, "{found:?} for {wanted:?}");
        };
        assert_eq!(all.count, 1000);
        near(all.p50, 500);
        near(all.p99, 990);
        near(all.max, 1000);
        assert_eq!(Histogram::percentiles(std::iter::empty()), Percentiles::default());
    }
}
