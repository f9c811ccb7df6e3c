use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::{kinds::builtin, rbac::Resource};

const NODE: &str = "edge";

#[test]
fn a_node_is_a_user_of_that_name_and_group() {
    let nodes = ["system:nodes".to_owned()];
    let of_user = |name, groups| of(&User { name, groups });
    assert_eq!(of_user("system:node:edge", &nodes[..]), Some("edge"));
    assert_eq!(of_user("system:node:", &nodes[..]), Some(""));
    assert_eq!(of_user("system:node:edge", &[]), None, "anybody may have that name");
    assert_eq!(of_user("edge", &nodes[..]), None);
}

/// Each wish is `verb group/resource/subresource namespace/name node`, with `-` for nothing.
#[track_caller]
fn check(wishes: &str, want: Expect) {
    let word = |it: &str| if it == "-" { "" } else { it }.to_owned();
    let mut got = String::new();
    for line in wishes.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [verb, what, place, selected] = words.as_slice() else { panic!("{line}") };
        let what: Vec<String> = what.split('/').map(word).collect();
        let place: Vec<String> = place.split('/').map(word).collect();
        let ask = Resource {
            verb,
            group: &what[0],
            resource: &what[1],
            subresource: what.get(2).map_or("", |it| it),
            namespace: &place[0],
            name: &place[1],
            node: &word(selected),
        };
        got += &match opinion(NODE, &ask) {
            Opinion::Allowed => format!("{line}: yes\n"),
            Opinion::ByRules => format!("{line}: by rules\n"),
            Opinion::Related(related) => format!("{line}: {related:?}\n"),
            Opinion::Refused(why) if why.is_empty() => format!("{line}: no\n"),
            Opinion::Refused(why) => format!("{line}: no, {why}\n"),
        };
    }
    want.assert_eq(&got);
}

#[test]
fn a_node_sees_what_has_to_do_with_it() {
    check(
        "
        get -/secrets shop/key -
        list -/secrets shop/- -
        watch -/configmaps shop/c -
        get -/configmaps -/c -
        update -/secrets shop/key -
        get -/persistentvolumeclaims shop/data -
        patch -/persistentvolumeclaims/status shop/data -
        delete -/persistentvolumes -/pv -
        get resource.k8s.io/resourceclaims shop/r -
        get storage.k8s.io/volumeattachments -/va -
        create -/serviceaccounts/token shop/robot -
        get -/serviceaccounts shop/robot -
        get -/pods shop/p -
        list -/pods -/- edge
        watch -/pods -/- other
        watch -/pods shop/p -
        create -/pods shop/- -
        patch -/pods shop/p -
        patch -/pods/status shop/p -
        create -/pods/eviction shop/p -
        create -/pods/exec shop/p -
        ",
        expect![[r#"
            get -/secrets shop/key -: Secret
            list -/secrets shop/- -: no, No Object name found
            watch -/configmaps shop/c -: ConfigMap
            get -/configmaps -/c -: no, can only read namespaced object of this type
            update -/secrets shop/key -: no, can only read resources of this type
            get -/persistentvolumeclaims shop/data -: Claim
            patch -/persistentvolumeclaims/status shop/data -: Claim
            delete -/persistentvolumes -/pv -: no, can only get individual resources of this type
            get resource.k8s.io/resourceclaims shop/r -: ResourceClaim
            get storage.k8s.io/volumeattachments -/va -: Attachment
            create -/serviceaccounts/token shop/robot -: Account
            get -/serviceaccounts shop/robot -: no, can only create tokens for individual service accounts
            get -/pods shop/p -: Pod
            list -/pods -/- edge: yes
            watch -/pods -/- other: no, can only list/watch pods with spec.nodeName field selector
            watch -/pods shop/p -: Pod
            create -/pods shop/- -: yes
            patch -/pods shop/p -: no
            patch -/pods/status shop/p -: yes
            create -/pods/eviction shop/p -: yes
            create -/pods/exec shop/p -: no
        "#]],
    );
}

#[test]
fn a_node_has_its_own_object_lease_and_slices() {
    check(
        "
        get -/nodes -/edge -
        get -/nodes -/other -
        list -/nodes -/- -
        create -/nodes -/- -
        patch -/nodes/status -/edge -
        delete -/nodes -/edge -
        update coordination.k8s.io/leases kube-node-lease/edge -
        update coordination.k8s.io/leases kube-node-lease/other -
        get coordination.k8s.io/leases default/edge -
        list coordination.k8s.io/leases kube-node-lease/- -
        get storage.k8s.io/csinodes -/edge -
        get storage.k8s.io/csinodes -/other -
        list resource.k8s.io/resourceslices -/- edge
        list resource.k8s.io/resourceslices -/- -
        update resource.k8s.io/resourceslices -/s -
        list -/services -/- -
        create certificates.k8s.io/certificatesigningrequests -/- -
        ",
        expect![[r#"
            get -/nodes -/edge -: yes
            get -/nodes -/other -: no, node 'edge' cannot read 'other', only its own Node object
            list -/nodes -/- -: no, node 'edge' cannot read all nodes, only its own Node object
            create -/nodes -/- -: yes
            patch -/nodes/status -/edge -: yes
            delete -/nodes -/edge -: no
            update coordination.k8s.io/leases kube-node-lease/edge -: yes
            update coordination.k8s.io/leases kube-node-lease/other -: no, can only access node lease with the same name as the requesting node
            get coordination.k8s.io/leases default/edge -: no, can only access leases in the "kube-node-lease" system namespace
            list coordination.k8s.io/leases kube-node-lease/- -: no, can only get, create, update, patch, or delete a node lease
            get storage.k8s.io/csinodes -/edge -: yes
            get storage.k8s.io/csinodes -/other -: no, can only access CSINode with the same name as the requesting node
            list resource.k8s.io/resourceslices -/- edge: yes
            list resource.k8s.io/resourceslices -/- -: no, can only list/watch/deletecollection resourceslices with nodeName field selector
            update resource.k8s.io/resourceslices -/s -: Slice
            list -/services -/- -: by rules
            create certificates.k8s.io/certificatesigningrequests -/- -: by rules
        "#]],
    );
}

#[test]
fn pods_refer_to_objects_in_many_places() {
    let pod = json!({"metadata": {"name": "web"}, "spec": {
        "serviceAccountName": "robot", "nodeSelector": {"secret": "selector"},
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [{
            "env": [{"valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
                {"valueFrom": {"configMapKeyRef": {"name": "c-env", "key": "k"}}}],
            "envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "c-from"}}],
        }],
        "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "init", "key": "k"}}}]}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "volume"}},
            {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}},
                {"configMap": {"name": "c-projected"}}]}},
            {"name": "c", "configMap": {"name": "c-volume"}},
            {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
        ],
    }});
    for name in ["pull", "env", "from", "init", "volume", "projected"] {
        assert!(uses(&pod, Related::Secret, name), "{name}");
        assert!(!uses(&pod, Related::ConfigMap, name), "{name}");
    }
    for name in ["c-env", "c-from", "c-projected", "c-volume"] {
        assert!(uses(&pod, Related::ConfigMap, name), "{name}");
    }
    assert!(uses(&pod, Related::Claim, "data") && uses(&pod, Related::Claim, "web-e"));
    assert!(uses(&pod, Related::Account, "robot") && uses(&pod, Related::Pod, "web"));
    for name in ["selector", "a", "k", "robot", ""] {
        assert!(!uses(&pod, Related::Secret, name), "{name}");
    }
}

/// A write of an object, `resource/subresource`, over another one.
fn written(change: Change, what: &str, name: &str, old: Value, object: Value) -> String {
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let (group, version) = match resource {
        "leases" => ("coordination.k8s.io", "v1"),
        "csinodes" => ("storage.k8s.io", "v1"),
        "resourceslices" => ("resource.k8s.io", "v1"),
        _ => ("", "v1"),
    };
    let kind = builtin().by_plural(group, version, resource).unwrap();
    let namespace = if resource == "leases" { "kube-node-lease" } else { "" };
    let write = Write { change, kind, subresource, namespace, name, object: &object, old: &old, uid: Some("u") };
    restrict(NODE, &write).err().unwrap_or_else(|| "yes".to_owned())
}

#[test]
fn a_node_writes_of_pods_only_its_own() {
    use Change::{Create, Delete, Update};
    let on = |node: &str| json!({"spec": {"nodeName": node}});
    assert_eq!(written(Delete, "pods", "p", on("edge"), Value::Null), "yes");
    expect![[r#"node "edge" can only delete pods with spec.nodeName set to itself"#]].assert_eq(&written(
        Delete,
        "pods",
        "p",
        on("other"),
        Value::Null,
    ));
    expect![[r#"unexpected operation "UPDATE", node "edge" can only create and delete mirror pods"#]]
        .assert_eq(&written(Update, "pods", "p", on("edge"), on("edge")));
    assert_eq!(written(Update, "pods/status", "p", on("edge"), on("edge")), "yes");
    expect![[r#"node "edge" can only update pod status for pods with spec.nodeName set to itself"#]]
        .assert_eq(&written(Update, "pods/status", "p", on("other"), on("other")));
    let labelled = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "edge"}});
    expect![[r#"node "edge" cannot update labels through pod status"#]].assert_eq(&written(
        Update,
        "pods/status",
        "p",
        on("edge"),
        labelled,
    ));
    assert_eq!(written(Create, "pods/eviction", "p", on("edge"), json!({})), "yes");
    expect!["node edge can only evict pods with spec.nodeName set to itself"].assert_eq(&written(
        Create,
        "pods/eviction",
        "p",
        on("other"),
        json!({}),
    ));
    expect![[r#"unexpected pod subresource "binding", only 'status' and 'eviction' are allowed"#]].assert_eq(&written(
        Create,
        "pods/binding",
        "p",
        Value::Null,
        json!({}),
    ));
}

#[test]
fn pods_of_a_node_are_mirrors_that_refer_to_nothing() {
    let mirror = json!({
        "metadata": {"annotations": {MIRROR: "x"}, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "edge", "uid": "u", "controller": true}]},
        "spec": {"nodeName": "edge", "containers": [{"name": "c"}]},
    });
    let with = |pointer: &str, value: Value| {
        let mut pod = mirror.clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value;
        written(Change::Create, "pods", "p", Value::Null, pod)
    };
    let mut got = String::new();
    let claims = with("/spec/resourceClaims", json!([{"name": "gpu", "resourceClaimName": "others"}]));
    assert_eq!(claims, r#"node "edge" can not create pods that reference resourceclaims"#);
    for (pointer, value) in [
        ("/spec/hostNetwork", json!(true)),
        ("/metadata/annotations", json!({})),
        ("/spec/nodeName", json!("other")),
        ("/metadata/ownerReferences", json!([])),
        ("/metadata/ownerReferences", json!([{}, {}])),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "Pod", "name": "edge"}])),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "Node", "name": "edge", "uid": "u"}])),
        (
            "/metadata/ownerReferences",
            json!([{"apiVersion": "v1", "kind": "Node", "name": "edge", "uid": "v", "controller": true}]),
        ),
        ("/spec/serviceAccountName", json!("robot")),
        ("/spec/imagePullSecrets", json!([{"name": "s"}])),
        ("/spec/volumes", json!([{"name": "v", "configMap": {"name": "c"}}])),
        ("/spec/volumes", json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])),
        ("/spec/volumes", json!([{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "b"}}]}}])),
    ] {
        got += &format!("{pointer} {value}: {}\n", with(pointer, value.clone()));
    }
    expect![[r#"
        /spec/hostNetwork true: yes
        /metadata/annotations {}: pod does not have "kubernetes.io/config.mirror" annotation, node "edge" can only create mirror pods
        /spec/nodeName "other": node "edge" can only create pods with spec.nodeName set to itself
        /metadata/ownerReferences []: node "edge" can only create pods with an owner reference set to itself
        /metadata/ownerReferences [{},{}]: node "edge" can only create pods with a single owner reference set to itself
        /metadata/ownerReferences [{"apiVersion":"v1","kind":"Pod","name":"edge"}]: node "edge" can only create pods with an owner reference set to itself
        /metadata/ownerReferences [{"apiVersion":"v1","kind":"Node","name":"edge","uid":"u"}]: node "edge" can only create pods with a controller owner reference set to itself
        /metadata/ownerReferences [{"apiVersion":"v1","controller":true,"kind":"Node","name":"edge","uid":"v"}]: node edge UID mismatch: expected v got u
        /spec/serviceAccountName "robot": node "edge" can not create pods that reference a service account
        /spec/imagePullSecrets [{"name":"s"}]: node "edge" can not create pods that reference secrets
        /spec/volumes [{"configMap":{"name":"c"},"name":"v"}]: node "edge" can not create pods that reference configmaps
        /spec/volumes [{"name":"v","persistentVolumeClaim":{"claimName":"c"}}]: node "edge" can not create pods that reference persistentvolumeclaims
        /spec/volumes [{"name":"v","projected":{"sources":[{"clusterTrustBundle":{"name":"b"}}]}}]: node "edge" can not create pods that reference clustertrustbundles
    "#]]
    .assert_eq(&got);
}

#[test]
fn a_node_sets_no_labels_that_steer_pods_and_no_taints() {
    use Change::{Create, Update};
    let labelled = |label: &str| json!({"metadata": {"labels": {label: "x"}}});
    let mut got = String::new();
    for label in [
        "team",
        "example.com/team",
        "kubernetes.io/hostname",
        "kubelet.kubernetes.io/any",
        "sub.node.kubernetes.io/any",
        "node-restriction.kubernetes.io/trusted",
        "a.node-restriction.kubernetes.io/trusted",
        "node-role.kubernetes.io/control-plane",
        "k8s.io/any",
        "notkubernetes.io/any",
    ] {
        got += &format!("{}\n", written(Create, "nodes", NODE, Value::Null, labelled(label)));
    }
    expect![[r#"
        yes
        yes
        yes
        yes
        yes
        node "edge" is not allowed to set the following labels: node-restriction.kubernetes.io/trusted
        node "edge" is not allowed to set the following labels: a.node-restriction.kubernetes.io/trusted
        node "edge" is not allowed to set the following labels: node-role.kubernetes.io/control-plane
        node "edge" is not allowed to set the following labels: k8s.io/any
        yes
    "#]]
    .assert_eq(&got);
    let kept = labelled("node-role.kubernetes.io/worker");
    assert_eq!(written(Update, "nodes/status", NODE, kept.clone(), kept.clone()), "yes", "who gave it may have");
    assert_eq!(
        written(Update, "nodes", NODE, kept, json!({})),
        "is not allowed to modify labels: node-role.kubernetes.io/worker"
    );
    let tainted = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    assert_eq!(
        written(Update, "nodes", NODE, tainted, json!({"spec": {}})),
        r#"node "edge" is not allowed to modify taints"#
    );
    let owned = json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Namespace", "name": "gone"}]}});
    for subject in ["nodes", "nodes/status"] {
        assert_eq!(
            written(Update, subject, NODE, json!({"metadata": {}}), owned.clone()),
            r#"node "edge" is not allowed to modify ownerReferences"#
        );
    }
    assert_eq!(written(Update, "nodes", NODE, owned.clone(), owned), "yes");
    assert_eq!(
        written(Update, "nodes", "other", json!({}), json!({})),
        r#"node "edge" is not allowed to modify node "other""#
    );
}

#[test]
fn of_other_kinds_a_node_writes_what_bears_its_name() {
    use Change::{Create, Delete, Update};
    assert_eq!(written(Create, "leases", NODE, Value::Null, json!({})), "yes");
    assert!(written(Create, "leases", "other", Value::Null, json!({})).contains("same name as the requesting node"));
    assert_eq!(written(Create, "csinodes", NODE, Value::Null, json!({})), "yes");
    assert!(written(Delete, "csinodes", "other", json!({}), Value::Null).contains("CSINode with the same name"));
    let slice = |node: &str| json!({"spec": {"nodeName": node}});
    assert_eq!(written(Create, "resourceslices", "s", Value::Null, slice(NODE)), "yes");
    assert!(written(Delete, "resourceslices", "s", slice("other"), Value::Null).starts_with("can only delete"));
    let claim = |capacity: &str, label: &str| json!({"metadata": {"labels": {"a": label}}, "status": {"phase": "Bound", "capacity": {"storage": capacity}}});
    assert_eq!(written(Update, "persistentvolumeclaims/status", "c", claim("1Gi", "b"), claim("2Gi", "b")), "yes");
    assert!(
        written(Update, "persistentvolumeclaims/status", "c", claim("1Gi", "b"), claim("1Gi", "c"))
            .contains("is not allowed to update fields other than")
    );
    assert_eq!(
        written(Update, "persistentvolumeclaims", "c", claim("1Gi", "b"), claim("1Gi", "b")),
        "may only update PVC status"
    );
    assert_eq!(written(Create, "events", "e", Value::Null, json!({})), "yes", "roles decide");
}

#[test]
fn tokens_are_for_pods_of_the_node() {
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
    let on = |node: &str| json!({"spec": {"nodeName": node}});
    let check = |reference: &Value, pod: &Value| check_token(NODE, reference, pod).err().unwrap_or_default();
    assert_eq!(check(&bound, &on(NODE)), "");
    assert_eq!(check(&bound, &on("other")), "node requested token bound to a pod scheduled on a different node");
    assert_eq!(check(&Value::Null, &Value::Null), "node requested token not bound to a pod");
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "name": "p", "uid": "u"});
    assert_eq!(check(&secret, &on(NODE)), "node requested token not bound to a pod");
    let anyone = json!({"apiVersion": "v1", "kind": "Pod", "name": "p"});
    assert_eq!(check(&anyone, &on(NODE)), "node requested token with a pod binding without a uid");
}
