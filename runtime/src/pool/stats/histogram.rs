//! A histogram of durations with one writer: an update is a plain load and store.
//!
//! Log-linear, as HDR histograms are: eight steps to each doubling, so a quantile is too large by an
//! eighth at most, from a nanosecond to five centuries in 4 KB. The largest value is kept as it is,
//! and no quantile is above it. (`hdrhistogram` cannot be read while it is written, and takes some
//! fifty times the memory for a precision that nobody asks of a counter.)

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const STEP_BITS: u32 = 3;
const STEPS: u64 = 1 << STEP_BITS;
const BUCKETS: usize = (65 - STEP_BITS as usize) << STEP_BITS;

/// Counts by bucket, written by one thread.
pub(crate) struct Histogram {
    counts: Box<[AtomicU64; BUCKETS]>,
    /// In nanoseconds.
    max: AtomicU64,
}

/// A histogram's quantiles at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Values recorded.
    pub count: u64,
    /// Half of the values were at most this, which is too large by an eighth at most, as the next
    /// two are.
    pub p50: Duration,
    /// 99 of 100.
    pub p99: Duration,
    /// 999 of 1,000.
    pub p999: Duration,
    /// The largest of them, exactly.
    pub max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = Box::new([const { AtomicU64::new(0) }; BUCKETS]);
        Histogram { counts, max: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// By the one writer.
    pub(crate) fn record(&self, value: Duration) {
        let value = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        // Before it is counted; a reader between the two sees a maximum that is there already.
        if value > self.max.load(Ordering::Relaxed) {
            self.max.store(value, Ordering::Relaxed);
        }
        let count = &self.counts[bucket(value)];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// The quantiles of several histograms together.
    pub(crate) fn percentiles<'a>(of: impl Iterator<Item = &'a Histogram>) -> Percentiles {
        let (mut counts, mut max) = ([0; BUCKETS], 0);
        for histogram in of {
            max = max.max(histogram.max.load(Ordering::Relaxed));
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
            found.map_or(Duration::ZERO, |at| Duration::from_nanos(upper_bound(at).min(max)))
        };
        let max = Duration::from_nanos(if count > 0 { max } else { 0 });
        Percentiles { count, p50: at(500), p99: at(990), p999: at(999), max }
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
        assert_eq!(all.max, Duration::from_micros(1000));
        assert_eq!(Histogram::percentiles(std::iter::empty()), Percentiles::default());
    }

    #[test]
    fn the_largest_value_is_exact_and_no_quantile_is_above_it() {
        let histogram = Histogram::default();
        let of = || Histogram::percentiles(std::iter::once(&histogram));
        assert_eq!(of(), Percentiles::default());
        let largest = Duration::from_micros(5_000_082);
        histogram.record(largest);
        let Percentiles { count, p50, p99, p999, max } = of();
        assert_eq!((count, p50, p99, p999, max), (1, largest, largest, largest, largest));
        histogram.record(Duration::from_micros(1));
        assert_eq!(of().max, largest);
        histogram.record(Duration::MAX);
        assert_eq!(of().max, Duration::from_nanos(u64::MAX));
    }
}
