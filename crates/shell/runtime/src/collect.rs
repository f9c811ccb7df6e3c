//! Keeps the directory of compiled code within its bound: what was used longest ago goes first, what is in use stays.
//!
//! Code of other engines (earlier releases, other settings) counts and goes as any other. When a file was used is its access
//! time, which [`crate::cache`] sets itself, since most file systems do not. Start at [`collect`].

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// One file of compiled code.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Removes code below `root` once there are more than `max` bytes of it, but none of `kept`.
pub(crate) fn collect(root: &Path, max: u64, kept: &HashSet<PathBuf>) -> io::Result<Collected> {
    let found = list(root)?;
    let mut collected = Collected::default();
    for path in victims(found, max, kept) {
        let bytes = path.metadata().map_or(0, |it| it.len());
        match fs::remove_file(&path) {
            Ok(()) => {
                collected.files += 1;
                collected.bytes += bytes;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // The directory of an engine that has no code any more; refused while there is some.
        let _ = path.parent().map(fs::remove_dir);
    }
    Ok(collected)
}

fn list(root: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for engine in fs::read_dir(root)?.flatten().filter(|it| it.file_type().is_ok_and(|it| it.is_dir())) {
        for file in fs::read_dir(engine.path())?.flatten() {
            let path = file.path();
            if path.extension().is_some_and(|it| it == "code")
                && let Ok(metadata) = file.metadata()
            {
                let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let used = metadata.accessed().map_or(written, |it| it.max(written));
                found.push(Found { path, bytes: metadata.len(), used });
            }
        }
    }
    Ok(found)
}

/// Which files go. Pure.
fn victims(mut found: Vec<Found>, max: u64, kept: &HashSet<PathBuf>) -> Vec<PathBuf> {
    let mut total: u64 = found.iter().map(|it| it.bytes).sum();
    if total <= max {
        return Vec::new();
    }
    // Some room to spare, so that collecting is rare.
    let low = max - max / 5;
    found.sort_by_key(|it| it.used);
    let mut out = Vec::new();
    for it in found.into_iter().filter(|it| !kept.contains(&it.path)) {
        if total <= low {
            break;
        }
        total -= it.bytes;
        out.push(it.path);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn found(name: &str, bytes: u64, used_seconds: u64) -> Found {
        Found { path: name.into(), bytes, used: SystemTime::UNIX_EPOCH + Duration::from_secs(used_seconds) }
    }

    #[test]
    fn the_longest_unused_goes_until_there_is_room_to_spare() {
        let files = || vec![found("new", 40, 30), found("old", 30, 10), found("middle", 40, 20)];
        let none = HashSet::new();
        assert!(victims(files(), 110, &none).is_empty());
        assert_eq!(victims(files(), 100, &none), [PathBuf::from("old")]);
        assert_eq!(victims(files(), 50, &none), [PathBuf::from("old"), "middle".into()]);
        assert_eq!(victims(files(), 1, &none).len(), 3);
        let kept = HashSet::from([PathBuf::from("old")]);
        assert_eq!(victims(files(), 100, &kept), [PathBuf::from("middle")]);
    }

    #[test]
    fn directories_of_other_engines_go_when_they_are_empty() {
        let root = tempfile::tempdir().unwrap();
        for (engine, name) in [("one", "a.code"), ("one", "b.code"), ("two", "c.code"), ("two", "notes.txt")] {
            fs::create_dir_all(root.path().join(engine)).unwrap();
            fs::write(root.path().join(engine).join(name), [0; 1000]).unwrap();
        }
        let kept = HashSet::from([root.path().join("one/b.code")]);
        let got = collect(root.path(), 100, &kept).unwrap();
        assert_eq!(got, Collected { files: 2, bytes: 2000 });
        assert!(root.path().join("one/b.code").exists() && root.path().join("two/notes.txt").exists());
        let got = collect(root.path(), 100, &HashSet::new()).unwrap();
        assert_eq!(got.files, 1);
        assert!(!root.path().join("one").exists());
    }
}
