use std::{
    collections::BTreeMap,
    slice,
    sync::{Arc, Mutex},
};

use expect_test::{Expect, expect};
use eyot_model::kinds::{self, Kind};
use eyot_policy::{Data, Engine, Objects, Operation, Options, Outcome, Review, Turns, User};
use serde_json::{Value, json};

use super::{Kyverno, Settings};

fn engine(policies: &[Value]) -> Kyverno {
    engine_with(Settings { exceptions: Some("*".to_owned()), ..Settings::default() }, policies)
}

fn engine_with(settings: Settings, policies: &[Value]) -> Kyverno {
    let engine = Kyverno::with(settings);
    for policy in policies {
        let mut policy = policy.clone();
        let checked = engine.check(&mut policy, None, &Objects::new([]));
        checked.unwrap_or_else(|it| panic!("{it:?}"));
        engine.put(&policy);
    }
    engine
}

fn policy(name: &str, action: &str, rule: Value) -> Value {
    let mut rule = rule;
    rule["name"] = "rule".into();
    rule["match"] = json!({"any": [{"resources": {"kinds": ["Pod"]}}]});
    json!({
        "apiVersion": "kyverno.io/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": name},
        "spec": {"validationFailureAction": action, "rules": [rule]},
    })
}

fn pod(labels: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "ghcr.io/a/b:1"}]},
    })
}

fn with_review<T>(object: &Value, old: Option<&Value>, run: impl FnOnce(&Review<'_>) -> T) -> T {
    let pods = kinds::builtin().by_plural("", "v1", "pods").unwrap();
    let (groups, extra) = (vec!["dev".to_owned()], BTreeMap::new());
    let namespace = json!({"metadata": {"name": "n", "labels": {"env": "test"}}});
    run(&Review {
        now: "2024-05-06T07:08:09Z".parse().unwrap(),
        operation: if old.is_some() { Operation::Update } else { Operation::Create },
        resource: pods,
        requested: pods,
        subresource: "",
        namespace: "n",
        name: "p",
        user: User { name: "eve", uid: "", groups: &groups, extra: &extra },
        options: Options::default(),
        object,
        old,
        namespace_object: Some(&namespace),
    })
}

fn judged(engine: &Kyverno, object: &Value, data: &dyn Data) -> String {
    with_review(object, None, |review| {
        assert!(engine.wants(review));
        let verdict = engine.validate(review, data);
        let denials = verdict.denials.into_iter().map(|it| it.message);
        denials.chain(verdict.warnings.into_iter().map(|it| format!("warning: {it}"))).collect::<Vec<_>>().join("\n")
    })
}

fn check(policies: &[Value], object: &Value, data: &[Value], expected: Expect) {
    expected.assert_eq(&judged(&engine(policies), object, &Objects::new(data.iter().cloned())));
}

fn team(action: &str) -> Value {
    policy(
        "team",
        action,
        json!({"validate": {"message": "team is needed", "pattern": {"metadata": {"labels": {"team": "?*"}}}}}),
    )
}

#[test]
fn what_is_enforced_is_refused_with_kyvernos_words() {
    check(
        &[team("Enforce")],
        &pod(json!({})),
        &[],
        expect![[r#"
            admission webhook "validate.kyverno.svc-fail" denied the request: 

            resource Pod/n/p was blocked due to the following policies 

            team:
              rule: 'validation error: team is needed. rule rule failed at path /metadata/labels/team/'
        "#]],
    );
    check(&[team("Enforce")], &pod(json!({"team": "a"})), &[], expect![""]);
}

#[test]
fn what_is_audited_passes_and_warns_where_it_is_asked_to() {
    check(&[team("Audit")], &pod(json!({})), &[], expect![""]);
    let mut warning = team("Audit");
    warning["spec"]["emitWarning"] = true.into();
    check(
        &[warning],
        &pod(json!({})),
        &[],
        expect![
            "warning: policy team.rule: validation error: team is needed. rule rule failed at path /metadata/labels/team/"
        ],
    );
}

#[test]
fn actions_differ_by_namespace() {
    let mut policy = team("Audit");
    policy["spec"]["validationFailureActionOverrides"] = json!([{"action": "Enforce", "namespaces": ["n*"]}]);
    assert!(judged(&engine(&[policy]), &pod(json!({})), &Objects::new([])).contains("blocked"));
}

#[test]
fn an_evaluation_that_fails_is_no_yes() {
    let broken = policy(
        "broken",
        "Audit",
        json!({
            "context": [{"name": "cm", "configMap": {"name": "gone", "namespace": "n"}}],
            "validate": {"deny": {"conditions": {"all": [{"key": "{{ cm.data.x }}", "operator": "Equals", "value": "y"}]}}},
        }),
    );
    let said = judged(&engine(std::slice::from_ref(&broken)), &pod(json!({})), &Objects::new([]));
    assert!(said.contains("failed to get configmap n/gone"), "{said}");
    let mut ignored = broken;
    ignored["spec"]["failurePolicy"] = "Ignore".into();
    assert_eq!(judged(&engine(&[ignored]), &pod(json!({})), &Objects::new([])), "");
}

#[test]
fn the_store_is_asked_within_the_write() {
    let rule = json!({
        "context": [
            {"name": "map", "configMap": {"name": "allowed", "namespace": "n"}},
            {"name": "count", "apiCall": {"urlPath": "/api/v1/namespaces/{{ request.namespace }}/configmaps", "jmesPath": "items | length(@)"}},
        ],
        "validate": {
            "message": "{{ count }} maps, not from {{ map.data.registry }}",
            "deny": {"conditions": {"all": [
                {"key": "{{ images.containers.*.registry }}", "operator": "AnyNotIn", "value": "{{ map.data.registry }}"},
            ]}},
        },
    });
    let map = |registry: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "allowed", "namespace": "n"}, "data": {"registry": registry}});
    check(&[policy("registry", "Enforce", rule.clone())], &pod(json!({})), &[map("ghcr.io")], expect![""]);
    check(
        &[policy("registry", "Enforce", rule)],
        &pod(json!({})),
        &[map("docker.io")],
        expect![[r#"
            admission webhook "validate.kyverno.svc-fail" denied the request: 

            resource Pod/n/p was blocked due to the following policies 

            registry:
              rule: 1 maps, not from docker.io
        "#]],
    );
}

#[test]
fn a_variable_does_not_make_a_path_another_one() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "kube-system"}, "data": {"k": "v"}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}, "data": {"k": "w"}});
    let reads = |path: &str, label: &str| {
        let rule = json!({
            "context": [{"name": "it", "apiCall": {"urlPath": path, "jmesPath": "data.k"}}],
            "validate": {"message": "it is {{ it }}",
                "deny": {"conditions": {"all": [{"key": "{{ it }}", "operator": "AnyIn", "value": ["v", "w"]}]}}},
        });
        let engine = engine(&[policy("p", "Enforce", rule)]);
        let mut pod = pod(json!({}));
        pod["metadata"]["annotations"] = json!({"of": label});
        judged(&engine, &pod, &Objects::new([secret.clone(), map.clone()]))
    };
    let open = "/api/v1/namespaces/{{ request.object.metadata.annotations.of }}/configmaps/m";
    assert!(reads(open, "n").contains("it is w"), "{}", reads(open, "n"));
    let told = reads(open, "kube-system/secrets/s?labelSelector=");
    assert!(!told.contains("it is v") && told.contains("is not what"), "{told}");
}

#[test]
fn a_rule_says_where_its_kinds_keep_images_and_the_next_does_not_inherit_it() {
    let deny = |key: &str| {
        json!({"message": "{{ images.custom.tool.registry || 'none' }}",
            "deny": {"conditions": {"all": [{"key": key, "operator": "Equals", "value": "quay.io"}]}}})
    };
    let key = "{{ images.custom.tool.registry || 'none' }}";
    let mut of = policy(
        "tools",
        "Enforce",
        json!({"validate": deny(key), "imageExtractors":
        {"Pod": [{"path": "/metadata/annotations/tools/*", "value": "image", "key": "name"}]}}),
    );
    let mut with_tool = pod(json!({}));
    with_tool["metadata"]["annotations"] = json!({"tools": [{"name": "tool", "image": "quay.io/a/b:1"}]});
    assert!(judged(&engine(std::slice::from_ref(&of)), &with_tool, &Objects::new([])).contains("rule: quay.io"));
    let mut next = of["spec"]["rules"][0].clone();
    next["name"] = "next".into();
    next.as_object_mut().unwrap().remove("imageExtractors");
    of["spec"]["rules"].as_array_mut().unwrap().push(next);
    let said = judged(&engine(&[of]), &with_tool, &Objects::new([]));
    assert!(said.contains("rule: quay.io") && !said.contains("next"), "{said}");
}

#[test]
fn an_update_may_keep_what_was_wrong_before() {
    let engine = engine(&[team("Enforce")]);
    let denials = |new: Value, old: Value| {
        with_review(&new, Some(&old), |review| engine.validate(review, &Objects::new([])).denials.len())
    };
    assert_eq!(denials(pod(json!({})), pod(json!({}))), 0);
    assert_eq!(denials(pod(json!({})), pod(json!({"team": "a"}))), 1);
}

#[test]
fn a_stored_policy_that_does_not_compile_any_more_is_not_ready() {
    let mut stored = team("Enforce");
    stored["spec"]["rules"][0]["validate"]["later"] = json!({});
    stored["status"] = json!({"ready": true, "rulecount": {"validate": 1}});
    let engine = Kyverno::new();
    let causes = engine.check(&mut stored.clone(), Some(&stored), &Objects::new([])).unwrap_err();
    let status = engine.doubted(&stored, &causes).unwrap();
    assert_eq!((&status["ready"], &status["rulecount"]["validate"]), (&json!(false), &json!(1)));
    assert!(status["conditions"][0]["message"].as_str().unwrap().contains("later"), "{status}");
    assert_eq!(engine.doubted(&team("Enforce"), &causes), None, "one that compiles is in force");
}

/// A policy as it was stored by a version that knew more than this one.
fn unreadable(part: &str, value: Value) -> Value {
    let mut stored = team("Audit");
    *stored.pointer_mut(part).unwrap() = value;
    stored
}

/// What an engine that started with policies in store says.
fn after_start(stored: &[Value], object: &Value) -> String {
    let engine = engine(&[]);
    stored.iter().for_each(|it| engine.put(it));
    with_review(object, None, |review| match engine.wants(review) {
        true => judged(&engine, object, &Objects::new([])),
        false => "is not wanted".to_owned(),
    })
}

#[test]
fn what_a_stored_policy_is_about_that_cannot_be_read_follows_its_failure_policy() {
    let later = || unreadable("/spec/rules/0/validate", json!({"later": {}}));
    let object = pod(json!({"team": "a"}));
    let refused = after_start(&[later()], &object);
    assert!(refused.contains("resource Pod/n/p was blocked") && refused.contains("cannot be read"), "{refused}");
    for (field, value) in [
        ("failurePolicy", json!("Ignore")),
        ("webhookConfiguration", json!({"failurePolicy": "Ignore"})),
        ("webhookConfiguration", json!({"failurePolicy": "Ignore", "later": 1})),
        ("admission", json!(false)),
    ] {
        let mut policy = later();
        policy["spec"][field] = value;
        assert_eq!(after_start(&[policy.clone()], &object), "", "{policy}");
    }
    // Where it cannot be read what fails, it fails.
    for (field, value) in [("failurePolicy", json!({})), ("later", json!(1))] {
        let mut policy = later();
        policy["spec"][field] = value;
        assert!(after_start(&[policy.clone()], &object).contains("blocked"), "{policy}");
    }
    let mut readable = later();
    readable["spec"]["rules"][0]["validate"] = team("Audit")["spec"]["rules"][0]["validate"].clone();
    let engine = engine(&[]);
    engine.put(&later());
    engine.put(&readable);
    assert_eq!(judged(&engine, &object, &Objects::new([])), "", "it is repaired");
    engine.put(&later());
    assert_eq!(judged(&engine, &object, &Objects::new([])), "", "what was in force stays");
}

#[test]
fn a_filter_that_cannot_be_read_is_about_the_kinds_that_it_names_or_about_all() {
    let matches = |it: Value| after_start(&[unreadable("/spec/rules/0/match", it)], &pod(json!({})));
    let resources = |it: Value| json!({"any": [{"resources": it}]});
    assert!(matches(resources(json!({"kinds": ["Pod"], "later": 1}))).contains("blocked"));
    assert_eq!(matches(resources(json!({"kinds": ["Secret"], "later": 1}))), "is not wanted");
    assert!(matches(resources(json!({"kinds": [7]}))).contains("blocked"));
    assert!(matches(json!("later")).contains("blocked"));
    // What can be read counts.
    let mut policy = unreadable("/spec/rules/0/validate", json!({"later": {}}));
    policy["spec"]["rules"][0]["exclude"] = json!({"any": [{"resources": {"namespaces": ["n"]}}]});
    assert_eq!(after_start(&[policy.clone()], &pod(json!({}))), "");
    policy["spec"]["rules"][0]["exclude"]["later"] = json!(1);
    assert!(after_start(&[policy], &pod(json!({}))).contains("blocked"));
    let mut elsewhere = unreadable("/spec/rules/0/validate", json!({"later": {}}));
    elsewhere["kind"] = "Policy".into();
    elsewhere["metadata"]["namespace"] = "m".into();
    assert_eq!(after_start(&[elsewhere], &pod(json!({}))), "");
}

#[test]
fn what_a_rule_that_cannot_be_read_does_behind_requests_refuses_none_and_neither_is_repairing_refused() {
    for rule in [json!({"generate": {"later": 1}}), json!({"mutate": {"targets": [{"kind": "Pod"}], "later": 1}})] {
        assert_eq!(
            after_start(&[policy("behind", "Enforce", rule.clone())], &pod(json!({}))),
            "is not wanted",
            "{rule}"
        );
    }
    let change = policy("before", "Enforce", json!({"mutate": {"later": 1}}));
    assert!(after_start(&[change], &pod(json!({}))).contains("blocked"));

    let mut all = unreadable("/spec/rules/0/validate", json!({"later": {}}));
    all["spec"]["rules"][0]["match"] = json!({"any": [{"resources": {"kinds": ["*"]}}]});
    let pods = kinds::builtin().by_plural("", "v1", "pods").unwrap();
    let own = Kind { group: "kyverno.io".to_owned(), kind: "ClusterPolicy".to_owned(), ..(**pods).clone() };
    let denied = |policy: &Value, operation: Operation, resource: &Kind| {
        let engine = engine(&[]);
        engine.put(policy);
        let object = pod(json!({}));
        with_review(&object, None, |review| {
            let review = Review { operation, resource, ..*review };
            engine.validate(&review, &Objects::new([])).denials.len()
        })
    };
    assert_eq!(denied(&all, Operation::Create, pods), 1);
    assert_eq!(denied(&all, Operation::Create, &own), 0);
    assert_eq!(denied(&all, Operation::Delete, pods), 0);
    all["spec"]["rules"][0]["match"]["any"][0]["resources"]["operations"] = json!(["DELETE"]);
    assert_eq!(denied(&all, Operation::Delete, pods), 1);
    assert_eq!(denied(&all, Operation::Create, pods), 0);
}

#[test]
fn an_exception_excuses_from_a_policy_that_cannot_be_read() {
    let policy = unreadable("/spec/rules/0/validate", json!({"later": {}}));
    assert_eq!(after_start(&[policy, exception()], &pod(json!({}))), "");
}

fn exception() -> Value {
    json!({
        "apiVersion": "kyverno.io/v2",
        "kind": "PolicyException",
        "metadata": {"name": "e", "namespace": "n", "uid": "7"},
        "spec": {
            "match": {"any": [{"resources": {"kinds": ["Pod"], "names": ["p*"]}}]},
            "exceptions": [{"policyName": "team", "ruleNames": ["rule"]}],
        },
    })
}

#[test]
fn an_exception_lets_an_object_pass() {
    let engine = engine(&[team("Enforce"), exception()]);
    assert_eq!(judged(&engine, &pod(json!({})), &Objects::new([])), "");
    engine.remove("kyverno.io", "PolicyException", "n", "e");
    assert!(judged(&engine, &pod(json!({})), &Objects::new([])).contains("blocked"));
}

#[test]
fn an_exception_excuses_a_policy_of_a_namespace_by_both_names_only() {
    let mut policy = team("Enforce");
    policy["kind"] = "Policy".into();
    policy["metadata"]["namespace"] = "n".into();
    for (named, excuses) in [("team", false), ("n/team", true), ("m/team", false)] {
        let mut exception = exception();
        exception["spec"]["exceptions"][0]["policyName"] = named.into();
        let said = judged(&engine(&[policy.clone(), exception]), &pod(json!({})), &Objects::new([]));
        assert_eq!(said.is_empty(), excuses, "{named}: {said}");
    }
}

#[test]
fn an_exception_counts_only_where_the_server_was_told_and_says_so() {
    for (counts_in, told) in [
        (None, "until it is enabled: no namespace is named by --kyverno-exceptions"),
        (Some("security"), "exceptions count in \"security\" only"),
        (Some("n*"), ""),
    ] {
        let settings = Settings { exceptions: counts_in.map(str::to_owned), ..Settings::default() };
        let warnings = Kyverno::with(settings.clone()).check(&mut exception(), None, &Objects::new([])).unwrap();
        assert!(warnings.len() == usize::from(!told.is_empty()) && warnings.concat().contains(told), "{warnings:?}");
        let said = judged(&engine_with(settings, &[team("Enforce"), exception()]), &pod(json!({})), &Objects::new([]));
        assert_eq!(said.contains("blocked"), !told.is_empty(), "{said}");
    }
}

/// What is told of a request, and beside it whether it was refused.
fn noted(policies: &[Value], object: &Value, dry_run: bool) -> String {
    let events = "PolicyViolation,PolicyApplied,PolicySkipped".parse().unwrap();
    let engine = engine_with(Settings { exceptions: Some("*".to_owned()), events }, policies);
    let notes = Arc::new(Mutex::new(String::new()));
    let heard = notes.clone();
    engine.on_note(move |note| heard.lock().unwrap().push_str(&format!("{note}\n")));
    let verdict = with_review(object, None, |review| {
        let options = Options { dry_run, ..Options::default() };
        engine.validate(&Review { options, ..*review }, &Objects::new([]))
    });
    let notes = notes.lock().unwrap().clone();
    format!("{notes}refused: {}\n", !verdict.denials.is_empty())
}

#[test]
fn what_became_of_a_request_is_told_once_it_is_known() {
    let owner = policy("owner", "Audit", team("Audit")["spec"]["rules"][0].clone());
    let (free, owned) = (pod(json!({})), pod(json!({"team": "a"})));
    let all = [
        noted(&[team("Enforce"), owner.clone()], &free, false),
        noted(slice::from_ref(&owner), &free, false),
        noted(slice::from_ref(&owner), &free, true),
        noted(&[owner], &owned, false),
        noted(&[team("Enforce"), exception()], &free, false),
    ];
    let why = "validation error: team is needed. rule rule failed at path /metadata/labels/team/";
    let expected = expect![[r#"
        kyverno-admission PolicyViolation ClusterPolicy/team (Resource Blocked): Pod n/p: [rule] fail (blocked); WHY
        refused: true
        kyverno-admission PolicyViolation ClusterPolicy/owner (Resource Passed): Pod n/p: [rule] fail; WHY
        kyverno-admission PolicyViolation Pod/n/p (Resource Passed): policy owner/rule fail: WHY
        refused: false
        refused: false
        kyverno-admission PolicyApplied ClusterPolicy/owner (Resource Passed): Pod n/p: pass
        refused: false
        kyverno-admission PolicySkipped PolicyException/n/e (Resource Passed): resource Pod/n/p was skipped from policy rule team/rule
        kyverno-admission PolicySkipped ClusterPolicy/team (Resource Passed): resource Pod/n/p was skipped from rule rule due to policy exceptions n/e
        refused: false
    "#]];
    expected.assert_eq(&all.concat().replace(why, "WHY"));
}

#[test]
fn a_stored_object_that_breaks_a_rule_is_told_of_with_its_policy() {
    let mut policy = team("Audit");
    policy["metadata"]["uid"] = "9".into();
    let (engine, object) = (engine(&[policy]), pod(json!({})));
    let findings = engine.audit(&object, None, "2024-05-06T07:08:09Z".parse().unwrap(), &Objects::new([]));
    let notes = engine.background().scanned(&object, &findings, &"PolicyViolation".parse().unwrap());
    let told: Vec<(&str, &str)> = notes.iter().map(|it| (it.about.kind.as_str(), it.about.uid.as_str())).collect();
    assert_eq!(told, [("ClusterPolicy", "9"), ("Pod", "")]);
    assert!(notes.iter().all(|it| it.component.as_str() == "kyverno-scan" && it.reason.severity() == "Warning"));
}

#[test]
fn objects_are_changed_one_policy_after_another() {
    let first =
        policy("a", "Audit", json!({"mutate": {"patchStrategicMerge": {"metadata": {"labels": {"+(one)": "1"}}}}}));
    let second = policy(
        "b",
        "Audit",
        json!({"mutate": {"patchesJson6902": "- {op: add, path: /metadata/labels/two, value: \"{{ request.object.metadata.labels.one }}\"}"}}),
    );
    let engine = engine(&[first, second]);
    let before = pod(json!({}));
    let mut after = before.clone();
    let mutation = with_review(&before, None, |review| {
        engine.mutate(review, &mut after, &mut Turns::default(), &Objects::new([])).unwrap()
    });
    assert!(mutation.changed);
    assert_eq!(after["metadata"]["labels"], json!({"one": "1", "two": "1"}));
}

#[test]
fn stored_objects_are_judged_with_everything_a_report_needs() {
    let mut annotated = team("Audit");
    annotated["metadata"]["annotations"] = json!({"policies.kyverno.io/severity": "high"});
    let engine = engine(&[annotated]);
    let now = "2024-05-06T07:08:09Z".parse().unwrap();
    let findings = engine.audit(&pod(json!({})), None, now, &Objects::new([]));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.outcome, finding.rule.as_str(), finding.action.as_str()), (Outcome::Fail, "rule", "Audit"));
    assert_eq!(finding.details["severity"], "high");
}

#[test]
fn a_policy_is_refused_with_every_flaw_and_its_place() {
    let refused = |policy: Value| {
        let mut policy = policy;
        let causes = Kyverno::new().check(&mut policy, None, &Objects::new([])).unwrap_err();
        causes.iter().map(|it| format!("{}: {}\n", it.field, it.message)).collect::<String>()
    };
    let rule = |body: Value| refused(policy("p", "Audit", body));
    let deny = |key: &str| json!({"validate": {"deny": {"conditions": {"all": [{"key": key, "operator": "Equals", "value": 1}]}}}});
    let all = [
        rule(json!({"validate": {"patern": {}}})),
        rule(json!({})),
        rule(json!({"verifyImages": [{}]})),
        rule(deny("{{ request.object. }}")),
        rule(deny("{{ nope(@) }}")),
        rule(deny("{{ request.userInfo.username }}")),
        rule(json!({"validate": {"deny": {"conditions": {"all": [{"key": 1, "operator": "Is", "value": 1}]}}}})),
        rule(json!({"validate": {"podSecurity": {"level": "strict"}}})),
        rule(json!({"validate": {"cel": {"expressions": [{"expression": "object.spec."}]}}})),
        rule(json!({"mutate": {"patchesJson6902": "op: add"}})),
        rule(json!({"context": [{"name": "i", "imageRegistry": {"reference": "a"}}], "validate": {"deny": {}}})),
    ];
    expect![[r#"
        spec.rules[0].validate.patern: unknown field `patern`, expected one of `failureAction`, `failureActionOverrides`, `allowExistingViolations`, `message`, `manifests`, `foreach`, `pattern`, `anyPattern`, `deny`, `podSecurity`, `cel`, `assert`
        spec.rules[0]: a rule has one of validate, mutate, generate, verifyImages
        spec.rules[0].verifyImages: is not available: signatures lie in registries, which are not asked
        spec.rules[0].validate.deny.conditions.all[0].key: {{ request.object. }}: Incomplete expression at position 15
        spec.rules[0].validate.deny.conditions.all[0].key: {{ nope(@) }}: unknown function: nope at position 0
        spec.rules[0]: variable {{request.userInfo}} is not allowed: only select variables are allowed in background mode. Set spec.background=false to disable background mode for this policy rule
        spec.rules[0].validate.deny.conditions: conditions.all[0].operator: entered value of `operator` is invalid: "Is"
        spec.rules[0].validate.podSecurity: level: unknown level "strict"
        spec.rules[0].validate.cel.expressions[0].expression: compilation failed: ERROR: <input>:1:13: Syntax error: no viable alternative at input '.' | object.spec. | ............^
        spec.rules[0].mutate.patchesJson6902: failed to decode patches: a patch is a list of operations
        spec.rules[0].context: i: imageRegistry is not available: registries are not asked while a write waits
    "#]]
    .assert_eq(&all.concat());
}

#[test]
fn the_status_shows_the_rules_that_were_made_for_controllers() {
    let mut policy = team("Enforce");
    policy["metadata"]["annotations"] = json!({"pod-policies.kyverno.io/autogen-controllers": "Deployment"});
    Kyverno::new().check(&mut policy, None, &Objects::new([])).unwrap();
    assert_eq!(
        policy["status"]["autogen"]["rules"],
        json!([{
            "name": "autogen-rule",
            "match": {"any": [{"resources": {"kinds": ["apps/v1/Deployment"]}}]},
            "skipBackgroundRequests": true,
            "validate": {"message": "team is needed",
                "pattern": {"spec": {"template": {"metadata": {"labels": {"team": "?*"}}}}}},
        }])
    );
}

#[test]
fn a_policy_that_is_stored_is_not_refused_for_what_was_let_pass_then() {
    let mut old = team("Enforce");
    old["spec"]["webhookTimeoutSeconds"] = 60.into();
    let data = Objects::new([]);
    assert!(Kyverno::new().check(&mut old.clone(), None, &data).is_err());
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert!(Kyverno::new().check(&mut labelled, Some(&old), &data).is_ok());
    labelled["spec"]["background"] = false.into();
    assert!(Kyverno::new().check(&mut labelled, Some(&old), &data).is_err());
}

#[test]
fn requests_that_no_policy_is_about_cost_nothing() {
    let engine = engine(&[team("Enforce")]);
    let wants = |plural: &str, group: &str, version: &str, namespace: &str, subresource: &str| {
        let kind = kinds::builtin().by_plural(group, version, plural).unwrap();
        with_review(&Value::Null, None, |it| engine.wants(&Review { resource: kind, namespace, subresource, ..*it }))
    };
    assert!(wants("pods", "", "v1", "n", ""));
    assert!(wants("deployments", "apps", "v1", "n", ""));
    assert!(!wants("replicasets", "apps", "v1", "n", ""));
    assert!(!wants("pods", "", "v1", "kube-system", ""));
    assert!(!wants("pods", "", "v1", "n", "status"));
    assert!(!wants("configmaps", "", "v1", "n", ""));
}

#[test]
fn rules_that_generate_say_what_they_make() {
    let mut generate = policy(
        "quota",
        "Audit",
        json!({"generate": {
            "apiVersion": "v1", "kind": "ConfigMap", "name": "defaults", "namespace": "{{ request.object.metadata.name }}",
            "synchronize": true, "data": {"data": {"a": "b"}},
        }}),
    );
    generate["spec"]["rules"][0]["match"] = json!({"any": [{"resources": {"kinds": ["Namespace"]}}]});
    let engine = engine(&[generate]);
    let background = engine.background();
    let [generator] = background.generators().try_into().unwrap();
    assert_eq!((generator.policy.as_str(), generator.kinds.as_slice()), ("quota", ["Namespace".to_owned()].as_slice()));
    let trigger = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "uid": "1"}});
    let now = "2024-05-06T07:08:09Z".parse().unwrap();
    let work =
        background.work(&generator, (&trigger, Operation::Create), &Value::Null, now, &Objects::new([])).unwrap();
    assert_eq!(work.made[0].object["metadata"]["namespace"], "team");
    assert_eq!(work.made[0].object["data"], json!({"a": "b"}));
    assert_eq!(work.made[0].object["metadata"]["labels"]["generate.kyverno.io/trigger-uid"], "1");
}

#[test]
fn what_is_done_to_a_trigger_makes_objects_where_the_rule_says_so() {
    let of = |operations: Value| {
        let mut rule = policy(
            "farewell",
            "Audit",
            json!({"generate": {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "namespace": "n",
                "data": {"metadata": {"labels": {"length": "{{ length(request.object.metadata.name) }}"}},
                    "data": {"name": "{{ request.object.metadata.name }}"}}}}),
        );
        rule["spec"]["rules"][0]["match"] =
            json!({"any": [{"resources": {"kinds": ["Namespace"], "operations": operations}}]});
        let background = engine(&[rule]).background();
        let [generator] = background.generators().try_into().unwrap();
        let trigger = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "uid": "1"}});
        let now = "2024-05-06T07:08:09Z".parse().unwrap();
        [Operation::Create, Operation::Update, Operation::Delete].map(|done| {
            let work = background.work(&generator, (&trigger, done), &Value::Null, now, &Objects::new([]));
            work.map(|it| it.made[0].object.clone())
        })
    };
    let [there, changed, gone] = of(json!(["DELETE"]));
    assert!(there.is_none() && changed.is_none());
    let gone = gone.unwrap();
    assert_eq!(gone["data"]["name"], "team");
    // Labels are texts, whatever their expressions come to.
    assert_eq!(gone["metadata"]["labels"]["length"], "4");
    assert!(matches!(of(json!(["CREATE"])), [Some(_), None, None]));
    assert!(matches!(of(json!(["UPDATE"])), [None, Some(_), None]));
    assert!(matches!(of(json!([])), [Some(_), Some(_), None]));
}

#[test]
fn what_a_rule_made_makes_nothing_further_unless_the_rule_says_so() {
    let of = |skips: Value| {
        let mut policy = of_team(json!({"generate": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c",
            "namespace": "team", "data": {}}}));
        policy["spec"]["rules"][0]["skipBackgroundRequests"] = skips;
        let background = engine(&[policy]).background();
        let [generator] = background.generators().try_into().unwrap();
        let mut trigger = config_map("team", "trigger");
        trigger["metadata"]["labels"] =
            json!({"app.kubernetes.io/managed-by": "kyverno", "generate.kyverno.io/policy-name": "other"});
        let now = "2024-05-06T07:08:09Z".parse().unwrap();
        background.work(&generator, (&trigger, Operation::Create), &Value::Null, now, &Objects::new([])).is_some()
    };
    assert!(!of(Value::Null) && !of(true.into()) && of(false.into()));
}

#[test]
fn what_is_copied_by_name_outlives_its_rule_and_knows_its_source() {
    let copied = json!({"generate": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": "team",
        "synchronize": true, "clone": {"name": "source", "namespace": "team"}}});
    let background = engine(&[of_team(copied.clone())]).background();
    assert!(background.generators()[0].orphans);
    let work = works(of_team(copied), &[config_map("team", "source")]);
    assert_eq!(work.made[0].object["metadata"]["labels"]["generate.kyverno.io/source-uid"], "source");
}

/// A rule about ConfigMaps in a policy of the namespace `team`.
fn of_team(rule: Value) -> Value {
    let mut policy = policy("p", "Audit", rule);
    policy["kind"] = "Policy".into();
    policy["metadata"]["namespace"] = "team".into();
    policy["spec"]["rules"][0]["match"] = json!({"any": [{"resources": {"kinds": ["ConfigMap"]}}]});
    policy
}

fn config_map(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"to": "kube-system"},
        "metadata": {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "7"}})
}

fn works(policy: Value, stored: &[Value]) -> super::Work {
    let background = engine(&[policy]).background();
    let [generator] = background.generators().try_into().unwrap();
    let now = "2024-05-06T07:08:09Z".parse().unwrap();
    let data = Objects::new(stored.iter().cloned());
    background.work(&generator, (&config_map("team", "trigger"), Operation::Create), &Value::Null, now, &data).unwrap()
}

#[test]
fn a_policy_of_a_namespace_makes_and_copies_nothing_elsewhere() {
    let secret = |namespace: &str, from: &str| {
        json!({"generate": {"apiVersion": "v1", "kind": "Secret", "name": "s", "namespace": namespace,
            "clone": {"name": "token", "namespace": from}}})
    };
    let role = json!({"generate": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "name": "all", "data": {}}});
    let list =
        json!({"generate": {"namespace": "team", "cloneList": {"namespace": "kube-system", "kinds": ["v1/Secret"]}}});
    let each = json!({"generate": {"foreach": [{"list": "request.object.data.*",
        "apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": "default", "data": {}}]}});
    for (rule, why) in [
        (secret("kube-system", "team"), "cannot generate into namespace \"kube-system\""),
        (secret("team", "kube-system"), "cannot copy from namespace \"kube-system\""),
        (role, "cannot generate into namespace \"\""),
        (list, "cannot copy from namespace \"kube-system\""),
        (each, "cannot generate into namespace \"default\""),
    ] {
        let causes = Kyverno::new().check(&mut of_team(rule), None, &Objects::new([])).unwrap_err();
        let told: Vec<String> = causes.iter().map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].contains(why) && told[0].contains("spec.rules[0].generate"), "{told:?}");
    }
    let params = json!({"validate": {"cel": {"paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "paramRef": {"name": "token", "namespace": "kube-system"}, "expressions": [{"expression": "params == null"}]}}});
    let causes = Kyverno::new().check(&mut of_team(params), None, &Objects::new([])).unwrap_err();
    assert!(causes[0].to_string().contains("cannot read from namespace \"kube-system\""), "{causes:?}");
    let named = "{{ request.object.data.to }}";
    let stored =
        [json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "kube-system"}})];
    for (rule, why) in [
        (secret(named, "team"), "cannot generate into namespace \"kube-system\""),
        (secret("team", named), "cannot copy from namespace \"kube-system\""),
    ] {
        let work = works(of_team(rule), &stored);
        assert!(work.made.is_empty() && work.error.as_ref().is_some_and(|it| it.contains(why)), "{work:?}");
    }
    let own =
        json!({"generate": {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "namespace": "team", "data": {}}});
    let work = works(of_team(own), &[]);
    assert_eq!((work.error, work.made.len()), (None, 1));
}

#[test]
fn a_target_stays_the_object_that_it_is() {
    let changing = |patch: &str| {
        of_team(json!({"mutate": {"targets": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "target"}],
            "patchesJson6902": patch}}))
    };
    let stored = [config_map("team", "target"), config_map("kube-system", "target")];
    for path in
        ["/kind", "/apiVersion", "/metadata/namespace", "/metadata/name", "/metadata/uid", "/metadata/resourceVersion"]
    {
        let work = works(changing(&format!("- {{op: replace, path: {path}, value: other}}")), &stored);
        let told = work.error.unwrap_or_default();
        assert!(work.changed.is_empty() && told.contains("must leave the target"), "{path}: {told}");
    }
    let work = works(changing("- {op: remove, path: /metadata/resourceVersion}"), &stored);
    assert!(work.changed.is_empty() && work.error.is_some());
    let work = works(changing("- {op: add, path: /data/more, value: x}"), &stored);
    assert_eq!((work.error, work.changed.len()), (None, 1));
    assert_eq!(work.changed[0]["metadata"]["namespace"], "team");
}
