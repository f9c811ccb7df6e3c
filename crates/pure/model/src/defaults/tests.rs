use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::{kinds::builtin, testing::flat};

fn check(api_version: &str, kind: &str, mut object: Value, expected: Expect) {
    let kind = builtin().by_api_version(api_version, kind).expect("known");
    apply(kind, &mut object);
    expected.assert_eq(&flat(&object));
    let once = object.clone();
    apply(kind, &mut object);
    assert_eq!(object, once, "defaults are idempotent");
    let unknown = crate::schema::decode(kind, object, vec![], crate::schema::FieldValidation::Strict);
    assert_eq!(unknown.map(|it| it.object), Ok(once), "defaults are fields of the kind");
}

#[test]
fn pods() {
    let container = json!({
        "name": "a",
        "image": "localhost:5000/x:1",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"memory": "1Gi"}},
        "readinessProbe": {"httpGet": {"port": 80}},
        "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    });
    let volumes =
        json!([{"name": "e"}, {"name": "c", "configMap": {"name": "c"}}, {"name": "h", "hostPath": {"path": "/"}}]);
    let pod = json!({"spec": {"containers": [container], "volumes": volumes, "serviceAccountName": "s"}});
    check(
        "v1",
        "Pod",
        pod,
        expect![[r#"
        spec.containers[0].env[0].name: "N"
        spec.containers[0].env[0].valueFrom.fieldRef.apiVersion: "v1"
        spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: "metadata.name"
        spec.containers[0].image: "localhost:5000/x:1"
        spec.containers[0].imagePullPolicy: "IfNotPresent"
        spec.containers[0].name: "a"
        spec.containers[0].ports[0].containerPort: 80
        spec.containers[0].ports[0].protocol: "TCP"
        spec.containers[0].readinessProbe.failureThreshold: 3
        spec.containers[0].readinessProbe.httpGet.path: "/"
        spec.containers[0].readinessProbe.httpGet.port: 80
        spec.containers[0].readinessProbe.httpGet.scheme: "HTTP"
        spec.containers[0].readinessProbe.periodSeconds: 10
        spec.containers[0].readinessProbe.successThreshold: 1
        spec.containers[0].readinessProbe.timeoutSeconds: 1
        spec.containers[0].resources.limits.memory: "1Gi"
        spec.containers[0].resources.requests.memory: "1Gi"
        spec.containers[0].terminationMessagePath: "/dev/termination-log"
        spec.containers[0].terminationMessagePolicy: "File"
        spec.dnsPolicy: "ClusterFirst"
        spec.enableServiceLinks: true
        spec.restartPolicy: "Always"
        spec.schedulerName: "default-scheduler"
        spec.securityContext: {}
        spec.serviceAccount: "s"
        spec.serviceAccountName: "s"
        spec.terminationGracePeriodSeconds: 30
        spec.volumes[0].emptyDir: {}
        spec.volumes[0].name: "e"
        spec.volumes[1].configMap.defaultMode: 420
        spec.volumes[1].configMap.name: "c"
        spec.volumes[1].name: "c"
        spec.volumes[2].hostPath.path: "/"
        spec.volumes[2].hostPath.type: ""
        spec.volumes[2].name: "h"
    "#]],
    );
}

#[test]
fn deployments() {
    let object = json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x"}]}}}});
    check(
        "apps/v1",
        "Deployment",
        object,
        expect![[r#"
        spec.progressDeadlineSeconds: 600
        spec.replicas: 1
        spec.revisionHistoryLimit: 10
        spec.strategy.rollingUpdate.maxSurge: "25%"
        spec.strategy.rollingUpdate.maxUnavailable: "25%"
        spec.strategy.type: "RollingUpdate"
        spec.template.spec.containers[0].image: "x"
        spec.template.spec.containers[0].imagePullPolicy: "Always"
        spec.template.spec.containers[0].name: "a"
        spec.template.spec.containers[0].resources: {}
        spec.template.spec.containers[0].terminationMessagePath: "/dev/termination-log"
        spec.template.spec.containers[0].terminationMessagePolicy: "File"
        spec.template.spec.dnsPolicy: "ClusterFirst"
        spec.template.spec.restartPolicy: "Always"
        spec.template.spec.schedulerName: "default-scheduler"
        spec.template.spec.securityContext: {}
        spec.template.spec.terminationGracePeriodSeconds: 30
    "#]],
    );
    check(
        "apps/v1",
        "Deployment",
        json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}}),
        expect![[r#"
        spec.progressDeadlineSeconds: 600
        spec.replicas: 0
        spec.revisionHistoryLimit: 10
        spec.strategy.type: "Recreate"
    "#]],
    );
}

#[test]
fn other_workloads() {
    check(
        "apps/v1",
        "StatefulSet",
        json!({"spec": {"volumeClaimTemplates": [{}]}}),
        expect![[r#"
        spec.persistentVolumeClaimRetentionPolicy.whenDeleted: "Retain"
        spec.persistentVolumeClaimRetentionPolicy.whenScaled: "Retain"
        spec.podManagementPolicy: "OrderedReady"
        spec.replicas: 1
        spec.revisionHistoryLimit: 10
        spec.updateStrategy.rollingUpdate.partition: 0
        spec.updateStrategy.type: "RollingUpdate"
        spec.volumeClaimTemplates[0].apiVersion: "v1"
        spec.volumeClaimTemplates[0].kind: "PersistentVolumeClaim"
        spec.volumeClaimTemplates[0].spec.volumeMode: "Filesystem"
        spec.volumeClaimTemplates[0].status.phase: "Pending"
    "#]],
    );
    check(
        "apps/v1",
        "DaemonSet",
        json!({}),
        expect![[r#"
        spec.revisionHistoryLimit: 10
        spec.updateStrategy.rollingUpdate.maxSurge: 0
        spec.updateStrategy.rollingUpdate.maxUnavailable: 1
        spec.updateStrategy.type: "RollingUpdate"
    "#]],
    );
    check(
        "batch/v1",
        "Job",
        json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}),
        expect![[r#"
        metadata.labels.a: "b"
        spec.backoffLimit: 6
        spec.completionMode: "NonIndexed"
        spec.completions: 1
        spec.manualSelector: false
        spec.parallelism: 1
        spec.podReplacementPolicy: "TerminatingOrFailed"
        spec.suspend: false
        spec.template.metadata.labels.a: "b"
    "#]],
    );
    check(
        "batch/v1",
        "Job",
        json!({"spec": {"parallelism": 2}}),
        expect![[r#"
        metadata: {}
        spec.backoffLimit: 6
        spec.completionMode: "NonIndexed"
        spec.manualSelector: false
        spec.parallelism: 2
        spec.podReplacementPolicy: "TerminatingOrFailed"
        spec.suspend: false
    "#]],
    );
    check(
        "batch/v1",
        "CronJob",
        json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {}}}}}}),
        expect![[r#"
        spec.concurrencyPolicy: "Allow"
        spec.failedJobsHistoryLimit: 1
        spec.jobTemplate.spec.template.spec.dnsPolicy: "ClusterFirst"
        spec.jobTemplate.spec.template.spec.restartPolicy: "Always"
        spec.jobTemplate.spec.template.spec.schedulerName: "default-scheduler"
        spec.jobTemplate.spec.template.spec.securityContext: {}
        spec.jobTemplate.spec.template.spec.terminationGracePeriodSeconds: 30
        spec.successfulJobsHistoryLimit: 3
        spec.suspend: false
    "#]],
    );
}

#[test]
fn services() {
    check(
        "v1",
        "Service",
        json!({"spec": {"ports": [{"port": 80}]}}),
        expect![[r#"
        spec.internalTrafficPolicy: "Cluster"
        spec.ipFamilies[0]: "IPv4"
        spec.ipFamilyPolicy: "SingleStack"
        spec.ports[0].port: 80
        spec.ports[0].protocol: "TCP"
        spec.ports[0].targetPort: 80
        spec.sessionAffinity: "None"
        spec.type: "ClusterIP"
        status.loadBalancer: {}
    "#]],
    );
    check(
        "v1",
        "Service",
        json!({"spec": {"type": "ExternalName", "externalName": "x.y"}}),
        expect![[r#"
        spec.externalName: "x.y"
        spec.sessionAffinity: "None"
        spec.type: "ExternalName"
        status.loadBalancer: {}
    "#]],
    );
    let spec = json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP", "clusterIP": "10.43.0.9"});
    check(
        "v1",
        "Service",
        json!({"spec": spec}),
        expect![[r#"
        spec.allocateLoadBalancerNodePorts: true
        spec.clusterIP: "10.43.0.9"
        spec.clusterIPs[0]: "10.43.0.9"
        spec.externalTrafficPolicy: "Cluster"
        spec.internalTrafficPolicy: "Cluster"
        spec.ipFamilies[0]: "IPv4"
        spec.ipFamilyPolicy: "SingleStack"
        spec.sessionAffinity: "ClientIP"
        spec.sessionAffinityConfig.clientIP.timeoutSeconds: 10800
        spec.type: "LoadBalancer"
        status.loadBalancer: {}
    "#]],
    );
}

#[test]
fn routes() {
    let spec = json!({"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "s", "port": 80}]}]});
    check(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        json!({"spec": spec}),
        expect![[r#"
        spec.parentRefs[0].group: "gateway.networking.k8s.io"
        spec.parentRefs[0].kind: "Gateway"
        spec.parentRefs[0].name: "g"
        spec.rules[0].backendRefs[0].group: ""
        spec.rules[0].backendRefs[0].kind: "Service"
        spec.rules[0].backendRefs[0].name: "s"
        spec.rules[0].backendRefs[0].port: 80
        spec.rules[0].backendRefs[0].weight: 1
        spec.rules[0].matches[0].path.type: "PathPrefix"
        spec.rules[0].matches[0].path.value: "/"
    "#]],
    );
    let listener = json!({"name": "l", "port": 80, "protocol": "HTTP"});
    check(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        json!({"spec": {"listeners": [listener]}}),
        expect![[r#"
        spec.listeners[0].allowedRoutes.namespaces.from: "Same"
        spec.listeners[0].name: "l"
        spec.listeners[0].port: 80
        spec.listeners[0].protocol: "HTTP"
    "#]],
    );
}

#[test]
fn secrets_and_namespaces() {
    check(
        "v1",
        "Secret",
        json!({"stringData": {"k": "v"}, "data": {"k": "", "l": "YQ=="}}),
        expect![[r#"
        data.k: "dg=="
        data.l: "YQ=="
        type: "Opaque"
    "#]],
    );
    check(
        "v1",
        "Namespace",
        json!({"metadata": {"name": "n"}}),
        expect![[r#"
        metadata.labels.kubernetes.io/metadata.name: "n"
        metadata.name: "n"
    "#]],
    );
}

#[test]
fn images_that_may_change_are_pulled_always() {
    for (image, policy) in [
        ("x", "Always"),
        ("x:latest", "Always"),
        ("localhost:5000/x", "Always"),
        ("x:1", "IfNotPresent"),
        ("localhost:5000/a/x:1", "IfNotPresent"),
        ("x@sha256:0", "IfNotPresent"),
    ] {
        let pods = builtin().by_plural("", "v1", "pods").expect("known");
        let mut pod = json!({"spec": {"containers": [{"name": "a", "image": image}]}});
        apply(pods, &mut pod);
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
    }
}

#[test]
fn admission_adds_service_account_and_tolerations_once() {
    let pods = builtin().by_plural("", "v1", "pods").expect("known");
    let mut pod = json!({"spec": {"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]}});
    admit(pods, &mut pod);
    let once = pod.clone();
    admit(pods, &mut pod);
    assert_eq!(pod, once);
    assert_eq!(pod["spec"]["serviceAccount"], "default");
    assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
}
