//! The copy of a stack: an answer is whole and of the thread that was asked, however late another.

use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

use crate::capture_protocol::{Capture, REGISTERS};
use crate::sync::{AtomicU64, Fault, Ordering};
use crate::{finds, holds};

/// A thread that takes its signal at any time; all that it writes is its own number.
fn ask(capture: &Arc<Capture>, thread: u64) -> Option<(u32, JoinHandle<()>)> {
    let ask = capture.ask()?;
    let capture = capture.clone();
    let copy = move |words: &[AtomicU64]| {
        words.iter().for_each(|word| word.store(thread, Ordering::Relaxed));
        Ok(words.len())
    };
    let answers = thread::spawn(move || capture.answer(ask, [thread; REGISTERS], copy));
    Some((ask, answers))
}

/// The first thread may answer before it is given up, meanwhile, or after the second was asked.
fn model() {
    let capture = Arc::new(Capture::new(2));
    let (first, late) = ask(&capture, 1).expect("nobody was asked before");
    if let Some(copied) = capture.take(first) {
        assert_eq!((copied.registers, copied.words), ([1; REGISTERS], vec![1; 2]));
    }
    capture.withdraw(first);
    // Refused where the first is still writing.
    if let Some((second, answers)) = ask(&capture, 2) {
        let check = || {
            let copied = capture.take(second)?;
            assert_eq!((copied.registers, copied.words), ([2; REGISTERS], vec![2; 2]));
            Some(())
        };
        check();
        answers.join().unwrap();
        late.join().unwrap();
        assert!(check().is_some(), "who was asked has answered");
    } else {
        late.join().unwrap();
        assert!(ask(&capture, 2).is_some(), "a late answer ends, and the next is asked");
    }
}

#[test]
fn an_answer_is_whole_and_of_the_thread_that_was_asked() {
    holds(3, model);
}

#[test]
fn with_a_torn_exchange_a_late_thread_writes_into_the_answer_of_another() {
    finds(Fault::TornExchange, 3, model);
}

#[test]
fn without_release_an_answer_is_read_before_it_is_whole() {
    finds(Fault::RelaxedStore, 3, model);
}
