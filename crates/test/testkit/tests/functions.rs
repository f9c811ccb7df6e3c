//! Functions as their users have them: deployed, at zero, in a burst, updated under load, split, rolled back, deleted.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Load, Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);
const HOST: &str = "hello.default.localhost";

async fn eyot(node: &Node, args: &[&str]) -> Result<String> {
    let said = node.eyot(args).await?;
    ensure!(said.code == 0, "eyot {args:?}: {}{}", said.stdout, said.stderr);
    Ok(said.stdout)
}

/// A function whose window is short, with a greeting.
async fn apply(node: &Node, greeting: &str, image: &str) -> Result<()> {
    let manifest = format!(
        r#"{{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {{"name": "hello"}},
        "spec": {{"template": {{
            "metadata": {{"annotations": {{"autoscaling.knative.dev/window": "6s"}}}},
            "spec": {{"containers": [{{"image": "localhost:5000/{image}",
                "env": [{{"name": "GREETING", "value": "{greeting}"}}]}}]}}}}}}}}"#
    );
    node.apply_text(&manifest).await.map(drop)
}

async fn ready(node: &Node) -> Result<()> {
    node.kubectl(&["wait", "ksvc/hello", "--for=condition=Ready", "--timeout=60s"]).await.map(drop)
}

async fn size(node: &Node, revision: &str, wanted: &str) -> Result<()> {
    eventually("its size", SOON, async || {
        let size = node.kubectl(&["get", "revision", revision, "-o", "jsonpath={.status.actualReplicas}"]).await?;
        ensure!(size == wanted, "{revision} has {size} instances, not {wanted}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_goes_to_zero_and_loses_no_request_of_a_burst_on_it() {
    with_node(async |node| {
        node.push("hello").await?;
        apply(node, "hello", "hello:v1").await?;
        ready(node).await?;
        size(node, "hello-00001", "0").await?;
        assert_eq!(node.kubectl(&["get", "pods", "-o", "name"]).await?.trim(), "");
        let calls = (0..200).map(|_| node.get(HOST, "/"));
        for answer in futures::future::try_join_all(calls).await? {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let named = node.get("127.0.0.1", "/function/hello").await?;
        assert_eq!(named.text(), "hello from nowhere\n");
        size(node, "hello-00001", "0").await?;
        assert_eq!(node.get(HOST, "/").await?.status, 200, "and again");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_updated_split_and_rolled_back_under_load() {
    with_node(async |node| {
        node.push("hello").await?;
        apply(node, "one", "hello:v1").await?;
        ready(node).await?;
        let load = Load::start(node.gateway(), HOST, 4);
        apply(node, "two", "hello:v1").await?;
        ready(node).await?;
        assert_eq!(node.get(HOST, "/").await?.text(), "two from nowhere\n");
        eyot(node, &["split", "hello", "v1=50", "v2=50"]).await?;
        let mut seen = [false, false];
        for _ in 0..64 {
            let said = node.get(HOST, "/").await?.text();
            seen[usize::from(said.starts_with("two"))] = true;
        }
        assert_eq!(seen, [true, true], "both answer");
        eyot(node, &["rollback", "hello", "--to", "v1"]).await?;
        assert_eq!(node.get(HOST, "/").await?.text(), "one from nowhere\n");
        assert!(eyot(node, &["list"]).await?.contains("hello-00001=100"));
        assert_eq!(eyot(node, &["invoke", "hello"]).await?, "one from nowhere\n");

        apply(node, "three", "none:v1").await?;
        eventually("the reason", SOON, async || {
            let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].message}"#;
            let said = node.kubectl(&["get", "configuration", "hello", "-o", path]).await?;
            ensure!(said.starts_with("Revision \"hello-00003\" failed with message: Container failed with:"), "{said}");
            Ok(())
        })
        .await?;
        let tally = load.stop().await?;
        assert_eq!(tally.failed, 0, "{tally:?}");
        assert!(tally.answered > 100, "{tally:?}");
        eyot(node, &["delete", "hello"]).await?;
        eventually("the end", SOON, async || {
            let left = node.kubectl(&["get", "revisions,deployments,httproutes", "-o", "name"]).await?;
            ensure!(left.trim().is_empty(), "{left}");
            Ok(())
        })
        .await
    })
    .await;
}
