//! Published words: whoever sees one sees what was written before it.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::published_protocol::{Flag, Version, move_tail};
use crate::sites::{Protocol, each_is_needed};
use crate::sync::{AtomicU16, Ordering};
use crate::{Model, holds};

const FLAG: Model = Model::new(3, flag);
const VERSION: Model = Model::new(3, version);
const TAIL: Model = Model::new(3, tail);

/// Written before the word, and read by whoever has seen it.
struct Written(UnsafeCell<u32>);

impl Written {
    fn nothing() -> Self {
        Written(UnsafeCell::new(0))
    }

    fn write(&self, value: u32) {
        // SAFETY: loom reports an access that is not ordered with this one.
        self.0.with_mut(|place| unsafe { *place = value });
    }

    fn read(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|place| unsafe { *place })
    }
}

fn flag() {
    let shared = Arc::new((Flag::new(), Written::nothing()));
    let other = shared.clone();
    let writer = thread::spawn(move || {
        other.1.write(7);
        other.0.raise();
    });
    if shared.0.is_raised() {
        assert_eq!(shared.1.read(), 7);
    }
    writer.join().unwrap();
    assert!(shared.0.is_raised());
}

/// Two advance it: the second number stands for what both have written.
fn version() {
    let shared = Arc::new((Version::new(), [Written::nothing(), Written::nothing()]));
    let writers = [0, 1].map(|writer| {
        let shared = shared.clone();
        thread::spawn(move || {
            shared.1[writer].write(7);
            shared.0.advance();
        })
    });
    if shared.0.current() == 2 {
        assert_eq!([shared.1[0].read(), shared.1[1].read()], [7, 7]);
    }
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(shared.0.current(), 2);
}

/// This thread is the kernel, which reads the tail with Acquire and then the entries before it.
fn tail() {
    let shared = Arc::new((AtomicU16::new(0), [Written::nothing(), Written::nothing()]));
    let other = shared.clone();
    let owner = thread::spawn(move || {
        for entry in 0..2 {
            other.1[entry as usize].write(7);
            move_tail(&other.0, entry + 1);
        }
    });
    let tail = usize::from(shared.0.load(Ordering::Acquire));
    for entry in &shared.1[..tail] {
        assert_eq!(entry.read(), 7);
    }
    owner.join().unwrap();
}

#[test]
fn who_sees_a_flag_up_sees_what_came_before() {
    holds(FLAG);
}

#[test]
fn who_sees_a_version_sees_what_all_have_done_that_made_it() {
    holds(VERSION);
}

#[test]
fn the_kernel_sees_the_entries_before_the_tail() {
    holds(TAIL);
}

#[test]
fn each_ordering_is_needed() {
    let models = &[FLAG, VERSION, TAIL];
    each_is_needed(&Protocol { file: "runtime/src/sys/published.rs", models });
}
