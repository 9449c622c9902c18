//! Medians and pairs: what can be said of numbers from a machine that others use too.
//! `bench/peers` compiles this file too.

/// The middle value; the mean of the two middle ones where there are two.
///
/// # Panics
/// Without values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

/// Ratios of values that were measured side by side, by their median and ends.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The middle of the pairs' ratios.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Ratio {
    /// Of `values` to `base`, pair by pair.
    pub fn of(values: &[f64], base: &[f64]) -> Self {
        let ratios: Vec<_> = values.iter().zip(base).map(|(value, base)| value / base).collect();
        Ratio {
            median: median(&ratios),
            min: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            max: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_of_pairs_not_of_sums() {
        let ratio = Ratio::of(&[2.0, 30.0, 400.0], &[1.0, 10.0, 400.0]);
        assert_eq!((ratio.min, ratio.median, ratio.max), (1.0, 2.0, 3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
