//! `kubectl logs`: reads a container's log, and follows it while it is written. A client may ask for it as WebSocket messages.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, Query, Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use base64::Engine;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{Context, Failure, upgrade};
use crate::{
    logs::{
        self, Log,
        read::{Reader, Selection},
    },
    pod::{LogView, Owner},
};

/// Dialects of a log in messages.
const BYTES: &str = "binary.k8s.io";
const BASE64: &str = "base64.binary.k8s.io";
/// Chunks on their way to a client. A slow client stops the reading, not the guest.
const CHUNKS_MAX: usize = 4;

/// Answers one request for a log.
pub(super) async fn serve(
    State(context): State<Context>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<HashMap<String, String>>,
    mut request: Request,
) -> Result<Response, Failure> {
    let owner = context
        .pods
        .get(&namespace, &pod)
        .ok_or_else(|| Failure::not_found(format!("pod \"{pod}\" is not known to this node")))?;
    let view = owner.view();
    let found = view
        .containers
        .into_iter()
        .find(|it| *it.name == *container)
        .ok_or_else(|| Failure::not_found(format!("container {container} not found in pod {pod}")))?;
    let is = |name: &str| query.get(name).is_some_and(|it| matches!(it.as_str(), "true" | "1"));
    let (path, live) = which(&owner, found, is("previous"), &pod)?;
    let live = live.filter(|_| is("follow"));
    let selection = Selection { follow: live.is_some(), ..selection(&query, Timestamp::now())? };
    let open = tokio::task::spawn_blocking(move || Reader::open(&path, selection)).await;
    let reader = match open {
        Ok(Ok(reader)) => reader,
        Ok(Err(error)) => return Err(Failure::internal(format!("reading the log: {error}"))),
        Err(error) => return Err(Failure::internal(error.to_string())),
    };
    if upgrade::asks_for_messages(request.headers()) {
        return as_messages(&mut request, reader, live);
    }
    let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::spawn(copy(reader, live, sender));
    let body = Body::from_stream(futures::stream::poll_fn(move |cx| receiver.poll_recv(cx)));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

/// Switches the connection to WebSocket and sends the log in messages, as bytes or in Base64.
fn as_messages(request: &mut Request, reader: Reader, live: Option<Arc<Log>>) -> Result<Response, Failure> {
    let headers = request.headers();
    let protocol = upgrade::choose(headers, "sec-websocket-protocol", &[BYTES, BASE64])
        .ok_or_else(|| Failure::bad_request(format!("the websocket must speak {BYTES} or {BASE64}")))?;
    let response = upgrade::to_websocket(headers, protocol)?;
    let connection = upgrade::take(request)?;
    let (sender, mut receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::spawn(copy(reader, live, sender));
    tokio::spawn(async move {
        let Some(socket) = upgrade::wait_websocket(connection).await else { return };
        let (mut sink, mut stream) = socket.split();
        // A client says nothing but that it leaves, which is to be noticed while the guest is silent too.
        let left = async { while stream.next().await.is_some_and(|it| it.is_ok()) {} };
        let outward = async {
            while let Some(Ok(chunk)) = receiver.recv().await {
                let message = match protocol {
                    BASE64 => Message::Text(base64::engine::general_purpose::STANDARD.encode(&chunk).into()),
                    _ => Message::Binary(chunk),
                };
                if sink.send(message).await.is_err() {
                    return;
                }
            }
            // The client may have left already.
            let _ = sink.close().await;
        };
        tokio::select! {
            () = left => {}
            () = outward => {}
        }
    });
    Ok(response)
}

/// The file to read, and the log that may still write to it.
fn which(owner: &Owner, it: LogView, previous: bool, pod: &str) -> Result<(PathBuf, Option<Arc<Log>>), Failure> {
    let file = |run| logs::run_file(&owner.log_directory(), &it.name, run);
    if previous {
        let run = it.restarts.checked_sub(1).ok_or_else(|| {
            Failure::bad_request(format!("previous terminated container \"{}\" in pod \"{pod}\" not found", it.name))
        })?;
        return Ok((file(run), None));
    }
    if let (Some(reason), false) = (&it.waiting, it.has_run) {
        let message = format!("container \"{}\" in pod \"{pod}\" is waiting to start: {reason}", it.name);
        return Err(Failure::bad_request(message));
    }
    match it.log {
        Some(log) => Ok((log.path().to_owned(), Some(log))),
        None => Ok((file(it.restarts), None)),
    }
}

async fn copy(mut reader: Reader, follow: Option<Arc<Log>>, sender: mpsc::Sender<Result<Bytes, std::io::Error>>) {
    loop {
        // Both before the read: what is written after it is then never missed.
        let closed = follow.as_ref().is_none_or(|it| it.is_closed());
        let grew = follow.as_ref().map(|it| {
            let mut grew = Box::pin(it.grew());
            grew.as_mut().enable();
            grew
        });
        let work = tokio::task::spawn_blocking(move || {
            let chunk = reader.next();
            (reader, chunk)
        });
        let Ok((back, chunk)) = work.await else { return };
        reader = back;
        match chunk {
            Ok(chunk) if chunk.is_empty() => match grew {
                Some(grew) if !closed && !reader.is_spent() => {
                    tokio::select! {
                        () = grew => {}
                        () = sender.closed() => return,
                    }
                }
                _ => return,
            },
            Ok(chunk) => {
                if sender.send(Ok(chunk.into())).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // The receiver may be gone; there is nobody else to tell.
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }
}

fn selection(query: &HashMap<String, String>, now: Timestamp) -> Result<Selection, Failure> {
    let number = |name: &str| -> Result<Option<i64>, Failure> {
        match query.get(name).filter(|it| !it.is_empty()) {
            None => Ok(None),
            Some(text) => match text.parse::<i64>() {
                Ok(number) if number >= 0 => Ok(Some(number)),
                _ => Err(Failure::bad_request(format!("{name}: {text:?} is no number of 0 or more"))),
            },
        }
    };
    let since_time = match query.get("sinceTime").filter(|it| !it.is_empty()) {
        None => None,
        Some(text) => {
            let wrong = |_| Failure::bad_request(format!("sinceTime: {text:?} is no RFC 3339 time"));
            Some(text.parse::<Timestamp>().map_err(wrong)?)
        }
    };
    let since_seconds = number("sinceSeconds")?.map(|it| now.saturating_sub(SignedDuration::from_secs(it)));
    let stream = match query.get("stream").map(String::as_str) {
        None | Some("" | "All") => None,
        Some("Stdout") => Some("stdout".into()),
        Some("Stderr") => Some("stderr".into()),
        Some(other) => return Err(Failure::bad_request(format!("stream: {other:?} is none of All, Stdout, Stderr"))),
    };
    Ok(Selection {
        since: since_time.or(since_seconds.and_then(Result::ok)),
        tail: number("tailLines")?.map(|it| usize::try_from(it).unwrap_or(usize::MAX)),
        timestamps: query.get("timestamps").is_some_and(|it| matches!(it.as_str(), "true" | "1")),
        limit_bytes: number("limitBytes")?.and_then(|it| u64::try_from(it).ok()),
        stream,
        follow: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_kubectl_writes_it() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let parse = |pairs: &[(&str, &str)]| {
            selection(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(), now)
                .map_err(|it| it.message)
        };
        let all = [
            ("sinceSeconds", "60"),
            ("tailLines", "5"),
            ("timestamps", "true"),
            ("limitBytes", "10"),
            ("stream", "Stderr"),
        ];
        let want = Selection {
            since: "2026-11-21T09:59:00Z".parse().ok(),
            tail: Some(5),
            timestamps: true,
            limit_bytes: Some(10),
            stream: Some("stderr".into()),
            follow: false,
        };
        assert_eq!(parse(&all).unwrap(), want);
        assert_eq!(parse(&[("tailLines", "-1")]).unwrap_err(), "tailLines: \"-1\" is no number of 0 or more");
        assert_eq!(parse(&[("sinceTime", "yesterday")]).unwrap_err(), "sinceTime: \"yesterday\" is no RFC 3339 time");
    }
}
