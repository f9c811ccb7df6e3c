//! Makes the definitions that a policy brings along, such as the kind of a template's constraints. Entry point:
//! [`accompany`].

use std::sync::Arc;

use eyot_model::meta;
use eyot_store::Key;
use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{ApiServer, Body, Identity, handle::handle, object, server::Shared};

/// Makes or brings up to date what a stored policy brings along, owned by it. One that fails is told in the log: the
/// policy's next write tries again.
pub(super) fn accompany(server: Arc<Shared>, owner: Value, companions: Vec<Value>) -> BoxFuture<'static, ()> {
    async move {
        for mut companion in companions {
            let reference = json!([{
                "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
            }]);
            meta::metadata_mut(&mut companion).insert("ownerReferences".into(), reference);
            if let Err(why) = write(&server, companion).await {
                tracing::error!(policy = meta::name(&owner), "what the policy brings along: {why}");
            }
        }
    }
    .boxed()
}

async fn write(server: &Arc<Shared>, companion: Value) -> Result<(), String> {
    let text = |field: &str| companion[field].as_str().unwrap_or_default();
    let table = server.definitions.table();
    let kind = table.by_api_version(text("apiVersion"), text("kind")).ok_or("its kind is not served")?.clone();
    let name = meta::name(&companion).unwrap_or_default();
    let path = format!("/apis/{}/{}", kind.api_version(), kind.plural);
    let stored = server.store.get(&Key::new(kind.storage.as_str(), "", name));
    let (method, uri, body) = match stored {
        None => (Method::POST, path, companion.clone()),
        Some(entry) => {
            let stored = object::parse(&entry).map_err(|it| it.message)?;
            if stored["spec"] == companion["spec"] {
                return Ok(());
            }
            // Somebody else's stays as it is.
            let owner = |it: &Value| it["metadata"]["ownerReferences"][0]["uid"].clone();
            if owner(&stored) != owner(&companion) {
                return Err(format!("{} {name:?} is there already and belongs to somebody else", kind.plural));
            }
            let mut updated = stored;
            updated["spec"] = companion["spec"].clone();
            (Method::PUT, format!("{path}/{name}"), updated)
        }
    };
    let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Body::full(body.to_string())).map_err(|it| it.to_string())?;
    let identity = Identity::component("policy");
    let response = handle(ApiServer(server.clone()), Some(identity.into()), request).await;
    if response.status().is_success() {
        return Ok(());
    }
    let body = response.into_body().collect().await.map_err(|it| it.to_string())?.to_bytes();
    let status: Value = serde_json::from_slice(&body).unwrap_or_default();
    Err(status["message"].as_str().unwrap_or("no reason was given").to_owned())
}
