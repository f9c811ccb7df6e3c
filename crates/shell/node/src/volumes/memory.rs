//! A place for volumes that are kept in memory: a directory of ours on the system's shared-memory file system.
//!
//! Its content survives a restart of the node, as that of other empty directories does, and not one of the machine. What guests
//! put there counts to nobody's memory limit; that of the pod bounds it, and `sizeLimit`.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where Linux offers memory as a file system.
const SYSTEM: &str = "/dev/shm";

/// The directory of the node whose data lies at `data`, which need not exist; `None` where there can be none.
pub(crate) fn root(data: &Path) -> Option<PathBuf> {
    let kind = rustix::fs::statfs(SYSTEM).ok()?.f_type;
    // The type's number, which libc calls TMPFS_MAGIC; its width depends on the machine.
    if kind != 0x0102_1994 {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    data.canonicalize().ok()?.hash(&mut hasher);
    Some(Path::new(SYSTEM).join(format!("eyot-{:016x}", hasher.finish())))
}

/// Makes that directory, or sees that it is ours alone: everybody may write beside it.
pub(crate) fn prepare(root: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(root)?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    match ours && found.permissions().mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to somebody else")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_that_is_ours_alone_will_do() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        prepare(&root).unwrap();
        prepare(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(prepare(&root).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let link = parent.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        assert_eq!(prepare(&link).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
