//! Manifests: get, put, delete, by tag or digest.

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use http::{HeaderName, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::{BlobError, Digest, artifact::MANIFEST_BYTES_MAX, catalog::Repository, media};

use super::{
    CONTENT_DIGEST, Shared,
    error::{Code, Refusal, empty},
};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

pub(super) async fn get(shared: &Shared, repository: &str, reference: &str, head: bool) -> Result<Response, Refusal> {
    let found = shared.blobs.names(|it| {
        let known = it.repositories.get(repository).ok_or_else(|| unknown_name(repository))?;
        let (digest, kind) = known.find(reference).ok_or_else(|| unknown(repository, reference))?;
        Ok::<_, Refusal>((digest.clone(), kind.to_owned()))
    });
    let (digest, kind) = found?;
    let wanted = digest.clone();
    let content = shared.blocking(move |it| it.read(&wanted, MANIFEST_BYTES_MAX)).await?;
    let mut response = empty(
        StatusCode::OK,
        &[
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_LENGTH, content.len().to_string()),
            (header::ETAG, format!("\"{digest}\"")),
            (CONTENT_DIGEST, digest.to_string()),
        ],
    );
    if !head {
        *response.body_mut() = Body::from(content);
    }
    Ok(response)
}

pub(super) async fn put(
    shared: &Shared,
    repository: String,
    reference: String,
    head: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let content = read(body).await?;
    let manifest = Manifest::check(&content, kind)?;
    let digest = Digest::of(&content);
    if reference.contains(':') && reference != digest.to_string() {
        return Err(Refusal::bad(Code::DigestInvalid, format!("the manifest has digest {digest}, not {reference}")));
    }
    if let Some(missing) = manifest.needs.iter().find(|it| shared.blobs.size(it).is_none()) {
        return Err(Refusal::bad(Code::ManifestBlobUnknown, format!("{missing} is not here: push it first")));
    }
    let (named, announced, tag, kind) = (repository.clone(), repository.clone(), reference.clone(), manifest.kind);
    shared
        .blocking(move |blobs| {
            let digest = blobs.put(&content)?;
            blobs.rename(|it| {
                let repository: &mut Repository = it.repositories.entry(named).or_default();
                repository.manifests.insert(digest.clone(), kind);
                if !tag.contains(':') {
                    repository.tags.insert(tag, digest);
                }
            })?;
            blobs.announce(&announced);
            Ok(())
        })
        .await?;
    let mut headers =
        vec![(header::LOCATION, format!("/v2/{repository}/manifests/{digest}")), (CONTENT_DIGEST, digest.to_string())];
    headers.extend(manifest.subject.map(|it| (SUBJECT, it.to_string())));
    Ok(empty(StatusCode::CREATED, &headers))
}

pub(super) async fn delete(shared: &Shared, repository: String, reference: String) -> Result<Response, Refusal> {
    let (name, wanted) = (repository.clone(), reference.clone());
    let removed = shared.blocking(move |blobs| {
        blobs.rename(|it| {
            let known = it.repositories.get_mut(&name)?;
            let (digest, _) = known.find(&wanted).map(|it| (it.0.clone(), ()))?;
            if wanted.contains(':') {
                known.manifests.remove(&digest);
                known.tags.retain(|_, it| *it != digest);
            } else {
                known.tags.remove(&wanted);
            }
            if known.manifests.is_empty() {
                it.repositories.remove(&name);
            }
            Some(())
        })
    });
    match removed.await? {
        Some(()) => Ok(empty(StatusCode::ACCEPTED, &[])),
        None => Err(unknown(&repository, &reference)),
    }
}

/// What is stored about a manifest.
struct Manifest {
    kind: String,
    /// Everything it refers to that must be here.
    needs: Vec<Digest>,
    subject: Option<Digest>,
}

impl Manifest {
    fn check(content: &[u8], content_type: Option<String>) -> Result<Manifest, Refusal> {
        let invalid = |reason: String| Refusal::bad(Code::ManifestInvalid, reason);
        let json: Value = serde_json::from_slice(content).map_err(|it| invalid(it.to_string()))?;
        let declared = json["mediaType"].as_str();
        let kind = match (declared, content_type.as_deref()) {
            (Some(declared), Some(given)) if declared != given => {
                return Err(invalid(format!("Content-Type is {given}, and its mediaType is {declared}")));
            }
            (Some(kind), _) | (None, Some(kind)) => kind.to_owned(),
            (None, None) => return Err(invalid("neither Content-Type nor mediaType tell what it is".to_owned())),
        };
        if !media::MANIFESTS.contains(&kind.as_str()) {
            return Err(invalid(format!("manifests of type {kind} are not supported")));
        }
        if json["schemaVersion"] != 2 {
            return Err(invalid("its schemaVersion is not 2".to_owned()));
        }
        let list = |field: &str| json[field].as_array().cloned().unwrap_or_default();
        let mut needs = Vec::new();
        let config = json.get("config").cloned();
        for descriptor in config.into_iter().chain(list("layers")).chain(list("manifests")) {
            needs.push(digest_of(&descriptor).ok_or_else(|| invalid("a descriptor has no sha256 digest".to_owned()))?);
        }
        Ok(Manifest { kind, needs, subject: json.get("subject").and_then(digest_of) })
    }
}

/// Digest of a descriptor.
pub(super) fn digest_of(descriptor: &Value) -> Option<Digest> {
    descriptor["digest"].as_str()?.parse().ok()
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    let max = usize::try_from(MANIFEST_BYTES_MAX).unwrap_or(usize::MAX);
    let body = Limited::new(body, max).collect().await;
    match body {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BlobError::TooLarge { max: MANIFEST_BYTES_MAX }.into()),
        Err(error) => Err(Refusal::bad(Code::ManifestInvalid, format!("the body broke off: {error}"))),
    }
}

pub(super) fn unknown_name(repository: &str) -> Refusal {
    Refusal::not_found(Code::NameUnknown, format!("there is no repository {repository}"))
}

fn unknown(repository: &str, reference: &str) -> Refusal {
    Refusal::not_found(Code::ManifestUnknown, format!("repository {repository} has no manifest {reference}"))
}
