use std::collections::HashMap;

use expect_test::{Expect, expect};

use super::*;

struct Texts(HashMap<&'static str, &'static str>);

impl Files for Texts {
    fn read(&self, path: &str) -> Result<String, String> {
        self.0.get(path).map(|it| (*it).to_owned()).ok_or_else(|| "no such file".to_owned())
    }
}

fn check(files: &[(&'static str, &'static str)], test: &str, expected: Expect) {
    let files = Texts(files.iter().copied().collect());
    let shown = match run(test, &files, "2024-05-06T07:08:09Z".parse().unwrap()) {
        Err(why) => why,
        Ok(report) => {
            let line = |it: &Row| {
                let ok = if it.ok { "ok" } else { "NOT OK" };
                format!("{ok}: {} {} {}: {} | {}\n", it.policy, it.rule, it.resource, it.reason, it.message)
            };
            report.rows.iter().map(line).collect()
        }
    };
    expected.assert_eq(&shown);
}

const LABELS: &str = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: labels}
spec:
  rules:
  - name: team
    match: {any: [{resources: {kinds: [Pod]}}]}
    validate:
      failureAction: Enforce
      message: "{{ request.object.metadata.name }} needs a team"
      pattern: {metadata: {labels: {team: "?*"}}}
"#;

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: good, labels: {team: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: bad}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: deploy}
spec: {template: {metadata: {labels: {team: b}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
"#;

#[test]
fn patterns_pass_and_fail() {
    let test = r#"
apiVersion: cli.kyverno.io/v1alpha1
kind: Test
metadata: {name: t}
policies: [../policy.yaml]
resources: [pods.yaml]
results:
- {policy: labels, rule: team, kind: Pod, resources: [good], result: pass}
- {policy: labels, rule: team, kind: Pod, resources: [bad], result: fail}
- {policy: labels, rule: team, kind: Pod, resources: [default/bad], result: pass}
- {policy: labels, rule: team, kind: Deployment, resources: [deploy], result: pass}
- {policy: labels, rule: team, kind: ConfigMap, resources: [other], result: pass}
- {policy: gone, rule: team, kind: Pod, resources: [good], result: pass}
"#;
    check(
        &[("../policy.yaml", LABELS), ("pods.yaml", PODS)],
        test,
        expect![[r#"
            ok: labels team v1/Pod/default/good: Ok | validation rule 'team' passed.
            ok: labels team v1/Pod/default/bad: Ok | validation error: bad needs a team. rule team failed at path /metadata/labels/
            NOT OK: labels team v1/Pod/default/bad: Want pass, got fail | validation error: bad needs a team. rule team failed at path /metadata/labels/
            ok: labels autogen-team apps/v1/Deployment/default/deploy: Ok | validation rule 'autogen-team' passed.
            ok: labels team v1/ConfigMap/default/other: Excluded | 
            NOT OK: gone team v1/Pod/default/good: Not found | 
        "#]],
    );
}

#[test]
fn changes_and_generated_objects_are_compared() {
    let policy = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: both}
spec:
  rules:
  - name: add
    match: {any: [{resources: {kinds: [Namespace]}}]}
    mutate: {patchStrategicMerge: {metadata: {labels: {+(added): "{{ request.operation }}"}}}}
---
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: make}
spec:
  rules:
  - name: quota
    match: {any: [{resources: {kinds: [Namespace]}}]}
    generate:
      apiVersion: v1
      kind: ConfigMap
      name: defaults
      namespace: "{{ request.object.metadata.name }}"
      synchronize: true
      data: {data: {key: value}}
"#;
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: team}}";
    let patched = "{apiVersion: v1, kind: Namespace, metadata: {name: team, labels: {added: CREATE}}}";
    let made = "{apiVersion: v1, kind: ConfigMap, metadata: {name: defaults, namespace: team}, data: {key: other}}";
    let test = r#"
kind: Test
metadata: {name: t}
policies: [p.yaml]
resources: [n.yaml]
results:
- {policy: both, rule: add, kind: Namespace, resources: [team], result: pass, patchedResources: patched.yaml}
- {policy: make, rule: quota, kind: Namespace, resources: [team], result: pass, generatedResource: made.yaml}
"#;
    check(
        &[("p.yaml", policy), ("n.yaml", namespace), ("patched.yaml", patched), ("made.yaml", made)],
        test,
        expect![[r#"
            ok: both add v1/Namespace//team: Ok | mutated Namespace/team
            NOT OK: make quota v1/ConfigMap/team/defaults: Resource diff | .data.key is "value", not "other"
        "#]],
    );
}

#[test]
fn values_stand_for_what_only_a_server_knows() {
    let policy = r#"
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: allowed}
spec:
  rules:
  - name: registry
    match: {any: [{resources: {kinds: [Pod], namespaceSelector: {matchLabels: {checked: done}}}}]}
    context:
    - {name: allowed, configMap: {name: allowed, namespace: default}}
    preconditions: {all: [{key: "{{ request.operation }}", operator: Equals, value: UPDATE}]}
    validate:
      message: not from there
      foreach:
      - list: request.object.spec.containers
        deny:
          conditions:
            all:
            - {key: "{{ images.containers.\"{{ element.name }}\".registry }}", operator: AnyNotIn, value: "{{ allowed.data.registries }}"}
"#;
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns}, spec: {containers: [{name: c, image: ghcr.io/x}]}}";
    let values = r#"
globalValues: {request.operation: UPDATE}
namespaceSelector: [{name: ns, labels: {checked: done}}]
policies:
- name: allowed
  rules: [{name: registry, values: {allowed.data.registries: "[\"docker.io\"]"}}]
"#;
    let test = r#"
kind: Test
metadata: {name: t}
policies: [p.yaml]
resources: [pod.yaml]
variables: values.yaml
results:
- {policy: allowed, rule: registry, kind: Pod, resources: [ns/p], result: fail}
"#;
    check(
        &[("p.yaml", policy), ("pod.yaml", pod), ("values.yaml", values)],
        test,
        expect![[r#"
            ok: allowed registry v1/Pod/ns/p: Ok | validation failure: not from there
        "#]],
    );
}

#[test]
fn a_policy_that_does_not_compile_is_told() {
    let policy = LABELS.replace("pattern:", "patern:");
    let policy: &'static str = Box::leak(policy.into_boxed_str());
    let test = r#"
kind: Test
policies: [p.yaml]
resources: [pods.yaml]
results: [{policy: labels, rule: team, kind: Pod, resources: [good], result: pass}]
"#;
    check(
        &[("p.yaml", policy), ("pods.yaml", PODS)],
        test,
        expect![[r#"
            NOT OK: labels team v1/Pod/default/good: Not judged | spec.rules[0].validate.patern: unknown field `patern`, expected one of `failureAction`, `failureActionOverrides`, `allowExistingViolations`, `message`, `manifests`, `foreach`, `pattern`, `anyPattern`, `deny`, `podSecurity`, `cel`, `assert`
        "#]],
    );
}
