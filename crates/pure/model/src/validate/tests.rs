use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::{defaults, kinds::builtin};

fn causes(api_version: &str, kind: &str, mut new: Value, old: Option<Value>) -> String {
    let kind = builtin().by_api_version(api_version, kind).expect("known");
    let complete = |object: &mut Value| {
        if object.pointer("/metadata/name").is_none() {
            object["metadata"]["name"] = "x".into();
        }
        defaults::apply(kind, object);
    };
    complete(&mut new);
    let old = old.map(|mut it| {
        complete(&mut it);
        it
    });
    check(kind, &new, old.as_ref()).iter().map(|it| format!("{} {it}\n", it.reason.as_str())).collect()
}

fn create(api_version: &str, kind: &str, new: Value, expected: Expect) {
    expected.assert_eq(&causes(api_version, kind, new, None));
}

fn update(api_version: &str, kind: &str, [old, new]: [Value; 2], expected: Expect) {
    expected.assert_eq(&causes(api_version, kind, new, Some(old)));
}

fn workload(spec: Value) -> Value {
    let mut object = json!({"spec": {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}},
    }});
    json_patch::merge(&mut object, &json!({"spec": spec}));
    object
}

fn pod(container: Value, spec: Value) -> Value {
    let mut object = json!({"spec": {"containers": [{"name": "a", "image": "i"}]}});
    json_patch::merge(&mut object["spec"]["containers"][0], &container);
    json_patch::merge(&mut object["spec"], &spec);
    object
}

#[test]
fn good_objects_pass() {
    create("apps/v1", "Deployment", workload(json!({})), expect![[""]]);
    create("apps/v1", "DaemonSet", workload(json!({})), expect![[""]]);
    create("apps/v1", "StatefulSet", workload(json!({"serviceName": "s"})), expect![[""]]);
    create("v1", "Pod", pod(json!({"readinessProbe": {"httpGet": {"port": "http"}}}), json!({})), expect![[""]]);
    create("v1", "Service", json!({"spec": {"ports": [{"port": 80}]}}), expect![[""]]);
    create("v1", "Service", json!({"spec": {"clusterIP": "None"}}), expect![[""]]);
    create("v1", "ConfigMap", json!({"data": {"a.b": ""}}), expect![[""]]);
    create("v1", "Namespace", json!({}), expect![[""]]);
    let slice = json!({"addressType": "IPv4", "ports": [{"name": "", "port": 80}], "endpoints": [{"addresses": ["10.42.0.1"]}]});
    create("discovery.k8s.io/v1", "EndpointSlice", slice, expect![[""]]);
    let route =
        json!({"spec": {"hostnames": ["x.localhost"], "rules": [{"backendRefs": [{"name": "s", "port": 80}]}]}});
    create("gateway.networking.k8s.io/v1", "HTTPRoute", route, expect![[""]]);
    let listener = json!({"name": "l", "port": 80, "protocol": "HTTP"});
    let gateway = json!({"spec": {"gatewayClassName": "eyot", "listeners": [listener]}});
    create("gateway.networking.k8s.io/v1", "Gateway", gateway, expect![[""]]);
    let job = json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "i"}]}}}});
    create("batch/v1", "Job", job, expect![[""]]);
    let role = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    create("rbac.authorization.k8s.io/v1", "Role", role, expect![[""]]);
    let event = json!({"involvedObject": {"kind": "Pod", "name": "p"}, "reason": "r", "message": ""});
    create("v1", "Event", event, expect![[""]]);
    create("coordination.k8s.io/v1", "Lease", json!({"spec": {"holderIdentity": "n"}}), expect![[""]]);
}

#[test]
fn metadata_follows_grammars() {
    let metadata = json!({
        "name": "Bad_Name",
        "labels": {"a b": "c", "d": "e f"},
        "annotations": {"-": "x"},
        "finalizers": ["a/b/c"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "controller": true}, {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "u", "controller": true}],
    });
    create(
        "v1",
        "ConfigMap",
        json!({"metadata": metadata}),
        expect![[r#"
        FieldValueInvalid metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        FieldValueInvalid metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        FieldValueInvalid metadata.labels: Invalid value: "e f": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        FieldValueInvalid metadata.annotations: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        FieldValueInvalid metadata.finalizers[0]: Invalid value: "a/b/c": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
        FieldValueInvalid metadata.ownerReferences[0].uid: Invalid value: "": must not be empty
        FieldValueInvalid metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","controller":true,"kind":"Pod","name":"p"},{"apiVersion":"v1","controller":true,"kind":"Pod","name":"q","uid":"u"}]: Only one reference can have Controller set to true
    "#]],
    );
    let long = "x".repeat(300 << 10);
    create(
        "v1",
        "ConfigMap",
        json!({"metadata": {"annotations": {"a": long}}}),
        expect![[r#"
        FieldValueTooLong metadata.annotations: Too long: may not be more than 262144 bytes
    "#]],
    );
}

#[test]
fn workloads_need_selectors_that_select() {
    create(
        "apps/v1",
        "Deployment",
        json!({"spec": {}}),
        expect![[r#"
            FieldValueRequired spec.selector: Required value
            FieldValueRequired spec.template.spec.containers: Required value
        "#]],
    );
    let other = json!({"replicas": -1, "selector": {"matchLabels": {"app": "y"}}});
    create(
        "apps/v1",
        "Deployment",
        workload(other),
        expect![[r#"
        FieldValueInvalid spec.replicas: Invalid value: -1: must be greater than or equal to 0
        FieldValueInvalid spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`
    "#]],
    );
    let rolling = json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}, "progressDeadlineSeconds": 5, "minReadySeconds": 5});
    create(
        "apps/v1",
        "Deployment",
        workload(rolling),
        expect![[r#"
        FieldValueInvalid spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0
        FieldValueInvalid spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds
    "#]],
    );
    let never = json!({"template": {"spec": {"restartPolicy": "Never"}}, "strategy": {"type": "Slow"}});
    create(
        "apps/v1",
        "Deployment",
        workload(never),
        expect![[r#"
        FieldValueNotSupported spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        FieldValueNotSupported spec.strategy.type: Unsupported value: "Slow": supported values: "Recreate", "RollingUpdate"
    "#]],
    );
    create(
        "batch/v1",
        "Job",
        json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}}),
        expect![[r#"
            FieldValueRequired spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "#]],
    );
    create(
        "batch/v1",
        "CronJob",
        json!({"spec": {"schedule": "often"}}),
        expect![[r#"
            FieldValueInvalid spec.schedule: Invalid value: "often": expected exactly 5 fields, found 1: [often]
            FieldValueRequired spec.jobTemplate.spec.template.spec.containers: Required value
            FieldValueRequired spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "#]],
    );
}

#[test]
fn pods_need_sound_containers_and_volumes() {
    create(
        "v1",
        "Pod",
        json!({"spec": {}}),
        expect![[r#"
        FieldValueRequired spec.containers: Required value
    "#]],
    );
    let container = json!({
        "name": "A",
        "image": "",
        "imagePullPolicy": "Sometimes",
        "ports": [{"containerPort": 0}, {"containerPort": 70000, "name": "TooLoud", "protocol": "ICMP"}],
        "env": [{"name": "A=B"}, {"name": "C", "value": "v", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing"}}}],
        "envFrom": [{}],
        "volumeMounts": [{"name": "nowhere", "mountPath": "/x"}, {"name": "v", "mountPath": "/x", "subPath": "../y"}],
        "resources": {"limits": {"memory": "1Mi"}, "requests": {"memory": "2Mi", "cpu": "-1"}},
        "livenessProbe": {"exec": {"command": []}, "httpGet": {"port": 0}, "successThreshold": 2, "periodSeconds": 0},
        "lifecycle": {"preStop": {}},
    });
    let volumes = json!([
        {"name": "v", "emptyDir": {}, "hostPath": {"path": ""}},
        {"name": "v", "secret": {"items": [{"key": "k", "path": "/abs"}]}},
        {"name": "w", "configMap": {"defaultMode": 9999}},
    ]);
    create(
        "v1",
        "Pod",
        pod(container, json!({"volumes": volumes, "restartPolicy": "Maybe"})),
        expect![[r#"
            FieldValueForbidden spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type
            FieldValueRequired spec.volumes[0].hostPath.path: Required value
            FieldValueDuplicate spec.volumes[1].name: Duplicate value: "v"
            FieldValueRequired spec.volumes[1].secret.secretName: Required value
            FieldValueInvalid spec.volumes[1].secret.items[0].path: Invalid value: "/abs": must be a relative path
            FieldValueInvalid spec.volumes[2].configMap.defaultMode: Invalid value: 9999: must be a number between 0 and 0777 (octal), both inclusive
            FieldValueRequired spec.volumes[2].configMap.name: Required value
            FieldValueInvalid spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            FieldValueRequired spec.containers[0].image: Required value
            FieldValueNotSupported spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"
            FieldValueRequired spec.containers[0].ports[0].containerPort: Required value
            FieldValueInvalid spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            FieldValueInvalid spec.containers[0].ports[1].name: Invalid value: "TooLoud": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            FieldValueNotSupported spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"
            FieldValueInvalid spec.containers[0].env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            FieldValueInvalid spec.containers[0].env[1].valueFrom: Invalid value: "": may not be specified when `value` is not empty
            FieldValueNotSupported spec.containers[0].env[1].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.nothing": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"
            FieldValueInvalid spec.containers[0].envFrom[0]: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
            FieldValueNotFound spec.containers[0].volumeMounts[0].name: Not found: "nowhere"
            FieldValueInvalid spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/x": must be unique
            FieldValueInvalid spec.containers[0].volumeMounts[1].subPath: Invalid value: "../y": must not contain '..'
            FieldValueInvalid spec.containers[0].resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0
            FieldValueInvalid spec.containers[0].resources.requests: Invalid value: "2Mi": must be less than or equal to memory limit of 1Mi
            FieldValueForbidden spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type
            FieldValueRequired spec.containers[0].livenessProbe.exec.command: Required value
            FieldValueInvalid spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive
            FieldValueInvalid spec.containers[0].livenessProbe.periodSeconds: Invalid value: 0: must be greater than or equal to 1
            FieldValueInvalid spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
            FieldValueRequired spec.containers[0].lifecycle.preStop: Required value: must specify a handler type
            FieldValueNotSupported spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure"
        "#]],
    );
    let spec = json!({
        "terminationGracePeriodSeconds": -1,
        "activeDeadlineSeconds": 0,
        "hostname": "Host",
        "nodeSelector": {"a": "b c"},
        "tolerations": [{"operator": "Equal"}, {"key": "k", "operator": "Exists", "value": "v", "tolerationSeconds": 3}],
        "initContainers": [{"name": "a", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}],
    });
    create(
        "v1",
        "Pod",
        pod(json!({}), spec),
        expect![[r#"
            FieldValueForbidden spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers
            FieldValueDuplicate spec.containers[0].name: Duplicate value: "a"
            FieldValueInvalid spec.hostname: Invalid value: "Host": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            FieldValueInvalid spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0
            FieldValueInvalid spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
            FieldValueInvalid spec.nodeSelector: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            FieldValueInvalid spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
            FieldValueInvalid spec.tolerations[1].value: Invalid value: "v": value must be empty when `operator` is 'Exists'
            FieldValueInvalid spec.tolerations[1].effect: Invalid value: "": effect must be 'NoExecute' when `tolerationSeconds` is set
        "#]],
    );
}

#[test]
fn endpoints_are_no_addresses_of_the_host_itself() {
    let slice = |addresses: Value| json!({"addressType": "IPv4", "ports": [], "endpoints": [{"addresses": addresses}]});
    create(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        slice(json!(["127.42.0.2", "10.42.0.1", "192.0.2.7"])),
        expect![[""]],
    );
    let own = json!(["127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.251", "::ffff:127.0.0.53"]);
    create(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        slice(own),
        expect![[r#"
            FieldValueInvalid endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            FieldValueInvalid endpoints[0].addresses[1]: Invalid value: "0.0.0.0": may not be unspecified ("0.0.0.0")
            FieldValueInvalid endpoints[0].addresses[2]: Invalid value: "169.254.169.254": may not be in the link-local range (169.254.0.0/16, fe80::/10)
            FieldValueInvalid endpoints[0].addresses[3]: Invalid value: "224.0.0.251": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)
            FieldValueInvalid endpoints[0].addresses[4]: Invalid value: "::ffff:127.0.0.53": may not be in the loopback range (127.0.0.0/8, ::1/128)
        "#]],
    );
    let subsets = json!([{"addresses": [{"ip": "::1"}, {"ip": "fe80::1"}], "notReadyAddresses": [{"ip": "ff02::1"}, {"ip": "::"}]}]);
    create(
        "v1",
        "Endpoints",
        json!({"subsets": subsets}),
        expect![[r#"
            FieldValueInvalid subsets[0].addresses[0].ip: Invalid value: "::1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            FieldValueInvalid subsets[0].addresses[1].ip: Invalid value: "fe80::1": may not be in the link-local range (169.254.0.0/16, fe80::/10)
            FieldValueInvalid subsets[0].notReadyAddresses[0].ip: Invalid value: "ff02::1": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)
            FieldValueInvalid subsets[0].notReadyAddresses[1].ip: Invalid value: "::": may not be unspecified ("::")
        "#]],
    );
}

#[test]
fn services_and_routes_need_sound_ports_and_paths() {
    create(
        "v1",
        "Service",
        json!({"spec": {}}),
        expect![[r#"
        FieldValueRequired spec.ports: Required value
    "#]],
    );
    let ports = json!([{"port": 0}, {"port": 80, "name": "a", "targetPort": 99999}, {"port": 80, "name": "a", "protocol": "X"}]);
    create(
        "v1",
        "Service",
        json!({"spec": {"type": "Odd", "ports": ports, "clusterIP": "10.0.0"}}),
        expect![[r#"
        FieldValueNotSupported spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
        FieldValueInvalid spec.clusterIP: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        FieldValueRequired spec.ports[0].name: Required value
        FieldValueInvalid spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        FieldValueInvalid spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
        FieldValueInvalid spec.ports[1].targetPort: Invalid value: 99999: must be between 1 and 65535, inclusive
        FieldValueNotSupported spec.ports[2].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
        FieldValueDuplicate spec.ports[2].name: Duplicate value: "a"
    "#]],
    );
    create(
        "v1",
        "Service",
        json!({"spec": {"type": "ExternalName", "clusterIP": "10.0.0.1"}}),
        expect![[r#"
        FieldValueRequired spec.externalName: Required value
        FieldValueForbidden spec.clusterIP: Forbidden: may not be set for ExternalName services
    "#]],
    );
    let paths = json!([{"path": "x", "pathType": "Prefix", "backend": {}}, {"backend": {"service": {"name": "s", "port": {}}}}]);
    let ingress = json!({"spec": {"rules": [{"host": "*.a", "http": {"paths": paths}}]}});
    create(
        "networking.k8s.io/v1",
        "Ingress",
        ingress,
        expect![[r#"
            FieldValueInvalid spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path
            FieldValueRequired spec.rules[0].http.paths[0].backend: Required value: resource or service backend is required
            FieldValueRequired spec.rules[0].http.paths[1].pathType: Required value: pathType must be specified
            FieldValueRequired spec.rules[0].http.paths[1].backend.service.port: Required value: port name or number is required
        "#]],
    );
    let rule = json!({
        "matches": [{"path": {"value": "no/slash"}, "method": "FETCH", "headers": [{"name": "a b", "value": ""}]}],
        "filters": [{"type": "URLRewrite"}, {"type": "Sing"}],
        "backendRefs": [{"name": "s", "weight": -1}],
        "timeouts": {"request": "soon"},
    });
    let route = json!({"spec": {"hostnames": ["10.0.0.1", "A"], "parentRefs": [{}], "rules": [rule]}});
    create(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        route,
        expect![[r#"
            FieldValueInvalid spec.hostnames[0]: Invalid value: "10.0.0.1": must be a host name, not an IP address
            FieldValueInvalid spec.hostnames[1]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            FieldValueInvalid spec.rules[0].matches[0].path.value: Invalid value: "no/slash": value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']
            FieldValueNotSupported spec.rules[0].matches[0].method: Unsupported value: "FETCH": supported values: "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"
            FieldValueInvalid spec.rules[0].matches[0].headers[0].name: Invalid value: "a b": must be a valid HTTP header name
            FieldValueInvalid spec.rules[0].filters[0]: Invalid value: {"type":"URLRewrite"}: filter.urlRewrite must be specified for URLRewrite filter.type
            FieldValueNotSupported spec.rules[0].filters[1].type: Unsupported value: "Sing": supported values: "CORS", "ExtensionRef", "ExternalAuth", "RequestHeaderModifier", "RequestMirror", "RequestRedirect", "ResponseHeaderModifier", "URLRewrite"
            FieldValueInvalid spec.rules[0].backendRefs[0].weight: Invalid value: -1: must be between 0 and 1000000, inclusive
            FieldValueInvalid spec.rules[0].backendRefs[0]: Invalid value: {"group":"","kind":"Service","name":"s","weight":-1}: Must have port for Service reference
            FieldValueInvalid spec.rules[0].timeouts.request: Invalid value: "soon": must match the pattern ^([0-9]{1,5}(h|m|s|ms)){1,4}$
            FieldValueRequired spec.parentRefs[0].name: Required value
        "#]],
    );
    let listener = json!({"name": "l", "port": 0, "protocol": "HTTP", "tls": {}});
    let gateway = json!({"spec": {"listeners": [listener.clone(), listener]}});
    create(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        gateway,
        expect![[r#"
            FieldValueDuplicate spec.listeners[1].name: Duplicate value: "l"
            FieldValueInvalid spec.listeners[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
            FieldValueInvalid spec.listeners[0].tls: Invalid value: {"mode":"Terminate"}: tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']
            FieldValueInvalid spec.listeners[1].port: Invalid value: 0: must be between 1 and 65535, inclusive
            FieldValueInvalid spec.listeners[1].tls: Invalid value: {"mode":"Terminate"}: tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']
            FieldValueInvalid spec.listeners: Invalid value: [{"allowedRoutes":{"namespaces":{"from":"Same"}},"name":"l","port":0,"protocol":"HTTP","tls":{"mode":"Terminate"}},{"allowedRoutes":{"namespaces":{"from":"Same"}},"name":"l","port":0,"protocol":"HTTP","tls":{"mode":"Terminate"}}]: Combination of port, protocol and hostname must be unique for each listener
            FieldValueRequired spec.gatewayClassName: Required value
        "#]],
    );
}

#[test]
fn configuration_keys_and_sizes_are_bounded() {
    create(
        "v1",
        "ConfigMap",
        json!({"data": {"a/b": "", "c": ""}, "binaryData": {"c": ""}}),
        expect![[r#"
        FieldValueInvalid data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        FieldValueInvalid data[c]: Invalid value: "c": duplicate of key present in binaryData
    "#]],
    );
    create(
        "v1",
        "ConfigMap",
        json!({"data": {"a": "x".repeat(1 << 21)}}),
        expect![[r#"
        FieldValueTooLong data: Too long: may not be more than 1048576 bytes
    "#]],
    );
    create(
        "v1",
        "Secret",
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}),
        expect![[r#"
        FieldValueRequired data[tls.key]: Required value
    "#]],
    );
    create(
        "rbac.authorization.k8s.io/v1",
        "Role",
        json!({"rules": [{}]}),
        expect![[r#"
        FieldValueRequired rules[0].verbs: Required value: verbs must contain at least one value
        FieldValueRequired rules[0].apiGroups: Required value: resource rules must supply at least one api group
        FieldValueRequired rules[0].resources: Required value: resource rules must supply at least one resource
    "#]],
    );
    create(
        "rbac.authorization.k8s.io/v1",
        "Role",
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]}]}),
        expect![[r#"
            FieldValueInvalid rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs
            FieldValueInvalid rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs
        "#]],
    );
    create(
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"]}], "aggregationRule": {}}),
        expect![[r#"
            FieldValueRequired aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil
        "#]],
    );
    create(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        json!({
            "roleRef": {"kind": "Role", "name": "a/b"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "Bot", "apiGroup": "x"},
                {"kind": "User", "name": "eve", "apiGroup": "x"},
            ],
        }),
        expect![[r#"
            FieldValueNotSupported roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"
            FieldValueInvalid roleRef.name: Invalid value: "a/b": may not contain '/'
            FieldValueInvalid subjects[0].name: Invalid value: "Bot": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            FieldValueNotSupported subjects[0].apiGroup: Unsupported value: "x": supported values: ""
            FieldValueRequired subjects[0].namespace: Required value
            FieldValueNotSupported subjects[1].apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io"
        "#]],
    );
    let account =
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "bot"}]});
    create("rbac.authorization.k8s.io/v1", "RoleBinding", account, expect![[""]]);
    create(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        json!({"subjects": [{"kind": "Ghost"}]}),
        expect![[r#"
            FieldValueNotSupported subjects[0].kind: Unsupported value: "Ghost": supported values: "Group", "ServiceAccount", "User"
            FieldValueRequired roleRef.kind: Required value
            FieldValueRequired roleRef.name: Required value
            FieldValueRequired subjects[0].name: Required value
        "#]],
    );
    create(
        "v1",
        "PersistentVolumeClaim",
        json!({"spec": {}}),
        expect![[r#"
        FieldValueRequired spec.accessModes: Required value: at least 1 access mode is required
        FieldValueRequired spec.resources[storage]: Required value
    "#]],
    );
}

#[test]
fn immutable_fields_stay() {
    let both = |selector: &str| {
        workload(json!({
            "selector": {"matchLabels": {"app": selector}}, "template": {"metadata": {"labels": {"app": selector}}},
        }))
    };
    update(
        "apps/v1",
        "Deployment",
        [both("x"), both("y")],
        expect![[r#"
        FieldValueInvalid spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: field is immutable
    "#]],
    );
    update(
        "apps/v1",
        "StatefulSet",
        [workload(json!({})), workload(json!({"serviceName": "s"}))],
        expect![[r#"
        FieldValueForbidden spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
    let service = |address: &str| json!({"spec": {"clusterIP": address, "ports": [{"port": 80}]}});
    update(
        "v1",
        "Service",
        [service("10.43.0.1"), service("10.43.0.2")],
        expect![[r#"
        FieldValueInvalid spec.clusterIPs[0]: Invalid value: ["10.43.0.2"]: may not change once set
    "#]],
    );
    let config = |value: &str| json!({"immutable": true, "data": {"k": value}});
    update(
        "v1",
        "ConfigMap",
        [config("a"), config("b")],
        expect![[r#"
        FieldValueForbidden data: Forbidden: field is immutable when `immutable` is set
    "#]],
    );
    update(
        "v1",
        "Secret",
        [json!({"type": "a"}), json!({"type": "b"})],
        expect![[r#"
        FieldValueInvalid type: Invalid value: "b": field is immutable
    "#]],
    );
    let binding = |name: &str| json!({"roleRef": {"kind": "Role", "name": name}});
    update(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        [binding("a"), binding("b")],
        expect![[r#"
        FieldValueInvalid roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"b"}: cannot change roleRef
    "#]],
    );
    let job = |image: &str| json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": image}]}}}});
    let image = causes("batch/v1", "Job", job("j"), Some(job("i")));
    assert!(
        image.ends_with("field is immutable\n") && image.starts_with("FieldValueInvalid spec.template: "),
        "{image}"
    );
    let mut suspended = job("i");
    suspended["spec"]["suspend"] = true.into();
    let mut moved = suspended.clone();
    moved["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    update("batch/v1", "Job", [suspended, moved], expect![[""]]);
}

#[test]
fn pods_change_in_few_ways() {
    let changed = |container: Value, spec: Value| {
        let old = pod(json!({}), json!({"tolerations": [{"key": "k", "operator": "Exists"}]}));
        let mut new = pod(container, json!({"tolerations": [{"key": "k", "operator": "Exists"}]}));
        json_patch::merge(&mut new["spec"], &spec);
        [old, new]
    };
    update("v1", "Pod", changed(json!({"image": "j"}), json!({"activeDeadlineSeconds": 5})), expect![[""]]);
    let more = json!({"tolerations": [{"key": "k", "operator": "Exists"}, {"key": "l", "operator": "Exists"}]});
    update("v1", "Pod", changed(json!({}), more), expect![[""]]);
    update(
        "v1",
        "Pod",
        changed(json!({}), json!({"tolerations": []})),
        expect![[r#"
        FieldValueForbidden spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
    "#]],
    );
    update(
        "v1",
        "Pod",
        changed(json!({"command": ["x"]}), json!({})),
        expect![[r#"
        FieldValueForbidden spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
    "#]],
    );
    update(
        "v1",
        "Pod",
        changed(json!({}), json!({"nodeName": "n"})),
        expect![[r#"
        FieldValueForbidden spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
    "#]],
    );
    let more = json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]});
    update(
        "v1",
        "Pod",
        changed(json!({}), more),
        expect![[r#"
        FieldValueForbidden spec.containers: Forbidden: pod updates may not add or remove containers
    "#]],
    );
}

#[test]
fn deleted_objects_gain_no_finalizers() {
    let object = |finalizers: Value| json!({"metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}});
    update("v1", "ConfigMap", [object(json!(["a.b/c"])), object(json!([]))], expect![[""]]);
    update(
        "v1",
        "ConfigMap",
        [object(json!([])), object(json!(["a.b/c"]))],
        expect![[r#"
        FieldValueForbidden metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a.b/c"}
    "#]],
    );
}

#[test]
fn what_stands_unchanged_is_not_judged_again() {
    let broken = json!({"metadata": {"name": "x"}, "spec": {"containers": []}});
    let mut labelled = broken.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    labelled["status"] = json!({"phase": "Failed"});
    update("v1", "Pod", [broken, labelled], expect![[""]]);
}
