//! What policies in CEL do in the background.

use eyot_policy::{Engine, Objects, Operation};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Kyverno, Work};

fn policy(kind: &str, spec: Value) -> Value {
    json!({"apiVersion": "policies.kyverno.io/v1", "kind": kind, "metadata": {"name": "p"}, "spec": spec})
}

fn about(resource: &str) -> Value {
    json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}]})
}

fn engine(policy: &Value) -> Kyverno {
    let (engine, mut policy) = (Kyverno::new(), policy.clone());
    engine.check(&mut policy, None, &Objects::new([])).unwrap_or_else(|it| panic!("{it:?}"));
    assert_eq!(policy["status"]["conditionStatus"]["ready"], true);
    engine.put(&policy);
    engine
}

fn now() -> Timestamp {
    "2024-05-06T07:08:09Z".parse().unwrap()
}

fn store(objects: &[Value]) -> Objects {
    Objects::new(objects.to_vec())
}

fn worked(policy: &Value, trigger: &Value, is_gone: bool, objects: &[Value]) -> Option<Work> {
    let background = engine(policy).background();
    let [generator] = background.generators().try_into().unwrap();
    let done = if is_gone { Operation::Delete } else { Operation::Create };
    background.work(&generator, (trigger, done), &Value::Null, now(), &store(objects))
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": "1", "labels": {"env": "a"}}})
}

#[test]
fn expressions_and_templates_make_objects_for_a_trigger() {
    let made = json!({
        "matchConstraints": about("namespaces"),
        "matchConditions": [{"name": "team", "expression": "object.metadata.name.startsWith('team')"}],
        "variables": [{"name": "source", "expression": "resource.Get('v1', 'secrets', 'default', 'pull')"}],
        "evaluation": {"synchronize": {"enabled": true}},
        "generate": [
            {"expression": "generator.Apply(object.metadata.name, [variables.source])"},
            {"template": {"interpolate": "cel", "value":
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: (( object.metadata.name ))}\n\
                 data: (( object.metadata.labels ))"}},
        ],
    });
    let source = json!({"apiVersion": "v1", "kind": "Secret", "data": {"a": "Yg=="},
        "metadata": {"name": "pull", "namespace": "default", "uid": "7", "resourceVersion": "3", "labels": {"x": "y"}}});
    let policy = policy("GeneratingPolicy", made);
    let work = worked(&policy, &namespace("team-a"), false, &[source]).unwrap();
    assert_eq!(work.error, None);
    let [copy, filled] = work.made.as_slice() else { panic!("{:?}", work.made) };
    assert_eq!((&copy.object["data"]["a"], copy.synchronize), (&json!("Yg=="), true));
    let metadata = &copy.object["metadata"];
    assert_eq!((&metadata["namespace"], metadata.get("uid")), (&json!("team-a"), None));
    let label = |name: &str| &metadata["labels"][name];
    assert_eq!((label("x"), label("generate.kyverno.io/source-uid")), (&json!("y"), &json!("7")));
    assert_eq!(label("generate.kyverno.io/trigger-uid"), "1");
    assert_eq!(filled.object["data"], json!({"env": "a"}));
    assert_eq!(work.read, [["v1", "Secret", "default", "pull"].map(str::to_owned)]);

    assert_eq!(worked(&policy, &namespace("other"), false, &[]), None, "the condition does not hold");
    let missing = worked(&policy, &namespace("team-a"), false, &[]).unwrap();
    assert!(missing.error.is_some() && missing.made.is_empty(), "{missing:?}");
}

#[test]
fn a_policy_about_deletes_works_when_its_trigger_is_gone() {
    let mut spec = json!({
        "matchConstraints": about("namespaces"),
        "generate": [{"expression":
            "generator.Apply('default', [{'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': oldObject.metadata.name}}])"}],
    });
    spec["matchConstraints"]["resourceRules"][0]["operations"] = json!(["DELETE"]);
    let policy = policy("GeneratingPolicy", spec);
    assert_eq!(worked(&policy, &namespace("a"), false, &[]), None);
    let work = worked(&policy, &namespace("a"), true, &[]).unwrap();
    assert_eq!((work.error, &work.made[0].object["metadata"]["name"]), (None, &json!("a")));
}

#[test]
fn objects_that_are_there_are_changed_for_a_trigger() {
    let change = "Object{metadata: Object.metadata{labels: Object.metadata.labels{seen: 'yes'}}}";
    let mut spec = json!({
        "matchConstraints": about("namespaces"),
        "evaluation": {"mutateExisting": {"enabled": true}},
        "targetMatchConstraints": about("configmaps"),
        "targetMatchConditions": [{"name": "free", "expression": "object.metadata.name != 'kept'"}],
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": change}}],
    });
    let map = |name: &str, namespace: &str, labels: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, "labels": labels}})
    };
    let objects = [
        map("kept", "a", json!({})),
        map("new", "a", json!({"x": "y"})),
        map("done", "a", json!({"seen": "yes"})),
        map("own", "kube-system", json!({})),
    ];
    let work = worked(&policy("MutatingPolicy", spec.clone()), &namespace("a"), false, &objects).unwrap();
    assert_eq!((work.error, work.changed), (None, vec![map("new", "a", json!({"x": "y", "seen": "yes"}))]));

    spec["targetMatchConstraints"] =
        json!({"expression": "resource.Get('v1', 'configmaps', object.metadata.name, 'new')"});
    let work = worked(&policy("MutatingPolicy", spec), &namespace("a"), false, &objects).unwrap();
    assert_eq!((work.error, work.changed.len()), (None, 1));
}

#[test]
fn a_target_is_what_is_stored_and_stays_the_object_that_it_is() {
    let stored = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
        "metadata": {"name": "there", "namespace": "a", "uid": "1", "resourceVersion": "7"}});
    let changing = |listed: &str, patch: &str| {
        let spec = json!({
            "matchConstraints": about("namespaces"),
            "evaluation": {"mutateExisting": {"enabled": true}},
            "targetMatchConstraints": {"expression": listed},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
        });
        worked(&policy("MutatingPolicy", spec), &namespace("a"), false, std::slice::from_ref(&stored)).unwrap()
    };
    let made_up = |name: &str| {
        format!("{{'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {{'name': '{name}', 'namespace': 'a'}}}}")
    };
    let add = "[JSONPatch{op: 'add', path: '/data/c', value: 'd'}]";
    let work = changing(&made_up("there"), add);
    assert_eq!((work.error, &work.changed[0]["data"]), (None, &json!({"a": "b", "c": "d"})));
    assert_eq!(work.changed[0]["metadata"]["resourceVersion"], "7");
    let work = changing(&made_up("gone"), add);
    assert!(work.error.is_some_and(|it| it.contains("ConfigMap a/gone, which is not there")));
    let work = changing(&made_up("there"), "[JSONPatch{op: 'replace', path: '/metadata/namespace', value: 'b'}]");
    assert!(work.error.is_some_and(|it| it.contains("must leave the target")) && work.changed.is_empty());
}

#[test]
fn a_policy_that_deletes_takes_what_its_conditions_say() {
    let mut matching = about("pods");
    matching["resourceRules"][0].as_object_mut().unwrap().remove("operations");
    let spec = json!({
        "matchConstraints": matching,
        "variables": [{"name": "old", "expression": "object.metadata.name.startsWith('old')"}],
        "conditions": [{"name": "old", "expression": "variables.old"}],
        "schedule": "*/5 * * * *",
        "deletionPropagationPolicy": "Foreground",
    });
    let background = engine(&policy("DeletingPolicy", spec)).background();
    let [cleanup] = background.cleanups().cloned().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!((cleanup.key().as_str(), cleanup.propagation.as_deref()), ("DeletingPolicy/p", Some("Foreground")));
    let pod = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "a"}});
    let goes = |object: &Value| background.cleans_up(&cleanup, object, &Value::Null, now(), &store(&[]));
    assert_eq!((goes(&pod("old-1")), goes(&pod("new"))), (Ok(true), Ok(false)));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old-2", "namespace": "a"}});
    assert_eq!(goes(&map), Ok(false));
}

#[test]
fn what_is_wrong_is_told_by_field() {
    let told = |kind: &str, spec: Value| -> String {
        let causes = Kyverno::new().check(&mut policy(kind, spec), None, &Objects::new([])).err().unwrap_or_default();
        causes.iter().map(|it| format!("{}: {}\n", it.field, it.message)).collect()
    };
    let all = [
        told("GeneratingPolicy", json!({"matchConstraints": about("pods")})),
        told("GeneratingPolicy", json!({"matchConstraints": about("pods"), "generate": [{}]})),
        told("GeneratingPolicy", json!({"generate": [{"expression": "generator.Apply('a', [object])"}], "sync": true})),
        told(
            "ValidatingPolicy",
            json!({"matchConstraints": about("pods"),
            "validations": [{"expression": "generator.Apply('a', [object])"}]}),
        ),
        told(
            "DeletingPolicy",
            json!({"matchConstraints": about("pods"), "schedule": "often",
            "conditions": [{"name": "a", "expression": "object."}]}),
        ),
        told(
            "MutatingPolicy",
            json!({"matchConstraints": about("pods"), "targetMatchConstraints": about("pods"),
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}]}),
        ),
    ];
    expect_test::expect![[r#"
        spec.generate: Required value: must contain at least one item
        spec.generate[0]: Invalid value: {}: one of expression or template must be set
        spec.sync: unknown field
        spec.matchConstraints: Required value
        spec.validations[0].expression: Invalid value: "generator.Apply('a', [object])": compilation failed: 'generator.Apply' is not available: only GeneratingPolicies make objects
        spec.conditions[0].expression: Invalid value: "object.": compilation failed: ERROR: <input>:1:8: Syntax error: no viable alternative at input '.' | object. | .......^
        spec.schedule: expected exactly 5 fields, found 1: [often]
        spec.targetMatchConstraints: Forbidden: has no effect without evaluation.mutateExisting
    "#]].assert_eq(&all.concat());
}
