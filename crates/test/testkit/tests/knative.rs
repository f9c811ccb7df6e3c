//! Knative's API as its client `kn` calls it, and revisions that scale by a HorizontalPodAutoscaler.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use eyot_testkit::{Load, Node, eventually, with_node};
use futures::AsyncBufReadExt;
use futures::TryStreamExt;
use http::{Method, Request};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(90);
const API: &str = "/apis/serving.knative.dev/v1/namespaces/default";

/// The API as a client with generated types uses it.
struct Kn<'a> {
    node: &'a Node,
    client: kube::Client,
}

impl<'a> Kn<'a> {
    async fn new(node: &'a Node) -> Result<Self> {
        Ok(Kn { node, client: node.client().await? })
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let kind = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let text = if body.is_null() { String::new() } else { self.node.localized(&body.to_string()) };
        let request = Request::builder().method(method.clone()).uri(format!("{API}/{path}"));
        let request = request.header("content-type", kind).body(text.into_bytes())?;
        self.client.request(request).await.with_context(|| format!("{method} {path}"))
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.ask(Method::GET, path, Value::Null).await
    }

    /// Changes a Service as it was read, and writes the whole of it.
    async fn update(&self, name: &str, change: impl Fn(&mut Value)) -> Result<Value> {
        for _ in 0..10 {
            let mut service = self.get(&format!("services/{name}")).await?;
            change(&mut service);
            match self.ask(Method::PUT, &format!("services/{name}"), service).await {
                Err(error) if format!("{error:#}").contains("the object has been modified") => {}
                written => return written,
            }
        }
        bail!("somebody else always wrote first")
    }

    /// Watches from a version on until an event will do.
    async fn watch(&self, name: &str, from: &Value, enough: impl Fn(&str, &Value) -> bool) -> Result<Value> {
        let from = from["metadata"]["resourceVersion"].as_str().context("a version")?;
        let path = format!(
            "{API}/services?fieldSelector=metadata.name%3D{name}&resourceVersion={from}&timeoutSeconds=90&watch=true"
        );
        let lines = self.client.request_stream(Request::get(path).body(Vec::new())?).await?;
        let mut lines = std::pin::pin!(lines.lines());
        let found = async {
            while let Some(line) = lines.try_next().await? {
                let event: Value = serde_json::from_str(&line)?;
                if enough(event["type"].as_str().unwrap_or_default(), &event["object"]) {
                    return Ok(event["object"].clone());
                }
            }
            bail!("the watch of {name} ended")
        };
        tokio::time::timeout(SOON, found).await.with_context(|| format!("watching {name}"))?
    }

    /// Waits as `kn service … --wait` does: events of the generation that is seen, until one is ready.
    async fn ready(&self, name: &str, from: &Value) -> Result<Value> {
        let told = |service: &Value| {
            let rows = service["status"]["conditions"].as_array().cloned().unwrap_or_default();
            rows.iter().any(|it| it["type"] == "Ready" && it["status"] == "True")
        };
        let seen = |it: &Value| it["metadata"]["generation"] == it["status"]["observedGeneration"];
        self.watch(name, from, |kind, it| kind == "MODIFIED" && seen(it) && told(it)).await
    }
}

fn service(greeting: &str) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": "hello", "namespace": "default", "labels": {"team": "a"}, "creationTimestamp": null},
        "spec": {"template": {
            "metadata": {"annotations": {"client.knative.dev/updateTimestamp": "2026-01-01T00:00:00Z",
                "client.knative.dev/user-image": "localhost:5000/hello:v1"}, "creationTimestamp": null},
            "spec": {"containers": [{"image": "localhost:5000/hello:v1", "name": "", "resources": {},
                "env": [{"name": "GREETING", "value": greeting}]}]},
        }},
        "status": {},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_lives_through_all_that_kn_asks_of_it() {
    with_node(async |node| {
        node.push("hello").await?;
        let kn = Kn::new(node).await?;
        // create
        let made = kn.ask(Method::POST, "services", service("one")).await?;
        let first = kn.ready("hello", &made).await?;
        ensure!(first["status"]["url"].as_str().is_some_and(|it| it.starts_with("http://hello.default.")), "{first:#}");
        // list, describe, revision list
        let list = kn.get("services?limit=500").await?;
        ensure!(list["kind"] == "ServiceList" && list["items"].as_array().map(Vec::len) == Some(1), "{list:#}");
        let revisions = kn.get("revisions?labelSelector=serving.knative.dev%2Fservice%3Dhello").await?;
        let revision = &revisions["items"][0];
        ensure!(revision["metadata"]["labels"]["serving.knative.dev/configurationGeneration"] == "1", "{revision:#}");
        let digest = revision["status"]["containerStatuses"][0]["imageDigest"].as_str().unwrap_or_default();
        ensure!(digest.contains("@sha256:"), "{revision:#}");
        // update
        let written = kn
            .update("hello", |it| {
                it["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "two".into();
                it["metadata"]["labels"] = json!({"team": "b"});
            })
            .await?;
        let second = kn.ready("hello", &written).await?;
        ensure!(second["status"]["latestReadyRevisionName"] == "hello-00002", "{second:#}");
        ensure!(node.get("hello.default.localhost", "/").await?.text() == "two from nowhere\n", "the new one answers");
        // update --traffic --tag
        let written = kn
            .update("hello", |it| {
                it["spec"]["traffic"] = json!([
                    {"revisionName": "hello-00001", "latestRevision": false, "percent": 0, "tag": "old"},
                    {"latestRevision": true, "percent": 100},
                ]);
            })
            .await?;
        kn.ready("hello", &written).await?;
        ensure!(node.get("old-hello.default.localhost", "/").await?.text() == "one from nowhere\n", "by its tag");
        // route list, configuration
        let routes = kn.get("routes").await?;
        let route = &routes["items"][0];
        ensure!(
            route["status"]["traffic"][0]["tag"] == "old" && route["metadata"]["labels"]["team"] == "b",
            "{route:#}"
        );
        let configuration = kn.get("configurations/hello").await?;
        ensure!(configuration["metadata"]["labels"]["team"] == "b", "{configuration:#}");
        // A label that is gone is gone below too; apply patches what differs.
        let gone = json!({"metadata": {"labels": null, "annotations": {"a": "b"}}});
        kn.ask(Method::PATCH, "services/hello", gone).await?;
        eventually("labels follow", SOON, async || {
            let route = kn.get("routes/hello").await?;
            ensure!(
                route["metadata"]["labels"]["team"].is_null() && route["metadata"]["annotations"]["a"] == "b",
                "{route:#}"
            );
            Ok(())
        })
        .await?;
        // revision delete, service delete --wait
        kn.ask(Method::DELETE, "revisions/hello-00001", Value::Null).await?;
        let now = kn.get("services/hello").await?;
        let gone = kn.watch("hello", &now, |kind, _| kind == "DELETED");
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"});
        let (gone, deleted) = tokio::join!(gone, kn.ask(Method::DELETE, "services/hello", options));
        deleted?;
        gone?;
        let left = kn.get("revisions").await?;
        ensure!(left["items"].as_array().is_some_and(Vec::is_empty), "everything went before the Service: {left:#}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_of_class_hpa_follows_the_metric_it_names() {
    with_node(async |node| {
        node.push("hello").await?;
        let mut wanted = service("one");
        wanted["spec"]["template"]["metadata"]["annotations"] = json!({
            "autoscaling.knative.dev/class": "hpa.autoscaling.knative.dev",
            "autoscaling.knative.dev/metric": "http_requests_per_second",
            "autoscaling.knative.dev/target": "5", "autoscaling.knative.dev/max-scale": "3",
        });
        node.apply_text(&wanted.to_string()).await?;
        node.kubectl(&["wait", "ksvc/hello", "--for=condition=Ready", "--timeout=90s"]).await?;
        let load = Load::start(node.gateway(), "hello.default.localhost", 4);
        eventually("three instances", SOON, async || {
            let said = node.kubectl(&["get", "hpa", "hello-00001", "-o", "jsonpath={.status.desiredReplicas}"]).await?;
            ensure!(said == "3", "{said} instances");
            Ok(())
        })
        .await?;
        let told = node.kubectl(&["describe", "hpa", "hello-00001"]).await?;
        ensure!(told.contains("\"http_requests_per_second\" on pods"), "{told}");
        for (kind, reason) in [("ScalingActive", "ValidMetricFound"), ("ScalingLimited", "TooManyReplicas")] {
            let line = told.lines().find(|it| it.trim_start().starts_with(kind)).unwrap_or_default();
            ensure!(line.contains("True") && line.contains(reason), "{kind}: {told}");
        }
        let tally = load.stop().await?;
        ensure!(tally.failed == 0, "{tally:?}");
        // What is desired is not there yet.
        eventually("three instances are measured", SOON, async || {
            let top = node.kubectl(&["top", "pods", "--no-headers"]).await?;
            ensure!(top.lines().count() == 3 && top.contains("hello-00001-deployment-"), "{top}");
            Ok(())
        })
        .await?;
        node.kubectl(&["top", "nodes"]).await?;
        let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services.serving.knative.dev/hello/http_requests_total";
        let told: Value = serde_json::from_str(&node.kubectl(&["get", "--raw", path]).await?)?;
        ensure!(told["items"][0]["value"].as_str().is_some_and(|it| it.len() > 4), "{told:#}");
        let text = node.kubectl(&["get", "--raw", "/metrics"]).await?;
        ensure!(text.contains("eyot_service_requests_total{namespace=\"default\",service=\"hello-00001\",code=\"2xx\"}"), "{text}");
        ensure!(text.contains("eyot_httproute_requests_total{namespace=\"default\",httproute=\"hello\",code=\"2xx\"}"), "{text}");
        Ok(())
    })
    .await;
}

/// A component whose every request traps: 502.
fn broken() -> Result<Vec<u8>> {
    let text = include_str!("../../../shell/runtime/tests/guests/http.wat");
    Ok(wat::parse_str(text.replace(";;HANDLE;;", "(unreachable)"))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_traps_is_rolled_back_while_the_service_is_asked() {
    with_node(async |node| {
        node.push("hello").await?;
        node.push_bytes(&broken()?, "broken:v1").await?;
        let mut wanted = service("one");
        wanted["metadata"]["annotations"] = json!({
            "serving.knative.dev/rollout-duration": "60s", "analysis.eyot.io/request-success-rate": "95",
        });
        node.apply_text(&wanted.to_string()).await?;
        node.kubectl(&["wait", "ksvc/hello", "--for=condition=Ready", "--timeout=90s"]).await?;
        let load = Load::start(node.gateway(), "hello.default.localhost", 8);
        wanted["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost:5000/broken:v1".into();
        node.apply_text(&wanted.to_string()).await?;
        eventually("the end of the new revision", SOON, async || {
            let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
            let said = node.kubectl(&["get", "ksvc", "hello", "-o", path]).await?;
            ensure!(said == "RolledBack", "{said}");
            Ok(())
        })
        .await?;
        let tally = load.stop().await?;
        // A percent of the requests, until there were twenty of them.
        ensure!((1..200).contains(&tally.failed) && tally.answered > 10 * tally.failed, "{tally:?}");
        let load = Load::start(node.gateway(), "hello.default.localhost", 2);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = load.stop().await?;
        ensure!(after.failed == 0 && after.answered > 20, "{after:?}");
        let told = node.kubectl(&["describe", "ksvc", "hello"]).await?;
        ensure!(told.contains("was rolled back to \"hello-00001\""), "{told}");
        Ok(())
    })
    .await;
}
