//! sig-node: the objects of dynamic resource allocation.

use serde_json::json;

use super::lifecycle::Round;
use crate::server::Server;

const V1: &str = "resource.k8s.io/v1";

#[tokio::test]
async fn device_class_operations() {
    let object = json!({"spec": {"selectors": [{"cel": {"expression": "device.driver == 'dra.example.com'"}}]}});
    Round { api_version: V1, plural: "deviceclasses", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn resource_claim_operations() {
    let request = json!({"name": "req-0", "exactly": {"deviceClassName": "my-class"}});
    let object = json!({"spec": {"devices": {"requests": [request]}}});
    Round { api_version: V1, plural: "resourceclaims", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn resource_claim_template_operations() {
    let request = json!({"name": "req-0", "exactly": {"deviceClassName": "my-class"}});
    let object = json!({"spec": {"spec": {"devices": {"requests": [request]}}}});
    Round { api_version: V1, plural: "resourceclaimtemplates", namespaced: true, object, status: None }
        .go(&Server::start().await)
        .await;
}

#[tokio::test]
async fn resource_slice_operations() {
    let pool = json!({"name": "cluster", "generation": 1, "resourceSliceCount": 1});
    let object = json!({"spec": {"nodeName": "n", "driver": "dra.example.com", "pool": pool}});
    Round { api_version: V1, plural: "resourceslices", namespaced: false, object, status: None }
        .go(&Server::start().await)
        .await;
}
