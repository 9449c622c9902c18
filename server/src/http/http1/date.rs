//! The Date field's value, made anew once a second (RFC 9110 §6.6.1).

use std::cell::{Cell, RefCell};
use std::time::{Duration, UNIX_EPOCH};

/// `Tue, 24 Nov 2026 12:00:00 GMT`
pub(crate) const DATE_BYTES: usize = 29;

/// The current date in its one format, IMF-fixdate (RFC 9110 §5.6.7).
pub(crate) struct DateCache {
    second: Cell<u64>,
    text: RefCell<[u8; DATE_BYTES]>,
}

impl DateCache {
    pub(crate) fn new() -> Self {
        DateCache { second: Cell::new(u64::MAX), text: RefCell::new([b' '; DATE_BYTES]) }
    }

    /// The text for `unix_seconds`.
    pub(crate) fn at(&self, unix_seconds: u64) -> [u8; DATE_BYTES] {
        if self.second.replace(unix_seconds) != unix_seconds {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_seconds));
            if let Ok(text) = date.as_bytes().try_into() {
                *self.text.borrow_mut() = text;
            }
        }
        *self.text.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_second() {
        let cache = DateCache::new();
        assert_eq!(&cache.at(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&cache.at(784_111_778), b"Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
