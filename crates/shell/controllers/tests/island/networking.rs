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
