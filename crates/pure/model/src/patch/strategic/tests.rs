use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::kinds::builtin;

fn deployment(current: Value, patch: Value) -> Result<Value, PatchError> {
    apply(builtin().by_plural("apps", "v1", "deployments").expect("known"), &current, &patch)
}

/// Patches the pod template's spec of a Deployment.
fn pod(current: Value, patch: Value) -> Value {
    let wrap = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let patched = deployment(wrap(current), wrap(patch)).unwrap_or_else(|e| panic!("{e}"));
    patched["spec"]["template"]["spec"].clone()
}

#[test]
fn containers_merge_by_name() {
    let current =
        json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]});
    let patch = json!({"containers": [{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}]});
    assert_eq!(
        pod(current, patch),
        json!({"containers": [
            {"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]},
            {"name": "b"},
        ]})
    );
}

#[test]
fn elements_are_deleted_added_and_replaced() {
    let current = json!({"containers": [{"name": "a", "image": "1"}, {"name": "b"}]});
    let patch = json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "c", "image": null}]});
    assert_eq!(pod(current.clone(), patch), json!({"containers": [{"name": "c"}, {"name": "b"}]}));
    let patch = json!({"containers": [{"$patch": "replace"}, {"name": "d"}]});
    assert_eq!(pod(current.clone(), patch), json!({"containers": [{"name": "d"}]}));
    let patch = json!({"containers": null});
    assert_eq!(pod(current, patch), json!({}));
}

#[test]
fn maps_merge_and_are_replaced_or_deleted_on_request() {
    let current = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
    let patched =
        |labels: Value| deployment(current.clone(), json!({"metadata": {"labels": labels}})).expect("applies");
    assert_eq!(patched(json!({"a": null, "c": "3"}))["metadata"]["labels"], json!({"b": "2", "c": "3"}));
    assert_eq!(patched(json!({"$patch": "replace", "c": "3"}))["metadata"]["labels"], json!({"c": "3"}));
    assert_eq!(patched(json!({"$patch": "delete"}))["metadata"]["labels"], json!({}));
    assert_eq!(patched(json!({"$patch": "merge", "a": "9"}))["metadata"]["labels"], json!({"a": "9", "b": "2"}));
}

#[test]
fn lists_without_merge_key_are_replaced() {
    let current = json!({"containers": [{"name": "a", "command": ["x", "y"]}], "tolerations": [{"key": "k"}]});
    let patch = json!({"containers": [{"name": "a", "command": ["z"]}], "tolerations": [{"key": "l"}]});
    assert_eq!(
        pod(current, patch),
        json!({"containers": [{"name": "a", "command": ["z"]}], "tolerations": [{"key": "l"}]})
    );
}

#[test]
fn scalars_merge_as_sets() {
    let current = json!({"metadata": {"finalizers": ["a", "b"]}});
    let patched = |patch: Value| deployment(current.clone(), json!({"metadata": patch})).expect("applies");
    assert_eq!(patched(json!({"finalizers": ["b", "c"]}))["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let patch = json!({"$deleteFromPrimitiveList/finalizers": ["a", "x"]});
    assert_eq!(patched(patch)["metadata"]["finalizers"], json!(["b"]));
    let patch = json!({"$setElementOrder/finalizers": ["b", "a"]});
    assert_eq!(patched(patch)["metadata"]["finalizers"], json!(["b", "a"]));
}

#[test]
fn retain_keys_drops_the_others() {
    let current = json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]});
    let patch = json!({
        "$setElementOrder/volumes": [{"name": "v"}, {"name": "w"}],
        "volumes": [{"$retainKeys": ["name", "hostPath"], "name": "v", "hostPath": {"path": "/x"}}],
    });
    assert_eq!(
        pod(current, patch),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}, {"name": "w", "emptyDir": {}}]})
    );
    let current = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(
        deployment(current.clone(), patch).expect("applies"),
        json!({"spec": {"strategy": {"type": "Recreate"}}})
    );
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}});
    assert!(deployment(current, patch).is_err());
}

#[test]
fn element_order_moves_elements_and_keeps_the_servers_own() {
    let current = json!({"containers": [{"name": "injected"}, {"name": "a"}, {"name": "b"}]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
        "containers": [{"name": "c", "image": "i"}],
    });
    assert_eq!(
        pod(current, patch),
        json!({"containers": [{"name": "injected"}, {"name": "b"}, {"name": "c", "image": "i"}, {"name": "a"}]})
    );
}

#[test]
fn ports_merge_by_container_port_and_service_ports_by_port() {
    let current = json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "x"}]}]});
    let patch = json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 81}]}]});
    let ports = pod(current, patch)["containers"][0]["ports"].clone();
    assert_eq!(ports, json!([{"containerPort": 80, "name": "x", "protocol": "TCP"}, {"containerPort": 81}]));
}

#[test]
fn broken_directives_are_refused() {
    let current = json!({"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}});
    for spec in [
        json!({"containers": [{"image": "no key"}]}),
        json!({"containers": [{"$patch": "delete"}]}),
        json!({"containers": [{"$patch": "merge", "name": "a"}]}),
        json!({"containers": ["a"]}),
        json!({"$patch": "shred"}),
        json!({"$retainKeys": "x"}),
        json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}),
        json!({"$setElementOrder/containers": "a"}),
        json!({"$deleteFromPrimitiveList/x": 1}),
    ] {
        let patch = json!({"spec": {"template": {"spec": spec}}});
        assert!(deployment(current.clone(), patch.clone()).is_err(), "{patch}");
    }
    assert!(deployment(current, json!([])).is_err());
}

/// Any JSON, with the words of patches among its keys.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..5i64).prop_map(Value::from),
        prop_oneof![Just("a"), Just("b"), Just("delete"), Just("replace"), Just("merge")].prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("spec"),
        Just("metadata"),
        Just("finalizers"),
        Just("template"),
        Just("containers"),
        Just("volumes"),
        Just("name"),
        Just("$patch"),
        Just("$retainKeys"),
        Just("$setElementOrder/containers"),
        Just("$deleteFromPrimitiveList/finalizers"),
    ];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone().prop_map(String::from), inner, 0..4)
                .prop_map(|it| Value::Object(it.into_iter().collect())),
        ]
    })
}

fn has_directives(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(k, v)| is_directive(k) || has_directives(v)),
        Value::Array(list) => list.iter().any(has_directives),
        _ => false,
    }
}

proptest! {
    #[test]
    fn any_patch_applies_or_is_refused_and_applies_once(current in anything(), patch in anything()) {
        prop_assume!(!has_directives(&current));
        if let Ok(once) = deployment(current, patch.clone())
            && !has_directives(&patch)
        {
                prop_assert_eq!(deployment(once.clone(), patch).expect("applied before"), once);
        }
    }

    #[test]
    fn a_patch_made_by_clients_reproduces_the_object(from in deployments(), to in deployments()) {
        let shape = root(builtin().by_plural("apps", "v1", "deployments").expect("known")).expect("has fields");
        let (Value::Object(old), Value::Object(new)) = (&from, &to) else { unreachable!("both are objects") };
        let patch = Value::Object(diff::diff(old, new, &shape));
        prop_assert_eq!(deployment(from, patch).expect("applies"), to);
    }
}

/// Deployments with a few containers, ports, variables and volumes, in any order.
fn deployments() -> impl Strategy<Value = Value> {
    fn named(of: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<Value>> {
        proptest::collection::btree_map("[a-d]", of, 0..4)
            .prop_map(|it| {
                it.into_iter()
                    .map(|(name, mut it)| {
                        it["name"] = name.into();
                        it
                    })
                    .collect()
            })
            .prop_shuffle()
    }
    let variables = named((0..3u8).prop_map(|it| json!({"value": it.to_string()})));
    let ports = proptest::collection::btree_map(1..4u16, prop_oneof![Just("x"), Just("y")], 0..3)
        .prop_map(|it| {
            it.into_iter().map(|(port, name)| json!({"containerPort": port, "name": name})).collect::<Vec<_>>()
        })
        .prop_shuffle();
    let command = proptest::collection::vec("[a-c]", 0..3);
    let containers = named((variables, ports, command, "[i-k]").prop_map(
        |(env, ports, command, image)| json!({"env": env, "ports": ports, "command": command, "image": image}),
    ));
    let volumes = named(prop_oneof![Just(json!({"emptyDir": {}})), Just(json!({"hostPath": {"path": "/x"}}))]);
    let finalizers = proptest::sample::subsequence(vec!["a/a", "b/b", "c/c"], 0..=3).prop_shuffle();
    let labels = proptest::collection::btree_map("[a-c]", "[x-z]", 0..3);
    let strategy = prop_oneof![
        Just(json!({"type": "Recreate"})),
        Just(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})),
    ];
    (containers, volumes, finalizers, labels, strategy).prop_map(
        |(containers, volumes, finalizers, labels, strategy)| {
            json!({
                "metadata": {"finalizers": finalizers, "labels": labels},
                "spec": {"strategy": strategy, "template": {"spec": {"containers": containers, "volumes": volumes}}},
            })
        },
    )
}
