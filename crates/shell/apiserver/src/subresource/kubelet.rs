//! Hands `log`, `exec`, `attach` and `portforward` to the kubelet of the pod's node. Entry point: [`pass`].
//!
//! The request goes on as it is but for its path: headers, query, body and the upgrade of its connection.

use eyot_model::{
    meta,
    status::{ApiError, Reason},
};
use http::{Request, Response, Uri};
use serde_json::{Value, json};

use crate::{
    Body,
    admit::{self, Attempt, Operation},
    call::Call,
    request::query,
};

/// Options of `log` that the kubelet understands under the same name.
const LOG_OPTIONS: [&str; 7] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes"];

/// Passes the request on and the answer back.
pub(super) async fn pass(
    call: &Call,
    name: &str,
    subresource: &str,
    mut request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let pod = call.parse(&*call.get(name)?)?;
    let namespace = meta::namespace(&pod).unwrap_or_default();
    let node = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
    if node.is_empty() {
        return Err(ApiError::bad_request(format!("pod {name} does not have a host assigned")));
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    if subresource != "log" {
        let carried = call.kind.subresource(subresource).map_or("", |it| it.kind.as_str());
        connect(call, name, namespace, subresource, options(carried, &query)).await?;
    }
    let query = query.as_str();
    let (path, query) = match subresource {
        "log" => {
            let container = container(call, name, &pod)?;
            let kept =
                query.split('&').filter(|it| LOG_OPTIONS.iter().any(|option| it.split('=').next() == Some(option)));
            (format!("/containerLogs/{namespace}/{name}/{container}"), kept.collect::<Vec<_>>().join("&"))
        }
        "portforward" => (format!("/portForward/{namespace}/{name}"), query.to_owned()),
        session => {
            let container = container(call, name, &pod)?;
            (format!("/{session}/{namespace}/{name}/{container}"), query.to_owned())
        }
    };
    let target = if query.is_empty() { path } else { format!("{path}?{query}") };
    *request.uri_mut() =
        target.parse::<Uri>().map_err(|it| ApiError::bad_request(format!("{subresource} of pod {name}: {it}")))?;
    let kubelet = call.shared().kubelets.get(node).ok_or_else(|| {
        ApiError::new(502, Reason::ServiceUnavailable, format!("node {node}, where pod {name} runs, is not connected"))
    })?;
    kubelet(request)
        .await
        .map_err(|it| ApiError::internal(format!("asking node {node} for {subresource} of {name}: {it}")))
}

/// Has a connection with these options admitted.
pub(super) async fn connect(
    call: &Call,
    name: &str,
    namespace: &str,
    subresource: &str,
    mut options: Value,
) -> Result<(), ApiError> {
    let attempt = Attempt {
        operation: Operation::Connect,
        kind: &call.kind,
        subresource,
        namespace,
        name,
        identity: &call.identity,
        options: admit::Options::Connect,
        old: None,
    };
    // Nobody can change what is connected to, and an upgraded connection has no place for warnings.
    admit::admit(call.shared(), &attempt, &mut options).await.map(drop)
}

/// The options of a connection as an object: `PodExecOptions` and the like.
fn options(kind: &str, query: &str) -> Value {
    let mut object = json!({"kind": kind, "apiVersion": "v1"});
    for (key, value) in query::pairs(query) {
        match key.as_str() {
            "stdin" | "stdout" | "stderr" | "tty" => object[&key] = matches!(value.as_str(), "1" | "t" | "true").into(),
            "container" | "path" => object[&key] = value.into(),
            "command" => append(&mut object, "command", value.into()),
            "ports" => value.split(',').filter_map(|it| it.parse::<u16>().ok()).for_each(|port| {
                append(&mut object, "ports", port.into());
            }),
            _ => {}
        }
    }
    object
}

fn append(object: &mut Value, field: &str, item: Value) {
    match &mut object[field] {
        Value::Array(list) => list.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

/// The container asked for, or the only one, or the one that the pod says is its main one.
fn container(call: &Call, name: &str, pod: &Value) -> Result<String, ApiError> {
    let names: Vec<&str> = ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|it| meta::list(pod["spec"].get(it)))
        .filter_map(|it| it["name"].as_str())
        .collect();
    if let Some(wanted) = call.query.container.as_deref() {
        return match names.contains(&wanted) {
            true => Ok(wanted.to_owned()),
            false => Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {name}"))),
        };
    }
    if let Some(main) = meta::annotation(pod, "kubectl.kubernetes.io/default-container")
        && names.contains(&main)
    {
        return Ok(main.to_owned());
    }
    match meta::list(pod.pointer("/spec/containers")) {
        [only] => Ok(only["name"].as_str().unwrap_or_default().to_owned()),
        _ => {
            let choices = names.join(" ");
            Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{choices}]"
            )))
        }
    }
}
