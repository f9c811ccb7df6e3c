//! Unpacks a `.tar.gz` into memory, within bounds. Entry point: [`unpack`].
//!
//! Links and special files are refused: a bundle holds documents.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use flate2::read::MultiGzDecoder;

use super::{Bounds, BundleError, file_error};

const BLOCK: usize = 512;

/// The files of an archive by their path, without a leading `/` or `./`.
pub(super) fn unpack(archive: &[u8], bounds: Bounds) -> Result<BTreeMap<String, Vec<u8>>, BundleError> {
    if !archive.starts_with(&[0x1f, 0x8b]) {
        let start = String::from_utf8_lossy(&archive[..archive.len().min(16)]).into_owned();
        return Err(BundleError::Archive(format!("it starts with {start:?}")));
    }
    // One byte beyond the bound tells that there is more.
    let mut tar = Tar { gzip: MultiGzDecoder::new(archive).take(bounds.unpacked_bytes_max + 1), bounds };
    let mut files = BTreeMap::new();
    while let Some((path, content)) = tar.next_file()? {
        if files.len() >= bounds.files_max {
            return Err(BundleError::TooLarge(format!("{} files", bounds.files_max)));
        }
        let path = normal(&path)?;
        if files.insert(path.clone(), content).is_some() {
            return Err(file_error(&path, "is in the archive twice"));
        }
    }
    // The checksum at the end of the stream is what tells a cut from an end.
    let mut rest = [0; 4096];
    while tar.read(&mut rest)? > 0 {}
    Ok(files)
}

fn normal(path: &str) -> Result<String, BundleError> {
    let parts = path.split('/').filter(|it| !it.is_empty() && *it != ".");
    let parts: Vec<&str> = parts.collect();
    if parts.contains(&"..") {
        return Err(file_error(path, "leads out of the bundle"));
    }
    Ok(parts.join("/"))
}

struct Tar<R> {
    gzip: io::Take<R>,
    bounds: Bounds,
}

impl<R: Read> Tar<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, BundleError> {
        let count = self.gzip.read(into).map_err(|it| BundleError::Archive(it.to_string()))?;
        if self.gzip.limit() == 0 {
            return Err(BundleError::TooLarge(format!("{} bytes unpacked", self.bounds.unpacked_bytes_max)));
        }
        Ok(count)
    }

    /// Fills `into`; false where the stream ended before its first byte.
    fn fill(&mut self, into: &mut [u8]) -> Result<bool, BundleError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.read(&mut into[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(BundleError::Archive("it ends inside a file".into())),
                count => filled += count,
            }
        }
        Ok(true)
    }

    /// The content of an entry, which is padded to whole blocks.
    fn content(&mut self, size: u64) -> Result<Vec<u8>, BundleError> {
        if size > self.gzip.limit() {
            return Err(BundleError::TooLarge(format!("{} bytes unpacked", self.bounds.unpacked_bytes_max)));
        }
        let size = usize::try_from(size).map_err(|it| BundleError::Archive(it.to_string()))?;
        // What the header claims is not reserved before it has arrived.
        let mut content = Vec::new();
        let mut chunk = [0; 16 * BLOCK];
        let mut left = size.next_multiple_of(BLOCK);
        while left > 0 {
            let part = left.min(chunk.len());
            if !self.fill(&mut chunk[..part])? {
                return Err(BundleError::Archive("it ends inside a file".into()));
            }
            content.extend_from_slice(&chunk[..part]);
            left -= part;
        }
        content.truncate(size);
        Ok(content)
    }

    fn next_file(&mut self) -> Result<Option<(String, Vec<u8>)>, BundleError> {
        let mut long_name: Option<String> = None;
        loop {
            let mut header = [0; BLOCK];
            if !self.fill(&mut header)? || header.iter().all(|it| *it == 0) {
                return Ok(None);
            }
            check(&header)?;
            let path = long_name.take().unwrap_or_else(|| name(&header));
            let size = octal(&header[124..136])?;
            match header[156] {
                0 | b'0' | b'7' => return Ok(Some((path, self.content(size)?))),
                b'5' => drop(self.content(size)?),
                b'g' => drop(self.content(size)?),
                b'L' => {
                    let content = self.content(size)?;
                    long_name = Some(text(&content));
                }
                b'x' => long_name = pax_path(&self.content(size)?),
                _ => return Err(file_error(&path, "is a link or a special file")),
            }
        }
    }
}

fn check(header: &[u8; BLOCK]) -> Result<(), BundleError> {
    let sum = header.iter().enumerate().map(|(at, it)| if (148..156).contains(&at) { 32 } else { u64::from(*it) });
    if sum.sum::<u64>() == octal(&header[148..156])? {
        return Ok(());
    }
    Err(BundleError::Archive("it is no tar archive, or damaged".into()))
}

/// A name of the header, with the directory that long ones have apart.
fn name(header: &[u8; BLOCK]) -> String {
    let name = text(&header[..100]);
    let prefix = if &header[257..262] == b"ustar" { text(&header[345..500]) } else { String::new() };
    if prefix.is_empty() { name } else { format!("{prefix}/{name}") }
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|it| *it == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn octal(field: &[u8]) -> Result<u64, BundleError> {
    let digits = text(field);
    let digits = digits.trim();
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map_err(|_| BundleError::Archive("it is no tar archive, or damaged".into()))
}

/// The `path` of an extended header, whose records are `LENGTH KEY=VALUE\n`.
fn pax_path(mut records: &[u8]) -> Option<String> {
    let mut path = None;
    while let Some(space) = records.iter().position(|it| *it == b' ') {
        let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
        let record = records.get(space + 1..length)?;
        if let Some(value) = record.strip_prefix(b"path=") {
            path = Some(text(value.strip_suffix(b"\n").unwrap_or(value)));
        }
        records = &records[length..];
    }
    path
}
