//! Claims of a StatefulSet: what its pods write outlives them and the node.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, eventually, with_node};

const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: keeper}
spec:
  replicas: 2
  serviceName: keeper
  selector: {matchLabels: {app: keeper}}
  template:
    metadata: {labels: {app: keeper}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: 'localhost:5000/toolbox:v1'
        args: [ls, /data, ',', write, /data/mark, x, ',', print, written, ',', forever]
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

/// Waits until the pod has written, and gives what it found before.
async fn found(node: &Node, pod: &str) -> Result<String> {
    eventually("the pod has written", Duration::from_secs(60), async || {
        let log = node.kubectl_outcome(&["logs", pod]).await?.stdout;
        ensure!(log.contains("written"), "{log}");
        Ok(log)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_finds_its_data_again_after_pods_and_node_were_gone() {
    with_node(async |node| {
        node.push("toolbox").await?;
        node.apply_text(&node.localized(SET)).await?;
        node.kubectl(&["rollout", "status", "statefulset/keeper", "--timeout=60s"]).await?;
        for pod in ["keeper-0", "keeper-1"] {
            ensure!(found(node, pod).await? == "written\n");
        }
        let claims = node.kubectl(&["get", "pvc", "--no-headers"]).await?;
        let bound = claims.lines().filter(|it| it.contains(" Bound ") && it.contains("local-path")).count();
        ensure!(bound == 2, "{claims}");

        node.kubectl(&["delete", "pod", "keeper-0"]).await?;
        node.kubectl(&["rollout", "status", "statefulset/keeper", "--timeout=60s"]).await?;
        ensure!(found(node, "keeper-0").await? == "mark\nwritten\n");

        node.kill().await?;
        node.restart().await?;
        node.kubectl(&["rollout", "status", "statefulset/keeper", "--timeout=60s"]).await?;
        // A process does not survive its node; its claim does.
        ensure!(found(node, "keeper-1").await? == "mark\nwritten\n");

        node.kubectl(&["delete", "statefulset/keeper", "pvc/data-keeper-0"]).await?;
        eventually("the volume goes with its claim", Duration::from_secs(30), async || {
            let volumes = node.kubectl(&["get", "pv", "--no-headers"]).await?;
            ensure!(volumes.lines().count() == 1, "{volumes}");
            Ok(())
        })
        .await
    })
    .await;
}
