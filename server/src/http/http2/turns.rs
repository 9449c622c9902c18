//! What of a connection's slowness is a stream's own.
//!
//! A stream has to take 64 KiB of its answer within the write time, as a connection of HTTP/1.1 has
//! to. But streams share their connection: where that is slow, each waits for the others, and for
//! what waits to be sent. So a stream whose time has passed gets it anew
//!
//! - while there is no room on the connection, which has its own time for that, or while answers go
//!   out on it, by 64 KiB within the write time;
//! - until the connection has sent twice as much as all that wait had to get: then its turn has
//!   come, and it has not taken it.

use std::cell::Cell;

use crate::http::http1::sending::PIECE_MAX_BYTES;

const PART_BYTES: u64 = PIECE_MAX_BYTES as u64;

/// What hyper has written on a connection.
#[derive(Default)]
pub(crate) struct Flow {
    /// Bytes in all.
    written: Cell<u64>,
    /// Those of answers' bodies.
    of_answers: Cell<u64>,
    /// Pieces that are out.
    out: Cell<u64>,
    /// There is no room for more.
    blocked: Cell<bool>,
}

/// How far an answer was when its time began.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    /// Parts of it that were taken.
    parts: u64,
    /// Of the connection: bytes in all, and those of answers' bodies, which count up to when its time
    /// began anew.
    written: u64,
    of_answers: u64,
}

impl Flow {
    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.set(self.written.get() + bytes as u64);
    }

    pub(crate) fn wrote_of_answer(&self, bytes: usize) {
        self.of_answers.set(self.of_answers.get() + bytes as u64);
    }

    pub(crate) fn give(&self) {
        self.out.set(self.out.get() + 1);
    }

    pub(crate) fn take_back(&self) {
        self.out.set(self.out.get() - 1);
    }

    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.blocked.set(blocked);
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }
}

/// The parts of an answer of which so many bytes were taken.
pub(crate) fn parts(taken: u64) -> u64 {
    taken / PART_BYTES
}

impl Turn {
    /// The turn of an answer that has come so far; `before` is the one that it had.
    pub(crate) fn of(parts: u64, before: Option<Turn>, flow: &Flow) -> Turn {
        let begun = Turn { parts, written: flow.written.get(), of_answers: flow.of_answers.get() };
        before.filter(|turn| turn.parts == parts).unwrap_or(begun)
    }

    /// The same, after its time has passed; None: it was its own fault.
    pub(crate) fn again(self, flow: &Flow) -> Option<Turn> {
        let has_passed = flow.written.get() - self.written >= 2 * PART_BYTES * flow.out.get();
        let of_answers = flow.of_answers.get();
        let is_moving = flow.is_blocked() || of_answers - self.of_answers >= PART_BYTES;
        (is_moving && !has_passed).then_some(Turn { of_answers, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection of so many streams that wait.
    fn flow(out: usize) -> Flow {
        let flow = Flow::default();
        (0..out).for_each(|_| flow.give());
        flow
    }

    #[test]
    fn a_trickle_is_no_progress() {
        let (one, many) = (flow(1), flow(100));
        for flow in [&one, &many] {
            let turn = Turn::of(parts(10), None, flow);
            flow.wrote(1000);
            flow.wrote_of_answer(1000);
            let turn = Turn::of(parts(1010), Some(turn), flow);
            assert!(turn.again(flow).is_none());
        }
        // Nor is what others are told that are no answers.
        let turn = Turn::of(0, None, &many);
        many.wrote(PIECE_MAX_BYTES);
        assert!(turn.again(&many).is_none());
    }

    #[test]
    fn a_part_begins_another_turn() {
        let flow = flow(1);
        let turn = Turn::of(parts(PART_BYTES - 1), None, &flow);
        flow.wrote(PIECE_MAX_BYTES);
        assert_eq!(Turn::of(parts(PART_BYTES - 1), Some(turn), &flow).written, 0);
        assert_eq!(Turn::of(parts(PART_BYTES), Some(turn), &flow).written, PART_BYTES);
    }

    #[test]
    fn a_stream_waits_for_the_others_until_its_turn_has_passed() {
        let flow = flow(4);
        let (mut turn, mut waited) = (Some(Turn::of(0, None, &flow)), 0);
        while let Some(waiting) = turn {
            flow.wrote(PIECE_MAX_BYTES);
            flow.wrote_of_answer(PIECE_MAX_BYTES);
            turn = waiting.again(&flow);
            waited += 1;
        }
        assert_eq!(waited, 8);
    }

    #[test]
    fn where_there_is_no_room_the_connections_time_counts() {
        let flow = flow(1);
        flow.set_blocked(true);
        let turn = Turn::of(0, None, &flow).again(&flow).expect("it is no fault of its own");
        // What is taken of a connection is not an answer, again and again.
        flow.wrote(2 * PIECE_MAX_BYTES);
        assert!(turn.again(&flow).is_none());
    }
}
