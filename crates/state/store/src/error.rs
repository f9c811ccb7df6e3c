//! Everything that can go wrong, named by step and object.

use std::{io, path::PathBuf, sync::Arc};

use crate::{Entry, Key, Revision};

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made or used.
    #[error("preparing data directory {}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Another process has it open.
    #[error("data directory {} is in use by {holder}; stop that process or choose another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// `process 123`, or `another process` when its number is not known.
        holder: String,
    },
    /// The database is not one of ours, or from a newer release.
    #[error("{} has schema {found}, and this release understands {known}; use the release that wrote it", file.display())]
    Schema {
        /// The database.
        file: PathBuf,
        /// Version found.
        found: String,
        /// Version this release writes.
        known: i64,
    },
    /// Content is damaged.
    #[error(
        "{} is damaged ({detail}); nothing was changed. Restore it from a backup, or move it and its -wal file away to \
         start without objects",
        file.display()
    )]
    Damaged {
        /// The database.
        file: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// SQLite failed for another reason.
    #[error("{step} {}", file.display())]
    Sqlite {
        /// What was being done.
        step: &'static str,
        /// The database.
        file: PathBuf,
        /// Cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The writer's thread did not start.
    #[error("starting the store's writer thread")]
    Thread(#[source] io::Error),
}

/// Why a write did not happen. Unless stated otherwise nothing changed, in memory or on disk.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// Create of a key that is taken.
    #[error("{} already exists at revision {}", current.key, current.revision)]
    Exists {
        /// Who holds it.
        current: Arc<Entry>,
    },
    /// Update or delete of a key that is free.
    #[error("{key} does not exist")]
    NotFound {
        /// The key.
        key: Key,
    },
    /// The expected version is not the newest.
    #[error("{} is at revision {}, not at the expected {expected}", current.key, current.revision)]
    Conflict {
        /// The newest version.
        current: Arc<Entry>,
        /// What the writer believed.
        expected: Revision,
    },
    /// The value is over the limit.
    #[error("{key} would take {bytes} bytes, more than the {max} that one object may have")]
    TooLarge {
        /// The key.
        key: Key,
        /// Size of the value.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The closure that makes the value panicked.
    #[error("making the value of {key} failed")]
    Value {
        /// The key.
        key: Key,
    },
    /// No space on the device. Later writes succeed once there is space.
    #[error("no space left for {file}; nothing was written, free space on its device and try again")]
    DiskFull {
        /// The database.
        file: Arc<str>,
    },
    /// The disk or SQLite failed. Later writes are tried.
    #[error("writing {file}: {reason}")]
    Disk {
        /// The database.
        file: Arc<str>,
        /// What the system said.
        reason: Arc<str>,
    },
    /// An earlier flush to disk failed, so what the disk holds is unknown; the write may or may not survive a restart.
    #[error("{file} takes no more writes since a flush failed ({reason}); check the device and restart")]
    Broken {
        /// The database.
        file: Arc<str>,
        /// What the system said.
        reason: Arc<str>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a revision cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Older than the retained history: list again.
    #[error("revision {requested} is too old, the history starts after {oldest}")]
    Compacted {
        /// Asked for.
        requested: Revision,
        /// The oldest revision that can be served.
        oldest: Revision,
    },
    /// Not reached yet.
    #[error("revision {requested} is in the future, the store is at {current}")]
    Future {
        /// Asked for.
        requested: Revision,
        /// The newest.
        current: Revision,
    },
}

/// A watcher did not keep up and was cut: list again, then watch from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watcher fell {behind} events behind and was cut")]
pub struct Lagged {
    /// Events that were waiting.
    pub behind: usize,
}
