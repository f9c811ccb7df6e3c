//! What applied configurations do to an object and to its owners.

use expect_test::expect;

use super::*;

fn containers(list: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": list}}}})
}

#[test]
fn the_first_apply_makes_the_object() {
    let mut live = Live::deployment();
    live.apply("a", json!({"metadata": {"labels": {"l": "1"}}, "spec": {"replicas": 2}}));
    assert_eq!(live.spec(), &json!({"replicas": 2}));
    expect![[r#"
        Apply "a"
          .metadata.labels.l
          .spec.replicas
    "#]]
    .assert_eq(&live.owners());
}

#[test]
fn what_is_left_out_goes_and_what_was_not_applied_stays() {
    let mut live = Live::deployment();
    live.apply("a", json!({"metadata": {"labels": {"l": "1", "m": "1"}}, "spec": {"replicas": 2, "paused": true}}));
    live.update("b", |new| new["spec"]["minReadySeconds"] = 5.into());
    live.apply("a", json!({"metadata": {"labels": {"m": "1"}}, "spec": {"replicas": 3}}));
    let object = live.object.as_ref().expect("applied");
    assert_eq!(object["metadata"]["labels"], json!({"m": "1"}));
    assert_eq!(live.spec(), &json!({"replicas": 3, "minReadySeconds": 5}));
    live.apply("a", json!({}));
    assert_eq!(live.spec(), &json!({"minReadySeconds": 5}));
    assert!(live.object.as_ref().expect("applied")["metadata"].get("labels").is_none());
    expect![[r#"
        Update "b" using apps/v1
          .spec.minReadySeconds
    "#]]
    .assert_eq(&live.owners());
}

#[test]
fn list_items_go_and_come_by_key() {
    let mut live = Live::deployment();
    live.apply(
        "a",
        containers(
            json!([{"name": "one", "image": "1", "ports": [{"containerPort": 80}]}, {"name": "two", "image": "2"}]),
        ),
    );
    // The server's defaults are nobody's.
    live.object.as_mut().expect("applied")["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] =
        "Always".into();
    live.object.as_mut().expect("applied")["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] =
        "TCP".into();
    live.update("b", |new| new["spec"]["template"]["spec"]["containers"][1]["stdin"] = true.into());
    live.apply(
        "a",
        containers(
            json!([{"name": "three", "image": "3"}, {"name": "one", "image": "1", "ports": [{"containerPort": 80}]}]),
        ),
    );
    // What somebody else set in an item goes with the item, since nobody else says that there is one.
    assert_eq!(
        live.spec()["template"]["spec"]["containers"],
        json!([
            {"name": "three", "image": "3"},
            {"name": "one", "image": "1", "imagePullPolicy": "Always", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
        ])
    );
}

#[test]
fn an_item_that_another_applies_too_stays_with_what_it_applies() {
    let mut live = Live::deployment();
    live.apply("a", containers(json!([{"name": "c", "image": "i", "env": [{"name": "A", "value": "1"}]}])));
    live.apply("b", containers(json!([{"name": "c", "env": [{"name": "B", "value": "1"}]}])));
    live.apply("a", containers(json!([])));
    assert_eq!(
        live.spec()["template"]["spec"]["containers"],
        json!([{"name": "c", "env": [{"name": "B", "value": "1"}]}])
    );
    expect![[r#"
        Apply "b"
          .spec.template.spec.containers[name="c"]
          .spec.template.spec.containers[name="c"].env[name="B"]
          .spec.template.spec.containers[name="c"].env[name="B"].name
          .spec.template.spec.containers[name="c"].env[name="B"].value
          .spec.template.spec.containers[name="c"].name
    "#]]
    .assert_eq(&live.owners());
}

#[test]
fn changing_what_another_owns_is_a_conflict() {
    let mut live = Live::deployment();
    live.update("kubectl-create", |new| new["spec"] = json!({"replicas": 1, "paused": true}));
    live.apply("b", json!({"spec": {"revisionHistoryLimit": 3}}));
    assert_eq!(
        live.refused("a", json!({"spec": {"replicas": 2}})),
        r#"Apply failed with 1 conflict: conflict with "kubectl-create" using apps/v1: .spec.replicas"#
    );
    expect![[r#"
        Apply failed with 3 conflicts: conflicts with "b":
        - .spec.revisionHistoryLimit
        conflicts with "kubectl-create" using apps/v1:
        - .spec.paused
        - .spec.replicas"#]]
    .assert_eq(&live.refused("a", json!({"spec": {"replicas": 2, "paused": false, "revisionHistoryLimit": 4}})));
    live.force("a", json!({"spec": {"replicas": 2, "revisionHistoryLimit": 4}}));
    assert_eq!(live.spec(), &json!({"replicas": 2, "paused": true, "revisionHistoryLimit": 4}));
    expect![[r#"
        Apply "a"
          .spec.replicas
          .spec.revisionHistoryLimit
        Update "kubectl-create" using apps/v1
          .spec.paused
    "#]]
    .assert_eq(&live.owners());
}

#[test]
fn conflicts_come_as_causes() {
    let conflict = ApplyError::Conflicts(vec![Conflict {
        manager: r#""kubectl" with subresource "scale" using apps/v1"#.into(),
        path: vec![Element::field("spec"), Element::field("replicas")],
    }]);
    let status = conflict.status(kind("apps/v1", "Deployment"), &Value::Null).to_value();
    assert_eq!((&status["code"], &status["reason"]), (&json!(409), &json!("Conflict")));
    assert_eq!(
        status["details"],
        json!({"causes": [{
            "reason": "FieldManagerConflict",
            "message": r#"conflict with "kubectl" with subresource "scale" using apps/v1"#,
            "field": ".spec.replicas",
        }]})
    );
}

#[test]
fn equal_values_are_owned_together() {
    let mut live = Live::deployment();
    live.apply("a", json!({"spec": {"replicas": 2}}));
    live.apply("b", json!({"spec": {"replicas": 2}}));
    expect![[r#"
        Apply "a"
          .spec.replicas
        Apply "b"
          .spec.replicas
    "#]]
    .assert_eq(&live.owners());
    live.refused("a", json!({"spec": {"replicas": 3}}));
    // One lets go, the value stays; then the other does, and it goes.
    live.apply("a", json!({}));
    assert_eq!(live.spec(), &json!({"replicas": 2}));
    live.apply("b", json!({}));
    assert!(live.spec().get("replicas").is_none());
}

#[test]
fn scaling_by_another_takes_replicas_without_a_fight() {
    let mut live = Live::deployment();
    live.apply("kubectl", json!({"spec": {"replicas": 2, "paused": true}}));
    let scale = Writer { subresource: "scale", ..writer("kubectl") };
    live.update_as(&scale, |new| new["spec"]["replicas"] = 5.into());
    expect![[r#"
        Apply "kubectl"
          .spec.paused
        Update "kubectl" with subresource "scale" using apps/v1
          .spec.replicas
    "#]]
    .assert_eq(&live.owners());
    live.apply("kubectl", json!({"spec": {"paused": true}}));
    assert_eq!(live.spec()["replicas"], 5);
}

#[test]
fn sets_and_atomic_values_are_owned_by_value_and_whole() {
    let mut live = Live::deployment();
    live.apply("a", json!({"metadata": {"finalizers": ["x", "y"]}, "spec": {"selector": {"matchLabels": {"a": "1"}}}}));
    live.apply("b", json!({"metadata": {"finalizers": ["y", "z"]}}));
    live.apply("a", json!({"metadata": {"finalizers": ["x"]}, "spec": {"selector": {"matchLabels": {"a": "1"}}}}));
    assert_eq!(live.object.as_ref().expect("applied")["metadata"]["finalizers"], json!(["x", "y", "z"]));
    let refused = live.refused("b", json!({"spec": {"selector": {"matchLabels": {"b": "1"}}}}));
    assert!(refused.ends_with("conflict with \"a\": .spec.selector"), "{refused}");
}

#[test]
fn an_object_without_owners_is_taken_up() {
    let mut live = Live::deployment();
    live.object =
        Some(live.named(json!({"metadata": {"uid": "u", "generation": 3}, "spec": {"replicas": 1, "paused": true}})));
    let refused = live.refused("a", json!({"spec": {"replicas": 2}}));
    assert!(refused.ends_with(r#"conflict with "before-first-apply" using apps/v1: .spec.replicas"#), "{refused}");
    live.apply("a", json!({"spec": {"replicas": 1}}));
    expect![[r#"
        Apply "a"
          .spec.replicas
        Update "before-first-apply" using apps/v1
          .spec.paused
          .spec.replicas
    "#]]
    .assert_eq(&live.owners());
}

#[test]
fn status_is_applied_apart() {
    let mut live = Live::deployment();
    live.apply("a", json!({"spec": {"replicas": 1}, "status": {"replicas": 7}}));
    let status = Writer { subresource: "status", ..writer("a") };
    live.apply_as(&status, json!({"spec": {"replicas": 9}, "status": {"replicas": 1}}), false).expect("applies");
    expect![[r#"
        Apply "a"
          .spec.replicas
        Apply "a" with subresource "status"
          .status.replicas
    "#]]
    .assert_eq(&live.owners());
}

#[test]
fn kubectl_takes_over_what_it_applied_client_side() {
    let last = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {"replicas": 1, "paused": true}});
    let mut live = Live::deployment();
    live.update("kubectl-client-side-apply", |new| {
        new["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": last.to_string()});
        new["spec"] = json!({"replicas": 1, "paused": true});
    });
    live.update("other", |new| new["spec"]["paused"] = false.into());
    // Others conflict, and so does kubectl where the value is no longer what it applied.
    live.refused("else", json!({"spec": {"replicas": 2}}));
    let refused = live.refused("kubectl", json!({"spec": {"replicas": 2, "paused": true}}));
    assert!(
        refused.starts_with("Apply failed with 1 conflict: conflict with \"other\" using apps/v1: .spec.paused"),
        "{refused}"
    );
    live.apply("kubectl", json!({"spec": {"replicas": 2, "paused": false}}));
    let object = live.object.as_ref().expect("applied");
    let kept = meta::annotation(object, "kubectl.kubernetes.io/last-applied-configuration").expect("kept up");
    assert_eq!(serde_json::from_str::<Value>(kept).expect("JSON")["spec"], json!({"replicas": 2, "paused": false}));
}

#[test]
fn an_applier_may_change_its_version() {
    let mut live = Live::new("autoscaling/v1", "HorizontalPodAutoscaler");
    live.apply("a", json!({"spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}}));
    let stored = crate::convert::to_stored(live.kind, live.object.take().expect("applied"));
    live.kind = kind("autoscaling/v2", "HorizontalPodAutoscaler");
    live.object = Some(crate::convert::from_stored(live.kind, stored));
    live.apply("a", json!({"spec": {"maxReplicas": 4}}));
    assert_eq!(live.spec(), &json!({"maxReplicas": 4}));
    expect![[r#"
        Apply "a"
          .spec.maxReplicas
    "#]]
    .assert_eq(&live.owners());
}

#[test]
fn what_contradicts_the_schema_is_refused_as_a_whole() {
    let mut live = Live::deployment();
    assert_eq!(
        live.refused("a", json!({"spec": {"replicsa": 1}})),
        "failed to create typed patch object (/x; apps/v1, Kind=Deployment): .spec.replicsa: field not declared in schema"
    );
}

#[test]
fn configurations_are_compared_as_they_are_stored() {
    let sent = json!({"spec": {"replicas": null, "unknown": 1, "template": {"spec": {"volumes": [], "containers": [{
        "name": "c", "args": [], "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}},
    }]}}}});
    let mut wanted = sent.clone();
    wanted["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] =
        json!({"cpu": "500m", "memory": "1Gi"});
    assert_eq!(canonical(kind("apps/v1", "Deployment"), sent), Ok(wanted));
    assert!(canonical(kind("apps/v1", "Deployment"), json!({"spec": {"replicas": "3"}})).is_err());
}
