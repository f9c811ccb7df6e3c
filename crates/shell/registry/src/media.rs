//! Media types that matter here.

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Manifests that a pull can use.
pub(crate) const MANIFESTS: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Config of the CNCF's Wasm OCI artifact. Pulling goes by the layer, so that other versions of it are taken as well.
pub(crate) const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// Annotation with the name of a file that is a layer.
pub(crate) const TITLE: &str = "org.opencontainers.image.title";

pub(crate) const WASM_LAYER: &str = "application/wasm";
/// Layers that are a WebAssembly file as it is.
pub(crate) const WASM_LAYERS: [&str; 3] =
    [WASM_LAYER, "application/vnd.module.wasm.content.layer.v1+wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// Configs of ordinary container images.
pub(crate) const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
