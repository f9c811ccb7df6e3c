//! Other programs of an image than the one its entry point names.
//!
//! Start at [`Images::program`]. They are taken out of the image's layers when they are first asked for, as the entry point's is
//! when the image is pulled.

use std::{fs::File, io::Read, path::PathBuf};

use crate::{
    BlobError, Blobs, Digest, Image, Images, PullError,
    archive::{self, Found},
    artifact::{self, Descriptor, MANIFEST_BYTES_MAX, Manifest},
    images::{blocking, pull_error},
    resolve::{self, ResolveError},
};

/// Where a program that is named without a directory is looked for, in this order.
const DIRECTORIES: [&str; 4] = ["", "bin/", "usr/bin/", "usr/local/bin/"];

/// A program of an image, on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramFile {
    /// The WebAssembly file; its content never changes.
    pub wasm: PathBuf,
    /// Digest of that file: `sha256:…`.
    pub digest: String,
}

impl Images {
    /// The program that `name` stands for in an image that was pulled: a path in the image, or a bare name that is looked for at
    /// its root and in the usual directories. `.wasm` may be left out. `None` when the image has no such program; an artifact
    /// has just the one, which goes by the name of its repository.
    ///
    /// # Errors
    ///
    /// When the image on disk cannot be read, or the file is no WebAssembly.
    pub async fn program(&self, image: &Image, name: &str) -> Result<Option<ProgramFile>, PullError> {
        if is_entry(image, name) {
            return Ok(Some(ProgramFile { wasm: image.wasm.clone(), digest: image.wasm_digest.clone() }));
        }
        let Ok(manifest) = image.digest.parse::<Digest>() else { return Ok(None) };
        let (blobs, paths) = (self.blobs().clone(), candidates(name));
        let found = blocking(&image.reference, move || Ok(extract(&blobs, &manifest, &paths))).await?;
        let wasm = found.map_err(|error| pull_error(&image.reference, error))?;
        Ok(wasm.map(|it| ProgramFile { wasm: self.blobs().path(&it), digest: it.to_string() }))
    }
}

/// Whether `name` means the program that the image starts.
fn is_entry(image: &Image, name: &str) -> bool {
    let same = |entry: &str| stem(entry) == stem(name) || (!name.contains('/') && stem(base(entry)) == stem(name));
    match image.entrypoint.first().or(image.cmd.first()) {
        Some(entry) => same(entry),
        None => {
            let repository = image.reference.split('@').next().unwrap_or_default();
            let last = base(repository);
            stem(last.split(':').next().unwrap_or(last)) == stem(name)
        }
    }
}

fn stem(path: &str) -> &str {
    let path = path.trim_start_matches("./").trim_start_matches('/');
    path.strip_suffix(".wasm").unwrap_or(path)
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The paths in a layer that `name` may mean, best first.
fn candidates(name: &str) -> Vec<String> {
    let plain = name.trim_start_matches("./").trim_start_matches('/');
    let directories: &[&str] = if name.contains('/') { &[""] } else { &DIRECTORIES };
    let suffixes: &[&str] = if plain.ends_with(".wasm") { &[""] } else { &["", ".wasm"] };
    let both = directories.iter().flat_map(|it| suffixes.iter().map(move |suffix| format!("{it}{plain}{suffix}")));
    if plain.is_empty() { Vec::new() } else { both.collect() }
}

/// Takes the first of `paths` that is there out of the image's layers. Blocks.
fn extract(blobs: &Blobs, manifest: &Digest, paths: &[String]) -> Result<Option<Digest>, ResolveError> {
    let json = blobs.read(manifest, MANIFEST_BYTES_MAX)?;
    let Manifest::Image { layers, .. } = artifact::manifest(&json)? else { return Ok(None) };
    for path in paths {
        if let Some(wasm) = extract_one(blobs, path, &layers)? {
            resolve::check_magic(&blobs.path(&wasm))?;
            return Ok(Some(wasm));
        }
    }
    Ok(None)
}

/// Takes `path` out of the topmost layer that has it.
pub(crate) fn extract_one(blobs: &Blobs, path: &str, layers: &[Descriptor]) -> Result<Option<Digest>, ResolveError> {
    for layer in layers.iter().rev() {
        let file = blobs.verify(&layer.digest)?;
        let open = File::open(&file).map_err(BlobError::io("opening", &file))?;
        let take = |size, body: &mut dyn Read| resolve::store(blobs, size, body);
        match archive::find(open, path, take) {
            Ok(Found::File(wasm)) => return Ok(Some(wasm?)),
            Ok(Found::Removed) => return Ok(None),
            Ok(Found::Nothing) => {}
            Err(error) => return Err(ResolveError::Malformed(format!("layer {}: {error}", layer.digest))),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_is_looked_for_and_a_path_is_not() {
        assert_eq!(candidates("/tools/ls.wasm"), ["tools/ls.wasm"]);
        assert_eq!(candidates("tools/ls"), ["tools/ls", "tools/ls.wasm"]);
        assert_eq!(candidates("ls")[..4], ["ls", "ls.wasm", "bin/ls", "bin/ls.wasm"]);
        assert!(candidates("/").is_empty());
    }

    #[test]
    fn the_program_that_starts_goes_by_its_own_name() {
        let image = |reference: &str, entrypoint: &[&str]| Image {
            reference: reference.into(),
            digest: String::new(),
            wasm: PathBuf::new(),
            wasm_digest: String::new(),
            entrypoint: entrypoint.iter().map(|it| (*it).into()).collect(),
            cmd: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            size_bytes: 0,
            parts: Vec::new(),
        };
        let built = image("localhost:5000/tools:v1", &["/bin/ls.wasm"]);
        assert!(["ls", "ls.wasm", "/bin/ls.wasm", "bin/ls"].iter().all(|it| is_entry(&built, it)));
        assert!(!["tools", "sh", "/usr/bin/ls"].iter().any(|it| is_entry(&built, it)));
        assert!(built.has_files());
        let artifact = image("localhost:5000/team/python@sha256:00", &[]);
        assert!(is_entry(&artifact, "python") && !is_entry(&artifact, "sh") && !artifact.has_files());
        assert!(is_entry(&image("python:3", &[]), "python"));
    }
}
