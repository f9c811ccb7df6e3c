use std::collections::HashSet;

use serde_json::{Value, json};

use crate::world::{DEPLOYMENTS, World};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str =
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb";

fn endpoints(list: &Value) -> Vec<&Value> {
    let slices = list["items"].as_array().into_iter().flatten();
    slices.flat_map(|it| it["endpoints"].as_array().into_iter().flatten()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_follow_the_pods_of_a_service() {
    let world = World::start().await;
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]});
    world
        .create(SERVICES, json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}))
        .await;
    world.until(SLICES, "one empty slice", |it| it["items"].as_array().is_some_and(|it| it.len() == 1)).await;
    world.deployment("web", 150, json!({})).await;
    let ready = |count: usize| {
        move |it: &Value| {
            let all = endpoints(it);
            let pods: HashSet<&str> = all.iter().filter_map(|it| it["targetRef"]["uid"].as_str()).collect();
            all.len() == count && pods.len() == count && all.iter().all(|it| it["conditions"]["ready"] == true)
        }
    };
    let slices = world.until(SLICES, "150 ready endpoints", ready(150)).await;
    for slice in slices["items"].as_array().unwrap() {
        assert!(slice["endpoints"].as_array().unwrap().len() <= 100);
        assert_eq!(slice["ports"][0]["port"], 8080);
        assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    }
    world.merge(&format!("{DEPLOYMENTS}/web"), json!({"spec": {"replicas": 7}})).await;
    world.until(SLICES, "7 ready endpoints", ready(7)).await;
    world.delete(&format!("{SERVICES}/web"), "Background").await;
    world.until(SLICES, "no slices", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_show_the_same_in_their_older_form() {
    let world = World::start().await;
    let spec = json!({"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]});
    let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec});
    world.create(SERVICES, body).await;
    world.deployment("web", 2, json!({})).await;
    let path = "/api/v1/namespaces/default/endpoints/web";
    let two = |it: &Value| it["subsets"][0]["addresses"].as_array().is_some_and(|it| it.len() == 2);
    let endpoints = world.until(path, "two addresses", two).await;
    assert_eq!(endpoints["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"], "endpoint-controller");
    let subset = &endpoints["subsets"][0];
    assert_eq!(subset["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!((&subset["addresses"][0]["targetRef"]["kind"], subset.get("notReadyAddresses")), (&json!("Pod"), None));
    world.merge(&format!("{DEPLOYMENTS}/web"), json!({"spec": {"replicas": 0}})).await;
    let none = |it: &Value| it["subsets"].as_array().is_none_or(Vec::is_empty) && it["metadata"].is_object();
    world.until(path, "no address", none).await;
    world.delete(&format!("{SERVICES}/web"), "Background").await;
    world.until(path, "gone with its service", Value::is_null).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_made_by_hand_get_slices() {
    let world = World::start().await;
    let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}]}});
    world.create(SERVICES, body).await;
    let path = "/api/v1/namespaces/default/endpoints";
    let subset = |ip: &str| json!([{"addresses": [{"ip": ip}], "ports": [{"port": 9376}]}]);
    let made = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"},
        "subsets": subset("192.0.2.42")});
    world.create(path, made).await;
    let leads_to = |ip: &'static str| {
        move |it: &Value| {
            let all = endpoints(it);
            all.len() == 1 && all[0]["addresses"][0] == ip && it["items"][0]["ports"][0]["port"] == 9376
        }
    };
    let slices = world.until(SLICES, "mirrored", leads_to("192.0.2.42")).await;
    let labels = &slices["items"][0]["metadata"]["labels"];
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslicemirroring-controller.k8s.io");
    world.merge(&format!("{path}/web"), json!({"subsets": subset("192.0.2.43")})).await;
    world.until(SLICES, "followed", leads_to("192.0.2.43")).await;
    world.delete(&format!("{path}/web"), "Background").await;
    world.until(SLICES, "gone", |it| it["items"].as_array().is_some_and(Vec::is_empty)).await;
}
