//! Functions at zero that answer before any object of theirs is written.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{Node, eventually, with_node};

const SOON: Duration = Duration::from_secs(60);
const HOST: &str = "hello.default.localhost";

/// A function that is deployed at zero.
async fn apply(node: &Node, image: &str, env: &str) -> Result<()> {
    let manifest = format!(
        r#"{{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {{"name": "hello"}},
        "spec": {{"template": {{
            "metadata": {{"annotations": {{
                "autoscaling.knative.dev/window": "6s", "autoscaling.knative.dev/initial-scale": "0"}}}},
            "spec": {{"containers": [{{"image": "localhost:5000/{image}", "env": {env}}}]}}}}}}}}"#
    );
    node.apply_text(&manifest).await?;
    node.kubectl(&["wait", "ksvc/hello", "--for=condition=Ready", "--timeout=60s"]).await?;
    // What is at zero is made ready as soon as it is seen.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}

async fn pods(node: &Node) -> Result<String> {
    node.kubectl(&["get", "pods", "-l", "serving.knative.dev/service=hello", "-o", "name"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_at_zero_answers_while_its_pod_cannot_be_made_yet() {
    with_node(async |node| {
        node.push_bytes(&talker()?, "talker:v1").await?;
        apply(node, "talker:v1", "[]").await?;
        assert_eq!(pods(node).await?.trim(), "");
        node.kubectl(&["create", "quota", "none", "--hard=pods=0"]).await?;
        assert_eq!(node.get(HOST, "/").await?.status, 200);
        let burst = (0..200).map(|_| node.get(HOST, "/"));
        for answer in futures::future::try_join_all(burst).await? {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(pods(node).await?.trim(), "", "none of them waited for a pod");
        node.kubectl(&["delete", "quota", "none"]).await?;
        eventually("its pod", SOON, async || {
            ensure!(!pods(node).await?.trim().is_empty(), "there is none");
            Ok(())
        })
        .await?;
        // All of it was printed before the pod was there.
        eventually("what was printed before", SOON, async || {
            let log = node.kubectl(&["logs", "-l", "serving.knative.dev/service=hello", "--tail=-1"]).await?;
            let count = log.matches("hello, world").count();
            ensure!(count == 201, "{count} lines");
            Ok(())
        })
        .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_early_is_the_function_as_it_is_and_ends_with_it() {
    with_node(async |node| {
        node.push("hello").await?;
        node.kubectl(&["create", "configmap", "settings", "--from-literal=greeting=one"]).await?;
        let env =
            r#"[{"name": "GREETING", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "greeting"}}}]"#;
        apply(node, "hello:v1", env).await?;
        node.kubectl(&["patch", "configmap", "settings", "-p", r#"{"data": {"greeting": "two"}}"#]).await?;
        eventually("the new greeting", SOON, async || {
            let said = node.get(HOST, "/").await?.text();
            ensure!(said == "two from nowhere\n", "{said:?}");
            Ok(())
        })
        .await?;
        node.kubectl(&["delete", "ksvc", "hello"]).await?;
        eventually("the end", SOON, async || {
            let status = node.get(HOST, "/").await?.status;
            ensure!(status == 404, "{status}");
            Ok(())
        })
        .await?;
        // The same name again is another revision: nothing of the old one answers for it.
        apply(node, "hello:v1", r#"[{"name": "GREETING", "value": "three"}]"#).await?;
        for _ in 0..20 {
            assert_eq!(node.get(HOST, "/").await?.text(), "three from nowhere\n");
        }
        Ok(())
    })
    .await;
}

/// A guest that prints a line and then answers.
fn talker() -> Result<Vec<u8>> {
    let source = include_str!("../../../shell/runtime/tests/guests/http.wat");
    let line = "(i32.store8 (i32.const 1036) (i32.const 10)) (drop (call $put (call $get-stderr) (i32.const 1024) (i32.const 13)))";
    let handle = format!("{line} (call $hello (local.get $outparam))");
    Ok(wat::parse_str(source.replace(";;HANDLE;;", &handle))?)
}
