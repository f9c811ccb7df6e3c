//! What a pull gives, and why it may not.

use std::{path::PathBuf, str::FromStr, sync::Arc};

use oci_client::Reference;

use crate::BlobError;

/// An image whose WebAssembly file is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// As it was asked for.
    pub reference: String,
    /// Digest of the manifest, of the one for Wasm when the reference names an index: `sha256:…`.
    pub digest: String,
    /// The WebAssembly file; its content never changes.
    pub wasm: PathBuf,
    /// Digest of that file: `sha256:…`.
    pub wasm_digest: String,
    /// From the image's config; empty for an artifact, which has none.
    pub entrypoint: Vec<String>,
    /// As above.
    pub cmd: Vec<String>,
    /// As above, in order.
    pub env: Vec<(String, String)>,
    /// As above.
    pub working_dir: Option<String>,
    /// Bytes of the WebAssembly file.
    pub size_bytes: u64,
    /// The components that the file was put together from, the program first; empty when it is one of the image's own files.
    pub parts: Vec<ImagePart>,
}

impl Image {
    /// Whether it has files, of which its config names the program. An artifact is the program.
    pub fn has_files(&self) -> bool {
        !(self.entrypoint.is_empty() && self.cmd.is_empty())
    }
}

/// One of several components in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePart {
    /// The title of its layer.
    pub name: String,
    /// Digest of its layer: `sha256:…`.
    pub digest: String,
    /// Bytes of its layer.
    pub size_bytes: u64,
}

/// When to ask the registry; the words of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PullPolicy {
    /// At every start.
    Always,
    /// When the image is not on disk.
    IfNotPresent,
    /// Never.
    Never,
}

impl PullPolicy {
    /// What Kubernetes assumes when a container names no policy: `Always` for the tag `latest`, written or implied.
    pub fn default_for(reference: &str) -> PullPolicy {
        match reference.parse::<Reference>() {
            Ok(it) if it.digest().is_none() && it.tag().is_none_or(|tag| tag == "latest") => PullPolicy::Always,
            _ => PullPolicy::IfNotPresent,
        }
    }
}

impl FromStr for PullPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<PullPolicy, String> {
        match text {
            "Always" => Ok(PullPolicy::Always),
            "IfNotPresent" => Ok(PullPolicy::IfNotPresent),
            "Never" => Ok(PullPolicy::Never),
            _ => Err(format!("imagePullPolicy {text:?} is none of Always, IfNotPresent, Never")),
        }
    }
}

/// Why an image cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PullError {
    /// The reference does not parse.
    #[error("couldn't parse image name {reference:?}: {reason}")]
    InvalidName {
        /// As given.
        reference: String,
        /// What is wrong.
        reason: String,
    },
    /// Not on disk, and pulling is forbidden.
    #[error("image {reference:?} is not present with pull policy of Never")]
    NeverPull {
        /// As given.
        reference: String,
    },
    /// The registry does not have it.
    #[error("image {reference:?} not found: {reason}")]
    NotFound {
        /// As given.
        reference: String,
        /// What the registry said.
        reason: String,
    },
    /// The registry wants other credentials.
    #[error("pulling {reference:?}: the registry refused access, check imagePullSecrets: {reason}")]
    Unauthorized {
        /// As given.
        reference: String,
        /// What the registry said.
        reason: String,
    },
    /// The registry cannot be reached or fails.
    #[error("pulling {reference:?}: registry unavailable: {reason}")]
    Unavailable {
        /// As given.
        reference: String,
        /// What went wrong.
        reason: String,
    },
    /// The registry's answer makes no sense, or is not what its digest says.
    #[error("pulling {reference:?}: {reason}")]
    BadAnswer {
        /// As given.
        reference: String,
        /// What is wrong.
        reason: String,
    },
    /// An image, but not one with a WebAssembly program.
    #[error("image {reference:?} is not a WebAssembly image: {reason}")]
    NotWasm {
        /// As given.
        reference: String,
        /// What it is instead.
        reason: String,
    },
    /// The files on this node failed.
    #[error("storing {reference:?}: {source}")]
    Storage {
        /// As given.
        reference: String,
        /// Cause.
        source: Arc<BlobError>,
    },
}

impl PullError {
    /// The reason that kubectl shows while the container waits.
    pub fn reason(&self) -> &'static str {
        match self {
            PullError::InvalidName { .. } => "InvalidImageName",
            PullError::NeverPull { .. } => "ErrImageNeverPull",
            PullError::Unavailable { .. } => "RegistryUnavailable",
            PullError::NotFound { .. }
            | PullError::Unauthorized { .. }
            | PullError::BadAnswer { .. }
            | PullError::NotWasm { .. }
            | PullError::Storage { .. } => "ErrImagePull",
        }
    }

    /// True when trying again unchanged may succeed.
    pub fn is_transient(&self) -> bool {
        !matches!(self, PullError::InvalidName { .. } | PullError::NotWasm { .. })
    }
}
