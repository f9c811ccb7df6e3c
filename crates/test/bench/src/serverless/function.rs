//! Functions made and changed through the API.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Node, eventually};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::{Value, json};

use crate::watch;

/// Functions made at once.
const DEPLOYERS: usize = 16;
/// Longest that functions may take to be ready.
const READY_MAX: Duration = Duration::from_secs(180);
const SERVICES: &str = "/apis/serving.knative.dev/v1/namespaces/default/services";

/// A node with the image of `hello`, compiled, and a client.
pub(super) struct Place {
    pub(super) node: Node,
    pub(super) client: Client,
    pub(super) image: String,
}

impl Place {
    pub(super) async fn start() -> Result<Self> {
        let node = watch::node().await?;
        let client = node.client().await?;
        let image = node.localized("localhost:5000/hello:v1");
        let place = Place { node, client, image };
        place.apply("warm", json!({"initial-scale": "1"}), json!({})).await?;
        place.ready("warm").await?;
        place.answers("warm").await?;
        Ok(place)
    }

    /// The gateway's `host:port`.
    pub(super) fn address(&self) -> String {
        self.node.ready().http.trim_start_matches("http://").to_owned()
    }

    /// Makes a function of `hello`; `annotations` of its autoscaler go without their prefix.
    pub(super) async fn apply(&self, name: &str, annotations: Value, spec: Value) -> Result<()> {
        let image = self.image.clone();
        self.apply_image(name, &image, annotations, spec).await
    }

    /// Makes a function of any image.
    pub(super) async fn apply_image(&self, name: &str, image: &str, annotations: Value, mut spec: Value) -> Result<()> {
        let annotations: serde_json::Map<String, Value> = annotations
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (format!("autoscaling.knative.dev/{key}"), value.clone()))
            .collect();
        spec["containers"] = json!([{"image": image}]);
        let service = json!({
            "apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}},
        });
        let request = http::Request::post(SERVICES).header("content-type", "application/json");
        let request = request.body(service.to_string().into_bytes())?;
        self.client.request::<Value>(request).await.with_context(|| format!("making {name}"))?;
        Ok(())
    }

    /// Makes functions `PREFIX-0`, `PREFIX-1` … at zero, and waits until all are routed.
    pub(super) async fn many(&self, prefix: &str, count: usize) -> Result<Vec<String>> {
        let names: Vec<String> = (0..count).map(|it| format!("{prefix}-{it}")).collect();
        let made = stream::iter(&names).map(|it| self.apply(it, json!({"initial-scale": "0"}), json!({})));
        made.buffer_unordered(DEPLOYERS).try_collect::<()>().await?;
        for name in names.iter().rev().take(2 * DEPLOYERS) {
            self.ready(name).await?;
        }
        Ok(names)
    }

    /// Merges a patch into a function.
    pub(super) async fn patch(&self, name: &str, patch: &Value) -> Result<Value> {
        let request = http::Request::patch(format!("{SERVICES}/{name}"));
        let request = request.header("content-type", "application/merge-patch+json");
        let request = request.body(patch.to_string().into_bytes())?;
        self.client.request(request).await.with_context(|| format!("changing {name}"))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.client.request(http::Request::get(path).body(Vec::new())?).await.with_context(|| format!("reading {path}"))
    }

    /// A function as it is.
    pub(super) async fn read(&self, name: &str) -> Result<Value> {
        self.get(&format!("{SERVICES}/{name}")).await
    }

    /// Waits until a function is ready as it was last written.
    pub(super) async fn ready(&self, name: &str) -> Result<()> {
        eventually("a function is ready", READY_MAX, async || {
            let service = self.read(name).await?;
            let rows = service["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
            ensure!(service["status"]["observedGeneration"] == service["metadata"]["generation"], "it is not seen yet");
            ensure!(rows.iter().any(|it| it["type"] == "Ready" && it["status"] == "True"), "{}", service["status"]);
            Ok(())
        })
        .await
    }

    /// Waits until a function answers.
    pub(super) async fn answers(&self, name: &str) -> Result<()> {
        eventually("a function answers", READY_MAX, async || {
            let answer = self.node.get(&host(name), "/").await?;
            ensure!(answer.status == 200, "{}", answer.status);
            Ok(())
        })
        .await
    }
}

/// The host of a function.
pub(super) fn host(name: &str) -> String {
    format!("{name}.default.localhost")
}
