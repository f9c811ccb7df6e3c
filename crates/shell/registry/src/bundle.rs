//! Policy bundles as images: the first layer of type `tar+gzip` is the archive, whatever config goes with it.
//!
//! Entry point: [`crate::Images::pull_bundle`]. Archives are kept like the layers of other images.

use oci_client::Reference;
use serde::Deserialize;

use crate::{
    BlobError, Blobs, PullError, artifact::Descriptor, artifact::MANIFEST_BYTES_MAX, images::blocking, remote::Remote,
};

#[derive(Deserialize)]
struct Layers {
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// The layer of a manifest that holds the bundle.
fn layer(manifest: &[u8], bytes_max: u64) -> Result<Descriptor, String> {
    let read: Layers = serde_json::from_slice(manifest).map_err(|error| format!("its manifest: {error}"))?;
    let found =
        read.layers.into_iter().find(|it| it.media_type.ends_with("tar+gzip") || it.media_type.ends_with("tar.gzip"));
    let found = found.ok_or("it has no layer of type tar+gzip, so it is no policy bundle")?;
    if found.size > bytes_max {
        return Err(format!("its layer has {} bytes, more than {bytes_max}", found.size));
    }
    Ok(found)
}

/// A bundle in the embedded registry: digest of the manifest and archive.
pub(crate) fn of_own(
    blobs: &Blobs,
    parsed: &Reference,
    bytes_max: u64,
) -> Result<Option<(String, Vec<u8>)>, BlobError> {
    let name = parsed.digest().or(parsed.tag()).unwrap_or("latest");
    let digest = blobs.names(|it| it.repositories.get(parsed.repository())?.find(name).map(|it| it.0.clone()));
    let Some(digest) = digest else { return Ok(None) };
    let manifest = blobs.read(&digest, MANIFEST_BYTES_MAX)?;
    match layer(&manifest, bytes_max) {
        Ok(layer) => Ok(Some((digest.to_string(), blobs.read(&layer.digest, bytes_max)?))),
        Err(why) => {
            tracing::warn!(reference = %parsed, why, "an image is asked for as a policy bundle");
            Ok(None)
        }
    }
}

impl Remote {
    /// A bundle at its registry, unless its manifest is the one with digest `known`.
    pub(crate) async fn bundle(
        &self,
        known: Option<&str>,
        bytes_max: u64,
    ) -> Result<Option<(String, Vec<u8>)>, PullError> {
        let (digest, manifest) = self.manifest(self.parsed()).await?;
        let digest = digest.to_string();
        if known == Some(digest.as_str()) {
            return Ok(None);
        }
        let layer = layer(&manifest, bytes_max).map_err(|why| self.bad(why))?;
        self.blob(&layer).await?;
        let blobs = self.blobs().clone();
        let archive = blocking(self.reference(), move || blobs.read(&layer.digest, bytes_max)).await?;
        Ok(Some((digest, archive)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_first_layer_of_its_type() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let manifest = |kind: &str| {
            let layer = serde_json::json!({"mediaType": kind, "digest": digest, "size": 10});
            serde_json::json!({"schemaVersion": 2, "layers": [layer]}).to_string()
        };
        let bundle = manifest("application/vnd.oci.image.layer.v1.tar+gzip");
        assert_eq!(layer(bundle.as_bytes(), 10).unwrap().size, 10);
        assert!(layer(bundle.as_bytes(), 9).unwrap_err().contains("more than 9"));
        assert!(layer(manifest("application/wasm").as_bytes(), 10).unwrap_err().contains("no layer of type tar+gzip"));
    }
}
