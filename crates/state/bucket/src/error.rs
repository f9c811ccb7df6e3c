//! Why a bucket did not do what it was asked.

use std::{io, path::PathBuf};

/// Why a call failed. Its text is fit for a guest: it tells nothing of the host but that something there failed.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// A tenant's name could be no file's.
    #[error("tenant {0:?} cannot be kept")]
    Tenant(String),
    /// The host's file system failed.
    #[error("the store's files cannot be used")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// SQLite failed.
    #[error("the store failed")]
    Sql {
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The tenant has no room left.
    #[error("the namespace's {bytes_max} bytes are full")]
    Full {
        /// How much it may keep.
        bytes_max: u64,
    },
    /// The disk that the tenant's file is on has no room left.
    #[error("the node's disk is full")]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// A part of the call is too large, or empty where it must not be.
    #[error("{what} has {bytes} bytes; from {min} to {max} are accepted")]
    Size {
        /// `key`, `value` or `bucket name`.
        what: &'static str,
        /// How much it has.
        bytes: usize,
        /// Least.
        min: usize,
        /// Most.
        max: usize,
    },
    /// A value that was to be counted with is no number, or would leave the range of one.
    #[error("the value of {key:?} {why}")]
    Number {
        /// Its key.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A container of that name is there already.
    #[error("container {0:?} is there already")]
    ContainerExists(String),
    /// There is no container of that name.
    #[error("there is no container {0:?}")]
    NoContainer(String),
    /// There is no object of that name.
    #[error("there is no object {0:?}")]
    NoObject(String),
    /// Content is incomplete, because an earlier piece of it failed.
    #[error("{0}")]
    Unwritten(String),
    /// The host is closing.
    #[error("the store is closing")]
    Closing,
}
