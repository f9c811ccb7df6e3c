//! Deletes the objects of definitions that are being deleted, then lets the definitions go. Entry point: [`run`].
//!
//! Objects with finalizers keep their definition until they are gone, as in Kubernetes.

use std::{sync::Arc, time::Duration};

use eyot_model::{
    custom::{Condition, Definition, naming},
    kinds::Kind,
    meta,
};
use eyot_store::{Key, Page, Scope, Write};
use futures::{StreamExt, stream};
use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::{STORAGE, status::condition};
use crate::{ApiServer, Body, Identity, handle::handle, object, object::Encoded};

/// Keeps a definition until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// How often objects that wait for their finalizers are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// Deletes that wait for the disk together.
const AT_ONCE: usize = 64;
/// Changes of definitions that may wait.
const WAITING_MAX: usize = 1024;

/// Cleans up whenever a definition goes away; never returns. Sleeps without a timer while there is nothing to do.
///
/// It also watches the definitions, for changes whose writer went away before their consequences were worked out.
pub(crate) async fn run(server: ApiServer) {
    let scope = Scope::all(STORAGE);
    loop {
        let Ok(list) = server.0.store.list(&scope, &Page::default()) else { continue };
        for entry in &list.entries {
            super::catch_up(&server.0, &entry.key.name).await;
        }
        let Ok(mut changes) = server.0.store.watch(&scope, list.revision, WAITING_MAX) else { continue };
        loop {
            let left = clean_all(&server).await;
            let told = async {
                tokio::select! {
                    change = changes.next() => Some(change),
                    () = server.0.definitions.ending.notified() => None,
                }
            };
            // Somebody else's finalizers decide how long it takes.
            let wait = if left > 0 { PERIOD } else { Duration::MAX };
            match tokio::time::timeout(wait, told).await {
                Ok(Some(Some(Ok(change)))) => super::catch_up(&server.0, &change.entry.key.name).await,
                // It fell behind: it begins again. Or the store is closed, and so is everything.
                Ok(Some(Some(Err(_)))) => break,
                Ok(Some(None)) => return,
                Ok(None) | Err(_) => {}
            }
        }
    }
}

/// Deletes what belongs to definitions that are being deleted, and counts the objects that are still there.
async fn clean_all(server: &ApiServer) -> usize {
    let ending: Vec<_> = {
        let catalog = server.0.definitions.catalog.lock().await;
        catalog.values().filter(|it| it.deleting).cloned().collect()
    };
    let mut left = 0;
    for definition in &ending {
        left += clean(server, definition).await;
    }
    left
}

/// Deletes the objects of a definition, and lets it go when none is left. Returns how many are.
async fn clean(server: &ApiServer, definition: &Definition) -> usize {
    let kinds = server.kinds();
    let own = |it: &&Arc<Kind>| it.custom.as_ref().is_some_and(|it| it.definition().name == definition.name);
    // Best by the version that is stored, since no webhook needs to be asked then.
    let kind = kinds.iter().filter(own).min_by_key(|it| it.stored_as.0 != it.api_version());
    // A definition that never came to be served, or whose kind is built in, has no objects.
    if let Some(kind) = kind {
        let scope = Scope::all(kind.storage.as_str());
        let Ok(list) = server.0.store.list(&scope, &Page::default()) else { return 1 };
        let left = list.entries.len();
        let deletes = list.entries.into_iter().map(|it| delete(server.clone(), kind.clone(), it.key.clone()));
        stream::iter(deletes).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        let Ok(list) = server.0.store.list(&scope, &Page { limit: Some(1), ..Page::default() }) else { return 1 };
        if !list.entries.is_empty() {
            return left;
        }
    }
    usize::from(!release(server, &definition.name).await)
}

async fn delete(server: ApiServer, kind: Arc<Kind>, key: Key) {
    let place = if kind.namespaced { format!("/namespaces/{}", key.namespace) } else { String::new() };
    let uri = format!("/apis/{}{place}/{}/{}", kind.api_version(), kind.plural, key.name);
    let request = http::Request::builder().method(Method::DELETE).uri(uri).body(Body::empty());
    let Ok(request) = request else { return };
    let identity = Identity::component("apiserver");
    let response = handle(server, Some(identity.into()), request).await;
    if !response.status().is_success() && response.status() != http::StatusCode::NOT_FOUND {
        tracing::warn!(object = %key, code = response.status().as_u16(), "deleting an object of a kind that goes away");
    }
}

/// Takes the finalizer away; the definition goes unless others hold it. Returns whether that is done.
async fn release(server: &ApiServer, name: &str) -> bool {
    let key = Key::new(STORAGE, "", name);
    let Some(entry) = server.0.store.get(&key) else { return true };
    let Ok(mut object) = object::parse(&entry) else { return true };
    let finalizers: Vec<String> = meta::finalizers(&object).filter(|it| *it != FINALIZER).map(str::to_owned).collect();
    let gone = finalizers.is_empty();
    if !gone && !meta::finalizers(&object).any(|it| it == FINALIZER) {
        return true;
    }
    meta::metadata_mut(&mut object).insert("finalizers".into(), finalizers.into());
    set_terminating(&mut object, "False", "InstanceDeletionCompleted", "removed all instances", Timestamp::now());
    let Ok(encoded) = Encoded::new(&object) else { return true };
    let write = match gone {
        true => Write::delete(key, Some(entry.revision), move |it| encoded.at(it)),
        false => Write::update(key, entry.revision, move |it| encoded.at(it)),
    };
    let done = server.0.store.write(write).await.is_ok();
    super::follow(&server.0, name).await;
    done
}

/// Marks a definition that is being deleted, so that it waits for its objects.
pub(crate) fn mark(object: &mut Value, now: Timestamp) {
    let mut finalizers: Vec<String> = meta::finalizers(object).map(str::to_owned).collect();
    if !finalizers.iter().any(|it| it == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    meta::metadata_mut(object).insert("finalizers".into(), finalizers.into());
    let message =
        "CustomResourceDefinition marked for deletion; CustomResource deletion will be initiated as soon as possible";
    set_terminating(object, "True", "InstanceDeletionPending", message, now);
}

fn set_terminating(object: &mut Value, status: &str, reason: &str, message: &str, now: Timestamp) {
    let terminating = Condition {
        of_type: "Terminating".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Some(meta::format_time(now)),
    };
    let status = meta::entry(object, "status");
    let read = |it: &Value| serde_json::from_value(it.clone()).ok();
    let mut conditions: Vec<Condition> = meta::list(status.get("conditions")).iter().filter_map(read).collect();
    naming::set(&mut conditions, terminating);
    status.insert("conditions".into(), conditions.iter().map(condition).collect());
}
