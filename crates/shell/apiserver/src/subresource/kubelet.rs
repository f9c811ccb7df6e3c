//! Hands `log`, `exec`, `attach` and `portforward` to the kubelet of the pod's node. Entry point: [`pass`].
//!
//! The request goes on as it is but for its path: headers, query, body and the upgrade of its connection.

use eyot_model::{
    meta,
    status::{ApiError, Reason},
};
use http::{Request, Response, Uri};
use serde_json::Value;

use crate::{Body, call::Call};

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
    let query = request.uri().query().unwrap_or_default();
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
