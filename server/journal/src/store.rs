//! The database: its tables, and the transaction that takes a group.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params,
};

use crate::command::{Append, Outcome, Settlement};
use crate::record::{DeadLetter, Header, Sequence, payload_part, to_ms};
use crate::rows::{due, scan_dead};
use crate::totals::Totals;

/// `strict`, so that a value of another type cannot be written by hand either.
const SCHEMA: &str = "
    create table journal (
        id integer primary key, version integer not null, last_sequence integer not null,
        settled integer not null, check_sum integer not null
    ) strict;
    create table pending (
        sequence integer primary key, priority integer not null, due_at integer, pause integer,
        attempts integer not null, check_sum integer not null, payload blob not null
    ) strict;
    create table dead (
        sequence integer primary key, priority integer not null, attempts integer not null,
        reason text not null, died_at integer not null, payload blob not null
    ) strict;
";

/// How long a commit waits for someone who looks at the database with another program.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of the WAL, as estimated, after which it is copied back into the database.
const CHECKPOINT_PAGES: usize = 1000;
const PAGE_BYTES: usize = 4096;
/// Bytes of the reason that a dead letter keeps.
const REASON_BYTES_MAX: usize = 4096;

/// Opens the database file, made if need be, as it is: closing it does not touch it either.
pub(crate) fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("pragma synchronous = full; pragma cell_size_check = on;")?;
    Ok(connection)
}

/// Makes the tables, in a database that has none.
pub(crate) fn create(connection: &mut Connection, totals: &Totals) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    totals.write(&transaction)?;
    transaction.commit()
}

/// Puts a dead letter down. A letter that bears the number already was a damaged row's.
pub(crate) fn insert_dead_letter(
    connection: &Connection,
    letter: &DeadLetter,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "replace into dead (sequence, priority, attempts, reason, died_at, payload) \
             values (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            letter.sequence.cast_signed(),
            letter.priority,
            letter.attempts,
            letter.reason,
            to_ms(letter.died_at),
            letter.payload
        ])?;
    Ok(())
}

/// An open database whose rows were accounted for.
#[derive(Debug)]
pub(crate) struct Store {
    connection: Connection,
    totals: Totals,
    /// Estimated pages that the WAL has grown by since it was copied back.
    wal_pages: usize,
}

/// What a group did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// The sequence of the group's first record.
    pub(crate) first: Sequence,
    pub(crate) acked: u64,
    pub(crate) retried: u64,
    pub(crate) dead: u64,
    pub(crate) dead_dropped: u64,
}

/// A group that was not committed.
#[derive(Debug)]
pub(crate) struct WriteError {
    pub(crate) cause: rusqlite::Error,
    /// Nothing of it is in the database, nor will be.
    pub(crate) is_rolled_back: bool,
}

impl Store {
    /// Takes a connection whose totals were written. WAL checkpoints are its own from now on.
    pub(crate) fn new(connection: Connection, totals: Totals) -> rusqlite::Result<Self> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        // SQLite's own checkpoints run inside the commit, and hide their errors.
        connection.execute_batch("pragma wal_autocheckpoint = 0;")?;
        Ok(Store { connection, totals, wal_pages: 0 })
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Commits a group: durable when it returns.
    pub(crate) fn write(
        &mut self,
        appends: &[Append],
        settlements: &[Settlement],
        dead_max: u64,
    ) -> Result<Written, WriteError> {
        let written = self.try_write(appends, settlements, dead_max);
        written.map_err(|cause| WriteError { is_rolled_back: self.was_rolled_back(&cause), cause })
    }

    /// Whether a transaction that failed so has certainly left nothing behind: somebody else had the
    /// database, or there was no room, and it was rolled back. What failed otherwise, such as the
    /// sync of a commit, may be there after a crash.
    fn was_rolled_back(&self, cause: &rusqlite::Error) -> bool {
        use ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory};
        let passing = [DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory];
        let is_passing = cause.sqlite_error_code().is_some_and(|code| passing.contains(&code));
        is_passing && self.connection.is_autocommit()
    }

    fn try_write(
        &mut self,
        appends: &[Append],
        settlements: &[Settlement],
        dead_max: u64,
    ) -> rusqlite::Result<Written> {
        let mut totals = self.totals;
        let mut written = Written { first: totals.last + 1, ..Written::default() };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let bytes = insert(&transaction, appends, &mut totals)?;
        for settlement in settlements {
            settle(&transaction, settlement, &mut written)?;
        }
        if written.dead > 0 {
            written.dead_dropped = trim_dead(&transaction, dead_max)?;
        }
        totals.settled += written.acked + written.dead;
        totals.write(&transaction)?;
        transaction.commit()?;
        self.totals = totals;
        // Each commit writes the totals' page and a path to the rows; rows share pages.
        self.wal_pages += 3 + bytes / PAGE_BYTES + settlements.len() / 4;
        Ok(written)
    }

    /// Copies the WAL back if it has grown enough, which bounds it and the time of an open.
    pub(crate) fn checkpoint(&mut self) -> rusqlite::Result<()> {
        if self.wal_pages >= CHECKPOINT_PAGES {
            match self.connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(())) {
                Ok(()) => self.wal_pages = 0,
                // All is in the WAL, and is copied at a later commit.
                Err(cause) if self.was_rolled_back(&cause) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(())
    }

    pub(crate) fn dead_letters(
        &self,
        after: Sequence,
        max: usize,
    ) -> rusqlite::Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        let from = i64::try_from(after.saturating_add(1)).unwrap_or(i64::MAX);
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        scan_dead(&self.connection, from, max, |_, letter| letters.extend(letter))?;
        Ok(letters)
    }

    /// Closes the file, which copies the WAL back.
    pub(crate) fn close(self) -> rusqlite::Result<()> {
        self.connection.close().map_err(|(_, error)| error)
    }
}

/// Inserts the records; the bytes they take.
fn insert(
    transaction: &Transaction<'_>,
    appends: &[Append],
    totals: &mut Totals,
) -> rusqlite::Result<usize> {
    let mut statement = transaction.prepare_cached(
        "insert into pending (sequence, priority, due_at, pause, attempts, check_sum, payload) \
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let mut bytes = 0;
    for append in appends {
        totals.last += 1;
        let header = Header {
            sequence: totals.last.cast_signed(),
            priority: append.priority,
            due: append.due,
            attempts: 0,
        };
        let check_sum = header.check_sum(crc32fast::hash(&append.payload));
        statement.execute(params![
            header.sequence,
            header.priority,
            header.due.map(|due| due.at_ms),
            header.due.map(|due| due.pause_ms),
            header.attempts,
            check_sum,
            append.payload
        ])?;
        bytes += append.payload.len() + size_of::<Header>();
    }
    Ok(bytes)
}

/// Does what a settlement says, if its record is pending.
fn settle(
    transaction: &Transaction<'_>,
    settlement: &Settlement,
    written: &mut Written,
) -> rusqlite::Result<()> {
    let sequence = settlement.sequence.cast_signed();
    match &settlement.outcome {
        Outcome::Ack => written.acked += delete(transaction, sequence)?,
        Outcome::Retry { due } => {
            let Some((header, check_sum)) = read_header(transaction, sequence)? else {
                return Ok(());
            };
            let attempts = header.attempts.saturating_add(1);
            let header = Header { due: *due, attempts, ..header };
            write_header(transaction, &header, payload_part(check_sum))?;
            written.retried += 1;
        }
        Outcome::Dead { reason, at, further_attempts } => {
            let Some((header, _)) = read_header(transaction, sequence)? else { return Ok(()) };
            let end = reason.floor_char_boundary(REASON_BYTES_MAX);
            transaction
                .prepare_cached(
                    "replace into dead (sequence, priority, attempts, reason, died_at, payload) \
                     select sequence, priority, ?2, ?3, ?4, payload from pending \
                     where sequence = ?1",
                )?
                .execute(params![
                    sequence,
                    header.attempts.saturating_add(*further_attempts),
                    &reason[..end],
                    to_ms(*at)
                ])?;
            written.dead += delete(transaction, sequence)?;
        }
    }
    Ok(())
}

fn delete(connection: &Connection, sequence: i64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("delete from pending where sequence = ?1")?;
    statement.execute([sequence]).map(|rows| rows as u64)
}

fn read_header(connection: &Connection, sequence: i64) -> rusqlite::Result<Option<(Header, i64)>> {
    connection
        .prepare_cached(
            "select priority, due_at, pause, attempts, check_sum from pending where sequence = ?1",
        )?
        .query_row([sequence], |row| {
            let header = Header {
                sequence,
                priority: row.get(0)?,
                due: due(row.get(1)?, row.get(2)?),
                attempts: row.get(3)?,
            };
            Ok((header, row.get(4)?))
        })
        .optional()
}

/// Writes what a retry, or an open, changes of a row.
pub(crate) fn write_header(
    connection: &Connection,
    header: &Header,
    payload: u32,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "update pending set due_at = ?2, pause = ?3, attempts = ?4, check_sum = ?5 \
             where sequence = ?1",
        )?
        .execute(params![
            header.sequence,
            header.due.map(|due| due.at_ms),
            header.due.map(|due| due.pause_ms),
            header.attempts,
            header.check_sum(payload)
        ])?;
    Ok(())
}

fn trim_dead(connection: &Connection, dead_max: u64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "delete from dead where sequence <= \
         (select sequence from dead order by sequence desc limit 1 offset ?1)",
    )?;
    let dead_max = i64::try_from(dead_max).unwrap_or(i64::MAX);
    statement.execute([dead_max]).map(|rows| rows as u64)
}
