//! The journal against what ends processes and breaks files: SIGKILL, damage, a full disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use sidecore_journal::{Journal, JournalLimits, Recovery};
use sidecore_tests::Scratch;

use super::once_unlocked;

const LONG: Duration = Duration::from_secs(20);

/// Numbers that look random; the seed is printed with a failure by the test's own messages.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

/// A `journal-child`, whose lines are read as they come.
struct JournalChild {
    child: Child,
    lines: JoinHandle<Vec<String>>,
}

impl JournalChild {
    fn start(mode: &str, directory: &Path) -> Self {
        Self::spawn(Self::command(mode, directory))
    }

    fn command(mode: &str, directory: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_journal-child"));
        command.arg(mode).arg(directory).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        command
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the child starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let lines = std::thread::spawn(move || stdout.lines().map_while(Result::ok).collect());
        JournalChild { child, lines }
    }

    /// Waits for its end; how, its lines and its standard error.
    fn wait(mut self) -> (ExitStatus, Vec<String>, String) {
        let mut stderr = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        let status = self.child.wait().expect("it ends");
        (status, self.lines.join().expect("its lines are read"), stderr)
    }

    fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("SIGKILL is sent");
        self.wait().1
    }
}

/// What the children said, over all their lives.
#[derive(Default)]
struct Said {
    /// The number in each record that was said to be durable, by sequence.
    durable: BTreeMap<u64, u64>,
    acked: BTreeSet<u64>,
    /// The last attempt that was begun.
    begun: BTreeMap<u64, u32>,
}

impl Said {
    fn hear(&mut self, lines: &[String]) {
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse().expect("a number");
            match words[0] {
                "durable" => {
                    let before = self.durable.insert(number(1), number(2));
                    assert_eq!(before, None, "sequence {} was given twice", words[1]);
                }
                "ack" => assert!(self.acked.insert(number(1))),
                "begun" => drop(self.begun.insert(number(1), number(2) as u32)),
                _ => {}
            }
        }
    }
}

fn open(directory: &Path) -> (Journal, Recovery) {
    once_unlocked(|| Journal::open(directory, "jobs", JournalLimits::default()))
}

/// The number in a record's payload, which must be as it was appended.
fn number_of(payload: &[u8]) -> u64 {
    let (number, filling) = payload.split_at(8);
    let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
    assert!(filling.iter().all(|byte| *byte == number as u8), "the payload was changed");
    number
}

#[test]
fn no_kill_loses_a_durable_record_brings_one_twice_or_hides_an_attempt() {
    let scratch = Scratch::new("journal-kill");
    let (mut dice, mut said) = (Dice(std::process::id().into()), Said::default());
    let mut gone = BTreeSet::new();
    let start = Instant::now();
    for round in 0..24 {
        let child = JournalChild::start("append", scratch.path());
        // Some die while they open, most while they append.
        std::thread::sleep(Duration::from_millis(dice.below(250)));
        said.hear(&child.kill());

        let (journal, recovery) = open(scratch.path());
        assert!(recovery.is_whole(), "round {round}: {recovery}");
        let order: Vec<u64> = recovery.pending.iter().map(|record| record.sequence).collect();
        assert!(order.is_sorted_by(|a, b| a < b), "round {round}: one comes twice");
        let there: BTreeSet<u64> = order.into_iter().collect();
        for (sequence, number) in &said.durable {
            if !there.contains(sequence) {
                assert!(said.acked.contains(sequence), "round {round}: {sequence}/{number} lost");
                gone.insert(*sequence);
            }
        }
        for record in &recovery.pending {
            let sequence = record.sequence;
            assert!(!gone.contains(&sequence), "round {round}: {sequence} came back");
            let number = number_of(&record.payload);
            assert_eq!(said.durable.get(&sequence).map_or(number, |said| *said), number);
            let begun = said.begun.get(&sequence).copied().unwrap_or(0);
            // The last one may have been noted and not said any more.
            let attempts = begun..=begun + u32::from(sequence % 2 == 0);
            let found = record.attempts;
            assert!(attempts.contains(&found), "round {round}: {sequence}: {found}, {attempts:?}");
            said.begun.insert(sequence, found);
        }
        journal.close(LONG).expect("it closes");
    }
    let (durable, acked) = (said.durable.len(), gone.len());
    println!("{durable} durable, {acked} acked and gone, in {:?}", start.elapsed());
    assert!(durable > 1000, "the children had time to append: {durable}");
    assert!(acked > 100, "acks were kept: {acked}");
    assert!(said.begun.values().max() > Some(&3), "attempts went up");
}

/// The files of a process that was killed after about a thousand records.
fn killed() -> (Scratch, Said) {
    let scratch = Scratch::new("journal-killed");
    let mut said = Said::default();
    let start = Instant::now();
    while said.durable.len() < 1000 {
        assert!(start.elapsed() < LONG, "{} records only", said.durable.len());
        let child = JournalChild::start("append", scratch.path());
        std::thread::sleep(Duration::from_millis(400));
        said.hear(&child.kill());
    }
    (scratch, said)
}

/// Opens damaged files: what was durable and not acked is there or counted. What was found?
fn check_damaged(scratch: &Scratch, said: &Said, what: &str) -> Recovery {
    let (journal, recovery) = open(scratch.path());
    let there: BTreeSet<u64> = recovery.pending.iter().map(|record| record.sequence).collect();
    assert_eq!(there.len(), recovery.pending.len(), "{what}: one comes twice");
    recovery.pending.iter().for_each(|record| {
        number_of(&record.payload);
    });
    let lost = said.durable.keys().filter(|n| !there.contains(n) && !said.acked.contains(n));
    let lost = lost.count() as u64;
    assert!(recovery.missing + recovery.damaged >= lost, "{what}: {lost} lost, {recovery}");
    journal.close(LONG).expect("it closes");
    let (_journal, again) = open(scratch.path());
    assert!(again.is_whole(), "{what}: {again}");
    assert_eq!(again.pending.len(), recovery.pending.len(), "{what}");
    recovery
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_torn_tail_and_flipped_bits_after_a_kill_are_counted_and_the_rest_is_kept() {
    let (origin, said) = killed();
    let sound = check_damaged(&origin.copy("journal-sound"), &said, "sound");
    assert!(sound.is_whole() && sound.pending.len() > 300, "{sound}");
    let (mut dice, mut found) = (Dice(u64::from(std::process::id()) + 1), 0);
    for round in 0..24 {
        let image = origin.copy("journal-damaged");
        let file = image.path().join(if round % 4 < 2 { "jobs.sqlite-wal" } else { "jobs.sqlite" });
        let length = std::fs::metadata(&file).unwrap().len();
        if length == 0 {
            continue;
        }
        let at = dice.below(length);
        match round % 2 {
            0 => flip(&file, at * 8 + dice.below(8)),
            _ => cut(&file, at),
        }
        let what = format!("round {round}: {} at {at}", file.display());
        found += usize::from(!check_damaged(&image, &said, &what).is_whole());
    }
    println!("{found} of 24 damages touched what was in use");
    assert!(found >= 6, "damage was found: {found}");
}

#[test]
fn of_two_processes_one_is_refused_until_the_other_ends() {
    let scratch = Scratch::new("journal-lock");
    let (journal, _) = open(scratch.path());
    let (status, lines, stderr) = JournalChild::start("hold", scratch.path()).wait();
    assert_eq!((status.code(), lines.len()), (Some(3), 0), "{stderr}");
    let file = scratch.path().join("jobs.sqlite");
    assert!(
        stderr.contains(file.to_str().unwrap()) && stderr.contains("open elsewhere"),
        "{stderr}"
    );
    journal.close(LONG).expect("it closes");

    let mut child = JournalChild::command("hold", scratch.path()).spawn().expect("it starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    stdout.read_line(&mut line).expect("text");
    assert_eq!(line, "open\n");
    let refused = Journal::open(scratch.path(), "jobs", JournalLimits::default()).unwrap_err();
    assert!(refused.is_locked(), "{refused}");
    child.kill().expect("SIGKILL is sent");
    child.wait().expect("it ends");
    open(scratch.path());
}

/// A child fills its disk: it says so, does not panic, loses nothing. What it said.
fn fills(command: Command, directory: &Path) -> (Vec<String>, String) {
    let (status, lines, stderr) = JournalChild::spawn(command).wait();
    assert!(status.success(), "{status}: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    let mut said = Said::default();
    said.hear(&lines);
    assert!(said.durable.len() > 20, "{} records before the end", said.durable.len());
    let copy = Scratch::new("journal-full");
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let (_journal, recovery) = open(copy.path());
    assert!(recovery.is_whole(), "{recovery}");
    let there: BTreeSet<u64> = recovery.pending.iter().map(|record| record.sequence).collect();
    assert!(said.durable.keys().all(|sequence| there.contains(sequence)), "{recovery}");
    (lines, stderr)
}

/// The last line of a child that begins so.
fn last(lines: &[String], word: &str) -> String {
    let found = lines.iter().rev().find(|line| line.starts_with(word));
    found.unwrap_or_else(|| panic!("no {word} in {:?}", lines.last())).clone()
}

/// An error of the file system, after which nobody knows what was written.
#[test]
fn a_file_that_may_not_grow_poisons_the_journal_without_a_panic() {
    let scratch = Scratch::new("journal-limit");
    let mut command = JournalChild::command("fill", scratch.path());
    let limit = Rlimit { current: Some(1 << 20), maximum: Some(1 << 20) };
    let prepare = move || {
        // SAFETY: the signal is ignored, no handler is run; an ignored one stays so over exec.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        Ok(setrlimit(Resource::Fsize, limit)?)
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(prepare) };
    let (lines, stderr) = fills(command, scratch.path());
    let refusal = "takes no more records";
    assert_eq!(stderr.matches(refusal).count(), 1, "{stderr}");
    assert!(last(&lines, "failed").contains(refusal), "{}", last(&lines, "failed"));
    assert!(last(&lines, "refused").contains(refusal), "{}", last(&lines, "refused"));
    assert_eq!(last(&lines, "closed"), "closed Err(true)");
}

/// A small disk, taken away when dropped.
struct Disk(Scratch);

impl Disk {
    /// Mounts it, where that is permitted.
    fn mount() -> Option<Disk> {
        let scratch = Scratch::new("journal-disk");
        let target = std::ffi::CString::new(scratch.path().to_str()?).ok()?;
        // SAFETY: all strings end with zero and outlive the call.
        let mounted = unsafe {
            let kind = c"tmpfs".as_ptr();
            libc::mount(kind, target.as_ptr(), kind, 0, c"size=1m".as_ptr().cast())
        };
        (mounted == 0).then_some(Disk(scratch))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let target = std::ffi::CString::new(self.0.path().to_string_lossy().as_bytes());
        if let Ok(target) = target {
            // SAFETY: the string ends with zero and outlives the call.
            unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

#[test]
fn a_disk_that_is_full_refuses_what_comes_then_and_takes_again_once_there_is_room() {
    let Some(disk) = Disk::mount() else {
        println!("no right to mount a small disk; the limit of a file's size stands in for it");
        return;
    };
    std::fs::write(disk.0.path().join("ballast"), [0; 200_000]).unwrap();
    let (lines, stderr) = fills(JournalChild::command("fill", disk.0.path()), disk.0.path());
    assert!(last(&lines, "failed").contains("full"), "{}", last(&lines, "failed"));
    assert_eq!(last(&lines, "taken"), "taken again", "{stderr}");
    assert_eq!(last(&lines, "closed"), "closed Ok(())");
    assert!(!stderr.contains("takes no more records"), "{stderr}");
}
