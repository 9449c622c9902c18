//! The executor's timers: a hierarchical wheel with ticks of one millisecond.
//!
//! Six levels of 64 slots (Varghese and Lauck, 1987). A timer `n` ticks ahead lies on the level of
//! the highest bit in which its tick differs from the wheel's; when the wheel enters a slot of an
//! upper level, its timers move down. Insert and cancel take constant time, and a bitmap a level
//! answers when the wheel has to turn next, which is how long the executor may sleep.

use std::task::Waker;

use slab::Slab;

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Timers further ahead (two years) wait here and are looked at again then. One slot of the top
/// level less than its whole turn, lest a clamped timer fall into the slot that is being emptied.
const HORIZON_MS: u64 = (SLOTS as u64 - 1) << (SLOT_BITS * (LEVELS as u32 - 1));
const NONE: u32 = u32::MAX;

/// Names a timer and the life of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    index: u32,
    generation: u32,
}

struct Timer {
    deadline_ms: u64,
    generation: u32,
    slot: u16,
    previous: u32,
    next: u32,
    waker: Waker,
}

/// All timers of an executor.
pub(crate) struct Wheel {
    timers: Slab<Timer>,
    heads: [u32; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
    elapsed_ms: u64,
    next_generation: u32,
}

impl Wheel {
    /// A wheel at tick 0.
    pub(crate) fn new() -> Self {
        Wheel {
            timers: Slab::new(),
            heads: [NONE; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            elapsed_ms: 0,
            next_generation: 0,
        }
    }

    /// Wakes `waker` once, by the turn that reaches `deadline_ms`; at the next one if it is past.
    pub(crate) fn insert(&mut self, deadline_ms: u64, waker: Waker) -> TimerKey {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let timer = Timer { deadline_ms, generation, slot: 0, previous: NONE, next: NONE, waker };
        let index = self.timers.insert(timer) as u32;
        self.link(index);
        TimerKey { index, generation }
    }

    /// Removes a timer; one that has fired is left alone.
    pub(crate) fn cancel(&mut self, key: TimerKey) {
        if self.is_pending(key) {
            self.unlink(key.index);
            self.timers.remove(key.index as usize);
        }
    }

    /// Whether the timer has not fired yet.
    pub(crate) fn is_pending(&self, key: TimerKey) -> bool {
        self.timers.get(key.index as usize).is_some_and(|t| t.generation == key.generation)
    }

    /// Keeps `waker` for a pending timer in place of the one it was given.
    pub(crate) fn set_waker(&mut self, key: TimerKey, waker: &Waker) {
        if let Some(timer) = self.timers.get_mut(key.index as usize)
            && timer.generation == key.generation
        {
            timer.waker.clone_from(waker);
        }
    }

    /// The tick at which the wheel has to be turned next: not after the earliest deadline.
    pub(crate) fn next_turn_ms(&self) -> Option<u64> {
        (0..LEVELS).find_map(|level| {
            let shift = SLOT_BITS * level as u32;
            let here = (self.elapsed_ms >> shift) % SLOTS as u64;
            let ahead = self.occupied[level].rotate_right(here as u32);
            if ahead == 0 {
                return None;
            }
            let distance = u64::from(ahead.trailing_zeros());
            Some((((self.elapsed_ms >> shift) + distance) << shift).max(self.elapsed_ms))
        })
    }

    /// Turns the wheel to `now_ms` and moves the wakers of all that is due to `due`.
    pub(crate) fn turn(&mut self, now_ms: u64, due: &mut Vec<Waker>) {
        while let Some(at) = self.next_turn_ms().filter(|&at| at <= now_ms) {
            self.elapsed_ms = at;
            for level in (0..LEVELS).rev() {
                self.empty_slot(level, due);
            }
        }
        self.elapsed_ms = self.elapsed_ms.max(now_ms);
    }

    /// Takes the current slot of a level apart: fires what is due, moves the rest down.
    fn empty_slot(&mut self, level: usize, due: &mut Vec<Waker>) {
        let shift = SLOT_BITS * level as u32;
        let slot = level * SLOTS + ((self.elapsed_ms >> shift) % SLOTS as u64) as usize;
        let mut index = self.heads[slot];
        self.heads[slot] = NONE;
        self.occupied[level] &= !(1 << (slot % SLOTS));
        while index != NONE {
            let next = self.timers[index as usize].next;
            if self.timers[index as usize].deadline_ms <= self.elapsed_ms {
                due.push(self.timers.remove(index as usize).waker);
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    fn link(&mut self, index: u32) {
        let deadline_ms = self.timers[index as usize].deadline_ms;
        let at = deadline_ms.clamp(self.elapsed_ms, self.elapsed_ms.saturating_add(HORIZON_MS));
        let differing = (at ^ self.elapsed_ms) | 1;
        let level = ((63 - differing.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1) as usize;
        let slot = level * SLOTS + ((at >> (SLOT_BITS * level as u32)) % SLOTS as u64) as usize;
        let head = std::mem::replace(&mut self.heads[slot], index);
        if head != NONE {
            self.timers[head as usize].previous = index;
        }
        self.occupied[level] |= 1 << (slot % SLOTS);
        let timer = &mut self.timers[index as usize];
        (timer.slot, timer.previous, timer.next) = (slot as u16, NONE, head);
    }

    fn unlink(&mut self, index: u32) {
        let Timer { slot, previous, next, .. } = self.timers[index as usize];
        let slot = usize::from(slot);
        match previous {
            NONE => self.heads[slot] = next,
            before => self.timers[before as usize].next = next,
        }
        if next != NONE {
            self.timers[next as usize].previous = previous;
        }
        if self.heads[slot] == NONE {
            self.occupied[slot / SLOTS] &= !(1 << (slot % SLOTS));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    struct Fired(AtomicU64);

    impl Wake for Fired {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn random(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// Fires each timer exactly once, in the first turn at or after its deadline, against a list.
    #[test]
    fn fires_as_a_sorted_list_would() {
        let mut state = 0x9E37_79B9_7F4A_7C15;
        for _ in 0..50 {
            let mut wheel = Wheel::new();
            let mut model: Vec<(u64, TimerKey, Arc<Fired>)> = Vec::new();
            let mut now = 0;
            for _ in 0..400 {
                match random(&mut state) % 4 {
                    0 | 1 => {
                        let span =
                            [3, 70, 5_000, 400_000, 1 << 40][(random(&mut state) % 5) as usize];
                        let deadline = now + random(&mut state) % span;
                        let fired = Arc::new(Fired(AtomicU64::new(0)));
                        model.push((deadline, wheel.insert(deadline, fired.clone().into()), fired));
                    }
                    2 if !model.is_empty() => {
                        let at = (random(&mut state) % model.len() as u64) as usize;
                        let (_, key, fired) = model.swap_remove(at);
                        wheel.cancel(key);
                        assert_eq!(fired.0.load(Ordering::Relaxed), 0);
                    }
                    _ => {
                        now += random(&mut state)
                            % [2, 100, 10_000][(random(&mut state) % 3) as usize];
                        if let Some(earliest) = model.iter().map(|t| t.0).min() {
                            let turn = wheel.next_turn_ms().expect("a timer is pending");
                            assert!(turn <= earliest.max(wheel.elapsed_ms), "{turn} {earliest}");
                        }
                        let mut due = Vec::new();
                        wheel.turn(now, &mut due);
                        due.into_iter().for_each(Waker::wake);
                        model.retain(|(deadline, key, fired)| {
                            let past = *deadline <= now;
                            assert_eq!(fired.0.load(Ordering::Relaxed), u64::from(past));
                            assert_eq!(wheel.is_pending(*key), !past);
                            !past
                        });
                    }
                }
            }
            assert_eq!(wheel.timers.len(), model.len());
        }
    }

    #[test]
    fn an_empty_wheel_asks_for_no_turn() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.next_turn_ms(), None);
        let key = wheel.insert(10, Waker::noop().clone());
        assert!(wheel.next_turn_ms().is_some_and(|at| at <= 10));
        wheel.cancel(key);
        assert_eq!(wheel.next_turn_ms(), None);
    }
}
