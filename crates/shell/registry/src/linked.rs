//! Images of several components: put together when they are first asked for, and kept like a file out of a layer.
//!
//! Start at [`compose`]. How they are linked is [`eyot_compose`]'s to say.

use eyot_compose::Part;

use crate::{Blobs, Digest, ImagePart, artifact::Descriptor, resolve::ResolveError};

/// What an artifact with libraries consists of, its program first. A layer without a title goes by its digest.
pub(crate) fn parts(program: Descriptor, libraries: Vec<Descriptor>) -> Vec<ImagePart> {
    let part = |it: Descriptor| ImagePart {
        name: it.title().map_or_else(|| it.digest.to_string(), str::to_owned),
        digest: it.digest.to_string(),
        size_bytes: it.size,
    };
    std::iter::once(program).chain(libraries).map(part).collect()
}

/// Links the parts and remembers where the whole went. Blocks.
pub(crate) fn compose(blobs: &Blobs, manifest: &Digest, parts: &[ImagePart]) -> Result<Digest, ResolveError> {
    let contents = read(blobs, parts)?;
    let whole = eyot_compose::compose(&borrowed(parts, &contents));
    let whole = whole.map_err(|error| ResolveError::NotWasm(format!("its components do not fit: {error}")))?;
    let wasm = blobs.put(&whole)?;
    blobs.rename(|it| it.extracted.insert(manifest.clone(), wasm.clone()))?;
    Ok(wasm)
}

/// The files of the parts. Blocks.
pub(crate) fn read(blobs: &Blobs, parts: &[ImagePart]) -> Result<Vec<Vec<u8>>, ResolveError> {
    let mut left = eyot_compose::BYTES_MAX as u64;
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        let digest: Digest = part.digest.parse().map_err(|_| ResolveError::Malformed("a digest is none".to_owned()))?;
        blobs.verify(&digest)?;
        let content = blobs.read(&digest, left)?;
        left -= content.len() as u64;
        out.push(content);
    }
    Ok(out)
}

fn borrowed<'a>(parts: &'a [ImagePart], contents: &'a [Vec<u8>]) -> Vec<Part<'a>> {
    parts.iter().zip(contents).map(|(part, wasm)| Part { name: &part.name, wasm }).collect()
}

/// How the parts of an image are linked, in words, one line for each interface. Blocks.
pub(crate) fn links(blobs: &Blobs, parts: &[ImagePart]) -> Result<Vec<String>, ResolveError> {
    let contents = read(blobs, parts)?;
    let links = eyot_compose::links(&borrowed(parts, &contents));
    let links = links.map_err(|error| ResolveError::NotWasm(error.to_string()))?;
    let line = |it: &eyot_compose::Link| match it.import == it.export {
        true => format!("{} takes {} from {}", it.importer, it.import, it.exporter),
        false => format!("{} takes {} from {} as {}", it.importer, it.export, it.exporter, it.import),
    };
    Ok(links.iter().map(line).collect())
}
