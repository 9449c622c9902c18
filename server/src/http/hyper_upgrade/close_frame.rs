//! At the drain: where, in what the application sends over a WebSocket, there is room for a close of
//! ours.

use crate::http::hyper_upgrade::end::LINE_BYTES;
use crate::http::hyper_upgrade::frames::Frames;

/// A close (RFC 6455 §5.5.1) of 1001, with the words that `websocket` has for it.
pub(crate) const GOING_AWAY: &[u8] = b"\x88\x17\x03\xe9the server shuts down";

/// What is known of the frames that were sent and received, and how many of the next still are.
pub(crate) struct CloseFrame {
    frames: Frames,
    /// The peer's.
    heard: Frames,
    /// In the drain, bytes that may still be sent: as many as the application may have written
    /// before it. One that never pauses is closed nevertheless.
    grace: usize,
}

impl Default for CloseFrame {
    fn default() -> Self {
        let (frames, heard) = Default::default();
        CloseFrame { frames, heard, grace: LINE_BYTES }
    }
}

impl CloseFrame {
    /// Takes note of bytes that are sent, all of them.
    pub(crate) fn pass(&mut self, bytes: &[u8]) -> usize {
        self.frames.pass(bytes);
        bytes.len()
    }

    /// Takes note of bytes that the peer has sent.
    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        self.heard.pass(bytes);
    }

    /// Whether the peer has sent a close, after which it sends nothing more.
    pub(crate) fn has_peer_closed(&self) -> bool {
        self.heard.has_closed()
    }

    /// In the drain: how many of these bytes are sent, with the frame to its end that the grace
    /// ends in. Where they are not all, our close comes behind them and the rest is dropped.
    pub(crate) fn admit(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() && !(self.grace == 0 && self.may_close()) {
            let count = self.frames.pass_frame(&bytes[at..]);
            self.grace = self.grace.saturating_sub(count);
            at += count;
        }
        at
    }

    /// Whether our close may be sent now: between two frames, unless the application has closed
    /// itself, since nothing may follow a close.
    pub(crate) fn may_close(&self) -> bool {
        self.frames.is_between() && !self.frames.has_closed()
    }
}

#[cfg(test)]
mod tests {
    use crate::http::hyper_upgrade::close_frame::{CloseFrame, GOING_AWAY, LINE_BYTES};

    /// A text of 10 bytes.
    const FRAME: &[u8] = b"\x81\x0a0123456789";

    #[test]
    fn the_close_is_a_frame_of_its_own_length_and_code() {
        assert_eq!(usize::from(GOING_AWAY[1]), GOING_AWAY.len() - 2);
        assert_eq!(u16::from_be_bytes([GOING_AWAY[2], GOING_AWAY[3]]), 1001);
    }

    #[test]
    fn a_frame_that_has_begun_is_sent_to_its_end() {
        let mut close_frame = CloseFrame::default();
        close_frame.pass(&FRAME[..5]);
        assert!(!close_frame.may_close());
        assert_eq!(close_frame.admit(&FRAME[5..]), FRAME.len() - 5);
        assert!(close_frame.may_close());
    }

    #[test]
    fn who_never_pauses_is_closed_when_the_grace_is_used_up() {
        let mut close_frame = CloseFrame::default();
        let (mut sent, piece) = (0, FRAME.repeat(100));
        loop {
            let admitted = close_frame.admit(&piece);
            sent += admitted;
            if admitted < piece.len() {
                break;
            }
        }
        assert!(close_frame.may_close() && sent % FRAME.len() == 0);
        assert!((LINE_BYTES..LINE_BYTES + FRAME.len()).contains(&sent));
    }

    #[test]
    fn after_a_close_of_its_own_all_is_left_to_the_application() {
        let mut close_frame = CloseFrame::default();
        close_frame.pass(b"\x88\x00");
        assert!(!close_frame.may_close());
        let piece = FRAME.repeat(LINE_BYTES / 10);
        assert_eq!(close_frame.admit(&piece), piece.len());
    }
}
