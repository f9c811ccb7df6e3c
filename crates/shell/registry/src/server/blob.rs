//! Blobs: get (whole or a range), delete.

use std::{io::SeekFrom, ops::RangeInclusive};

use axum::{body::Body, response::Response};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::{BlobError, Digest, artifact::MANIFEST_BYTES_MAX};

use super::{
    CONTENT_DIGEST, Shared,
    error::{Code, Refusal, empty},
};

pub(super) async fn get(shared: &Shared, digest: Digest, head: &Parts) -> Result<Response, Refusal> {
    let wanted = digest.clone();
    let path = shared.blocking(move |it| it.verify(&wanted)).await?;
    let size = shared.blobs.size(&digest).ok_or(BlobError::Absent(digest.clone()))?;
    let range = match head.headers.get(header::RANGE).map(|it| parse_range(it, size)) {
        None => None,
        Some(Ok(range)) => Some(range),
        Some(Err(())) => {
            let message = format!("the blob has {size} bytes, and one range of them can be had");
            return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::SizeInvalid, message));
        }
    };
    let (start, length) = range.as_ref().map_or((0, size), |it| (*it.start(), it.end() - it.start() + 1));
    let mut headers = vec![
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    let status = match &range {
        None => StatusCode::OK,
        Some(it) => {
            headers.push((header::CONTENT_RANGE, format!("bytes {}-{}/{size}", it.start(), it.end())));
            StatusCode::PARTIAL_CONTENT
        }
    };
    let mut response = empty(status, &headers);
    if head.method != Method::HEAD {
        let mut file = tokio::fs::File::open(&path).await.map_err(BlobError::io("opening", &path))?;
        file.seek(SeekFrom::Start(start)).await.map_err(BlobError::io("reading", &path))?;
        *response.body_mut() = Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 << 10));
    }
    Ok(response)
}

/// One range of bytes; anything else that is asked for cannot be had.
fn parse_range(value: &HeaderValue, size: u64) -> Result<RangeInclusive<u64>, ()> {
    let text = value.to_str().map_err(|_| ())?;
    let (first, last) = text.strip_prefix("bytes=").ok_or(())?.split_once('-').ok_or(())?;
    let number = |it: &str| it.parse::<u64>().map_err(|_| ());
    let end = size.checked_sub(1).ok_or(())?;
    let range = match (first, last) {
        ("", last) => size.saturating_sub(number(last)?)..=end,
        (first, "") => number(first)?..=end,
        (first, last) => number(first)?..=number(last)?.min(end),
    };
    if range.is_empty() { Err(()) } else { Ok(range) }
}

/// Removes a blob that no manifest here needs.
pub(super) async fn delete(shared: &Shared, digest: Digest) -> Result<Response, Refusal> {
    let wanted = digest.clone();
    let user = shared.blocking(move |blobs| {
        let manifests = blobs.names(|it| {
            let pushed = it.repositories.values().flat_map(|it| it.manifests.keys().cloned());
            pushed.chain(it.pulled.values().cloned()).collect::<Vec<_>>()
        });
        let uses = |it: &Digest| {
            // A digest has one spelling, so a search for it in the text finds every use.
            let json = blobs.read(it, MANIFEST_BYTES_MAX).unwrap_or_default();
            *it == wanted || String::from_utf8_lossy(&json).contains(&wanted.to_string())
        };
        Ok(manifests.into_iter().find(uses))
    });
    if let Some(user) = user.await? {
        let message = format!("manifest {user} needs it; delete that first");
        return Err(Refusal::new(StatusCode::CONFLICT, Code::Denied, message));
    }
    let wanted = digest.clone();
    match shared.blocking(move |it| it.remove(&wanted)).await? {
        true => Ok(empty(StatusCode::ACCEPTED, &[])),
        false => Err(BlobError::Absent(digest).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clamped_to_the_content() {
        let parse = |text: &'static str| parse_range(&HeaderValue::from_static(text), 10).ok();
        assert_eq!(parse("bytes=0-3"), Some(0..=3));
        assert_eq!(parse("bytes=8-"), Some(8..=9));
        assert_eq!(parse("bytes=-4"), Some(6..=9));
        assert_eq!(parse("bytes=5-99"), Some(5..=9));
        for bad in ["bytes=10-", "bytes=4-2", "bytes=-0", "bytes=a-b", "chunks=0-1", "bytes=0-1,4-5"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
