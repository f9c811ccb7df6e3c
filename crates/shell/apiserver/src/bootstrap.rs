//! The objects every cluster begins with. Entry point: [`bootstrap`], called at each start; it makes what is missing.

use eyot_model::{defaults, meta, prepare};
use eyot_store::WriteError;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{
    ApiServer, Body, Identity, access::roles, commit, commit::Stored, definitions, flow, handle::handle, policy,
    server::Shared,
};

/// An object every cluster begins with could not be made.
#[derive(Debug, thiserror::Error)]
#[error("creating {object} at start: {message}")]
pub struct BootstrapError {
    /// Kind, namespace and name.
    pub object: String,
    /// What the API server answered.
    pub message: String,
}

/// Makes the namespaces, the RuntimeClasses, the default Gateway, the `kubernetes` Service, the built-in roles and the
/// definitions of policies, where missing.
///
/// Nothing that exists is changed, so that an administrator's edits stay; only roles get rules that they came to lack.
pub async fn bootstrap(server: &ApiServer) -> Result<(), BootstrapError> {
    // Namespaces first, since what lives in them needs them; the rest shares the disk's flushes.
    let presets = flow::presets().into_iter().map(|object| store(server, object));
    let presets = futures::future::try_join_all(presets);
    let [namespaces, rest] = waves(&server.0).map(|wave| {
        let creations = wave.into_iter().map(|object| create(server, object));
        futures::future::try_join_all(creations)
    });
    futures::future::try_join(namespaces, presets).await?;
    let roles = async {
        let fail = |it: eyot_model::status::ApiError| BootstrapError {
            object: "the built-in roles".to_owned(),
            message: it.message,
        };
        roles::ensure(&server.0).await.map_err(fail)
    };
    let definitions = async {
        let fail = |it: eyot_model::status::ApiError| BootstrapError {
            object: "the definitions of policies".to_owned(),
            message: it.message,
        };
        definitions::install(&server.0, server.0.policies.definitions()).await.map_err(fail)
    };
    futures::future::try_join3(rest, roles, definitions).await?;
    server.0.quotas.resume(&server.0);
    policy::doubt::tell(server).await;
    Ok(())
}

/// A class that is called as the handler it stands for, as nodes have them.
fn runtime_class(name: &str) -> Value {
    json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": name})
}

/// The Service by which guests reach the API server.
pub(crate) fn kubernetes(server: &Shared) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": server.addresses.first().map(|it| it.to_string()),
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": server.config.api_port}],
        },
    })
}

fn waves(server: &Shared) -> [Vec<Value>; 2] {
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease", "eyot-system"].map(namespace);
    let rest = vec![
        runtime_class("wasm"),
        runtime_class("eyot"),
        priority_class(
            "system-cluster-critical",
            2_000_000_000,
            "For pods of the cluster itself that may move to another node.",
        ),
        priority_class("system-node-critical", 2_000_001_000, "For pods of the cluster itself that their node needs."),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "eyot"}, "spec": {"controllerName": "eyot.io/gateway"},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "default", "namespace": "eyot-system"},
            "spec": {
                "gatewayClassName": "eyot",
                "listeners": [{
                    "name": "http", "protocol": "HTTP", "port": 80,
                    "allowedRoutes": {"namespaces": {"from": "All"}},
                }],
            },
        }),
        kubernetes(server),
    ];
    [namespaces.to_vec(), rest]
}

/// Stores an object that needs nothing of what a request goes through.
async fn store(server: &ApiServer, mut object: Value) -> Result<(), BootstrapError> {
    let name = meta::name(&object).unwrap_or_default().to_owned();
    let fail = |message: String| BootstrapError { object: name.clone(), message };
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let kind = eyot_model::kinds::builtin().by_api_version(text("apiVersion"), text("kind"));
    let kind = kind.ok_or_else(|| fail("the kind is not served".to_owned()))?;
    let key = eyot_store::Key::new(kind.storage.as_str(), "", name.as_str());
    if server.0.store.get(&key).is_some() {
        return Ok(());
    }
    let status = object["status"].take();
    defaults::apply(kind, &mut object);
    prepare::create(kind, &mut object, &uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
    if !status.is_null() {
        object["status"] = status;
    }
    let stored = Stored::new(kind, object).map_err(|it| fail(it.message))?;
    match commit::found(&server.0, key, stored).await {
        Ok(_) | Err(WriteError::Exists { .. }) => Ok(()),
        Err(error) => Err(fail(error.to_string())),
    }
}

fn priority_class(name: &str, value: i64, description: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
        "value": value, "description": description,
    })
}

/// Makes an object where it is missing, as a request does.
pub(crate) async fn create(server: &ApiServer, object: Value) -> Result<(), BootstrapError> {
    let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let namespace = meta::namespace(&object).unwrap_or_default().to_owned();
    let name = meta::name(&object).unwrap_or_default().to_owned();
    let fail = |message: String| BootstrapError { object: format!("{} {namespace}/{name}", text("kind")), message };

    let kinds = server.kinds();
    let kind = kinds.by_api_version(&text("apiVersion"), &text("kind"));
    let kind = kind.ok_or_else(|| fail("the kind is not served".to_owned()))?;
    let key = eyot_store::Key::new(kind.storage.as_str(), namespace.as_str(), name.as_str());
    if server.0.store.get(&key).is_some() {
        return Ok(());
    }
    let root = if kind.group.is_empty() { "/api" } else { "/apis" };
    let place = if namespace.is_empty() { String::new() } else { format!("/namespaces/{namespace}") };
    let uri = format!("{root}/{}{place}/{}", kind.api_version(), kind.plural);
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::full(object.to_string()))
        .map_err(|it| fail(it.to_string()))?;
    let identity = Identity::component("apiserver");
    let response = handle(server.clone(), Some(identity.into()), request).await;
    // Somebody may have made it in the meantime.
    if response.status().is_success() || response.status() == http::StatusCode::CONFLICT {
        return Ok(());
    }
    let body = response.into_body().collect().await.map_err(|it| fail(it.to_string()))?.to_bytes();
    let status: Value = serde_json::from_slice(&body).unwrap_or_default();
    Err(fail(status["message"].as_str().unwrap_or("no reason was given").to_owned()))
}
