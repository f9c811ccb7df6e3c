//! Whole policies against requests, without a server.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use eyot_model::kinds;
use eyot_policy::{Denial, Engine, Objects, Operation, Options, Review, Turns, User, Verdict};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::AdmissionPolicies;

const V1: &str = "admissionregistration.k8s.io/v1";

/// An engine, and what is stored beside its policies.
struct World {
    engine: AdmissionPolicies,
    data: Objects,
    namespace: Value,
}

fn policy(name: &str, spec: Value) -> Value {
    let mut object = json!({"apiVersion": V1, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name, "generation": 1},
        "spec": {"matchConstraints": {"resourceRules": [
            {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["deployments"]}]}}});
    if spec.get("mutations").is_some() {
        object["kind"] = "MutatingAdmissionPolicy".into();
        object["spec"]["reinvocationPolicy"] = "Never".into();
    }
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

fn binding(name: &str, policy: &str, spec: Value) -> Value {
    let mut object = json!({"apiVersion": V1, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": policy, "validationActions": ["Deny"]}});
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    if spec.get("validationActions") == Some(&Value::Null) {
        object["kind"] = "MutatingAdmissionPolicyBinding".into();
    }
    object
}

fn deployment(replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

impl World {
    fn new(objects: impl IntoIterator<Item = Value>) -> World {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"env": "prod"}}});
        World { engine: AdmissionPolicies::new(), data: Objects::new(objects), namespace }
    }

    /// Checks and puts a policy or binding.
    fn with(self, mut object: Value) -> World {
        self.engine.check(&mut object, None, &self.data).unwrap_or_else(|it| panic!("{it:?}"));
        self.engine.put(&object);
        self
    }

    fn review<'a>(&'a self, operation: Operation, object: &'a Value, old: Option<&'a Value>) -> Review<'a> {
        static EXTRA: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let deployments = kinds::builtin().by_plural("apps", "v1", "deployments").unwrap();
        Review {
            now: Timestamp::UNIX_EPOCH,
            operation,
            resource: deployments,
            requested: deployments,
            subresource: "",
            namespace: "shop",
            name: "web",
            user: User { name: "eve", uid: "", groups: &[], extra: &EXTRA },
            options: Options { kind: "CreateOptions", ..Options::default() },
            object,
            old,
            namespace_object: Some(&self.namespace),
        }
    }

    fn judge(&self, object: &Value) -> Verdict {
        let review = self.review(Operation::Create, object, None);
        assert!(self.engine.wants(&review));
        self.engine.validate(&review, &self.data)
    }

    fn mutate(&self, object: &mut Value, turns: &mut Turns) -> Result<bool, Denial> {
        let before = object.clone();
        let review = self.review(Operation::Create, &before, None);
        self.engine.mutate(&review, object, turns, &self.data).map(|it| it.changed)
    }
}

fn told(verdict: &Verdict, expected: Expect) {
    let mut text = String::new();
    for denial in &verdict.denials {
        text += &format!("{} {:?}: {}\n", denial.code, denial.reason, denial.message);
    }
    verdict.warnings.iter().for_each(|it| text += &format!("warning: {it}\n"));
    verdict.audit_annotations.iter().for_each(|it| text += &format!("{}: {}\n", it.0, it.1));
    expected.assert_eq(&text);
}

#[test]
fn a_validation_that_does_not_hold_is_told_as_kubernetes_tells_it() {
    let validations = json!([
        {"expression": "object.spec.replicas <= 5", "messageExpression": "'at most 5, got ' + string(object.spec.replicas)"},
        {"expression": "has(object.metadata.labels.team)", "reason": "Forbidden", "message": "needs a team"},
    ]);
    let world = World::new([]).with(policy("limits", json!({"validations": validations}))).with(binding(
        "limits-shop",
        "limits",
        json!({}),
    ));
    told(
        &world.judge(&deployment(6)),
        expect![[r#"
        422 Invalid: ValidatingAdmissionPolicy 'limits' with binding 'limits-shop' denied request: at most 5, got 6
    "#]],
    );
    told(
        &world.judge(&deployment(5)),
        expect![[r#"
        403 Forbidden: ValidatingAdmissionPolicy 'limits' with binding 'limits-shop' denied request: needs a team
    "#]],
    );
    let mut fine = deployment(5);
    fine["metadata"]["labels"]["team"] = "a".into();
    told(&world.judge(&fine), expect![""]);
}

#[test]
fn actions_decide_what_follows() {
    let spec = json!({"validations": [{"expression": "object.spec.replicas < 3"}],
        "auditAnnotations": [{"key": "replicas", "valueExpression": "'has ' + string(object.spec.replicas)"},
            {"key": "none", "valueExpression": "null"}]});
    let world =
        World::new([]).with(policy("p", spec)).with(binding("b", "p", json!({"validationActions": ["Warn", "Audit"]})));
    told(
        &world.judge(&deployment(3)),
        expect![[r#"
        warning: Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': failed expression: object.spec.replicas < 3
        validation.policy.admission.k8s.io/validation_failure: [{"binding":"b","message":"failed expression: object.spec.replicas < 3","policy":"p","validationActions":["Warn","Audit"]}]
        p/replicas: has 3
    "#]],
    );
}

#[test]
fn failures_refuse_unless_they_are_ignored() {
    let broken =
        |policy: &str| json!({"validations": [{"expression": "object.spec.gone == 1"}], "failurePolicy": policy});
    let world = World::new([]).with(policy("p", broken("Fail"))).with(binding("b", "p", json!({})));
    told(
        &world.judge(&deployment(1)),
        expect![[r#"
        422 Invalid: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: expression 'object.spec.gone == 1' resulted in error: no such key: gone
    "#]],
    );
    let world = world.with(policy("p", broken("Ignore")));
    told(&world.judge(&deployment(1)), expect![""]);
    let slow = "[1,2,3,4,5,6,7,8,9].map(a, string(a)).join('').matches('x') || lists.range(4000).all(a, lists.range(4000).all(b, a + b >= 0))";
    let world = world.with(policy("p", json!({"validations": [{"expression": slow}]})));
    assert!(
        world.judge(&deployment(1)).denials[0]
            .message
            .ends_with("running out of cost budget, no further validation rules will be run")
    );
}

#[test]
fn constraints_conditions_and_bindings_narrow_what_a_policy_is_about() {
    let deny = json!([{"expression": "false", "message": "no"}]);
    let about = |extra: Value, bound: Value| {
        let mut spec = json!({"validations": deny});
        extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
        let world = World::new([]).with(policy("p", spec)).with(binding("b", "p", bound));
        let object = deployment(1);
        let review = world.review(Operation::Create, &object, None);
        world.engine.wants(&review) && !world.engine.validate(&review, &world.data).denials.is_empty()
    };
    let rule = |group: &str, plural: &str, operation: &str| json!({"apiGroups": [group], "apiVersions": ["*"], "operations": [operation], "resources": [plural]});
    let constraints = |constraints: Value| json!({"matchConstraints": constraints});
    assert!(about(json!({}), json!({})));
    assert!(about(constraints(json!({"resourceRules": [rule("*", "*", "*")]})), json!({})));
    assert!(!about(constraints(json!({"resourceRules": [rule("apps", "deployments", "UPDATE")]})), json!({})));
    assert!(!about(constraints(json!({"resourceRules": [rule("", "pods", "*")]})), json!({})));
    let all = rule("*", "*", "*");
    for (field, selector, want) in [
        ("namespaceSelector", json!({"matchLabels": {"env": "prod"}}), true),
        ("namespaceSelector", json!({"matchLabels": {"env": "test"}}), false),
        ("objectSelector", json!({"matchLabels": {"app": "web"}}), true),
        ("objectSelector", json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}), false),
    ] {
        assert_eq!(
            about(constraints(json!({"resourceRules": [all], field: selector})), json!({})),
            want,
            "{field} {selector}"
        );
        assert_eq!(
            about(json!({}), json!({"matchResources": {field: selector}})),
            want,
            "{field} {selector} in the binding"
        );
    }
    let excluded =
        constraints(json!({"resourceRules": [all], "excludeResourceRules": [rule("apps", "deployments", "CREATE")]}));
    assert!(!about(excluded, json!({})));
    assert!(!about(json!({}), json!({"matchResources": {"resourceRules": [rule("", "pods", "*")]}})));
    let condition = |expression: &str| json!({"matchConditions": [{"name": "c", "expression": expression}]});
    assert!(!about(condition("request.userInfo.username != 'eve'"), json!({})));
    assert!(about(
        condition("namespaceObject.metadata.labels.env == 'prod' && request.operation == 'CREATE'"),
        json!({})
    ));
    assert!(about(condition("object.gone == 1"), json!({})), "what fails refuses");
    assert!(!about(
        json!({"matchConditions": [{"name": "a", "expression": "object.gone == 1"}, {"name": "b", "expression": "false"}]}),
        json!({})
    ));
}

#[test]
fn an_update_and_a_delete_show_what_was() {
    let spec = json!({"validations": [
        {"expression": "request.operation != 'UPDATE' || object.spec.replicas >= oldObject.spec.replicas", "message": "never fewer"},
        {"expression": "request.operation != 'DELETE' || oldObject.spec.replicas == 0", "message": "scale down first"}]});
    let world = World::new([]).with(policy("p", spec)).with(binding("b", "p", json!({})));
    let (old, new) = (deployment(3), deployment(2));
    let judge = |operation, new: &Value| {
        world.engine.validate(&world.review(operation, new, Some(&old)), &world.data).denials.len()
    };
    assert_eq!((judge(Operation::Update, &new), judge(Operation::Update, &old)), (1, 0));
    assert_eq!(judge(Operation::Delete, &Value::Null), 1);
}

#[test]
fn parameters_are_looked_up_at_that_moment() {
    let params = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    let spec = json!({"paramKind": params, "validations": [{"expression": "object.spec.replicas <= int(params.data.max)",
        "messageExpression": "'at most ' + params.data.max"}]});
    let map = |name: &str, max: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"max": max},
        "metadata": {"name": name, "namespace": "shop", "labels": {"limits": name}}})
    };
    let bound = |reference: Value| {
        let world = World::new([map("a", "3"), map("b", "1")]).with(policy("p", spec.clone()));
        world.with(binding("b", "p", json!({"paramRef": reference})))
    };
    let by_name = |name: &str, action: &str| json!({"name": name, "parameterNotFoundAction": action});
    told(&bound(by_name("a", "Deny")).judge(&deployment(2)), expect![""]);
    told(
        &bound(by_name("b", "Deny")).judge(&deployment(2)),
        expect![[r#"
        422 Invalid: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: at most 1
    "#]],
    );
    told(&bound(by_name("gone", "Allow")).judge(&deployment(2)), expect![""]);
    told(
        &bound(by_name("gone", "Deny")).judge(&deployment(2)),
        expect![[r#"
        422 Invalid: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction
    "#]],
    );
    let world = World::new([]).with(policy("p", spec.clone()));
    let quiet = json!({"paramRef": by_name("gone", "Deny"), "validationActions": ["Audit"]});
    assert_eq!(world.with(binding("b", "p", quiet)).judge(&deployment(2)).denials.len(), 1, "whatever the actions");
    let selected = json!({"selector": {"matchExpressions": [{"key": "limits", "operator": "Exists"}]}, "parameterNotFoundAction": "Deny"});
    told(
        &bound(selected).judge(&deployment(2)),
        expect![[r#"
        422 Invalid: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: at most 1
    "#]],
    );
    let elsewhere = json!({"name": "a", "namespace": "other", "parameterNotFoundAction": "Deny"});
    assert_eq!(bound(elsewhere).judge(&deployment(2)).denials.len(), 1);
    let world = World::new([]).with(policy("p", spec.clone())).with(binding("b", "p", json!({})));
    assert_eq!(world.judge(&deployment(1)).denials.len(), 1, "without a reference they are null");
}

#[test]
fn variables_are_shared_by_expressions() {
    let spec = json!({
        "variables": [
            {"name": "containers", "expression": "object.spec.template.spec.containers"},
            {"name": "images", "expression": "variables.containers.map(c, c.image)"},
            {"name": "unused", "expression": "object.gone.entirely"}],
        "validations": [{"expression": "variables.images.all(i, i.contains(':'))",
            "messageExpression": "'without a tag: ' + variables.images.filter(i, !i.contains(':')).join(', ')"}]});
    let world = World::new([]).with(policy("p", spec)).with(binding("b", "p", json!({})));
    told(
        &world.judge(&deployment(1)),
        expect![[r#"
        422 Invalid: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: without a tag: i
    "#]],
    );
}

#[test]
fn what_makes_no_sense_is_refused_by_path() {
    let flaws = |mut object: Value, expected: Expect| {
        let causes = AdmissionPolicies::new().check(&mut object, None, &Objects::new([])).err().unwrap_or_default();
        expected.assert_eq(&causes.iter().map(|it| format!("{it}\n")).collect::<String>());
    };
    flaws(
        policy("p", json!({"validations": []})),
        expect![[r#"
        spec.validations: Required value: validations or auditAnnotations must contain at least one item
        spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item
    "#]],
    );
    let spec = json!({"matchConstraints": {"resourceRules": []}, "failurePolicy": "Maybe",
        "variables": [{"name": "a", "expression": "variables.b"}, {"name": "1x", "expression": "1"}],
        "validations": [{"expression": "object.spec. > 1"}, {"expression": "nope"}, {"expression": "'text'"}, {"expression": "1 > 'a'"},
            {"expression": "params.x == 1"}, {"expression": "true", "reason": "Because", "message": "a\nb", "messageExpression": "1"}]});
    flaws(
        policy("p", spec),
        expect![[r#"
        spec.failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"
        spec.matchConstraints.resourceRules: Required value
        spec.variables[0].expression: Invalid value: "variables.b": compilation failed: undefined field 'b'
        spec.variables[1].name: Invalid value: "1x": name is not a valid CEL identifier
        spec.validations[0].expression: Invalid value: "object.spec. > 1": compilation failed: ERROR: <input>:1:14: Syntax error: no viable alternative at input '. >' | object.spec. > 1 | .............^
        spec.validations[1].expression: Invalid value: "nope": compilation failed: undeclared reference to 'nope' (in container '')
        spec.validations[2].expression: Invalid value: "'text'": must evaluate to bool
        spec.validations[3].expression: Invalid value: "1 > 'a'": compilation failed: found no matching overload for '_>_' applied to '(int, string)'
        spec.validations[4].expression: Invalid value: "params.x == 1": compilation failed: undeclared reference to 'params' (in container '')
        spec.validations[5].message: Invalid value: "a\nb": message must not contain line breaks
        spec.validations[5].messageExpression: Invalid value: "1": must evaluate to string
        spec.validations[5].reason: Unsupported value: "Because": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"
    "#]],
    );
    flaws(
        binding(
            "b",
            "",
            json!({"validationActions": ["Deny", "Warn", "Deny"], "paramRef": {"parameterNotFoundAction": "No"}}),
        ),
        expect![[r#"
        spec.policyName: Required value
        spec.paramRef: Required value: one of name or selector must be specified
        spec.paramRef.parameterNotFoundAction: Unsupported value: "No": supported values: "Allow", "Deny"
        spec.validationActions[2]: Duplicate value: "Deny"
        spec.validationActions: Invalid value: ["Deny","Warn","Deny"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)
    "#]],
    );
    let mutations = json!([{"patchType": "JSONPatch"}, {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Other{}"}}, {}]);
    flaws(
        policy("p", json!({"mutations": mutations})),
        expect![[r#"
        spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch
        spec.mutations[1].applyConfiguration.expression: Invalid value: "Other{}": compilation failed: undeclared reference to 'Other' (in container '')
        spec.mutations[2].patchType: Required value
    "#]],
    );
}

#[test]
fn types_are_checked_against_the_kinds_of_the_rules() {
    let mut object = policy(
        "p",
        json!({"validations": [
        {"expression": "object.spec.replicas > '1'", "messageExpression": "'got ' + object.spec.replicas"}, {"expression": "object.spec.replicas > 1"}]}),
    );
    AdmissionPolicies::new().check(&mut object, None, &Objects::new([])).expect("warnings only");
    let warning = |field: &str, why: &str| json!({"fieldRef": format!("spec.validations[0].{field}"), "warning": format!("apps/v1, Kind=Deployment: ERROR: found no matching overload for {why}\n")});
    let warnings = json!([
        warning("expression", "'_>_' applied to '(int, string)'"),
        warning("messageExpression", "'_+_' applied to '(string, int)'")
    ]);
    assert_eq!(object["status"], json!({"observedGeneration": 1, "typeChecking": {"expressionWarnings": warnings}}));
}

fn applying(expression: &str) -> Value {
    json!([{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}])
}

fn patching(expression: &str) -> Value {
    json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}])
}

/// A world with one mutating policy, bound.
fn mutating(mutations: Value) -> World {
    let unbound = json!({"validationActions": null});
    World::new([]).with(policy("m", json!({"mutations": mutations}))).with(binding("mb", "m", unbound))
}

#[test]
fn a_configuration_is_applied_and_a_patch_is_patched() {
    let world = mutating(applying(
        "Object{metadata: Object.metadata{annotations: {'by': request.userInfo.username}}, spec: Object.spec{
            template: Object.spec.template{spec: Object.spec.template.spec{initContainers: [
                Object.spec.template.spec.initContainers{name: 'side', image: 'x'}]}}}}",
    ));
    let mut object = deployment(1);
    assert_eq!(world.mutate(&mut object, &mut Turns::default()), Ok(true));
    assert_eq!(object["metadata"]["annotations"], json!({"by": "eve"}));
    assert_eq!(object["spec"]["template"]["spec"]["initContainers"], json!([{"name": "side", "image": "x"}]));
    assert_eq!(object["spec"]["replicas"], 1);
    assert_eq!(world.mutate(&mut object, &mut Turns::default()), Ok(false), "doing it twice changes nothing");

    let world = mutating(patching(
        "[JSONPatch{op: 'test', path: '/spec/replicas', value: 1}, JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 2},
          JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x/y'), value: 'z'}]",
    ));
    let mut object = deployment(1);
    assert_eq!(world.mutate(&mut object, &mut Turns::default()), Ok(true));
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["labels"]["x/y"]), (&json!(3), &json!("z")));
}

#[test]
fn a_patch_whose_test_fails_is_not_applied() {
    let world = mutating(patching(
        "[JSONPatch{op: 'test', path: '/spec/replicas', value: 9}, JSONPatch{op: 'remove', path: '/spec/replicas'}]",
    ));
    let mut object = deployment(1);
    assert_eq!(world.mutate(&mut object, &mut Turns::default()), Ok(false));
    assert_eq!(object, deployment(1));
}

#[test]
fn a_mutation_that_fails_leaves_the_object_and_refuses() {
    for (mutations, why) in [
        (patching("[JSONPatch{op: 'remove', path: '/spec/gone'}]"), "error applying patch"),
        (
            applying(
                "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [
            Object.spec.template.spec.containers{name: 'c', args: ['x']}]}}}}",
            ),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.template.spec.containers[0].args",
        ),
        (applying("Object{spec: Object.spec{gone: 1}}"), "invalid ApplyConfiguration: .spec.gone"),
        (applying("Object{spec: Object.spec{replicas: object.spec.gone}}"), "no such key: gone"),
    ] {
        let world = mutating(mutations);
        let mut object = deployment(1);
        let denial = world.mutate(&mut object, &mut Turns::default()).unwrap_err();
        assert!(denial.message.starts_with("policy 'm' with binding 'mb' denied request: "), "{}", denial.message);
        assert!(denial.message.contains(why), "{}", denial.message);
        assert_eq!((object, denial.code), (deployment(1), 422));
    }
}

#[test]
fn a_policy_that_asks_for_it_sees_what_later_ones_changed() {
    let mut first = policy(
        "a",
        json!({"mutations": patching("[JSONPatch{op: 'add', path: '/metadata/labels/seen', value: string(object.spec.replicas)}]")}),
    );
    first["spec"]["reinvocationPolicy"] = "IfNeeded".into();
    let second = policy(
        "b",
        json!({"mutations": patching("object.spec.replicas < 2 ? [JSONPatch{op: 'replace', path: '/spec/replicas', value: 2}] : []")}),
    );
    let unbound = json!({"validationActions": null});
    let world = World::new([])
        .with(first)
        .with(second)
        .with(binding("a", "a", unbound.clone()))
        .with(binding("b", "b", unbound));
    let (mut object, mut turns) = (deployment(1), Turns::default());
    assert_eq!(world.mutate(&mut object, &mut turns), Ok(true));
    assert_eq!(object["metadata"]["labels"]["seen"], "1");
    turns.begin_again();
    assert_eq!(world.mutate(&mut object, &mut turns), Ok(true));
    assert_eq!((&object["metadata"]["labels"]["seen"], &object["spec"]["replicas"]), (&json!("2"), &json!(2)));
}

#[test]
fn what_is_removed_is_not_in_force() {
    let world = World::new([]).with(policy("p", json!({"validations": [{"expression": "false"}]}))).with(binding(
        "b",
        "p",
        json!({}),
    ));
    let object = deployment(1);
    let review = world.review(Operation::Create, &object, None);
    assert!(world.engine.wants(&review));
    world.engine.remove(crate::GROUP, "ValidatingAdmissionPolicyBinding", "", "b");
    assert!(!world.engine.wants(&review), "a policy without bindings is about nothing");
}
