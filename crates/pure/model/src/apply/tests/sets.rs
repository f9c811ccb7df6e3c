//! `fieldsV1`, the set operations, and what a schema makes of objects.

use expect_test::{Expect, expect};

use super::{
    super::{
        compare::compare,
        element::shown,
        fieldset::{field_set, strict},
        merge::merge,
        remove::remove,
        types::Schema,
    },
    *,
};
use crate::custom::schema as structural;

fn parse(fields: Value) -> Set {
    Set::parse(&fields).unwrap_or_else(|e| panic!("{e}"))
}

fn lines(set: &Set) -> String {
    set.paths().iter().map(|it| shown(it) + "\n").collect()
}

#[test]
fn fields_are_read_and_written() {
    let fields = json!({
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:ports": {
                ".": {},
                "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}},
                "k:{\"protocol\":\"UDP\",\"port\":53.0}": {},
            },
            "f:finalizers": {"v:\"a\"": {}, "v:1": {}},
            "f:list": {"i:3": {}},
        },
    });
    let set = parse(fields);
    expect![[r#"
        .metadata.labels
        .metadata.labels.app
        .spec.finalizers[="a"]
        .spec.finalizers[=1]
        .spec.list[3]
        .spec.ports
        .spec.ports[port=53,protocol="UDP"]
        .spec.ports[port=80,protocol="TCP"]
        .spec.ports[port=80,protocol="TCP"].port
    "#]]
    .assert_eq(&lines(&set));
    assert_eq!(parse(set.to_value()), set);
    let text = set.to_value().to_string();
    assert!(text.contains(r#""k:{\"port\":53,\"protocol\":\"UDP\"}":{}"#), "{text}");
}

#[test]
fn malformed_fields_are_refused_and_unknown_steps_skipped() {
    for bad in [
        json!([]),
        json!({"f:a": 1}),
        json!({"f:a": {"": {}}}),
        json!({"k:{": {}}),
        json!({"k:[1]": {}}),
        json!({"v:x": {}}),
        json!({"i:x": {}}),
        json!({"metadata": {}}),
    ] {
        assert!(Set::parse(&bad).is_err(), "{bad}");
    }
    assert_eq!(lines(&parse(json!({"z:new": {}, "f:a": {}}))), ".a\n");
    assert!(parse(json!({"f:a": {"z:new": {}}})).is_empty());
}

#[test]
fn sets_combine() {
    let a = parse(json!({"f:x": {".": {}, "f:y": {}}, "f:z": {}}));
    let b = parse(json!({"f:x": {}, "f:w": {}}));
    let with = |change: fn(&mut Set, &Set)| {
        let mut set = a.clone();
        change(&mut set, &b);
        lines(&set)
    };
    assert_eq!(with(|a, b| a.union(b.clone())), ".w\n.x\n.x.y\n.z\n");
    assert_eq!(with(|a, b| a.subtract(b)), ".x.y\n.z\n");
    assert_eq!(with(|a, b| a.subtract_below(b)), ".z\n");
    assert_eq!(with(|a, b| a.intersect(b)), ".x\n");
    assert!(parse(json!({"f:x": {}})).is_within(&a) && !b.is_within(&a));
}

fn fields_of(api_version: &str, name: &str, object: Value, expected: Expect) {
    let schema = Schema::of(kind(api_version, name));
    expected.assert_eq(&match strict(schema.root(), &object) {
        Ok(set) => lines(&set),
        Err(problems) => problems.join("\n") + "\n",
    });
}

#[test]
fn an_objects_fields_follow_its_schema() {
    fields_of(
        "apps/v1",
        "Deployment",
        json!({
            "metadata": {"labels": {"a": "b"}, "finalizers": ["f"], "ownerReferences": [{"uid": "u", "name": "o"}], "annotations": {}},
            "spec": {
                "replicas": null,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"spec": {
                    "containers": [{
                        "name": "c",
                        "args": ["x"],
                        "ports": [{"containerPort": 80}],
                        "resources": {"limits": {"cpu": "1"}},
                        "env": [],
                        "securityContext": {},
                    }],
                    "nodeSelector": {"n": "o"},
                }},
            },
        }),
        expect![[r#"
            .metadata.annotations
            .metadata.finalizers[="f"]
            .metadata.labels.a
            .metadata.ownerReferences[uid="u"]
            .spec.replicas
            .spec.selector
            .spec.template.spec.containers[name="c"]
            .spec.template.spec.containers[name="c"].args
            .spec.template.spec.containers[name="c"].name
            .spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"]
            .spec.template.spec.containers[name="c"].ports[containerPort=80,protocol="TCP"].containerPort
            .spec.template.spec.containers[name="c"].resources.limits.cpu
            .spec.template.spec.containers[name="c"].securityContext
            .spec.template.spec.nodeSelector
        "#]],
    );
}

#[test]
fn what_contradicts_the_schema_is_told() {
    let container = |more: Value| {
        let mut container = json!({"name": "c"});
        container.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        json!({"spec": {"template": {"spec": {"containers": [container]}}}})
    };
    let mut bad = container(
        json!({"prots": [], "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}, {"protocol": "UDP"}]}),
    );
    bad["spec"]["replicas"] = json!([1]);
    bad["spec"]["template"]["spec"]["volumes"] = json!([{"emptyDir": {}}, 3]);
    fields_of(
        "apps/v1",
        "Deployment",
        bad,
        expect![[r#"
            .spec.replicas: expected scalar, got [1]
            .spec.template.spec.containers[name="c"].ports: duplicate entries for key [containerPort=80,protocol="TCP"]
            .spec.template.spec.containers[name="c"].prots: field not declared in schema
            .spec.template.spec.volumes: element 0: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)
            .spec.template.spec.volumes: element 1: associative list with keys may not have non-map elements
        "#]],
    );
}

fn custom() -> structural::Schema {
    structural::Schema::parse(&json!({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {"type": "object", "properties": {
                        "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"},
                    }},
                },
                "hosts": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "args": {"type": "array", "items": {"type": "string"}},
                "ref": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"name": {"type": "string"}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "size": {"x-kubernetes-int-or-string": true},
                "template": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
            }},
        },
    }))
}

#[test]
fn custom_kinds_have_their_openapi_schema() {
    let object = json!({
        "metadata": {"finalizers": ["f"]},
        "spec": {
            "ports": [{"port": 1, "name": "p"}],
            "hosts": ["h"],
            "args": ["a"],
            "ref": {"name": "n"},
            "free": {"a": {"b": [1]}},
            "labels": {"l": "m"},
            "size": "1",
            "template": {"metadata": {"finalizers": ["g"]}, "x": 1},
        },
    });
    expect![[r#"
        .metadata.finalizers[="f"]
        .spec.args
        .spec.free.a
        .spec.free.a.b
        .spec.hosts[="h"]
        .spec.labels.l
        .spec.ports[port=1,protocol="TCP"]
        .spec.ports[port=1,protocol="TCP"].name
        .spec.ports[port=1,protocol="TCP"].port
        .spec.ref
        .spec.size
        .spec.template.metadata.finalizers[="g"]
        .spec.template.x
    "#]]
    .assert_eq(&lines(&strict(Schema::Structural(&custom()).root(), &object).expect("fits")));
    let problems = strict(Schema::Structural(&custom()).root(), &json!({"spec": {"no": 1, "hosts": {}}}))
        .expect_err("does not fit");
    assert_eq!(problems, [".spec.hosts: expected list, got {}", ".spec.no: field not declared in schema"]);
}

#[test]
fn without_a_schema_maps_have_parts_and_lists_have_none() {
    let object = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"m": {"x": 1}, "l": [{"name": "a"}]}});
    assert_eq!(
        lines(&field_set(Schema::Unknown.root(), &object)),
        ".metadata.labels.a\n.spec\n.spec.l\n.spec.m\n.spec.m.x\n"
    );
}

#[test]
fn differences_are_added_removed_or_modified() {
    let schema = custom();
    let schema = Schema::Structural(&schema);
    let check = |old: Value, new: Value, expected: Expect| {
        let found = compare(schema.root(), &json!({"spec": old}), &json!({"spec": new}));
        let text = format!("+\n{}-\n{}~\n{}", lines(&found.added), lines(&found.removed), lines(&found.modified));
        expected.assert_eq(&text);
    };
    check(
        json!({"ports": [{"port": 1}], "hosts": ["a", "b"], "args": ["x"], "ref": {"name": "n"}, "labels": {}}),
        json!({"ports": [{"port": 1, "name": "p"}, {"port": 2}], "hosts": ["b", "c"], "args": ["y"], "ref": {}, "labels": {"l": "m"}}),
        expect![[r#"
            +
            .spec.hosts[="c"]
            .spec.labels.l
            .spec.ports[port=1,protocol="TCP"].name
            .spec.ports[port=2,protocol="TCP"]
            .spec.ports[port=2,protocol="TCP"].port
            -
            .spec.hosts[="a"]
            ~
            .spec.args
            .spec.ref
        "#]],
    );
    check(
        json!({"hosts": ["a", "a"], "free": {"a": [1], "b": {"c": 1}, "d": 1}}),
        json!({"hosts": ["a"], "free": {"a": {"x": 1}, "b": 2}}),
        expect![[r#"
            +
            .spec.free.a.x
            .spec.hosts[="a"]
            -
            .spec.free.b.c
            .spec.free.d
            .spec.hosts[="a"]
            ~
            .spec.free.a
            .spec.free.b
        "#]],
    );
}

#[test]
fn configurations_merge_in_their_order() {
    let schema = custom();
    let schema = Schema::Structural(&schema);
    let merged = |live: Value, config: Value| {
        merge(schema.root(), json!({"spec": live}), &json!({"spec": config}))["spec"].clone()
    };
    let hosts = |live: Value, config: Value| merged(json!({"hosts": live}), json!({"hosts": config}))["hosts"].clone();
    assert_eq!(hosts(json!(["a", "b", "c"]), json!(["c", "a"])), json!(["c", "a", "b"]));
    assert_eq!(hosts(json!(["a", "b", "c"]), json!(["a", "x", "c"])), json!(["a", "b", "x", "c"]));
    assert_eq!(hosts(json!(["a"]), json!([])), json!(["a"]));
    assert_eq!(hosts(json!(["a", "a", "b"]), json!(["b", "a"])), json!(["b", "a"]));
    assert_eq!(
        merged(
            json!({"ports": [{"port": 1, "name": "p"}, {"port": 2}], "args": ["x"], "ref": {"name": "n"}, "labels": {"a": "b"}}),
            json!({"ports": [{"port": 1, "protocol": "TCP"}], "args": ["y"], "ref": {}, "labels": {"c": "d"}, "size": null}),
        ),
        json!({
            "ports": [{"port": 1, "name": "p", "protocol": "TCP"}, {"port": 2}],
            "args": ["y"], "ref": {}, "labels": {"a": "b", "c": "d"}, "size": null,
        })
    );
    assert_eq!(
        merged(json!({"labels": {"a": "b"}, "size": 1}), json!({"labels": null, "size": null})),
        json!({"labels": {"a": "b"}, "size": null})
    );
}

#[test]
fn fields_are_removed_with_all_below_them() {
    let schema = custom();
    let schema = Schema::Structural(&schema);
    let mut object = json!({"spec": {"ports": [{"port": 1, "name": "p"}, {"port": 2}], "hosts": ["a"], "labels": {"a": "b"}, "ref": {"name": "n"}}});
    let gone = parse(json!({"f:spec": {
        "f:ports": {"k:{\"port\":1,\"protocol\":\"TCP\"}": {"f:name": {}}, "k:{\"port\":2,\"protocol\":\"TCP\"}": {}},
        "f:hosts": {"v:\"a\"": {}},
        "f:ref": {},
    }}));
    remove(schema.root(), &mut object, &gone);
    assert_eq!(object, json!({"spec": {"ports": [{"port": 1}], "hosts": [], "labels": {"a": "b"}}}));
}

#[test]
fn what_has_become_atomic_is_held_whole() {
    let mut set = parse(json!({"f:spec": {
        "f:args": {"v:\"x\"": {}},
        "f:ref": {"f:name": {}},
        "f:ports": {"k:{\"port\":1,\"protocol\":\"TCP\"}": {"f:name": {}}},
        "f:free": {"f:a": {"f:b": {}}},
    }}));
    set.settle(Schema::Structural(&custom()).root());
    assert_eq!(lines(&set), ".spec.args\n.spec.free.a.b\n.spec.ports[port=1,protocol=\"TCP\"].name\n.spec.ref\n");
}
