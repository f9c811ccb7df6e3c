use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

fn good() -> Value {
    json!({
        "metadata": {"name": "widgets.x.io"},
        "spec": {
            "group": "x.io", "scope": "Namespaced", "conversion": {"strategy": "None"},
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
                    "n": {"type": "integer"}, "s": {"type": "string"},
                }}}}},
            }],
        },
        "status": {"storedVersions": ["v1"]},
    })
}

fn causes(object: &Value, old: Option<&Value>) -> String {
    let (object, old) = (At::root(object, true), old.map(|it| At::root(it, true)));
    let mut causes = Vec::new();
    definition(&object, old.as_ref(), &mut causes);
    causes.iter().map(|it| format!("{it}\n")).collect()
}

fn check(change: impl FnOnce(&mut Value), expected: Expect) {
    let mut object = good();
    change(&mut object);
    expected.assert_eq(&causes(&object, None));
}

/// Checks a schema in place of the good one's `spec`.
fn check_schema(schema: Value, expected: Expect) {
    let place = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let put = |it: &mut Value| *it.pointer_mut(place).expect("is there") = schema;
    let mut object = good();
    put(&mut object);
    expected.assert_eq(&causes(&object, None).replace("spec.versions[0].schema.openAPIV3Schema.properties", "~"));
}

#[test]
fn a_good_definition_passes() {
    check(|_| {}, expect![""]);
}

#[test]
fn names_groups_and_versions_must_fit_together() {
    check(
        |it| {
            it["metadata"]["name"] = "odd".into();
            it["spec"]["names"] =
                json!({"plural": "Widgets", "kind": "Widget", "listKind": "Widget", "shortNames": ["a_b"]});
            it["spec"]["group"] = "nodots".into();
            it["spec"]["scope"] = "Galaxy".into();
        },
        expect![[r#"
            metadata.name: Invalid value: "odd": must be spec.names.plural+"."+spec.group
            spec.names.plural: Invalid value: "Widgets": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.names.shortNames[0]: Invalid value: "a_b": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same
            spec.group: Invalid value: "nodots": should be a domain with at least one dot
            spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"
        "#]],
    );
    check(
        |it| {
            it["metadata"]["name"] = "widgets.y.k8s.io".into();
            it["spec"]["group"] = "y.k8s.io".into();
            it["spec"]["preserveUnknownFields"] = true.into();
            let version = it["spec"]["versions"][0].clone();
            it["spec"]["versions"] = json!([version, version]);
            it["spec"]["versions"][1]["schema"] = Value::Null;
            it["status"]["storedVersions"] = json!(["v0"]);
        },
        expect![[r#"
            metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111
            spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead
            spec.versions[1].schema.openAPIV3Schema: Required value: schemas are required
            spec.versions: Invalid value: "v1": must contain unique version names
            spec.versions: Invalid value: ["v1","v1"]: must have exactly one version marked as storage version
            status.storedVersions[0]: Invalid value: "v0": missing from spec.versions; v0 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v0 and removes v0 from status.storedVersions
            status.storedVersions: Invalid value: ["v0"]: must have the storage version v1
        "#]],
    );
}

#[test]
fn versions_say_sound_things_of_themselves() {
    check(
        |it| {
            let version = &mut it["spec"]["versions"][0];
            version["subresources"]["scale"] = json!({"specReplicasPath": ".status.n", "statusReplicasPath": "x[0]"});
            version["additionalPrinterColumns"] = json!([{"name": "A", "type": "odd", "jsonPath": ".a["}, {}]);
            version["selectableFields"] = json!([
                {"jsonPath": ".spec.n"}, {"jsonPath": ".spec.n"}, {"jsonPath": ".spec.x"}, {"jsonPath": ".spec"}, {"jsonPath": ".metadata.uid"},
            ]);
            version["deprecationWarning"] = "old".into();
        },
        expect![[r#"
            spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions
            spec.versions[0].subresources.scale.specReplicasPath: Invalid value: ".status.n": should be a json path under .spec
            spec.versions[0].subresources.scale.statusReplicasPath: Invalid value: "x[0]": should be a simple json path
            spec.versions[0].additionalPrinterColumns[0].type: Unsupported value: "odd": supported values: "boolean", "date", "integer", "number", "string"
            spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: ".a[": is an invalid jsonpath: a bracket is not closed
            spec.versions[0].additionalPrinterColumns[1].name: Required value
            spec.versions[0].additionalPrinterColumns[1].type: Required value
            spec.versions[0].additionalPrinterColumns[1].jsonPath: Required value
            spec.versions[0].selectableFields[1].jsonPath: Duplicate value: ".spec.n"
            spec.versions[0].selectableFields[2].jsonPath: Invalid value: ".spec.x": is an invalid path: does not refer to a valid field
            spec.versions[0].selectableFields[3].jsonPath: Invalid value: ".spec": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.
            spec.versions[0].selectableFields[4].jsonPath: Invalid value: ".metadata.uid": must not point to fields in metadata
        "#]],
    );
    check(
        |it| {
            it["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "http://x"}}})
        },
        expect![[r#"
            spec.conversion.webhook.clientConfig.url: Invalid value: "http://x": 'https' is the only allowed URL scheme
            spec.conversion.webhook.conversionReviewVersions: Required value
        "#]],
    );
}

#[test]
fn schemas_must_be_structural() {
    check_schema(
        json!({"properties": {"a": {}}}),
        expect![[r#"
        ~[spec].type: Required value: must not be empty for specified object fields
        ~[spec].properties[a].type: Required value: must not be empty for specified object fields
    "#]],
    );
    check_schema(
        json!({"type": "object", "properties": {
            "a": {"type": "null"}, "b": {"type": "array"}, "c": {"type": "string", "pattern": "("},
            "d": {"$ref": "#/x", "type": "object"}, "e": {"type": "object", "additionalProperties": false},
            "f": {"type": "object", "additionalProperties": true, "properties": {"x": {"type": "string"}}},
            "g": {"type": "array", "items": [{}], "uniqueItems": true},
        }}),
        expect![[r#"
            ~[spec].properties[a].type: Forbidden: type cannot be set to null, use nullable as an alternative
            ~[spec].properties[b].items: Required value: must be specified
            ~[spec].properties[c].pattern: Invalid value: "(": must be a valid regular expression, but isn't: unclosed group
            ~[spec].properties[d].$ref: Forbidden: $ref is not supported
            ~[spec].properties[e].additionalProperties: Forbidden: additionalProperties cannot be set to false
            ~[spec].properties[f].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive
            ~[spec].properties[g].items: Forbidden: items must be a schema object and not an array
            ~[spec].properties[g].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic
        "#]],
    );
    check_schema(
        json!({"type": "object", "properties": {
            "a": {"type": "string", "x-kubernetes-int-or-string": true},
            "b": {"x-kubernetes-preserve-unknown-fields": false},
            "c": {"type": "object", "x-kubernetes-list-type": "set"},
            "d": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}},
            "e": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "x"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
            "f": {"type": "object", "x-kubernetes-embedded-resource": true},
            "g": {"type": "string", "x-kubernetes-map-type": "atomic"},
        }}),
        expect![[r#"
            ~[spec].properties[a].type: Forbidden: must be empty if x-kubernetes-int-or-string is true
            ~[spec].properties[b].type: Required value: must not be empty for specified object fields
            ~[spec].properties[b].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined
            ~[spec].properties[c].type: Invalid value: "object": must be array if x-kubernetes-list-type is specified
            ~[spec].properties[d].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map
            ~[spec].properties[e].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property
            ~[spec].properties[e].x-kubernetes-list-map-keys: Invalid value: ["k","x"]: entries must all be names of item properties
            ~[spec].properties[f].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields
            ~[spec].properties[g].type: Invalid value: "string": must be object if x-kubernetes-map-type is specified
        "#]],
    );
    check_schema(
        json!({"type": "object", "properties": {"a": {"type": "string"}, "i": {
            "x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}],
        }}, "anyOf": [{"type": "object"}, {"properties": {"b": {"minLength": 1}}}]}),
        expect![[r#"
            ~[spec].anyOf[0].type: Forbidden: must be empty to be structural
            ~[spec].properties[b]: Required value: because it is defined in ~[spec].anyOf[1].properties[b]
        "#]],
    );
}

#[test]
fn defaults_must_hold_and_rules_must_be_told() {
    check_schema(
        json!({"type": "object", "properties": {
            "a": {"type": "string", "default": 1}, "b": {"type": "object", "default": {"x": 1}},
            "c": {"type": "integer", "minimum": 3, "default": 2},
            "d": {"type": "object", "default": {}, "properties": {"x": {"type": "string", "default": "ok"}}},
        }, "x-kubernetes-validations": [
            {"rule": ""}, {"rule": "true", "message": "a\nb"}, {"rule": "true\n&& true"}, {"rule": "true", "reason": "Odd", "fieldPath": "x"},
        ]}),
        expect![[r#"
            ~[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified
            ~[spec].x-kubernetes-validations[1].message: Invalid value: "a\nb": message must not contain line breaks
            ~[spec].x-kubernetes-validations[2].message: Required value: message must be specified if rule contains line breaks
            ~[spec].x-kubernetes-validations[3].reason: Unsupported value: "Odd": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"
            ~[spec].x-kubernetes-validations[3].fieldPath: Invalid value: "x": fieldPath must be a valid path: expected [ or . to start it
            ~[spec].properties[a].default: Invalid value: "integer": ~[spec].properties[a].default in body must be of type string: "integer"
            ~[spec].properties[b].default: Invalid value: {"x":1}: must not have unknown fields
            ~[spec].properties[c].default: Invalid value: 2: ~[spec].properties[c].default in body should be greater than or equal to 3
        "#]],
    );
}

#[test]
fn what_is_established_stays() {
    let mut old = good();
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut new = old.clone();
    new["spec"]["scope"] = "Cluster".into();
    new["spec"]["names"]["kind"] = "Gadget".into();
    expect![[r#"
        spec.scope: Invalid value: "Cluster": field is immutable
        spec.names.kind: Invalid value: "Gadget": field is immutable
    "#]]
    .assert_eq(&causes(&new, Some(&old)));
}
