//! Tables of what storage kinds, events, policies and addresses are refused for.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::check;
use crate::{defaults, kinds::builtin};

#[track_caller]
fn refused(api_version: &str, kind: &str, mut object: Value, old: Option<Value>, expected: Expect) {
    let kind = builtin().by_api_version(api_version, kind).expect("known");
    let complete = |object: &mut Value| {
        if object.pointer("/metadata/name").is_none() {
            object["metadata"]["name"] = "x".into();
        }
        defaults::apply(kind, object);
    };
    complete(&mut object);
    let old = old.map(|mut it| {
        complete(&mut it);
        it
    });
    let causes = check(kind, &object, old.as_ref());
    expected.assert_eq(&causes.iter().map(|it| format!("{} {it}\n", it.reason.as_str())).collect::<String>());
}

#[test]
fn good_objects_pass() {
    let none = || expect![[""]];
    let volume =
        json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}});
    refused("v1", "PersistentVolume", volume, None, none());
    refused("storage.k8s.io/v1", "StorageClass", json!({"provisioner": "e2e.io/x"}), None, none());
    refused("storage.k8s.io/v1", "CSIDriver", json!({"spec": {}}), None, none());
    refused("storage.k8s.io/v1", "CSINode", json!({"spec": {}}), None, none());
    let attachment = json!({"spec": {"attacher": "e2e", "nodeName": "n", "source": {"persistentVolumeName": "v"}}});
    refused("storage.k8s.io/v1", "VolumeAttachment", attachment, None, none());
    let event =
        json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "a", "name": "p"}, "reason": "R"});
    refused("v1", "Event", event, None, none());
    let event = json!({
        "metadata": {"namespace": "default"}, "regarding": {"name": "n"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "c", "reportingInstance": "i", "action": "A", "reason": "R", "type": "Normal",
    });
    refused("events.k8s.io/v1", "Event", event, None, none());
    let address =
        json!({"metadata": {"name": "10.43.0.7"}, "spec": {"parentRef": {"resource": "services", "name": "s"}}});
    refused("networking.k8s.io/v1", "IPAddress", address, None, none());
    refused("networking.k8s.io/v1", "IngressClass", json!({"spec": {"controller": "example.com/c"}}), None, none());
}

#[test]
fn storage() {
    refused(
        "v1",
        "PersistentVolume",
        json!({"spec": {"capacity": {"cpu": "0"}, "accessModes": ["Sometimes"], "nfs": {"server": "a", "path": "/"}, "local": {"path": "/../x"}}}),
        None,
        expect![[r#"
            FieldValueNotSupported spec.accessModes[0]: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            FieldValueNotSupported spec.capacity: Unsupported value: {"cpu":"0"}: supported values: "storage"
            FieldValueInvalid spec.capacity[cpu]: Invalid value: "0": must be greater than zero
            FieldValueForbidden spec.nfs: Forbidden: may not specify more than 1 volume type
            FieldValueInvalid spec.local.path: Invalid value: "/../x": must not contain '..'
            FieldValueRequired spec.nodeAffinity: Required value: Local volume requires node affinity
        "#]],
    );
    refused(
        "storage.k8s.io/v1",
        "StorageClass",
        json!({"provisioner": "a b", "reclaimPolicy": "Keep"}),
        None,
        expect![[r#"
            FieldValueInvalid provisioner: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            FieldValueNotSupported reclaimPolicy: Unsupported value: "Keep": supported values: "Delete", "Retain"
        "#]],
    );
    refused(
        "storage.k8s.io/v1",
        "VolumeAttachment",
        json!({"spec": {"attacher": "a", "nodeName": "n", "source": {}}}),
        None,
        expect![[r#"
            FieldValueRequired spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName
        "#]],
    );
    refused(
        "storage.k8s.io/v1",
        "CSINode",
        json!({"spec": {"drivers": [{"name": "a", "nodeID": "i"}, {"name": "a", "nodeID": ""}]}}),
        None,
        expect![[r#"
            FieldValueDuplicate spec.drivers[1].name: Duplicate value: "a"
            FieldValueRequired spec.drivers[1].nodeID: Required value
        "#]],
    );
    refused(
        "storage.k8s.io/v1",
        "VolumeAttributesClass",
        json!({"driverName": "b", "parameters": {"k": "v"}}),
        Some(json!({"driverName": "a", "parameters": {"k": "v"}})),
        expect![[r#"
            FieldValueInvalid driverName: Invalid value: "b": field is immutable
        "#]],
    );
}

#[test]
fn what_was_said_stands() {
    let volume = |path: &str| json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": path}}});
    refused(
        "v1",
        "PersistentVolume",
        volume("/b"),
        Some(volume("/a")),
        expect![[r#"
            FieldValueForbidden spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
        "#]],
    );
    let claim = |class: &str| json!({"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": class}}]}}});
    refused(
        "resource.k8s.io/v1",
        "ResourceClaimTemplate",
        json!({"spec": claim("b")}),
        Some(json!({"spec": claim("a")})),
        expect![[r#"
            FieldValueInvalid spec: Invalid value: {"spec":{"devices":{"requests":[{"exactly":{"deviceClassName":"b"},"name":"r"}]}}}: field is immutable
        "#]],
    );
}

#[test]
fn events() {
    refused(
        "v1",
        "Event",
        json!({"metadata": {"namespace": "a"}, "involvedObject": {"namespace": "b", "name": "p"}}),
        None,
        expect![[r#"
            FieldValueInvalid involvedObject.namespace: Invalid value: "b": does not match event.namespace
        "#]],
    );
    refused(
        "events.k8s.io/v1",
        "Event",
        json!({"metadata": {"namespace": "default"}, "type": "Odd", "reason": "R", "deprecatedCount": 2}),
        None,
        expect![[r#"
            FieldValueRequired reportingController: Required value
            FieldValueRequired reportingInstance: Required value
            FieldValueRequired action: Required value
            FieldValueRequired eventTime: Required value
            FieldValueInvalid type: Invalid value: "Odd": has invalid value: Odd
            FieldValueInvalid deprecatedCount: Invalid value: 2: needs to be unset
        "#]],
    );
}

#[test]
fn policies() {
    refused(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        json!({"spec": {"matchConstraints": {"resourceRules": [{"operations": ["POKE"], "apiGroups": [""], "apiVersions": ["v1"]}]},
            "validations": [{"expression": " "}], "failurePolicy": "Maybe"}}),
        None,
        expect![[r#"
            FieldValueNotSupported spec.failurePolicy: Unsupported value: "Maybe": supported values: "Fail", "Ignore"
            FieldValueRequired spec.matchConstraints.resourceRules[0].resources: Required value
            FieldValueNotSupported spec.matchConstraints.resourceRules[0].operations[0]: Unsupported value: "POKE": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"
            FieldValueRequired spec.validations[0].expression: Required value: expression is not specified
        "#]],
    );
    refused(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        json!({"spec": {"policyName": "p", "validationActions": ["Deny", "Deny"], "paramRef": {}}}),
        None,
        expect![[r#"
            FieldValueRequired spec.paramRef: Required value: one of name or selector must be specified
            FieldValueRequired spec.paramRef.parameterNotFoundAction: Required value
            FieldValueDuplicate spec.validationActions[1]: Duplicate value: "Deny"
        "#]],
    );
}

#[test]
fn networks() {
    refused(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        json!({"spec": {"podSelector": {}, "egress": [{
            "ports": [{"port": 90, "endPort": 80}, {"endPort": 80}],
            "to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}, "podSelector": {}}],
        }]}}),
        None,
        expect![[r#"
            FieldValueInvalid spec.egress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`
            FieldValueRequired spec.egress[0].ports[1].endPort: Required value: may not be specified when `port` is not specified
            FieldValueInvalid spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr` ("10.0.0.0/8")
            FieldValueForbidden spec.egress[0].to[0]: Forbidden: may not specify more than 1 from type
        "#]],
    );
    refused(
        "networking.k8s.io/v1",
        "IPAddress",
        json!({"metadata": {"name": "2001:db8:0::1"}, "spec": {"parentRef": {"resource": "services"}}}),
        None,
        expect![[r#"
            FieldValueInvalid metadata.name: Invalid value: "2001:db8:0::1": must be in canonical form ("2001:db8::1")
            FieldValueRequired spec.parentRef.name: Required value
        "#]],
    );
    refused(
        "networking.k8s.io/v1",
        "IngressClass",
        json!({"spec": {"controller": "example.com", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}}),
        None,
        expect![[r#"
            FieldValueInvalid spec.controller: Invalid value: "example.com": must be a domain-prefixed path (such as "acme.io/foo")
            FieldValueRequired spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'
        "#]],
    );
    refused(
        "networking.k8s.io/v1",
        "ServiceCIDR",
        json!({"spec": {"cidrs": ["10.0.0.0"]}}),
        None,
        expect![[r#"
            FieldValueInvalid spec.cidrs[0]: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
        "#]],
    );
}
