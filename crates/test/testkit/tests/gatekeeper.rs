//! Gatekeeper's objects as a user of kubectl meets them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Node, eventually, with_node};
use serde_json::Value;

const TEMPLATE: &str = r#"
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: needslabels}
spec:
  crd:
    spec:
      names: {kind: NeedsLabels}
      validation:
        openAPIV3Schema:
          type: object
          properties:
            labels: {type: array, items: {type: string}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package needslabels
      violation[{"msg": msg}] {
        label := input.parameters.labels[_]
        not input.review.object.metadata.labels[label]
        msg := sprintf("label %v is missing", [label])
      }
"#;

fn constraint(name: &str, action: &str) -> String {
    format!(
        "apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: NeedsLabels\nmetadata: {{name: {name}}}\nspec:\n  \
         enforcementAction: {action}\n  match: {{kinds: [{{apiGroups: [\"\"], kinds: [ConfigMap]}}], namespaces: [default]}}\n  \
         parameters: {{labels: [team]}}\n"
    )
}

fn config_map(name: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {labels}}}\n")
}

async fn status(node: &Node, name: &str) -> Result<Value> {
    let text = node.kubectl(&["get", "needslabels", name, "-o", "json"]).await?;
    let object: Value = serde_json::from_str(&text).context("kubectl prints JSON")?;
    Ok(object["status"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_and_its_constraint_are_enforced() {
    with_node(async |node| {
        node.apply_text(TEMPLATE).await?;
        let created =
            node.kubectl(&["get", "constrainttemplate", "needslabels", "-o", "jsonpath={.status.created}"]).await?;
        ensure!(created == "true", "{created}");
        node.apply_text(&constraint("teams", "deny")).await?;
        let refused = node.apply_outcome(&config_map("bad", "{}")).await?;
        let wanted = "admission webhook \"validation.gatekeeper.sh\" denied the request: [teams] label team is missing";
        ensure!(refused.code != 0 && refused.stderr.contains(wanted), "{}", refused.stderr);
        ensure!(refused.stderr.contains("(Forbidden)"), "{}", refused.stderr);
        node.apply_text(&config_map("good", "{team: a}")).await?;
        // Elsewhere nobody asks for labels.
        node.kubectl(&["create", "namespace", "away"]).await?;
        node.kubectl_stdin(&["apply", "-n", "away", "-f", "-"], &config_map("bad", "{}")).await?;

        node.apply_text(&constraint("teams", "warn")).await?;
        let warned = node.apply_outcome(&config_map("warned", "{}")).await?;
        ensure!(
            warned.code == 0 && warned.stderr.contains("Warning: [teams] label team is missing"),
            "{}",
            warned.stderr
        );
        node.apply_text(&constraint("teams", "dryrun")).await?;
        let quiet = node.apply_outcome(&config_map("quiet", "{}")).await?;
        ensure!(quiet.code == 0 && !quiet.stderr.contains("label"), "{}", quiet.stderr);

        node.kubectl(&["delete", "constrainttemplate", "needslabels", "--timeout=60s"]).await?;
        node.apply_text(&config_map("free", "{}")).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_template_is_refused_and_the_one_before_stays() {
    with_node(async |node| {
        node.apply_text(TEMPLATE).await?;
        node.apply_text(&constraint("teams", "deny")).await?;
        let broken = node.apply_outcome(&TEMPLATE.replace("label := input", "label := nothing")).await?;
        let wanted = "spec.targets[0].rego: line 3, column";
        ensure!(broken.code != 0 && broken.stderr.contains(wanted), "{}", broken.stderr);
        let renamed = node.apply_outcome(&TEMPLATE.replace("kind: NeedsLabels", "kind: NEEDSLabels")).await?;
        ensure!(renamed.code != 0 && renamed.stderr.contains("can not be changed"), "{}", renamed.stderr);
        let refused = node.apply_outcome(&config_map("bad", "{}")).await?;
        ensure!(refused.code != 0 && refused.stderr.contains("[teams] label team is missing"), "{}", refused.stderr);
        // What was in force is so after a start, before anybody is answered.
        node.stop().await?;
        node.restart().await?;
        let refused = node.apply_outcome(&config_map("bad", "{}")).await?;
        ensure!(refused.code != 0 && refused.stderr.contains("[teams] label team is missing"), "{}", refused.stderr);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_fills_the_status_of_constraints() {
    with_node(async |node| {
        for n in 0..25 {
            node.apply_text(&config_map(&format!("old-{n}"), "{}")).await?;
        }
        node.apply_text(TEMPLATE).await?;
        node.apply_text(&constraint("teams", "dryrun")).await?;
        let found = eventually("the audit to tell of violations", Duration::from_secs(30), async || {
            let status = status(node, "teams").await?;
            ensure!(status["totalViolations"].as_u64().is_some_and(|total| total >= 25), "{status}");
            Ok(status)
        })
        .await?;
        let listed = found["violations"].as_array().context("violations are listed")?;
        ensure!(listed.len() == 20, "{} are listed", listed.len());
        let first = &listed[0];
        ensure!(first["kind"] == "ConfigMap" && first["namespace"] == "default", "{first}");
        ensure!(first["enforcementAction"] == "dryrun" && first["message"] == "label team is missing", "{first}");
        ensure!(found["auditTimestamp"].is_string() && found["byPod"][0]["enforced"] == true, "{found}");
        let listed = node.kubectl(&["get", "constraints"]).await?;
        ensure!(listed.contains("ENFORCEMENT-ACTION") && listed.contains("dryrun"), "{listed}");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutators_change_what_is_written() {
    with_node(async |node| {
        node.apply_text(
            "apiVersion: mutations.gatekeeper.sh/v1\nkind: AssignMetadata\nmetadata: {name: owner}\nspec:\n  \
             match: {kinds: [{apiGroups: [\"\"], kinds: [ConfigMap]}]}\n  location: metadata.labels.owner\n  \
             parameters: {assign: {value: platform}}\n",
        )
        .await?;
        node.apply_text(&config_map("made", "{}")).await?;
        node.apply_text(&config_map("kept", "{owner: me}")).await?;
        for (name, want) in [("made", "platform"), ("kept", "me")] {
            let owner = node.kubectl(&["get", "configmap", name, "-o", "jsonpath={.metadata.labels.owner}"]).await?;
            ensure!(owner == want, "{name}: {owner}");
        }
        let refused = node
            .apply_outcome(
                "apiVersion: mutations.gatekeeper.sh/v1\nkind: Assign\nmetadata: {name: outside}\nspec:\n  \
                 applyTo: [{groups: [\"\"], versions: [v1], kinds: [Pod]}]\n  location: spec.x\n  \
                 parameters: {assign: {externalData: {provider: p}}}\n",
            )
            .await?;
        ensure!(refused.code != 0 && refused.stderr.contains("externalData"), "{}", refused.stderr);
        Ok(())
    })
    .await;
}
