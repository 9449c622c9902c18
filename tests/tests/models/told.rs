//! The journal's settlements: none is left behind by a writer that falls asleep.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::sync::Fault;
use crate::told_protocol::Told;
use crate::{finds, holds};

/// The settlements (a count, relaxed, so that only the protocol orders it), and a channel of one
/// place, which refuses when it is full.
struct Journal {
    told: Told,
    settlements: AtomicUsize,
    channel: Mutex<bool>,
    filled: Condvar,
}

impl Journal {
    fn settle(&self) {
        self.settlements.fetch_add(1, Ordering::Relaxed);
        if self.told.raise() {
            *self.channel.lock().unwrap() = true;
            self.filled.notify_one();
        }
    }

    /// Takes `count` in all, asleep where it was not told.
    fn write(&self, count: usize) {
        let mut taken = 0;
        while taken < count {
            let mut full = self.channel.lock().unwrap();
            while !*full {
                full = self.filled.wait(full).unwrap();
            }
            *full = false;
            drop(full);
            self.told.lower();
            taken += self.settlements.swap(0, Ordering::Relaxed);
        }
    }
}

fn model() {
    let journal = Arc::new(Journal {
        told: Told::new(),
        settlements: AtomicUsize::new(0),
        channel: Mutex::new(false),
        filled: Condvar::new(),
    });
    let settlers: Vec<_> = (0..2)
        .map(|_| {
            let journal = journal.clone();
            thread::spawn(move || journal.settle())
        })
        .collect();
    journal.write(2);
    settlers.into_iter().for_each(|settler| settler.join().unwrap());
}

#[test]
fn no_settlement_is_left_behind_by_a_sleeping_writer() {
    holds(3, model);
}

#[test]
fn with_a_raise_that_writes_nothing_a_settlement_is_left_behind() {
    finds(Fault::SkippedSwap, 3, model);
}

#[test]
fn with_a_torn_swap_a_settlement_is_left_behind() {
    finds(Fault::TornSwap, 3, model);
}
