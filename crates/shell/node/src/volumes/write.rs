//! Makes a directory hold exactly the given files.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{File, Files};

/// Ends the name of a file that is being written.
const UNFINISHED: &str = ".eyot-unfinished";

/// Makes `directory` hold exactly `files`, touching only what differs. On failure, says at which path.
pub(crate) fn sync(directory: &Path, files: &Files) -> Result<(), (PathBuf, io::Error)> {
    make_private(directory).map_err(|error| (directory.to_owned(), error))?;
    prune(directory, directory, files).map_err(|error| (directory.to_owned(), error))?;
    for (name, file) in files {
        let path = directory.join(name);
        put(&path, file).map_err(|error| (path, error))?;
    }
    Ok(())
}

/// Creates a directory, and those above it, for the node's user only.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn put(path: &Path, file: &File) -> io::Result<()> {
    let same = fs::metadata(path)
        .is_ok_and(|it| it.permissions().mode() & 0o777 == file.mode && it.len() == file.data.len() as u64);
    if same && fs::read(path)? == file.data {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_private(parent)?;
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let _ = fs::remove_file(&unfinished);
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    out.write_all(&file.data)?;
    out.set_permissions(fs::Permissions::from_mode(file.mode))?;
    fs::rename(&unfinished, path)
}

/// Removes what is in no path of `files`, and directories left empty by that.
fn prune(root: &Path, directory: &Path, files: &Files) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) else { continue };
        if path.is_dir() && !path.is_symlink() {
            let prefix = format!("{name}/");
            if files.keys().any(|it| it.starts_with(&prefix)) {
                prune(root, &path, files)?;
            } else {
                super::remove_tree(&path)?;
            }
        } else if !files.contains_key(name) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_to_hold_exactly_the_files() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("v");
        let files = |list: &[(&str, &str, u32)]| -> Files {
            list.iter()
                .map(|(path, text, mode)| ((*path).to_owned(), File { data: (*text).into(), mode: *mode }))
                .collect()
        };
        sync(&directory, &files(&[("a", "one", 0o600), ("d/b", "two", 0o400), ("old/c", "x", 0o600)])).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        let before = fs::metadata(directory.join("a")).unwrap().modified().unwrap();
        sync(&directory, &files(&[("a", "one", 0o600), ("d/b", "new", 0o400)])).unwrap();
        assert_eq!(
            fs::metadata(directory.join("a")).unwrap().modified().unwrap(),
            before,
            "the same file is left alone"
        );
        assert_eq!(fs::read_to_string(directory.join("d/b")).unwrap(), "new", "a read-only file is replaced");
        assert_eq!(fs::metadata(directory.join("d/b")).unwrap().permissions().mode() & 0o777, 0o400);
        assert!(!directory.join("old").exists());
    }
}
