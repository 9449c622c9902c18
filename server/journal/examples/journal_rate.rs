//! How many durable appends and acks a journal does in a second, by the size of the groups.
//!
//! `cargo run --release -p sidecore-journal --example journal_rate [directory] [seconds a figure]`
//!
//! A disk's fsync swings by a factor of ten on a shared machine: compare within one run.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use sidecore_journal::{AppendError, Journal, JournalError, JournalLimits, Meta, Sequence};

const PAYLOAD_BYTES: usize = 200;
const GROUPS: [usize; 3] = [1, 64, 1024];
const DEADLINE: Duration = Duration::from_secs(60);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: f64 = arguments.next().map_or(Ok(2.0), |text| text.parse())?;
    let directory = parent.join(format!("sidecore-journal-rate-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let result = measure(&directory, Duration::from_secs_f64(seconds));
    std::fs::remove_dir_all(&directory)?;
    result
}

fn measure(directory: &Path, span: Duration) -> Result<(), Failure> {
    println!("payloads of {PAYLOAD_BYTES} bytes in {}", directory.display());
    println!(
        "{:<8}{:>16}{:>12}{:>12}{:>22}{:>12}",
        "group", "bare commits/s", "appends/s", "a commit", "opened again", "acks/s"
    );
    for group in GROUPS {
        let limits = JournalLimits {
            group_max: group,
            // Acks of a group are to share a commit, not to wait for more.
            settle_delay: Duration::ZERO,
            pending_max: u64::MAX,
            ..JournalLimits::default()
        };
        let name = format!("rate-{group}");
        let bare = bare_commits(&directory.join("bare"), group * PAYLOAD_BYTES, span)?;
        let (journal, _) = Journal::open(directory, &name, limits)?;
        let start = Instant::now();
        let appended = append(&journal, group, span)?;
        let appends = appended as f64 / start.elapsed().as_secs_f64();
        let records = appended as f64 / journal.stats().commits as f64;
        journal.close(DEADLINE)?;
        let start = Instant::now();
        let (journal, recovery) = Journal::open(directory, &name, limits)?;
        let opened = format!("{} in {:.0?}", recovery.pending.len(), start.elapsed());
        let start = Instant::now();
        let acked = ack(&journal, group, appended, span);
        let acks = acked as f64 / start.elapsed().as_secs_f64();
        journal.close(DEADLINE)?;
        println!("{group:<8}{bare:>16.0}{appends:>12.0}{records:>12.1}{opened:>22}{acks:>12.0}");
    }
    Ok(())
}

/// What the disk alone does: writes of a group's bytes to the end of a file, each with its fsync.
fn bare_commits(file: &Path, bytes: usize, span: Duration) -> Result<f64, Failure> {
    let mut file = File::create(file)?;
    let group = vec![7; bytes];
    let (start, mut commits) = (Instant::now(), 0);
    while start.elapsed() < span / 2 {
        file.write_all(&group)?;
        file.sync_all()?;
        commits += 1;
    }
    Ok(f64::from(commits) / start.elapsed().as_secs_f64())
}

/// Keeps two groups in flight for a while, one commits while the next gathers; how many became
/// durable.
fn append(journal: &Journal, group: usize, span: Duration) -> Result<u64, Failure> {
    let (sent, received) = channel();
    let end = Instant::now() + span;
    let (mut durable, mut in_flight) = (0, 2 * group);
    for _ in 0..in_flight {
        append_one(journal, &sent)?;
    }
    while in_flight > 0 {
        received.recv()??;
        durable += 1;
        in_flight -= 1;
        if Instant::now() < end {
            append_one(journal, &sent)?;
            in_flight += 1;
        }
    }
    Ok(durable)
}

fn append_one(
    journal: &Journal,
    sent: &Sender<Result<Sequence, JournalError>>,
) -> Result<(), AppendError> {
    let sent = sent.clone();
    journal.append(vec![7; PAYLOAD_BYTES], Meta::default(), move |result| {
        let _ = sent.send(result);
    })
}

/// Acks in groups, each of which is awaited; how many there were.
fn ack(journal: &Journal, group: usize, appended: u64, span: Duration) -> u64 {
    let end = Instant::now() + span;
    let mut acked = 0;
    while acked < appended && Instant::now() < end {
        let first = acked + 1;
        let last = appended.min(first + group as u64 - 1);
        (first..=last).for_each(|sequence| journal.ack(sequence));
        while journal.stats().acked < last {
            std::thread::yield_now();
        }
        acked = last;
    }
    acked
}
