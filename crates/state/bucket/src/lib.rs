//! Keys and values of guests, and objects in containers: what a tenant's guests share, bounded, and kept over restarts.
//!
//! Start at [`Buckets::open`]. A [`Tenant`] is one SQLite file; nothing of it is open while nobody uses it. What a write has
//! returned from survives a power cut.
//!
//! Deliberately absent: who is whose tenant, WASI, expiry of keys, watching them, and replication.

mod error;
mod object;
mod schema;
mod tenant;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;

pub use error::BucketError;
pub use object::{ContainerInfo, Content, ObjectInfo, PIECE_BYTES, Upload};
pub use tenant::{Swapped, Tenant};

/// Most of what a tenant may keep, and of what one call may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a tenant's file, all buckets and what they are indexed by together.
    pub tenant_bytes: u64,
    /// Bytes of one value.
    pub value_bytes: usize,
    /// Bytes of one key.
    pub key_bytes: usize,
    /// Bytes of a bucket's name.
    pub name_bytes: usize,
    /// Keys in one answer that lists them.
    pub page_keys: usize,
}

impl Default for Bounds {
    /// Room for settings, sessions, counters and small documents; whoever needs more needs a database.
    fn default() -> Self {
        Bounds { tenant_bytes: 256 << 20, value_bytes: 4 << 20, key_bytes: 1 << 10, name_bytes: 128, page_keys: 1_000 }
    }
}

/// The buckets of every tenant, in one directory.
#[derive(Debug)]
pub struct Buckets {
    dir: PathBuf,
    bounds: Bounds,
    tenants: Mutex<HashMap<String, Weak<Tenant>>>,
}

impl Buckets {
    /// Keeps buckets in `dir`, which is made, for its owner only, when somebody first writes.
    pub fn open(dir: impl Into<PathBuf>, bounds: Bounds) -> Buckets {
        Buckets { dir: dir.into(), bounds, tenants: Mutex::default() }
    }

    /// The tenant that goes by `id`: letters, digits and hyphens.
    ///
    /// # Errors
    ///
    /// When `id` could name something outside the directory, or the directory cannot be made.
    pub fn tenant(&self, id: &str) -> Result<Arc<Tenant>, BucketError> {
        let plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        if !plain {
            return Err(BucketError::Tenant(id.to_owned()));
        }
        let mut tenants = self.tenants.lock();
        if let Some(known) = tenants.get(id).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|source| BucketError::File { path: self.dir.clone(), source })?;
        tenants.retain(|_, it| it.strong_count() > 0);
        let tenant = Arc::new(Tenant::new(self.dir.join(id).with_extension("db"), self.bounds));
        tenants.insert(id.to_owned(), Arc::downgrade(&tenant));
        Ok(tenant)
    }

    /// Removes what tenants other than `living` left behind, unless somebody uses it or did so less than `idle` ago: whoever
    /// is new may be missing in `living`. Blocks.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read or a file in it not be removed.
    pub fn retain(&self, living: &HashSet<String>, idle: Duration) -> Result<(), BucketError> {
        let tenants = self.tenants.lock();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(BucketError::File { path: self.dir.clone(), source }),
        };
        for entry in entries {
            let path = entry.map_err(|source| BucketError::File { path: self.dir.clone(), source })?.path();
            // `ID.db`, and beside it what SQLite keeps.
            let id =
                path.file_name().and_then(|it| it.to_str()).and_then(|it| it.split('.').next()).unwrap_or_default();
            let is_used = tenants.get(id).is_some_and(|it| it.strong_count() > 0);
            let is_old =
                || path.metadata().and_then(|it| it.modified()).is_ok_and(|it| it.elapsed().is_ok_and(|it| it >= idle));
            if !is_used && !living.contains(id) && is_old() {
                fs::remove_file(&path).map_err(|source| BucketError::File { path: path.clone(), source })?;
            }
        }
        Ok(())
    }
}
