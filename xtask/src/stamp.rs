//! Remembers by content what a step was last done with, so that it is done again only when something changed.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// What a step depends on.
#[derive(Default)]
pub(crate) struct Inputs(DefaultHasher);

impl Inputs {
    /// Adds a word: a version, a flag.
    pub(crate) fn word(mut self, word: &str) -> Self {
        word.hash(&mut self.0);
        self
    }

    /// Adds a file, or every file below a directory, by name and content.
    pub(crate) fn path(mut self, path: &Path) -> Result<Self> {
        let mut files = Vec::new();
        collect(path, &mut files).with_context(|| format!("reading {}", path.display()))?;
        files.sort();
        for file in files {
            file.hash(&mut self.0);
            fs::read(&file).with_context(|| format!("reading {}", file.display()))?.hash(&mut self.0);
        }
        Ok(self)
    }

    /// Runs `work` unless it was done with the same inputs and `product` is still there.
    pub(crate) fn unless_done(self, product: &Path, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let stamp = PathBuf::from(format!("{}.stamp", product.display()));
        let wanted = format!("{:016x}", self.0.finish());
        if product.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        work()?;
        fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
    }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() != "target" {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}
