//! Rollouts: history, undo, pause, resume, restart, and that none of it loses a request.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Load, Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

async fn hello(node: &Node) -> Result<()> {
    node.push("hello").await?;
    node.push_file(&eyot_testkit::guest("hello")?, "hello:v2").await?;
    node.apply("hello").await?;
    node.rolled_out("hello").await?;
    says(node, "hello from").await
}

async fn says(node: &Node, wanted: &str) -> Result<()> {
    eventually(wanted, SOON, async || {
        let answer = node.get("hello.localhost", "/").await?;
        ensure!(answer.status == 200 && answer.text().starts_with(wanted), "{}: {}", answer.status, answer.text());
        Ok(())
    })
    .await
}

async fn revision(node: &Node) -> Result<String> {
    let path = r"jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}";
    node.kubectl(&["get", "deployment", "hello", "-o", path]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_a_deployment_rolls() {
    with_node(async |node| {
        hello(node).await?;
        let load = Load::start(node.gateway(), "hello.localhost", 4);
        node.kubectl(&["set", "image", "deployment/hello", "hello=localhost:5000/hello:v2"]).await?;
        node.rolled_out("hello").await?;
        node.kubectl(&["rollout", "restart", "deployment/hello"]).await?;
        node.rolled_out("hello").await?;
        node.kubectl(&["set", "env", "deployment/hello", "GREETING=ahoy"]).await?;
        node.rolled_out("hello").await?;
        node.kubectl(&["scale", "deployment/hello", "--replicas=6"]).await?;
        node.rolled_out("hello").await?;
        node.kubectl(&["scale", "deployment/hello", "--replicas=1"]).await?;
        node.kubectl(&["wait", "--for=jsonpath={.status.replicas}=1", "deployment/hello", "--timeout=170s"]).await?;
        let tally = load.stop().await?;
        assert_eq!(tally.failed, 0, "{tally:?}");
        assert!(tally.answered > 100, "{tally:?}");
        says(node, "ahoy from").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_kept_and_undone() {
    with_node(async |node| {
        hello(node).await?;
        node.kubectl(&["set", "env", "deployment/hello", "GREETING=ahoy"]).await?;
        node.rolled_out("hello").await?;
        says(node, "ahoy from").await?;
        assert_eq!(revision(node).await?, "2");
        let history = node.kubectl(&["rollout", "history", "deployment/hello"]).await?;
        assert!(history.contains("REVISION") && history.contains("\n1 ") && history.contains("\n2 "), "{history}");
        let second = node.kubectl(&["rollout", "history", "deployment/hello", "--revision=2"]).await?;
        assert!(second.contains("ahoy"), "{second}");
        node.kubectl(&["rollout", "undo", "deployment/hello"]).await?;
        node.rolled_out("hello").await?;
        says(node, "hello from").await?;
        assert_eq!(revision(node).await?, "3");
        node.kubectl(&["rollout", "undo", "deployment/hello", "--to-revision=2"]).await?;
        node.rolled_out("hello").await?;
        says(node, "ahoy from").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_deployment_waits_for_resume() {
    with_node(async |node| {
        hello(node).await?;
        node.kubectl(&["rollout", "pause", "deployment/hello"]).await?;
        node.kubectl(&["set", "env", "deployment/hello", "GREETING=ahoy"]).await?;
        node.kubectl(&["wait", "--for=condition=Progressing=Unknown", "deployment/hello", "--timeout=90s"]).await?;
        assert_eq!(node.kubectl(&["get", "rs", "-l", "app=hello", "-o", "name"]).await?.lines().count(), 1);
        says(node, "hello from").await?;
        node.kubectl(&["rollout", "resume", "deployment/hello"]).await?;
        node.rolled_out("hello").await?;
        says(node, "ahoy from").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreate_deployment_never_runs_both() {
    with_node(async |node| {
        node.push("hello").await?;
        let manifest = eyot_testkit::read_example("hello/hello.yaml")?;
        node.apply_text(&manifest.replace("  replicas: 2\n", "  replicas: 2\n  strategy:\n    type: Recreate\n"))
            .await?;
        node.rolled_out("hello").await?;
        node.kubectl(&["set", "env", "deployment/hello", "GREETING=ahoy"]).await?;
        node.rolled_out("hello").await?;
        says(node, "ahoy from").await?;
        let images = node
            .kubectl(&[
                "get",
                "pods",
                "-l",
                "app=hello",
                "-o",
                "jsonpath={.items[*].spec.containers[0].env[?(@.name=='GREETING')].value}",
            ])
            .await?;
        assert_eq!(images, "ahoy ahoy");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_image_stops_a_rollout_and_harms_nothing() {
    with_node(async |node| {
        hello(node).await?;
        node.kubectl(&["set", "image", "deployment/hello", "hello=localhost:5000/absent:v9"]).await?;
        eventually("the pod says what is wrong", SOON, async || {
            let pods = node.kubectl(&["get", "pods"]).await?;
            ensure!(pods.contains("ErrImagePull") || pods.contains("ImagePullBackOff"), "{pods}");
            let events = node.kubectl(&["get", "events"]).await?;
            ensure!(events.contains("absent:v9"), "{events}");
            Ok(())
        })
        .await?;
        says(node, "hello from").await?;
        node.kubectl(&["rollout", "undo", "deployment/hello"]).await?;
        node.rolled_out("hello").await
    })
    .await;
}
