//! What a pod of a template would be: its creation, rehearsed.
//!
//! The API server admits it as it would a pod of the ReplicaSet's, with every policy, quota and default, and keeps nothing.
//! What it would refuse is not answered for.

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{REVISION_UID, make::Unfit};
use crate::{api, pod::Shared};

/// Who makes the pods of Deployments: policies that go by that find it here as well.
const MAKER: &str = "system:kube-controller-manager";
const MASTERS: &str = "system:masters";

#[derive(Deserialize)]
struct Deployment {
    metadata: Meta,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    template: Value,
}

/// The pod that the Deployment `namespace/name`, which is of the revision with this uid, would have.
pub(super) async fn pod(shared: &Shared, namespace: &str, name: &str, uid: &str) -> Result<Pod, Unfit> {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    let found = api::get::<Deployment>(&shared.client, &path).await.map_err(Unfit::Api)?;
    let is_of = |it: &Deployment| {
        it.metadata.deletion_timestamp.is_none() && it.metadata.labels.get(REVISION_UID).is_some_and(|it| it == uid)
    };
    let Some(deployment) = found.filter(is_of) else { return Err(Unfit::Gone) };
    let template = deployment.spec.template;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": format!("{name}-"), "namespace": namespace,
            "labels": template["metadata"]["labels"], "annotations": template["metadata"]["annotations"],
        },
        "spec": template["spec"],
    });
    let request = http::Request::post(format!("/api/v1/namespaces/{namespace}/pods?dryRun=All"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .header("impersonate-user", MAKER)
        .header("impersonate-group", MASTERS)
        .body(pod.to_string().into_bytes());
    let refused = |error: kube::Error| Unfit::Refused(error.to_string());
    let request = request.map_err(|error| refused(kube::Error::HttpError(error)))?;
    shared.client.request::<Pod>(request).await.map_err(refused)
}
