//! A place for volumes that are kept in memory: a directory of ours on the system's shared-memory file system.
//!
//! Its content survives a restart of the node, as that of other empty directories does, and not one of the machine. What guests
//! put there counts to nobody's memory limit; `sizeLimit` bounds it.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where Linux offers memory as a file system.
const SYSTEM: &str = "/dev/shm";
/// Its type, as `statfs` tells it.
const TMPFS: i64 = 0x0102_1994;

/// The directory of the node whose data lies at `data`, made if need be; `None` where there can be none.
pub(crate) fn root(data: &Path) -> Option<PathBuf> {
    let kind = rustix::fs::statfs(SYSTEM).ok()?.f_type;
    if i64::try_from(kind) != Ok(TMPFS) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    data.canonicalize().ok()?.hash(&mut hasher);
    let path = Path::new(SYSTEM).join(format!("eyot-{:016x}", hasher.finish()));
    // Everybody may write there: only a directory that is ours alone will do.
    let _ = fs::DirBuilder::new().mode(0o700).create(&path);
    let found = fs::symlink_metadata(&path).ok()?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    (ours && found.permissions().mode() & 0o077 == 0).then_some(path)
}
