use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use eyot_model::kinds;
use eyot_policy::{Engine, Objects, Operation, Options, Outcome, Review, Turns, User};
use serde_json::{Value, json};

use super::autogen;
use crate::{Kyverno, Settings};

fn object(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": "p"}, "spec": spec})
}

fn pods() -> Value {
    json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": ["pods"]}]})
}

fn team(actions: &[&str]) -> Value {
    object(
        "ValidatingPolicy",
        json!({
            "matchConstraints": pods(),
            "validationActions": actions,
            "matchConditions": [{"name": "kept", "expression": "!object.metadata.name.startsWith('free')"}],
            "variables": [{"name": "labels", "expression": "object.metadata.?labels.orValue({})"}],
            "validations": [{"expression": "'team' in variables.labels", "messageExpression": "object.metadata.name + ' needs a team'"}],
        }),
    )
}

fn engine(objects: &[Value]) -> Kyverno {
    let engine = Kyverno::with(Settings { exceptions: Some("*".to_owned()), ..Settings::default() });
    for object in objects {
        let mut object = object.clone();
        engine.check(&mut object, None, &Objects::new([])).unwrap_or_else(|it| panic!("{it:?}"));
        engine.put(&object);
    }
    engine
}

fn with_review<T>(object: &Value, run: impl FnOnce(&Review<'_>) -> T) -> T {
    let (groups, extra) = (vec!["dev".to_owned()], BTreeMap::new());
    let text = |field: &str| object[field].as_str().unwrap();
    let kind = kinds::builtin().by_api_version(text("apiVersion"), text("kind")).unwrap();
    let namespace = json!({"metadata": {"name": "n"}});
    run(&Review {
        now: "2024-05-06T07:08:09Z".parse().unwrap(),
        operation: Operation::Create,
        resource: kind,
        requested: kind,
        subresource: "",
        namespace: "n",
        name: object["metadata"]["name"].as_str().unwrap(),
        user: User { name: "eve", uid: "", groups: &groups, extra: &extra },
        options: Options::default(),
        object,
        old: None,
        namespace_object: Some(&namespace),
    })
}

fn pod(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

fn deployment(labels: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
        "spec": {"template": {"metadata": {"name": "t", "labels": labels}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}})
}

fn check(objects: &[Value], judged: &Value, expected: Expect) {
    let engine = engine(objects);
    let told = with_review(judged, |review| {
        if !engine.wants(review) {
            return "not wanted".to_owned();
        }
        let verdict = engine.validate(review, &Objects::new([]));
        let denials = verdict.denials.into_iter().map(|it| it.message);
        denials.chain(verdict.warnings.into_iter().map(|it| format!("warning: {it}"))).collect::<Vec<_>>().join("\n")
    });
    expected.assert_eq(&told);
}

#[test]
fn a_demand_that_is_not_met_refuses_or_warns() {
    let refused = expect![[
        r#"admission webhook "vpol.validate.kyverno.svc-fail" denied the request: Policy p failed: a needs a team"#
    ]];
    check(&[team(&[])], &pod("a", json!({})), refused);
    check(&[team(&["Deny"])], &pod("a", json!({"team": "x"})), expect![""]);
    check(&[team(&["Warn"])], &pod("a", json!({})), expect!["warning: Policy p failed: a needs a team"]);
    check(&[team(&["Audit"])], &pod("a", json!({})), expect![""]);
    check(&[team(&["Deny"])], &pod("free", json!({})), expect![""]);
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}});
    check(&[team(&["Deny"])], &config, expect!["not wanted"]);
}

#[test]
fn controllers_of_pods_are_judged_by_their_templates() {
    let refused = expect![[
        r#"admission webhook "vpol.validate.kyverno.svc-fail" denied the request: Policy p failed: t needs a team"#
    ]];
    check(&[team(&["Deny"])], &deployment(json!({})), refused);
    let mut only_jobs = team(&["Deny"]);
    only_jobs["spec"]["autogen"] = json!({"podControllers": {"controllers": ["jobs"]}});
    check(&[only_jobs], &deployment(json!({})), expect!["not wanted"]);
}

#[test]
fn a_policy_of_a_namespace_is_about_that_namespace() {
    let mut policy = team(&["Deny"]);
    policy["kind"] = "NamespacedValidatingPolicy".into();
    policy["metadata"]["namespace"] = "other".into();
    check(&[policy.clone()], &pod("a", json!({})), expect![""]);
    policy["metadata"]["namespace"] = "n".into();
    let refused = expect![[
        r#"admission webhook "vpol.validate.kyverno.svc-fail" denied the request: Policy p failed: a needs a team"#
    ]];
    check(&[policy], &pod("a", json!({})), refused);
}

#[test]
fn failures_of_evaluation_follow_the_failure_policy() {
    let mut policy = team(&["Deny"]);
    policy["spec"]["validations"][0] = json!({"expression": "object.spec.gone == 1"});
    let refused = expect![[
        r#"admission webhook "vpol.validate.kyverno.svc-fail" denied the request: Policy p error: error: expression 'object.spec.gone == 1' resulted in error: no such key: gone"#
    ]];
    check(&[policy.clone()], &pod("a", json!({})), refused);
    policy["spec"]["failurePolicy"] = "Ignore".into();
    check(&[policy], &pod("a", json!({})), expect![""]);
}

#[test]
fn an_exception_excuses_the_policy_of_a_namespace_that_it_means_and_no_other_of_that_name() {
    let refused =
        r#"admission webhook "vpol.validate.kyverno.svc-fail" denied the request: Policy p failed: a needs a team"#;
    let mut policy = team(&["Deny"]);
    policy["kind"] = "NamespacedValidatingPolicy".into();
    policy["metadata"]["namespace"] = "n".into();
    for (namespace, name, excuses) in
        [("x", "p", false), ("n", "p", true), ("x", "n/p", true), ("n", "x/p", false), ("n", "n/q", false)]
    {
        let mut exception =
            object("PolicyException", json!({"policyRefs": [{"name": name, "kind": "NamespacedValidatingPolicy"}]}));
        exception["metadata"] = json!({"name": "e", "namespace": namespace});
        let told = if excuses { "" } else { refused };
        let engine = engine(&[policy.clone(), exception]);
        let denials = with_review(&pod("a", json!({})), |it| engine.validate(it, &Objects::new([])).denials);
        let said: Vec<String> = denials.into_iter().map(|it| it.message).collect();
        assert_eq!(said.concat(), told, "{namespace}: {name}");
    }
}

#[test]
fn exceptions_let_pass_wholly_or_give_values() {
    let exception = |spec: Value| {
        let mut made = object("PolicyException", spec);
        made["metadata"] = json!({"name": "e", "namespace": "x"});
        made["spec"]["policyRefs"] = json!([{"name": "p", "kind": "ValidatingPolicy"}]);
        made
    };
    let is_a = json!([{"name": "a", "expression": "object.metadata.name == 'a'"}]);
    let whole = exception(json!({"matchConditions": is_a}));
    check(&[team(&["Deny"]), whole.clone()], &pod("a", json!({})), expect![""]);
    let refused = expect![[
        r#"admission webhook "vpol.validate.kyverno.svc-fail" denied the request: Policy p failed: b needs a team"#
    ]];
    check(&[team(&["Deny"]), whole.clone()], &pod("b", json!({})), refused);
    let mut policy = team(&["Deny"]);
    policy["spec"]["validations"][0]["expression"] = "object.metadata.name in exceptions.allowedValues".into();
    check(&[policy.clone(), exception(json!({"allowedValues": ["b"]}))], &pod("b", json!({})), expect![""]);
    let refused = expect![[
        r#"admission webhook "vpol.validate.kyverno.svc-fail" denied the request: Policy p failed: c needs a team"#
    ]];
    check(&[policy, exception(json!({"allowedValues": ["b"]}))], &pod("c", json!({})), refused);

    let found = engine(&[team(&["Deny"]), whole]).audit(
        &pod("a", json!({})),
        None,
        "2024-05-06T07:08:09Z".parse().unwrap(),
        &Objects::new([]),
    );
    assert_eq!((found.len(), found[0].outcome), (1, Outcome::Skip));
    assert_eq!(found[0].details["properties"]["exceptions"], "x/e");
}

#[test]
fn stored_objects_are_reported() {
    let now = "2024-05-06T07:08:09Z".parse().unwrap();
    let engine = engine(&[team(&["Audit"])]);
    let found = engine.audit(&deployment(json!({})), None, now, &Objects::new([]));
    assert_eq!((found.len(), found[0].outcome, found[0].message.as_str()), (1, Outcome::Fail, "t needs a team"));
    assert_eq!(found[0].policy, ["policies.kyverno.io", "ValidatingPolicy", "", "p"].map(str::to_owned));
    assert_eq!(found[0].details["properties"]["cel.validationIndex"], "0");
    assert_eq!(engine.background().judged_plurals().into_iter().filter(|it| it == "pods").count(), 1);
    let mut off = team(&["Audit"]);
    off["spec"]["evaluation"] = json!({"background": {"enabled": false}});
    assert!(self::engine(&[off]).audit(&pod("a", json!({})), None, now, &Objects::new([])).is_empty());
}

fn changed(policy: &Value, judged: &Value) -> Value {
    let engine = engine(std::slice::from_ref(policy));
    with_review(judged, |review| {
        let mut made = judged.clone();
        engine
            .mutate(review, &mut made, &mut Turns::default(), &Objects::new([]))
            .unwrap_or_else(|it| panic!("{it:?}"));
        made
    })
}

#[test]
fn mutations_follow_each_other_and_reach_controllers() {
    let policy = object(
        "MutatingPolicy",
        json!({
            "matchConstraints": pods(),
            "variables": [{"name": "team", "expression": "sha1('a').substring(0, 2)"}],
            "mutations": [
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                    "Object{metadata: Object.metadata{labels: Object.metadata.labels{team: variables.team}}}"}},
                {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                    "Object{spec: Object.spec{hostname: object.metadata.labels.team}}"}},
            ],
        }),
    );
    let made = changed(&policy, &pod("a", json!({"x": "y"})));
    assert_eq!(made["metadata"]["labels"], json!({"team": "86", "x": "y"}));
    assert_eq!(made["spec"]["hostname"], "86");
    let made = changed(&policy, &deployment(json!({"x": "y"})));
    assert_eq!(made["spec"]["template"]["metadata"]["labels"], json!({"team": "86", "x": "y"}));
    assert_eq!(made["spec"]["template"]["spec"]["hostname"], "86");
}

#[test]
fn a_mutation_that_fails_refuses() {
    let policy = object(
        "MutatingPolicy",
        json!({"matchConstraints": pods(), "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'replace', path: '/spec/gone', value: object.spec.gone}]"}}]}),
    );
    let engine = engine(&[policy]);
    let pod = pod("a", json!({}));
    let error = with_review(&pod, |review| {
        engine.mutate(review, &mut pod.clone(), &mut Turns::default(), &Objects::new([])).unwrap_err()
    });
    expect![[r#"admission webhook "mpol.validate.kyverno.svc-fail" denied the request: Resource: n/a, Kind: Pod, Errors: [Policy p: failed to evaluate policy: expression '[JSONPatch{op: 'replace', path: '/spec/gone', value: object.spec.gone}]' resulted in error: no such key: gone]"#]]
    .assert_eq(&error.message);
}

fn flaws(object: &Value) -> String {
    let checked = Kyverno::new().check(&mut object.clone(), None, &Objects::new([]));
    let causes = checked.err().unwrap_or_default();
    causes.iter().map(|it| format!("{}: {}\n", it.field, it.message)).collect()
}

#[test]
fn what_cannot_be_judged_is_refused_by_name() {
    let mut policy = team(&["Deny"]);
    policy["spec"]["validations"][0] = json!({"expression": "http.Get('https://a.io').ok", "mesage": "x"});
    policy["spec"]["evaluation"] = json!({"mode": "JSON"});
    expect![[r#"
        spec.validations[0].mesage: unknown field
        spec.validations[0].expression: Invalid value: "http.Get('https://a.io').ok": compilation failed: 'http.Get' is not available: services elsewhere are not asked while a write waits
        spec.evaluation.mode: policies about JSON that is no object of Kubernetes are not judged here
    "#]]
    .assert_eq(&flaws(&policy));
    let images = object("ImageValidatingPolicy", json!({}));
    expect![[r#"
        kind: ImageValidatingPolicy is not judged here: signatures of images lie at registries, and a write does not wait for other machines
    "#]]
    .assert_eq(&flaws(&images));
    assert_eq!(flaws(&object("PolicyException", json!({}))), "spec.policyRefs: must specify at least one policy ref\n");
}

#[test]
fn configurations_for_pods_are_wrapped_for_their_controllers() {
    let policy = |expression: &str| {
        object(
            "MutatingPolicy",
            json!({"matchConstraints": pods(),
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}]}),
        )
    };
    let forms = autogen::forms(&policy("Object {spec: Object.spec{x: object.metadata.labels.y}}"), true);
    let shown: Vec<String> = forms
        .iter()
        .map(|it| {
            let text = &it.object["spec"]["mutations"][0]["applyConfiguration"]["expression"];
            format!("{} {}: {}\n", it.name, it.targets.len(), text.as_str().unwrap_or_default())
        })
        .collect();
    expect![[r#"
        cronjobs 1: Object{spec: Object.spec{jobTemplate: Object.spec.jobTemplate{spec: Object.spec.jobTemplate.spec{template: Object.spec.jobTemplate.spec.template{spec: Object.spec.jobTemplate.spec.template.spec{x: object.spec.jobTemplate.spec.template.metadata.labels.y}}}}}}
        defaults 5: Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{x: object.spec.template.metadata.labels.y}}}}
    "#]]
    .assert_eq(&shown.concat());
}
