//! A process that uses a journal, for tests that kill it or take its disk away.
//!
//! `journal-child append|fill|hold <directory>`. Standard output is a protocol of lines, each
//! written at once: `open`, `durable <sequence> <number>`, `ack <sequence>` before the ack,
//! `begun <sequence> <attempt>` after it was noted, `failed <why>`, `refused <why>`, `closed <how>`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use sidecore_journal::{AppendError, Journal, JournalError, JournalLimits, Meta, Sequence};

const IN_FLIGHT: u64 = 256;
const DEADLINE: Duration = Duration::from_secs(20);

type Durable = (u64, Result<Sequence, JournalError>);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, directory] = arguments.as_slice() else {
        eprintln!("usage: journal-child append|fill|hold <directory>");
        return ExitCode::from(2);
    };
    let (journal, recovery) =
        match Journal::open(Path::new(directory), "jobs", JournalLimits::default()) {
            Ok(opened) => opened,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(3);
            }
        };
    tell("open");
    match mode.as_str() {
        "append" => {
            for record in recovery.pending.iter().filter(|record| record.sequence % 2 == 0) {
                begin(&journal, record.sequence, record.attempts + 1);
            }
            append_for_ever(&journal);
        }
        "fill" => fill(&journal, Path::new(directory)),
        _ => std::thread::sleep(DEADLINE),
    }
    ExitCode::SUCCESS
}

/// One write, so that what was said before a kill was said whole.
fn tell(line: &str) {
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

fn append(
    journal: &Journal,
    number: u64,
    bytes: usize,
    sent: &Sender<Durable>,
) -> Result<(), AppendError> {
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(bytes, number as u8);
    let sent = sent.clone();
    journal.append(payload, Meta::default(), move |result| {
        if let Ok(sequence) = &result {
            tell(&format!("durable {sequence} {number}"));
        }
        let _ = sent.send((number, result));
    })
}

fn begin(journal: &Journal, sequence: Sequence, attempt: u32) {
    journal.begin(sequence, attempt);
    tell(&format!("begun {sequence} {attempt}"));
}

/// Appends as fast as it can, acks two of three, and begins each second of the others, until it is
/// killed.
fn append_for_ever(journal: &Journal) {
    let (sent, received) = channel();
    let mut number = 0;
    let next = |number: &mut u64| {
        *number += 1;
        let bytes = 8 + (*number % 500) as usize;
        append(journal, *number, bytes, &sent).expect("a few in flight are never refused");
    };
    (0..IN_FLIGHT).for_each(|_| next(&mut number));
    loop {
        let (_, result) = received.recv().expect("each append is answered");
        let sequence = result.expect("the disk has room");
        if sequence % 6 == 0 {
            begin(journal, sequence, 1);
        }
        if sequence % 3 != 0 {
            tell(&format!("ack {sequence}"));
            journal.ack(sequence);
        }
        next(&mut number);
    }
}

/// Appends until a write fails, makes room where there is a file `ballast`, tries once more, and
/// closes.
fn fill(journal: &Journal, directory: &Path) {
    let (sent, received): (_, Receiver<Durable>) = channel();
    let mut number = 0;
    let failure = loop {
        number += 1;
        match append(journal, number, 1000, &sent) {
            Ok(()) => {}
            Err(refused) => break refused.to_string(),
        }
        if let (_, Err(error)) = received.recv().expect("each append is answered") {
            break error.to_string();
        }
    };
    tell(&format!("failed {failure}"));
    let _ = std::fs::remove_file(directory.join("ballast"));
    match append(journal, number, 1000, &sent) {
        Ok(()) => match received.recv().expect("each append is answered").1 {
            Ok(_) => tell("taken again"),
            Err(error) => tell(&format!("refused {error}")),
        },
        Err(refused) => tell(&format!("refused {refused}")),
    }
    tell(&format!("closed {:?}", journal.close(DEADLINE).map_err(|error| error.is_poisoned())));
}
