//! Makes an image of a WebAssembly file and sends it to a registry, as the CNCF's Wasm OCI artifact.

use std::collections::BTreeMap;

use bytes::Bytes;
use eyot_compose::Part;
use http::HeaderValue;
use oci_client::{Reference, RegistryOperation, errors::OciDistributionError};
use serde_json::{Value, json};

use crate::{
    Credential, Digest, media,
    remote::{auth, chain, client},
};

/// What goes with the file.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    /// For registries that want a login.
    pub credentials: Vec<Credential>,
    /// Registries spoken to without TLS; loopback addresses always are.
    pub plain_http_hosts: Vec<String>,
    /// Annotations of the manifest, `org.opencontainers.image.title` for instance.
    pub annotations: BTreeMap<String, String>,
    /// Name of the file, as the title of its layer.
    pub title: Option<String>,
    /// Components that the file is linked with wherever the image is pulled.
    pub libraries: Vec<Library>,
}

/// A component that goes with a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Title of its layer, by which messages call it.
    pub title: String,
    /// The component.
    pub wasm: Bytes,
}

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The full reference, with registry and tag.
    pub reference: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Digest of the file.
    pub wasm_digest: Digest,
    /// Bytes of the file.
    pub size_bytes: u64,
}

/// Why a push failed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The file does not begin as a WebAssembly module or component does.
    #[error("not a WebAssembly file: {0}")]
    NotWasm(&'static str),
    /// The components cannot be linked.
    #[error(transparent)]
    Compose(#[from] eyot_compose::ComposeError),
    /// The reference does not parse, or names a digest, which only content decides.
    #[error("couldn't parse image name {reference:?}: {reason}")]
    InvalidName {
        /// As given.
        reference: String,
        /// What is wrong.
        reason: String,
    },
    /// The registry refused or could not be reached.
    #[error("{step} {reference}: {reason}")]
    Registry {
        /// What was being done.
        step: &'static str,
        /// To which image.
        reference: String,
        /// What the registry or the network said.
        reason: String,
    },
}

/// Pushes a file. The same file and options make the same manifest, whenever and wherever.
pub async fn push(reference: &str, wasm: Bytes, options: &PushOptions) -> Result<Pushed, PushError> {
    let target = parse(reference)?;
    check_links(&wasm, options)?;
    let (config, manifest) = artifact(&wasm, options)?;
    let unable = |reason| PushError::Registry { step: "preparing to push", reference: reference.to_owned(), reason };
    let client = client(target.registry(), &options.plain_http_hosts).map_err(unable)?;
    let credential = Credential::choose(&options.credentials, target.registry(), target.repository()).cloned();
    let fail = |step| {
        move |error: OciDistributionError| PushError::Registry {
            step,
            reference: reference.to_owned(),
            reason: chain(&error),
        }
    };
    client.auth(&target, &auth(credential), RegistryOperation::Push).await.map_err(fail("logging in for"))?;
    let wasm_digest = Digest::of(&wasm);
    for content in options.libraries.iter().map(|it| &it.wasm).chain([&wasm, &config]).cloned() {
        let digest = Digest::of(&content).to_string();
        let present = client.blob_exists(&target, &digest).await.map_err(fail("asking about a layer of"))?;
        if !present {
            client.push_blob(&target, content, &digest).await.map_err(fail("pushing a layer of"))?;
        }
    }
    let kind = HeaderValue::from_static(media::OCI_MANIFEST);
    client.push_manifest_raw(&target, manifest.clone(), kind).await.map_err(fail("pushing the manifest of"))?;
    Ok(Pushed { reference: target.whole(), digest: Digest::of(&manifest), wasm_digest, size_bytes: wasm.len() as u64 })
}

fn parse(reference: &str) -> Result<Reference, PushError> {
    let invalid = |reason: String| PushError::InvalidName { reference: reference.to_owned(), reason };
    let parsed: Reference = reference.parse().map_err(|it: oci_client::ParseError| invalid(it.to_string()))?;
    match parsed.digest() {
        None => Ok(parsed),
        Some(_) => Err(invalid("push to a tag: the digest follows from the content".to_owned())),
    }
}

/// Links what is linked once more by whoever pulls, so that what does not fit is told here.
fn check_links(wasm: &[u8], options: &PushOptions) -> Result<(), PushError> {
    if options.libraries.is_empty() {
        return Ok(());
    }
    let program = Part { name: options.title.as_deref().unwrap_or("the program"), wasm };
    let libraries = options.libraries.iter().map(|it| Part { name: &it.title, wasm: &it.wasm });
    eyot_compose::compose(&std::iter::once(program).chain(libraries).collect::<Vec<_>>())?;
    Ok(())
}

/// Config and manifest of an artifact.
fn artifact(wasm: &[u8], options: &PushOptions) -> Result<(Bytes, Bytes), PushError> {
    let libraries = options.libraries.iter();
    let files: Vec<(Option<&str>, &[u8])> = std::iter::once((options.title.as_deref(), wasm))
        .chain(libraries.map(|it| (Some(it.title.as_str()), it.wasm.as_ref())))
        .collect();
    let digests: Vec<Digest> = files.iter().map(|(_, content)| Digest::of(content)).collect();
    // A date would give each push of one file another digest.
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": system(wasm)?,
        "layerDigests": digests,
    });
    let config = Bytes::from(config.to_string());
    let descriptor = |kind: &str, content: &[u8]| -> Value {
        json!({"mediaType": kind, "digest": Digest::of(content), "size": content.len()})
    };
    let layer = |(title, content): &(Option<&str>, &[u8])| {
        let mut layer = descriptor(media::WASM_LAYER, content);
        if let Some(title) = title {
            layer["annotations"] = json!({ media::TITLE: title });
        }
        layer
    };
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": descriptor(media::WASM_CONFIG, &config),
        "layers": files.iter().map(layer).collect::<Vec<_>>(),
    });
    if !options.annotations.is_empty() {
        manifest["annotations"] = json!(options.annotations);
    }
    Ok((config, Bytes::from(manifest.to_string())))
}

/// The WASI that a file is for, going by whether it is a module or a component.
fn system(wasm: &[u8]) -> Result<&'static str, PushError> {
    match wasm {
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Ok("wasip1"),
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok("wasip2"),
        [0, b'a', b's', b'm', ..] => Err(PushError::NotWasm("neither a version 1 module nor a component")),
        _ => Err(PushError::NotWasm("it does not begin with \\0asm")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_and_components_name_their_wasi() {
        assert_eq!(system(b"\0asm\x01\0\0\0").unwrap(), "wasip1");
        assert_eq!(system(b"\0asm\x0d\0\x01\0").unwrap(), "wasip2");
        assert!(system(b"\0asm\x02\0\0\0").is_err());
        assert!(system(b"#!/bin/sh").is_err());
    }

    #[test]
    fn the_same_file_makes_the_same_manifest() {
        let options = PushOptions { annotations: BTreeMap::from([("a".into(), "b".into())]), ..PushOptions::default() };
        let make = || artifact(b"\0asm\x01\0\0\0", &options).unwrap().1;
        assert_eq!(make(), make());
        let json: Value = serde_json::from_slice(&make()).unwrap();
        assert_eq!(json["config"]["mediaType"], media::WASM_CONFIG);
        assert_eq!(json["layers"][0]["mediaType"], "application/wasm");
        assert_eq!(json["annotations"]["a"], "b");
    }
}
