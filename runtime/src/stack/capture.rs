//! How a thread's registers and a part of its stack come to who asked for them by a signal.
//!
//! One asker at a time; the answerers are signal handlers, one of whom may be late: its asker has
//! given up, and perhaps asked another thread since. All of them share this one place, which is
//! never freed. Its `state` is the number of an ask and a phase:
//!
//! ```text
//!                asker: ask                    handler: answer begins
//!   IDLE n-1, DONE n-1 ──────► ASKED n ────────────────────────────────► WRITING n
//!                                 │                                          │
//!                                 │ asker: withdraw                          │ handler: it ends
//!                                 ▼                                          ▼
//!                              IDLE n                                      DONE n
//! ```
//!
//! Only who takes `ASKED n` away may go on: the handler then owns the words until `DONE n`, and the
//! asker knows that none will come any more. A late handler carries the number that it was asked
//! with, finds another one or another phase, and touches nothing. One that began before its asker
//! gave up finishes: until it has, nobody is asked ([`Capture::ask`] refuses).
//!
//! The words are written with Relaxed, or by the kernel for the handler, and read with Relaxed: the
//! `Release` of `DONE n` pairs with the asker's `Acquire`, and that with the `Acquire` of the next
//! handler through the asker's own `Release`.

use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Registers that unwinding begins with: program counter, stack pointer, frame pointer, link.
pub(crate) const REGISTERS: usize = 4;

const IDLE: u32 = 0;
const ASKED: u32 = 1;
const WRITING: u32 = 2;
const DONE: u32 = 3;
const PHASES: u32 = 4;

/// The place. See the module.
pub(crate) struct Capture {
    state: AtomicU32,
    registers: [AtomicU64; REGISTERS],
    /// How many of the words count; written by the handler.
    length: AtomicU64,
    /// Why there are none, as an errno; 0 where there are. Written by the handler.
    error: AtomicU32,
    words: Box<[AtomicU64]>,
}

/// What a thread has answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) registers: [u64; REGISTERS],
    /// The stack, from the stack pointer upwards.
    pub(crate) words: Vec<u64>,
    /// The errno with which the kernel has refused to copy it.
    pub(crate) error: Option<u32>,
}

impl Capture {
    /// With room for that many words of a stack.
    pub(crate) fn new(words: usize) -> Self {
        Capture {
            state: AtomicU32::new(IDLE),
            registers: std::array::from_fn(|_| AtomicU64::new(0)),
            length: AtomicU64::new(0),
            error: AtomicU32::new(0),
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Asks; the number goes with the signal. None: a thread that was given up is still writing.
    /// By one asker at a time.
    pub(crate) fn ask(&self) -> Option<u32> {
        // Pairs with the end of an answer: what is written next comes after it.
        let state = self.state.load(Ordering::Acquire);
        if state % PHASES == WRITING {
            return None;
        }
        // The numbers begin anew after a billion asks: no signal is that late.
        let ask = (state / PHASES + 1) % (u32::MAX / PHASES);
        // No handler changes a state that is not ASKED, so that nothing is overwritten here.
        self.state.store(ask * PHASES + ASKED, Ordering::Release);
        Some(ask)
    }

    /// Answers an ask, unless it was withdrawn. `copy` fills the words, which nobody else touches
    /// meanwhile, and says how many of them; or the errno with which it could not. By a signal
    /// handler: it neither allocates, locks nor waits.
    pub(crate) fn answer(
        &self,
        ask: u32,
        registers: [u64; REGISTERS],
        copy: impl FnOnce(&[AtomicU64]) -> Result<usize, u32>,
    ) {
        let asked = ask.wrapping_mul(PHASES) + ASKED;
        let writing = ask.wrapping_mul(PHASES) + WRITING;
        // Acquire: pairs with the ask, and through it with the end of the last answer.
        let begun = self.state.compare_exchange(
            asked,
            writing,
            Ordering::Acquire,
            // Nothing is read that another has written.
            Ordering::Relaxed,
        );
        if begun.is_err() {
            return;
        }
        for (place, register) in self.registers.iter().zip(registers) {
            place.store(register, Ordering::Relaxed);
        }
        let (length, error) = match copy(&self.words) {
            Ok(length) => (length as u64, 0),
            Err(error) => (0, error),
        };
        self.length.store(length, Ordering::Relaxed);
        self.error.store(error, Ordering::Relaxed);
        // Pairs with the Acquire in `take` and in `ask`.
        self.state.store(ask.wrapping_mul(PHASES) + DONE, Ordering::Release);
    }

    /// The answer, if there is one.
    pub(crate) fn take(&self, ask: u32) -> Option<Copied> {
        if self.state.load(Ordering::Acquire) != ask * PHASES + DONE {
            return None;
        }
        let length = self.length.load(Ordering::Relaxed) as usize;
        let error = self.error.load(Ordering::Relaxed);
        Some(Copied {
            error: (error != 0).then_some(error),
            registers: std::array::from_fn(|index| self.registers[index].load(Ordering::Relaxed)),
            words: self.words[..length].iter().map(|word| word.load(Ordering::Relaxed)).collect(),
        })
    }

    /// Gives an ask up; false: a thread is answering it or has.
    pub(crate) fn withdraw(&self, ask: u32) -> bool {
        let (asked, idle) = (ask * PHASES + ASKED, ask * PHASES + IDLE);
        // Nothing was written since the ask, and nothing is read here.
        self.state.compare_exchange(asked, idle, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
