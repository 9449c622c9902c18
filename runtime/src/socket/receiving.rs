//! How far the receive of a connection has come: armed, stopped, over.
//!
//! A receive is over when its last completion was read, or when its cancellation says so: from then
//! on its own completion may come late, and may never come (Linux 6.18 loses about one in 2,000
//! where the peer resets while it runs). Such a receive is given up: it uses the ring's own buffers
//! only, and what comes late is told by its number.

/// How often a cancellation that found no receive is repeated: by then the receive has ended.
const CANCELS_MISSED_MAX: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReceiveState {
    Armed,
    /// Its cancellation is on its way; bytes may still arrive.
    Stopping,
    /// No receive is armed.
    Idle,
    /// The peer's end was read, or an error ended it.
    Ended,
}

/// The receives of one connection, of which one at most is not over.
#[derive(Debug)]
pub(super) struct Receiving {
    state: ReceiveState,
    /// The number of the latest: the end of an earlier one may still be on its way.
    number: u8,
    /// Cancellations of it that found nothing.
    missed: u8,
}

/// What the end of a cancellation comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cancelled {
    /// Nothing: the receive was over before, or goes on because it is wanted again.
    Nothing,
    /// It may have met a receive that is between two of its states: cancel once more.
    Again,
    /// The receive is given up; its last completion may come late, or not at all.
    GivenUp,
    /// The same, for one that was not found: it may go on.
    Missed,
}

impl Receiving {
    /// With the first receive armed; its number is 0.
    pub(super) fn begun() -> Self {
        Receiving { state: ReceiveState::Armed, number: 0, missed: 0 }
    }

    /// Whether none is armed, because it was stopped or for good.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, ReceiveState::Idle | ReceiveState::Ended)
    }

    /// Whether there is nothing more to receive.
    pub(super) fn has_ended(&self) -> bool {
        self.state == ReceiveState::Ended
    }

    /// Whether it is the latest receive that has this number.
    pub(super) fn is_latest(&self, number: u8) -> bool {
        number == self.number
    }

    /// The number of the receive to arm, where none is armed and another may be.
    pub(super) fn arm(&mut self) -> Option<u8> {
        (self.state == ReceiveState::Idle).then(|| {
            self.state = ReceiveState::Armed;
            self.number = self.number.wrapping_add(1);
            self.number
        })
    }

    /// The number of the receive to cancel, if one is armed.
    pub(super) fn stop(&mut self) -> Option<u8> {
        (self.state == ReceiveState::Armed).then(|| {
            (self.state, self.missed) = (ReceiveState::Stopping, 0);
            self.number
        })
    }

    /// The last completion of a receive was read; false: it comes late, of one that was given up.
    pub(super) fn ended(&mut self, number: u8, result: i32) -> bool {
        let is_latest = self.is_latest(number);
        let was_running = is_latest && !self.is_over();
        if is_latest {
            self.state = match -result {
                // Cancelled, out of buffers, or ended by the kernel with bytes: arm again.
                libc::ECANCELED | libc::ENOBUFS => ReceiveState::Idle,
                _ if result > 0 => ReceiveState::Idle,
                _ => ReceiveState::Ended,
            };
        }
        was_running
    }

    /// A cancellation has ended; `wanted`: the receive is meanwhile to go on after all.
    pub(super) fn cancelled(&mut self, number: u8, result: i32, wanted: bool) -> Cancelled {
        if self.state != ReceiveState::Stopping || !self.is_latest(number) {
            return Cancelled::Nothing;
        }
        match result {
            0.. => {
                self.state = ReceiveState::Idle;
                Cancelled::GivenUp
            }
            // It goes on to its limit (`receive.rs`). Taken for over, another would be armed
            // beside it.
            _ if wanted => {
                self.state = ReceiveState::Armed;
                Cancelled::Nothing
            }
            _ if self.missed < CANCELS_MISSED_MAX => {
                self.missed += 1;
                Cancelled::Again
            }
            _ => {
                self.state = ReceiveState::Idle;
                Cancelled::Missed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT_FOUND: i32 = -libc::ENOENT;

    fn stopping() -> Receiving {
        let mut receiving = Receiving::begun();
        assert_eq!(receiving.stop(), Some(0));
        receiving
    }

    #[test]
    fn the_end_of_a_receive_is_late_once_it_was_given_up() {
        let mut receiving = stopping();
        assert_eq!(receiving.cancelled(0, 0, false), Cancelled::GivenUp);
        assert!(receiving.is_over());
        assert!(!receiving.ended(0, -libc::ECANCELED));
        // The next one has another number, and the end of the first is none of it.
        assert_eq!(receiving.arm(), Some(1));
        assert!(!receiving.ended(0, -libc::ECANCELED) && !receiving.is_over());
        assert!(receiving.ended(1, 4096) && receiving.is_over() && !receiving.has_ended());
    }

    #[test]
    fn a_receive_that_ends_before_its_cancellation_is_not_given_up() {
        let mut receiving = stopping();
        assert!(receiving.ended(0, 0));
        assert_eq!(receiving.cancelled(0, 0, false), Cancelled::Nothing);
        assert!(receiving.has_ended() && receiving.arm().is_none());
    }

    #[test]
    fn a_cancellation_that_finds_nothing_is_repeated_and_then_no_more() {
        let mut receiving = stopping();
        for _ in 0..CANCELS_MISSED_MAX {
            assert_eq!(receiving.cancelled(0, NOT_FOUND, false), Cancelled::Again);
        }
        assert_eq!(receiving.cancelled(0, NOT_FOUND, false), Cancelled::Missed);
        assert!(!receiving.ended(0, 0));
    }

    #[test]
    fn a_receive_that_was_not_found_and_is_wanted_goes_on() {
        let mut receiving = stopping();
        assert_eq!(receiving.cancelled(0, NOT_FOUND, true), Cancelled::Nothing);
        assert!(!receiving.is_over());
        assert_eq!(receiving.stop(), Some(0));
    }
}
