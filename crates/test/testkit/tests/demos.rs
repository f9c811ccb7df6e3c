//! What kubectl shows of a small application, and how it starts and stops one.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

const CONTROLLER: &str = "apiVersion: v1
kind: ReplicationController
metadata: {name: primary, labels: {app: store, role: primary}}
spec:
  replicas: 1
  selector: {app: store, role: primary}
  template:
    metadata: {labels: {app: store, role: primary}}
    spec:
      containers:
      - {name: hello, image: 'localhost:5000/hello:v1', ports: [{name: server, containerPort: 6379}]}
---
apiVersion: v1
kind: Service
metadata: {name: primary, labels: {app: store, role: primary}}
spec: {ports: [{port: 6379, targetPort: server}], selector: {app: store, role: primary}}
";

/// Waits until so many pods run and are ready.
async fn running(node: &Node, count: usize) -> Result<()> {
    eventually(&format!("{count} pods run"), SOON, async || {
        let pods = node.kubectl(&["get", "pods", "-l", "app=store", "--no-headers"]).await?;
        let ready = pods.lines().filter(|it| it.contains("1/1") && it.contains("Running")).count();
        ensure!(pods.lines().count() == count && ready == count, "{pods}");
        Ok(())
    })
    .await
}

/// Each row begins with its first word and holds the others.
fn has_rows(text: &str, rows: &[&[&str]]) -> Result<()> {
    for row in rows {
        let has = |line: &str| line.trim_start().starts_with(row[0]) && row.iter().all(|it| line.contains(it));
        ensure!(text.lines().any(has), "{row:?} is missing in:\n{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptions_tell_what_there_is() {
    with_node(async |node| {
        node.push("hello").await?;
        node.apply_text(CONTROLLER).await?;
        running(node, 1).await?;
        let pod = node.kubectl(&["describe", "pods", "-l", "app=store"]).await?;
        has_rows(
            &pod,
            &[
                &["Name:", "primary-"],
                &["Namespace:", "default"],
                &["Node:", "island"],
                &["Labels:", "app=store"],
                &["role=primary"],
                &["Annotations:"],
                &["Status:", "Running"],
                &["IP:", "."],
                &["Controlled By:", "ReplicationController/primary"],
                &["Image:", "/hello:v1"],
                &["State:", "Running"],
                &["QoS Class:", "BestEffort"],
            ],
        )?;
        has_rows(
            &node.kubectl(&["describe", "rc", "primary"]).await?,
            &[
                &["Name:", "primary"],
                &["Namespace:", "default"],
                &["Selector:", "app=store,role=primary"],
                &["Labels:", "app=store"],
                &["Annotations:"],
                &["Replicas:", "1 current", "1 desired"],
                &["Pods Status:", "1 Running", "0 Waiting", "0 Succeeded", "0 Failed"],
                &["Pod Template:"],
                &["Image:", "/hello:v1"],
                &["Events:"],
                &["Normal", "SuccessfulCreate", "Created pod: primary-"],
            ],
        )?;
        has_rows(
            &node.kubectl(&["describe", "service", "primary"]).await?,
            &[
                &["Name:", "primary"],
                &["Namespace:", "default"],
                &["Labels:", "app=store"],
                &["Annotations:"],
                &["Selector:", "app=store,role=primary"],
                &["Type:", "ClusterIP"],
                &["IP:", "10."],
                &["Port:", "<unset>", "6379/TCP"],
                &["Endpoints:", ":6379"],
                &["Session Affinity:", "None"],
            ],
        )?;
        has_rows(
            &node.kubectl(&["describe", "node", "island"]).await?,
            &[
                &["Name:", "island"],
                &["Labels:"],
                &["Annotations:"],
                &["CreationTimestamp:"],
                &["Conditions:"],
                &["Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message"],
                &["Ready", "True"],
                &["Addresses:"],
                &["Capacity:"],
                &["System Info:"],
                &["Kernel Version:"],
                &["OS Image:"],
                &["Container Runtime Version:"],
                &["Kubelet Version:"],
                &["default", "primary-"],
            ],
        )?;
        has_rows(
            &node.kubectl(&["describe", "namespace", "default"]).await?,
            &[&["Name:", "default"], &["Labels:"], &["Annotations:"], &["Status:", "Active"]],
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_is_started_scaled_and_stopped() {
    with_node(async |node| {
        node.push("hello").await?;
        let two = CONTROLLER.replace("replicas: 1", "replicas: 2");
        let made = node.kubectl_stdin(&["create", "-f", "-"], &two).await?;
        ensure!(made.code == 0, "{}", made.stderr);
        running(node, 2).await?;
        node.kubectl(&["scale", "rc", "primary", "--replicas=1", "--timeout=60s"]).await?;
        running(node, 1).await?;
        node.kubectl(&["scale", "rc", "primary", "--replicas=2", "--timeout=60s"]).await?;
        running(node, 2).await?;
        let gone = node.kubectl_stdin(&["delete", "--grace-period=0", "--force", "-f", "-"], &two).await?;
        ensure!(gone.code == 0, "{}", gone.stderr);
        running(node, 0).await?;
        let left = node.kubectl_outcome(&["get", "rc,svc", "-l", "app=store", "--no-headers"]).await?;
        ensure!(left.stdout.is_empty() && left.stderr.contains("No resources found"), "{left:?}");
        Ok(())
    })
    .await;
}
