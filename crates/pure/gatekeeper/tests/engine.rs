//! The engine as the API server calls it.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use eyot_gatekeeper::Gatekeeper;
use eyot_model::kinds;
use eyot_policy::{Engine, Objects, Operation, Options, Review, Turns, User};
use jiff::Timestamp;
use serde_json::{Value, json};

fn template(kind: &str, target: Value) -> Value {
    let mut target = target;
    target["target"] = "admission.k8s.gatekeeper.sh".into();
    json!({
        "apiVersion": "templates.gatekeeper.sh/v1", "kind": "ConstraintTemplate",
        "metadata": {"name": kind.to_lowercase()},
        "spec": {"crd": {"spec": {"names": {"kind": kind}}}, "targets": [target]},
    })
}

fn constraint(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "constraints.gatekeeper.sh/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

const LABELS: &str = r#"
package labels
violation[{"msg": msg, "details": {"missing": missing}}] {
    missing := {l | l := input.parameters.labels[_]} - {l | input.review.object.metadata.labels[l]}
    count(missing) > 0
    msg := sprintf("missing %v", [missing])
}
"#;

fn engine(objects: &[Value]) -> Gatekeeper {
    let engine = Gatekeeper::new();
    let data = Objects::new([]);
    for object in objects {
        let mut object = object.clone();
        engine.check(&mut object, None, &data).unwrap_or_else(|causes| panic!("{object}: {causes:?}"));
        engine.put(&object);
    }
    engine
}

/// Everything that the engine says about creating (or, without an object, deleting) something.
fn asked(engine: &Gatekeeper, operation: Operation, object: &Value, old: Option<&Value>, stored: Vec<Value>) -> String {
    let subject = if object.is_null() { old.expect("an object is given") } else { object };
    let api_version = subject["apiVersion"].as_str().expect("a version");
    let kind =
        kinds::builtin().by_api_version(api_version, subject["kind"].as_str().expect("a kind")).expect("a known kind");
    let text = |field: &str| subject["metadata"][field].as_str().unwrap_or_default();
    let (groups, extra) = (Vec::new(), BTreeMap::new());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": text("namespace")}});
    let review = Review {
        now: Timestamp::UNIX_EPOCH,
        operation,
        resource: kind,
        requested: kind,
        subresource: "",
        namespace: text("namespace"),
        name: text("name"),
        user: User { name: "eve", uid: "", groups: &groups, extra: &extra },
        options: Options { kind: "CreateOptions", ..Options::default() },
        object,
        old,
        namespace_object: Some(&namespace).filter(|_| kind.namespaced),
    };
    if !engine.wants(&review) {
        return "not asked".to_owned();
    }
    let data = Objects::new(stored);
    let mut changed = object.clone();
    let mutated = match engine.mutate(&review, &mut changed, &mut Turns::default(), &data) {
        Ok(mutation) => mutation.changed,
        Err(denial) => return denial.message,
    };
    let verdict = engine.validate(&Review { object: &changed, ..review }, &data);
    let mut out = Vec::new();
    if mutated {
        out.push(format!("changed {}", changed["spec"]));
    }
    out.extend(verdict.denials.iter().map(|it| it.message.clone()));
    out.extend(verdict.warnings.iter().map(|it| format!("warning: {it}")));
    if out.is_empty() { "allowed".to_owned() } else { out.join("\n") }
}

fn check(engine: &Gatekeeper, object: &Value, want: Expect) {
    want.assert_eq(&asked(engine, Operation::Create, object, None, Vec::new()));
}

fn pod(labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "shop", "labels": labels},
        "spec": {"containers": [{"name": "web", "image": "nginx"}]}})
}

#[test]
fn what_a_stored_template_judges_that_cannot_be_read_does_not_pass() {
    let engine = Gatekeeper::new();
    // As an older server may have taken it.
    engine.put(&template("Labels", json!({"rego": "package labels\nviolation[{\"msg\": msg}] { msg := gone(1) }"})));
    let spec = |action: &str| json!({"enforcementAction": action, "match": {"kinds": [{"kinds": ["Pod"]}]}});
    engine.put(&constraint("Labels", "a", spec("deny")));
    engine.put(&constraint("Labels", "b", spec("warn")));
    let told = asked(&engine, Operation::Create, &pod(json!({})), None, Vec::new());
    let why = "could not be evaluated: the template of Labels cannot be read: spec.targets[0].rego: line 2, column 34: \
        rego_type_error: undefined function gone";
    assert_eq!(
        told,
        format!("admission webhook \"validation.gatekeeper.sh\" denied the request: [a] {why}\nwarning: [b] {why}")
    );
    engine.put(&template("Labels", json!({"rego": LABELS})));
    check(&engine, &pod(json!({})), expect!["allowed"]);
}

#[test]
fn what_a_stored_constraint_is_about_that_cannot_be_read_does_not_pass() {
    let engine = Gatekeeper::new();
    engine.put(&template("Labels", json!({"rego": LABELS})));
    // As an older server may have taken them.
    let selector = json!({"matchLabels": {"a b": "c"}});
    let spec = |action: &str| json!({"enforcementAction": action, "match": {"kinds": [{"kinds": ["Pod"]}], "labelSelector": selector}});
    let stored = [constraint("Labels", "a", spec("deny")), constraint("Labels", "b", spec("warn"))];
    stored.iter().for_each(|it| engine.put(it));
    engine.put(&constraint(
        "Labels",
        "c",
        json!({"enforcementAction": "later", "match": {"kinds": [{"kinds": ["Pod"]}]}}),
    ));
    let told = asked(&engine, Operation::Create, &pod(json!({})), None, Vec::new());
    let words: Vec<&str> = told.lines().map(|it| it.split("cannot be read: ").next().unwrap_or_default()).collect();
    expect![[r#"
        admission webhook "validation.gatekeeper.sh" denied the request: [a] could not be evaluated: the constraint 
        [c] could not be evaluated: the constraint 
        warning: [b] could not be evaluated: the constraint "#]]
    .assert_eq(&words.join("\n"));
    assert!(told.contains("spec.match.labelSelector: ") && told.contains("spec.enforcementAction: "), "{told}");
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}});
    check(&engine, &other, expect!["not asked"]);
    // Its status says so, where Gatekeeper says what it could not take in.
    let causes = engine.check(&mut stored[0].clone(), Some(&stored[0]), &Objects::new([])).unwrap_err();
    let status = engine.doubted(&stored[0], &causes).unwrap();
    let pod_status = &status["byPod"][0];
    assert_eq!((&pod_status["enforced"], &pod_status["errors"][0]["code"]), (&json!(false), &json!("ingest_error")));
    assert!(pod_status["errors"][0]["message"].as_str().unwrap().contains("spec.match.labelSelector"), "{status}");
    // One that can be read stays in force, whatever comes after it.
    for name in ["a", "b", "c"] {
        engine.put(&constraint("Labels", name, json!({"match": {"kinds": [{"kinds": ["Pod"]}]}})));
    }
    check(&engine, &pod(json!({})), expect!["allowed"]);
    engine.put(&stored[0]);
    check(&engine, &pod(json!({})), expect!["allowed"]);
}

#[test]
fn constraints_deny_warn_and_stay_silent() {
    let spec = |action: &str| {
        json!({"enforcementAction": action, "match": {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]},
            "parameters": {"labels": ["team", "app"]}})
    };
    let engine = engine(&[
        template("Labels", json!({"rego": LABELS})),
        constraint("Labels", "a", spec("deny")),
        constraint("Labels", "b", spec("warn")),
        constraint("Labels", "c", spec("dryrun")),
    ]);
    check(
        &engine,
        &pod(json!({"app": "x"})),
        expect![[r#"
        admission webhook "validation.gatekeeper.sh" denied the request: [a] missing {"team"}
        warning: [b] missing {"team"}"#]],
    );
    check(&engine, &pod(json!({"app": "x", "team": "y"})), expect!["allowed"]);
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}});
    check(&engine, &other, expect!["not asked"]);
    // What is deleted is not judged unless a template asks for it.
    let old = pod(json!({}));
    expect!["allowed"].assert_eq(&asked(&engine, Operation::Delete, &Value::Null, Some(&old), Vec::new()));
    engine.remove("constraints.gatekeeper.sh", "Labels", "", "a");
    engine.remove("constraints.gatekeeper.sh", "Labels", "", "b");
    check(&engine, &pod(json!({})), expect!["allowed"]);
}

#[test]
fn templates_in_cel_see_parameters_and_variables() {
    let source = json!({"variables": [{"name": "bad", "expression":
            "variables.anyObject.spec.containers.filter(c, !c.image.startsWith(variables.params.repo))"}],
        "validations": [{"expression": "size(variables.bad) == 0",
            "messageExpression": "variables.bad[0].name + ' comes from elsewhere'"}]});
    let engine = engine(&[
        template("Repos", json!({"code": [{"engine": "K8sNativeValidation", "source": source}]})),
        constraint("Repos", "ours", json!({"parameters": {"repo": "eyot.dev/"}})),
    ]);
    check(
        &engine,
        &pod(json!({})),
        expect![[
            r#"admission webhook "validation.gatekeeper.sh" denied the request: [ours] web comes from elsewhere"#
        ]],
    );
}

#[test]
fn a_constraint_that_can_not_be_evaluated_refuses() {
    let rego = "package loops\nviolation[{\"msg\": \"x\"}] { \
        a := numbers.range(1, 4000)[_]; b := numbers.range(1, 4000)[_]; a * b < 0 }";
    let engine = engine(&[template("Loops", json!({"rego": rego})), constraint("Loops", "slow", json!({}))]);
    let said = asked(&engine, Operation::Create, &pod(json!({})), None, Vec::new());
    assert!(said.contains("[slow] could not be evaluated: spec.targets[0].rego:2:"), "{said}");
}

#[test]
fn a_template_in_cel_that_comes_to_neither_true_nor_false_refuses() {
    for source in [
        json!({"matchConditions": [{"name": "c", "expression": "object.metadata.name"}],
            "validations": [{"expression": "false"}]}),
        json!({"validations": [{"expression": "object.metadata.name"}]}),
        json!({"matchConditions": [{"name": "c", "expression": "object.gone"}], "validations": [{"expression": "false"}]}),
    ] {
        let mut ignoring = source.clone();
        ignoring["failurePolicy"] = "Ignore".into();
        for (source, refuses) in [(source, true), (ignoring, false)] {
            let engine = engine(&[
                template("Odd", json!({"code": [{"engine": "K8sNativeValidation", "source": source}]})),
                constraint("Odd", "it", json!({})),
            ]);
            let said = asked(&engine, Operation::Create, &pod(json!({})), None, Vec::new());
            assert_eq!(said.contains("[it] could not be evaluated"), refuses, "{source}: {said}");
            assert_eq!(said == "allowed", !refuses, "{source}: {said}");
        }
    }
}

#[test]
fn a_template_keeps_its_kind() {
    let (engine, data) = (Gatekeeper::new(), Objects::new([]));
    let old = template("Labels", json!({"rego": LABELS}));
    let mut renamed = template("LABELS", json!({"rego": LABELS}));
    let causes = engine.check(&mut renamed, Some(&old), &data).expect_err("is refused");
    assert_eq!(causes[0].field, "spec.crd.spec.names.kind");
    assert!(causes[0].message.contains("can not be changed"), "{causes:?}");
}

#[test]
fn inventory_is_what_is_stored() {
    let rego = r#"
        package hosts
        violation[{"msg": msg}] {
            host := input.review.object.spec.rules[_].host
            other := data.inventory.namespace[ns]["networking.k8s.io/v1"].Ingress[name]
            other.spec.rules[_].host == host
            msg := sprintf("%v is taken by %v/%v", [host, ns, name])
        }"#;
    let ingress = |namespace: &str, name: &str| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"namespace": namespace, "name": name}, "spec": {"rules": [{"host": "a.example"}]}})
    };
    let synced = json!({"apiVersion": "config.gatekeeper.sh/v1alpha1", "kind": "Config",
        "metadata": {"name": "config", "namespace": "gatekeeper-system"},
        "spec": {"sync": {"syncOnly": [{"group": "networking.k8s.io", "version": "v1", "kind": "Ingress"}]},
            "match": [{"excludedNamespaces": ["kube-*"], "processes": ["sync"]}]}});
    let engine = engine(&[template("Hosts", json!({"rego": rego})), constraint("Hosts", "one", json!({})), synced]);
    let new = ingress("shop", "new");
    let said =
        asked(&engine, Operation::Create, &new, None, vec![ingress("shop", "old"), ingress("kube-system", "own")]);
    expect![[
        r#"admission webhook "validation.gatekeeper.sh" denied the request: [one] a.example is taken by shop/old"#
    ]]
    .assert_eq(&said);
}

#[test]
fn what_comes_of_an_object_is_judged_with_it() {
    let expansion = json!({"apiVersion": "expansion.gatekeeper.sh/v1beta1", "kind": "ExpansionTemplate",
        "metadata": {"name": "pods-of"}, "spec": {"templateSource": "spec.template",
            "applyTo": [{"groups": ["apps"], "versions": ["v1"], "kinds": ["Deployment"]}],
            "generatedGVK": {"group": "", "version": "v1", "kind": "Pod"}}});
    let engine = engine(&[
        template("Labels", json!({"rego": LABELS})),
        constraint(
            "Labels",
            "a",
            json!({"match": {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]},
            "parameters": {"labels": ["team"]}}),
        ),
        expansion,
    ]);
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "shop"},
        "spec": {"template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}}}});
    check(
        &engine,
        &deployment,
        expect![[
            r#"admission webhook "validation.gatekeeper.sh" denied the request: [a] [Implied by pods-of] missing {"team"}"#
        ]],
    );
}

#[test]
fn an_audited_object_that_can_not_be_expanded_breaks_what_is_about_its_offspring() {
    let expansion = json!({"apiVersion": "expansion.gatekeeper.sh/v1beta1", "kind": "ExpansionTemplate",
        "metadata": {"name": "pods-of"}, "spec": {"templateSource": "spec.template",
            "applyTo": [{"groups": ["apps"], "versions": ["v1"], "kinds": ["Deployment"]}],
            "generatedGVK": {"group": "", "version": "v1", "kind": "Pod"}}});
    let about = |name: &str, group: &str, kind: &str| {
        let matching = json!({"kinds": [{"apiGroups": [group], "kinds": [kind]}]});
        constraint("Labels", name, json!({"match": matching, "parameters": {"labels": ["team"]}}))
    };
    let engine = engine(&[
        template("Labels", json!({"rego": LABELS})),
        about("deployments", "apps", "Deployment"),
        about("pods", "", "Pod"),
        about("services", "", "Service"),
        expansion,
    ]);
    let headless = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {}});
    let found = engine.audit(&headless, None, Timestamp::UNIX_EPOCH, &Objects::new([]));
    let lines: Vec<String> =
        found.iter().map(|it| format!("{} {:?} {}", it.policy[3], it.outcome, it.message)).collect();
    expect![[r#"
        deployments Fail missing {"team"}
        pods Error [Implied by pods-of] could not be evaluated: could not find source field "spec.template" in resource d"#]]
    .assert_eq(&lines.join("\n"));
}

fn mutator(kind: &str, name: &str, location: &str, parameters: Value) -> Value {
    json!({"apiVersion": "mutations.gatekeeper.sh/v1", "kind": kind, "metadata": {"name": name}, "spec": {
        "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}], "location": location,
        "parameters": parameters}})
}

#[test]
fn mutators_are_applied_until_nothing_changes() {
    let every = "spec.containers[name:*]";
    let engine = engine(&[
        mutator(
            "Assign",
            "pull",
            &format!("{every}.imagePullPolicy"),
            json!({"assign": {"value": "Always"},
            "pathTests": [{"subPath": every, "condition": "MustExist"}]}),
        ),
        mutator(
            "AssignImage",
            "repo",
            &format!("{every}.image"),
            json!({"assignDomain": "eyot.dev", "assignTag": ":1"}),
        ),
        mutator("ModifySet", "args", "spec.containers[name: web].args", json!({"values": {"fromList": ["-v"]}})),
        mutator(
            "Assign",
            "side",
            "spec.containers[name: side]",
            json!({"assign": {"value": {"name": "side", "image": "s"}}}),
        ),
    ]);
    check(
        &engine,
        &pod(json!({})),
        expect![[
            r#"changed {"containers":[{"args":["-v"],"image":"eyot.dev/nginx:1","imagePullPolicy":"Always","name":"web"},{"image":"eyot.dev/s:1","name":"side"}]}"#
        ]],
    );
}

#[test]
fn of_mutators_that_fight_the_last_one_wins() {
    let flip = |name: &str, value: &str| mutator("Assign", name, "spec.dnsPolicy", json!({"assign": {"value": value}}));
    let engine = engine(&[flip("a", "Default"), flip("b", "None")]);
    check(
        &engine,
        &pod(json!({})),
        expect![[r#"changed {"containers":[{"image":"nginx","name":"web"}],"dnsPolicy":"None"}"#]],
    );
}

#[test]
fn conditions_decide_whether_a_field_is_set() {
    let path = |kind: &str, name: &str, condition: &str, value: &str| {
        mutator(
            kind,
            name,
            "spec.dnsPolicy",
            json!({"assign": {"value": value},
            "pathTests": [{"subPath": "spec.dnsPolicy", "condition": condition}]}),
        )
    };
    let engine = engine(&[
        mutator("ModifySet", "a", "spec.containers[name: web].args", json!({"values": {"fromList": ["a"]}})),
        path("Assign", "b", "MustNotExist", "Default"),
    ]);
    check(
        &engine,
        &pod(json!({})),
        expect![[r#"changed {"containers":[{"args":["a"],"image":"nginx","name":"web"}],"dnsPolicy":"Default"}"#]],
    );
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let engine = Gatekeeper::new();
    let data = Objects::new([]);
    let check = |object: Value, want: Expect| {
        let mut object = object;
        let causes = engine.check(&mut object, None, &data).expect_err("is refused");
        let told: Vec<String> = causes.iter().map(ToString::to_string).collect();
        want.assert_eq(&told.join("\n"));
    };
    check(
        template("A", json!({"rego": "package a\nviolation[{\"msg\": x}] {\n  y := 1\n}\n"})),
        expect!["spec.targets[0].rego: line 2, column 19: rego_unsafe_var_error: var x is unsafe"],
    );
    check(
        template("A", json!({"rego": "package a\nf(x) = f(x)\nviolation[{\"msg\": \"x\"}] { f(1) }\n"})),
        expect![
            "spec.targets[0].rego: line 2, column 1: rego_recursion_error: rule data.a.f is recursive: data.a.f -> data.a.f"
        ],
    );
    check(
        template("A", json!({"rego": "package a\nallow { true }\n"})),
        expect![
            "spec.targets[0].rego: Required value: invalid rego for A: a rule `violation[{\"msg\": msg}]` is required"
        ],
    );
    check(
        template("A", json!({"rego": LABELS, "libs": ["package other\nx = 1\n"]})),
        expect!["spec.targets[0].libs[0]: Forbidden: a library's package must begin with `lib.`, this is other"],
    );
    check(
        mutator("Assign", "m", "metadata.name", json!({"assign": {"value": "x"}})),
        expect![[r#"spec.location: Invalid value: "metadata.name": can't change metadata"#]],
    );
    check(
        mutator("Assign", "m", "spec.a[", json!({"assign": {"externalData": {"provider": "p"}}})),
        expect![[r#"
        spec.location: Invalid value: "spec.a[": invalid location format: unexpected "", expected a field's name
        spec.parameters.assign.externalData: Forbidden: is not supported
        spec.parameters.assign: Required value: assign.value or assign.fromMetadata must be given"#]],
    );
}

#[test]
fn a_broken_version_leaves_the_one_before_in_force() {
    let engine = engine(&[
        template("Labels", json!({"rego": LABELS})),
        constraint("Labels", "a", json!({"parameters": {"labels": ["team"]}})),
    ]);
    engine.put(&template("Labels", json!({"rego": "package labels\n{"})));
    check(
        &engine,
        &pod(json!({})),
        expect![[r#"admission webhook "validation.gatekeeper.sh" denied the request: [a] missing {"team"}"#]],
    );
}

#[test]
fn a_template_brings_the_kind_of_its_constraints() {
    let engine = Gatekeeper::new();
    let companions = engine.companions(&template("Labels", json!({"rego": LABELS})));
    assert_eq!(companions.len(), 1);
    assert_eq!(companions[0]["metadata"]["name"], "labels.constraints.gatekeeper.sh");
    assert_eq!(companions[0]["spec"]["names"]["categories"], json!(["constraint", "constraints"]));
}
