//! Instances that are reused because a pod's annotations ask for it.

use std::time::Duration;

use anyhow::{Result, ensure};
use eyot_testkit::{eventually, with_node};

const SOON: Duration = Duration::from_secs(60);

/// Answers with status 200 to the first request of an instance, 201 to the second, and so on.
fn counter() -> Result<Vec<u8>> {
    let source = include_str!("../../../shell/runtime/tests/guests/http.wat");
    let handle = "(call $drop-request (local.get $request))
        (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
        (local.set $body (call $open (local.get $outparam) (i32.add (i32.const 199) (i32.load (i32.const 2048)))))
        (local.set $stream (call $stream (local.get $body)))
        (call $close (local.get $stream) (local.get $body))";
    Ok(wat::parse_str(source.replace(";;HANDLE;;", handle))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_a_function_answers_as_often_as_its_template_says() {
    with_node(async |node| {
        node.push_bytes(&counter()?, "counter:v1").await?;
        node.apply_text(
            r#"{"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "counter"},
            "spec": {"template": {
                "metadata": {"annotations": {"autoscaling.knative.dev/min-scale": "1", "eyot.io/instance-reuse": "3"}},
                "spec": {"containers": [{"image": "localhost:5000/counter:v1"}]}}}}"#,
        )
        .await?;
        node.kubectl(&["wait", "ksvc/counter", "--for=condition=Ready", "--timeout=60s"]).await?;
        let mut statuses = Vec::new();
        for _ in 0..7 {
            statuses.push(node.get("counter.default.localhost", "/").await?.status);
        }
        ensure!(statuses == [200, 201, 202, 200, 201, 202, 200], "{statuses:?}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_means_nothing_keeps_a_pod_from_starting_and_says_why() {
    with_node(async |node| {
        node.push_bytes(&counter()?, "counter:v1").await?;
        node.push_bytes(&wat::parse_str(r#"(module (func (export "_start")))"#)?, "command:v1").await?;
        let pod = |name: &str, image: &str, value: &str| {
            format!(
                r#"{{"apiVersion": "v1", "kind": "Pod",
                "metadata": {{"name": "{name}", "annotations": {{"eyot.io/instance-reuse": "{value}"}}}},
                "spec": {{"restartPolicy": "Never", "containers": [{{"name": "main", "image": "localhost:5000/{image}:v1"}}]}}}}"#
            )
        };
        node.apply_text(&pod("wrong", "counter", "often")).await?;
        node.apply_text(&pod("unused", "command", "10")).await?;
        eventually("the reason in the status", SOON, async || {
            let waiting = "jsonpath={.status.containerStatuses[0].state.waiting}";
            let said = node.kubectl(&["get", "pod", "wrong", "-o", waiting]).await?;
            let wanted = "annotation eyot.io/instance-reuse: ";
            ensure!(said.contains("CreateContainerConfigError") && said.contains(wanted), "{said}");
            Ok(())
        })
        .await?;
        eventually("both events", SOON, async || {
            let events = node.kubectl(&["get", "events", "-o", "custom-columns=R:.reason,M:.message"]).await?;
            ensure!(events.contains("is no number of requests from 1 to 1000000"), "{events}");
            ensure!(events.contains("UnusedAnnotation"), "{events}");
            Ok(())
        })
        .await?;
        node.kubectl(&["wait", "pod/unused", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"]).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_that_do_nothing_are_told() {
    with_node(async |node| {
        node.push_bytes(&counter()?, "counter:v1").await?;
        node.push_bytes(&wat::parse_str(r#"(module (func (export "_start")))"#)?, "command:v1").await?;
        for (name, image, annotation) in
            [("misspelt", "counter", "eyot.io/alowed-hosts"), ("timed", "command", "eyot.io/request-timeout")]
        {
            node.apply_text(&format!(
                r#"{{"apiVersion": "v1", "kind": "Pod",
                "metadata": {{"name": "{name}", "annotations": {{"{annotation}": "5"}}}},
                "spec": {{"restartPolicy": "Never", "containers": [{{"name": "main", "image": "localhost:5000/{image}:v1"}}]}}}}"#
            ))
            .await?;
        }
        eventually("both events", SOON, async || {
            let events = node.kubectl(&["get", "events", "-o", "custom-columns=R:.reason,M:.message"]).await?;
            for wanted in ["eyot.io/alowed-hosts is not known", "eyot.io/request-timeout is not used"] {
                ensure!(events.lines().any(|it| it.starts_with("UnusedAnnotation") && it.contains(wanted)), "{events}");
            }
            Ok(())
        })
        .await
    })
    .await;
}
