//! Which names stand for which manifests; one small JSON file, replaced as a whole.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Everything that has a name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Catalog {
    /// What was pushed here.
    pub(crate) repositories: BTreeMap<String, Repository>,
    /// What was pulled from elsewhere: full reference → manifest.
    pub(crate) pulled: BTreeMap<String, Digest>,
    /// WebAssembly files taken out of layers: manifest → file.
    pub(crate) extracted: BTreeMap<Digest, Digest>,
}

/// One repository of this registry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Repository {
    pub(crate) tags: BTreeMap<String, Digest>,
    /// Manifests and their media types.
    pub(crate) manifests: BTreeMap<Digest, String>,
}

impl Repository {
    /// The manifest that a tag or a digest names.
    pub(crate) fn find(&self, reference: &str) -> Option<(&Digest, &str)> {
        let digest = match reference.parse::<Digest>() {
            Ok(digest) => digest,
            Err(_) => self.tags.get(reference)?.clone(),
        };
        self.manifests.get_key_value(&digest).map(|(digest, kind)| (digest, kind.as_str()))
    }
}

/// The catalog and its file.
#[derive(Debug)]
pub(crate) struct CatalogFile {
    file: PathBuf,
    pub(crate) catalog: Catalog,
}

impl CatalogFile {
    /// Reads the file; an absent one is an empty catalog.
    pub(crate) fn open(file: PathBuf) -> io::Result<CatalogFile> {
        let catalog = match fs::read(&file) {
            Ok(json) => serde_json::from_slice(&json).map_err(|it| io::Error::new(io::ErrorKind::InvalidData, it))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Catalog::default(),
            Err(error) => return Err(error),
        };
        Ok(CatalogFile { file, catalog })
    }

    /// Changes the catalog, in memory only if the file took it.
    pub(crate) fn change<T>(&mut self, change: impl FnOnce(&mut Catalog) -> T) -> io::Result<T> {
        let mut catalog = self.catalog.clone();
        let result = change(&mut catalog);
        replace(&self.file, &serde_json::to_vec(&catalog)?)?;
        self.catalog = catalog;
        Ok(result)
    }
}

/// Puts a file in place whole: whoever reads it, even after a crash, sees the old or the new one.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = file.with_extension("new");
    let mut new = fs::File::create(&temporary)?;
    new.write_all(content)?;
    new.sync_all()?;
    fs::rename(&temporary, file)?;
    sync_parent(file)
}

/// Makes a rename into a directory durable.
pub(crate) fn sync_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |it| fs::File::open(it)?.sync_all())
}
