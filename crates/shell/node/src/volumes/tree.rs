//! Directories that guests fill, measured and removed whatever they hold: neither the stack nor the number of open files
//! depends on how deep a guest nests them, and no link is followed.
//!
//! Start at [`remove_tree`] and [`size`].

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::AsFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags},
    io::Errno,
    path::Arg,
};

/// Levels that are open at once while a tree is removed. Most trees are no deeper; one that is costs some renames.
const OPEN_MAX: usize = 16;
/// Levels that are measured, which are all open at once. Programs nest directories some dozens deep.
const LEVELS_MAX: usize = 256;

/// Removes `root` and all below it. Blocks.
///
/// What lies too deep is moved up into `root` first, so that a tree that could not be removed whole may look different. A
/// guest that still writes there can make this fail.
///
/// # Errors
///
/// When `root` is not there or no directory, and at the first entry that cannot be removed.
pub(crate) fn remove_tree(root: &Path) -> io::Result<()> {
    // The way from the root to the directory that is emptied now. Each has its name in the one before.
    let mut levels: Vec<(Dir, CString)> = vec![(open(CWD, root)?, CString::default())];
    let (mut moved, mut moved_before) = (0_u64, 0_u64);
    loop {
        let depth = levels.len();
        let Some((at, _)) = levels.last_mut() else { break };
        if let Some(entry) = at.read() {
            let entry = entry?;
            let name = entry.file_name();
            if is_itself(name) || unlink(at, name, entry.file_type())? {
                continue;
            }
            if depth < OPEN_MAX {
                let below = open(at.fd()?, name)?;
                levels.push((below, name.to_owned()));
            } else {
                move_up(&levels, name, &mut moved)?;
            }
        } else if depth == 1 && moved > moved_before {
            // Another look at the root, for what was moved there.
            moved_before = moved;
            at.rewind();
        } else if let Some((_, name)) = levels.pop()
            && let Some((parent, _)) = levels.last()
        {
            rustix::fs::unlinkat(parent.fd()?, &name, AtFlags::REMOVEDIR)?;
        }
    }
    std::fs::remove_dir(root)
}

/// Moves a directory from the last level to the first, under a name that is free there.
fn move_up(levels: &[(Dir, CString)], name: &CStr, moved: &mut u64) -> io::Result<()> {
    let [(top, _), .., (from, _)] = levels else { return Ok(()) };
    loop {
        *moved += 1;
        match rustix::fs::renameat(from.fd()?, name, top.fd()?, format!(".eyot-removed-{moved}")) {
            // The guest has something of this name. An empty directory it would replace, and that must go too.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            done => return Ok(done?),
        }
    }
}

/// Removes what has nothing below it. `false` for a directory that is not empty.
fn unlink(parent: &Dir, name: &CStr, kind: FileType) -> io::Result<bool> {
    let remove = |flags| rustix::fs::unlinkat(parent.fd()?, name, flags);
    let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match remove(flags) {
        // Not every file system says in its listings what is a directory.
        Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Bytes in the files under `directory`: more than any limit when it is nested deeper than can be measured. What cannot be
/// read counts nothing. Blocks.
pub(crate) fn size(directory: &Path) -> u64 {
    let mut levels: Vec<Dir> = open(CWD, directory).into_iter().collect();
    let mut bytes = 0_u64;
    loop {
        let depth = levels.len();
        let Some(at) = levels.last_mut() else { return bytes };
        let Some(Ok(entry)) = at.read() else {
            levels.pop();
            continue;
        };
        let name = entry.file_name();
        if is_itself(name) {
            continue;
        }
        let Ok(found) = at.fd().and_then(|it| rustix::fs::statat(it, name, AtFlags::SYMLINK_NOFOLLOW)) else {
            continue;
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory if depth == LEVELS_MAX => return u64::MAX,
            FileType::Directory => {
                let below = at.fd().and_then(|it| open(it, name));
                levels.extend(below);
            }
            _ => bytes = bytes.saturating_add(u64::try_from(found.st_size).unwrap_or(0)),
        }
    }
}

fn open(parent: impl AsFd, name: impl Arg) -> rustix::io::Result<Dir> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Dir::new(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

fn is_itself(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Makes directories in one another, with a file in the last, beyond what any path can name.
    fn nest(root: &Path, levels: usize) {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = rustix::fs::open(root, flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        let file = rustix::fs::openat(&at, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
        rustix::io::write(&file, b"four").unwrap();
    }

    /// Runs `work` on a stack as the node's threads have it.
    fn on_a_usual_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap()
    }

    #[test]
    fn a_tree_of_any_depth_is_measured_and_removed() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        fs::create_dir(&root).unwrap();
        nest(&root, 60_000);
        // In the way of what is moved up.
        fs::write(root.join(".eyot-removed-1"), "").unwrap();
        fs::create_dir_all(root.join(".eyot-removed-2/x")).unwrap();
        let at = root.clone();
        assert_eq!(on_a_usual_stack(move || size(&at)), u64::MAX);
        let at = root.clone();
        on_a_usual_stack(move || remove_tree(&at)).unwrap();
        assert!(!root.exists());
        assert_eq!(remove_tree(&root).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_a_link_leads_to_is_neither_measured_nor_removed() {
        let parent = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (parent.path().join("root"), parent.path().join("elsewhere"));
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("kept"), vec![0; 9000]).unwrap();
        fs::write(root.join("a/b/f"), "12345").unwrap();
        assert_eq!(size(&root), 5);
        nest(&root.join("a"), 40);
        assert_eq!(size(&root), 9);
        std::os::unix::fs::symlink(&elsewhere, root.join("a/link")).unwrap();
        let link = fs::symlink_metadata(root.join("a/link")).unwrap().len();
        assert_eq!(size(&root), 9 + link);
        assert_eq!(size(&root.join("a/link")), 0);
        remove_tree(&root.join("a/link")).unwrap_err();
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        assert_eq!(fs::metadata(elsewhere.join("kept")).unwrap().len(), 9000);
    }
}
