//! A node that goes away and comes back.

use kube::api::DeleteParams;
use serde_json::json;

use crate::island::{Island, command, container, hello, ip, phase, ready, spinner};

#[tokio::test]
async fn after_a_restart_components_serve_untouched_and_commands_start_again() {
    let mut island = Island::start().await;
    let (hello, spin, fails) = (
        island.push("hello", hello()).await,
        island.push("spin", spinner()).await,
        island.push("done", command(0)).await,
    );
    island.create("web", json!({ "containers": [{ "name": "app", "image": hello }] })).await;
    island.create("spin", json!({ "containers": [{ "name": "main", "image": spin }] })).await;
    island.create("once", json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": spin }] })).await;
    island
        .create("done", json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": fails }] }))
        .await;
    let web = island.until("web", ready).await;
    island.until("spin", ready).await;
    island.until("once", ready).await;
    island.until("done", |pod| phase(pod) == "Succeeded").await;

    island.restart().await;
    let pod = island.until("spin", |pod| ready(pod) && container(pod)["restartCount"] == 1).await;
    assert_eq!(container(&pod)["lastState"]["terminated"]["reason"], "Unknown");
    let pod = island.until("once", |pod| phase(pod) == "Failed").await;
    assert_eq!(container(&pod)["state"]["terminated"]["exitCode"], 255);
    let address = format!("{}:8080", ip(&web)).parse().unwrap();
    for _ in 0..500 {
        if island.endpoints.get(&address).is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(island.endpoints.get(&address).is_some(), "the pod serves at its old address");
    let after = island.pods.get("web").await.unwrap();
    assert_eq!(after.metadata.resource_version, web.metadata.resource_version, "its status was not written again");
    assert_eq!(island.kubelet("/containerLogs/default/done/main").await, (200, "hello\n".to_owned()));

    for name in ["web", "spin", "once", "done"] {
        island.pods.delete(name, &DeleteParams::default()).await.unwrap();
        island.until_gone(name).await;
    }
}

#[tokio::test]
async fn a_pod_deleted_while_the_node_was_away_leaves_nothing_behind() {
    let mut island = Island::start().await;
    let image = island.push("done", command(0)).await;
    island.create("job", json!({ "restartPolicy": "Never", "containers": [{ "name": "main", "image": image }] })).await;
    island.until("job", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(std::fs::read_dir(island.node_file("logs")).unwrap().count(), 1);
    island.stop().await;
    island.pods.delete("job", &DeleteParams::default().grace_period(0)).await.unwrap();
    island.restart().await;
    for _ in 0..500 {
        if std::fs::read_dir(island.node_file("logs")).unwrap().count() == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the log is still there");
}
