//! Kyverno's policies in force on a node, with the real kubectl.

use std::time::Duration;

use anyhow::ensure;
use eyot_testkit::{eventually, with_node};

const SOON: Duration = Duration::from_secs(30);

const POLICIES: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: require-team}
spec:
  rules:
  - name: team
    match: {any: [{resources: {kinds: [ConfigMap], namespaces: [default]}}]}
    validate:
      failureAction: Enforce
      message: a team is needed
      pattern: {metadata: {labels: {team: "?*"}}}
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: want-owner}
spec:
  emitWarning: true
  rules:
  - name: owner
    match: {any: [{resources: {kinds: [ConfigMap], namespaces: [default]}}]}
    validate:
      failureAction: Audit
      message: an owner is wanted
      pattern: {metadata: {annotations: {owner: "?*"}}}
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: mark}
spec:
  rules:
  - name: mark
    match: {any: [{resources: {kinds: [ConfigMap]}}]}
    mutate: {patchStrategicMerge: {metadata: {labels: {+(marked): "{{ request.operation }}"}}}}
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: defaults}
spec:
  rules:
  - name: defaults
    match: {any: [{resources: {kinds: [Namespace], names: ["team-*"]}}]}
    generate:
      apiVersion: v1
      kind: ConfigMap
      name: defaults
      namespace: "{{ request.object.metadata.name }}"
      synchronize: true
      data: {data: {made-for: "{{ request.object.metadata.name }}"}}
"#;

const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good, labels: {team: a}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn policies_refuse_warn_change_report_and_generate() {
    with_node(async |node| {
        node.apply_text(POLICIES).await?;
        let refused = node.kubectl_outcome(&["create", "configmap", "bad"]).await?;
        for words in [
            "admission webhook \"validate.kyverno.svc-fail\" denied the request",
            "resource ConfigMap/default/bad was blocked due to the following policies",
            "team: 'validation error: a team is needed. rule team failed at path /metadata/labels/team/'",
        ] {
            assert!(refused.stderr.contains(words), "{}", refused.stderr);
        }
        node.apply_text(GOOD).await?;
        let mark = ["get", "configmap", "good", "-o", "jsonpath={.metadata.labels.marked}"];
        assert_eq!(node.kubectl(&mark).await?, "CREATE");
        let warned = node.kubectl_outcome(&["label", "configmap", "good", "more=1"]).await?;
        assert!(warned.stderr.contains("Warning: policy want-owner.owner: validation error: an owner is wanted."));

        eventually("the report tells", SOON, async || {
            let columns = "custom-columns=K:.scope.name,P:.summary.pass,F:.summary.fail";
            let told = node.kubectl(&["get", "policyreports", "-n", "default", "-o", columns]).await?;
            let lines: Vec<String> =
                told.lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
            ensure!(lines.iter().any(|it| it == "good 1 1"), "{told}");
            Ok(())
        })
        .await?;

        node.kubectl(&["create", "namespace", "team-a"]).await?;
        eventually("the defaults are made", SOON, async || {
            let made = ["-n", "team-a", "get", "configmap", "defaults", "-o", "jsonpath={.data.made-for}"];
            ensure!(node.kubectl(&made).await? == "team-a");
            Ok(())
        })
        .await?;
        node.kubectl(&["delete", "clusterpolicy", "defaults"]).await?;
        eventually("the defaults go with their policy", SOON, async || {
            let gone = node.kubectl_outcome(&["-n", "team-a", "get", "configmap", "defaults"]).await?;
            ensure!(gone.stderr.contains("NotFound"), "{}", gone.stdout);
            Ok(())
        })
        .await?;

        // Not for a moment after a restart is anything forgotten.
        node.kill().await?;
        node.restart().await?;
        let refused = node.kubectl_outcome(&["create", "configmap", "bad"]).await?;
        assert!(refused.stderr.contains("was blocked"), "{}", refused.stderr);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_does_not_compile_is_refused_and_the_one_before_it_stays() {
    with_node(async |node| {
        node.apply_text(POLICIES).await?;
        let broken = POLICIES.replace("pattern: {metadata: {labels", "patern: {metadata: {labels");
        let refused = node.apply_text(&broken).await;
        let told = format!("{:?}", refused.err());
        assert!(told.contains("spec.rules[0].validate.patern: unknown field"), "{told}");
        let refused = node.kubectl_outcome(&["create", "configmap", "bad"]).await?;
        assert!(refused.stderr.contains("a team is needed"), "{}", refused.stderr);
        Ok(())
    })
    .await;
}
