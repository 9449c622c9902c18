//! Adding a duration to an instant, without an overflow: a user's `Duration::MAX` means no limit.

use std::time::{Duration, Instant};

/// Later than anything that waits: a century.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// `at + by`; a century after `at` where that is more than the clock can say, or later than that.
pub fn saturating_add(at: Instant, by: Duration) -> Instant {
    at + by.min(FAR)
}

/// [`saturating_add`] from now on.
pub fn after(by: Duration) -> Instant {
    saturating_add(Instant::now(), by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_duration_is_far_and_no_panic() {
        let now = Instant::now();
        let far = saturating_add(now, Duration::MAX);
        assert_eq!(far - now, FAR);
        // What is derived from it can be moved again, many times.
        let farther = (0..100).fold(far, |at, _| saturating_add(at, Duration::MAX));
        assert_eq!(farther - far, FAR * 100);
        assert_eq!(saturating_add(now, Duration::from_millis(5)) - now, Duration::from_millis(5));
    }
}
