use expect_test::{Expect, expect};

use super::*;
use crate::kinds::builtin;

/// Prints a table as kubectl's wide output does: names in capitals, two spaces between.
fn print(table: &Value) -> String {
    let text = |it: &Value| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
    let header = table["columnDefinitions"].as_array().expect("columns");
    let mut lines = vec![header.iter().map(|it| text(&it["name"]).to_uppercase()).collect::<Vec<_>>()];
    for row in table["rows"].as_array().expect("rows") {
        lines.push(row["cells"].as_array().expect("cells").iter().map(text).collect());
    }
    lines.iter().map(|line| line.join("  ") + "\n").collect()
}

fn check(api_version: &str, kind: &str, mut object: Value, expected: Expect) {
    let kind = builtin().by_api_version(api_version, kind).expect("known");
    object["metadata"]["name"] = "x".into();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    let now = "2026-01-01T02:00:00Z".parse().expect("a time");
    expected.assert_eq(&print(&render(kind, &[&object], now, Options::default())));
}

#[test]
fn every_kind_fills_every_column() {
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    for kind in builtin().iter() {
        for object in [json!({}), json!({"metadata": 1, "spec": [], "status": "x"})] {
            let table = render(kind, &[&object], now, Options::default());
            let (columns, cells) = (&table["columnDefinitions"], &table["rows"][0]["cells"]);
            let count = |it: &Value| it.as_array().map(Vec::len);
            assert_eq!(count(columns), count(cells), "{}", kind.group_kind());
        }
    }
}

#[test]
fn workloads() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "x"}}, "template": template});
    let status = json!({"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2});
    let object = json!({"spec": spec, "status": status});
    check(
        "apps/v1",
        "Deployment",
        object.clone(),
        expect![[r#"
        NAME  READY  UP-TO-DATE  AVAILABLE  AGE  CONTAINERS  IMAGES  SELECTOR
        x  2/3  1  2  120m  a,b  i,j  app=x
    "#]],
    );
    check(
        "apps/v1",
        "ReplicaSet",
        object.clone(),
        expect![[r#"
        NAME  DESIRED  CURRENT  READY  AGE  CONTAINERS  IMAGES  SELECTOR
        x  3  3  2  120m  a,b  i,j  app=x
    "#]],
    );
    check(
        "apps/v1",
        "StatefulSet",
        object,
        expect![[r#"
        NAME  READY  AGE  CONTAINERS  IMAGES
        x  2/3  120m  a,b  i,j
    "#]],
    );
    let status = json!({"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:07Z", "succeeded": 1,
        "conditions": [{"type": "Complete", "status": "True"}]});
    check(
        "batch/v1",
        "Job",
        json!({"spec": {"completions": 1, "template": template}, "status": status}),
        expect![[r#"
            NAME  STATUS  COMPLETIONS  DURATION  AGE  CONTAINERS  IMAGES  SELECTOR
            x  Complete  1/1  7s  120m  a,b  i,j  <none>
        "#]],
    );
    let cron = json!({"spec": {"schedule": "* * * * *", "suspend": false}, "status": {"active": [{}]}});
    check(
        "batch/v1",
        "CronJob",
        cron,
        expect![[r#"
        NAME  SCHEDULE  TIMEZONE  SUSPEND  ACTIVE  LAST SCHEDULE  AGE  CONTAINERS  IMAGES  SELECTOR
        x  * * * * *  <none>  False  1  <none>  120m      <none>
    "#]],
    );
}

#[test]
fn networking() {
    let ports = json!([{"port": 80, "protocol": "TCP"}, {"port": 81, "nodePort": 30000, "protocol": "UDP"}]);
    let spec = json!({"type": "ClusterIP", "clusterIP": "10.43.0.1", "ports": ports, "selector": {"app": "x"}});
    check(
        "v1",
        "Service",
        json!({"spec": spec}),
        expect![[r#"
        NAME  TYPE  CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE  SELECTOR
        x  ClusterIP  10.43.0.1  <none>  80/TCP,81:30000/UDP  120m  app=x
    "#]],
    );
    check(
        "v1",
        "Service",
        json!({"spec": {"type": "LoadBalancer"}}),
        expect![[r#"
        NAME  TYPE  CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE  SELECTOR
        x  LoadBalancer  <none>  <pending>  <none>  120m  <none>
    "#]],
    );
    let slice = json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.42.0.1"]}]});
    check(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        slice,
        expect![[r#"
        NAME  ADDRESSTYPE  PORTS  ENDPOINTS  AGE
        x  IPv4  80  10.42.0.1  120m
    "#]],
    );
    let ingress = json!({"spec": {"rules": [{"host": "a.b"}], "tls": [{}]}});
    check(
        "networking.k8s.io/v1",
        "Ingress",
        ingress,
        expect![[r#"
        NAME  CLASS  HOSTS  ADDRESS  PORTS  AGE
        x  <none>  a.b    80, 443  120m
    "#]],
    );
    check(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        json!({"spec": {"hostnames": ["a", "b"]}}),
        expect![[r#"
        NAME  HOSTNAMES  AGE
        x  ["a","b"]  120m
    "#]],
    );
    let status =
        json!({"addresses": [{"value": "127.0.0.1"}], "conditions": [{"type": "Programmed", "status": "True"}]});
    let gateway = json!({"spec": {"gatewayClassName": "eyot"}, "status": status});
    check(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        gateway,
        expect![[r#"
        NAME  CLASS  ADDRESS  PROGRAMMED  AGE
        x  eyot  127.0.0.1  True  120m
    "#]],
    );
}

#[test]
fn cluster_kinds() {
    let node = json!({
        "metadata": {"labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}},
        "spec": {"unschedulable": true},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Debian", "containerRuntimeVersion": "eyot://1"},
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        },
    });
    check(
        "v1",
        "Node",
        node,
        expect![[r#"
        NAME  STATUS  ROLES  AGE  VERSION  INTERNAL-IP  EXTERNAL-IP  OS-IMAGE  KERNEL-VERSION  CONTAINER-RUNTIME
        x  Ready,SchedulingDisabled  control-plane,edge  120m  v1.37.0  127.0.0.1  <none>  Debian  <unknown>  eyot://1
    "#]],
    );
    let event = json!({
        "type": "Normal", "reason": "Started", "message": "Started container a\n", "count": 3,
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{a}"},
        "source": {"component": "kubelet", "host": "n"},
        "firstTimestamp": "2026-01-01T01:00:00Z", "lastTimestamp": "2026-01-01T01:59:00Z",
    });
    check(
        "v1",
        "Event",
        event,
        expect![[r#"
        LAST SEEN  TYPE  REASON  OBJECT  SUBOBJECT  SOURCE  MESSAGE  FIRST SEEN  COUNT  NAME
        60s  Normal  Started  pod/p  spec.containers{a}  kubelet, n  Started container a  60m  3  x
    "#]],
    );
    check(
        "v1",
        "Secret",
        json!({"type": "Opaque", "data": {"k": ""}}),
        expect![[r#"
        NAME  TYPE  DATA  AGE
        x  Opaque  1  120m
    "#]],
    );
    check(
        "v1",
        "Namespace",
        json!({"status": {"phase": "Active"}}),
        expect![[r#"
        NAME  STATUS  AGE
        x  Active  120m
    "#]],
    );
    check(
        "apps/v1",
        "ControllerRevision",
        json!({"revision": 2}),
        expect![[r#"
        NAME  CONTROLLER  REVISION  AGE
        x  <none>  2  120m
    "#]],
    );
    check(
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        json!({}),
        expect![[r#"
        NAME  CREATED AT
        x  2026-01-01T00:00:00Z
    "#]],
    );
}

#[test]
fn rows_carry_what_was_asked_for() {
    let pods = builtin().by_plural("", "v1", "pods").expect("known");
    let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Succeeded"}});
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let row = |include| render(pods, &[&pod], now, Options { include, no_headers: true })["rows"][0].clone();
    assert_eq!(row(Include::None).get("object"), None);
    assert_eq!(row(Include::Object)["object"], pod);
    assert_eq!(row(Include::Metadata)["object"], partial(&pod));
    assert_eq!(row(Include::None)["conditions"][0]["reason"], "Succeeded");
}

#[test]
fn drivers_and_policies() {
    check(
        "storage.k8s.io/v1",
        "CSIDriver",
        json!({"spec": {"attachRequired": false, "tokenRequests": [{"audience": "a"}, {"audience": "b"}]}}),
        expect![[r#"
            NAME  ATTACHREQUIRED  PODINFOONMOUNT  STORAGECAPACITY  TOKENREQUESTS  REQUIRESREPUBLISH  MODES  AGE
            x  false  false  false  a,b  false  <none>  120m
        "#]],
    );
    check(
        "storage.k8s.io/v1",
        "VolumeAttachment",
        json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}}, "status": {"attached": true}}),
        expect![[r#"
            NAME  ATTACHER  PV  NODE  ATTACHED  AGE
            x  d  v  n  true  120m
        "#]],
    );
    check(
        "networking.k8s.io/v1",
        "IPAddress",
        json!({"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "s"}}}),
        expect![[r#"
            NAME  PARENTREF  AGE
            x  services/default/s  120m
        "#]],
    );
    check(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        json!({"spec": {"policyName": "p", "paramRef": {"name": "c"}}}),
        expect![[r#"
            NAME  POLICYNAME  PARAMREF  AGE
            x  p  */c  120m
        "#]],
    );
    check(
        "flowcontrol.apiserver.k8s.io/v1",
        "PriorityLevelConfiguration",
        json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 30}}}),
        expect![[r#"
            NAME  TYPE  NOMINALCONCURRENCYSHARES  QUEUES  HANDSIZE  QUEUELENGTHLIMIT  AGE
            x  Limited  30  <none>  <none>  <none>  120m
        "#]],
    );
    check(
        "resource.k8s.io/v1",
        "ResourceClaim",
        json!({"status": {"allocation": {}, "reservedFor": [{"name": "p"}]}}),
        expect![[r#"
            NAME  STATE  AGE
            x  allocated,reserved  120m
        "#]],
    );
}
