//! Reading rows that may be damaged: each on its own, so that one that is does not hide the next.

use rusqlite::{Connection, params};

use crate::record::{DeadLetter, Due, Header, from_ms};

/// A pending row as it lies in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) header: Header,
    pub(crate) payload: Vec<u8>,
    pub(crate) check_sum: i64,
}

impl Row {
    /// Whether it is what was written.
    pub(crate) fn is_intact(&self) -> bool {
        self.header.check_sum(crc32fast::hash(&self.payload)) == self.check_sum
    }
}

/// Reads up to `max` pending rows from the sequence `from` on, in order. `each` is given `None` for
/// a row whose columns are of no type that was written. An error ends the scan: a page could not be
/// read.
pub(crate) fn scan_pending(
    connection: &Connection,
    from: i64,
    max: i64,
    mut each: impl FnMut(i64, Option<Row>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "select sequence, priority, due_at, pause, attempts, check_sum, payload from pending \
         where sequence >= ?1 order by sequence limit ?2",
    )?;
    let mut rows = statement.query(params![from, max])?;
    while let Some(row) = rows.next()? {
        let sequence = row.get(0)?;
        each(sequence, pending_row(sequence, row).ok());
    }
    Ok(())
}

fn pending_row(sequence: i64, row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let header = Header {
        sequence,
        priority: row.get(1)?,
        due: due(row.get(2)?, row.get(3)?),
        attempts: row.get(4)?,
    };
    Ok(Row { header, check_sum: row.get(5)?, payload: row.get(6)? })
}

/// Of the two columns, which hold a time each or nothing both.
pub(crate) fn due(at_ms: Option<i64>, pause_ms: Option<i64>) -> Option<Due> {
    at_ms.zip(pause_ms).map(|(at_ms, pause_ms)| Due { at_ms, pause_ms })
}

/// The same of dead letters, from the sequence `from` on.
pub(crate) fn scan_dead(
    connection: &Connection,
    from: i64,
    max: i64,
    mut each: impl FnMut(i64, Option<DeadLetter>),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "select sequence, priority, attempts, payload, reason, died_at from dead \
         where sequence >= ?1 order by sequence limit ?2",
    )?;
    let mut rows = statement.query(params![from, max])?;
    while let Some(row) = rows.next()? {
        let sequence = row.get(0)?;
        each(sequence, dead_letter(sequence, row).ok());
    }
    Ok(())
}

fn dead_letter(sequence: i64, row: &rusqlite::Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        sequence: sequence.cast_unsigned(),
        priority: row.get(1)?,
        attempts: row.get(2)?,
        payload: row.get(3)?,
        reason: row.get(4)?,
        died_at: from_ms(row.get(5)?),
    })
}
