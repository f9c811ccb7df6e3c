//! From a manifest in the blobs to the WebAssembly file, all of it local.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{
    BlobError, Blobs, Digest, ImagePart,
    artifact::{self, Descriptor, Launch, MANIFEST_BYTES_MAX, Manifest, ManifestError},
    linked, programs,
};

/// Largest WebAssembly file.
pub(crate) const WASM_BYTES_MAX: u64 = 1 << 30;

/// The parts of an image that its manifest fixes.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) manifest: Digest,
    pub(crate) wasm: Digest,
    pub(crate) size: u64,
    pub(crate) launch: Launch,
    /// What the file was put together from, when it was.
    pub(crate) parts: Vec<ImagePart>,
}

/// Why a manifest leads to no file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("{0}")]
    NotWasm(String),
    #[error("{0}")]
    Malformed(String),
}

impl From<ManifestError> for ResolveError {
    fn from(error: ManifestError) -> ResolveError {
        match error {
            ManifestError::NotWasm(reason) => ResolveError::NotWasm(reason),
            ManifestError::Syntax(_) => ResolveError::Malformed(error.to_string()),
        }
    }
}

/// What must be here before [`resolve`] can succeed.
pub(crate) enum Needs {
    /// This manifest, chosen from an index.
    Manifest(Descriptor),
    /// These blobs.
    Blobs(Vec<Descriptor>),
}

/// Tells what a manifest refers to that a program needs.
pub(crate) fn needs(manifest: &[u8]) -> Result<Needs, ManifestError> {
    Ok(match artifact::manifest(manifest)? {
        Manifest::Index(chosen) => Needs::Manifest(chosen),
        Manifest::Artifact { wasm, libraries } => Needs::Blobs([vec![wasm], libraries].concat()),
        Manifest::Image { config, layers } => Needs::Blobs([vec![config], layers].concat()),
    })
}

/// Finds the file. Blocks.
pub(crate) fn resolve(blobs: &Blobs, manifest: &Digest) -> Result<Resolved, ResolveError> {
    resolve_at(blobs, manifest, 0)
}

fn resolve_at(blobs: &Blobs, manifest: &Digest, depth: u8) -> Result<Resolved, ResolveError> {
    let json = blobs.read(manifest, MANIFEST_BYTES_MAX)?;
    match artifact::manifest(&json)? {
        Manifest::Index(_) if depth > 1 => Err(ResolveError::Malformed("indexes are nested too deeply".to_owned())),
        Manifest::Index(chosen) => resolve_at(blobs, &chosen.digest, depth + 1),
        Manifest::Artifact { wasm, libraries } if libraries.is_empty() => {
            finish(blobs, manifest, wasm.digest, Launch::default())
        }
        Manifest::Artifact { wasm, libraries } => {
            let parts = linked::parts(wasm, libraries);
            let wasm = match blobs.names(|it| it.extracted.get(manifest).cloned()) {
                Some(wasm) if blobs.size(&wasm).is_some() => wasm,
                _ => linked::compose(blobs, manifest, &parts)?,
            };
            let whole = finish(blobs, manifest, wasm, Launch::default())?;
            Ok(Resolved { parts, ..whole })
        }
        Manifest::Image { config, layers } => {
            let launch = artifact::launch(&blobs.read(&config.digest, MANIFEST_BYTES_MAX)?)?;
            let wasm = match blobs.names(|it| it.extracted.get(manifest).cloned()) {
                Some(wasm) if blobs.size(&wasm).is_some() => wasm,
                _ => extract(blobs, manifest, &launch, &layers)?,
            };
            finish(blobs, manifest, wasm, launch)
        }
    }
}

fn finish(blobs: &Blobs, manifest: &Digest, wasm: Digest, launch: Launch) -> Result<Resolved, ResolveError> {
    let path = blobs.verify(&wasm)?;
    let size = check_magic(&path)?;
    Ok(Resolved { manifest: manifest.clone(), wasm, size, launch, parts: Vec::new() })
}

pub(crate) fn check_magic(path: &Path) -> Result<u64, ResolveError> {
    let mut magic = Vec::new();
    let file = File::open(path).map_err(BlobError::io("opening", path))?;
    let size = file.metadata().map_err(BlobError::io("reading", path))?.len();
    file.take(4).read_to_end(&mut magic).map_err(BlobError::io("reading", path))?;
    match magic.as_slice() {
        b"\0asm" => Ok(size),
        _ => Err(ResolveError::NotWasm("its program does not begin as WebAssembly does".to_owned())),
    }
}

/// Takes the program out of the topmost layer that has it, and remembers where it went.
fn extract(blobs: &Blobs, manifest: &Digest, launch: &Launch, layers: &[Descriptor]) -> Result<Digest, ResolveError> {
    let program = launch.program()?;
    let wasm = programs::extract_one(blobs, &program, layers)?
        .ok_or_else(|| ResolveError::NotWasm(format!("its entrypoint {program:?} is in none of its layers")))?;
    blobs.rename(|it| it.extracted.insert(manifest.clone(), wasm.clone()))?;
    Ok(wasm)
}

/// Copies the program to a blob of its own; the outer error is the archive's, the inner one the disk's.
pub(crate) fn store(blobs: &Blobs, size: u64, body: &mut dyn Read) -> io::Result<Result<Digest, BlobError>> {
    if size > WASM_BYTES_MAX {
        return Ok(Err(BlobError::TooLarge { max: WASM_BYTES_MAX }));
    }
    let mut upload = match blobs.upload(WASM_BYTES_MAX) {
        Ok(upload) => upload,
        Err(error) => return Ok(Err(error)),
    };
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = body.read(&mut buffer)?;
        if count == 0 {
            return match upload.bytes() == size {
                true => Ok(upload.finish_any()),
                false => Err(io::Error::new(io::ErrorKind::InvalidData, "the archive is cut short")),
            };
        }
        if let Err(error) = upload.append(&buffer[..count]) {
            return Ok(Err(error));
        }
    }
}
