//! Changes of a pod through its subresources `resize` and `ephemeralcontainers`: what they may change, and what of that is
//! refused.
//!
//! Start at [`keep`], which drops everything else from a write, and [`check`].

use serde_json::Value;

use crate::{meta, prepare, status::Cause};

/// Lists whose containers may be resized.
const RESIZABLE: [&str; 2] = ["containers", "initContainers"];

/// Whether `subresource` of a pod changes a part of its spec.
pub fn is_part(subresource: &str) -> bool {
    matches!(subresource, "resize" | "ephemeralcontainers")
}

/// Leaves in `new` only what the subresource may change of `old`.
pub fn keep(subresource: &str, new: &mut Value, old: &Value) {
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let metadata = meta::metadata_mut(new);
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    let asked = new.get("spec").cloned().unwrap_or_default();
    let mut spec = old.get("spec").cloned().unwrap_or_default();
    match subresource {
        "resize" => {
            for list in RESIZABLE {
                let wanted = meta::list(asked.get(list));
                for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    if let Some(wanted) = wanted.iter().find(|it| it["name"] == container["name"]) {
                        set(container, "resources", wanted.get("resources"));
                        set(container, "resizePolicy", wanted.get("resizePolicy"));
                    }
                }
            }
        }
        _ => set(&mut spec, "ephemeralContainers", asked.get("ephemeralContainers")),
    }
    meta::as_map(new).insert("spec".into(), spec);
}

fn set(object: &mut Value, field: &str, value: Option<&Value>) {
    let map = meta::as_map(object);
    match value {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

/// What is wrong with a change that [`keep`] left.
pub fn check(subresource: &str, new: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match subresource {
        "resize" => resize(new, old, &mut causes),
        _ => ephemeral(new, old, &mut causes),
    }
    causes
}

fn resize(new: &Value, old: &Value, causes: &mut Vec<Cause>) {
    let (before, after) = (prepare::qos_class(old), prepare::qos_class(new));
    if before != after {
        let why = "Pod QOS Class may not change as a result of resizing";
        causes.push(Cause::invalid("spec", &after.into(), why));
    }
    for list in RESIZABLE {
        let pairs = meta::list(new["spec"].get(list)).iter().zip(meta::list(old["spec"].get(list)));
        for (index, (ours, theirs)) in pairs.enumerate() {
            if ours.get("resources") == theirs.get("resources") {
                continue;
            }
            let path = format!("spec.{list}[{index}].resources");
            if list == "initContainers" && ours["restartPolicy"] != "Always" {
                causes.push(Cause::forbidden(&path, "init containers may not be resized unless they are sidecars"));
            }
            for half in ["limits", "requests"] {
                amounts(&format!("{path}.{half}"), &ours["resources"][half], &theirs["resources"][half], causes);
            }
        }
    }
}

/// Amounts of cpu and memory may change, but not go.
fn amounts(path: &str, new: &Value, old: &Value, causes: &mut Vec<Cause>) {
    let entries = |it: &Value| it.as_object().cloned().unwrap_or_default();
    let (new, old) = (entries(new), entries(old));
    for (name, before) in &old {
        match new.get(name) {
            None => causes.push(Cause::forbidden(path, &format!("{name} cannot be removed"))),
            Some(now) if now != before && !is_mutable(name) => {
                causes.push(Cause::forbidden(path, "only cpu and memory resources are mutable"));
            }
            Some(_) => {}
        }
    }
    if new.keys().any(|it| !old.contains_key(it) && !is_mutable(it)) {
        causes.push(Cause::forbidden(path, "only cpu and memory resources are mutable"));
    }
}

fn is_mutable(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory")
}

fn ephemeral(new: &Value, old: &Value, causes: &mut Vec<Cause>) {
    const PATH: &str = "spec.ephemeralContainers";
    let now = meta::list(new["spec"].get("ephemeralContainers"));
    for before in meta::list(old["spec"].get("ephemeralContainers")) {
        let name = &before["name"];
        match now.iter().find(|it| it["name"] == *name) {
            None => {
                causes.push(Cause::forbidden(PATH, &format!("existing ephemeral containers {name} may not be removed")))
            }
            Some(it) if it != before => {
                causes
                    .push(Cause::forbidden(PATH, &format!("existing ephemeral containers {name} may not be changed")));
            }
            Some(_) => {}
        }
    }
    for (index, it) in now.iter().enumerate() {
        for field in
            ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy"]
        {
            let empty =
                it.get(field).is_none_or(|it| it.is_null() || it.as_object().is_some_and(serde_json::Map::is_empty));
            if !empty {
                let path = format!("{PATH}[{index}].{field}");
                causes.push(Cause::forbidden(&path, &format!("cannot set {field} on an Ephemeral Container")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn pod(resources: Value) -> Value {
        json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "nodeName": "n",
            "containers": [{ "name": "c", "image": "i", "resources": resources }] } })
    }

    #[track_caller]
    fn refused(part: &str, mut new: Value, old: &Value, want: Expect) {
        keep(part, &mut new, old);
        let causes: Vec<String> =
            check(part, &new, old).iter().map(|it| format!("{}: {}\n", it.field, it.message)).collect();
        want.assert_eq(&causes.concat());
    }

    #[test]
    fn a_resize_changes_amounts_and_nothing_else() {
        let old = pod(json!({ "requests": { "cpu": "1", "memory": "1Mi" } }));
        let mut new = pod(json!({ "requests": { "cpu": "2", "memory": "1Mi" } }));
        new["metadata"]["labels"] = json!({ "other": "x" });
        new["spec"]["nodeName"] = json!("elsewhere");
        new["spec"]["containers"][0]["image"] = json!("other");
        keep("resize", &mut new, &old);
        assert_eq!(new, pod(json!({ "requests": { "cpu": "2", "memory": "1Mi" } })));
        assert!(check("resize", &new, &old).is_empty());
    }

    #[test]
    fn a_resize_keeps_the_quality_of_service_and_removes_nothing() {
        let burstable = pod(json!({ "requests": { "cpu": "1", "memory": "1Mi", "gpu": "1" } }));
        refused(
            "resize",
            pod(json!({ "requests": { "cpu": "1", "gpu": "2" } })),
            &burstable,
            expect![[r#"
                spec.containers[0].resources.requests: Forbidden: only cpu and memory resources are mutable
                spec.containers[0].resources.requests: Forbidden: memory cannot be removed
            "#]],
        );
        let same = json!({ "cpu": "1", "memory": "1Mi" });
        refused(
            "resize",
            pod(json!({ "requests": same, "limits": same })),
            &pod(json!({ "requests": same })),
            expect![[r#"
                spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing
            "#]],
        );
    }

    #[test]
    fn ephemeral_containers_come_and_stay() {
        let with = |list: Value| {
            let mut pod = pod(json!({}));
            pod["spec"]["ephemeralContainers"] = list;
            pod
        };
        let one = json!({ "name": "one", "image": "i" });
        refused("ephemeralcontainers", with(json!([one])), &with(json!([])), expect![""]);
        refused(
            "ephemeralcontainers",
            with(
                json!([{ "name": "one", "image": "j" }, { "name": "two", "image": "i", "lifecycle": { "preStop": {} } }]),
            ),
            &with(json!([one])),
            expect![[r#"
                spec.ephemeralContainers: Forbidden: existing ephemeral containers "one" may not be changed
                spec.ephemeralContainers[1].lifecycle: Forbidden: cannot set lifecycle on an Ephemeral Container
            "#]],
        );
        refused(
            "ephemeralcontainers",
            with(json!([])),
            &with(json!([one])),
            expect![[r#"
                spec.ephemeralContainers: Forbidden: existing ephemeral containers "one" may not be removed
            "#]],
        );
    }
}
