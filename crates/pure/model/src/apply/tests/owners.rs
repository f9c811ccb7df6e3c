//! Who owns what after creations, updates and subresource writes.

use expect_test::expect;

use super::*;

#[test]
fn a_creation_owns_what_it_set() {
    let mut live = Live::deployment();
    live.update("kubectl-create", |new| {
        new["metadata"]["labels"] = json!({"app": "web"});
        new["spec"] = json!({
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}], "restartPolicy": "Always", "securityContext": {}},
            },
        });
        new["status"] = json!({"replicas": 9});
    });
    // As Kubernetes does: objects that its types always have (spec, template, strategy) are nobody's.
    expect![[r#"
        Update "kubectl-create" using apps/v1
          .metadata.labels
          .metadata.labels.app
          .spec.replicas
          .spec.selector
          .spec.strategy.rollingUpdate
          .spec.strategy.rollingUpdate.maxSurge
          .spec.strategy.type
          .spec.template.metadata.labels
          .spec.template.metadata.labels.app
          .spec.template.spec.containers
          .spec.template.spec.containers[name="c"]
          .spec.template.spec.containers[name="c"].image
          .spec.template.spec.containers[name="c"].name
          .spec.template.spec.containers[name="c"].resources
          .spec.template.spec.restartPolicy
          .spec.template.spec.securityContext
    "#]]
    .assert_eq(&live.owners());
    let entry = &live.object.as_ref().expect("made")["metadata"]["managedFields"][0];
    assert_eq!((&entry["time"], &entry["fieldsType"]), (&json!("2026-01-02T03:04:05Z"), &json!("FieldsV1")));
}

#[test]
fn an_update_takes_what_it_changes() {
    let mut live = Live::new("v1", "ConfigMap");
    live.update("a", |new| new["data"] = json!({"x": "1", "y": "1"}));
    live.update("b", |new| new["data"] = json!({"x": "2", "z": "1"}));
    expect![[r#"
        Update "a" using v1
          .data
        Update "b" using v1
          .data.x
          .data.z
    "#]]
    .assert_eq(&live.owners());
    live.update("b", |new| drop(new.as_object_mut().expect("an object").remove("data")));
    assert_eq!(live.owners(), "");
    assert!(live.object.as_ref().expect("made")["metadata"].get("managedFields").is_none());
}

#[test]
fn an_update_without_change_changes_no_entry() {
    let mut live = Live::new("v1", "ConfigMap");
    live.update("a", |new| new["data"] = json!({"x": "1"}));
    let before = live.object.clone();
    let later = Writer { now: "2027-01-01T00:00:00Z".parse().expect("a time"), ..writer("b") };
    live.update_as(&later, |_| {});
    assert_eq!(live.object, before);
}

#[test]
fn status_belongs_to_those_who_write_status() {
    let mut live = Live::deployment();
    live.update("a", |new| new["spec"] = json!({"replicas": 1}));
    let status = Writer { subresource: "status", ..writer("controller") };
    live.update_as(&status, |new| {
        new["spec"]["replicas"] = 5.into();
        new["metadata"]["annotations"] = json!({"revision": "1"});
        new["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    });
    expect![[r#"
        Update "a" using apps/v1
          .spec.replicas
        Update "controller" with subresource "status" using apps/v1
          .metadata.annotations
          .metadata.annotations.revision
          .status.conditions
          .status.conditions[type="Available"]
          .status.conditions[type="Available"].status
          .status.conditions[type="Available"].type
          .status.replicas
    "#]]
    .assert_eq(&live.owners());
}

#[test]
fn an_object_without_owners_stays_without() {
    let mut live = Live::new("v1", "ConfigMap");
    live.object = Some(live.named(json!({"data": {"x": "1"}})));
    live.update("a", |new| new["data"]["x"] = "2".into());
    assert_eq!(live.owners(), "");
}

#[test]
fn clients_may_set_and_forget_owners() {
    let mut live = Live::new("v1", "ConfigMap");
    live.update("a", |new| new["data"] = json!({"x": "1"}));
    let held = live.object.clone();
    // Left out or emptied by a client that does not know the field: it stays.
    for ignorant in [json!(null), json!([])] {
        live.update("b", |new| new["metadata"]["managedFields"] = ignorant);
        assert_eq!(live.object, held);
    }
    live.update("b", |new| {
        new["metadata"]["managedFields"] = json!([{"manager": "mine", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:x": {}}}}]);
        new["data"]["y"] = "1".into();
    });
    expect![[r#"
        Apply "mine"
          .data.x
        Update "b" using v1
          .data.y
    "#]]
    .assert_eq(&live.owners());
    // Not through a subresource.
    let status = Writer { subresource: "status", ..writer("b") };
    live.update_as(&status, |new| new["metadata"]["managedFields"] = json!([{}]));
    assert!(!live.owners().is_empty());
    live.update("b", |new| new["metadata"]["managedFields"] = json!([{}]));
    assert_eq!(live.owners(), "");
}

#[test]
fn malformed_owners_are_told_and_do_not_count() {
    let mut live = Live::new("v1", "ConfigMap");
    live.update("a", |new| new["data"] = json!({"x": "1"}));
    let good =
        json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}});
    for (field, value) in [
        ("operation", json!("Replace")),
        ("apiVersion", json!("")),
        ("fieldsType", json!("FieldsV2")),
        ("fieldsType", json!(null)),
        ("fieldsV1", json!({"f:a": 1})),
        ("fieldsV1", json!({"nonsense": {}})),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        let mut new = live.object.clone().expect("made");
        new["metadata"]["managedFields"] = json!([bad]);
        let told = track(builtin(), live.kind, &writer("b"), live.object.as_ref(), &mut new);
        assert!(told.expect_err("malformed").to_string().starts_with("metadata.managedFields[0]: "));
        assert_eq!(Some(&new), live.object.as_ref());
    }
}

#[test]
fn many_updaters_become_one() {
    let mut live = Live::new("v1", "ConfigMap");
    for i in 0..20 {
        let now = format!("2026-01-01T00:00:{i:02}Z").parse().expect("a time");
        let manager = format!("m{i}");
        live.update_as(&Writer { manager: &manager, subresource: "", now }, |new| {
            new["data"][format!("k{i}")] = "v".into()
        });
    }
    let entries = live.entries();
    assert_eq!(entries.len(), 10);
    let ancient = entries.iter().find(|it| it.manager == "ancient-changes").expect("merged");
    assert_eq!(ancient.fields.paths().len(), 12);
    assert!(entries.iter().any(|it| it.manager == "m19"));
}

#[test]
fn owners_of_another_version_lose_what_changes_there() {
    let mut live = Live::new("autoscaling/v2", "HorizontalPodAutoscaler");
    live.update("two", |new| {
        new["spec"] = json!({
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
        });
    });
    let convert = |live: &mut Live, to: &str| {
        let from = live.kind;
        live.kind = kind(to, "HorizontalPodAutoscaler");
        let stored = crate::convert::to_stored(from, live.object.take().expect("made"));
        live.object = Some(crate::convert::from_stored(live.kind, stored));
    };
    convert(&mut live, "autoscaling/v1");
    live.update("one", |new| new["spec"]["targetCPUUtilizationPercentage"] = 50.into());
    expect![[r#"
        Update "one" using autoscaling/v1
          .spec.targetCPUUtilizationPercentage
        Update "two" using autoscaling/v2
          .spec.maxReplicas
    "#]]
    .assert_eq(&live.owners());
    // An owner whose version is gone is forgotten.
    live.object.as_mut().expect("made")["metadata"]["managedFields"][0]["apiVersion"] = "autoscaling/v2beta1".into();
    live.update("three", |new| new["spec"]["maxReplicas"] = 4.into());
    expect![[r#"
        Update "three" using autoscaling/v1
          .spec.maxReplicas
    "#]]
    .assert_eq(&live.owners());
}
