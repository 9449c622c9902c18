//! Where the frames of a WebSocket end (RFC 6455 §5.2), in the bytes that the application sends:
//! between two of them there is room for a close of ours, within one there is not.

/// The first byte of a close: FIN, and its opcode.
const CLOSE: u8 = 0x88;
/// A head has at most 14 bytes: two, a length of eight and a mask of four.
const HEAD_MAX_BYTES: usize = 14;

/// How far the frames have come.
#[derive(Default)]
pub(crate) struct Frames {
    head: [u8; HEAD_MAX_BYTES],
    /// Bytes of the head that have come.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: u64,
    has_closed: bool,
}

impl Frames {
    /// Whether a frame of ours may come next.
    pub(crate) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether the application has sent a close itself: nothing may follow it (§5.5.1).
    pub(crate) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Takes note of all these bytes.
    pub(crate) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.pass_frame(bytes)..];
        }
    }

    /// Takes note of bytes up to the end of the frame that they are of, or all; returns how many.
    pub(crate) fn pass_frame(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while self.left == 0 && at < bytes.len() {
            self.head[self.have] = bytes[at];
            self.have += 1;
            at += 1;
            if self.have >= 2 && self.have == self.head_bytes() {
                self.left = self.payload_bytes();
                self.has_closed |= self.head[0] == CLOSE;
                self.have = 0;
                if self.left == 0 {
                    return at;
                }
            }
        }
        let payload = self.left.min((bytes.len() - at) as u64);
        self.left -= payload;
        at + payload as usize
    }

    /// How long the head is, as its second byte says.
    fn head_bytes(&self) -> usize {
        let length = match self.head[1] & 0x7f {
            127 => 8,
            126 => 2,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn payload_bytes(&self) -> u64 {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        match self.head[1] & 0x7f {
            127 => number(&self.head[2..10]),
            126 => number(&self.head[2..4]),
            length => u64::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::hyper_upgrade::frames::Frames;

    fn frame(first: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..0x1_0000 => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + if masked { 4 } else { 0 } + length, 0x88);
        frame
    }

    /// All lengths' encodings, in pieces of all sizes: the ends are found and nothing else is.
    #[test]
    fn the_ends_of_frames_are_found_however_the_bytes_arrive() {
        let lengths = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 70_000];
        for masked in [false, true] {
            let frames: Vec<_> =
                lengths.iter().map(|length| frame(0x82, *length, masked)).collect();
            let mut ends = vec![0];
            for frame in &frames {
                ends.push(ends[ends.len() - 1] + frame.len());
            }
            let bytes = frames.concat();
            for size in [1, 2, 3, 7, 64, 1_000, 100_000, bytes.len()] {
                let (mut passed, mut at) = (Frames::default(), 0);
                for piece in bytes.chunks(size) {
                    let mut taken = 0;
                    while taken < piece.len() {
                        taken += passed.pass_frame(&piece[taken..]);
                        assert_eq!(passed.is_between(), ends.contains(&(at + taken)));
                    }
                    at += piece.len();
                }
                assert!(passed.is_between() && !passed.has_closed());
            }
        }
    }

    #[test]
    fn a_close_is_one_as_a_frame_and_not_within_one() {
        let mut frames = Frames::default();
        frames.pass(&frame(0x82, 300, false));
        assert!(!frames.has_closed());
        frames.pass(&frame(0x88, 2, false));
        assert!(frames.has_closed() && frames.is_between());
    }
}
