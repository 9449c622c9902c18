//! A broken database: what is readable of it goes into a new one, and it is set aside untouched.
//!
//! The new file is written under another name, then takes the broken one's place by renames that
//! [`complete`] finishes at the next open if the process ends between them. The totals go over as
//! they were, so that the new file says by itself how many rows are missing in it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::error::JournalError;
use crate::high_water_mark::Progress;
use crate::paths::Paths;
use crate::record::DeadLetter;
use crate::rows::{Row, scan_dead, scan_pending};
use crate::store::{connect, create, insert_dead_letter};
use crate::totals::{Totals, TotalsRow};

/// What could be read of a broken database.
#[derive(Default)]
struct ReadableRows {
    totals: Option<Totals>,
    pending: BTreeMap<i64, Row>,
    dead: BTreeMap<i64, DeadLetter>,
}

/// Puts a new database in the place of the broken one; where that is now.
pub(crate) fn rebuild(
    paths: &Paths,
    seen: Option<Progress>,
) -> Result<Option<PathBuf>, JournalError> {
    let rows =
        connect(&paths.database).map(|connection| read_rows(&connection, seen)).unwrap_or_default();
    remove(&paths.part)?;
    write(&paths.part, &rows, seen)
        .map_err(|cause| JournalError::sqlite("salvage", &paths.database, cause))?;
    File::open(&paths.part)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&paths.part, &paths.salvaged))
        .map_err(|cause| JournalError::io("write", &paths.part, cause))?;
    paths.sync_directory()?;
    complete(paths)
}

/// Whether a file that has no mark beside it looks like a journal: another program's database
/// must not be replaced.
pub(crate) fn is_journal(file: &Path) -> bool {
    let count = "select count(*) from sqlite_schema where name in ('journal', 'pending', 'dead')";
    connect(file)
        .and_then(|connection| connection.query_row(count, [], |row| row.get::<_, i64>(0)))
        .is_ok_and(|tables| tables >= 2)
}

/// Lets a salvaged database take its place, if there is one; where the broken one is now.
pub(crate) fn complete(paths: &Paths) -> Result<Option<PathBuf>, JournalError> {
    if !paths.salvaged.exists() {
        return Ok(None);
    }
    let aside = paths.set_aside();
    let wal = Paths::wal(&paths.database);
    unless_missing(fs::rename(&paths.database, &aside))
        .and_then(|()| unless_missing(fs::rename(&wal, Paths::wal(&aside))))
        .and_then(|()| unless_missing(fs::remove_file(Paths::shm(&paths.database))))
        .and_then(|()| fs::rename(&paths.salvaged, &paths.database))
        .map_err(|cause| JournalError::io("replace", &paths.database, cause))?;
    paths.sync_directory()?;
    Ok(Some(aside))
}

fn read_rows(connection: &Connection, seen: Option<Progress>) -> ReadableRows {
    let totals = match Totals::read(connection) {
        Ok(TotalsRow::Intact(totals)) => Some(totals),
        _ => None,
    };
    let stated = totals.map_or(0, |totals| totals.last).max(seen.map_or(0, |mark| mark.last));
    let end = if stated == 0 { i64::MAX } else { stated.cast_signed() };
    let mut rows = ReadableRows { totals, ..ReadableRows::default() };
    readable(end, |from, max, last| {
        scan_pending(connection, from, max, |sequence, row| {
            let Some(row) = row else { return };
            // A number that a flipped bit made large must not skip those between.
            if row.is_intact() {
                *last = sequence.max(*last);
            }
            rows.pending.entry(sequence).or_insert(row);
        })
    });
    readable(end, |from, max, last| {
        scan_dead(connection, from, max, |sequence, letter| {
            let Some(letter) = letter else { return };
            if sequence <= end {
                *last = sequence.max(*last);
            }
            rows.dead.entry(sequence).or_insert(letter);
        })
    });
    rows
}

/// Scans a table past the pages that cannot be read.
///
/// `scan(from, max, last)` reads up to `max` rows from the sequence `from` on and raises `last` to
/// the last it read. Where it fails, the first sequence beyond the fault is searched in steps that
/// double, then by halves, so that a bad page costs some ten short scans, and a bad root, under
/// which nothing is readable, as many as `end` has bits.
fn readable(end: i64, mut scan: impl FnMut(i64, i64, &mut i64) -> rusqlite::Result<()>) {
    let mut last = 0;
    let mut from = i64::MIN;
    while scan(from, i64::MAX, &mut last).is_err() {
        let mut fails = last.max(from).saturating_add(1).max(1);
        let mut step = 1i64;
        let mut reads = loop {
            let probe = fails.saturating_add(step);
            if probe > end {
                return;
            }
            if scan(probe, 1, &mut last.clone()).is_ok() {
                break probe;
            }
            fails = probe;
            step = step.saturating_mul(2);
        };
        while reads - fails > 1 {
            let middle = fails + (reads - fails) / 2;
            match scan(middle, 1, &mut last.clone()) {
                Ok(()) => reads = middle,
                Err(_) => fails = middle,
            }
        }
        from = reads;
    }
}

/// Writes the rows as they are; those whose check sum does not match too, to be counted.
fn write(file: &Path, rows: &ReadableRows, seen: Option<Progress>) -> rusqlite::Result<()> {
    let mut connection = connect(file)?;
    create(&mut connection, &stated_totals(rows, seen))?;
    let transaction = connection.transaction()?;
    for row in rows.pending.values() {
        let header = &row.header;
        transaction
            .prepare_cached(
                "insert into pending \
                 (sequence, priority, due_at, pause, attempts, check_sum, payload) \
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                header.sequence,
                header.priority,
                header.due.map(|due| due.at_ms),
                header.due.map(|due| due.pause_ms),
                header.attempts,
                row.check_sum,
                row.payload
            ])?;
    }
    for letter in rows.dead.values() {
        insert_dead_letter(&transaction, letter)?;
    }
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

/// The totals of the broken database; without them those of the mark, and the rows beyond it;
/// without both what is there counts as all there was.
fn stated_totals(rows: &ReadableRows, seen: Option<Progress>) -> Totals {
    if let Some(totals) = rows.totals {
        return totals;
    }
    let intact = || rows.pending.values().filter(|row| row.is_intact());
    let mark = seen.unwrap_or_else(|| {
        let last = intact().map(|row| row.header.sequence.cast_unsigned()).max().unwrap_or(0);
        Progress { last, settled: last.saturating_sub(rows.pending.len() as u64) }
    });
    let beyond = intact().filter(|row| row.header.sequence.cast_unsigned() > mark.last).count();
    Totals { last: mark.last + beyond as u64, settled: mark.settled }
}

/// Removes what is left of a salvage that was cut short.
fn remove(file: &Path) -> Result<(), JournalError> {
    let mut journal = file.as_os_str().to_owned();
    journal.push("-journal");
    unless_missing(fs::remove_file(file))
        .and_then(|()| unless_missing(fs::remove_file(PathBuf::from(journal))))
        .map_err(|cause| JournalError::io("remove", file, cause))
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
