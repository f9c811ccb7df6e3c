//! `kubectl apply --server-side` as users do it: ownership, conflicts, and moving over from client-side apply.

use anyhow::Result;
use eyot_testkit::{Node, with_node};
use serde_json::Value;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, labels: {app: d}}
spec:
  replicas: 2
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec:
      containers:
      - name: c
        image: localhost:5000/absent:1
        ports: [{containerPort: 80}]
        resources: {limits: {cpu: 0.5, memory: 64Mi}}
";

const MAP: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: m}
data: {a: '1', b: '2'}
";

/// The exit code of an apply of a text, and what it said.
async fn apply(node: &Node, text: &str, more: &[&str]) -> Result<(i32, String)> {
    let args = [&["apply", "--server-side", "-f", "-"], more].concat();
    let outcome = node.kubectl_stdin(&args, text).await?;
    Ok((outcome.code, outcome.stdout + &outcome.stderr))
}

async fn object(node: &Node, of: &str) -> Result<Value> {
    Ok(serde_json::from_str(&node.kubectl(&["get", of, "-o", "json", "--show-managed-fields"]).await?)?)
}

/// `manager operation subresource` of each owner, in the order of the texts.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    let shown = entries.iter().map(|it| ["manager", "operation", "subresource"].map(|field| text(it, field)).join(" "));
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_applied_scaled_fought_over_and_taken() {
    with_node(async |node| {
        assert_eq!(apply(node, DEPLOYMENT, &[]).await?, (0, "deployment.apps/d serverside-applied\n".into()));
        node.kubectl(&["scale", "deployment", "d", "--replicas=3"]).await?;
        let (code, said) = apply(node, DEPLOYMENT, &[]).await?;
        assert_eq!(code, 1);
        let why = r#"conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas"#;
        assert!(said.contains(why), "{said}");
        let owned = owners(&object(node, "deployment/d").await?);
        assert!(owned.contains(&"kubectl Update scale".into()), "{owned:?}");

        assert_eq!(apply(node, DEPLOYMENT, &["--force-conflicts"]).await?.0, 0);
        let taken = object(node, "deployment/d").await?;
        assert_eq!(taken["spec"]["replicas"], 2);
        assert!(!owners(&taken).contains(&"kubectl Update scale".into()));

        let more = DEPLOYMENT.replace("replicas: 2", "replicas: 4");
        let outcome = node.kubectl_stdin(&["diff", "--server-side", "-f", "-"], &more).await?;
        assert!(outcome.code == 1 && outcome.stdout.contains("+  replicas: 4"), "{}", outcome.stdout);
        let (code, said) = apply(node, &more, &["--field-manager=other"]).await?;
        assert!(code == 1 && said.contains(r#"conflict with "kubectl": .spec.replicas"#), "{said}");
        let outcome = node.kubectl_stdin(&["diff", "--server-side", "-f", "-"], DEPLOYMENT).await?;
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""));

        let hidden = node.kubectl(&["get", "deployment", "d", "-o", "yaml"]).await?;
        assert!(!hidden.contains("managedFields"), "{hidden}");
        let pods: Value = serde_json::from_str(
            &node.kubectl(&["get", "pods", "-l", "app=d", "-o", "json", "--show-managed-fields"]).await?,
        )?;
        let pods = pods["items"].as_array().expect("a list").iter();
        assert!(pods.clone().count() > 0 && pods.clone().all(|it| owners(it).is_empty()));
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_moves_from_client_side_apply_and_back() {
    with_node(async |node| {
        node.apply_text(MAP).await?;
        assert_eq!(owners(&object(node, "cm/m").await?), ["kubectl-client-side-apply Update "]);
        assert_eq!(apply(node, MAP, &[]).await?.0, 0);
        assert_eq!(owners(&object(node, "cm/m").await?), ["kubectl Apply ", "kubectl-last-applied Apply "]);
        // What kubectl had applied before it moved can be let go of after.
        assert_eq!(apply(node, &MAP.replace(", b: '2'", ""), &[]).await?.0, 0);
        assert_eq!(object(node, "cm/m").await?["data"], serde_json::json!({"a": "1"}));
        // The annotation was kept up, so that going back works too.
        node.apply_text(MAP).await?;
        assert_eq!(object(node, "cm/m").await?["data"], serde_json::json!({"a": "1", "b": "2"}));
        node.kubectl(&["label", "cm", "m", "x=y"]).await?;
        let owned = owners(&object(node, "cm/m").await?);
        assert!(owned.contains(&"kubectl-label Update ".into()), "{owned:?}");
        Ok(())
    })
    .await;
}
