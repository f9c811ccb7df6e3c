//! One process per data directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::Path,
};

use crate::OpenError;

const FILE: &str = "lock";

/// Held for as long as the store is open; the kernel releases it however the process ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Takes the directory, which must exist.
    ///
    /// # Errors
    ///
    /// When another process has it, or it cannot be used.
    pub fn take(dir: &Path) -> Result<DirLock, OpenError> {
        let directory = |source| OpenError::Directory { dir: dir.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(FILE))
            .map_err(directory)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let holder = match file.read_to_string(&mut pid) {
                    Ok(_) if pid.trim().parse::<u32>().is_ok() => format!("process {}", pid.trim()),
                    _ => "another process".to_owned(),
                };
                return Err(OpenError::InUse { dir: dir.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(directory(source)),
        }
        // The number only serves the message above: a full disk must not keep the store from opening.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(DirLock { _file: file })
    }
}
