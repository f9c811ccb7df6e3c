//! Policies as the API server sees them: what is refused when they are written, and what they say of a write.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use eyot_model::kinds;
use eyot_opa::{Config, Opa};
use eyot_policy::{Engine, Objects, Operation, Options, Review, User};
use eyot_registry::{Blobs, Images, ImagesConfig};
use eyot_runtime::{Runtime, RuntimeConfig};
use serde_json::{Value, json};

struct Bench {
    opa: Opa,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(RuntimeConfig::new(dir.path().join("cache"))).unwrap();
        let blobs = Blobs::open(dir.path().join("oci")).unwrap();
        let images = Images::new(blobs, ImagesConfig::new(Vec::<String>::new()));
        let config = Config { data_dir: dir.path().join("opa"), node: "n".into() };
        Bench { opa: Opa::new(config, runtime, images), _dir: dir }
    }

    /// What is said of a pod that is created in a namespace.
    fn judge(&self, namespace: &str, pod: &Value) -> String {
        self.judge_as(kinds::builtin().by_plural("", "v1", "pods").unwrap(), namespace, pod)
    }

    /// The same of an object of any kind.
    fn judge_as(&self, kind: &kinds::Kind, namespace: &str, object: &Value) -> String {
        let (groups, extra) = (vec!["dev".to_owned()], BTreeMap::new());
        let review = Review {
            now: jiff::Timestamp::UNIX_EPOCH,
            operation: Operation::Create,
            resource: kind,
            requested: kind,
            subresource: "",
            namespace,
            name: "p",
            user: User { name: "eve", uid: "", groups: &groups, extra: &extra },
            options: Options { kind: "CreateOptions", ..Options::default() },
            object,
            old: None,
            namespace_object: None,
        };
        if !self.opa.wants(&review) {
            return "not asked".to_owned();
        }
        let verdict = self.opa.validate(&review, &Objects::new([]));
        let denials: Vec<String> = verdict.denials.iter().map(|it| format!("{} {}", it.code, it.message)).collect();
        format!("{denials:?} {:?} {:?}", verdict.warnings, verdict.audit_annotations)
    }
}

fn policy(name: &str, module: &str, change: impl FnOnce(&mut Value)) -> Value {
    let rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["pods"]});
    let mut policy = json!({
        "apiVersion": "eyot.dev/v1alpha1", "kind": "Policy", "metadata": {"name": name, "generation": 1},
        "spec": {"rego": {"modules": {"m.rego": module}}, "admission": {"decision": "p/deny", "rules": [rule],
            "excludedNamespaces": ["kube-*"]}},
    });
    change(&mut policy["spec"]);
    policy
}

const BY_USER: &str = "package p\n\ndeny contains sprintf(\"%v may not make %v\", [input.request.userInfo.username, name]) if {\n  \
                       name := input.request.object.metadata.name\n  startswith(name, data.prefix)\n}\n";

#[test]
fn decisions_become_denials_warnings_or_notes() {
    let bench = Bench::new();
    let with_data = |spec: &mut Value| spec["rego"]["data"] = json!({"prefix": "x-"});
    bench.opa.put(&policy("strict", BY_USER, with_data));
    bench.opa.put(&policy("mild", BY_USER, |spec| {
        with_data(spec);
        spec["admission"]["enforcement"] = "warn".into();
    }));
    bench.opa.put(&policy("silent", BY_USER, |spec| {
        with_data(spec);
        spec["admission"]["enforcement"] = "dryrun".into();
    }));
    let judge = |namespace: &str, name: &str| bench.judge(namespace, &json!({"metadata": {"name": name}}));
    expect![[r#"["403 policy \"strict\" denied the request: eve may not make x-1"] ["policy \"mild\": eve may not make x-1"] [("silent/denied", "eve may not make x-1")]"#]]
        .assert_eq(&judge("default", "x-1"));
    expect!["[] [] []"].assert_eq(&judge("default", "y"));
    expect!["not asked"].assert_eq(&judge("kube-system", "x-1"));
    bench.opa.remove("eyot.dev", "Policy", "", "strict");
    bench.opa.remove("eyot.dev", "Policy", "", "mild");
    bench.opa.remove("eyot.dev", "Policy", "", "silent");
    expect!["not asked"].assert_eq(&judge("default", "x-1"));
}

#[test]
fn what_cannot_be_judged_follows_the_failure_policy() {
    let bench = Bench::new();
    let pod = json!({"metadata": {"name": "p"}});
    bench.opa.put(&policy("wrong", "package p\n\nother := 1\n", |_| {}));
    expect![[r#"["500 Internal error occurred: policy \"wrong\" could not judge the request: data.p.deny is undefined"] [] []"#]]
        .assert_eq(&bench.judge("default", &pod));
    bench
        .opa
        .put(&policy("wrong", "package p\n\ndeny := 1\n", |spec| spec["admission"]["failurePolicy"] = "Ignore".into()));
    expect![[r#"[] [] [("wrong/failed-open", "the decision is number, which says nothing about a request")]"#]]
        .assert_eq(&bench.judge("default", &pod));
    bench.opa.put(&policy("wrong", "", |spec| {
        spec.as_object_mut().unwrap().remove("rego");
        spec["bundle"] = json!({"file": "/nowhere"});
    }));
    expect![[r#"["500 Internal error occurred: policy \"wrong\" could not judge the request: the policy is not there yet: no bundle has come from file /nowhere yet"] [] []"#]]
        .assert_eq(&bench.judge("default", &pod));
}

#[test]
fn a_policy_is_compiled_when_it_is_written_and_a_broken_one_is_not_put_in_force() {
    let bench = Bench::new();
    #[track_caller]
    fn check(bench: &Bench, module: &str, want: Expect) {
        let mut object = policy("a", module, |_| {});
        let got = match bench.opa.check(&mut object, None, &Objects::new([])) {
            Ok(warnings) => format!("{warnings:?} {}", object["status"]["conditions"][0]["reason"]),
            Err(causes) => causes.iter().map(|it| format!("{}: {}", it.field, it.message)).collect(),
        };
        want.assert_eq(&got);
    }
    check(&bench, "package p\n\ndeny contains 1 if false\n", expect![[r#"[] "Compiled""#]]);
    check(
        &bench,
        "package p\n\nallow := true\n",
        expect![[r#"["spec.admission.decision: no rule defines data.p.deny"] "Compiled""#]],
    );
    check(
        &bench,
        "package p\n\ndeny contains x if y\n",
        expect!["spec.rego.modules[m.rego]: 3:15: rego_unsafe_var_error: var x is unsafe"],
    );
    let pod = json!({"metadata": {"name": "p"}});
    bench.opa.put(&policy("a", "package p\n\ndeny contains \"always\"\n", |_| {}));
    bench.opa.put(&policy("a", "package p\n\ndeny contains {\n", |_| {}));
    expect![[r#"["403 policy \"a\" denied the request: always"] [] []"#]].assert_eq(&bench.judge("default", &pod));
}

#[test]
fn a_stored_policy_that_does_not_compile_after_a_start_follows_its_failure_policy() {
    let bench = Bench::new();
    let pod = json!({"metadata": {"name": "p"}});
    bench.opa.put(&policy("a", "package p\n\ndeny contains {\n", |_| {}));
    expect![[r#"["500 Internal error occurred: policy \"a\" could not judge the request: the policy is not there yet: it does not compile"] [] []"#]]
        .assert_eq(&bench.judge("default", &pod));
    bench.opa.put(&policy("a", "package p\n\ndeny contains \"now\"\n", |_| {}));
    expect![[r#"["403 policy \"a\" denied the request: now"] [] []"#]].assert_eq(&bench.judge("default", &pod));
}

#[test]
fn a_stored_policy_that_is_not_understood_after_a_start_follows_its_failure_policy() {
    let bench = Bench::new();
    let pod = json!({"metadata": {"name": "p"}});
    // As another version may have taken it.
    let stored = policy("a", "package p\n\ndeny := set()\n", |spec| spec["rego"]["later"] = json!({}));
    bench.opa.put(&stored);
    let said = bench.judge("default", &pod);
    assert!(said.starts_with(r#"["500 Internal error occurred: policy \"a\" could not judge the request: "#), "{said}");
    assert!(said.contains("it is not understood: spec: unknown field `later`"), "{said}");
    assert_eq!(bench.judge("kube-system", &pod), "not asked", "what is known of it counts");
    let causes = bench.opa.check(&mut stored.clone(), Some(&stored), &Objects::new([])).unwrap_err();
    let ready = &bench.opa.doubted(&stored, &causes).unwrap()["conditions"][0];
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("Unreadable")));
    // A policy about everything does not keep itself from being repaired.
    bench.opa.remove("eyot.dev", "Policy", "", "a");
    bench.opa.put(&policy("all", "package p\n", |spec| {
        spec["rego"]["later"] = json!({});
        spec["admission"]["rules"] = json!([{"resources": ["*"]}]);
    }));
    assert!(bench.judge("default", &pod).contains("could not judge"));
    let mut kind = kinds::Kind::clone(kinds::builtin().by_plural("", "v1", "pods").unwrap());
    (kind.group, kind.version, kind.kind, kind.plural) =
        ("eyot.dev".into(), "v1alpha1".into(), "Policy".into(), "policies".into());
    assert_eq!(bench.judge_as(&kind, "", &stored), "[] [] []");
    // Those that let pass what cannot be judged do.
    bench.opa.remove("eyot.dev", "Policy", "", "all");
    bench.opa.put(&policy("a", "package p\n", |spec| {
        spec["rego"]["later"] = json!({});
        spec["admission"]["failurePolicy"] = "Ignore".into();
    }));
    let said = bench.judge("default", &pod);
    assert!(said.starts_with("[] []") && said.contains("failed-open"), "{said}");
    bench.opa.put(&policy("a", "package p\n\ndeny contains \"now\"\n", |_| {}));
    expect![[r#"["403 policy \"a\" denied the request: now"] [] []"#]].assert_eq(&bench.judge("default", &pod));
}

#[test]
fn stored_objects_are_judged_as_if_they_were_created() {
    let bench = Bench::new();
    bench.opa.put(&policy("a", BY_USER, |spec| spec["rego"]["data"] = json!({"prefix": "x"})));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x1", "namespace": "default"}});
    let now = jiff::Timestamp::UNIX_EPOCH;
    let findings = bench.opa.audit(&pod, None, now, &Objects::new([]));
    assert_eq!(
        (findings.len(), findings[0].message.as_str(), findings[0].action.as_str()),
        (1, " may not make x1", "deny")
    );
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x1", "namespace": "default"}});
    assert_eq!(bench.opa.audit(&other, None, now, &Objects::new([])).len(), 0);
}

#[test]
fn nobody_gets_past_a_policy_in_another_version_of_the_kind() {
    let bench = Bench::new();
    let module = "package p\n\ndeny contains sprintf(\"%v %v\", [input.request.kind.version, input.request.object.apiVersion])\n";
    bench.opa.put(&policy("scalers", module, |spec| {
        spec["admission"]["rules"][0] = json!({"operations": ["CREATE"], "apiGroups": ["autoscaling"],
            "apiVersions": ["v2"], "resources": ["horizontalpodautoscalers"]});
    }));
    let judged = |version: &str| {
        let kind = kinds::builtin().by_plural("autoscaling", version, "horizontalpodautoscalers").unwrap();
        let object = json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "p"}, "spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}});
        bench.judge_as(kind, "default", &object)
    };
    let refused = r#"["403 policy \"scalers\" denied the request: v2 autoscaling/v2"] [] []"#;
    assert_eq!((judged("v2").as_str(), judged("v1").as_str()), (refused, refused));
    assert_eq!(bench.judge("default", &json!({"metadata": {"name": "p"}})), "not asked");
}
