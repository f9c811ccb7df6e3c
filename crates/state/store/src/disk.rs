//! The SQLite file: one log of changes, and how far each resource's history was forgotten.
//!
//! Rows are only appended, and deleted once nothing refers to them. There is no index but the revision: which row is a
//! key's newest is known from memory, and found at start by reading the log once.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use rusqlite::{Connection, ErrorCode, ffi, params};

use crate::{Event, EventKind, OpenError, Revision, checksum};

const FILE: &str = "store.db";
/// "eyot" in the header of the file.
const APPLICATION_ID: i64 = 0x6579_6f74;
const SCHEMA: i64 = 1;
const TABLES: &str = "
    CREATE TABLE log(
        revision INTEGER PRIMARY KEY,
        resource TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        created INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        objects INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE TABLE horizon(resource TEXT PRIMARY KEY, revision INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// The open file.
pub(crate) struct Disk {
    conn: Connection,
    pub(crate) file: Arc<str>,
}

/// One change as read back.
pub(crate) struct Row<'a> {
    pub(crate) revision: Revision,
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) created: Revision,
    pub(crate) deleted: bool,
    /// Objects in the store after the change: the newest row tells whether others are missing.
    pub(crate) objects: u64,
    pub(crate) value: &'a [u8],
}

/// What a failed write means for the writes after it.
pub(crate) enum DiskError {
    /// The device is full; nothing was written.
    Full,
    /// Nothing was written.
    Failed(Arc<str>),
    /// What is on the device is unknown, and the kernel may have dropped pages it could not write.
    Unknown(Arc<str>),
}

/// Opens or creates the file and checks that it is ours; content is checked by [`load`].
pub(crate) fn open(dir: &Path) -> Result<Disk, OpenError> {
    let file = dir.join(FILE);
    // Created here because values may be Secrets; SQLite gives its log the same mode.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&file)
        .map_err(|source| OpenError::Directory { dir: dir.to_owned(), source })?;
    let fail = |step| {
        let file = file.clone();
        move |source| open_error(step, &file, source)
    };
    let conn = Connection::open(&file).map_err(fail("opening"))?;
    // Exclusive: the directory's lock keeps others out, and SQLite needs no shared memory then.
    conn.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;",
    )
    .map_err(fail("configuring"))?;
    prepare_schema(&conn, &file)?;
    Ok(Disk { conn, file: file.to_string_lossy().into() })
}

fn prepare_schema(conn: &Connection, file: &Path) -> Result<(), OpenError> {
    let fail = |step| move |source| open_error(step, file, source);
    let number = |pragma| conn.pragma_query_value(None, pragma, |it| it.get::<_, i64>(0)).map_err(fail("reading"));
    let found = (number("application_id")?, number("user_version")?, number("page_count")?);
    match found {
        (APPLICATION_ID, SCHEMA, _) => Ok(()),
        (0, 0, 0..=1) => conn
            .execute_batch(&format!(
                "BEGIN; {TABLES} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA}; COMMIT;"
            ))
            .map_err(fail("creating tables in")),
        (APPLICATION_ID, version, _) => {
            Err(OpenError::Schema { file: file.to_owned(), found: version.to_string(), known: SCHEMA })
        }
        _ => Err(OpenError::Schema { file: file.to_owned(), found: "of another program".into(), known: SCHEMA }),
    }
}

impl Disk {
    /// Reads how far each resource's history was forgotten.
    pub(crate) fn horizons(&self, mut each: impl FnMut(&str, Revision)) -> Result<(), OpenError> {
        self.read("SELECT resource, revision FROM horizon", |row| {
            each(row.get_ref(0)?.as_str()?, revision(row.get(1)?));
            Ok(Ok(()))
        })
    }

    /// Reads every change in order, each checked against its checksum. `each` tells what does not fit.
    pub(crate) fn load(&self, mut each: impl FnMut(Row<'_>) -> Result<(), String>) -> Result<(), OpenError> {
        let sql = "SELECT revision, resource, namespace, name, created, deleted, value, checksum, objects
                   FROM log ORDER BY revision";
        self.read(sql, |row| {
            let found = Row {
                revision: revision(row.get(0)?),
                resource: row.get_ref(1)?.as_str()?,
                namespace: row.get_ref(2)?.as_str()?,
                name: row.get_ref(3)?.as_str()?,
                created: revision(row.get(4)?),
                deleted: row.get(5)?,
                objects: row.get::<_, i64>(8)?.cast_unsigned(),
                value: row.get_ref(6)?.as_blob()?,
            };
            match found.checksum() == row.get::<_, i64>(7)? {
                true => Ok(each(found)),
                false => Ok(Err(format!("row {} fails its checksum", found.revision))),
            }
        })
    }

    fn read(
        &self,
        sql: &str,
        mut each: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<Result<(), String>>,
    ) -> Result<(), OpenError> {
        let file = Path::new(&*self.file);
        let fail = |source| open_error("reading", file, source);
        let mut query = self.conn.prepare(sql).map_err(fail)?;
        let mut rows = query.query([]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            each(row).map_err(fail)?.map_err(|detail| damaged(file, detail))?;
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, detail: String) -> OpenError {
        damaged(Path::new(&*self.file), detail)
    }

    /// Appends changes in one transaction; on disk when it returns. Gives the number of objects after the last one,
    /// from that before the first.
    pub(crate) fn append(&mut self, events: &[Arc<Event>], mut objects: u64) -> Result<u64, DiskError> {
        let mut run = || -> rusqlite::Result<u64> {
            let transaction = self.conn.transaction()?;
            let mut insert =
                transaction.prepare_cached("INSERT INTO log VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
            for event in events {
                let entry = &*event.entry;
                objects = match event.kind {
                    EventKind::Created => objects + 1,
                    EventKind::Updated => objects,
                    EventKind::Deleted => objects - 1,
                };
                let row = Row {
                    revision: entry.revision,
                    resource: &entry.key.resource,
                    namespace: &entry.key.namespace,
                    name: &entry.key.name,
                    created: entry.created,
                    deleted: event.kind == EventKind::Deleted,
                    objects,
                    value: &entry.value,
                };
                insert.execute(params![
                    row.revision.0.cast_signed(),
                    row.resource,
                    row.namespace,
                    row.name,
                    row.created.0.cast_signed(),
                    row.deleted,
                    row.objects.cast_signed(),
                    row.checksum(),
                    row.value
                ])?;
            }
            drop(insert);
            transaction.commit()?;
            Ok(objects)
        };
        run().map_err(DiskError::from)
    }

    /// Deletes rows and moves the horizons of their resources past them, in one transaction.
    pub(crate) fn forget<'a>(
        &mut self,
        rows: impl Iterator<Item = Revision>,
        horizons: impl Iterator<Item = (&'a str, Revision)>,
    ) -> Result<(), DiskError> {
        let run = || -> rusqlite::Result<()> {
            let transaction = self.conn.transaction()?;
            let mut horizon = transaction.prepare_cached("INSERT OR REPLACE INTO horizon VALUES(?1, ?2)")?;
            for (resource, revision) in horizons {
                horizon.execute(params![resource, revision.0.cast_signed()])?;
            }
            drop(horizon);
            let mut delete = transaction.prepare_cached("DELETE FROM log WHERE revision = ?1")?;
            for row in rows {
                delete.execute([row.0.cast_signed()])?;
            }
            drop(delete);
            transaction.commit()
        };
        run().map_err(DiskError::from)
    }

    /// Moves what the write-ahead log holds into the database, so that the log starts over.
    pub(crate) fn checkpoint(&self) -> Result<(), DiskError> {
        self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).map_err(DiskError::from)
    }
}

impl Row<'_> {
    fn checksum(&self) -> i64 {
        checksum::of(&[
            &self.revision.0.to_le_bytes(),
            self.resource.as_bytes(),
            self.namespace.as_bytes(),
            self.name.as_bytes(),
            &self.created.0.to_le_bytes(),
            &[self.deleted.into()],
            &self.objects.to_le_bytes(),
            self.value,
        ])
    }
}

impl From<rusqlite::Error> for DiskError {
    fn from(error: rusqlite::Error) -> DiskError {
        let reason = error.to_string().into();
        match error.sqlite_error() {
            Some(it) if it.code == ErrorCode::DiskFull => DiskError::Full,
            Some(it) if [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC].contains(&it.extended_code) => {
                DiskError::Unknown(reason)
            }
            Some(it) if matches!(it.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                DiskError::Unknown(reason)
            }
            _ => DiskError::Failed(reason),
        }
    }
}

fn revision(number: i64) -> Revision {
    Revision(number.cast_unsigned())
}

fn damaged(file: &Path, detail: String) -> OpenError {
    OpenError::Damaged { file: file.to_owned(), detail }
}

fn open_error(step: &'static str, file: &Path, source: rusqlite::Error) -> OpenError {
    let corrupt = |it: &ffi::Error| matches!(it.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase);
    let mistyped =
        matches!(source, rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..));
    match mistyped || source.sqlite_error().is_some_and(corrupt) {
        true => damaged(file, source.to_string()),
        false => OpenError::Sqlite { step, file: file.to_owned(), source },
    }
}
