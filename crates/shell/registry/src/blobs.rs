//! Content-addressed files: what has a digest as its name has that content, or does not exist.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;

use crate::{
    Digest,
    catalog::{Catalog, CatalogFile, sync_parent},
};

pub use crate::upload::Upload;

/// An upload that nobody touched for so long is removed.
pub(crate) const UPLOAD_AGE: Duration = Duration::from_secs(24 * 3600);

/// Why content could not be stored or had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such content.
    #[error("blob {0} is not here")]
    Absent(Digest),
    /// The file's content is not what its name says. It was moved aside, so that it can be pulled or pushed again.
    #[error("blob {digest} is damaged on disk, its content has {actual}; it was set aside, pull or push it again")]
    Damaged {
        /// What the file was named.
        digest: Digest,
        /// What it holds.
        actual: Digest,
    },
    /// The uploaded content is not what was announced.
    #[error("content has digest {actual}, not {expected}")]
    Mismatch {
        /// Announced.
        expected: Digest,
        /// Received.
        actual: Digest,
    },
    /// Over the limit.
    #[error("content is larger than the {max} bytes allowed")]
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// There is no such upload.
    #[error("upload {0} is not in progress")]
    NoUpload(String),
    /// A file could not be used.
    #[error("{step} {}: {source}", path.display())]
    Io {
        /// What was being done.
        step: &'static str,
        /// To which file.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
}

impl BlobError {
    pub(crate) fn io(step: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BlobError {
        let path = path.into();
        move |source| BlobError::Io { step, path, source }
    }
}

/// The files under one directory; clones are the same files.
#[derive(Clone, Debug)]
pub struct Blobs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    catalog: Mutex<CatalogFile>,
    /// Blobs whose content this process has checked.
    verified: Mutex<HashSet<Digest>>,
    /// Repositories that something was pushed to.
    pushed: broadcast::Sender<Arc<str>>,
}

/// Pushes that a slow listener may be behind before it only learns that it missed some.
const PUSHES_MAX: usize = 64;

impl Blobs {
    /// Opens or creates the directory, and removes stale uploads. Blocks.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Blobs, BlobError> {
        let dir = dir.into();
        for part in ["blobs/sha256", "uploads"] {
            let path = dir.join(part);
            fs::create_dir_all(&path).map_err(BlobError::io("creating", path))?;
        }
        let names = dir.join("references.json");
        let catalog = CatalogFile::open(names.clone()).map_err(BlobError::io("reading", names))?;
        let blobs = Blobs {
            inner: Arc::new(Inner {
                dir,
                catalog: Mutex::new(catalog),
                verified: Mutex::default(),
                pushed: broadcast::Sender::new(PUSHES_MAX),
            }),
        };
        blobs.sweep_uploads(UPLOAD_AGE)?;
        Ok(blobs)
    }

    /// Where the content of a digest is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.inner.dir.join("blobs/sha256").join(&hex[..2]).join(hex)
    }

    /// Where all content lies, in directories of two digits.
    pub(crate) fn root(&self) -> PathBuf {
        self.inner.dir.join("blobs/sha256")
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.inner.dir.join("uploads")
    }

    /// Size of the content, if it is here. A `stat`: cheap, and without a check of the content.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().filter(fs::Metadata::is_file).map(|it| it.len())
    }

    /// Path of the content, which is checked against its digest once in a process' life. May block on reading it all.
    pub fn verify(&self, digest: &Digest) -> Result<PathBuf, BlobError> {
        let path = self.path(digest);
        if self.inner.verified.lock().contains(digest) && path.is_file() {
            return Ok(path);
        }
        let actual = hash(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BlobError::Absent(digest.clone()),
            _ => BlobError::Io { step: "reading", path: path.clone(), source },
        })?;
        if actual != *digest {
            let aside = path.with_extension("damaged");
            fs::rename(&path, &aside).map_err(BlobError::io("setting aside", path))?;
            return Err(BlobError::Damaged { digest: digest.clone(), actual });
        }
        self.inner.verified.lock().insert(digest.clone());
        Ok(path)
    }

    /// Content of a small blob, checked. Blocks.
    pub fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, BlobError> {
        let path = self.verify(digest)?;
        let mut content = Vec::new();
        let file = File::open(&path).map_err(BlobError::io("opening", &path))?;
        file.take(max + 1).read_to_end(&mut content).map_err(BlobError::io("reading", &path))?;
        match content.len() as u64 > max {
            true => Err(BlobError::TooLarge { max }),
            false => Ok(content),
        }
    }

    /// Stores content. Durable when it returns. Blocks.
    pub fn put(&self, content: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::of(content);
        if self.size(&digest) == Some(content.len() as u64) {
            return Ok(digest);
        }
        let mut upload = self.upload(content.len() as u64)?;
        upload.append(content)?;
        upload.finish(&digest)?;
        Ok(digest)
    }

    /// Starts an upload of at most `max` bytes. Blocks.
    pub fn upload(&self, max: u64) -> Result<Upload, BlobError> {
        Upload::start(self.clone(), max)
    }

    /// Removes content; true if it was here. Blocks.
    pub fn remove(&self, digest: &Digest) -> Result<bool, BlobError> {
        self.inner.verified.lock().remove(digest);
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(BlobError::io("removing", path)(error)),
        }
    }

    /// Moves a finished file to its name. The caller has computed the digest and synced the file.
    pub(crate) fn adopt(&self, file: &Path, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(BlobError::io("creating", parent))?;
        }
        fs::rename(file, &path).map_err(BlobError::io("placing", &path))?;
        sync_parent(&path).map_err(BlobError::io("syncing directory of", &path))?;
        self.inner.verified.lock().insert(digest.clone());
        Ok(())
    }

    /// The repositories that something is pushed to from now on, by name.
    pub fn pushed(&self) -> broadcast::Receiver<Arc<str>> {
        self.inner.pushed.subscribe()
    }

    /// Tells those who wait for it that `repository` has something new.
    pub(crate) fn announce(&self, repository: &str) {
        // Nobody may be waiting.
        let _ = self.inner.pushed.send(repository.into());
    }

    /// Reads the catalog; short.
    pub(crate) fn names<T>(&self, read: impl FnOnce(&Catalog) -> T) -> T {
        read(&self.inner.catalog.lock().catalog)
    }

    /// Changes the catalog. Durable when it returns. Blocks.
    pub(crate) fn rename<T>(&self, change: impl FnOnce(&mut Catalog) -> T) -> Result<T, BlobError> {
        let path = self.inner.dir.join("references.json");
        self.inner.catalog.lock().change(change).map_err(BlobError::io("writing", path))
    }

    /// Removes uploads that nobody touched for `age`. Blocks.
    pub(crate) fn sweep_uploads(&self, age: Duration) -> Result<(), BlobError> {
        let dir = self.uploads();
        for entry in fs::read_dir(&dir).map_err(BlobError::io("listing", &dir))?.flatten() {
            let stale =
                entry.metadata().and_then(|it| it.modified()).is_ok_and(|it| it.elapsed().is_ok_and(|it| it >= age));
            if stale {
                fs::remove_file(entry.path()).map_err(BlobError::io("removing", entry.path()))?;
            }
        }
        Ok(())
    }
}

fn hash(path: &Path) -> io::Result<Digest> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::finish(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}
