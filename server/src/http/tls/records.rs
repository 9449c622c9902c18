//! Where the records of a stream end (RFC 8446 §5.1): five bytes of header, the last two of which
//! are the length of what follows.

const HEADER_BYTES: usize = 5;

/// How far a stream of records has come.
#[derive(Default)]
pub(crate) struct Records {
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// Bytes of the current record that are to come.
    left: usize,
}

impl Records {
    /// Takes note of bytes that arrived.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let count = self.left.min(bytes.len());
                self.left -= count;
                bytes = &bytes[count..];
                continue;
            }
            self.header[self.header_len] = *first;
            self.header_len += 1;
            if self.header_len == HEADER_BYTES {
                self.left = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
                self.header_len = 0;
            }
            bytes = rest;
        }
    }

    /// Whether no record has begun that has not ended.
    pub(crate) fn are_whole(&self) -> bool {
        self.header_len == 0 && self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_whole_at_their_ends_and_nowhere_else() {
        let stream = [&[23, 3, 3, 0, 2, 9, 9][..], &[21, 3, 3, 0, 0], &[23, 3, 3, 1, 0]].concat();
        let stream = [stream, vec![7; 256]].concat();
        let ends = [7, 12, 12 + 5 + 256];
        for step in [1, 2, 3, 5, 300] {
            let (mut records, mut passed) = (Records::default(), 0);
            assert!(records.are_whole());
            for bytes in stream.chunks(step) {
                records.pass(bytes);
                passed += bytes.len();
                assert_eq!(records.are_whole(), ends.contains(&passed), "{step} {passed}");
            }
        }
    }
}
