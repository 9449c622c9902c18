//! Raw loops that answer the bytes of `GET /` and do nothing else: what the kernel alone costs.
//!
//! A server's CPU per request is told as a ratio to the better of the two, measured in the same
//! minute on the same machine. They parse nothing but the end of a head and know one answer.

pub mod epoll;
pub mod uring;

use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime};

/// Finds the ends of heads (`\r\n\r\n`) in a stream that comes in pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadEnds {
    matched: usize,
}

impl HeadEnds {
    /// Heads that end in `bytes`.
    pub(crate) fn count(&mut self, bytes: &[u8]) -> usize {
        const END: &[u8] = b"\r\n\r\n";
        let mut ends = 0;
        for &byte in bytes {
            self.matched = match byte == END[self.matched] {
                true => self.matched + 1,
                false => usize::from(byte == b'\r'),
            };
            if self.matched == END.len() {
                self.matched = 0;
                ends += 1;
            }
        }
        ends
    }
}

/// The answer, its Date renewed once a second.
pub(crate) struct Answer {
    bytes: String,
    renewed: Instant,
}

impl Answer {
    pub(crate) fn new() -> Self {
        let mut answer = Answer { bytes: String::new(), renewed: Instant::now() };
        answer.renew();
        answer
    }

    /// Call it once a turn of the loop.
    pub(crate) fn keep_fresh(&mut self) {
        if self.renewed.elapsed() >= Duration::from_secs(1) {
            self.renew();
        }
    }

    pub(crate) fn append(&self, count: usize, out: &mut Vec<u8>) {
        for _ in 0..count {
            out.extend_from_slice(self.bytes.as_bytes());
        }
    }

    fn renew(&mut self) {
        self.renewed = Instant::now();
        self.bytes.clear();
        let date = httpdate::HttpDate::from(SystemTime::now());
        write!(
            self.bytes,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nDate: {date}\r\n\
             \r\nOK"
        )
        .expect("a String takes all");
    }
}

#[cfg(test)]
mod tests {
    use super::HeadEnds;

    #[test]
    fn heads_are_counted_however_the_bytes_are_split() {
        let text = b"GET / HTTP/1.1\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\r\n\r\n";
        for cut in 0..text.len() {
            let mut ends = HeadEnds::default();
            let (first, second) = text.split_at(cut);
            assert_eq!(ends.count(first) + ends.count(second), 2, "cut at {cut}");
        }
    }
}
