//! Guests that answer requests.

use std::{net::SocketAddr, time::Duration};

use eyot_dispatch::CallError;
use http::Request;
use http_body_util::BodyExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::island::{Island, container, hello, hog, ip, moody, phase, ready, sleeper, waiting};

#[tokio::test]
async fn a_component_serves_at_its_pod_address_until_its_pod_is_deleted() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    island
        .create(
            "web",
            json!({ "containers": [{ "name": "app", "image": image, "ports": [{ "containerPort": 8080 }] }] }),
        )
        .await;
    let pod = island.until("web", ready).await;
    assert_eq!(phase(&pod), "Running");
    let status = container(&pod);
    assert_eq!((&status["started"], &status["restartCount"]), (&json!(true), &json!(0)));
    assert!(status["imageID"].as_str().unwrap().contains("/hello@sha256:"), "{status}");
    assert!(status["containerID"].as_str().unwrap().starts_with("eyot://"), "{status}");

    let address: SocketAddr = format!("{}:8080", ip(&pod)).parse().unwrap();
    let handler = island.endpoints.get(&address).unwrap();
    let request = Request::get("http://web/").header("host", "web").body(eyot_dispatch::empty()).unwrap();
    let response = handler.handle(request).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello, world");

    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hello, world"), "{answer}");

    island.pods.delete("web", &DeleteParams::default()).await.unwrap();
    island.until_gone("web").await;
    assert!(island.endpoints.is_empty());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn pending_to_ready_is_one_status_write() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let spec = json!({ "containers": [{ "name": "app", "image": image }] });
    island.create("first", spec.clone()).await;
    island.until("first", ready).await;
    let watch = island.pods.watch(&Default::default(), "0").await.unwrap();
    futures::pin_mut!(watch);
    island.create("second", spec).await;
    let mut states = Vec::new();
    while let Some(event) = futures::TryStreamExt::try_next(&mut watch).await.unwrap() {
        let (kube::api::WatchEvent::Added(pod) | kube::api::WatchEvent::Modified(pod)) = event else { continue };
        if pod.metadata.name.as_deref() != Some("second") {
            continue;
        }
        let bound = pod.spec.as_ref().is_some_and(|it| it.node_name.is_some());
        states.push(format!("{} bound {bound} ready {}", phase(&pod), ready(&pod)));
        if ready(&pod) {
            break;
        }
    }
    assert_eq!(states, ["Pending bound true ready false", "Running bound true ready true"]);
}

#[tokio::test]
async fn readiness_follows_the_probe_and_liveness_restarts() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let probe =
        |port: u16| json!({ "httpGet": { "port": port, "path": "/" }, "periodSeconds": 1, "failureThreshold": 1 });
    island
        .create(
            "good",
            json!({ "containers": [{ "name": "app", "image": image, "ports": [{ "containerPort": 8080 }],
                "readinessProbe": probe(8080), "startupProbe": probe(8080) }] }),
        )
        .await;
    island.until("good", ready).await;
    island
        .create(
            "bad",
            json!({ "containers": [{ "name": "app", "image": image, "ports": [{ "containerPort": 8080 }],
                "readinessProbe": probe(9), "livenessProbe": probe(10) }] }),
        )
        .await;
    let pod = island.until("bad", |pod| container(pod)["restartCount"].as_i64() >= Some(1)).await;
    assert!(!ready(&pod));
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 137);
}

#[tokio::test]
async fn what_cannot_be_honoured_is_named_and_harms_nobody() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    island
        .create(
            "greedy",
            json!({ "hostNetwork": true, "containers": [{ "name": "app", "image": image, "tty": true }] }),
        )
        .await;
    let pod = island.until("greedy", |pod| waiting(pod) == "UnsupportedField").await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("spec.hostNetwork") && message.contains("spec.containers[0].tty"), "{message}");
    assert_eq!(phase(&pod), "Pending");
    island
        .create("absent", json!({ "containers": [{ "name": "app", "image": image.replace("hello", "none") }] }))
        .await;
    island.until("absent", |pod| matches!(waiting(pod).as_str(), "ErrImagePull" | "ImagePullBackOff")).await;
    let text = island.push("text", b"\0asm\x01\0\0\0and no more".to_vec()).await;
    island.create("broken", json!({ "containers": [{ "name": "app", "image": text }] })).await;
    island.until("broken", |pod| waiting(pod) == "CreateContainerError").await;
    for name in ["greedy", "absent", "broken"] {
        island.pods.delete(name, &DeleteParams::default()).await.unwrap();
        island.until_gone(name).await;
    }
}

#[tokio::test]
async fn a_new_image_restarts_the_container() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let other = island.push("other", hello()).await;
    island.create("web", json!({ "containers": [{ "name": "app", "image": image }] })).await;
    island.until("web", ready).await;
    let patch = json!({ "spec": { "containers": [{ "name": "app", "image": other }] } });
    island.pods.patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    let pod = island.until("web", |pod| ready(pod) && container(pod)["restartCount"] == 1).await;
    assert!(container(&pod)["imageID"].as_str().unwrap().contains("/other@"));
}

#[tokio::test]
async fn a_request_that_passes_the_memory_limit_shows_in_the_last_state() {
    let island = Island::start().await;
    let image = island.push("hog", hog()).await;
    let limits = json!({ "limits": { "memory": "16Mi" } });
    island.create("hog", json!({ "containers": [{ "name": "app", "image": image, "resources": limits }] })).await;
    let pod = island.until("hog", ready).await;
    let handler = island.endpoints.get(&format!("{}:8080", ip(&pod)).parse().unwrap()).unwrap();
    for _ in 0..3 {
        let request = Request::get("http://hog/").header("host", "hog").body(eyot_dispatch::empty()).unwrap();
        assert!(handler.clone().handle(request).await.is_err());
    }
    let pod = island.until("hog", |pod| container(pod)["restartCount"] == 1).await;
    let last = &container(&pod)["lastState"]["terminated"];
    assert_eq!((&last["reason"], &last["exitCode"]), (&json!("OOMKilled"), &json!(137)));
    assert!(ready(&pod), "other requests are served meanwhile");
}

#[tokio::test]
async fn a_passed_memory_limit_is_not_forgotten_for_a_trap_that_follows() {
    let island = Island::start().await;
    let image = island.push("moody", moody()).await;
    let limits = json!({ "limits": { "memory": "16Mi" } });
    island.create("moody", json!({ "containers": [{ "name": "app", "image": image, "resources": limits }] })).await;
    let pod = island.until("moody", ready).await;
    let handler = island.endpoints.get(&format!("{}:8080", ip(&pod)).parse().unwrap()).unwrap();
    let request = |body| Request::post("http://moody/").header("host", "moody").body(body).unwrap();
    let greedy = handler.clone().handle(request(eyot_dispatch::full("x"))).await;
    assert!(matches!(greedy, Err(CallError::OutOfMemory)), "{:?}", greedy.map(|it| it.status()));
    let broken = handler.clone().handle(request(eyot_dispatch::empty())).await;
    assert!(matches!(broken, Err(CallError::Guest(_))), "{:?}", broken.map(|it| it.status()));
    let pod = island.until("moody", |pod| container(pod)["restartCount"] == 1).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["reason"], "OOMKilled");
    assert!(ready(&pod));
}

#[tokio::test]
async fn a_request_may_take_as_long_as_its_pod_says() {
    let island = Island::start().await;
    let image = island.push("sleeper", sleeper()).await;
    let spec = json!({ "containers": [{ "name": "app", "image": image }] });
    let named = |name: &str, value: &str| json!({ "name": name, "annotations": { "eyot.io/request-timeout": value } });
    island.create_with(named("short", "1s"), spec.clone()).await;
    let pod = island.until("short", ready).await;
    let handler = island.endpoints.get(&format!("{}:8080", ip(&pod)).parse::<SocketAddr>().unwrap()).unwrap();
    let request = Request::get("http://short/").header("host", "short").body(eyot_dispatch::empty()).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(30), handler.handle(request)).await.expect("a deadline");
    assert!(matches!(answer, Err(CallError::Deadline)), "{:?}", answer.map(|it| it.status()));
    island.create_with(named("endless", "2h"), spec).await;
    let pod = island.until("endless", |pod| waiting(pod) == "CreateContainerConfigError").await;
    let message = container(&pod)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("annotation eyot.io/request-timeout"), "{message}");
}

#[tokio::test]
async fn a_pod_that_fills_its_empty_directory_is_evicted() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    island
        .create(
            "full",
            json!({ "volumes": [{ "name": "v", "emptyDir": { "sizeLimit": "1Ki" } }],
                "containers": [{ "name": "app", "image": image, "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }] }),
        )
        .await;
    let pod = island.until("full", ready).await;
    let directory = island.node_file(&format!("pods/{}/volumes/v", pod.metadata.uid.unwrap()));
    std::fs::write(directory.join("big"), vec![0; 4096]).unwrap();
    let pod = island.until("full", |pod| phase(pod) == "Failed").await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("Evicted"));
}

#[tokio::test]
async fn a_pod_that_fills_the_disk_is_evicted() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let resources =
        json!({ "requests": { "ephemeral-storage": "1Ki" }, "limits": { "cpu": "1", "ephemeral-storage": "64Ki" } });
    island
        .create(
            "full",
            json!({ "volumes": [{ "name": "v", "emptyDir": {} }], "containers": [{ "name": "app", "image": image,
                "resources": resources, "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }] }),
        )
        .await;
    let pod = island.until("full", ready).await;
    let directory = island.node_file(&format!("pods/{}/volumes/v", pod.metadata.uid.unwrap()));
    std::fs::write(directory.join("big"), vec![0; 128 << 10]).unwrap();
    let pod = island.until("full", |pod| phase(pod) == "Failed").await;
    let status = pod.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert!(status.message.unwrap().starts_with("Pod ephemeral local storage usage exceeds"));
}

#[tokio::test]
async fn usage_of_pods_and_machine_is_told_in_the_words_of_the_kubelet() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    island.create("web", json!({ "containers": [{ "name": "app", "image": image }] })).await;
    let pod = island.until("web", ready).await;
    let handler = island.endpoints.get(&format!("{}:8080", ip(&pod)).parse::<SocketAddr>().unwrap()).unwrap();
    for _ in 0..3 {
        let request = Request::get("http://web/").header("host", "web").body(eyot_dispatch::empty()).unwrap();
        handler.clone().handle(request).await.unwrap().into_body().collect().await.unwrap();
    }
    let (code, answer) = island.kubelet("/stats/summary").await;
    let summary: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(code, 200, "{answer}");
    let seen = &summary["pods"][0];
    assert_eq!((&seen["podRef"]["name"], &seen["podRef"]["uid"]), (&json!("web"), &json!(pod.metadata.uid)));
    let container = &seen["containers"][0];
    assert_eq!(container["name"], "app");
    assert!(container["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap() > 0, "{answer}");
    let metrics = container["userDefinedMetrics"].as_array().unwrap();
    let metric = |name: &str| metrics.iter().find(|it| it["name"] == name).map(|it| it["value"].as_u64().unwrap());
    assert_eq!((metric("http_requests"), metric("http_received_bytes")), (Some(3), Some(0)), "{answer}");
    assert_eq!(metric("http_sent_bytes"), Some(36), "three times `hello, world`");
    assert_eq!((&seen["network"]["rxBytes"], &seen["network"]["txBytes"]), (&json!(0), &json!(36)));
    assert!(summary["node"]["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap() > 0, "{answer}");
    assert!(summary["node"]["memory"]["workingSetBytes"].as_u64().unwrap() > 0, "{answer}");
}
