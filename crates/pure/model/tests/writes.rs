//! What a write goes through, from body to stored form, for the objects that clients send most.

use eyot_model::{
    convert, defaults,
    kinds::{Kind, builtin},
    meta, prepare,
    schema::{self, FieldValidation},
    table, validate,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn kind_of(object: &Value) -> &'static Kind {
    let field = |name: &str| object[name].as_str().unwrap_or("");
    builtin().by_api_version(field("apiVersion"), field("kind")).unwrap_or_else(|| panic!("{object}"))
}

fn decode(object: &Value) -> Value {
    let (value, duplicates) = schema::parse(object.to_string().as_bytes()).expect("is JSON");
    let decoded = schema::decode(kind_of(object), value, duplicates, FieldValidation::Strict);
    let mut object = decoded.unwrap_or_else(|e| panic!("{}", e.message)).object;
    defaults::apply(kind_of(&object), &mut object);
    object
}

/// The stored form of a new object.
fn create(object: &Value) -> Value {
    let mut object = decode(object);
    let kind = kind_of(&object);
    defaults::admit(kind, &mut object);
    prepare::create(kind, &mut object, "u-1", "2026-01-01T00:00:00Z".parse().expect("a time"));
    assert_eq!(validate::check(kind, &object, None), [], "{object}");
    convert::to_stored(kind, object)
}

/// The stored form after an update of `old`, itself in stored form.
fn update(kind: &Kind, new: &Value, old: &Value) -> Value {
    let old = convert::from_stored(kind, old.clone());
    let mut new = decode(new);
    prepare::update(kind, &mut new, &old);
    assert_eq!(validate::check(kind, &new, Some(&old)), [], "{new}");
    convert::to_stored(kind, new)
}

fn objects() -> Vec<Value> {
    let container = json!({
        "name": "web",
        "image": "localhost:5000/hello:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}},
        ],
        "envFrom": [{"configMapRef": {"name": "c"}}],
        "resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}, "requests": {"cpu": "100m"}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "all", "mountPath": "/all", "readOnly": true}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
        "livenessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    });
    let spec = json!({
        "runtimeClassName": "wasm",
        "containers": [container],
        "volumes": [
            {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "all", "projected": {"sources": [
                {"configMap": {"name": "c", "items": [{"key": "k", "path": "a/b"}]}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ]}},
        ],
    });
    let mut once = spec.clone();
    once["restartPolicy"] = "OnFailure".into();
    let template = |spec: &Value| json!({"metadata": {"labels": {"app": "web"}}, "spec": spec});
    let selector = json!({"matchLabels": {"app": "web"}});
    let object = |api_version: &str, kind: &str, rest: Value| {
        let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "d", "creationTimestamp": null}});
        object.as_object_mut().expect("an object").extend(rest.as_object().cloned().unwrap_or_default());
        object
    };
    let workload = json!({"spec": {"selector": selector, "template": template(&spec)}});
    vec![
        object("v1", "Pod", json!({"spec": spec})),
        object("apps/v1", "Deployment", workload.clone()),
        object("apps/v1", "ReplicaSet", workload.clone()),
        object("apps/v1", "DaemonSet", workload.clone()),
        object("apps/v1", "StatefulSet", workload),
        object("batch/v1", "Job", json!({"spec": {"template": template(&once)}})),
        object(
            "batch/v1",
            "CronJob",
            json!({"spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": template(&once)}}}}),
        ),
        object(
            "v1",
            "Service",
            json!({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}),
        ),
        object("v1", "ConfigMap", json!({"data": {"k": "v"}})),
        object("v1", "Secret", json!({"stringData": {"k": "v"}})),
        object("v1", "ServiceAccount", json!({})),
        object(
            "v1",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        ),
        object(
            "coordination.k8s.io/v1",
            "Lease",
            json!({"spec": {"holderIdentity": "n", "renewTime": "2026-01-01T00:00:00Z"}}),
        ),
        object(
            "networking.k8s.io/v1",
            "Ingress",
            json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [{
                "path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}},
            }]}}]}}),
        ),
        object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.42.0.2"], "conditions": {"ready": true}}], "ports": [{"name": "", "port": 8080}]}),
        ),
        object(
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            json!({"spec": {"parentRefs": [{"name": "default", "namespace": "eyot-system"}], "hostnames": ["hello.localhost"], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}}),
        ),
        object(
            "events.k8s.io/v1",
            "Event",
            json!({"eventTime": "2026-01-01T00:00:00.000001Z", "reportingController": "eyot", "reportingInstance": "n", "action": "Start", "reason": "Started", "regarding": {"kind": "Pod", "name": "p", "namespace": "d"}, "note": "Started", "type": "Normal"}),
        ),
        object(
            "autoscaling/v1",
            "HorizontalPodAutoscaler",
            json!({"spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}),
        ),
        object("policy/v1", "PodDisruptionBudget", json!({"spec": {"minAvailable": 1, "selector": selector}})),
        object(
            "networking.k8s.io/v1",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}}),
        ),
        object(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}),
        ),
    ]
}

#[test]
fn writing_back_what_was_read_changes_nothing() {
    for sent in objects() {
        let kind = kind_of(&sent);
        let stored = create(&sent);
        let read = convert::from_stored(kind, stored.clone());
        assert_eq!(update(kind, &read, &stored), stored);
    }
}

#[test]
fn writing_again_what_was_sent_does_not_count_as_a_change() {
    for sent in objects() {
        let kind = kind_of(&sent);
        // A pod and a job carry what only creation gives them: clients patch those, and never put them again.
        if matches!(kind.kind.as_str(), "Pod" | "Job") {
            continue;
        }
        let stored = create(&sent);
        assert_eq!(meta::generation(&update(kind, &sent, &stored)), meta::generation(&stored), "{sent}");
    }
}

#[test]
fn a_status_write_keeps_everything_else() {
    for sent in objects() {
        let kind = kind_of(&sent);
        if kind.subresource("status").is_none() {
            continue;
        }
        let old = convert::from_stored(kind, create(&sent));
        let mut new = json!({"apiVersion": sent["apiVersion"], "kind": sent["kind"], "metadata": old["metadata"]});
        prepare::update_status(kind, &mut new, &old);
        assert_eq!(validate::check_status(kind, &new, &old), []);
        if let Some(status) = old.get("status") {
            new["status"] = status.clone();
        }
        assert_eq!(new, old);
    }
}

/// Paths of everything in a value, as JSON pointers.
fn pointers(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Object(map) => {
            let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
            map.iter().for_each(|(key, it)| pointers(it, &format!("{path}/{}", escape(key)), all));
        }
        Value::Array(list) => list.iter().enumerate().for_each(|(i, it)| pointers(it, &format!("{path}/{i}"), all)),
        _ => {}
    }
}

fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}])),
        Just(json!([null, 1, "a"])),
        Just(json!({"type": "x", "name": 1})),
    ]
}

proptest! {
    #[test]
    fn a_mangled_object_is_refused_or_judged(which in 0usize..1000, place in any::<prop::sample::Index>(), value in junk()) {
        let objects = objects();
        let good = &objects[which % objects.len()];
        let kind = kind_of(good);
        let mut all = Vec::new();
        pointers(good, "", &mut all);
        let mut bad = good.clone();
        *bad.pointer_mut(&all[place.index(all.len())]).expect("points into it") = value;
        let Ok(decoded) = schema::decode(kind, bad, vec![], FieldValidation::Warn) else { return Ok(()) };
        let (mut bad, good) = (decoded.object, create(good));
        defaults::apply(kind, &mut bad);
        defaults::admit(kind, &mut bad);
        prepare::update(kind, &mut bad, &good);
        validate::check(kind, &bad, Some(&good));
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        prepare::create(kind, &mut bad, "u", now);
        validate::check(kind, &bad, None);
        table::render(kind, &[&bad], now, table::Options::default());
        convert::from_stored(kind, convert::to_stored(kind, bad));
    }
}
