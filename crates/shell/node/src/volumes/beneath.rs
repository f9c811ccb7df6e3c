//! Opening what lies in a directory that guests write in at the same time. Whatever links they put there, and whenever, nothing
//! outside is opened for reading, made or mounted: what was opened is looked at, and used, rather than its path.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

/// What was found. It stays what it is, wherever its path leads later.
pub(crate) struct Found {
    /// Opened by `O_PATH`: neither read nor written through this.
    pub(crate) held: OwnedFd,
    /// Where it was then.
    pub(crate) path: PathBuf,
}

impl Found {
    /// Whether it is a regular file.
    pub(crate) fn is_file(&self) -> io::Result<bool> {
        Ok(FileType::from_raw_mode(rustix::fs::fstat(&self.held)?.st_mode) == FileType::RegularFile)
    }

    /// A path that leads to nothing else while this is kept.
    pub(crate) fn fixed_path(&self) -> PathBuf {
        fixed_path(&self.held)
    }
}

/// Holds on to a directory that no guest can replace.
pub(crate) fn hold(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, Mode::empty())?)
}

/// Follows `path` from `root`, by links too as long as they stay inside; `None` when it leads outside. With `make`, missing
/// directories are made on the way, for the node's user only.
pub(crate) fn find(root: OwnedFd, path: &Path, make: bool) -> io::Result<Option<Found>> {
    let top = fs::read_link(fixed_path(&root))?;
    let mut found = Found { held: root, path: top.clone() };
    // Each step starts in a directory that was seen to lie inside, and no guest can move it out of its volumes.
    for part in path.components() {
        let next = || rustix::fs::openat(&found.held, part.as_os_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let held = match next() {
            Err(Errno::NOENT) if make => match rustix::fs::mkdirat(&found.held, part.as_os_str(), Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => next()?,
                Err(error) => return Err(error.into()),
            },
            other => other?,
        };
        let path = fs::read_link(fixed_path(&held))?;
        if !path.starts_with(&top) {
            return Ok(None);
        }
        found = Found { held, path };
    }
    Ok(Some(found))
}

fn fixed_path(held: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", held.as_fd().as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::symlink,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[test]
    fn links_lead_anywhere_inside_and_nowhere_else() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(parent.path().join("secret"), "").unwrap();
        symlink("a/b", root.join("in")).unwrap();
        symlink("../../root/a", root.join("a/round")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("../secret", root.join("file")).unwrap();
        let to = |path: &str, make| {
            let found = find(hold(&root).unwrap(), Path::new(path), make).map_err(|it| it.kind())?;
            Ok(found.map(|it| it.path.strip_prefix(parent.path()).unwrap().display().to_string()))
        };
        let at = |path: &str| Ok(Some(path.to_owned()));
        assert_eq!(to("", false), at("root"));
        assert_eq!(to("in", false), at("root/a/b"));
        assert_eq!(to("a/round/b", false), at("root/a/b"));
        assert_eq!(to("in/new/er", false), Err(io::ErrorKind::NotFound));
        assert_eq!(to("in/new/er", true), at("root/a/b/new/er"));
        for outside in ["up", "up/root/a", "file", "..", "../root", "/etc", "up/made"] {
            assert_eq!(to(outside, true), Ok(None), "{outside}");
        }
        assert!(!parent.path().join("made").exists());
    }

    #[test]
    fn a_link_that_appears_meanwhile_changes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        fs::create_dir_all(root.join("x")).unwrap();
        symlink("..", root.join("y")).unwrap();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    for (from, to) in [("x", "z"), ("y", "x"), ("x", "y"), ("z", "x")] {
                        fs::rename(root.join(from), root.join(to)).unwrap();
                    }
                }
            });
            let (mut inside, mut outside, mut wrong) = (0, 0, None);
            for _ in 0..200_000 {
                match find(hold(&root).unwrap(), Path::new("x"), false) {
                    Ok(Some(found)) => {
                        inside += 1;
                        let opened = fs::read_link(found.fixed_path()).unwrap();
                        wrong = wrong.or((!opened.starts_with(&root)).then(|| opened.display().to_string()));
                    }
                    Ok(None) => outside += 1,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => wrong = Some(error.to_string()),
                }
                if wrong.is_some() || (inside > 100 && outside > 100) {
                    break;
                }
            }
            ended.store(true, Ordering::Relaxed);
            assert_eq!(wrong, None);
            assert!(inside > 0 && outside > 0, "the race was run: {inside} and {outside}");
        });
    }
}
