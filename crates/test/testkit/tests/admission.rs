//! What a namespace's administrator does: quotas, limits, pod security, a webhook, with the real kubectl.

use std::time::Duration;

use anyhow::ensure;
use eyot_testkit::{eventually, with_node};

const SOON: Duration = Duration::from_secs(30);

#[track_caller]
fn has(text: &str, words: &[&str]) {
    let text = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    let text = text.join("\n");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_and_a_limit_range_hold_a_namespace() {
    with_node(async |node| {
        node.kubectl(&["create", "namespace", "small"]).await?;
        node.kubectl(&["-n", "small", "create", "quota", "q", "--hard=configmaps=2,requests.cpu=1,pods=5"]).await?;
        node.kubectl(&["-n", "small", "create", "configmap", "a"]).await?;
        // Every namespace holds the cluster's certificate as a ConfigMap of its own.
        eventually("the quota counts", SOON, async || {
            let told = node.kubectl(&["-n", "small", "describe", "quota", "q"]).await?;
            ensure!(told.split_whitespace().collect::<Vec<_>>().join(" ").contains("configmaps 2 2"), "{told}");
            Ok(())
        })
        .await?;
        let refused = node.kubectl_outcome(&["-n", "small", "create", "configmap", "b"]).await?;
        has(
            &refused.stderr,
            &["exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"],
        );
        let range = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: r, namespace: small}\nspec:\n  limits:\n  \
                     - {type: Container, max: {cpu: 800m}, defaultRequest: {cpu: 300m}}\n";
        node.apply_text(range).await?;
        node.kubectl(&["-n", "small", "run", "one", "--image=localhost:5000/none:1"]).await?;
        let cpu = ["-n", "small", "get", "pod", "one", "-o", "jsonpath={.spec.containers[0].resources.requests.cpu}"];
        assert_eq!(node.kubectl(&cpu).await?, "300m");
        let large =
            r#"--overrides={"spec":{"containers":[{"name":"two","image":"x","resources":{"limits":{"cpu":"2"}}}]}}"#;
        let refused = node.kubectl_outcome(&["-n", "small", "run", "two", "--image=x", large]).await?;
        has(&refused.stderr, &["maximum cpu usage per Container is 800m, but limit is 2"]);
        // A restart forgets nothing of it.
        node.kill().await?;
        node.restart().await?;
        let refused = node.kubectl_outcome(&["-n", "small", "create", "configmap", "b"]).await?;
        has(&refused.stderr, &["exceeded quota: q"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_security_refuses_and_warns() {
    with_node(async |node| {
        node.kubectl(&["create", "namespace", "strict"]).await?;
        let labels = ["pod-security.kubernetes.io/enforce=baseline", "pod-security.kubernetes.io/warn=restricted"];
        node.kubectl(&[&["label", "namespace", "strict"][..], &labels[..]].concat()).await?;
        let open = r#"--overrides={"spec":{"hostNetwork":true}}"#;
        let refused = node.kubectl_outcome(&["-n", "strict", "run", "open", "--image=x", open]).await?;
        has(&refused.stderr, &["violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"]);
        let warned = node.kubectl_outcome(&["-n", "strict", "create", "deployment", "web", "--image=x"]).await?;
        has(
            &warned.stderr,
            &["Warning: would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"],
        );
        has(&warned.stdout, &["deployment.apps/web created"]);
        let wrong = ["label", "namespace", "strict", "--overwrite", "pod-security.kubernetes.io/enforce=hard"];
        has(&node.kubectl_outcome(&wrong).await?.stderr, &["must be one of privileged, baseline, restricted"]);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_away_stops_writes_until_it_is_taken_away() {
    with_node(async |node| {
        let hook = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\n\
                    metadata: {name: away}\nwebhooks:\n- name: away.example.com\n  sideEffects: None\n  \
                    admissionReviewVersions: [v1]\n  timeoutSeconds: 1\n  clientConfig:\n    service: {name: hook, \
                    namespace: default, path: /judge}\n    caBundle: \"\"\n  rules:\n  - {operations: [CREATE], \
                    apiGroups: [\"\"], apiVersions: [v1], resources: [configmaps], scope: Namespaced}\n";
        node.apply_text(hook).await?;
        let refused = node.kubectl_outcome(&["create", "configmap", "a"]).await?;
        has(
            &refused.stderr,
            &["failed calling webhook \"away.example.com\"", "https://hook.default.svc:443/judge?timeout=1s"],
        );
        // Not for a moment after a restart is it forgotten.
        node.kill().await?;
        node.restart().await?;
        let refused = node.kubectl_outcome(&["create", "configmap", "a"]).await?;
        has(&refused.stderr, &["failed calling webhook"]);
        node.kubectl(&["delete", "validatingwebhookconfiguration", "away"]).await?;
        node.kubectl(&["create", "configmap", "a"]).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_and_flows_are_there_from_the_start() {
    with_node(async |node| {
        let classes = node.kubectl(&["get", "priorityclasses"]).await?;
        has(&classes, &["system-cluster-critical 2000000000 false", "system-node-critical 2000001000 false"]);
        let flows = node.kubectl(&["get", "flowschemas"]).await?;
        has(
            &flows,
            &[
                "exempt exempt 1 <none>",
                "global-default global-default 9900 ByUser",
                "catch-all catch-all 10000 ByUser",
            ],
        );
        let levels = node.kubectl(&["get", "prioritylevelconfigurations"]).await?;
        has(&levels, &["exempt Exempt", "workload-low Limited 100 128 6 50"]);
        Ok(())
    })
    .await;
}
