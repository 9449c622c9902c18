//! The journal's settlements: none is left behind by a writer that falls asleep.

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use crate::notified_protocol::WriterNotified;
use crate::sites::{Protocol, each_is_needed};
use crate::sync::Fault;
use crate::{Model, finds, holds};

/// The settlements (a count, relaxed, so that only the protocol orders it), and a channel of one
/// place, which refuses when it is full.
struct Journal {
    notified: WriterNotified,
    settlements: AtomicUsize,
    channel: Mutex<bool>,
    filled: Condvar,
}

impl Journal {
    fn settle(&self) {
        self.settlements.fetch_add(1, Ordering::Relaxed);
        if self.notified.set() {
            *self.channel.lock().unwrap() = true;
            self.filled.notify_one();
        }
    }

    /// Takes `count` in all, asleep where it was not notified.
    fn write(&self, count: usize) {
        let mut taken = 0;
        while taken < count {
            let mut full = self.channel.lock().unwrap();
            while !*full {
                full = self.filled.wait(full).unwrap();
            }
            *full = false;
            drop(full);
            self.notified.clear();
            // A look, which may miss a push, and not an exchange, which would not.
            let there = self.settlements.load(Ordering::Relaxed);
            self.settlements.fetch_sub(there, Ordering::Relaxed);
            taken += there;
        }
    }
}

fn model() {
    let journal = Arc::new(Journal {
        notified: WriterNotified::new(),
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

const MODEL: Model = Model::new(3, model);

const PROTOCOL: Protocol = Protocol { file: "server/journal/src/notified.rs", models: &[MODEL] };

#[test]
fn no_settlement_is_left_behind_by_a_sleeping_writer() {
    holds(MODEL);
}

#[test]
fn with_a_raise_that_writes_nothing_a_settlement_is_left_behind() {
    finds(Fault::SkippedSwap, MODEL);
}

#[test]
fn with_a_torn_swap_a_settlement_is_left_behind() {
    finds(Fault::TornSwap, MODEL);
}

#[test]
fn each_ordering_is_needed() {
    each_is_needed(&PROTOCOL);
}
