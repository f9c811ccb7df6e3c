//! Guests that are processes.

use kube::api::DeleteParams;
use serde_json::json;

use crate::island::{Island, command, container, phase, ready, spinner, waiting};

#[tokio::test]
async fn a_command_that_ends_well_succeeds_and_keeps_its_log() {
    let island = Island::start().await;
    let image = island.push("hello", command(0)).await;
    island.create("job", json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": image }] })).await;
    let pod = island.until("job", |pod| phase(pod) == "Succeeded").await;
    let end = &container(&pod)["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(0), &json!("Completed")));
    assert_eq!(island.kubelet("/containerLogs/default/job/main?follow=true").await, (200, "hello\n".to_owned()));
    let (code, message) = island.kubelet("/containerLogs/default/job/main?previous=true").await;
    assert!(code == 400 && message.contains("previous terminated container"), "{message}");
    assert_eq!(island.kubelet("/containerLogs/default/job/none").await.0, 404);
    island.pods.delete("job", &DeleteParams::default()).await.unwrap();
    island.until_gone("job").await;
}

#[tokio::test]
async fn a_command_that_fails_restarts_with_back_off_or_fails_the_pod() {
    let island = Island::start().await;
    let image = island.push("fails", command(3)).await;
    island
        .create("once", json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": image }] }))
        .await;
    let pod = island.until("once", |pod| phase(pod) == "Failed").await;
    assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 3);
    island.create("loop", json!({ "containers": [{ "name": "main", "image": image }] })).await;
    let pod = island.until("loop", |pod| waiting(pod) == "CrashLoopBackOff").await;
    assert_eq!(phase(&pod), "Running");
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 3);
    island.until("loop", |pod| container(pod)["restartCount"].as_i64() >= Some(3)).await;
    let (code, text) = island.kubelet("/containerLogs/default/loop/main?previous=true&timestamps=true").await;
    assert!(code == 200 && text.ends_with("Z hello\n"), "{text}");
}

#[tokio::test]
async fn init_containers_run_in_order_before_the_others() {
    let island = Island::start().await;
    let (good, spin) = (island.push("good", command(0)).await, island.push("spin", spinner()).await);
    island
        .create(
            "ordered",
            json!({
                "initContainers": [{ "name": "one", "image": good }, { "name": "two", "image": good }],
                "containers": [{ "name": "main", "image": spin }],
            }),
        )
        .await;
    let pod = island.until("ordered", ready).await;
    let init = pod.status.unwrap().init_container_statuses.unwrap();
    assert!(init.iter().all(|it| it.state.as_ref().unwrap().terminated.as_ref().unwrap().exit_code == 0));
    let bad = island.push("bad", command(1)).await;
    island
        .create(
            "stuck",
            json!({ "restartPolicy": "Never", "initContainers": [{ "name": "one", "image": bad }],
                "containers": [{ "name": "main", "image": spin }] }),
        )
        .await;
    let pod = island.until("stuck", |pod| phase(pod) == "Failed").await;
    assert_eq!(waiting(&pod), "PodInitializing");
}

#[tokio::test]
async fn a_spinning_command_is_gone_when_its_pod_is_deleted_or_late() {
    let island = Island::start().await;
    let spin = island.push("spin", spinner()).await;
    let spec = json!({ "containers": [{ "name": "main", "image": spin }] });
    island.create("spin", spec.clone()).await;
    island.until("spin", ready).await;
    island.pods.delete("spin", &DeleteParams::default()).await.unwrap();
    island.until_gone("spin").await;
    let mut late = spec;
    late["activeDeadlineSeconds"] = json!(1);
    island.create("late", late).await;
    let pod = island.until("late", |pod| phase(pod) == "Failed").await;
    assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
}
