//! Test suites in the form of `gator verify`.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use eyot_gatekeeper::suite;

const TEMPLATE: &str = r#"
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: names}
spec:
  crd:
    spec:
      names: {kind: Names}
      validation:
        openAPIV3Schema:
          type: object
          description: "Names, and
          nothing else."
          properties:
            prefix: {type: string, default: "x-"}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package names
      violation[{"msg": msg}] {
        name := input.review.object.metadata.name
        not startswith(name, input.parameters.prefix)
        msg := sprintf("%v does not begin with %v", [name, input.parameters.prefix])
      }
      violation[{"msg": "taken"}] {
        data.inventory.cluster["v1"].Namespace[input.review.object.metadata.name]
      }
"#;

const SUITE: &str = r#"
apiVersion: test.gatekeeper.sh/v1alpha1
kind: Suite
tests:
- name: names
  template: template.yaml
  constraint: constraint.yaml
  cases:
  - {name: good, object: good.yaml, assertions: [{violations: no}]}
  - {name: bad, object: bad.yaml, assertions: [{violations: 1, message: does not begin with x-}]}
  - {name: taken, object: good.yaml, inventory: [good.yaml], assertions: [{violations: yes, message: taken}]}
  - {name: wrong, object: bad.yaml, assertions: [{violations: no}]}
  - {name: left, object: bad.yaml, skip: true, assertions: [{violations: no}]}
  - {name: gone, object: gone.yaml, assertions: [{violations: no}]}
- name: refused
  template: template.yaml
  constraint: invalid.yaml
  invalid: true
"#;

fn check(filter: &str, want: Expect) {
    let namespace = |name: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let constraint = |spec: &str| {
        format!("apiVersion: constraints.gatekeeper.sh/v1beta1\nkind: Names\nmetadata: {{name: n}}\nspec: {spec}\n")
    };
    let files = BTreeMap::from([
        ("d/suite.yaml".to_owned(), SUITE.to_owned()),
        ("d/template.yaml".to_owned(), TEMPLATE.to_owned()),
        ("d/constraint.yaml".to_owned(), constraint("{}")),
        ("d/invalid.yaml".to_owned(), constraint("{parameters: {prefix: [1]}}")),
        ("d/good.yaml".to_owned(), namespace("x-a")),
        ("d/bad.yaml".to_owned(), namespace("a")),
    ]);
    let read = |path: &str| files.get(path).cloned().ok_or_else(|| format!("{path}: not found"));
    let outcomes = suite::run("d/suite.yaml", &read, 0, filter).expect("the suite is read");
    let told: Vec<String> = outcomes
        .iter()
        .map(|it| {
            let how = if it.skipped { "skipped" } else { it.failure.as_deref().unwrap_or("passed") };
            format!("{}/{}: {how}\n", it.test, it.case)
        })
        .collect();
    want.assert_eq(&told.concat());
}

#[test]
fn cases_pass_and_fail() {
    check(
        "",
        expect![[r#"
        names/good: passed
        names/bad: passed
        names/taken: passed
        names/wrong: got 1 violations but want none: got messages ["a does not begin with x-"]
        names/left: skipped
        names/gone: d/gone.yaml: not found
        refused/: passed
    "#]],
    );
}

#[test]
fn a_part_of_a_name_chooses() {
    check(
        "names/ba",
        expect![[r#"
        names/bad: passed
        refused/: passed
    "#]],
    );
}
