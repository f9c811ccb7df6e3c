//! Commands of pods that ask for whole CPUs.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::island::{Island, condition, container, ready, spinner};

fn spec(image: &str, cpu: &str) -> Value {
    let list = json!({ "cpu": cpu, "memory": "16Mi" });
    let resources = json!({ "requests": list, "limits": list });
    json!({ "terminationGracePeriodSeconds": 0,
        "containers": [{ "name": "main", "image": image, "resources": resources }] })
}

async fn resize(island: &Island, name: &str, cpu: &str) {
    let path = format!("/api/v1/namespaces/default/pods/{name}/resize");
    let change = json!({ "spec": { "containers": [{ "name": "main", "resources": spec("", cpu)["containers"][0]["resources"] }] } });
    island.call("PATCH", &path, change).await.unwrap();
}

/// Waits for an event about the pod.
async fn event(island: &Island, pod: &str, reason: &str) -> String {
    for _ in 0..1000 {
        let list = island.call("GET", "/api/v1/namespaces/default/events", Value::Null).await.unwrap();
        let mut events = list["items"].as_array().unwrap().iter();
        if let Some(it) = events.find(|it| it["involvedObject"]["name"] == pod && it["reason"] == reason) {
            return it["message"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no event {reason} about {pod}");
}

#[tokio::test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "other processors' commands take turns")]
async fn a_command_with_whole_cpus_has_its_own_thread_and_cannot_have_part_of_one() {
    let island = Island::start().await;
    let image = island.push("spin", spinner()).await;
    island.create("part", spec(&image, "500m")).await;
    island.until("part", ready).await;
    assert!(!event(&island, "part", "Started").await.contains("thread of its own"));
    island.pods.delete("part", &DeleteParams::default()).await.unwrap();
    island.create("whole", spec(&image, "1")).await;
    island.until("whole", ready).await;
    let started = event(&island, "whole", "Started").await;
    assert!(started.ends_with("on a thread of its own"), "{started}");
    resize(&island, "whole", "500m").await;
    let pod = island.until("whole", |pod| condition(pod, "PodResizePending")).await;
    assert_eq!(container(&pod)["resources"]["limits"]["cpu"], "1");
    let shown = serde_json::to_value(&pod.status).unwrap()["conditions"].to_string();
    assert!(shown.contains("Infeasible") && shown.contains("whole number of CPUs"), "{shown}");
    resize(&island, "whole", "1").await;
    let pod = island.until("whole", |pod| !condition(pod, "PodResizePending")).await;
    assert_eq!(container(&pod)["restartCount"], 0);
    island.pods.delete("whole", &DeleteParams::default()).await.unwrap();
    island.until_gone("whole").await;
}
