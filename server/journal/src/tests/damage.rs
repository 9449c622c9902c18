//! What is broken is found and counted, and all else is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::scratch::Scratch;
use crate::*;

const LONG: Duration = Duration::from_secs(20);

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

fn payload(sequence: Sequence) -> Vec<u8> {
    let length = 20 + (sequence as usize * 37) % 200 + if sequence % 50 == 0 { 6000 } else { 0 };
    (0..length).map(|at| (sequence as usize * 31 + at) as u8).collect()
}

/// Appends records up to the sequence `last`, in groups; all are durable when it returns.
fn fill(journal: &Journal, first: Sequence, last: Sequence) {
    for start in (first..=last).step_by(16) {
        let (sent, received) = channel();
        let group = start..=last.min(start + 15);
        for sequence in group.clone() {
            let sent = sent.clone();
            let done = move |result| sent.send((sequence, result)).unwrap();
            journal.append(payload(sequence), Meta::default(), done).unwrap();
        }
        for _ in group {
            let (sequence, result) = received.recv_timeout(LONG).unwrap();
            assert_eq!(result.unwrap(), sequence);
        }
    }
}

/// A closed journal of 400 records, of which each fourth was acked, and two are dead letters.
fn closed() -> Scratch {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    fill(&journal, 1, 400);
    (4..=400).step_by(4).for_each(|sequence| journal.ack(sequence));
    journal.dead(1, "test");
    journal.dead(399, "test");
    journal.close(LONG).unwrap();
    scratch
}

fn pending_of_closed(sequence: Sequence) -> bool {
    sequence % 4 != 0 && sequence != 1 && sequence != 399
}

fn open(scratch: &Scratch) -> (Journal, Recovery) {
    Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap()
}

fn file(scratch: &Scratch, ending: &str) -> PathBuf {
    scratch.path().join(format!("jobs.{ending}"))
}

fn flip(path: &Path, at: usize, bit: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1 << bit;
    std::fs::write(path, bytes).unwrap();
}

/// Opens what was damaged: each record of `expected` is there as it was, or counted; it takes new
/// records; and the next open finds all as it was left.
fn check(scratch: &Scratch, expected: impl Fn(Sequence) -> bool, what: &str) -> Recovery {
    let (journal, recovery) = open(scratch);
    let mut there = BTreeMap::new();
    for record in &recovery.pending {
        assert_eq!(record.payload, payload(record.sequence), "{what}");
        assert_eq!(there.insert(record.sequence, ()), None, "{what}: twice");
    }
    let lost = (1..=400).filter(|n| expected(*n) && !there.contains_key(n)).count() as u64;
    assert_eq!(lost > 0, recovery.missing + recovery.damaged > 0, "{what}: {lost}, {recovery}");
    assert!(lost <= recovery.missing + recovery.damaged, "{what}: {lost}, {recovery}");
    let (sent, received) = channel();
    let done = move |result: Result<_, JournalError>| sent.send(result.unwrap()).unwrap();
    journal.append(payload(401), Meta::default(), done).unwrap();
    assert_eq!(received.recv_timeout(LONG).unwrap(), 401, "{what}: a number is used once");
    journal.close(LONG).unwrap();
    let again = open(scratch).1;
    assert!(again.is_whole(), "{what}: {again}");
    assert_eq!(again.pending.len(), recovery.pending.len() + 1, "{what}");
    recovery
}

#[test]
fn a_flipped_bit_anywhere_in_the_database_is_found_or_harms_nothing() {
    let origin = closed();
    let length = std::fs::metadata(file(&origin, "sqlite")).unwrap().len() as usize;
    let mut dice = Dice(1);
    // The file's header and the first page, which holds the schema, then anywhere.
    let places = (0..100).step_by(3).map(|at| (at, at % 8));
    let schema = (0..30).map(|_| (100 + dice.below(3996), dice.below(8))).collect::<Vec<_>>();
    let mut dice = Dice(2);
    let anywhere = (0..150).map(|_| (dice.below(length), dice.below(8)));
    let (mut whole, mut found, mut kept) = (0, 0, 0);
    for (at, bit) in places.chain(schema).chain(anywhere) {
        let image = origin.crash_image();
        flip(&file(&image, "sqlite"), at, bit);
        let recovery = check(&image, pending_of_closed, &format!("bit {bit} of byte {at}"));
        match recovery.is_whole() {
            true => whole += 1,
            false => found += 1,
        }
        kept += recovery.pending.len();
    }
    println!("{whole} harmed nothing, {found} were found, {kept} records were kept");
    assert!(found > 50, "flips were found: {found}");
    assert!(kept > (whole + found) * 200, "most is kept: {kept} of {}", (whole + found) * 298);
}

#[test]
fn a_database_that_was_cut_keeps_what_is_readable() {
    let origin = closed();
    let length = std::fs::metadata(file(&origin, "sqlite")).unwrap().len();
    let mut dice = Dice(3);
    let anywhere = (0..30).map(|_| dice.below(length as usize) as u64).collect::<Vec<_>>();
    for cut in [0, 1, 99, 512, 4096, length - 1, length - 4096].into_iter().chain(anywhere) {
        let image = origin.crash_image();
        let database = std::fs::OpenOptions::new().write(true).open(file(&image, "sqlite"));
        database.unwrap().set_len(cut).unwrap();
        let recovery = check(&image, pending_of_closed, &format!("cut at {cut}"));
        // Less than a page is cut off what is in use, or off zeros, which SQLite puts back.
        assert!(!recovery.is_whole() || length - cut < 4096, "cut at {cut}");
    }
}

/// An image of a journal whose last 300 records and some acks are in the WAL only.
fn with_wal() -> Scratch {
    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    fill(&journal, 1, 100);
    journal.close(LONG).unwrap();
    let (journal, _) = open(&scratch);
    fill(&journal, 101, 400);
    scratch.crash_image()
}

#[test]
fn a_flipped_bit_or_a_cut_in_the_wal_is_counted_and_the_wal_is_kept() {
    let origin = with_wal();
    assert!(check(&origin.crash_image(), |_| true, "sound").is_whole());
    let length = std::fs::metadata(file(&origin, "sqlite-wal")).unwrap().len() as usize;
    let mut dice = Dice(4);
    for round in 0..60 {
        let (at, bit) = (dice.below(length), dice.below(8));
        let image = origin.crash_image();
        let wal = file(&image, "sqlite-wal");
        if round % 2 == 0 {
            flip(&wal, at, bit);
        } else {
            std::fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(at as u64).unwrap();
        }
        let broken = std::fs::read(&wal).unwrap();
        let what = format!("round {round}, byte {at}");
        let recovery = check(&image, |_| true, &what);
        if recovery.is_whole() {
            continue;
        }
        assert!(recovery.rolled_back && recovery.damaged == 0, "{what}: {recovery}");
        assert_eq!(recovery.missing as usize + recovery.pending.len(), 400, "{what}: {recovery}");
        assert!(recovery.pending.len() >= 100, "{what}: {recovery}");
        let kept = recovery.set_aside.unwrap();
        assert_eq!(std::fs::read(paths::Paths::wal(&kept)).unwrap(), broken, "{what}");
    }
}

#[test]
fn a_wal_that_is_gone_loses_no_record_that_was_acked_and_counts_the_others() {
    let image = with_wal();
    std::fs::remove_file(file(&image, "sqlite-wal")).unwrap();
    let recovery = check(&image, |_| true, "no WAL");
    assert_eq!((recovery.missing, recovery.pending.len()), (300, 100), "{recovery}");

    let scratch = Scratch::new();
    let (journal, _) = open(&scratch);
    fill(&journal, 1, 100);
    (1..=100).for_each(|sequence| journal.ack(sequence));
    while journal.stats().acked < 100 {
        thread::sleep(Duration::from_millis(1));
    }
    let image = scratch.crash_image();
    std::fs::remove_file(file(&image, "sqlite-wal")).unwrap();
    let recovery = open(&image).1;
    assert!(recovery.rolled_back && recovery.missing == 0, "{recovery}");
}

#[test]
fn a_mark_that_is_lost_is_said_and_one_torn_slot_is_not_a_loss() {
    let origin = closed();
    let image = origin.crash_image();
    std::fs::remove_file(file(&image, "mark")).unwrap();
    let recovery = check(&image, pending_of_closed, "no mark");
    assert!(recovery.mark_lost && recovery.missing == 0, "{recovery}");

    let image = origin.crash_image();
    std::fs::write(file(&image, "mark"), vec![7; 600]).unwrap();
    assert!(open(&image).1.mark_lost);

    for at in [10, 520] {
        let image = origin.crash_image();
        flip(&file(&image, "mark"), at, 0);
        assert!(open(&image).1.is_whole(), "the other slot serves");
    }
}

#[test]
fn a_row_that_was_changed_or_deleted_by_hand_is_counted() {
    let image = closed();
    let other = rusqlite::Connection::open(file(&image, "sqlite")).unwrap();
    other.execute_batch("update pending set priority = 9 where sequence = 7").unwrap();
    other.execute_batch("delete from pending where sequence in (10, 11)").unwrap();
    drop(other);
    let (journal, recovery) = open(&image);
    assert_eq!((recovery.missing, recovery.damaged), (2, 1), "{recovery}");
    let (sent, received) = channel();
    journal.dead_letters(1, 10, move |letters| sent.send(letters.unwrap()).unwrap());
    let letters = received.recv_timeout(LONG).unwrap();
    assert_eq!((letters[0].sequence, letters[0].payload.clone()), (7, payload(7)));
    assert!(letters[0].reason.contains("damaged"), "{letters:?}");
}

#[test]
fn a_salvage_that_was_cut_short_is_completed_at_the_next_open() {
    let sound = closed();
    let image = sound.crash_image();
    // As it stands after the salvaged file was finished and the broken one moved away.
    std::fs::rename(file(&image, "sqlite"), file(&image, "salvaged")).unwrap();
    let recovery = check(&image, pending_of_closed, "moved away");
    assert_eq!((recovery.missing, recovery.damaged), (0, 0), "{recovery}");

    let image = sound.crash_image();
    std::fs::copy(file(&image, "sqlite"), file(&image, "salvaged")).unwrap();
    std::fs::write(file(&image, "sqlite"), b"broken").unwrap();
    std::fs::write(file(&image, "part"), b"of an earlier try").unwrap();
    let recovery = check(&image, pending_of_closed, "both there");
    let kept = recovery.set_aside.unwrap();
    assert_eq!(std::fs::read(kept).unwrap(), b"broken");
}
