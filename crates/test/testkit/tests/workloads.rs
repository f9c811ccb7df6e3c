//! What keeps pods beside Deployments: StatefulSets, DaemonSets, CronJobs; and draining a node.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Load, Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(90);

/// A workload of `kind` that runs hello; `rest` goes into its spec.
fn manifest(kind: &str, rest: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: {kind}
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: hello
        image: localhost:5000/hello:v1
        ports: [{{containerPort: 8080}}]
        env: [{{name: GREETING, value: first}}]
  {rest}
"
    )
}

async fn names(node: &Node) -> Result<String> {
    node.kubectl(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}"]).await
}

async fn greeting(node: &Node, pod: &str) -> Result<String> {
    let path = "jsonpath={.spec.containers[0].env[0].value}";
    node.kubectl(&["get", "pod", pod, "-o", path]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_rolls_out_and_is_undone() {
    with_node(async |node| {
        node.push("hello").await?;
        let made = node.apply_outcome(&manifest("StatefulSet", "replicas: 3\n  serviceName: web")).await?;
        ensure!(made.code == 0 && made.stderr.is_empty(), "{made:?}");
        node.kubectl(&["rollout", "status", "statefulset/web", "--timeout=120s"]).await?;
        ensure!(names(node).await? == "web-0 web-1 web-2", "{}", names(node).await?);
        node.kubectl(&["set", "env", "statefulset/web", "GREETING=second"]).await?;
        node.kubectl(&["rollout", "status", "statefulset/web", "--timeout=120s"]).await?;
        ensure!(greeting(node, "web-0").await? == "second");
        let history = node.kubectl(&["rollout", "history", "statefulset/web"]).await?;
        ensure!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
        node.kubectl(&["rollout", "undo", "statefulset/web"]).await?;
        node.kubectl(&["rollout", "status", "statefulset/web", "--timeout=120s"]).await?;
        ensure!(greeting(node, "web-0").await? == "first");
        node.kubectl(&["scale", "statefulset/web", "--replicas=1"]).await?;
        node.kubectl(&["wait", "--for=delete", "pod/web-1", "pod/web-2", "--timeout=120s"]).await?;
        // The status follows the pods.
        eventually("the set counts one pod", SOON, async || {
            let table = node.kubectl(&["get", "statefulset", "web", "--no-headers"]).await?;
            ensure!(table.contains("1/1"), "{table}");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_rolls_out_and_stays_through_a_drain_with_a_budget() {
    with_node(async |node| {
        node.push("hello").await?;
        node.apply_text(&manifest("DaemonSet", "minReadySeconds: 0")).await?;
        node.kubectl(&["rollout", "status", "daemonset/web", "--timeout=120s"]).await?;
        node.kubectl(&["set", "env", "daemonset/web", "GREETING=second"]).await?;
        node.kubectl(&["rollout", "status", "daemonset/web", "--timeout=120s"]).await?;
        ensure!(greeting(node, &names(node).await?).await? == "second");
        node.kubectl(&["rollout", "undo", "daemonset/web"]).await?;
        node.kubectl(&["rollout", "status", "daemonset/web", "--timeout=120s"]).await?;

        node.apply("hello").await?;
        node.rolled_out("hello").await?;
        node.kubectl(&["create", "pdb", "hello", "--selector=app=hello", "--min-available=1"]).await?;
        let wait = "--for=jsonpath={.status.disruptionsAllowed}=1";
        node.kubectl(&["wait", wait, "pdb/hello", "--timeout=60s"]).await?;
        let name = node.kubectl(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]).await?;
        // One of two pods may go; a cordoned node takes no other in its place, so the last one stays.
        let drain = ["drain", &name, "--ignore-daemonsets", "--force", "--timeout=12s"];
        let drained = node.kubectl_outcome(&drain).await?;
        ensure!(drained.code != 0 && drained.stderr.contains("disruption budget"), "{drained:?}");
        let running = "--field-selector=status.phase=Running";
        let left = node.kubectl(&["get", "pods", "-l", "app=hello", running, "-o", "name"]).await?;
        ensure!(left.lines().count() == 1, "{left}");
        node.kubectl(&["delete", "pdb", "hello"]).await?;
        node.kubectl(&["drain", &name, "--ignore-daemonsets", "--force", "--timeout=60s"]).await?;
        ensure!(names(node).await?.starts_with("web-"), "the daemon stays");
        let said = node.kubectl(&["describe", "pods", "-l", "app=hello"]).await?;
        ensure!(said.contains("0/1 nodes are available: 1 node(s) were unschedulable"), "{said}");
        node.kubectl(&["uncordon", &name]).await?;
        node.rolled_out("hello").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_fires_and_can_be_started_by_hand() {
    with_node(async |node| {
        node.push("hello").await?;
        let image = "--image=localhost:5000/hello:v1";
        node.kubectl(&["create", "cronjob", "tick", image, "--schedule=* * * * *"]).await?;
        node.kubectl(&["create", "job", "now", "--from=cronjob/tick"]).await?;
        node.kubectl(&["get", "job", "now"]).await?;
        eventually("the schedule starts a Job", SOON, async || {
            let jobs = node.kubectl(&["get", "jobs", "-o", "name"]).await?;
            ensure!(jobs.contains("job.batch/tick-"), "{jobs}");
            Ok(())
        })
        .await?;
        let table = node.kubectl(&["get", "cronjob", "tick", "--no-headers"]).await?;
        ensure!(table.contains("* * * * *") && !table.contains("<none>   <none>"), "{table}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_what_nothing_acts_on_is_told() {
    with_node(async |node| {
        let policy = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: quiet}
spec: {podSelector: {}}
";
        let made = node.apply_outcome(policy).await?;
        let warning =
            "Warning: only a part of networkpolicies acts here: egress rules hold what guests send, ingress rules";
        ensure!(made.code == 0 && made.stderr.contains(warning), "{made:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_shown_and_more_requests_bring_more_pods() {
    with_node(async |node| {
        node.push("hello").await?;
        node.apply("hello").await?;
        node.rolled_out("hello").await?;
        let scaler = "apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: hello}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: hello}
  minReplicas: 1
  maxReplicas: 4
  metrics:
  - type: Pods
    pods: {metric: {name: http_requests_per_second}, target: {type: AverageValue, averageValue: 1}}
";
        // Pods are Ready a moment before the gateway knows where they are.
        eventually("it answers", SOON, async || {
            let answer = node.get("hello.localhost", "/").await?;
            ensure!(answer.status == 200, "{}", answer.status);
            Ok(())
        })
        .await?;
        let load = Load::start(node.gateway(), "hello.localhost", 2);
        let made = node.apply_outcome(scaler).await?;
        ensure!(made.code == 0 && made.stderr.is_empty(), "{made:?}");
        let shape = "jsonpath={.status.desiredReplicas}";
        eventually("more pods are wanted", SOON, async || {
            let desired = node.kubectl(&["get", "hpa", "hello", "-o", shape]).await?;
            ensure!(desired == "4", "{desired} replicas are desired");
            Ok(())
        })
        .await?;
        node.rolled_out("hello").await?;
        eventually("four pods are measured", SOON, async || {
            let pods = node.kubectl(&["top", "pods", "--no-headers"]).await?;
            ensure!(pods.lines().count() == 4 && pods.contains("Mi"), "{pods}");
            Ok(())
        })
        .await?;
        let nodes = node.kubectl(&["top", "nodes", "--no-headers"]).await?;
        ensure!(nodes.contains('%'), "{nodes}");
        let tally = load.stop().await?;
        ensure!(tally.failed == 0 && tally.answered > 0, "{tally:?}");
        Ok(())
    })
    .await;
}
