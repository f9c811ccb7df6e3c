//! `/system/functions`, `/system/function/NAME` and `/system/scale-function/NAME`.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header::WARNING},
};
use eyot_serving::{
    API_VERSION, label,
    openfaas::{Counted, Deployment, name_parts, status},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Failure, Inner, api};

/// Most instances that may be asked for at once.
const REPLICAS_MAX: u64 = 10_000;

/// The namespace in a query.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct In {
    pub(crate) namespace: Option<String>,
}

type Done = Result<(StatusCode, HeaderMap), Failure>;

fn json_of(body: &Bytes) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::new(400, format!("failed to unmarshal request: {error}")))
}

/// All functions of a namespace, whoever deployed them.
pub(crate) async fn list(
    State(inner): State<Arc<Inner>>,
    Query(within): Query<In>,
) -> Result<Json<Vec<Value>>, Failure> {
    let namespace = inner.namespace(within.namespace.as_deref())?;
    let services = inner.api.list(&api::services(&namespace, None)).await?;
    let counted = counted(&inner, &namespace, "").await?;
    let told = services.iter().map(|it| {
        let name = it["metadata"]["name"].as_str().unwrap_or_default();
        status(it, counted.get(name).copied().unwrap_or_default())
    });
    Ok(Json(told.collect()))
}

/// Name and namespace that a path and a query name.
fn asked(inner: &Inner, path: &str, within: Option<&str>) -> Result<(String, String), Failure> {
    let (name, namespace) = name_parts(path).ok_or_else(|| Failure::new(404, format!("function {path} not found")))?;
    Ok((name.to_owned(), inner.namespace(within.filter(|it| !it.is_empty()).or(namespace))?))
}

/// One function.
pub(crate) async fn one(
    State(inner): State<Arc<Inner>>,
    Path(name): Path<String>,
    Query(within): Query<In>,
) -> Result<Json<Value>, Failure> {
    let (name, namespace) = asked(&inner, &name, within.namespace.as_deref())?;
    let service = inner.api.get(&api::services(&namespace, Some(&name))).await?;
    let service = service.ok_or_else(|| Failure::no_function(&name, &namespace))?;
    let selector = format!("?labelSelector={}%3D{name}", label::SERVICE.replace('/', "%2F"));
    let counted = counted(&inner, &namespace, &selector).await?;
    Ok(Json(status(&service, counted.get(&name).copied().unwrap_or_default())))
}

/// The same, where the function is to be changed.
async fn asked_to_change(inner: &Inner, path: &str, within: Option<&str>) -> Result<(String, String), Failure> {
    let (name, namespace) = asked(inner, path, within)?;
    let namespace = inner.own_namespace(Some(&namespace)).await?;
    Ok((name, namespace))
}

/// What revisions tell of the functions of a namespace, by their names.
async fn counted(inner: &Inner, namespace: &str, selector: &str) -> Result<HashMap<String, Counted>, Failure> {
    let path = format!("/apis/{API_VERSION}/namespaces/{namespace}/revisions{selector}");
    let mut out: HashMap<String, Counted> = HashMap::new();
    for revision in inner.api.list(&path).await? {
        let Some(service) = revision["metadata"]["labels"][label::SERVICE].as_str() else { continue };
        let name = revision["metadata"]["name"].as_str().unwrap_or_default();
        let number = |field: &str| revision["status"][field].as_i64().unwrap_or(0);
        let sum = out.entry(service.to_owned()).or_default();
        sum.replicas += number("desiredReplicas");
        sum.available += number("actualReplicas");
        sum.invocations += inner.loads.requests(&format!("{namespace}/{name}")).unwrap_or(0);
    }
    Ok(out)
}

/// What a client sent, as a Service in its namespace, and warnings about it.
async fn read(
    inner: &Inner,
    body: &Bytes,
    updated: Option<&str>,
) -> Result<(Value, String, String, HeaderMap), Failure> {
    let (deployment, warnings) = Deployment::read(&json_of(body)?).map_err(|why| Failure::new(400, why))?;
    let namespace = inner.own_namespace(deployment.namespace.as_deref()).await?;
    let mut pulls = Vec::new();
    for name in &deployment.secrets {
        let secret = inner.api.get(&api::secrets(&namespace, Some(name))).await?;
        let secret =
            secret.ok_or_else(|| Failure::new(400, format!("unable to fetch secrets: secrets {name:?} not found")))?;
        if matches!(secret["type"].as_str(), Some("kubernetes.io/dockerconfigjson" | "kubernetes.io/dockercfg")) {
            pulls.push(name.as_str());
        }
    }
    let service = deployment.service(&namespace, |it| pulls.contains(&it), updated);
    let service = service.map_err(|why| Failure::new(400, why))?;
    let mut headers = HeaderMap::new();
    for text in warnings {
        tracing::warn!(function = deployment.service, namespace, "deployed through OpenFaaS' API: {text}");
        if let Ok(value) = HeaderValue::try_from(format!("299 - {text:?}")) {
            headers.append(WARNING, value);
        }
    }
    Ok((service, deployment.service, namespace, headers))
}

/// Deploys a function that is not there.
pub(crate) async fn deploy(State(inner): State<Arc<Inner>>, body: Bytes) -> Done {
    let (service, _, namespace, headers) = read(&inner, &body, None).await?;
    inner.api.create(&api::services(&namespace, None), &service).await?;
    Ok((StatusCode::ACCEPTED, headers))
}

/// Deploys another version of a function that is there.
pub(crate) async fn update(State(inner): State<Arc<Inner>>, body: Bytes) -> Done {
    let now = jiff::Timestamp::now().to_string();
    let (service, name, namespace, headers) = read(&inner, &body, Some(&now)).await?;
    let path = api::services(&namespace, Some(&name));
    let changed = inner.api.change(&path, |old| {
        for field in ["labels", "annotations"] {
            let inner = old["metadata"][field].as_object().cloned().unwrap_or_default();
            let inner = inner.into_iter().filter(|it| it.0.starts_with("serving.knative.dev/"));
            let new = service["metadata"][field].as_object().cloned().unwrap_or_default();
            old["metadata"][field] = inner.chain(new).collect::<serde_json::Map<_, _>>().into();
        }
        old["spec"] = service["spec"].clone();
        true
    });
    if changed.await? { Ok((StatusCode::OK, headers)) } else { Err(Failure::no_function(&name, &namespace)) }
}

#[derive(Deserialize)]
struct Unwanted {
    #[serde(rename = "functionName", default)]
    name: String,
    namespace: Option<String>,
}

/// Deletes a function.
pub(crate) async fn delete(
    State(inner): State<Arc<Inner>>,
    Query(within): Query<In>,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let wanted: Unwanted =
        serde_json::from_value(json_of(&body)?).map_err(|error| Failure::new(400, error.to_string()))?;
    if wanted.name.is_empty() {
        return Err(Failure::new(400, "functionName: is required"));
    }
    let named = wanted.namespace.filter(|it| !it.is_empty()).or(within.namespace);
    let (name, namespace) = asked_to_change(&inner, &wanted.name, named.as_deref()).await?;
    let path = api::services(&namespace, Some(&name));
    if inner.api.get(&path).await?.is_none() {
        return Err(Failure::no_function(&name, &namespace));
    }
    inner.api.delete(&path).await?;
    Ok(StatusCode::OK)
}

#[derive(Deserialize)]
struct Scale {
    replicas: u64,
    #[serde(rename = "serviceName", default)]
    service: String,
    namespace: Option<String>,
}

/// Has the revision that was ready last keep so many instances from now on, without making another revision. More come with the
/// load; none lets it go to zero.
pub(crate) async fn scale(
    State(inner): State<Arc<Inner>>,
    Path(path): Path<String>,
    Query(within): Query<In>,
    body: Bytes,
) -> Result<StatusCode, Failure> {
    let failed =
        |error: serde_json::Error| Failure::new(400, format!("Cannot parse request. Please pass valid JSON: {error}"));
    let wanted: Scale = serde_json::from_slice(&body).map_err(failed)?;
    let named = wanted.namespace.filter(|it| !it.is_empty()).or(within.namespace);
    let (name, namespace) = asked_to_change(&inner, &path, named.as_deref()).await?;
    if !wanted.service.is_empty() && wanted.service != name {
        return Err(Failure::new(400, format!("the path names function {name}, the body {}", wanted.service)));
    }
    if wanted.replicas > REPLICAS_MAX {
        return Err(Failure::new(400, format!("replicas: {} are more than {REPLICAS_MAX}", wanted.replicas)));
    }
    let service = inner.api.get(&api::services(&namespace, Some(&name))).await?;
    let service = service.ok_or_else(|| Failure::no_function(&name, &namespace))?;
    let Some(revision) = service["status"]["latestReadyRevisionName"].as_str() else {
        return Err(Failure::new(503, format!("function {name}.{namespace} has not been ready yet")));
    };
    let path = format!("/apis/{API_VERSION}/namespaces/{namespace}/revisions/{revision}");
    // The older spelling would be read as well.
    let least = json!({
        "autoscaling.knative.dev/min-scale": wanted.replicas.to_string(), "autoscaling.knative.dev/minScale": null,
    });
    inner.api.merge(&path, &json!({ "metadata": { "annotations": least } })).await?;
    Ok(StatusCode::ACCEPTED)
}
