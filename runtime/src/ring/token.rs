//! How a completion is known for that of its operation.

/// What an operation was for: kind, slot, the slot's generation and the operation's number in 64 bits
/// of user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// 24 bits: there are far fewer descriptors than that.
    pub(crate) index: u32,
    /// 24 bits: a completion of a slot's earlier life is told apart by it.
    pub(crate) generation: u32,
    /// Tells a slot's operations of one kind apart, where a later one may begin before the last
    /// completion of an earlier one was read.
    pub(crate) number: u8,
}

/// The kinds of operation an executor has in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Doorbell = 1,
    Accept = 2,
    Recv = 3,
    Send = 4,
    Close = 5,
    CancelAccept = 6,
    CancelRecv = 7,
    CancelSend = 8,
    /// A send that does not wait for room: it completes while it is submitted.
    SendNow = 9,
    CancelDoorbell = 10,
    /// A timeout that lets a wait end (`coalesce.rs`); nobody but the ring sees it.
    Tick = 11,
}

pub(crate) const GENERATION_MASK: u32 = (1 << 24) - 1;
const INDEX_MASK: u32 = (1 << 24) - 1;

impl Token {
    pub(crate) fn new(kind: Kind, index: u32, generation: u32) -> Self {
        debug_assert!(index <= INDEX_MASK);
        Token { kind, index, generation: generation & GENERATION_MASK, number: 0 }
    }

    /// The token of an operation that is one of several.
    pub(crate) fn numbered(self, number: u8) -> Self {
        Token { number, ..self }
    }

    pub(super) fn encode(self) -> u64 {
        (self.kind as u64) << 56
            | u64::from(self.generation) << 32
            | u64::from(self.number) << 24
            | u64::from(self.index)
    }

    pub(super) fn decode(user_data: u64) -> Option<Self> {
        let kind = match user_data >> 56 {
            1 => Kind::Doorbell,
            2 => Kind::Accept,
            3 => Kind::Recv,
            4 => Kind::Send,
            5 => Kind::Close,
            6 => Kind::CancelAccept,
            7 => Kind::CancelRecv,
            8 => Kind::CancelSend,
            9 => Kind::SendNow,
            10 => Kind::CancelDoorbell,
            11 => Kind::Tick,
            _ => return None,
        };
        let token = Token::new(kind, user_data as u32 & INDEX_MASK, (user_data >> 32) as u32);
        Some(token.numbered((user_data >> 24) as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_trip_through_user_data() {
        for kind in [
            Kind::Doorbell,
            Kind::Accept,
            Kind::Recv,
            Kind::Send,
            Kind::Close,
            Kind::CancelSend,
            Kind::Tick,
        ] {
            let token = Token::new(kind, INDEX_MASK - 1, 0x00AB_CDEF).numbered(0xFE);
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(0), None);
    }
}
