//! Opening: what is pending, and what is missing of what was durable.
//!
//! Let `D` and `S` be the last sequence and the settled records that the database states, `M` and
//! `T` those of the mark, and `P` the rows that are there. Each consistent state of the database
//! has `P = D - S`, so `D - S - P` rows are gone from it. A WAL that lost its end brings an older
//! state back, with `D < M`: then `M - D` records are gone, but no more than the `M - T` that were
//! not settled yet.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use sidecore_runtime::sys::stderr;

use crate::attempts::{AttemptLog, Attempts};
use crate::error::JournalError;
use crate::high_water_mark::{HighWaterMark, Progress};
use crate::paths::Paths;
use crate::record::{DeadLetter, Record, payload_part};
use crate::rows::{Row, scan_pending};
use crate::salvage;
use crate::store::{Store, connect, create, insert_dead_letter, write_header};
use crate::totals::{Totals, TotalsRow};

/// What an open found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The pending records, by their sequence.
    pub pending: Vec<Record>,
    /// Durable records that are gone. At most so many, where the database went back to an older
    /// state: some of them may have been acked.
    pub missing: u64,
    /// Records whose check sum did not match. What is readable of them is a dead letter now.
    pub damaged: u64,
    /// The database was behind its mark: it went back to an older state, and records that were
    /// acked since may be pending again.
    pub rolled_back: bool,
    /// The mark was missing or damaged, so that lost records at the end would not be noticed.
    pub mark_lost: bool,
    /// A broken database, or the WAL of one that was rolled back, was kept under this name, and
    /// with `-wal` after it.
    pub set_aside: Option<PathBuf>,
}

impl Recovery {
    /// Whether all that was durable is there.
    pub fn is_whole(&self) -> bool {
        let Recovery { missing, damaged, rolled_back, mark_lost, set_aside, .. } = self;
        *missing == 0 && *damaged == 0 && !rolled_back && !mark_lost && set_aside.is_none()
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pending, missing) = (self.pending.len(), self.missing);
        write!(f, "{pending} records pending, {missing} missing, {} damaged", self.damaged)?;
        if self.rolled_back {
            f.write_str("; it went back to an older state")?;
        }
        if self.mark_lost {
            f.write_str("; its mark is lost, so more may be missing")?;
        }
        match &self.set_aside {
            Some(path) => write!(f, "; what was broken is kept as {}", path.display()),
            None => Ok(()),
        }
    }
}

/// Why a database could not be taken as it is.
enum OpenFailure {
    /// Its content is wrong.
    Damaged(rusqlite::Error),
    /// It cannot be read or written at all.
    Failed(JournalError),
}

/// What a sound database holds.
#[derive(Default)]
struct Contents {
    totals: Totals,
    intact: Vec<Row>,
    /// By sequence, with the row where its columns could be read.
    damaged: Vec<(i64, Option<Row>)>,
}

/// Opens the files and accounts for the records.
pub(crate) fn open(
    paths: &Paths,
) -> Result<(Store, HighWaterMark, AttemptLog, Recovery), JournalError> {
    fs::create_dir_all(&paths.directory)
        .map_err(|cause| JournalError::io("make the directory", &paths.directory, cause))?;
    let (mut mark, seen) = HighWaterMark::open(paths)?;
    let (log, attempts) = AttemptLog::open(paths)?;
    let mut recovery = Recovery { set_aside: salvage::complete(paths)?, ..Recovery::default() };
    let (store, pending) = match load(paths, seen, &attempts, &mut recovery) {
        Ok(taken) => taken,
        Err(OpenFailure::Failed(error)) => return Err(error),
        Err(OpenFailure::Damaged(cause))
            if mark.is_new && !salvage::is_journal(&paths.database) =>
        {
            return Err(JournalError::foreign(&paths.database, cause));
        }
        Err(OpenFailure::Damaged(_)) => {
            recovery.set_aside = salvage::rebuild(paths, seen)?;
            load(paths, seen, &attempts, &mut recovery).map_err(|failure| match failure {
                OpenFailure::Damaged(cause) => JournalError::sqlite("read", &paths.database, cause),
                OpenFailure::Failed(error) => error,
            })?
        }
    };
    mark.write(store.totals().progress())
        .and_then(|()| mark.sync())
        .map_err(|cause| JournalError::io("write", &paths.mark, cause))?;
    log.clear().map_err(|cause| JournalError::io("write", &paths.attempts, cause))?;
    paths.sync_directory()?;
    recovery.pending = pending;
    if !recovery.is_whole() {
        stderr::line(format_args!("the journal {}: {recovery}", paths.database.display()));
    }
    Ok((store, mark, log, recovery))
}

impl OpenFailure {
    /// Tells a file whose content is wrong from one that cannot be used just now.
    fn of(file: &Path, error: rusqlite::Error) -> Self {
        use ErrorCode::*;
        match error.sqlite_error_code() {
            Some(
                DatabaseBusy
                | DatabaseLocked
                | SystemIoFailure
                | DiskFull
                | CannotOpen
                | OutOfMemory
                | PermissionDenied
                | FileLockingProtocolFailed,
            ) => OpenFailure::Failed(JournalError::sqlite("open", file, error)),
            // SQLite reads a file only, too, whose header says that a later version wrote it.
            Some(ReadOnly)
                if fs::metadata(file).is_ok_and(|data| data.permissions().readonly()) =>
            {
                OpenFailure::Failed(JournalError::sqlite("write", file, error))
            }
            _ => OpenFailure::Damaged(error),
        }
    }
}

/// Reads a database, accounts for its records and notes there what was found.
fn load(
    paths: &Paths,
    seen: Option<Progress>,
    attempts: &Attempts,
    recovery: &mut Recovery,
) -> Result<(Store, Vec<Record>), OpenFailure> {
    let (connection, contents) = inspect(&paths.database)?;
    count_losses(recovery, &contents, seen);
    if recovery.rolled_back && recovery.set_aside.is_none() {
        recovery.set_aside = keep_wal(paths);
    }
    write_findings(connection, contents, seen.unwrap_or_default(), attempts)
        .map_err(|cause| OpenFailure::of(&paths.database, cause))
}

/// Opens a database and reads all that is pending; changes nothing but an empty file.
fn inspect(file: &Path) -> Result<(Connection, Contents), OpenFailure> {
    let failure = |error| OpenFailure::of(file, error);
    let mut connection = connect(file).map_err(failure)?;
    let found = prepare(&mut connection).map_err(failure)?;
    let totals = match found {
        TotalsRow::Intact(totals) => totals,
        TotalsRow::Damaged => {
            return Err(OpenFailure::Damaged(rusqlite::Error::QueryReturnedNoRows));
        }
        TotalsRow::UnknownVersion(version) => {
            return Err(OpenFailure::Failed(JournalError::version(file, version)));
        }
    };
    let mut contents = Contents { totals, ..Contents::default() };
    scan_pending(&connection, i64::MIN, i64::MAX, |sequence, row| match row {
        Some(row) if row.is_intact() && sequence > 0 => contents.intact.push(row),
        row => contents.damaged.push((sequence, row)),
    })
    .map_err(failure)?;
    Ok((connection, contents))
}

/// Makes the tables in an empty file, and looks at the structure of one that is not.
fn prepare(connection: &mut Connection) -> rusqlite::Result<TotalsRow> {
    connection.query_row("pragma journal_mode = wal", [], |_| Ok(()))?;
    let tables: i64 =
        connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        create(connection, &Totals::default())?;
        return Ok(TotalsRow::Intact(Totals::default()));
    }
    // Rows are read and checked below; this looks at what they do not show, such as a free page
    // that is in use too, which would be overwritten one day.
    let verdict: String = connection.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    match verdict.as_str() {
        "ok" => Totals::read(connection),
        _ => Ok(TotalsRow::Damaged),
    }
}

/// Counts what is missing; see the head of this file.
fn count_losses(recovery: &mut Recovery, contents: &Contents, seen: Option<Progress>) {
    let Totals { last, settled, .. } = contents.totals;
    let present = (contents.intact.len() + contents.damaged.len()) as u64;
    let gone = last.saturating_sub(settled).saturating_sub(present);
    let mark = seen.unwrap_or_default();
    let behind = mark.last.saturating_sub(last).min(mark.last.saturating_sub(mark.settled));
    recovery.missing = gone + behind;
    recovery.damaged = contents.damaged.len() as u64;
    recovery.rolled_back = mark.last > last || mark.settled > settled;
    recovery.mark_lost = seen.is_none() && last > 0;
}

/// Keeps a copy of the WAL before it is written to: records may be readable in what follows the
/// fault. Without room for it the open goes on.
fn keep_wal(paths: &Paths) -> Option<PathBuf> {
    let aside = paths.set_aside();
    fs::copy(Paths::wal(&paths.database), Paths::wal(&aside)).ok().map(|_| aside)
}

/// Writes in one transaction what was found: damaged rows become dead letters, an attempt that the
/// end of the process cut off counts, totals say what is there.
fn write_findings(
    mut connection: Connection,
    contents: Contents,
    mark: Progress,
    attempts: &Attempts,
) -> rusqlite::Result<(Store, Vec<Record>)> {
    let Contents { totals, mut intact, damaged } = contents;
    let highest = intact.last().map_or(0, |row| row.header.sequence.cast_unsigned());
    let last = totals.last.max(mark.last).max(highest);
    let totals = Totals { last, settled: last - intact.len() as u64 };
    let now = SystemTime::now();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (sequence, row) in damaged {
        if let Some(row) = row {
            insert_dead_letter(&transaction, &damaged_letter(row, now))?;
        }
        transaction.execute("delete from pending where sequence = ?1", [sequence])?;
    }
    for row in &mut intact {
        let begun = attempts.get(&row.header.sequence.cast_unsigned()).copied().unwrap_or(0);
        if begun > row.header.attempts {
            row.header.attempts = begun;
            write_header(&transaction, &row.header, payload_part(row.check_sum))?;
        }
    }
    totals.write(&transaction)?;
    transaction.commit()?;
    let pending = intact.into_iter().map(|row| record(row, now)).collect();
    Ok((Store::new(connection, totals)?, pending))
}

fn record(row: Row, now: SystemTime) -> Record {
    Record {
        sequence: row.header.sequence.cast_unsigned(),
        attempts: row.header.attempts,
        priority: row.header.priority,
        due_in: row.header.due.and_then(|due| due.left(now)),
        payload: row.payload,
    }
}

fn damaged_letter(row: Row, died_at: SystemTime) -> DeadLetter {
    DeadLetter {
        sequence: row.header.sequence.cast_unsigned(),
        attempts: row.header.attempts,
        priority: row.header.priority,
        reason: "damaged: its check sum does not match".to_owned(),
        died_at,
        payload: row.payload,
    }
}
