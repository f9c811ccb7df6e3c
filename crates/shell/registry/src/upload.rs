//! Content on its way in: appended to a file of its own, hashed as it comes, named when it is complete.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::PathBuf,
};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{BlobError, Blobs, Digest};

/// One upload. Dropping it keeps the file, so that it can be resumed by id; stale ones are swept.
#[derive(Debug)]
pub struct Upload {
    blobs: Blobs,
    id: Uuid,
    path: PathBuf,
    file: File,
    hasher: Sha256,
    bytes: u64,
    max: u64,
}

impl Upload {
    pub(crate) fn start(blobs: Blobs, max: u64) -> Result<Upload, BlobError> {
        let id = Uuid::new_v4();
        let path = blobs.uploads().join(id.to_string());
        let file =
            OpenOptions::new().append(true).create_new(true).open(&path).map_err(BlobError::io("creating", &path))?;
        Ok(Upload { blobs, id, path, file, hasher: Sha256::new(), bytes: 0, max })
    }

    /// Continues an upload that this process does not hold, hashing again what is there. Blocks.
    pub(crate) fn resume(blobs: Blobs, id: Uuid, max: u64) -> Result<Upload, BlobError> {
        let path = blobs.uploads().join(id.to_string());
        let mut file =
            OpenOptions::new().read(true).append(true).open(&path).map_err(|_| BlobError::NoUpload(id.to_string()))?;
        let (mut hasher, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
        loop {
            match file.read(&mut buffer).map_err(BlobError::io("reading", &path))? {
                0 => break,
                count => {
                    hasher.update(&buffer[..count]);
                    bytes += count as u64;
                }
            }
        }
        Ok(Upload { blobs, id, path, file, hasher, bytes, max })
    }

    /// Names the upload in URLs.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds content. Blocks. An upload over its limit is removed.
    pub fn append(&mut self, content: &[u8]) -> Result<(), BlobError> {
        if content.len() as u64 > self.max - self.bytes.min(self.max) {
            // Best effort: a file that stays is swept later.
            let _ = fs::remove_file(&self.path);
            return Err(BlobError::TooLarge { max: self.max });
        }
        if let Err(error) = self.file.write_all(content) {
            // Part of it may be in the file: what was acknowledged stays resumable.
            let _ = self.file.set_len(self.bytes);
            return Err(BlobError::io("writing", &self.path)(error));
        }
        self.hasher.update(content);
        self.bytes += content.len() as u64;
        Ok(())
    }

    /// Completes the upload, whose content must have the expected digest. Durable when it returns. Blocks.
    pub fn finish(self, expected: &Digest) -> Result<(), BlobError> {
        let actual = Digest::finish(self.hasher.clone());
        if actual != *expected {
            self.cancel()?;
            return Err(BlobError::Mismatch { expected: expected.clone(), actual });
        }
        self.complete(actual)
    }

    /// Completes the upload under whatever digest its content has. Durable when it returns. Blocks.
    pub fn finish_any(self) -> Result<Digest, BlobError> {
        let actual = Digest::finish(self.hasher.clone());
        self.complete(actual.clone())?;
        Ok(actual)
    }

    fn complete(self, digest: Digest) -> Result<(), BlobError> {
        self.file.sync_all().map_err(BlobError::io("syncing", &self.path))?;
        self.blobs.adopt(&self.path, &digest)
    }

    /// Gives the upload up. Blocks.
    pub fn cancel(self) -> Result<(), BlobError> {
        fs::remove_file(&self.path).map_err(BlobError::io("removing", &self.path))
    }
}
