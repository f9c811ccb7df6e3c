//! Follows a collection: lists it, watches from there, resumes where it was cut, lists again when it must.
//!
//! Start at [`follow`]. It hands over raw JSON, so that the receiver parses only what it needs: a node sees each of its own
//! status writes again, and must not pay for parsing a whole pod to find that nothing is new.

use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

/// What a collection does.
pub(crate) enum Change<'a> {
    /// A new listing begins; what it does not show again by [`Change::Synced`] is gone.
    Relisting,
    /// An object was listed, created or changed.
    Seen(&'a str),
    /// An object was deleted.
    Gone(&'a str),
    /// The listing is complete.
    Synced,
}

/// Longest line of a watch, which is the largest object plus its frame. The API server accepts 3 MiB.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// Objects per page of a listing.
const PAGE: usize = 500;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("asking")]
    Call(#[source] Box<kube::Error>),
    #[error("parsing the answer")]
    Parse(#[source] serde_json::Error),
    #[error("reading the watch")]
    Read(#[source] std::io::Error),
    #[error("building the request")]
    Request(#[source] http::Error),
    #[error("the watch is too old to resume")]
    Expired,
}

#[derive(Deserialize)]
struct List<'a> {
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(default, rename = "continue")]
    token: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Versioned {
    metadata: VersionMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionMeta {
    resource_version: String,
}

/// Follows the collection at `path`, narrowed by `query` (without `?`), until `token` is cancelled.
pub(crate) async fn follow(
    client: Client,
    path: &str,
    query: &str,
    token: CancellationToken,
    mut on: impl FnMut(Change<'_>),
) {
    let work = async {
        let mut version: Option<String> = None;
        let mut wait = RETRY_FIRST;
        loop {
            let outcome = pass(&client, path, query, &mut version, &mut on).await;
            match outcome {
                Ok(()) => wait = RETRY_FIRST,
                Err(FollowError::Expired) => version = None,
                Err(error) => {
                    tracing::debug!(path, error = &error as &dyn std::error::Error, "watch broke");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    };
    tokio::select! {
        () = token.cancelled() => {}
        () = work => {}
    }
}

/// Lists when there is no version to resume from, then watches until the server ends the watch.
async fn pass(
    client: &Client,
    path: &str,
    query: &str,
    version: &mut Option<String>,
    on: &mut impl FnMut(Change<'_>),
) -> Result<(), FollowError> {
    let from = match version {
        Some(from) => from.clone(),
        None => {
            let listed = list(client, path, query, on).await?;
            *version = Some(listed.clone());
            listed
        }
    };
    let uri = format!("{path}?watch=true&allowWatchBookmarks=true&resourceVersion={from}{}{query}", and(query));
    let request = http::Request::get(uri).body(Vec::new()).map_err(FollowError::Request)?;
    let stream = client.request_stream(request).await.map_err(|error| match &error {
        kube::Error::Api(status) if status.code == 410 => FollowError::Expired,
        _ => FollowError::Call(Box::new(error)),
    })?;
    futures::pin_mut!(stream);
    // The version to go on from is in the last event, and is read when the watch ends: most events are of no use for that.
    let mut last = Vec::new();
    let ended = events(&mut stream, &mut last, on).await;
    if !last.is_empty() {
        let Line { object, .. } = serde_json::from_slice(&last).map_err(FollowError::Parse)?;
        let seen: Versioned = serde_json::from_str(object.get()).map_err(FollowError::Parse)?;
        *version = Some(seen.metadata.resource_version);
    }
    ended
}

/// Reads events until the stream ends; `last` is the line of the last one that was taken in.
async fn events(
    stream: &mut (impl AsyncBufRead + Unpin),
    last: &mut Vec<u8>,
    on: &mut impl FnMut(Change<'_>),
) -> Result<(), FollowError> {
    let mut line = Vec::new();
    while read_line(stream, &mut line).await.map_err(FollowError::Read)? {
        event(&line, on)?;
        std::mem::swap(&mut line, last);
        line.clear();
        // One object of 3 MiB must not hold its buffer for ever: bookmarks follow.
        line.shrink_to(64 << 10);
    }
    Ok(())
}

fn event(line: &[u8], on: &mut impl FnMut(Change<'_>)) -> Result<(), FollowError> {
    let Line { kind, object } = serde_json::from_slice(line).map_err(FollowError::Parse)?;
    match kind {
        "ERROR" if object.get().contains("410") => return Err(FollowError::Expired),
        "ERROR" => return Err(FollowError::Read(std::io::Error::other(object.get().to_owned()))),
        "DELETED" => on(Change::Gone(object.get())),
        "BOOKMARK" => {}
        _ => on(Change::Seen(object.get())),
    }
    Ok(())
}

async fn list(
    client: &Client,
    path: &str,
    query: &str,
    on: &mut impl FnMut(Change<'_>),
) -> Result<String, FollowError> {
    on(Change::Relisting);
    let mut token = String::new();
    loop {
        let mut uri = format!("{path}?limit={PAGE}{}{query}", and(query));
        if !token.is_empty() {
            uri += &format!("&continue={token}");
        }
        let request = http::Request::get(uri).body(Vec::new()).map_err(FollowError::Request)?;
        let text = client.request_text(request).await.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 410 => FollowError::Expired,
            _ => FollowError::Call(Box::new(error)),
        })?;
        let page: List<'_> = serde_json::from_str(&text).map_err(FollowError::Parse)?;
        for item in page.items.unwrap_or_default() {
            on(Change::Seen(item.get()));
        }
        match page.metadata.token {
            Some(next) if !next.is_empty() => token = escape(&next),
            _ => {
                on(Change::Synced);
                return Ok(page.metadata.resource_version);
            }
        }
    }
}

fn and(query: &str) -> &'static str {
    if query.is_empty() { "" } else { "&" }
}

/// Percent-encodes what is not safe in a query value.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}

/// Reads one line into `line`; false at the end of the stream. A line cut off by the end is dropped.
async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    stream.take(LINE_BYTES_MAX).read_until(b'\n', line).await?;
    match line.last() {
        Some(b'\n') => Ok(true),
        _ if line.len() as u64 >= LINE_BYTES_MAX => Err(std::io::Error::other("a watch line is too long")),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kube::client::Body;

    use super::*;

    fn object(name: &str, version: u32) -> String {
        format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"{version}"}}}}"#)
    }

    /// Answers requests from `script` in order, and records what was asked.
    fn scripted(script: Vec<(u16, String)>, asked: Arc<Mutex<Vec<String>>>, token: CancellationToken) -> Client {
        let script = Arc::new(Mutex::new(script.into_iter()));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            asked.lock().unwrap().push(request.uri().to_string());
            let next = script.lock().unwrap().next();
            if next.is_none() {
                token.cancel();
            }
            async move {
                let (code, body) = match next {
                    Some(next) => next,
                    None => std::future::pending().await,
                };
                Ok::<_, std::convert::Infallible>(
                    http::Response::builder().status(code).body(Body::from(body.into_bytes())).unwrap(),
                )
            }
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_cut_watch_resumes_and_an_expired_one_lists_again() {
        let script = vec![
            (
                200,
                format!(r#"{{"metadata":{{"resourceVersion":"5","continue":"a b"}},"items":[{}]}}"#, object("one", 3)),
            ),
            (200, format!(r#"{{"metadata":{{"resourceVersion":"5"}},"items":[{}]}}"#, object("two", 4))),
            (
                200,
                format!(
                    "{{\"type\":\"ADDED\",\"object\":{}}}\n{{\"type\":\"BOOKMARK\",\"object\":{}}}\n{{\"type\":\"MODI",
                    object("three", 6),
                    object("", 9)
                ),
            ),
            (200, format!("{{\"type\":\"DELETED\",\"object\":{}}}\n", object("one", 10))),
            (200, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n".to_owned()),
            (200, r#"{"metadata":{"resourceVersion":"20"},"items":null}"#.to_owned()),
        ];
        let (asked, token) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let client = scripted(script, asked.clone(), token.clone());
        let mut seen = String::new();
        follow(client, "/api/v1/pods", "fieldSelector=x", token, |change| {
            seen += &match change {
                Change::Relisting => "relisting\n".to_owned(),
                Change::Seen(it) => format!("seen {it}\n"),
                Change::Gone(it) => format!("gone {it}\n"),
                Change::Synced => "synced\n".to_owned(),
            };
        })
        .await;
        expect_test::expect![[r#"
            relisting
            seen {"metadata":{"name":"one","resourceVersion":"3"}}
            seen {"metadata":{"name":"two","resourceVersion":"4"}}
            synced
            seen {"metadata":{"name":"three","resourceVersion":"6"}}
            gone {"metadata":{"name":"one","resourceVersion":"10"}}
            relisting
            synced
        "#]]
        .assert_eq(&seen);
        expect_test::expect![[r#"
            /api/v1/pods?limit=500&fieldSelector=x
            /api/v1/pods?limit=500&fieldSelector=x&continue=a%20b
            /api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion=5&fieldSelector=x
            /api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion=9&fieldSelector=x
            /api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion=10&fieldSelector=x
            /api/v1/pods?limit=500&fieldSelector=x
            /api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion=20&fieldSelector=x"#]]
        .assert_eq(&asked.lock().unwrap().join("\n"));
    }
}
