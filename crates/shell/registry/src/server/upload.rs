//! Uploads: whole in one request, in order in several, or by mounting what is here.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use axum::{body::Body, response::Response};
use futures::StreamExt;
use http::{HeaderMap, HeaderName, StatusCode, header, request::Parts};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::{Digest, Upload, blobs::UPLOAD_AGE};

use super::{
    CONTENT_DIGEST, Shared,
    error::{Code, Refusal, empty},
    listing::query,
    route,
};

/// Largest blob. A WebAssembly program has kilobytes to tens of megabytes.
const BLOB_BYTES_MAX: u64 = 2 << 30;
/// Uploads in progress at once; further ones are asked to come back.
const ACTIVE_MAX: usize = 64;
/// Paused uploads whose hash is kept; others are hashed again when they go on.
const PAUSED_MAX: usize = 64;
/// Bytes gathered before they are hashed and written off the async threads.
const WRITE_BYTES: usize = 1 << 20;
/// Longest silence of a client inside a body.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Uploads between and during requests.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paused: HashMap<Uuid, Upload>,
    /// In the hands of a request, which alone may touch the file.
    active: HashSet<Uuid>,
}

/// A request's hold on an upload.
struct Hold<'a> {
    uploads: &'a Uploads,
    id: Uuid,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.uploads.state.lock().active.remove(&self.id);
    }
}

impl Uploads {
    fn hold(&self, id: Uuid) -> Result<Hold<'_>, Refusal> {
        let mut state = self.state.lock();
        if state.active.len() >= ACTIVE_MAX {
            let message = format!("{ACTIVE_MAX} uploads are in progress");
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message));
        }
        match state.active.insert(id) {
            true => Ok(Hold { uploads: self, id }),
            false => {
                let message = format!("another request is writing to upload {id}");
                Err(Refusal::new(StatusCode::CONFLICT, Code::BlobUploadInvalid, message))
            }
        }
    }

    fn pause(&self, upload: Upload) {
        let mut state = self.state.lock();
        if state.paused.len() >= PAUSED_MAX {
            // Which one matters little: it is hashed again if it ever goes on.
            let victim = state.paused.keys().next().copied();
            victim.and_then(|it| state.paused.remove(&it));
        }
        state.paused.insert(upload.id(), upload);
    }

    async fn resume(&self, shared: &Shared, id: Uuid) -> Result<Upload, Refusal> {
        let paused = self.state.lock().paused.remove(&id);
        match paused {
            Some(upload) => Ok(upload),
            None => shared.blocking(move |it| Upload::resume(it.clone(), id, BLOB_BYTES_MAX)).await,
        }
    }
}

pub(super) async fn start(shared: &Shared, repository: &str, head: &Parts, body: Body) -> Result<Response, Refusal> {
    if let Some(mount) = query(head, "mount") {
        let digest = route::digest(&mount)?;
        if shared.blobs.size(&digest).is_some() {
            return Ok(created(repository, &digest));
        }
    }
    let digest = query(head, "digest").map(|it| route::digest(&it)).transpose()?;
    shared.blocking(|it| it.sweep_uploads(UPLOAD_AGE)).await?;
    let upload = shared.blocking(|it| it.upload(BLOB_BYTES_MAX)).await?;
    let _hold = match shared.uploads.hold(upload.id()) {
        Ok(hold) => hold,
        Err(refusal) => {
            shared.blocking(move |_| upload.cancel()).await?;
            return Err(refusal);
        }
    };
    match digest {
        Some(digest) => complete(shared, repository, upload, digest, body).await,
        None => {
            let response = accepted(StatusCode::ACCEPTED, repository, &upload);
            shared.uploads.pause(upload);
            Ok(response)
        }
    }
}

pub(super) async fn status(shared: &Shared, repository: &str, id: Uuid) -> Result<Response, Refusal> {
    let _hold = shared.uploads.hold(id)?;
    let upload = shared.uploads.resume(shared, id).await?;
    let response = accepted(StatusCode::NO_CONTENT, repository, &upload);
    shared.uploads.pause(upload);
    Ok(response)
}

pub(super) async fn append(
    shared: &Shared,
    repository: &str,
    id: Uuid,
    head: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let _hold = shared.uploads.hold(id)?;
    let upload = shared.uploads.resume(shared, id).await?;
    if let Err(refusal) = check_range(&head.headers, upload.bytes()) {
        shared.uploads.pause(upload);
        return Err(refusal);
    }
    let upload = receive(shared, upload, body).await?;
    let response = accepted(StatusCode::ACCEPTED, repository, &upload);
    shared.uploads.pause(upload);
    Ok(response)
}

pub(super) async fn finish(
    shared: &Shared,
    repository: &str,
    id: Uuid,
    head: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let digest = query(head, "digest");
    let digest = digest.ok_or_else(|| Refusal::bad(Code::DigestInvalid, "the query has no digest"))?;
    let digest = route::digest(&digest)?;
    let _hold = shared.uploads.hold(id)?;
    let upload = shared.uploads.resume(shared, id).await?;
    if let Err(refusal) = check_range(&head.headers, upload.bytes()) {
        shared.uploads.pause(upload);
        return Err(refusal);
    }
    complete(shared, repository, upload, digest, body).await
}

pub(super) async fn cancel(shared: &Shared, id: Uuid) -> Result<Response, Refusal> {
    let _hold = shared.uploads.hold(id)?;
    let upload = shared.uploads.resume(shared, id).await?;
    shared.blocking(move |_| upload.cancel()).await?;
    Ok(empty(StatusCode::NO_CONTENT, &[]))
}

async fn complete(
    shared: &Shared,
    repository: &str,
    upload: Upload,
    digest: Digest,
    body: Body,
) -> Result<Response, Refusal> {
    let upload = receive(shared, upload, body).await?;
    let expected = digest.clone();
    shared.blocking(move |_| upload.finish(&expected)).await?;
    Ok(created(repository, &digest))
}

/// Appends a body. When the client breaks off, what came before stays and the upload can go on.
async fn receive(shared: &Shared, mut upload: Upload, body: Body) -> Result<Upload, Refusal> {
    let broke_off = |reason: String| Refusal::bad(Code::BlobUploadInvalid, format!("the body broke off: {reason}"));
    let mut stream = body.into_data_stream();
    let mut pending = Vec::new();
    let ended = loop {
        match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
            Err(_) => break Err(broke_off(format!("nothing came for {} s", SILENCE_MAX.as_secs()))),
            Ok(None) => break Ok(()),
            Ok(Some(Err(error))) => break Err(broke_off(error.to_string())),
            Ok(Some(Ok(chunk))) => pending.extend_from_slice(&chunk),
        }
        if pending.len() >= WRITE_BYTES {
            upload = write(shared, upload, std::mem::take(&mut pending)).await?;
        }
    };
    let upload = write(shared, upload, pending).await?;
    match ended {
        Ok(()) => Ok(upload),
        Err(refusal) => {
            shared.uploads.pause(upload);
            Err(refusal)
        }
    }
}

async fn write(shared: &Shared, mut upload: Upload, content: Vec<u8>) -> Result<Upload, Refusal> {
    if content.is_empty() {
        return Ok(upload);
    }
    shared.blocking(move |_| upload.append(&content).map(|()| upload)).await
}

/// A chunk that says where it belongs must belong at the end.
fn check_range(headers: &HeaderMap, bytes: u64) -> Result<(), Refusal> {
    let Some(range) = headers.get(header::CONTENT_RANGE) else { return Ok(()) };
    let text = range.to_str().unwrap_or_default();
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let start = text.split_once('-').and_then(|it| it.0.trim().parse::<u64>().ok());
    match start == Some(bytes) {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            Code::BlobUploadInvalid,
            format!("the upload goes on at byte {bytes}"),
        )),
    }
}

fn created(repository: &str, digest: &Digest) -> Response {
    let location = format!("/v2/{repository}/blobs/{digest}");
    empty(StatusCode::CREATED, &[(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())])
}

fn accepted(status: StatusCode, repository: &str, upload: &Upload) -> Response {
    let location = format!("/v2/{repository}/blobs/uploads/{}", upload.id());
    let range = format!("0-{}", upload.bytes().saturating_sub(1));
    empty(status, &[(header::LOCATION, location), (header::RANGE, range), (UPLOAD_ID, upload.id().to_string())])
}
