//! Changes of the resources of containers that run.

use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::steps;
use crate::island::{Island, condition, container, hello, ip, phase, ready};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// `cpu/memory` of requests and limits, with `-` for what is not named.
fn resources(requests: &str, limits: &str) -> Value {
    let list = |text: &str| {
        let (cpu, memory) = text.split_once('/').unwrap();
        let mut out = json!({});
        for (name, amount) in [("cpu", cpu), ("memory", memory)] {
            if amount != "-" {
                out[name] = json!(amount);
            }
        }
        out
    };
    let mut out = json!({});
    for (name, text) in [("requests", requests), ("limits", limits)] {
        let list = list(text);
        if list != json!({}) {
            out[name] = list;
        }
    }
    out
}

/// Resources of several containers, before and after.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

const ROWS: &[Row<'static>] = &[
    (
        "increase",
        &[("20m/20Mi", "20m/20Mi"), ("20m/20Mi", "20m/20Mi"), ("30m/30Mi", "30m/30Mi")],
        &[("30m/30Mi", "30m/30Mi"), ("30m/30Mi", "30m/30Mi"), ("20m/20Mi", "20m/20Mi")],
    ),
    (
        "decrease",
        &[("20m/20Mi", "20m/20Mi"), ("30m/30Mi", "30m/30Mi"), ("30m/30Mi", "30m/30Mi")],
        &[("30m/30Mi", "30m/30Mi"), ("20m/20Mi", "20m/20Mi"), ("20m/20Mi", "20m/20Mi")],
    ),
    (
        "mixed",
        &[("20m/20Mi", "20m/20Mi"), ("30m/20Mi", "30m/20Mi"), ("20m/20Mi", "20m/20Mi")],
        &[("30m/20Mi", "30m/20Mi"), ("20m/30Mi", "20m/30Mi"), ("30m/30Mi", "30m/30Mi")],
    ),
    (
        "burstable",
        &[
            ("20m/20Mi", "-/-"),
            ("20m/20Mi", "30m/30Mi"),
            ("20m/-", "-/-"),
            ("-/20Mi", "-/-"),
            ("20m/20Mi", "30m/-"),
            ("-/-", "-/-"),
        ],
        &[
            ("30m/30Mi", "40m/40Mi"),
            ("25m/25Mi", "35m/35Mi"),
            ("20m/20Mi", "-/-"),
            ("20m/30Mi", "-/-"),
            ("20m/20Mi", "30m/30Mi"),
            ("20m/20Mi", "-/-"),
        ],
    ),
    ("equivalents", &[("2m/20Mi", "10m/30Mi")], &[("1m/20Mi", "5m/30Mi")]),
];

async fn create(island: &Island, image: &str, name: &str, containers: &[(&str, &str)]) {
    let containers = containers.iter().enumerate().map(|(index, (requests, limits))| {
        json!({ "name": format!("c{index}"), "image": image, "args": steps("forever"), "resources": resources(requests, limits) })
    });
    let spec = json!({ "containers": containers.collect::<Vec<_>>(), "terminationGracePeriodSeconds": 0 });
    island.create(name, spec).await;
    island.until(name, ready).await;
}

async fn resize(island: &Island, name: &str, containers: &[(&str, &str)]) -> Result<Value, String> {
    let containers = containers.iter().enumerate();
    let list: Vec<_> =
        containers.map(|(at, (r, l))| json!({ "name": format!("c{at}"), "resources": resources(r, l) })).collect();
    island.call("PATCH", &format!("{PODS}/{name}/resize"), json!({ "spec": { "containers": list } })).await
}

/// Waits until the status shows what the spec asks for, with no container started again.
async fn until_resized(island: &Island, name: &str) {
    let shown = |pod: &k8s_openapi::api::core::v1::Pod| {
        let pod = serde_json::to_value(pod).unwrap();
        let of = |list: &Value| -> Vec<(Value, Value)> {
            list.as_array().into_iter().flatten().map(|it| (it["name"].clone(), it["resources"].clone())).collect()
        };
        let plain = |list: Vec<(Value, Value)>| -> Vec<(Value, Value)> {
            list.into_iter().map(|(name, it)| (name, if it == json!({}) { Value::Null } else { it })).collect()
        };
        plain(of(&pod["spec"]["containers"])) == plain(of(&pod["status"]["containerStatuses"]))
    };
    let pod = island.until(name, |pod| shown(pod) && !condition(pod, "PodResizeInProgress")).await;
    let statuses = serde_json::to_value(pod.status.unwrap().container_statuses).unwrap();
    for status in statuses.as_array().unwrap() {
        assert_eq!(status["restartCount"], 0, "{name}");
        assert_eq!(status["allocatedResources"], status["resources"]["requests"], "{name}");
    }
}

#[tokio::test]
async fn containers_are_resized_and_back_while_they_run() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    for (name, before, after) in ROWS {
        create(&island, &image, name, before).await;
        until_resized(&island, name).await;
        resize(&island, name, after).await.unwrap();
        until_resized(&island, name).await;
        assert_eq!(island.pods.get(name).await.unwrap().metadata.generation, Some(2));
        if *name != "burstable" {
            resize(&island, name, before).await.unwrap();
            until_resized(&island, name).await;
        }
        island.pods.delete(name, &DeleteParams::default().grace_period(0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_resize_by_replacement_changes_resources_and_nothing_else() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    create(&island, &image, "replaced", &[("20m/20Mi", "20m/20Mi")]).await;
    let path = format!("{PODS}/replaced/resize");
    let mut pod = island.call("GET", &path, Value::Null).await.unwrap();
    pod["spec"]["containers"][0]["resources"] = resources("30m/30Mi", "30m/30Mi");
    pod["metadata"]["labels"]["other"] = json!("label");
    let answer = island.call("PUT", &path, pod).await.unwrap();
    assert_eq!((&answer["metadata"]["generation"], &answer["metadata"]["labels"]["other"]), (&json!(2), &Value::Null));
    until_resized(&island, "replaced").await;
    let refused = resize(&island, "replaced", &[("30m/30Mi", "40m/40Mi")]).await.unwrap_err();
    assert!(refused.contains("Pod QOS Class may not change as a result of resizing"), "{refused}");
    let plain = json!({ "spec": { "containers": [{ "name": "c0", "resources": resources("40m/40Mi", "40m/40Mi") }] } });
    let refused = island.call("PATCH", &format!("{PODS}/replaced"), plain).await.unwrap_err();
    assert!(refused.contains("pod updates may not change fields"), "{refused}");
}

#[tokio::test]
async fn a_guest_has_the_memory_that_it_was_given_last() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let spec = |name: &str, limit: &str| {
        json!({ "restartPolicy": "Never", "volumes": [{ "name": "v", "emptyDir": {} }], "containers": [{ "name": "c0", "image": image,
            "args": steps(&format!("print {name} , until /v/go , eat 20 , forever")), "resources": { "limits": { "memory": limit } },
            "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }] })
    };
    for (name, limit, new) in [("grows", "10Mi", Some("40Mi")), ("stays", "10Mi", None)] {
        let pod = island.create(name, spec(name, limit)).await;
        island.until(name, ready).await;
        if let Some(new) = new {
            resize(&island, name, &[(&format!("-/{new}"), &format!("-/{new}"))]).await.unwrap();
            until_resized(&island, name).await;
        }
        std::fs::write(island.node_file(&format!("pods/{}/volumes/v/go", pod.metadata.uid.unwrap())), "").unwrap();
    }
    island.until_logged("grows", "c0", "ate 20 MiB").await;
    let pod = island.until("stays", |pod| phase(pod) == "Failed").await;
    assert_eq!(container(&pod)["state"]["terminated"]["reason"], "OOMKilled");

    // Less than it uses cannot be had, which the pod tells until it is asked for more again.
    resize(&island, "grows", &[("-/8Mi", "-/8Mi")]).await.unwrap();
    let pod = island.until("grows", |pod| condition(pod, "PodResizeInProgress")).await;
    assert_eq!(container(&pod)["resources"]["limits"]["memory"], "40Mi");
    resize(&island, "grows", &[("-/1Ti", "-/1Ti")]).await.unwrap();
    island.until("grows", |pod| condition(pod, "PodResizePending") && !condition(pod, "PodResizeInProgress")).await;
    resize(&island, "grows", &[("-/48Mi", "-/48Mi")]).await.unwrap();
    until_resized(&island, "grows").await;
    let pod = island.until("grows", |pod| !condition(pod, "PodResizePending")).await;
    assert_eq!(container(&pod)["restartCount"], 0);
}

#[tokio::test]
async fn a_container_that_asks_for_it_is_restarted_by_a_resize() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let spec = json!({ "containers": [{ "name": "c0", "image": image, "args": steps("forever"),
        "resources": resources("20m/20Mi", "30m/30Mi"),
        "resizePolicy": [{ "resourceName": "memory", "restartPolicy": "RestartContainer" }] }] });
    island.create("restarts", spec).await;
    island.until("restarts", ready).await;
    resize(&island, "restarts", &[("25m/20Mi", "30m/30Mi")]).await.unwrap();
    until_resized(&island, "restarts").await;
    resize(&island, "restarts", &[("25m/20Mi", "30m/40Mi")]).await.unwrap();
    let pod = island.until("restarts", |pod| ready(pod) && container(pod)["restartCount"] == 1).await;
    assert_eq!(container(&pod)["resources"]["limits"]["memory"], "40Mi");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(container(&island.pods.get("restarts").await.unwrap())["restartCount"], 1);
}

#[tokio::test]
async fn a_service_keeps_the_memory_that_its_program_starts_with() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let limits = resources("-/8Mi", "-/8Mi");
    island.create("idle", json!({ "containers": [{ "name": "c0", "image": image, "resources": limits }] })).await;
    let pod = island.until("idle", ready).await;
    resize(&island, "idle", &[("-/32Ki", "-/32Ki")]).await.unwrap();
    let refused = island.until("idle", |pod| condition(pod, "PodResizePending")).await;
    assert_eq!(container(&refused)["resources"]["limits"]["memory"], "8Mi");
    let handler = island.endpoints.get(&format!("{}:8080", ip(&pod)).parse().unwrap()).unwrap();
    let request = http::Request::get("http://idle/").header("host", "idle").body(eyot_dispatch::empty()).unwrap();
    assert_eq!(handler.handle(request).await.unwrap().status(), 200);
    resize(&island, "idle", &[("-/64Ki", "-/64Ki")]).await.unwrap();
    until_resized(&island, "idle").await;
}
