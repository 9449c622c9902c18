//! The one row that says what must be in the others.

use rusqlite::{Connection, OptionalExtension, params};

use crate::high_water_mark::Progress;

/// The layout of the tables.
const VERSION: i64 = 2;
/// It has further columns, which its check sum covers.
const UNCHECKED_VERSION: i64 = 1;

/// In each state of the database `last - settled` records are pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// The highest sequence given to a record.
    pub(crate) last: u64,
    /// Records that are no longer pending: acked, dead, or counted as missing.
    pub(crate) settled: u64,
}

/// What was found where the row shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TotalsRow {
    Intact(Totals),
    /// A row that is not what was written, or none.
    Damaged,
    /// Intact, but of a version that is not known.
    UnknownVersion(i64),
}

impl Totals {
    pub(crate) fn progress(&self) -> Progress {
        Progress { last: self.last, settled: self.settled }
    }

    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<TotalsRow> {
        let mut statement = connection.prepare(
            "select version, last_sequence, settled, check_sum from journal where id = 1",
        )?;
        let read = |row: &rusqlite::Row<'_>| {
            let mut columns = [0i64; 4];
            for (index, column) in columns.iter_mut().enumerate() {
                // A value of another type is as wrong as another number.
                *column = row.get(index).unwrap_or(-1);
            }
            Ok(columns)
        };
        let columns = statement.query_row([], read).optional()?;
        let Some([version, last, settled, check_sum]) = columns else {
            return Ok(TotalsRow::Damaged);
        };
        if version == UNCHECKED_VERSION {
            return Ok(TotalsRow::UnknownVersion(version));
        }
        if check_sum != check([version, last, settled]) {
            return Ok(TotalsRow::Damaged);
        }
        if version != VERSION {
            return Ok(TotalsRow::UnknownVersion(version));
        }
        let (last, settled) = (last.cast_unsigned(), settled.cast_unsigned());
        Ok(TotalsRow::Intact(Totals { last, settled }))
    }

    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.write_as(connection, VERSION)
    }

    pub(crate) fn write_as(&self, connection: &Connection, version: i64) -> rusqlite::Result<()> {
        let (last, settled) = (self.last.cast_signed(), self.settled.cast_signed());
        let check_sum = check([version, last, settled]);
        connection
            .prepare_cached(
                "replace into journal (id, version, last_sequence, settled, check_sum) \
                 values (1, ?1, ?2, ?3, ?4)",
            )?
            .execute(params![version, last, settled, check_sum])?;
        Ok(())
    }
}

fn check(columns: [i64; 3]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for column in columns {
        hasher.update(&column.to_le_bytes());
    }
    i64::from(hasher.finalize())
}
