//! Gives each namespace its `default` ServiceAccount and, when the CA is known, its `kube-root-ca.crt` ConfigMap, and
//! keeps them.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{
    api::{ApiError, CONFIG_MAPS, Resource, SERVICE_ACCOUNTS, Target},
    context::Context,
    queue::Outcome,
    view::{Key, cluster::fingerprint_of},
};

/// Name of the account that pods use which name none.
pub(crate) const DEFAULT: &str = "default";
/// Name of the ConfigMap with the CA.
pub(crate) const CA: &str = "kube-root-ca.crt";

/// One pass over one namespace.
pub(crate) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let Some(namespace) = context.stores.namespaces.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let name = &namespace.meta.name;
    if context.stores.service_accounts.get(&Key::new(name, DEFAULT)).is_none() {
        let body =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": DEFAULT, "namespace": name}});
        ensure(&context, &SERVICE_ACCOUNTS, name, &body).await?;
    }
    if let Some(ca) = &context.config.cluster_ca {
        publish_ca(&context, name, ca).await?;
    }
    Ok(None)
}

/// Makes the ConfigMap with the CA, and puts back what somebody changed in it: whoever trusts it trusts the server.
async fn publish_ca(context: &Context, namespace: &str, ca: &str) -> Result<(), ApiError> {
    let data = BTreeMap::from([("ca.crt".to_owned(), ca.to_owned())]);
    match context.stores.ca_maps.get(&Key::new(namespace, CA)) {
        None => {
            let metadata = json!({"name": CA, "namespace": namespace, "annotations": {
                "kubernetes.io/description": "Contains a CA bundle that can be used to verify the API server.",
            }});
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
            ensure(context, &CONFIG_MAPS, namespace, &body).await
        }
        Some(map) if map.fingerprint == fingerprint_of(&data) => Ok(()),
        Some(_) => {
            // A patch of the whole field: other keys go, the metadata stays.
            let patch = json!([{"op": "add", "path": "/data", "value": data}]);
            let target = Target::object(&CONFIG_MAPS, namespace, CA);
            match context.api.patch_json::<serde::de::IgnoredAny>(target, &patch).await {
                Err(error) if error.is_not_found() => Ok(()),
                other => other.map(|_| ()),
            }
        }
    }
}

async fn ensure(context: &Context, resource: &Resource, namespace: &str, body: &Value) -> Result<(), ApiError> {
    let target = Target::collection(resource, namespace);
    match context.api.create(target, body.to_string().into_bytes()).await {
        // A namespace that has just begun to go takes nothing new; one that is gone needs nothing.
        Err(error) if error.exists() || error.is_forbidden() || error.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}
