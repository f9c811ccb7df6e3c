//! Lists: repositories, tags, referrers.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use crate::{Digest, artifact::MANIFEST_BYTES_MAX, media};

use super::{
    Shared,
    error::{Code, Refusal, json as json_response},
    manifest::{digest_of, unknown_name},
};

/// Most entries of one answer.
const PAGE_MAX: usize = 1000;

pub(super) fn repositories(shared: &Shared, head: &Parts) -> Result<Response, Refusal> {
    let page = Page::of(head)?;
    let (names, more) = shared.blobs.names(|it| page.take(it.repositories.keys()));
    Ok(page.respond("/v2/_catalog", json!({"repositories": names}), names.last().filter(|_| more)))
}

pub(super) fn tags(shared: &Shared, head: &Parts, repository: &str) -> Result<Response, Refusal> {
    let page = Page::of(head)?;
    let found = shared.blobs.names(|it| it.repositories.get(repository).map(|it| page.take(it.tags.keys())));
    let (tags, more) = found.ok_or_else(|| unknown_name(repository))?;
    let path = format!("/v2/{repository}/tags/list");
    Ok(page.respond(&path, json!({"name": repository, "tags": tags}), tags.last().filter(|_| more)))
}

/// Manifests of a repository whose subject is `digest`, as an index.
pub(super) async fn referrers(
    shared: &Shared,
    head: &Parts,
    repository: &str,
    digest: Digest,
) -> Result<Response, Refusal> {
    let manifests = shared.blobs.names(|it| it.repositories.get(repository).map(|it| it.manifests.clone()));
    let found = shared.blocking(move |blobs| {
        let mut found = Vec::new();
        for (manifest, kind) in manifests.unwrap_or_default() {
            let content = blobs.read(&manifest, MANIFEST_BYTES_MAX)?;
            found.extend(refers(&content, &digest).map(|it| descriptor(&manifest, &kind, &content, &it)));
        }
        Ok(found)
    });
    let mut found = found.await?;
    let wanted = query(head, "artifactType");
    if let Some(wanted) = &wanted {
        found.retain(|it| it["artifactType"] == **wanted);
    }
    let index = json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": found});
    let mut response = json_response(StatusCode::OK, &index);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media::OCI_INDEX));
    if wanted.is_some() {
        response.headers_mut().insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    Ok(response)
}

fn refers(content: &[u8], subject: &Digest) -> Option<Value> {
    let json: Value = serde_json::from_slice(content).ok()?;
    (digest_of(json.get("subject")?)? == *subject).then_some(json)
}

fn descriptor(digest: &Digest, kind: &str, content: &[u8], json: &Value) -> Value {
    let artifact_type = json.get("artifactType").or(json["config"].get("mediaType"));
    let mut it = json!({"mediaType": kind, "digest": digest, "size": content.len(), "artifactType": artifact_type});
    if let Some(annotations) = json.get("annotations") {
        it["annotations"] = annotations.clone();
    }
    it
}

/// Which part of a list is wanted: `n` entries after `last`.
struct Page {
    count: usize,
    last: Option<String>,
}

impl Page {
    fn of(head: &Parts) -> Result<Page, Refusal> {
        let count = match query(head, "n") {
            None => PAGE_MAX,
            Some(text) => {
                let bad = |_| Refusal::bad(Code::Unsupported, format!("n is {text:?}, not a number"));
                text.parse::<usize>().map_err(bad)?.min(PAGE_MAX)
            }
        };
        Ok(Page { count, last: query(head, "last") })
    }

    /// The page's part of sorted names, and whether there are more.
    fn take<'a>(&self, names: impl Iterator<Item = &'a String>) -> (Vec<String>, bool) {
        let mut rest = names.filter(|it| self.last.as_ref().is_none_or(|last| *it > last));
        let page = rest.by_ref().take(self.count).cloned().collect();
        (page, rest.next().is_some())
    }

    fn respond(&self, path: &str, body: Value, next_after: Option<&String>) -> Response {
        let mut response = json_response(StatusCode::OK, &body);
        // Names and tags are of characters that need no escape in a query.
        let link = next_after.map(|it| format!("<{path}?n={}&last={it}>; rel=\"next\"", self.count));
        if let Some(link) = link.and_then(|it| HeaderValue::try_from(it).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

/// A parameter of the query. Values here are digests, names and media types; a `%` escape is decoded.
pub(super) fn query(head: &Parts, name: &str) -> Option<String> {
    let pairs = head.uri.query()?.split('&');
    let value = pairs.filter_map(|it| it.split_once('=')).find(|it| it.0 == name)?.1;
    Some(decode(value))
}

fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let escape = tail.get(..2).and_then(|it| hex::decode(it).ok()).filter(|_| *first == b'%');
        rest = match escape {
            Some(byte) => {
                bytes.extend(byte);
                &tail[2..]
            }
            None => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded() {
        let request = http::Request::builder().uri("/x?a=1&digest=sha256%3Aab&bad=%zz%4").body(()).unwrap();
        let request = request.into_parts().0;
        assert_eq!(query(&request, "digest").as_deref(), Some("sha256:ab"));
        assert_eq!(query(&request, "bad").as_deref(), Some("%zz%4"));
        assert_eq!(query(&request, "c"), None);
    }
}
