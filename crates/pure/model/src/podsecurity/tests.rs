use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn pod(change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "metadata": {"name": "p"},
        "spec": {
            "containers": [{"name": "c", "image": "i", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            }}],
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        },
    });
    change(&mut pod);
    pod
}

fn standard(text: &str) -> Standard {
    let (level, version) = text.split_once(':').expect("LEVEL:VERSION");
    Standard { level: parse_level(level).expect("level"), version: parse_version(version).expect("version") }
}

#[track_caller]
fn check(under: &str, changes: &[(&str, Value)], want: Expect) {
    let pod = pod(|pod| {
        for (pointer, value) in changes {
            let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
            pod.pointer_mut(parent).expect("a parent")[field] = value.clone();
        }
    });
    want.assert_eq(&describe(&violations(standard(under), &pod)));
}

#[test]
fn a_careful_pod_passes() {
    check("restricted:latest", &[], expect![""]);
    check("restricted:v1.0", &[], expect![""]);
    check("privileged:latest", &[("/spec/hostPID", true.into())], expect![""]);
}

#[test]
fn a_plain_pod_breaks_the_restricted_standard_in_four_ways() {
    let plain = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
    expect![[r#"allowPrivilegeEscalation != false (containers "a", "b" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (containers "a", "b" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or containers "a", "b" must set securityContext.runAsNonRoot=true), seccompProfile (pod or containers "a", "b" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#]]
        .assert_eq(&describe(&violations(standard("restricted:latest"), &plain)));
    assert_eq!(violations(standard("baseline:latest"), &plain), []);
}

#[test]
fn baseline_forbids_what_leads_out() {
    let context = "/spec/containers/0/securityContext";
    for (pointer, value, want) in [
        ("/spec/hostNetwork".to_owned(), json!(true), expect!["host namespaces (hostNetwork=true)"]),
        (
            format!("{context}/privileged"),
            json!(true),
            expect![[r#"privileged (container "c" must not set securityContext.privileged=true)"#]],
        ),
        (
            format!("{context}/capabilities"),
            json!({"add": ["SYS_ADMIN", "CHOWN", "NET_ADMIN"]}),
            expect![[
                r#"non-default capabilities (container "c" must not include "NET_ADMIN", "SYS_ADMIN" in securityContext.capabilities.add)"#
            ]],
        ),
        (
            "/spec/volumes".to_owned(),
            json!([{"name": "v", "hostPath": {"path": "/"}}]),
            expect![[r#"hostPath volumes (volume "v")"#]],
        ),
        (
            "/spec/containers/0/ports".to_owned(),
            json!([{"hostPort": 80}, {"hostPort": 0}]),
            expect![[r#"hostPort (container "c" uses hostPort 80)"#]],
        ),
        (
            "/spec/containers/0/livenessProbe".to_owned(),
            json!({"httpGet": {"host": "10.0.0.1"}}),
            expect![[r#"probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")"#]],
        ),
        (
            format!("{context}/procMount"),
            json!("Unmasked"),
            expect![[r#"procMount (container "c" must not set securityContext.procMount to "Unmasked")"#]],
        ),
        (
            "/spec/securityContext/seLinuxOptions".to_owned(),
            json!({"type": "spc_t", "user": "u"}),
            expect![[
                r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)"#
            ]],
        ),
        (
            "/spec/securityContext/seccompProfile".to_owned(),
            json!({"type": "Unconfined"}),
            expect![[r#"seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#]],
        ),
        (
            "/spec/securityContext/sysctls".to_owned(),
            json!([{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]),
            expect!["forbidden sysctls (kernel.msgmax)"],
        ),
        (
            "/spec/securityContext/windowsOptions".to_owned(),
            json!({"hostProcess": true}),
            expect!["hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"],
        ),
        (
            "/spec/securityContext/appArmorProfile".to_owned(),
            json!({"type": "Unconfined"}),
            expect![[r#"forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")"#]],
        ),
        (
            "/metadata/annotations".to_owned(),
            json!({"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}),
            expect![[
                r#"forbidden AppArmor profile (annotation "container.apparmor.security.beta.kubernetes.io/c" must not set AppArmor profile type to "unconfined")"#
            ]],
        ),
    ] {
        check("baseline:latest", &[(&pointer, value)], want);
    }
}

#[test]
fn restricted_asks_for_more() {
    let context = "/spec/containers/0/securityContext";
    for (pointer, value, want) in [
        (
            "/spec/volumes".to_owned(),
            json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "nfs": {}}, {"name": "x", "secret": {}}]),
            expect![[r#"restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")"#]],
        ),
        (
            "/spec/securityContext/runAsNonRoot".to_owned(),
            json!(false),
            expect!["runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)"],
        ),
        (
            format!("{context}/runAsUser"),
            json!(0),
            expect![[r#"runAsUser=0 (container "c" must not set runAsUser=0)"#]],
        ),
        (
            format!("{context}/capabilities"),
            json!({"drop": ["KILL"], "add": ["CHOWN", "NET_BIND_SERVICE"]}),
            expect![[
                r#"unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; container "c" must not include "CHOWN" in securityContext.capabilities.add)"#
            ]],
        ),
        (
            format!("{context}/seccompProfile"),
            json!({"type": "Unconfined"}),
            expect![[
                r#"seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")"#
            ]],
        ),
    ] {
        check("restricted:latest", &[(&pointer, value)], want);
    }
}

#[test]
fn versions_pin_the_checks() {
    let sysctl = [("/spec/securityContext/sysctls", json!([{"name": "net.ipv4.tcp_rmem"}]))];
    check("baseline:v1.31", &sysctl, expect!["forbidden sysctls (net.ipv4.tcp_rmem)"]);
    check("baseline:v1.32", &sysctl, expect![""]);
    let root = [("/spec/securityContext/runAsUser", json!(0))];
    check("restricted:v1.22", &root, expect![""]);
    let annotation = [("/metadata/annotations", json!({"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}))];
    check(
        "baseline:v1.18",
        &annotation,
        expect![[r#"seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#]],
    );
    check("baseline:v1.19", &annotation, expect![""]);
    let windows = [
        ("/spec/os", json!({"name": "windows"})),
        ("/spec/containers/0/securityContext", json!({})),
        ("/spec/securityContext", json!({"runAsNonRoot": true})),
    ];
    check("restricted:v1.25", &windows, expect![""]);
    let users = [("/spec/hostUsers", json!(false)), ("/spec/securityContext/runAsUser", json!(0))];
    check("restricted:latest", &users, expect![""]);
    check("restricted:v1.34", &users, expect!["runAsUser=0 (pod must not set runAsUser=0)"]);
}

#[test]
fn labels_choose_the_standard() {
    let of = |labels: Value| {
        let policy = Policy::of(|key| labels.get(key)?.as_str());
        format!("{} {} {}", policy.enforce, policy.audit, policy.warn)
    };
    assert_eq!(of(json!({})), "privileged:latest privileged:latest privileged:latest");
    let labels = json!({
        "pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/enforce-version": "v1.30",
        "pod-security.kubernetes.io/warn": "restricted",
    });
    assert_eq!(of(labels), "baseline:v1.30 privileged:latest restricted:latest");
    assert_eq!(
        of(json!({"pod-security.kubernetes.io/enforce": "strict"})),
        "restricted:latest privileged:latest privileged:latest"
    );
}

#[test]
fn wrong_labels_are_named() {
    let causes = |labels: Value| -> Vec<String> {
        check_labels(&json!({"metadata": {"labels": labels}})).iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        causes(json!({"pod-security.kubernetes.io/enforce": "strict"})),
        [
            r#"metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted"#
        ]
    );
    for bad in ["1.2", "v1", "v1.01", "v2.0", "v1.x"] {
        let found = causes(json!({"pod-security.kubernetes.io/warn-version": bad}));
        assert_eq!(found.len(), 1, "{bad}");
    }
    assert!(causes(json!({"pod-security.kubernetes.io/audit": "baseline", "other/enforce": "x"})).is_empty());
}
