//! Probes, with guests whose health depends on a Service that comes and goes.

use std::{sync::atomic::Ordering, time::Duration};

use serde_json::{Value, json};

use super::steps;
use crate::island::{Island, container, dependent, healthy, hello, ready};

fn probed(image: &str, kind: &str, mut probe: Value) -> Value {
    probe["periodSeconds"] = json!(1);
    probe["failureThreshold"] = json!(1);
    json!({ "terminationGracePeriodSeconds": 0,
        "containers": [{ "name": "app", "image": image, "ports": [{ "containerPort": 8080 }], kind: probe }] })
}

async fn restarts(island: &Island, pod: &str) -> i64 {
    container(&island.pods.get(pod).await.unwrap())["restartCount"].as_i64().unwrap()
}

#[tokio::test]
async fn a_failing_liveness_probe_restarts_its_container_again_and_again_and_a_good_one_never() {
    let island = Island::start().await;
    island.elsewhere.answers.store(true, Ordering::Relaxed);
    let (sick, well) = (island.push("dependent", dependent()).await, island.push("hello", hello()).await);
    let get = json!({ "httpGet": { "path": "/healthz", "port": 8080 } });
    island.create("http", probed(&sick, "livenessProbe", get.clone())).await;
    island.create("good", probed(&well, "livenessProbe", get)).await;
    // The socket stays open whatever requests are answered with.
    island.create("tcp", probed(&sick, "livenessProbe", json!({ "tcpSocket": { "port": 8080 } }))).await;
    for name in ["http", "good", "tcp"] {
        island.until(name, ready).await;
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(restarts(&island, "http").await, 0, "healthy so far");
    island.elsewhere.answers.store(false, Ordering::Relaxed);
    let mut last = 0;
    while last < 5 {
        let pod = island.until("http", |pod| container(pod)["restartCount"].as_i64() > Some(last)).await;
        let now = container(&pod)["restartCount"].as_i64().unwrap();
        assert!(now > last, "it only grows");
        last = now;
    }
    assert_eq!((restarts(&island, "good").await, restarts(&island, "tcp").await), (0, 0));
}

#[tokio::test]
async fn grpc_probes_ask_the_health_service() {
    let island = Island::start().await;
    let image = island.push("healthy", healthy()).await;
    let grpc = |port: u16| json!({ "grpc": { "port": port, "service": "" } });
    island.create("good", probed(&image, "livenessProbe", grpc(8080))).await;
    island.create("wrong", probed(&image, "livenessProbe", grpc(2333))).await;
    island.until("wrong", |pod| container(pod)["restartCount"].as_i64() >= Some(1)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let pod = island.until("good", ready).await;
    assert_eq!(container(&pod)["restartCount"], 0);
}

#[tokio::test]
async fn exec_probes_run_a_program_of_the_image() {
    let island = Island::start().await;
    let image = island.toolbox().await;
    let spec = |work: &str| {
        let mut spec =
            probed(&image, "livenessProbe", json!({ "exec": { "command": ["toolbox", "cat", "/tmp/health"] } }));
        spec["containers"][0]["args"] = steps(work);
        spec["containers"][0]["volumeMounts"] = json!([{ "name": "tmp", "mountPath": "/tmp" }]);
        spec["containers"][0]["livenessProbe"]["initialDelaySeconds"] = json!(1);
        spec["volumes"] = json!([{ "name": "tmp", "emptyDir": {} }]);
        spec
    };
    island.create("well", spec("write /tmp/health ok , forever")).await;
    island.create("dies", spec("write /tmp/health ok , sleep 1500 , rm /tmp/health , forever")).await;
    let pod = island.until("dies", |pod| container(pod)["restartCount"].as_i64() >= Some(1)).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!(restarts(&island, "well").await, 0);
}

#[tokio::test]
async fn readiness_waits_for_its_delay_and_never_restarts() {
    let island = Island::start().await;
    let image = island.push("hello", hello()).await;
    let mut delayed = probed(&image, "readinessProbe", json!({ "httpGet": { "path": "/", "port": 8080 } }));
    delayed["containers"][0]["readinessProbe"]["initialDelaySeconds"] = json!(2);
    island.create("delayed", delayed).await;
    island.create("never", probed(&image, "readinessProbe", json!({ "httpGet": { "path": "/", "port": 9 } }))).await;
    let pod = island.until("delayed", ready).await;
    let conditions = pod.status.as_ref().unwrap().conditions.clone().unwrap();
    let became = conditions.iter().find(|it| it.type_ == "Ready").unwrap().last_transition_time.clone().unwrap().0;
    let started =
        container(&pod)["state"]["running"]["startedAt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    // Both are cut to whole seconds.
    assert!(became.as_second() - started.as_second() >= 1, "{started} {became}");
    assert_eq!(container(&pod)["restartCount"], 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pod = island.pods.get("never").await.unwrap();
    assert!(!ready(&pod) && container(&pod)["restartCount"] == 0);
}
