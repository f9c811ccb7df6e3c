//! Bundles on disk, so that a node without its network decides after a restart as it did before.
//!
//! A bundle's file is written beside its place and renamed into it. It is the archive as it came, with a line of JSON before
//! it that says where it is from; the archive has checksums of its own, and its signature is checked again when it is read.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

/// The directory of kept bundles.
#[derive(Debug)]
pub(crate) struct Kept {
    dir: PathBuf,
}

/// A bundle from before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeptBundle {
    pub(crate) etag: Option<String>,
    pub(crate) bundle: Vec<u8>,
}

impl Kept {
    pub(crate) fn new(dir: PathBuf) -> Kept {
        Kept { dir }
    }

    /// Names of objects are file names too: lowercase letters, digits, dots and dashes.
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}.bundle", name.replace('/', "_")))
    }

    /// What was kept of a policy's bundle, if it is from this source.
    pub(crate) fn read(&self, name: &str, identity: &str) -> Option<KeptBundle> {
        let content = match fs::read(self.path(name)) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(policy = name, %error, "reading a kept bundle");
                return None;
            }
        };
        let end = content.iter().position(|it| *it == b'\n')?;
        let about: Value = serde_json::from_slice(&content[..end]).ok()?;
        if about["source"] != identity {
            return None;
        }
        let etag = about["etag"].as_str().map(str::to_owned);
        Some(KeptBundle { etag, bundle: content[end + 1..].to_vec() })
    }

    /// Keeps a bundle in place of the one before.
    pub(crate) fn write(&self, name: &str, identity: &str, etag: Option<&str>, bundle: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.path(name);
        let temporary = path.with_extension("tmp");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        writeln!(file, "{}", json!({"source": identity, "etag": etag}))?;
        file.write_all(bundle)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    }

    /// Removes what was kept for policies that are gone.
    pub(crate) fn forget_all_but<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let wanted: BTreeSet<PathBuf> = names.map(|it| self.path(it)).collect();
        let Ok(entries) = fs::read_dir(&self.dir) else { return };
        for path in entries.filter_map(|it| Some(it.ok()?.path())) {
            if is_bundle(&path)
                && !wanted.contains(&path)
                && let Err(error) = fs::remove_file(&path)
            {
                tracing::warn!(path = %path.display(), %error, "removing the bundle of a policy that is gone");
            }
        }
    }
}

fn is_bundle(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "bundle")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_for_its_source_only() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path().join("bundles"));
        assert_eq!(kept.read("a", "url x"), None);
        kept.write("a", "url x", Some("\"1\""), b"\x1f\x8b\nrest").unwrap();
        let found = kept.read("a", "url x").unwrap();
        assert_eq!(found, KeptBundle { etag: Some("\"1\"".into()), bundle: b"\x1f\x8b\nrest".to_vec() });
        assert_eq!(kept.read("a", "url y"), None, "another source");
        kept.write("b", "url x", None, b"").unwrap();
        kept.forget_all_but(["a"].into_iter());
        assert!(kept.read("a", "url x").is_some() && kept.read("b", "url x").is_none());
    }
}
