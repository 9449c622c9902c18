//! What is fuzzed: each target takes any bytes and panics where a property does not hold. libFuzzer
//! runs them (`fuzz/run`), and a test replays seeds and mutations of them without it.

mod chunked;
mod connection;
mod head;
mod proxy_header;

use sidecore::codec::HeadLimits;

pub use self::chunked::chunked;
pub use self::connection::connection;
pub use self::head::head;
pub use self::proxy_header::proxy_header;

/// Small, so that an input can exceed each of them.
const LIMITS: HeadLimits = HeadLimits {
    size_max_bytes: 512,
    header_count_max: 8,
    target_length_max_bytes: 64,
    is_secured: false,
    takes_raw_utf8: false,
};

/// A body larger than this is refused.
const BODY_SIZE_MAX_BYTES: u64 = 4096;

/// A target by its name, which is also its folder of seeds.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 4] = [
    ("head", head),
    ("chunked", chunked),
    ("connection", connection),
    ("proxy_header", proxy_header),
];

/// The pieces in which an input arrives: the first bytes of a fuzzer's input say where to cut.
#[derive(Clone, Copy, Debug)]
struct Cuts {
    seed: u32,
}

impl Cuts {
    /// Takes the cuts from the front of the input.
    fn split_off(data: &[u8]) -> (Self, &[u8]) {
        let (seed, rest) = data.split_at(data.len().min(2));
        (Cuts { seed: seed.iter().fold(1, |seed, &byte| seed << 8 | u32::from(byte)) }, rest)
    }

    /// Cuts `input` into pieces of 1 to 16 bytes, or now and then much longer ones.
    fn pieces<'a>(&self, input: &'a [u8]) -> Vec<&'a [u8]> {
        let mut state = self.seed;
        let (mut rest, mut pieces) = (input, Vec::new());
        while !rest.is_empty() {
            state = state.wrapping_mul(0x915F_77F5).wrapping_add(0x6C07_8965);
            let long = if state >> 28 == 0 { 256 } else { 16 };
            let (piece, after) = rest.split_at(rest.len().min(1 + (state >> 16) as usize % long));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}
