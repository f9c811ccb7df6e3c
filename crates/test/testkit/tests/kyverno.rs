//! Kyverno's policies in force on a node, with the real kubectl.

use std::time::Duration;

use anyhow::ensure;
use eyot_testkit::{Options, eventually, with_node, with_node_of};

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

        for (about, wanted) in [
            (
                "involvedObject.name=require-team",
                "kyverno-admission PolicyViolation ConfigMap default/bad: [team] fail (blocked);",
            ),
            (
                "involvedObject.name=good",
                "kyverno-admission PolicyViolation policy want-owner/owner fail: validation error:",
            ),
            (
                "involvedObject.name=good",
                "kyverno-scan PolicyViolation policy want-owner/owner fail: validation error:",
            ),
        ] {
            let template = "go-template={{range .items}}{{.source.component}} {{.reason}} {{.message}}\n{{end}}";
            eventually(wanted, SOON, async || {
                let told = node.kubectl(&["get", "events", "--field-selector", about, "-o", template]).await?;
                ensure!(told.contains(wanted), "{told}");
                Ok(())
            })
            .await?;
        }

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

const IN_CEL: &str = r#"
apiVersion: policies.kyverno.io/v1alpha1
kind: ValidatingPolicy
metadata: {name: require-team}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  matchConditions: [{name: here, expression: object.metadata.namespace == 'default'}]
  validations:
  - expression: object.metadata.?labels.?team.orValue('') != '' || resource.Get('v1', 'configmaps', 'default', 'free') != null
    message: a team is needed
---
apiVersion: policies.kyverno.io/v1
kind: MutatingPolicy
metadata: {name: mark}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: Object.metadata.labels{marked: sha1('a')}}}"}
---
apiVersion: policies.kyverno.io/v1
kind: PolicyException
metadata: {name: free, namespace: default}
spec:
  policyRefs: [{name: require-team, kind: ValidatingPolicy}]
  matchConditions: [{name: named, expression: object.metadata.name == 'free'}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn policies_in_cel_refuse_change_look_up_and_report() {
    let options = Options { args: vec!["--kyverno-exceptions=def*".to_owned()], ..Options::default() };
    with_node_of(options, async |node| {
        node.apply_text(IN_CEL).await?;
        let refused = node.kubectl_outcome(&["create", "configmap", "bad"]).await?;
        let words =
            "admission webhook \"vpol.validate.kyverno.svc-fail\" denied the request: Policy require-team failed: a team";
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        node.kubectl(&["create", "configmap", "free"]).await?;
        let mark = ["get", "configmap", "free", "-o", "jsonpath={.metadata.labels.marked}"];
        assert_eq!(node.kubectl(&mark).await?, "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8");
        // What the policy looks up is there now.
        node.kubectl(&["create", "configmap", "late"]).await?;
        let results = ["get", "policyreports", "-o", "jsonpath={.items[*].results[*].result}"];
        eventually("an exception is reported", SOON, async || {
            let results = node.kubectl(&results).await?;
            ensure!(results.contains("skip") && results.contains("pass"), "{results}");
            Ok(())
        })
        .await?;
        let images = "apiVersion: policies.kyverno.io/v1\nkind: ImageValidatingPolicy\nmetadata: {name: i}\nspec: {}\n";
        let refused = node.apply_text(images).await.unwrap_err().to_string();
        assert!(refused.contains("ImageValidatingPolicy is not judged here"), "{refused}");
        Ok(())
    })
    .await;
}

const KEPT_AND_CLEANED: &str = r#"
apiVersion: kyverno.io/v2
kind: ClusterCleanupPolicy
metadata: {name: old}
spec:
  schedule: "@every 1s"
  match: {any: [{resources: {kinds: [ConfigMap], namespaces: [default]}}]}
  conditions: {all: [{key: "{{ target.data.old || '' }}", operator: Equals, value: "yes"}]}
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

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_is_cleaned_up_and_what_was_generated_comes_back() {
    with_node(async |node| {
        node.apply_text(KEPT_AND_CLEANED).await?;
        node.kubectl(&["create", "configmap", "old", "--from-literal=old=yes"]).await?;
        node.kubectl(&["create", "configmap", "new", "--from-literal=old=no"]).await?;
        node.kubectl(&["create", "namespace", "team-a"]).await?;
        let made = ["get", "configmap", "defaults", "-n", "team-a", "-o", "jsonpath={.metadata.uid} {.data.made-for}"];
        let mut first = String::new();
        eventually("an object is generated", SOON, async || {
            first = node.kubectl(&made).await?;
            Ok(())
        })
        .await?;
        node.kubectl(&["delete", "configmap", "defaults", "-n", "team-a"]).await?;
        eventually("another one is in its place", SOON, async || {
            let now = node.kubectl(&made).await?;
            ensure!(now != first && now.ends_with("team-a"), "{now}");
            Ok(())
        })
        .await?;
        let names = ["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"];
        eventually("what is old is gone", SOON, async || {
            let names = node.kubectl(&names).await?;
            ensure!(names.contains("new") && !names.contains("old"), "{names}");
            Ok(())
        })
        .await?;
        let ran = ["get", "ccleanpol", "old", "-o", "jsonpath={.status.lastExecutionTime}"];
        eventually("the status tells when", SOON, async || {
            ensure!(node.kubectl(&ran).await?.ends_with('Z'));
            Ok(())
        })
        .await
    })
    .await;
}

const MADE_IN_CEL: &str = r#"
apiVersion: policies.kyverno.io/v1
kind: GeneratingPolicy
metadata: {name: defaults}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [namespaces]}]
  matchConditions: [{name: team, expression: "object.metadata.name.startsWith('team-')"}]
  evaluation: {synchronize: {enabled: true}}
  variables: [{name: source, expression: "resource.Get('v1', 'configmaps', 'default', 'source')"}]
  generate:
  - expression: generator.Apply(object.metadata.name, [variables.source])
---
apiVersion: policies.kyverno.io/v1
kind: MutatingPolicy
metadata: {name: mark}
spec:
  evaluation: {admission: {enabled: false}, mutateExisting: {enabled: true}}
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  targetMatchConditions: [{name: here, expression: "object.metadata.namespace == 'default' && object.metadata.name == 'source'"}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: Object.metadata.labels{marked: 'yes'}}}"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: clean, labels: {rbac.kyverno.io/aggregate-to-cleanup-controller: "true"}}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [watch, list, delete]}]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn policies_in_cel_make_and_change_objects_and_labels_delete_them() {
    with_node(async |node| {
        let said = async |arguments: &[&str], wanted: &str| {
            eventually(wanted, SOON, async || {
                let outcome = node.kubectl_outcome(arguments).await?;
                let told = format!("{}{}", outcome.stdout, outcome.stderr);
                ensure!(told.contains(wanted), "{told}");
                Ok(())
            })
            .await
        };
        node.kubectl(&["create", "configmap", "source", "--from-literal=a=1"]).await?;
        node.apply_text(MADE_IN_CEL).await?;
        said(&["get", "configmap", "source", "-o", "jsonpath={.metadata.labels.marked}"], "yes").await?;

        node.kubectl(&["create", "namespace", "team-a"]).await?;
        let copied = ["-n", "team-a", "get", "configmap", "source", "-o", "jsonpath=a is {.data.a}"];
        said(&copied, "a is 1").await?;
        // Somebody's change does not last, and the source's is followed.
        node.kubectl(&["-n", "team-a", "patch", "configmap", "source", "-p", r#"{"data":{"a":"9"}}"#]).await?;
        said(&copied, "a is 1").await?;
        node.kubectl(&["patch", "configmap", "source", "-p", r#"{"data":{"a":"2"}}"#]).await?;
        said(&copied, "a is 2").await?;
        node.kubectl(&["delete", "generatingpolicy", "defaults"]).await?;
        said(&copied, "NotFound").await?;

        node.apply_text(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: brief, labels: {cleanup.kyverno.io/ttl: 1s}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {name: brief, labels: {cleanup.kyverno.io/ttl: 1s}}\n",
        )
        .await?;
        said(&["get", "configmap", "brief"], "NotFound").await?;
        // Nobody let Secrets be deleted.
        node.kubectl(&["get", "secret", "brief"]).await?;
        Ok(())
    })
    .await;
}

const AUTHOR: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: author, namespace: default}
rules:
- {apiGroups: [kyverno.io], resources: [policies], verbs: [create, get, patch, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: author, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: author}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}]
"#;

const BY_EVE: &str = r#"
apiVersion: kyverno.io/v1
kind: Policy
metadata: {name: defaults, namespace: default}
spec:
  rules:
  - name: defaults
    match: {any: [{resources: {kinds: [Secret]}}]}
    generate: {apiVersion: v1, kind: ConfigMap, name: made, namespace: default, data: {data: {a: b}}}
"#;

const READING: &str = r#"
apiVersion: kyverno.io/v1
kind: Policy
metadata: {name: reading, namespace: default}
spec:
  rules:
  - name: reading
    match: {any: [{resources: {kinds: [ConfigMap]}}]}
    context: [{name: it, apiCall: {urlPath: "/api/v1/namespaces/default/secrets/trigger"}}]
    validate: {message: "{{ it.data }}", deny: {}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_a_policy_do_what_they_may_not() {
    with_node(async |node| {
        node.apply_text(AUTHOR).await?;
        let as_eve = ["--as=eve", "-n", "default", "apply", "-f", "-"];
        let refused = node.kubectl_stdin(&as_eve, BY_EVE).await?;
        let words =
            "spec.rules[0].generate: the server would create configmaps in namespace \"default\" for this policy";
        assert!(refused.code != 0 && refused.stderr.contains(words), "{}", refused.stderr);
        let refused = node.kubectl_stdin(&as_eve, READING).await?;
        let words = "spec.rules[0].context: the server would get secrets in namespace \"default\" for this policy";
        assert!(refused.code != 0 && refused.stderr.contains(words), "{}", refused.stderr);
        let more = "rules:\n- {apiGroups: [\"\"], resources: [configmaps], verbs: [create]}";
        node.apply_text(&AUTHOR.replacen("rules:", more, 1)).await?;
        let taken = node.kubectl_stdin(&as_eve, BY_EVE).await?;
        assert_eq!(taken.code, 0, "{}", taken.stderr);
        node.kubectl(&["create", "secret", "generic", "trigger"]).await?;
        eventually("an object is generated", SOON, async || {
            ensure!(node.kubectl(&["get", "configmap", "made", "-o", "jsonpath={.data.a}"]).await? == "b");
            Ok(())
        })
        .await
    })
    .await;
}
