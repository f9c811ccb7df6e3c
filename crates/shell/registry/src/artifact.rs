//! What a manifest says: pure, bytes in, meaning out.
//!
//! Two shapes carry a WebAssembly program: the CNCF's artifact, whose layer is the file itself, and an ordinary image
//! whose entrypoint names a `.wasm` file inside a layer.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Digest, media};

/// Largest manifest or config; the distribution spec asks for at least 4 MiB.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The name of a file that is a layer.
    pub(crate) fn title(&self) -> Option<&str> {
        self.annotations.get(media::TITLE).map(String::as_str).filter(|it| !it.is_empty())
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    schema_version: u32,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    artifact_type: Option<String>,
}

/// A manifest's meaning.
#[derive(Debug)]
pub(crate) enum Manifest {
    /// Several manifests to choose from; this one is for Wasm.
    Index(Descriptor),
    /// One layer is the program; it is linked with `libraries`.
    Artifact { wasm: Descriptor, libraries: Vec<Descriptor> },
    /// The config tells which file of the layers is the program.
    Image { config: Descriptor, layers: Vec<Descriptor> },
}

/// Why a manifest is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("the manifest does not parse: {0}")]
    Syntax(String),
    #[error("{0}")]
    NotWasm(String),
}

/// Reads a manifest of any kind.
pub(crate) fn manifest(json: &[u8]) -> Result<Manifest, ManifestError> {
    let raw: RawManifest = serde_json::from_slice(json).map_err(|it| ManifestError::Syntax(it.to_string()))?;
    if raw.schema_version != 2 {
        return Err(ManifestError::Syntax(format!("schemaVersion is {}, not 2", raw.schema_version)));
    }
    if let Some(manifests) = raw.manifests {
        return choose(manifests).map(Manifest::Index);
    }
    let layers = raw.layers.unwrap_or_default();
    let config = raw.config.ok_or_else(|| ManifestError::Syntax("it has neither config nor manifests".to_owned()))?;
    let mut files = layers.iter().filter(|it| media::WASM_LAYERS.contains(&it.media_type.as_str())).cloned();
    if let Some(wasm) = files.next() {
        // Others keep programs side by side, which have nothing to do with each other.
        let is_one = config.media_type == media::WASM_CONFIG;
        return Ok(Manifest::Artifact { wasm, libraries: files.filter(|_| is_one).collect() });
    }
    if media::IMAGE_CONFIGS.contains(&config.media_type.as_str()) {
        return Ok(Manifest::Image { config, layers });
    }
    let kind = raw.artifact_type.unwrap_or(config.media_type);
    Err(ManifestError::NotWasm(format!(
        "it is an artifact of type {kind:?} with no layer of type {}",
        media::WASM_LAYER
    )))
}

/// The manifest for Wasm, else the one for a platform whose images may hold a Wasm entrypoint, else the only one.
fn choose(manifests: Vec<Descriptor>) -> Result<Descriptor, ManifestError> {
    let rank = |it: &Descriptor| {
        let platform = it.platform.as_ref()?;
        match (platform.os.as_str(), platform.architecture.as_str()) {
            ("wasip2" | "wasip1" | "wasi", "wasm") => Some(0),
            (_, "wasm" | "wasm32") => Some(1),
            ("linux", "amd64") => Some(2),
            _ => None,
        }
    };
    let platforms = |all: &[Descriptor]| {
        let names = all.iter().filter_map(|it| it.platform.as_ref());
        names.map(|it| format!("{}/{}", it.os, it.architecture)).collect::<Vec<_>>().join(", ")
    };
    let only = manifests.len() == 1 && manifests[0].platform.is_none();
    match manifests.iter().filter_map(|it| Some((rank(it)?, it))).min_by_key(|it| it.0) {
        Some((_, chosen)) => Ok(chosen.clone()),
        None if only => Ok(manifests[0].clone()),
        None => Err(ManifestError::NotWasm(format!("its index offers only {}", platforms(&manifests)))),
    }
}

/// What an image's config tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) working_dir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RawLaunch {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
}

/// Reads an image's config.
pub(crate) fn launch(json: &[u8]) -> Result<Launch, ManifestError> {
    #[derive(Deserialize)]
    struct Config {
        config: Option<RawLaunch>,
    }
    let config: Config = serde_json::from_slice(json).map_err(|it| ManifestError::Syntax(it.to_string()))?;
    let raw = config.config.unwrap_or_default();
    let pair =
        |it: String| it.split_once('=').map_or((it.clone(), String::new()), |(k, v)| (k.to_owned(), v.to_owned()));
    Ok(Launch {
        entrypoint: raw.entrypoint.unwrap_or_default(),
        cmd: raw.cmd.unwrap_or_default(),
        env: raw.env.unwrap_or_default().into_iter().map(pair).collect(),
        working_dir: raw.working_dir.filter(|it| !it.is_empty()),
    })
}

impl Launch {
    /// Path of the program inside the layers, without a leading slash.
    pub(crate) fn program(&self) -> Result<String, ManifestError> {
        let command = self.entrypoint.first().or(self.cmd.first());
        let command = command.ok_or_else(|| ManifestError::NotWasm("its config has no entrypoint".to_owned()))?;
        if !command.ends_with(".wasm") {
            return Err(ManifestError::NotWasm(format!("its entrypoint {command:?} is no .wasm file")));
        }
        let base = match command.starts_with('/') {
            true => "",
            false => self.working_dir.as_deref().unwrap_or("/"),
        };
        let path = format!("{base}/{command}");
        let parts = path.split('/').filter(|it| !matches!(*it, "" | "."));
        Ok(parts.collect::<Vec<_>>().join("/"))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(json: serde_json::Value, want: Expect) {
        let got = match manifest(json.to_string().as_bytes()) {
            Ok(Manifest::Index(it)) => format!("index -> size {}", it.size),
            Ok(Manifest::Artifact { wasm, libraries }) => {
                let libraries: Vec<_> = libraries.iter().map(|it| format!(" with {:?}", it.title())).collect();
                format!("artifact, wasm of size {}{}", wasm.size, libraries.concat())
            }
            Ok(Manifest::Image { layers, .. }) => format!("image with {} layers", layers.len()),
            Err(error) => error.to_string(),
        };
        want.assert_eq(&got);
    }

    fn descriptor(kind: &str, size: u64, platform: Option<&str>) -> serde_json::Value {
        let mut it = serde_json::json!({"mediaType": kind, "size": size, "digest": Digest::of(b"").to_string()});
        if let Some((os, architecture)) = platform.and_then(|it| it.split_once('/')) {
            it["platform"] = serde_json::json!({"os": os, "architecture": architecture});
        }
        it
    }

    #[test]
    fn tells_artifacts_images_and_the_rest_apart() {
        let of = |config, layer| {
            serde_json::json!({"schemaVersion": 2, "config": descriptor(config, 1, None),
                               "layers": [descriptor(layer, 7, None)]})
        };
        check(of(media::WASM_CONFIG, media::WASM_LAYER), expect!["artifact, wasm of size 7"]);
        check(
            of("application/vnd.wasm.config.v1+json", "application/vnd.module.wasm.content.layer.v1+wasm"),
            expect!["artifact, wasm of size 7"],
        );
        check(of(media::IMAGE_CONFIGS[0], "application/vnd.oci.image.layer.v1.tar"), expect!["image with 1 layers"]);
        check(
            of("application/vnd.cncf.helm.config.v1+json", "application/gzip"),
            expect![[
                r#"it is an artifact of type "application/vnd.cncf.helm.config.v1+json" with no layer of type application/wasm"#
            ]],
        );
        check(
            serde_json::json!({"schemaVersion": 1}),
            expect!["the manifest does not parse: schemaVersion is 1, not 2"],
        );
        check(
            serde_json::json!([]),
            expect![
                "the manifest does not parse: invalid length 0, expected struct RawManifest with 5 elements at line 1 column 2"
            ],
        );
    }

    #[test]
    fn further_files_of_an_artifact_are_libraries_and_of_others_are_not() {
        let of = |config| {
            let mut library = descriptor(media::WASM_LAYER, 8, None);
            library["annotations"] = serde_json::json!({ media::TITLE: "lib.wasm" });
            let layers = [descriptor(media::WASM_LAYER, 7, None), descriptor("text/plain", 1, None), library];
            serde_json::json!({"schemaVersion": 2, "config": descriptor(config, 1, None), "layers": layers})
        };
        check(of(media::WASM_CONFIG), expect![[r#"artifact, wasm of size 7 with Some("lib.wasm")"#]]);
        check(of("application/vnd.fermyon.spin.application.v1+config"), expect!["artifact, wasm of size 7"]);
    }

    #[test]
    fn an_index_yields_the_manifest_for_wasm_first() {
        let index = |platforms: &[Option<&str>]| {
            let all: Vec<_> =
                (1..).zip(platforms).map(|(size, it)| descriptor(media::OCI_MANIFEST, size, *it)).collect();
            serde_json::json!({"schemaVersion": 2, "manifests": all})
        };
        check(index(&[Some("linux/amd64"), Some("wasip1/wasm")]), expect!["index -> size 2"]);
        check(index(&[Some("linux/arm64"), Some("linux/amd64")]), expect!["index -> size 2"]);
        check(index(&[None]), expect!["index -> size 1"]);
        check(
            index(&[Some("linux/arm64"), Some("windows/amd64")]),
            expect!["its index offers only linux/arm64, windows/amd64"],
        );
    }

    #[test]
    fn the_program_is_the_entrypoint_under_the_working_directory() {
        let program = |json: &str| match launch(json.as_bytes()).unwrap().program() {
            Ok(path) => path,
            Err(error) => error.to_string(),
        };
        assert_eq!(program(r#"{"config": {"Entrypoint": ["/app.wasm"], "Cmd": ["x"]}}"#), "app.wasm");
        assert_eq!(program(r#"{"config": {"Cmd": ["./a.wasm"], "WorkingDir": "/srv/"}}"#), "srv/a.wasm");
        assert_eq!(
            program(r#"{"config": {"Entrypoint": ["/bin/sh"]}}"#),
            "its entrypoint \"/bin/sh\" is no .wasm file"
        );
        assert_eq!(program("{}"), "its config has no entrypoint");
    }
}
