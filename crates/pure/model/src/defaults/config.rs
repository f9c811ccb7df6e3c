//! Defaults of configuration, cluster and registration kinds.

use serde_json::{Value, json};

use super::fill::{Object, each, make, set, set_text, text};

/// What clients write as text into `stringData` is stored, base64-encoded, in `data`.
pub(super) fn secret(object: &mut Object) {
    set_text(object, "type", "Opaque");
    let Some(Value::Object(texts)) = object.remove("stringData") else { return };
    let data = make(object, "data");
    for (key, text) in texts {
        data.insert(key, base64(text.as_str().unwrap_or("").as_bytes()).into());
    }
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().enumerate().fold(0u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            let symbol = char::from(ALPHABET[(bits >> (18 - 6 * i)) as usize & 63]);
            text.push(if i <= chunk.len() { symbol } else { '=' });
        }
    }
    text
}

/// Every namespace carries its name as a label, and is finalised by the server.
pub(super) fn namespace(object: &mut Object) {
    let metadata = make(object, "metadata");
    let name = text(metadata, "name").to_owned();
    if !name.is_empty() {
        make(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

/// A node that names no allocatable amounts offers all it has.
pub(super) fn node(object: &mut Object) {
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else { return };
    if let Some(capacity) = status.get("capacity").cloned() {
        set(status, "allocatable", capacity);
    }
}

pub(super) fn role_binding(object: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    set_text(make(object, "roleRef"), "apiGroup", GROUP);
    each(object, "subjects", |subject| {
        if matches!(text(subject, "kind"), "User" | "Group") {
            set_text(subject, "apiGroup", GROUP);
        }
    });
}

pub(super) fn webhooks(object: &mut Object, mutating: bool) {
    each(object, "webhooks", |hook| {
        set(hook, "failurePolicy", "Fail");
        set(hook, "matchPolicy", "Equivalent");
        set(hook, "namespaceSelector", json!({}));
        set(hook, "objectSelector", json!({}));
        set(hook, "timeoutSeconds", 10);
        if mutating {
            set(hook, "reinvocationPolicy", "Never");
        }
        each(hook, "rules", |rule| set(rule, "scope", "*"));
        if let Some(service) = hook.get_mut("clientConfig").and_then(|it| it.get_mut("service")) {
            set(crate::meta::as_map(service), "port", 443);
        }
    });
}

pub(super) fn csi_driver(spec: &mut Object) {
    set(spec, "attachRequired", true);
    set(spec, "podInfoOnMount", false);
    set(spec, "storageCapacity", false);
    set(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    set(spec, "requiresRepublish", false);
    set(spec, "seLinuxMount", false);
    if spec.get("volumeLifecycleModes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("volumeLifecycleModes".into(), json!(["Persistent"]));
    }
}

pub(super) fn admission_policy(spec: &mut Object) {
    set(spec, "failurePolicy", "Fail");
    matched(spec, "matchConstraints");
}

/// Which requests a policy or binding is about, where it says.
pub(super) fn matched(spec: &mut Object, field: &str) {
    let Some(matched) = spec.get_mut(field).and_then(Value::as_object_mut) else { return };
    set(matched, "matchPolicy", "Equivalent");
    set(matched, "namespaceSelector", json!({}));
    set(matched, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        each(matched, rules, |rule| set(rule, "scope", "*"));
    }
}

/// A container's limit is at most the maximum, and what it asks for is what it may use, or the minimum.
pub(super) fn limit_range(spec: &mut Object) {
    each(spec, "limits", |item| {
        if text(item, "type") != "Container" {
            return;
        }
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let Some(amounts) = item.get(from).and_then(Value::as_object).cloned() else { continue };
            let target = make(item, to);
            for (name, amount) in amounts {
                target.entry(name).or_insert(amount);
            }
        }
    });
}

pub(super) fn flow_schema(spec: &mut Object) {
    set(spec, "matchingPrecedence", 1000);
}

pub(super) fn priority_level(spec: &mut Object) {
    if text(spec, "type") == "Exempt" {
        let exempt = make(spec, "exempt");
        set(exempt, "nominalConcurrencyShares", 0);
        set(exempt, "lendablePercent", 0);
        return;
    }
    let Some(limited) = spec.get_mut("limited").and_then(Value::as_object_mut) else { return };
    set(limited, "nominalConcurrencyShares", 30);
    set(limited, "lendablePercent", 0);
    let response = make(limited, "limitResponse");
    if text(response, "type") == "Queue" {
        let queuing = make(response, "queuing");
        for (field, number) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
            set(queuing, field, number);
        }
    }
}

pub(super) fn definition(spec: &mut Object) {
    let names = make(spec, "names");
    let kind = text(names, "kind").to_owned();
    if !kind.is_empty() {
        set_text(names, "singular", &kind.to_lowercase());
        set_text(names, "listKind", &format!("{kind}List"));
    }
    set_text(make(spec, "conversion"), "strategy", "None");
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads() {
        for (bytes, text) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj"), ("abcd", "YWJjZA==")] {
            assert_eq!(super::base64(bytes.as_bytes()), text);
        }
        assert_eq!(super::base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
