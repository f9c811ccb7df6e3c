//! Keeps a [`Sink`] equal to a collection: list, then watch from there, again after any gap.
//!
//! Entry point: [`reflect`]. kube-runtime has a watcher as well; this one decodes into slim views without the full
//! `ObjectMeta`, which is what thousands of idle objects cost.

use std::time::Duration;

use futures::StreamExt;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    api::{self, Api, ApiError, Resource, Target},
    view::View,
};

/// Objects fetched by one request of a list.
const PAGE: usize = 500;
/// How long the server may keep a watch open, in seconds.
const WATCH_SECONDS: u64 = 1800;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(10);

/// Where the objects of a collection go.
pub(crate) trait Sink<T>: Send + Sync + 'static {
    /// Takes in an object that was added or changed.
    fn apply(&self, object: T);
    /// Takes out an object that is gone.
    fn remove(&self, object: T);
    /// Takes in the whole collection; what is not in it is gone.
    fn replace(&self, all: Vec<T>);
}

/// Which objects to reflect.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) resource: Resource,
    pub(crate) namespace: &'static str,
    /// Field selector, URL-encoded; empty for all.
    pub(crate) fields: &'static str,
    /// Label selector, URL-encoded; empty for all.
    pub(crate) labels: &'static str,
}

impl Source {
    pub(crate) fn all(resource: &Resource) -> Self {
        Self { resource: resource.clone(), namespace: "", fields: "", labels: "" }
    }
}

/// Runs until `token` is cancelled; calls `synced` when the first list is in.
pub(crate) async fn reflect<T: View>(
    api: Api,
    source: Source,
    sink: impl Sink<T>,
    synced: impl FnOnce() + Send,
    token: CancellationToken,
) {
    let mut synced = Some(synced);
    let mut pause = RETRY_FIRST;
    let mut version: Option<String> = None;
    loop {
        let began = tokio::time::Instant::now();
        let step = async {
            let from = match version.take() {
                Some(version) => version,
                None => {
                    let (all, version) = list(&api, &source).await?;
                    sink.replace(all);
                    if let Some(synced) = synced.take() {
                        synced();
                    }
                    version
                }
            };
            follow(&api, &source, &sink, from).await
        };
        let ended = tokio::select! {
            () = token.cancelled() => return,
            ended = step => ended,
        };
        match ended {
            Ok(from) => {
                version = from;
                pause = RETRY_FIRST;
                if began.elapsed() < Duration::from_secs(1) {
                    // A server that ends watches at once is not asked again at once.
                    tokio::time::sleep(RETRY_FIRST).await;
                }
            }
            Err(error) => {
                let cause = error.message();
                warn!(resource = %source.resource.plural, %error, %cause, ?pause, "watch failed, starting over");
                tokio::select! {
                    () = token.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(RETRY_LAST);
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct List<T> {
    metadata: ListMeta,
    #[serde(default, deserialize_with = "crate::view::nullable")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    more: Option<String>,
}

async fn list<T: DeserializeOwned>(api: &Api, source: &Source) -> Result<(Vec<T>, String), ApiError> {
    let target = Target::collection(&source.resource, source.namespace);
    let mut all = Vec::new();
    let mut more = String::new();
    loop {
        let query = format!("limit={PAGE}{}{more}", selectors(source));
        let mut page: List<T> = api.get(target, &query).await?;
        all.append(&mut page.items);
        match page.metadata.more.filter(|it| !it.is_empty()) {
            Some(token) => more = format!("&continue={}", api::escape(&token)),
            None => return Ok((all, page.metadata.resource_version)),
        }
    }
}

/// The selectors as a query goes on with them.
fn selectors(source: &Source) -> String {
    let all = [("fieldSelector", source.fields), ("labelSelector", source.labels)];
    all.iter().filter(|it| !it.1.is_empty()).map(|(name, text)| format!("&{name}={text}")).collect()
}

/// Watches until the stream ends; returns the version to go on from, or `None` when a new list is needed.
async fn follow<T: View>(
    api: &Api,
    source: &Source,
    sink: &impl Sink<T>,
    mut version: String,
) -> Result<Option<String>, ApiError> {
    let target = Target::collection(&source.resource, source.namespace);
    let query = format!(
        "watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}{}",
        selectors(source)
    );
    let mut events = match api.watch::<T>(target, &query).await {
        Ok(events) => events,
        Err(error) if error.is_gone() => return Ok(None),
        Err(error) => return Err(error),
    };
    let silence = Duration::from_secs(WATCH_SECONDS + 30);
    while let Ok(Some(event)) = tokio::time::timeout(silence, events.next()).await {
        match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                version = object.meta().resource_version.to_string();
                sink.apply(object);
            }
            Ok(WatchEvent::Deleted(object)) => {
                version = object.meta().resource_version.to_string();
                sink.remove(object);
            }
            Ok(WatchEvent::Bookmark(bookmark)) => version = bookmark.metadata.resource_version,
            Ok(WatchEvent::Error(status)) => {
                debug!(resource = %source.resource.plural, message = %status.message, "watch ended by the server");
                return Ok(None);
            }
            Err(error) => {
                debug!(resource = %source.resource.plural, %error, "watch broke off");
                // What could not be read may be a gap.
                return Ok(None);
            }
        }
    }
    Ok(Some(version))
}
