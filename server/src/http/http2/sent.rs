//! What hyper sends, looked at as it passes: where a frame ends, and what h2 answers by itself.
//!
//! h2 answers a head that is larger than it takes with a 431, of which neither hyper nor the
//! application is told. It is known by its shape. It is the first HEADERS of its stream, and of a
//! stream that is newer than any that was answered, since h2 queues it as soon as it has read the
//! head; it ends its stream; and `:status` is all there is in it, where each answer of ours has a
//! date beside.

use crate::http::http2::frames::{END_STREAM, FRAME_HEAD_BYTES, HEADERS};

/// HPACK (RFC 7541 §6.2.1): a literal to be indexed, its name that of the static table's entry 8.
const LITERAL_STATUS: u8 = 0x48;

/// How far into a frame what was sent has come.
#[derive(Default)]
pub(crate) struct Sent {
    head: [u8; FRAME_HEAD_BYTES],
    head_bytes: usize,
    /// Bytes of the payload that are to come.
    left: usize,
    /// The newest stream that was answered.
    newest: u32,
}

impl Sent {
    /// Whether all that was begun is there.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.left == 0 && self.head_bytes == 0
    }

    /// Looks at what is sent next; how many answers of h2's own begin in it.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) -> u64 {
        let mut own = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let count = (FRAME_HEAD_BYTES - self.head_bytes).min(bytes.len());
            self.head[self.head_bytes..][..count].copy_from_slice(&bytes[..count]);
            self.head_bytes += count;
            bytes = &bytes[count..];
            if self.head_bytes == FRAME_HEAD_BYTES {
                self.head_bytes = 0;
                own += u64::from(self.begin_frame(bytes));
            }
        }
        own
    }

    /// The head of a frame is there, and what follows it in the same write; whether h2 says it.
    fn begin_frame(&mut self, rest: &[u8]) -> bool {
        let [a, b, c, kind, flags, stream @ ..] = self.head;
        self.left = u32::from_be_bytes([0, a, b, c]) as usize;
        if kind != HEADERS {
            return false;
        }
        let stream = u32::from_be_bytes(stream);
        let is_first = stream > self.newest;
        self.newest = self.newest.max(stream);
        let payload = &rest[..self.left.min(rest.len())];
        is_first && flags & END_STREAM != 0 && is_lone_status(payload)
    }
}

/// Whether a block is `:status` alone: of the table, or with a value that makes an entry of it.
fn is_lone_status(block: &[u8]) -> bool {
    match block {
        [index] => index & 0x80 != 0,
        [LITERAL_STATUS, length, value @ ..] => usize::from(length & 0x7f) == value.len(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::http2::frames::frame;

    #[test]
    fn answers_of_h2_are_told_from_others_in_any_pieces() {
        let sent = [
            frame(4, 0, 0, &[0, 3, 0, 0, 0, 3]),
            // A 200 that ends at once, with a date in the table.
            frame(HEADERS, 5, 1, &[0x88, 0xbe]),
            frame(HEADERS, 5, 3, &[0x48, 0x82, 0x68, 0x1f]),
            frame(HEADERS, 4, 5, &[0x88, 0xbe]),
            frame(0, 0, 5, b"body"),
            // A trailer that is in the table.
            frame(HEADERS, 5, 5, &[0xbf]),
            frame(HEADERS, 5, 7, &[0xc0]),
        ]
        .concat();
        let mut whole = Sent::default();
        assert_eq!(whole.pass(&sent), 2);
        for at in 0..sent.len() {
            let mut parts = Sent::default();
            parts.pass(&sent[..at]);
            parts.pass(&sent[at..]);
            assert_eq!((parts.left, parts.head_bytes, parts.newest), (0, 0, 7), "{at}");
        }
    }
}
