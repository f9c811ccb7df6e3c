//! One tenant's file.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// Bytes of a page, by which the file's bound is counted.
const PAGE_BYTES: u64 = 4096;

/// Opens or makes the file at `path`, which may grow to `bytes_max`.
pub(crate) fn open(path: &Path, bytes_max: u64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA journal_size_limit = 4194304;
         PRAGMA cache_size = -1024;
         PRAGMA max_page_count = {};
         CREATE TABLE IF NOT EXISTS entry (
             bucket TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (bucket, key)
         );
         CREATE TABLE IF NOT EXISTS container (name TEXT PRIMARY KEY, created INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS content (id INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE TABLE IF NOT EXISTS piece (
             content INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (content, at)
         );
         CREATE TABLE IF NOT EXISTS object (
             container TEXT NOT NULL, name TEXT NOT NULL, created INTEGER NOT NULL, size INTEGER NOT NULL,
             content INTEGER NOT NULL, PRIMARY KEY (container, name)
         );
         CREATE INDEX IF NOT EXISTS object_content ON object (content);
         -- What its writer left without a name. Nobody holds anything of a file that is only now opened.
         DELETE FROM piece WHERE content NOT IN (SELECT content FROM object);
         DELETE FROM content WHERE id NOT IN (SELECT content FROM object);",
        (bytes_max / PAGE_BYTES).max(4)
    ))?;
    Ok(connection)
}

/// Pages that an entry of `bytes` may take, those of the trees it is in included.
pub(crate) fn pages(bytes: u64) -> u64 {
    /// For each of the few trees that a call changes, more levels than any of them has.
    const TREES_PAGES: u64 = 32;
    bytes.div_ceil(PAGE_BYTES) + TREES_PAGES
}

/// Pages that may still be added to the file or are free in it; `None` when it does not say.
pub(crate) fn pages_left(file: &Connection) -> Option<u64> {
    let read = |name| file.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).ok();
    let (max, used, free) = (read("max_page_count")?, read("page_count")?, read("freelist_count")?);
    u64::try_from(max + free - used).ok()
}
