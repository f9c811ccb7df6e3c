//! A WebAssembly file, wherever it is: on disk, or in an image that is pulled first.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use eyot_registry::{Blobs, Credential, Images, ImagesConfig, PullPolicy};
use sha2::{Digest, Sha256};

use super::RegistryFlags;

/// A file that is on disk.
pub(super) struct Source {
    pub(super) wasm: PathBuf,
    /// Digest of the file: `sha256:…`.
    pub(super) digest: String,
    /// The components that it was put together from, and how they are linked.
    pub(super) parts: Vec<String>,
}

/// Whether `target` is meant as a file: there is one, or it could be no image.
pub(super) fn is_file(target: &str) -> bool {
    Path::new(target).is_file() || target.ends_with(".wasm") || target.starts_with(['.', '/'])
}

/// The file at `path`.
pub(super) fn file(path: &str) -> Result<Source> {
    let content = std::fs::read(path).with_context(|| format!("reading {path}"))?;
    Ok(Source {
        wasm: path.into(),
        digest: format!("sha256:{}", hex::encode(Sha256::digest(&content))),
        parts: Vec::new(),
    })
}

/// Images that are kept in `dir`.
pub(super) fn images(dir: &Path, own_hosts: &[String]) -> Result<Images> {
    let blobs = Blobs::open(dir).with_context(|| format!("opening the image store {}", dir.display()))?;
    Ok(Images::new(blobs, ImagesConfig::new(own_hosts)))
}

/// The program that the image `reference` starts, or another of its programs.
pub(super) async fn image(
    images: &Images,
    reference: &str,
    program: Option<&str>,
    policy: PullPolicy,
    flags: &RegistryFlags,
) -> Result<Source> {
    let image = images
        .pull(reference, policy, &credentials(reference, flags))
        .await
        .with_context(|| format!("{reference:?} is no file here; pulling it as an image"))?;
    let Some(name) = program else {
        let mut parts: Vec<_> =
            image.parts.iter().map(|it| format!("{}: {} bytes, {}", it.name, it.size_bytes, it.digest)).collect();
        if !parts.is_empty() {
            parts.extend(images.links(&image).await?);
        }
        return Ok(Source { wasm: image.wasm, digest: image.wasm_digest, parts });
    };
    match images.program(&image, name).await.with_context(|| format!("looking for {name:?} in {reference}"))? {
        Some(found) => Ok(Source { wasm: found.wasm, digest: found.digest, parts: Vec::new() }),
        None => bail!("{reference} has no program {name:?}"),
    }
}

fn credentials(reference: &str, flags: &RegistryFlags) -> Vec<Credential> {
    let (Some(username), Some(password)) = (&flags.username, &flags.password) else { return Vec::new() };
    let registry = reference.split('/').next().unwrap_or_default().to_owned();
    vec![Credential { registry, username: username.clone(), password: password.clone() }]
}

/// A directory that goes with this value.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Scratch> {
        let path = std::env::temp_dir().join(format!("eyot-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
