//! What a journal promises to its caller, on a sound disk.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use crate::*;

use self::scratch::Scratch;

mod damage;
pub(crate) mod scratch;

const LONG: Duration = Duration::from_secs(20);

fn open(scratch: &Scratch) -> (Journal, Recovery) {
    Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap()
}

/// Appends a record; its result comes later.
fn send(
    journal: &Journal,
    payload: &[u8],
    meta: Meta,
) -> Result<Receiver<Result<Sequence, JournalError>>, AppendError> {
    let (sent, received) = channel();
    journal.append(payload.to_vec(), meta, move |result| sent.send(result).unwrap())?;
    Ok(received)
}

/// Appends a record and waits until it is durable.
fn append(journal: &Journal, payload: &[u8]) -> Sequence {
    send(journal, payload, Meta::default()).unwrap().recv_timeout(LONG).unwrap().unwrap()
}

fn dead_letters(journal: &Journal, after: Sequence, max: usize) -> Vec<DeadLetter> {
    let (sent, received) = channel();
    journal.dead_letters(after, max, move |letters| sent.send(letters).unwrap());
    received.recv_timeout(LONG).unwrap().unwrap()
}

/// Waits until what was settled is in the database.
fn settled(journal: &Journal, count: u64) {
    for _ in 0..2000 {
        let stats = journal.stats();
        if stats.acked + stats.retried + stats.dead >= count {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{:?}", journal.stats());
}

#[test]
fn records_come_back_whole_and_in_order_with_what_was_said_of_them() {
    let scratch = Scratch::new();
    let (journal, recovery) = open(&scratch);
    assert_eq!(recovery, Recovery::default());
    let due_in = Duration::from_secs(1_000_000);
    let metas = [
        Meta::default(),
        Meta { priority: -7, due_in: None },
        Meta { priority: i32::MAX, due_in: Some(due_in) },
    ];
    let payloads = [&b""[..], &[0; 70_000], b"third"];
    for (index, (payload, meta)) in payloads.into_iter().zip(metas).enumerate() {
        let received = send(&journal, payload, meta).unwrap();
        assert_eq!(received.recv_timeout(LONG).unwrap().unwrap(), index as u64 + 1);
    }
    journal.close(LONG).unwrap();

    let (_journal, recovery) = open(&scratch);
    assert!(recovery.is_whole(), "{recovery}");
    for (index, record) in recovery.pending.iter().enumerate() {
        assert_eq!(record.sequence, index as u64 + 1);
        assert_eq!(record.payload, payloads[index]);
        assert_eq!(record.attempts, 0);
        assert_eq!(record.priority, metas[index].priority);
        assert_eq!(record.due_in.is_some(), metas[index].due_in.is_some());
        let passed = record.due_in.map_or(Duration::ZERO, |left| due_in - left);
        assert!(passed < LONG, "{record:?}");
    }
    assert_eq!(recovery.pending.len(), 3);
}

#[test]
fn an_acked_record_is_gone_and_its_number_is_not_used_again() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    let sequences: Vec<_> = (0..5).map(|n| append(&journal, &[n])).collect();
    let last = sequences[4];
    (1..=last).for_each(|sequence| journal.ack(sequence));
    journal.ack(3);
    journal.ack(999);
    settled(&journal, 5);
    assert_eq!(journal.stats().acked, 5);
    assert_eq!(journal.stats().pending, 0);
    journal.close(LONG).unwrap();

    let (journal, recovery) = open(&scratch);
    assert_eq!(recovery, Recovery::default());
    assert_eq!(append(&journal, b"next"), last + 1);
}

#[test]
fn a_dead_record_is_a_dead_letter_with_its_reason() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    for n in 0..4 {
        append(&journal, &[n]);
    }
    journal.retry(2, None);
    journal.dead(2, "no such address");
    journal.dead(4, "ü".repeat(4000));
    settled(&journal, 3);
    let letters = dead_letters(&journal, 0, 10);
    assert_eq!(letters.iter().map(|letter| letter.sequence).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(letters[0].payload, [1]);
    assert_eq!((letters[0].reason.as_str(), letters[0].attempts), ("no such address", 2));
    assert_eq!(letters[1].reason.len(), 4096);
    assert_eq!(letters[1].attempts, 1);
    assert_eq!(dead_letters(&journal, 2, 10).len(), 1);
    assert_eq!(dead_letters(&journal, 0, 1).len(), 1);
    journal.close(LONG).unwrap();
    let (journal, recovery) = open(&scratch);
    assert_eq!(recovery.pending.iter().map(|r| r.sequence).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(dead_letters(&journal, 0, 10), letters);
    journal.give_up(3, "it is of no use any more");
    settled(&journal, 1);
    assert_eq!(dead_letters(&journal, 2, 1)[0].attempts, 0);
}

#[test]
fn dead_letters_beyond_their_bound_go_and_are_counted() {
    let scratch = Scratch::new();
    let limits = JournalLimits { dead_max: 3, ..JournalLimits::default() };
    let (journal, _) = Journal::open(scratch.path(), "jobs", limits).unwrap();
    for n in 0..5 {
        let sequence = append(&journal, &[n]);
        journal.dead(sequence, "test");
    }
    settled(&journal, 5);
    assert_eq!(journal.stats().dead_dropped, 2);
    let kept = dead_letters(&journal, 0, 10);
    assert_eq!(kept.iter().map(|letter| letter.sequence).collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn what_an_end_of_the_process_cuts_off_counts_as_an_attempt_and_what_waits_does_not() {
    let mut scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    for payload in [&b"waits"[..], b"runs", b"retried", b"retried and runs", b"done"] {
        append(&journal, payload);
    }
    for (sequence, attempt) in [(2, 1), (3, 1), (4, 1), (5, 1)] {
        journal.begin(sequence, attempt);
    }
    journal.retry(3, None);
    journal.retry(4, None);
    journal.begin(4, 2);
    journal.ack(5);
    settled(&journal, 3);
    let attempts = |recovery: &Recovery| {
        assert!(recovery.is_whole(), "{recovery}");
        recovery.pending.iter().map(|record| record.attempts).collect::<Vec<_>>()
    };
    // However often the process ends afterwards, and whichever way.
    for round in 0..4 {
        if round % 2 == 0 {
            scratch = scratch.crash_image();
        }
        let (journal, recovery) = open(&scratch);
        assert_eq!(attempts(&recovery), [0, 1, 1, 2], "round {round}");
        journal.close(LONG).unwrap();
    }
    let (journal, _) = open(&scratch);
    journal.begin(2, 2);
    journal.close(LONG).unwrap();
    assert_eq!(attempts(&open(&scratch).1), [0, 2, 1, 2], "an attempt outlives a close, too");
}

#[test]
fn a_time_is_never_longer_than_it_was_said_to_be_wherever_the_clock_is_set() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    let meta = Meta { due_in: Some(Duration::from_secs(600)), priority: 0 };
    let sequence = send(&journal, b"delayed, then retried", meta).unwrap();
    let sequence = sequence.recv_timeout(LONG).unwrap().unwrap();
    send(&journal, b"delayed", meta).unwrap().recv_timeout(LONG).unwrap().unwrap();
    journal.retry(sequence, Some(Duration::from_secs(30)));
    settled(&journal, 1);
    let now = std::time::SystemTime::now();
    journal.close(LONG).unwrap();
    let connection = store::connect(&scratch.path().join("jobs.sqlite")).unwrap();
    let mut dues = Vec::new();
    rows::scan_pending(&connection, 1, 10, |_, row| dues.push(row.unwrap().header.due.unwrap()))
        .unwrap();
    let hour = Duration::from_secs(3600);
    let at = |now| dues.iter().map(move |due| due.left(now).map(|left| left.as_secs()));
    assert_eq!(at(now - hour).collect::<Vec<_>>(), [Some(30), Some(600)], "set back");
    assert_eq!(at(now + hour).collect::<Vec<_>>(), [None, None], "set forward");
    assert!(at(now).flatten().zip([30, 600]).all(|(left, said)| said - 20 < left && left <= said));
}

#[test]
fn a_record_that_is_refused_comes_back_and_its_done_is_not_called() {
    let scratch = Scratch::new();
    let limits = JournalLimits {
        pending_max: 2,
        payload_bytes_max: 10,
        queue_bytes_max: 9,
        ..JournalLimits::default()
    };
    let (journal, _) = Journal::open(scratch.path(), "jobs", limits).unwrap();
    let refused = |payload: &[u8]| {
        let done = |_| panic!("called though refused");
        let refused = journal.append(payload.to_vec(), Meta::default(), done).unwrap_err();
        assert_eq!(refused.clone().into_payload(), payload);
        refused
    };
    assert!(matches!(refused(&[1; 11]), AppendError::TooLarge(_)));
    assert!(matches!(refused(&[2; 10]), AppendError::Full(_)));
    append(&journal, b"one");
    append(&journal, b"two");
    assert!(matches!(refused(b"three"), AppendError::Full(_)));
    journal.ack(1);
    settled(&journal, 1);
    append(&journal, b"three");
    journal.close(LONG).unwrap();
    assert!(matches!(refused(b"late"), AppendError::Closed(_)));
    assert!(journal.close(LONG).unwrap_err().is_closed());
}

#[test]
fn a_full_channel_refuses_and_what_it_holds_is_answered() {
    let scratch = Scratch::new();
    let limits = JournalLimits { queue_max: 4, ..JournalLimits::default() };
    let (journal, _) = Journal::open(scratch.path(), "jobs", limits).unwrap();
    // The first one's callback holds the writer up.
    let (go, held) = channel::<()>();
    let (reached, at_hold) = channel();
    let hold = move |_| {
        reached.send(()).unwrap();
        held.recv_timeout(LONG).unwrap();
    };
    journal.append(vec![0], Meta::default(), hold).unwrap();
    at_hold.recv_timeout(LONG).unwrap();
    let waiting: Vec<_> = (0..4).map(|n| send(&journal, &[n], Meta::default()).unwrap()).collect();
    assert!(matches!(send(&journal, b"fifth", Meta::default()), Err(AppendError::Full(_))));
    assert!(journal.close(Duration::ZERO).is_err(), "the writer is held");
    go.send(()).unwrap();
    for (index, received) in waiting.into_iter().enumerate() {
        assert_eq!(received.recv_timeout(LONG).unwrap().unwrap(), index as u64 + 2);
    }
    journal.close(LONG).unwrap();
    assert_eq!(journal.stats().pending, 5);
}

#[test]
fn a_write_that_fails_poisons_the_journal_and_what_was_durable_stays() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    append(&journal, b"durable");
    let other = rusqlite::Connection::open(scratch.path().join("jobs.sqlite")).unwrap();
    other.execute_batch("alter table pending rename to elsewhere").unwrap();
    let received = send(&journal, b"lost", Meta::default()).unwrap();
    let failure = received.recv_timeout(LONG).unwrap().unwrap_err();
    assert!(failure.is_poisoned() && failure.to_string().contains("jobs.sqlite"), "{failure}");
    assert!(failure.to_string().contains("no such table: pending"), "{failure}");
    assert!(matches!(
        send(&journal, b"more", Meta::default()),
        Err(AppendError::Poisoned(payload, _)) if payload == b"more"
    ));
    journal.ack(1);
    let stats = journal.stats();
    assert!(stats.poisoned && stats.pending == 1 && stats.commits == 1, "{stats:?}");
    assert!(journal.close(LONG).unwrap_err().is_poisoned());
    other.execute_batch("alter table elsewhere rename to pending").unwrap();
    drop(other);
    let (_journal, recovery) = open(&scratch);
    assert!(recovery.is_whole(), "{recovery}");
    assert_eq!(recovery.pending.len(), 1);
    assert_eq!(recovery.pending[0].attempts, 0);
}

#[test]
fn a_panic_of_a_callback_keeps_nobody_else_from_being_answered() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    journal.append(vec![1], Meta::default(), |_| panic!("on purpose")).unwrap();
    append(&journal, b"after");
    journal.close(LONG).unwrap();
}

#[test]
fn a_journal_that_is_open_is_refused_by_its_file_until_it_is_closed() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    let refused = Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap_err();
    assert!(refused.is_locked() && refused.to_string().contains("jobs.sqlite"), "{refused}");
    let (other, _) = Journal::open(scratch.path(), "mails", JournalLimits::default()).unwrap();
    other.close(LONG).unwrap();
    journal.close(LONG).unwrap();
    open(&scratch).0.close(LONG).unwrap();
}

#[test]
fn when_the_last_handle_goes_what_was_appended_is_kept_and_the_lock_comes_back() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    let received = send(&journal, b"kept", Meta::default()).unwrap();
    drop(journal);
    received.recv_timeout(LONG).unwrap().unwrap();
    let reopened = (0..2000).find_map(|_| {
        thread::sleep(Duration::from_millis(1));
        Journal::open(scratch.path(), "jobs", JournalLimits::default()).ok()
    });
    let (_journal, recovery) = reopened.expect("the thread ends and frees the lock");
    assert_eq!((recovery.pending.len(), recovery.pending[0].attempts), (1, 0));
}

#[test]
fn a_name_that_would_be_a_path_and_a_foreign_database_are_refused() {
    let scratch = Scratch::new();
    for name in ["", "a/b", "..", "a b", &"x".repeat(65)] {
        let refused = Journal::open(scratch.path(), name, JournalLimits::default()).unwrap_err();
        assert!(refused.to_string().contains("cannot name a journal"), "{refused}");
    }
    let file = scratch.path().join("jobs.sqlite");
    let foreign = rusqlite::Connection::open(&file).unwrap();
    foreign.execute_batch("create table customers (name text)").unwrap();
    drop(foreign);
    let refused = Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap_err();
    assert!(refused.to_string().contains("is not a journal"), "{refused}");
    let foreign = rusqlite::Connection::open(&file).unwrap();
    foreign.execute_batch("insert into customers values ('still here')").unwrap();
}

#[test]
fn a_start_that_never_serves_charges_nothing_however_it_ends() {
    let mut scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    append(&journal, b"kept");
    journal.close(LONG).unwrap();
    for start in 0..500 {
        let (journal, recovery) = open(&scratch);
        assert_eq!(recovery.pending[0].attempts, 0, "after {start} starts");
        match start % 10 {
            // As by an exit, or kill -9.
            0 => scratch = scratch.crash_image(),
            _ => journal.close(LONG).unwrap(),
        }
    }
}

#[test]
fn a_journal_of_another_version_is_left_as_it_is() {
    let scratch = Scratch::new();
    open(&scratch).0.close(LONG).unwrap();
    for version in [1, 9] {
        let file = rusqlite::Connection::open(scratch.path().join("jobs.sqlite")).unwrap();
        let totals = totals::Totals::default().write_as(&file, version);
        totals.unwrap();
        drop(file);
        let refused = Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap_err();
        assert!(refused.to_string().contains(&format!("is of version {version}")), "{refused}");
    }
}

#[test]
fn a_database_that_is_held_by_another_refuses_what_comes_then_and_nothing_later() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    let first = append(&journal, b"first");
    let second = append(&journal, b"second");
    let other = rusqlite::Connection::open(scratch.path().join("jobs.sqlite")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let refused = send(&journal, b"meanwhile", Meta::default()).unwrap();
    journal.ack(first);
    let refused = refused.recv_timeout(LONG).unwrap().unwrap_err();
    assert!(!refused.is_poisoned(), "{refused}");
    journal.ack(second);
    other.execute_batch("rollback").unwrap();
    drop(other);
    // The acks were put off and not lost; what comes now is taken.
    settled(&journal, 2);
    let later = append(&journal, b"later");
    journal.close(LONG).unwrap();
    let (_journal, recovery) = open(&scratch);
    assert!(recovery.is_whole(), "{recovery}");
    let kept: Vec<_> = recovery.pending.iter().map(|record| record.sequence).collect();
    assert_eq!(kept, [later]);
}

#[test]
fn what_would_be_written_to_removed_files_is_refused() {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    append(&journal, b"one");
    std::fs::remove_dir_all(scratch.path()).unwrap();
    let written = send(&journal, b"two", Meta::default()).unwrap().recv_timeout(LONG).unwrap();
    assert!(written.unwrap_err().to_string().contains("were removed"));
    assert!(journal.stats().poisoned && journal.close(LONG).is_err());
}
