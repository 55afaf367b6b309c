//! A database that belongs to an agent: read, and never waited for long.
//!
//! Knows SQLite. Must not know any table.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use super::files;
use muxfs_tree::base::error::{Error, Kind, Result, fail};

/// How long its agent may hold it locked.
const BUSY: Duration = Duration::from_secs(1);
/// How long one use of it may take: a query over a huge table is given up.
const WORK: Duration = Duration::from_secs(3);
/// Instructions between two looks at the clock.
const STEP: i32 = 10_000;

/// Opens it as it is, with what its agent has written last: a live write-ahead log is part of it.
pub fn open(path: &Path) -> Result<Connection> {
    // Not a FIFO, and not made by looking at it. SQLite opens the files beside it as well, and
    // would wait for a FIFO.
    files::open(path).map_err(|e| Error::io(path.display(), e))?;
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        if std::fs::symlink_metadata(&beside).is_ok_and(|m| !m.is_file()) {
            return fail(Kind::Invalid, format!("{}: not a regular file", Path::new(&beside).display()));
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|db| {
        db.busy_timeout(BUSY)?;
        let end = Instant::now() + WORK;
        db.progress_handler(STEP, Some(move || Instant::now() > end))?;
        Ok(db)
    });
    opened.map_err(|e| fault(path, e))
}

/// What is wrong, in one line.
pub fn fault(path: &Path, e: rusqlite::Error) -> Error {
    let (kind, why) = match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Kind::Busy, "locked by its agent".to_owned())
        }
        Some(ErrorCode::OperationInterrupted) => (Kind::TimedOut, "too large to be read in 3 s".to_owned()),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            (Kind::Invalid, "not a sound database".to_owned())
        }
        _ => (Kind::Invalid, e.to_string().lines().next().unwrap_or_default().to_owned()),
    };
    Error::new(kind, format!("{}: {why}", path.display())).because(e)
}

/// A text column, however broken its text; None if the table has no such column.
pub fn text(row: &Row, column: &str) -> Option<String> {
    let value = row.get_ref(column).ok()?;
    value.as_bytes().ok().map(|b| String::from_utf8_lossy(b).into_owned())
}

pub fn number(row: &Row, column: &str) -> Option<u64> {
    u64::try_from(row.get_ref(column).ok()?.as_i64().ok()?).ok()
}
