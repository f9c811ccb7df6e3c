//! `/system/logs`: what a function's instances write, as JSON objects on lines of their own.

use std::{collections::HashSet, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{RawQuery, State},
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use eyot_serving::{label, openfaas::LogQuery};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http_body_util::StreamBody;
use kube::{
    Client,
    api::{Api, ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, watcher},
};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{Failure, Inner, api};

/// Lines on their way to a client that reads slowly; then those who write them wait.
const LINES_MAX: usize = 256;
/// Instances that are read at once for one client.
const INSTANCES_MAX: usize = 200;

/// One function's lines.
struct Lines {
    client: Client,
    query: LogQuery,
    namespace: String,
    to: mpsc::Sender<Result<http_body::Frame<Bytes>, std::io::Error>>,
}

/// Streams what is asked for.
pub(crate) async fn logs(State(inner): State<Arc<Inner>>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = query.unwrap_or_default();
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|it| !it.is_empty())
        .map(|it| it.split_once('=').unwrap_or((it, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    let is_time = |text: &str| text.parse::<jiff::Timestamp>().is_ok();
    let query = LogQuery::parse(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())), is_time);
    let query = query.map_err(|why| Failure::new(422, format!("could not parse the log request: {why}")))?;
    let namespace = inner.namespace(query.namespace.as_deref())?;
    if inner.api.get(&api::services(&namespace, Some(&query.name))).await?.is_none() {
        return Err(Failure::no_function(&query.name, &namespace));
    }
    let (to, mut from) = mpsc::channel(LINES_MAX);
    let lines = Arc::new(Lines { client: inner.api.client.clone(), query, namespace, to });
    let instances = match lines.query.follow {
        true => Vec::new(),
        false => instances(&inner, &lines).await?,
    };
    let reading = tokio::spawn(read(lines, instances));
    // Ends with the stream, which ends with the client.
    let guard = tokio_util::task::AbortOnDropHandle::new(reading);
    let stream = futures::stream::poll_fn(move |cx| {
        let _ = &guard;
        from.poll_recv(cx)
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::new(StreamBody::new(stream))).into_response())
}

/// Names of the function's pods that have run.
async fn instances(inner: &Inner, lines: &Lines) -> Result<Vec<String>, Failure> {
    let selector = format!("{}%3D{}", label::SERVICE.replace('/', "%2F"), lines.query.name);
    let path = format!("/api/v1/namespaces/{}/pods?labelSelector={selector}&limit={INSTANCES_MAX}", lines.namespace);
    let pods = inner.api.list(&path).await?;
    let names =
        pods.iter().filter(|it| it["status"]["phase"] != "Pending").filter_map(|it| it["metadata"]["name"].as_str());
    Ok(names.filter(|it| lines.wants(it)).map(str::to_owned).collect())
}

/// Reads the logs of `instances`, or of all there are and will be where they are followed.
async fn read(lines: Arc<Lines>, instances: Vec<String>) {
    if !lines.query.follow {
        for pod in instances {
            lines.pass_on(pod).await;
        }
        return;
    }
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let pods: Api<DynamicObject> = Api::namespaced_with(lines.client.clone(), &lines.namespace, &kind);
    let config = watcher::Config::default().labels(&format!("{}={}", label::SERVICE, lines.query.name));
    let mut seen = watcher(pods, config).default_backoff().applied_objects().boxed();
    let (mut known, mut reading) = (HashSet::new(), JoinSet::new());
    loop {
        tokio::select! {
            () = lines.to.closed() => return,
            pod = seen.next() => match pod {
                None => return,
                Some(Err(error)) => tracing::debug!(%error, "watching instances for their logs"),
                Some(Ok(pod)) => {
                    let runs = pod.data["status"]["phase"].as_str().is_some_and(|it| it != "Pending");
                    let pod = pod.metadata.name.unwrap_or_default();
                    if runs && reading.len() < INSTANCES_MAX && lines.wants(&pod) && known.insert(pod.clone()) {
                        let lines = lines.clone();
                        reading.spawn(async move { lines.pass_on(pod).await });
                    }
                }
            },
            Some(_) = reading.join_next() => {}
        }
    }
}

impl Lines {
    fn wants(&self, pod: &str) -> bool {
        self.query.instance.as_deref().is_none_or(|it| it == pod)
    }

    /// Sends one instance's lines on until its log ends or the client leaves.
    async fn pass_on(&self, pod: String) {
        let query = &self.query;
        let mut path =
            format!("/api/v1/namespaces/{}/pods/{pod}/log?timestamps=true&follow={}", self.namespace, query.follow);
        if let Some(lines) = query.tail {
            path += &format!("&tailLines={lines}");
        }
        if let Some(since) = &query.since {
            path += &format!("&sinceTime={}", utf8_percent_encode(since, NON_ALPHANUMERIC));
        }
        let Ok(request) = http::Request::get(&path).body(Vec::new()) else { return };
        let stream = match self.client.request_stream(request).await {
            Ok(stream) => stream,
            // It may have gone meanwhile.
            Err(error) => return tracing::debug!(%error, pod, "reading an instance's log"),
        };
        let mut lines = stream.lines();
        while let Ok(Some(line)) = lines.try_next().await {
            let frame = http_body::Frame::data(Bytes::from(self.line(&pod, &line)));
            if self.to.send(Ok(frame)).await.is_err() {
                return;
            }
        }
    }

    /// A line of a log as OpenFaaS' clients read it.
    fn line(&self, pod: &str, line: &str) -> String {
        let (timestamp, text) = line.split_once(' ').unwrap_or((line, ""));
        let entry = json!({
            "name": self.query.name, "namespace": self.namespace, "instance": pod, "timestamp": timestamp, "text": text,
        });
        format!("{entry}\n")
    }
}
