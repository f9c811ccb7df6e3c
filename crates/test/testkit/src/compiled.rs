//! Compiled guests that nodes of many tests share, since a debug build compiles slowly.
//!
//! In the folder that `$EYOT_COMPILED` names (none: nothing is shared). Files are copied, never linked, so that a test
//! may damage its own; the node checks whatever it reads.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// Smaller files are compiled again sooner than copied.
const BYTES_MIN: u64 = 64 << 10;

/// Gives a node that starts for the first time what others have compiled.
pub(crate) fn give(data_dir: &Path) {
    if let Some(shared) = shared()
        && !data_dir.exists()
    {
        // Best effort: without it the node compiles.
        let _ = copy(&shared, &data_dir.join("cache"));
    }
}

/// Keeps for others what a node has compiled.
pub(crate) fn keep(data_dir: &Path) {
    if let Some(shared) = shared() {
        let _ = copy(&data_dir.join("cache"), &shared);
    }
}

fn shared() -> Option<PathBuf> {
    std::env::var_os("EYOT_COMPILED").map(PathBuf::from)
}

/// Copies `FOLDER/FILE.code` for each file that is large and not there yet, whole or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for engine in fs::read_dir(from)? {
        let engine = engine?;
        let folder = to.join(engine.file_name());
        for file in fs::read_dir(engine.path())? {
            let file = file?;
            let target = folder.join(file.file_name());
            let is_code = file.path().extension().is_some_and(|it| it == "code");
            if !is_code || file.metadata()?.len() < BYTES_MIN || target.exists() {
                continue;
            }
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
            let partial = tempfile::NamedTempFile::new_in(&folder)?;
            fs::copy(file.path(), partial.path())?;
            partial.persist(&target)?;
        }
    }
    Ok(())
}
