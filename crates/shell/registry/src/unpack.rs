//! Lays an image's files out in a directory, for pods that mount images as volumes.
//!
//! Start at [`Images::unpack`]. Layers are laid over each other as a container runtime does, whiteouts included, but nothing is
//! ever written through a link: what an archive names stays inside the directory, and links in it may lead nowhere. A WebAssembly
//! artifact is the one file that it is, by the name of its repository. Owners, devices and extended attributes are left out.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use oci_client::Reference;

use crate::{
    BlobError, Blobs, Credential, Digest, Images, PullError, PullPolicy,
    archive::{self, Entry},
    artifact::{self, Descriptor, MANIFEST_BYTES_MAX, Manifest},
    images::{blocking, parse, pull_error},
    resolve::ResolveError,
};

/// Most files, directories and links of one image, and most bytes in them: more is a bomb, or wants a disk of its own.
const ENTRIES_MAX: usize = 200_000;
const BYTES_MAX: u64 = 4 << 30;

/// What an image may still lay out.
struct Room {
    entries: usize,
    bytes: u64,
}

impl Room {
    fn take(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let entries = self.entries.checked_sub(1);
        self.entries = entries.ok_or_else(|| invalid(format!("the image has more than {ENTRIES_MAX} entries")))?;
        let bytes = self.bytes.checked_sub(entry.size);
        self.bytes = bytes.ok_or_else(|| invalid(format!("the image has more than {BYTES_MAX} bytes")))?;
        Ok(())
    }
}

impl Images {
    /// Lays the files of an image out in a directory of their own below `parent`, unless they are there already; gives that
    /// directory.
    ///
    /// # Errors
    ///
    /// When the image cannot be had, or its layers are malformed.
    pub async fn unpack(
        &self,
        reference: &str,
        policy: PullPolicy,
        credentials: &[Credential],
        parent: &Path,
    ) -> Result<PathBuf, PullError> {
        let parsed = parse(reference)?;
        let manifest = self.manifest(reference, &parsed, policy, credentials, false).await?;
        match self.lay_out(reference, &parsed, manifest, parent).await {
            Err(PullError::Storage { source, .. })
                if policy != PullPolicy::Never
                    && matches!(*source, BlobError::Absent(_) | BlobError::Damaged { .. }) =>
            {
                // The manifest was kept and its layers were not.
                let manifest = self.manifest(reference, &parsed, policy, credentials, true).await?;
                self.lay_out(reference, &parsed, manifest, parent).await
            }
            other => other,
        }
    }

    async fn lay_out(
        &self,
        reference: &str,
        parsed: &Reference,
        manifest: Digest,
        parent: &Path,
    ) -> Result<PathBuf, PullError> {
        let (blobs, parent) = (self.blobs().clone(), parent.to_owned());
        let name = parsed.repository().rsplit('/').next().unwrap_or_default().to_owned();
        let laid = blocking(reference, move || Ok(lay_out(&blobs, &manifest, &name, &parent))).await?;
        laid.map_err(|error| pull_error(reference, error))
    }
}

/// Lays out what the manifest names, in a directory that appears when it is complete. Blocks.
fn lay_out(blobs: &Blobs, manifest: &Digest, name: &str, parent: &Path) -> Result<PathBuf, ResolveError> {
    let done = parent.join(manifest.to_string().replace(':', "-"));
    if done.is_dir() {
        return Ok(done);
    }
    let mut root = done.clone().into_os_string();
    root.push(".unfinished");
    let root = PathBuf::from(root);
    let failed = |step| BlobError::io(step, root.clone());
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("clearing")(error).into()),
        _ => {}
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(failed("making"))?;
    fill(blobs, manifest, name, &root, 0)?;
    fs::rename(&root, &done).map_err(failed("finishing"))?;
    Ok(done)
}

fn fill(blobs: &Blobs, manifest: &Digest, name: &str, root: &Path, depth: u8) -> Result<(), ResolveError> {
    let json = blobs.read(manifest, MANIFEST_BYTES_MAX)?;
    match artifact::manifest(&json)? {
        Manifest::Index(_) if depth > 1 => Err(ResolveError::Malformed("indexes are nested too deeply".to_owned())),
        Manifest::Index(chosen) => fill(blobs, &chosen.digest, name, root, depth + 1),
        Manifest::Artifact { wasm, .. } => {
            let (from, to) = (blobs.verify(&wasm.digest)?, root.join(format!("{name}.wasm")));
            fs::copy(&from, &to).map_err(BlobError::io("copying", to))?;
            Ok(())
        }
        Manifest::Image { layers, .. } => {
            let mut room = Room { entries: ENTRIES_MAX, bytes: BYTES_MAX };
            layers.iter().try_for_each(|it| lay(blobs, it, root, &mut room))
        }
    }
}

/// Lays one layer over what is there.
fn lay(blobs: &Blobs, layer: &Descriptor, root: &Path, room: &mut Room) -> Result<(), ResolveError> {
    let file = blobs.verify(&layer.digest)?;
    let open = File::open(&file).map_err(BlobError::io("opening", &file))?;
    archive::each(open, |entry, body| {
        room.take(entry)?;
        put(root, entry, body)
    })
    .map_err(|error| ResolveError::Malformed(format!("layer {}: {error}", layer.digest)))
}

fn put(root: &Path, entry: &Entry<'_>, body: &mut dyn Read) -> io::Result<()> {
    let Some((parent, name)) = place(root, entry.name)? else { return Ok(()) };
    if name == ".wh..wh..opq" {
        return clear(&parent);
    }
    if let Some(hidden) = name.strip_prefix(".wh.") {
        return match hidden {
            // No names, but ways to what is not the layer's to remove.
            "" | "." | ".." => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("{:?} hides no file", entry.name)))
            }
            hidden => remove(&parent.join(hidden)),
        };
    }
    let path = parent.join(name);
    match entry.kind {
        b'5' if path.is_dir() && !path.is_symlink() => Ok(()),
        b'5' => {
            remove(&path)?;
            make(&path)
        }
        b'0' | 0 => {
            remove(&path)?;
            // Its owner can always read it, and nobody else gets here.
            let mode = (entry.mode & 0o777) | 0o400;
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
            match io::copy(body, &mut file)? == entry.size {
                true => Ok(()),
                false => Err(io::Error::new(io::ErrorKind::InvalidData, "the archive is cut short")),
            }
        }
        b'1' => {
            let Some((parent, name)) = place(root, entry.link)? else { return Ok(()) };
            let from = parent.join(name);
            match fs::symlink_metadata(&from) {
                Ok(it) if it.is_file() => {
                    remove(&path)?;
                    fs::hard_link(from, path)
                }
                _ => Ok(()),
            }
        }
        b'2' => {
            remove(&path)?;
            symlink(relative(root, &parent, entry.link), path)
        }
        // Devices and pipes mean nothing to a guest.
        _ => Ok(()),
    }
}

/// The directory that a path of the archive leads into, made if need be, and the last name. `None` for the root itself.
fn place<'a>(root: &Path, path: &'a str) -> io::Result<Option<(PathBuf, &'a str)>> {
    let outside = || io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} leads outside"));
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(outside)?),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(outside()),
        }
    }
    let Some(name) = parts.pop() else { return Ok(None) };
    let mut parent = root.to_owned();
    for part in parts {
        parent.push(part);
        match fs::symlink_metadata(&parent) {
            Ok(it) if it.is_dir() => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} lies behind a link"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(&parent)?,
            Err(error) => return Err(error),
        }
    }
    Ok(Some((parent, name)))
}

/// A link's target as seen from where the link lies; an absolute one starts at the image's root.
fn relative(root: &Path, parent: &Path, target: &str) -> PathBuf {
    let Some(inside) = target.strip_prefix('/') else { return target.into() };
    let depth = parent.strip_prefix(root).map_or(0, |it| it.components().count());
    let up = if depth == 0 { PathBuf::from(".") } else { (0..depth).map(|_| "..").collect() };
    up.join(inside)
}

fn make(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)
}

fn clear(directory: &Path) -> io::Result<()> {
    fs::read_dir(directory)?.try_for_each(|it| remove(&it?.path()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(it) if it.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(entries: &[(&str, u8, &str)]) -> io::Result<String> {
        let root = tempfile::tempdir().unwrap();
        for (name, kind, text) in entries {
            let (link, size) = if matches!(kind, b'1' | b'2') { (*text, 0) } else { ("", text.len() as u64) };
            put(root.path(), &Entry { name, kind: *kind, size, mode: 0o644, link }, &mut text.as_bytes())?;
        }
        let mut out = Vec::new();
        list(root.path(), root.path(), &mut out);
        out.sort();
        Ok(out.join("\n"))
    }

    fn list(root: &Path, directory: &Path, out: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = path.strip_prefix(root).unwrap().display().to_string();
            match () {
                () if kind.is_dir() => list(root, &path, out),
                () if kind.is_symlink() => out.push(format!("{name} -> {}", fs::read_link(path).unwrap().display())),
                () => out.push(format!("{name}: {}", fs::read_to_string(path).unwrap())),
            }
        }
    }

    #[test]
    fn layers_lie_over_each_other() {
        let got = laid(&[
            ("./etc/", b'5', ""),
            ("etc/os-release", b'2', "/usr/lib/os-release"),
            ("usr/lib/os-release", b'0', "ID=test"),
            ("copy", b'1', "usr/lib/os-release"),
            ("gone/a", b'0', "x"),
            ("gone/.wh..wh..opq", b'0', ""),
            ("gone/b", b'0', "y"),
            ("old", b'0', "1"),
            (".wh.old", b'0', ""),
            ("dev/null", b'3', ""),
            ("etc/os-release", b'0', "replaced"),
        ]);
        expect_test::expect![[r#"
            copy: ID=test
            etc/os-release: replaced
            gone/b: y
            usr/lib/os-release: ID=test"#]]
        .assert_eq(&got.unwrap());
        let links = laid(&[("a/b/absolute", b'2', "/etc/x"), ("near", b'2', "etc/x")]).unwrap();
        assert_eq!(links, "a/b/absolute -> ../../etc/x\nnear -> etc/x");
    }

    #[test]
    fn nothing_is_written_outside_or_through_links() {
        for entries in [
            &[("../up", b'0', "x")][..],
            &[("a/../../up", b'0', "x")],
            &[("out", b'2', "/"), ("out/tmp", b'0', "x")],
            &[("hard", b'1', "../../etc/passwd")],
            &[("a/.wh...", b'0', "")],
            &[(".wh..", b'0', "")],
        ] {
            assert_eq!(laid(entries).unwrap_err().kind(), io::ErrorKind::InvalidData, "{entries:?}");
        }
        assert_eq!(laid(&[("link", b'2', "/etc/passwd"), ("hard", b'1', "link")]).unwrap(), "link -> ./etc/passwd");
    }

    #[test]
    fn an_image_has_bounds_for_all_its_layers_together() {
        let mut room = Room { entries: 3, bytes: 10 };
        let mut take = |size| {
            let entry = Entry { name: "a", kind: b'0', size, mode: 0o644, link: "" };
            room.take(&entry).map_err(|it| it.to_string())
        };
        assert_eq!(take(6), Ok(()));
        assert!(take(5).unwrap_err().contains("bytes"));
        assert_eq!(take(4), Ok(()));
        assert!(take(0).unwrap_err().contains("entries"));
    }
}
