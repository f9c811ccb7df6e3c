//! Copies an image from a registry into the blobs.

use std::time::Duration;

use futures::StreamExt;
use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol},
    errors::{DigestError, OciDistributionError, OciErrorCode},
    secrets::RegistryAuth,
};

use crate::{
    BlobError, Blobs, Credential, Digest, ImagesConfig, PullError, Upload,
    artifact::{Descriptor, MANIFEST_BYTES_MAX, ManifestError},
    images::blocking,
    media,
    resolve::{self, Needs},
};

/// Largest layer: the same as the largest program, since a layer with more has more than a program in it.
const LAYER_BYTES_MAX: u64 = resolve::WASM_BYTES_MAX;
/// Bytes gathered before they are hashed and written off the async threads.
const WRITE_BYTES: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a registry.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const NO_AUTHORITY: &str = "this machine trusts no certificate authority: install ca-certificates, or name a file of \
                            authorities in SSL_CERT_FILE";

/// One image at its registry.
pub(crate) struct Remote {
    client: Client,
    auth: RegistryAuth,
    blobs: Blobs,
    reference: String,
    parsed: Reference,
}

/// A client for a registry.
///
/// # Errors
///
/// On a machine that trusts no authority, with what to do: the client of registries cannot be made there, which it tells by a panic.
pub(crate) fn client(host: &str, plain_http_hosts: &[String]) -> Result<Client, String> {
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        return Err(NO_AUTHORITY.to_owned());
    }
    let mut plain = plain_http_hosts.to_vec();
    if is_loopback(host) {
        plain.push(host.to_owned());
    }
    Ok(Client::new(ClientConfig {
        protocol: ClientProtocol::HttpsExcept(plain),
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: concat!("eyot/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    }))
}

/// What to log in with.
pub(crate) fn auth(credential: Option<Credential>) -> RegistryAuth {
    credential.map_or(RegistryAuth::Anonymous, |it| RegistryAuth::Basic(it.username, it.password))
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |it| it.0).trim_matches(['[', ']']);
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|it| it.is_loopback())
}

impl Remote {
    pub(crate) fn new(
        blobs: &Blobs,
        config: &ImagesConfig,
        reference: &str,
        parsed: &Reference,
        credential: Option<Credential>,
    ) -> Result<Remote, PullError> {
        let unavailable = |reason| PullError::Unavailable { reference: reference.to_owned(), reason };
        Ok(Remote {
            client: client(parsed.registry(), &config.plain_http_hosts).map_err(unavailable)?,
            auth: auth(credential),
            blobs: blobs.clone(),
            reference: reference.to_owned(),
            parsed: parsed.clone(),
        })
    }

    /// Copies what a program needs, unless it is here; gives the manifest that the reference names.
    pub(crate) async fn pull(&self) -> Result<Digest, PullError> {
        let (digest, json) = self.manifest(&self.parsed).await?;
        let (mut needs, mut depth) = (self.needs(&json)?, 0);
        while let Needs::Manifest(chosen) = &needs {
            if depth > 1 {
                return Err(self.bad("indexes are nested too deeply"));
            }
            depth += 1;
            let (registry, repository) = (self.parsed.registry().to_owned(), self.parsed.repository().to_owned());
            let at = Reference::with_digest(registry, repository, chosen.digest.to_string());
            let (_, json) = self.manifest(&at).await?;
            needs = self.needs(&json)?;
        }
        if let Needs::Blobs(all) = needs {
            for blob in &all {
                self.blob(blob).await?;
            }
        }
        Ok(digest)
    }

    fn needs(&self, json: &[u8]) -> Result<Needs, PullError> {
        resolve::needs(json).map_err(|error| match error {
            ManifestError::NotWasm(reason) => PullError::NotWasm { reference: self.reference.clone(), reason },
            ManifestError::Syntax(_) => self.bad(error.to_string()),
        })
    }

    pub(crate) fn parsed(&self) -> &Reference {
        &self.parsed
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    pub(crate) fn reference(&self) -> &str {
        &self.reference
    }

    pub(crate) async fn manifest(&self, at: &Reference) -> Result<(Digest, Vec<u8>), PullError> {
        let answer = self.client.pull_manifest_raw(at, &self.auth, &media::MANIFESTS).await;
        let (json, _) = answer.map_err(|it| self.error(it))?;
        if json.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(self.bad(format!("its manifest is larger than {MANIFEST_BYTES_MAX} bytes")));
        }
        let (blobs, content) = (self.blobs.clone(), json.to_vec());
        let digest = blocking(&self.reference, move || blobs.put(&content)).await?;
        match at.digest() {
            Some(wanted) if wanted != digest.to_string() => {
                Err(self.bad(format!("the registry answered with {digest} instead of {wanted}")))
            }
            _ => Ok((digest, json.to_vec())),
        }
    }

    pub(crate) async fn blob(&self, wanted: &Descriptor) -> Result<(), PullError> {
        if wanted.size > LAYER_BYTES_MAX {
            return Err(self.bad(format!("layer {} is larger than {LAYER_BYTES_MAX} bytes", wanted.digest)));
        }
        if self.blobs.size(&wanted.digest) == Some(wanted.size) {
            return Ok(());
        }
        let digest = wanted.digest.to_string();
        let answer = self.client.pull_blob_stream(&self.parsed, digest.as_str()).await;
        let mut stream = answer.map_err(|it| self.error(it))?.stream;
        let (blobs, max) = (self.blobs.clone(), wanted.size);
        let mut upload = blocking(&self.reference, move || blobs.upload(max)).await?;
        let mut pending = Vec::new();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => pending.extend_from_slice(&chunk),
                // The client checks the digest as well; the check below is ours to report.
                Err(error) if error.get_ref().is_some_and(|it| it.is::<DigestError>()) => break,
                Err(error) => {
                    blocking(&self.reference, move || upload.cancel()).await?;
                    return Err(self.unavailable(format!("layer {digest} broke off: {error}")));
                }
            }
            if pending.len() >= WRITE_BYTES {
                upload = self.append(upload, std::mem::take(&mut pending)).await?;
            }
        }
        let upload = self.append(upload, pending).await?;
        let expected = wanted.digest.clone();
        match blocking(&self.reference, move || upload.finish(&expected)).await {
            Err(PullError::Storage { source, .. }) if matches!(*source, BlobError::Mismatch { .. }) => {
                Err(self.bad(format!("a layer is damaged: {source}")))
            }
            done => done,
        }
    }

    async fn append(&self, mut upload: Upload, content: Vec<u8>) -> Result<Upload, PullError> {
        let write = move || upload.append(&content).map(|()| upload);
        match blocking(&self.reference, write).await {
            Err(PullError::Storage { source, .. }) if matches!(*source, BlobError::TooLarge { .. }) => {
                Err(self.bad("a layer is larger than its manifest says"))
            }
            done => done,
        }
    }

    pub(crate) fn bad(&self, reason: impl Into<String>) -> PullError {
        PullError::BadAnswer { reference: self.reference.clone(), reason: reason.into() }
    }

    fn unavailable(&self, reason: String) -> PullError {
        PullError::Unavailable { reference: self.reference.clone(), reason }
    }

    fn error(&self, error: OciDistributionError) -> PullError {
        let (reference, reason) = (self.reference.clone(), chain(&error));
        match error {
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ServerError { code: 404, .. } => PullError::NotFound { reference, reason },
            OciDistributionError::RegistryError { envelope, .. } => match envelope.errors.first().map(|it| &it.code) {
                Some(OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound) => {
                    PullError::NotFound { reference, reason }
                }
                Some(OciErrorCode::Unauthorized | OciErrorCode::Denied) => {
                    PullError::Unauthorized { reference, reason }
                }
                Some(OciErrorCode::Toomanyrequests) => PullError::Unavailable { reference, reason },
                _ => PullError::BadAnswer { reference, reason },
            },
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
                PullError::Unauthorized { reference, reason }
            }
            OciDistributionError::RequestError(_)
            | OciDistributionError::IoError(_)
            | OciDistributionError::ServerError { .. } => PullError::Unavailable { reference, reason },
            _ => PullError::BadAnswer { reference, reason },
        }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
