//! `/system/namespaces` and `/system/namespace/NAME`: those that functions may be in.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
};
use eyot_serving::openfaas::NAMESPACE;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Failure, Inner,
    api::{self, Api},
};

/// What a client says of a namespace.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    name: String,
    annotations: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
}

/// Whether functions may be put into a namespace.
pub(crate) async fn is_marked(api: &Api, name: &str) -> Result<bool, Failure> {
    let namespace = api.get(&api::namespaces(Some(name))).await?;
    let namespace = namespace.ok_or_else(|| Failure::new(404, format!("namespace {name} not found")))?;
    Ok(has_mark(&namespace))
}

fn has_mark(namespace: &Value) -> bool {
    matches!(namespace["metadata"]["annotations"][NAMESPACE].as_str(), Some("1" | "true"))
}

/// Names of all that functions may be in.
pub(crate) async fn list(State(inner): State<Arc<Inner>>) -> Result<Json<Vec<String>>, Failure> {
    let all = inner.api.list(&api::namespaces(None)).await?;
    let marked = all.iter().filter(|it| has_mark(it)).filter_map(|it| it["metadata"]["name"].as_str());
    let mut names: Vec<String> = marked.chain([inner.config.namespace.as_str()]).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(Json(names))
}

/// One of them.
pub(crate) async fn one(State(inner): State<Arc<Inner>>, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    let name = inner.namespace(Some(&name))?;
    let found = inner.api.get(&api::namespaces(Some(&name))).await?;
    let found = found.filter(|it| has_mark(it) || name == inner.config.namespace);
    let found = found.ok_or_else(|| Failure::new(404, format!("namespace {name} not found")))?;
    let texts = |field: &str| found["metadata"][field].as_object().cloned().unwrap_or_default();
    Ok(Json(json!({ "name": name, "annotations": texts("annotations"), "labels": texts("labels") })))
}

fn wanted(inner: &Inner, path: Option<String>, body: &Bytes) -> Result<(String, Wanted), Failure> {
    let wanted: Wanted =
        serde_json::from_slice(body).map_err(|error| Failure::new(400, format!("reading the body: {error}")))?;
    let named = path.filter(|it| !it.is_empty());
    if let Some(path) = named.as_deref().filter(|it| !wanted.name.is_empty() && **it != wanted.name) {
        return Err(Failure::new(400, format!("the path names namespace {path}, the body {}", wanted.name)));
    }
    let name = named.unwrap_or_else(|| wanted.name.clone());
    if name.is_empty() {
        return Err(Failure::new(400, "name: is required"));
    }
    let is_marked =
        matches!(wanted.annotations.as_ref().and_then(|it| it.get(NAMESPACE)).map(String::as_str), Some("1" | "true"));
    if !is_marked {
        return Err(Failure::new(400, "annotations: openfaas=\"1\" is required, which lets functions in"));
    }
    Ok((inner.namespace(Some(&name))?, wanted))
}

/// Makes one.
pub(crate) async fn create(
    State(inner): State<Arc<Inner>>,
    path: Option<Path<String>>,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let (name, wanted) = wanted(&inner, path.map(|it| it.0), &body)?;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "annotations": wanted.annotations, "labels": wanted.labels.unwrap_or_default() },
    });
    inner.api.create(&api::namespaces(None), &namespace).await?;
    Ok(StatusCode::CREATED)
}

/// Gives one other labels and annotations. The platform's own stay.
pub(crate) async fn update(
    State(inner): State<Arc<Inner>>,
    path: Option<Path<String>>,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let (name, wanted) = wanted(&inner, path.map(|it| it.0), &body)?;
    let path = api::namespaces(Some(&name));
    let changed = inner.api.change(&path, |namespace| {
        if !has_mark(namespace) && name != inner.config.namespace {
            return false;
        }
        for (field, new) in [("labels", &wanted.labels), ("annotations", &wanted.annotations)] {
            let Some(new) = new else { continue };
            let old = namespace["metadata"][field].as_object().cloned().unwrap_or_default();
            let kept = old.into_iter().filter(|it| it.0.contains("kubernetes.io/"));
            let all = kept.chain(new.iter().map(|(key, it)| (key.clone(), it.clone().into())));
            namespace["metadata"][field] = all.collect::<serde_json::Map<_, _>>().into();
        }
        true
    });
    match changed.await? {
        true => Ok(StatusCode::ACCEPTED),
        false => Err(Failure::new(404, format!("namespace {name} not found"))),
    }
}

/// Deletes one, with everything in it.
pub(crate) async fn delete(State(inner): State<Arc<Inner>>, Path(name): Path<String>) -> Result<StatusCode, Failure> {
    let name = inner.namespace(Some(&name))?;
    if name == inner.config.namespace {
        return Err(Failure::new(400, format!("namespace {name} is that of functions which name none: it stays")));
    }
    if !is_marked(&inner.api, &name).await? {
        return Err(Failure::new(404, format!("namespace {name} not found")));
    }
    inner.api.delete(&api::namespaces(Some(&name))).await?;
    Ok(StatusCode::ACCEPTED)
}
