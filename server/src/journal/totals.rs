//! The one row that says what must be in the others.

use rusqlite::{Connection, OptionalExtension, params};

use super::mark::Levels;

/// The layout of the tables.
const VERSION: i64 = 1;

/// In each state of the database `last - settled` records are pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// The highest sequence given to a record.
    pub(super) last: u64,
    /// Records that are no longer pending: acked, dead, or counted as missing.
    pub(super) settled: u64,
    /// Runs of the process that did not end with a clean close, and this one.
    pub(super) run: i64,
    /// It was closed.
    pub(super) clean: bool,
}

/// What was found where the row shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Whole(Totals),
    /// A row that is not what was written, or none.
    Damaged,
    /// Whole, but of a version that is not known.
    Foreign(i64),
}

impl Totals {
    pub(super) fn levels(&self) -> Levels {
        Levels { last: self.last, settled: self.settled, run: self.run }
    }

    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Found> {
        let mut statement = connection.prepare(
            "select version, last_sequence, settled, run, clean, check_sum from journal \
             where id = 1",
        )?;
        let read = |row: &rusqlite::Row<'_>| {
            let mut columns = [0i64; 6];
            for (index, column) in columns.iter_mut().enumerate() {
                // A value of another type is as wrong as another number.
                *column = row.get(index).unwrap_or(-1);
            }
            Ok(columns)
        };
        let columns = statement.query_row([], read).optional()?;
        let Some([version, last, settled, run, clean, check_sum]) = columns else {
            return Ok(Found::Damaged);
        };
        if check_sum != check([version, last, settled, run, clean]) {
            return Ok(Found::Damaged);
        }
        if version != VERSION {
            return Ok(Found::Foreign(version));
        }
        let (last, settled) = (last.cast_unsigned(), settled.cast_unsigned());
        Ok(Found::Whole(Totals { last, settled, run, clean: clean != 0 }))
    }

    pub(super) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let (last, settled) = (self.last.cast_signed(), self.settled.cast_signed());
        let clean = i64::from(self.clean);
        let check_sum = check([VERSION, last, settled, self.run, clean]);
        connection
            .prepare_cached(
                "replace into journal (id, version, last_sequence, settled, run, clean, check_sum) \
                 values (1, ?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![VERSION, last, settled, self.run, clean, check_sum])?;
        Ok(())
    }
}

fn check(columns: [i64; 5]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for column in columns {
        hasher.update(&column.to_le_bytes());
    }
    i64::from(hasher.finalize())
}
