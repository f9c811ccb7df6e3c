//! Pods as objects of the API with a node behind them: their life, updates, generations, sessions and classes.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::steps;
use crate::island::{Island, condition, hello, phase, ready, waiting};

const PODS: &str = "/api/v1/namespaces/default/pods";

fn generations(pod: &Pod) -> (i64, i64) {
    let observed = pod.status.as_ref().and_then(|it| it.observed_generation).unwrap_or(0);
    (pod.metadata.generation.unwrap_or(0), observed)
}

#[tokio::test]
async fn a_pod_is_submitted_watched_and_removed() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let selector = ListParams::default().labels("app=watched");
    assert!(island.pods.list(&selector).await.unwrap().items.is_empty());
    let watch = island.pods.watch(&WatchParams::default().labels("app=watched"), "0").await.unwrap();
    futures::pin_mut!(watch);
    island.create("watched", json!({ "containers": [{ "name": "app", "image": image }] })).await;
    assert_eq!(island.pods.list(&selector).await.unwrap().items.len(), 1);
    let pod = island.until("watched", ready).await;
    let status = pod.status.as_ref().unwrap();
    assert!(status.host_ip.as_ref().unwrap().parse::<std::net::IpAddr>().is_ok());
    island.pods.delete("watched", &DeleteParams::default().grace_period(30)).await.unwrap();
    let (mut added, mut marked) = (false, false);
    while let Some(event) = watch.try_next().await.unwrap() {
        match event {
            WatchEvent::Added(_) => added = true,
            WatchEvent::Modified(pod) => marked |= pod.metadata.deletion_timestamp.is_some(),
            WatchEvent::Deleted(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(added && marked, "added {added}, marked {marked}");
    assert!(island.pods.list(&selector).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn pods_are_updated_patched_and_deleted_together() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let spec = json!({ "containers": [{ "name": "app", "image": image }], "terminationGracePeriodSeconds": 1 });
    for name in ["one", "two", "three"] {
        island.create_with(json!({ "name": name, "labels": { "type": "Testing" } }), spec.clone()).await;
        island.until(name, ready).await;
    }
    let mut pod = island.call("GET", &format!("{PODS}/one"), Value::Null).await.unwrap();
    pod["metadata"]["labels"]["time"] = json!("now");
    island.call("PUT", &format!("{PODS}/one"), pod).await.unwrap();
    assert_eq!(island.pods.list(&ListParams::default().labels("time=now")).await.unwrap().items.len(), 1);

    let status = format!("{PODS}/one/status");
    let patch = json!({ "status": { "message": "Patched by e2e test", "reason": "E2E",
        "conditions": [{ "type": "Patched", "status": "True" }] } });
    let patched = island.call("PATCH", &status, patch).await.unwrap();
    assert_eq!(
        (&patched["status"]["message"], &patched["status"]["reason"]),
        (&json!("Patched by e2e test"), &json!("E2E"))
    );
    assert_eq!(patched["metadata"]["labels"]["time"], "now");
    let mut whole = island.call("GET", &status, Value::Null).await.unwrap();
    let conditions = whole["status"]["conditions"].as_array_mut().unwrap();
    conditions.iter_mut().filter(|it| it["type"] == "Ready").for_each(|it| it["status"] = json!("False"));
    island.call("PUT", &status, whole).await.unwrap();
    let pod = island.pods.get("one").await.unwrap();
    assert!(!ready(&pod) && condition(&pod, "Patched"), "a status is what was last written");

    let all = ListParams::default().labels("type=Testing");
    island.pods.delete_collection(&DeleteParams::default(), &all).await.unwrap();
    for name in ["one", "two", "three"] {
        island.until_gone(name).await;
    }
}

#[tokio::test]
async fn a_deadline_that_is_set_later_ends_the_pod() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    island.create("late", json!({ "containers": [{ "name": "app", "image": image }] })).await;
    island.until("late", ready).await;
    island.call("PATCH", &format!("{PODS}/late"), json!({ "spec": { "activeDeadlineSeconds": 1 } })).await.unwrap();
    let pod = island.until("late", |pod| phase(pod) == "Failed").await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}

#[tokio::test]
async fn generations_count_updates_of_the_spec_and_the_node_follows_them() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let path = format!("{PODS}/counted");
    let metadata = json!({ "name": "counted", "generation": 100 });
    let tolerant =
        |key: &str| json!({ "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60 });
    let spec = json!({ "containers": [{ "name": "app", "image": image }], "tolerations": [tolerant("first")] });
    island.create_with(metadata, spec).await;
    let pod = island.until("counted", |pod| ready(pod) && generations(pod) == (1, 1)).await;
    let conditions = pod.status.unwrap().conditions.unwrap();
    let observed = |it: &str| conditions.iter().find(|c| c.type_ == it).unwrap().observed_generation;
    assert_eq!(observed("Ready"), Some(1));

    island.call("PATCH", &path, json!({ "metadata": { "labels": { "a": "b" } } })).await.unwrap();
    assert_eq!(island.pods.get("counted").await.unwrap().metadata.generation, Some(1), "labels do not count");
    for (patch, wanted) in [
        (json!({ "spec": { "containers": [{ "name": "app", "image": image }] } }), 1),
        (json!({ "spec": { "activeDeadlineSeconds": 5000 } }), 2),
        (json!({ "spec": { "activeDeadlineSeconds": 4000 } }), 3),
    ] {
        island.call("PATCH", &path, patch).await.unwrap();
        island.until("counted", |pod| generations(pod) == (wanted, wanted)).await;
    }
    for seconds in (0..500).rev() {
        let patch = json!({ "spec": { "activeDeadlineSeconds": 2000 + seconds } });
        island.call("PATCH", &path, patch).await.unwrap();
    }
    island.until("counted", |pod| generations(pod) == (503, 503)).await;

    island.call("PATCH", &path, json!({ "metadata": { "finalizers": ["example.org/stays"] } })).await.unwrap();
    island.pods.delete("counted", &DeleteParams::default().grace_period(30)).await.unwrap();
    let pod = island.pods.get("counted").await.unwrap();
    assert_eq!(pod.metadata.generation, Some(504));
    assert!(pod.metadata.deletion_timestamp.is_some());
    island.call("PATCH", &path, json!({ "metadata": { "finalizers": null } })).await.unwrap();
    island.until_gone("counted").await;
}

async fn messages(island: &Island, path: &str, protocol: &str) -> WebSocketStream<TcpStream> {
    let address = island.kubelet_address().await;
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

#[tokio::test]
async fn commands_and_logs_come_as_messages() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let spec = json!({ "containers": [{ "name": "main", "image": image, "args": steps("print container_is_alive , forever") }] });
    island.create("talks", spec).await;
    island.until_logged("talks", "main", "container_is_alive").await;

    let command = "command=toolbox&command=print&command=remote%20execution%20test";
    let path = format!("/exec/default/talks/main?stderr=1&stdout=1&{command}");
    let mut socket = messages(&island, &path, "channel.k8s.io").await;
    let mut text = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(bytes) = message else { continue };
        assert!(bytes[0] == 1 || bytes.len() == 1, "only standard output: {bytes:?}");
        text.extend_from_slice(&bytes[1..]);
    }
    assert_eq!(String::from_utf8(text).unwrap(), "remote execution test\n");

    for (protocol, wanted) in
        [("binary.k8s.io", "container_is_alive\n"), ("base64.binary.k8s.io", "Y29udGFpbmVyX2lzX2FsaXZlCg==")]
    {
        let mut socket = messages(&island, "/containerLogs/default/talks/main", protocol).await;
        let mut text = Vec::new();
        while let Some(Ok(message)) = socket.next().await {
            if matches!(message, Message::Binary(_) | Message::Text(_)) {
                text.extend_from_slice(&message.into_data());
            }
        }
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
    }
}

#[tokio::test]
async fn pods_of_a_runtime_class_are_scheduled_with_its_overhead() {
    let island = Island::start().await;
    island.with_controllers().await;
    let image = island.push("hello", hello()).await;
    let class = |name: &str, more: Value| {
        let mut class = json!({ "metadata": { "name": name }, "handler": "wasm" });
        more.as_object().into_iter().flatten().for_each(|(key, value)| class[key] = value.clone());
        class
    };
    let overhead = json!({ "overhead": { "podFixed": { "cpu": "10m", "memory": "1Mi" } } });
    for (name, more, wanted) in
        [("plain", json!({}), Value::Null), ("heavy", overhead.clone(), overhead["overhead"]["podFixed"].clone())]
    {
        island.call("POST", "/apis/node.k8s.io/v1/runtimeclasses", class(name, more)).await.unwrap();
        let pod = json!({ "metadata": { "name": name }, "spec": { "runtimeClassName": name,
            "containers": [{ "name": "app", "image": image }] } });
        island.call("POST", PODS, pod).await.unwrap();
        let pod = island.until(name, ready).await;
        let spec = serde_json::to_value(pod.spec.unwrap()).unwrap();
        assert_eq!((&spec["nodeName"], &spec["overhead"]), (&json!("edge"), &wanted));
    }
    let foreign = json!({ "metadata": { "name": "foreign" }, "handler": "runc" });
    island.call("POST", "/apis/node.k8s.io/v1/runtimeclasses", foreign).await.unwrap();
    island
        .create("foreign", json!({ "runtimeClassName": "foreign", "containers": [{ "name": "app", "image": image }] }))
        .await;
    island.until("foreign", |pod| waiting(pod) == "UnsupportedField").await;
}

#[tokio::test]
async fn names_that_are_no_sysctls_are_refused() {
    let island = Island::start().await;
    let sysctls = ["foo-", "kernel.shmmax", "safe-and-unsafe", "bar.."].map(|it| json!({ "name": it, "value": "1" }));
    let pod = json!({ "metadata": { "name": "sysctl" }, "spec": { "securityContext": { "sysctls": sysctls },
        "containers": [{ "name": "main", "image": "none" }] } });
    let refusal = island.call("POST", PODS, pod).await.unwrap_err();
    assert!(refusal.contains(r#"Invalid value: "foo-""#) && refusal.contains(r#"Invalid value: "bar..""#), "{refusal}");
    assert!(!refusal.contains("safe-and-unsafe") && !refusal.contains("kernel.shmmax"), "{refusal}");
}
