//! Kinds that CustomResourceDefinitions define, as kubectl sees them.

use anyhow::{Result, ensure};
use eyot_testkit::{Node, with_node};

const DEFINITION: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.example.com
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Color, type: string, jsonPath: .spec.color, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: A thing to try.
        properties:
          spec:
            type: object
            x-kubernetes-validations:
            - {rule: "self.size < 10", message: "too big"}
            properties:
              size: {type: integer, default: 1, description: How big it is.}
              color: {type: string, enum: [red, green]}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"#;

fn widget(name: &str, spec: &str) -> String {
    format!("apiVersion: example.com/v1\nkind: Widget\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

async fn refused(node: &Node, manifest: &str, why: &str) -> Result<()> {
    let outcome = node.apply_outcome(manifest).await?;
    ensure!(outcome.code != 0 && outcome.stderr.contains(why), "{why:?} is missing in: {}", outcome.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defined_kind_is_one_like_any_other() {
    with_node(async |node| {
        node.apply_text(DEFINITION).await?;
        node.kubectl(&["wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=10s"]).await?;
        node.apply_text(&widget("a", "{color: red}")).await?;
        let wide = node.kubectl(&["get", "wd", "-o", "wide"]).await?;
        ensure!(wide.contains("SIZE") && wide.contains("COLOR") && wide.contains("red"), "{wide}");
        let narrow = node.kubectl(&["get", "widgets"]).await?;
        ensure!(narrow.contains("SIZE") && !narrow.contains("COLOR"), "{narrow}");
        let explained = node.kubectl(&["explain", "widget.spec.size"]).await?;
        ensure!(explained.contains("How big it is.") && explained.contains("integer"), "{explained}");
        node.kubectl(&["scale", "widget/a", "--replicas=3"]).await?;
        let size = node.kubectl(&["get", "widget", "a", "-o", "jsonpath={.spec.size} {.metadata.generation}"]).await?;
        ensure!(size == "3 2", "{size}");
        let again = node.apply_text(&widget("a", "{color: green}")).await?;
        ensure!(again.contains("widget.example.com/a configured"), "{again}");

        refused(node, &widget("b", "{size: big}"), "must be of type integer").await?;
        refused(node, &widget("b", "{size: 11}"), "too big").await?;
        refused(node, &widget("b", "{shape: round}"), "unknown field \"spec.shape\"").await?;
        refused(node, &widget("b", "{color: blue}"), "Unsupported value: \"blue\"").await?;
        refused(node, &DEFINITION.replace("type: integer, default: 1", "default: 1"), "properties[size].type").await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_objects_are_collected_and_go_with_their_namespace() {
    with_node(async |node| {
        node.apply_text(DEFINITION).await?;
        node.kubectl(&["create", "namespace", "away"]).await?;
        let uid = node.kubectl(&["create", "configmap", "owner", "-o", "jsonpath={.metadata.uid}"]).await?;
        let owned = format!(
            "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: owned\n  ownerReferences:\n  - {{apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid}}}\n"
        );
        node.apply_text(&owned).await?;
        node.kubectl_stdin(&["apply", "-n", "away", "-f", "-"], &widget("there", "{}")).await?;
        node.kubectl(&["delete", "configmap", "owner"]).await?;
        node.kubectl(&["wait", "--for=delete", "widget/owned", "--timeout=60s"]).await?;
        node.kubectl(&["delete", "namespace", "away", "--timeout=60s"]).await?;
        node.apply_text(&widget("last", "{}")).await?;
        node.kubectl(&["delete", "crd", "widgets.example.com", "--timeout=60s"]).await?;
        let gone = node.kubectl_outcome(&["get", "widgets"]).await?;
        // kubectl says so in one way or another, as it remembers what was served.
        ensure!(gone.code != 0, "{}", gone.stdout);
        Ok(())
    })
    .await;
}
