//! Brings objects to what a manifest says, as `kubectl apply` does.
//!
//! The last manifest applied is kept in kubectl's own annotation, so that both tools agree on what a field's
//! disappearance means. [`patch`] is the decision; [`apply`] reads, decides and writes.

use anyhow::{Context, Result, bail};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    discovery::{self, Scope},
};
use serde_json::{Map, Value, json};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Reads every object of a YAML stream or JSON document; a `List` gives its items.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("not valid YAML")?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").and_then(Value::as_str) == Some("List") => {
                match list.remove("items") {
                    Some(Value::Array(items)) => objects.extend(items),
                    _ => bail!("a List without items"),
                }
            }
            object @ Value::Object(_) => objects.push(object),
            other => bail!("expected an object, found {other}"),
        }
    }
    Ok(objects)
}

/// What an application did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    Configured,
    Unchanged,
}

/// Creates the object or changes it into what `wanted` says.
pub(crate) async fn apply(client: &Client, mut wanted: Value) -> Result<Outcome> {
    let label = label(&wanted);
    let (resource, scope) = resolve(client, &wanted).await.with_context(|| label.clone())?;
    let name = text(&wanted, "/metadata/name").with_context(|| format!("{label}: metadata.name is missing"))?;
    let api: Api<DynamicObject> = match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = text(&wanted, "/metadata/namespace").unwrap_or_else(|| "default".to_owned());
            wanted["metadata"]["namespace"] = json!(namespace);
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
    };
    let wanted = annotated(wanted);
    let Some(current) = api.get_opt(&name).await.with_context(|| format!("reading {label}"))? else {
        let object = serde_json::from_value(wanted).with_context(|| label.clone())?;
        api.create(&PostParams::default(), &object).await.with_context(|| format!("creating {label}"))?;
        return Ok(Outcome::Created);
    };
    let current = serde_json::to_value(&current).with_context(|| label.clone())?;
    match patch(&current, &wanted) {
        None => Ok(Outcome::Unchanged),
        Some(change) => {
            let change = Patch::Merge(change);
            api.patch(&name, &PatchParams::default(), &change).await.with_context(|| format!("changing {label}"))?;
            Ok(Outcome::Configured)
        }
    }
}

/// The merge patch that turns `current` into `wanted`, or nothing when it already is.
///
/// Fields that the last applied manifest had and `wanted` has not are removed; fields that others set stay.
fn patch(current: &Value, wanted: &Value) -> Option<Value> {
    let last = current
        .pointer("/metadata/annotations")
        .and_then(|it| it.get(LAST_APPLIED))
        .and_then(Value::as_str)
        .and_then(|it| serde_json::from_str(it).ok())
        .unwrap_or(Value::Null);
    let mut change = difference(current, wanted, &last)?;
    // The annotation alone is no change of the object's meaning, but it goes along with one.
    if let Some(annotations) = change.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| key != LAST_APPLIED);
    }
    prune(&mut change);
    if change.as_object().is_some_and(Map::is_empty) {
        return None;
    }
    change["metadata"]["annotations"][LAST_APPLIED] = wanted["metadata"]["annotations"][LAST_APPLIED].clone();
    Some(change)
}

fn difference(current: &Value, wanted: &Value, last: &Value) -> Option<Value> {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => {
            let mut change = Map::new();
            for (key, want) in wanted {
                let have = current.get(key).unwrap_or(&Value::Null);
                if let Some(inner) = difference(have, want, last.get(key).unwrap_or(&Value::Null)) {
                    change.insert(key.clone(), inner);
                }
            }
            for key in last.as_object().into_iter().flat_map(Map::keys) {
                if !wanted.contains_key(key) && current.contains_key(key) {
                    change.insert(key.clone(), Value::Null);
                }
            }
            (!change.is_empty()).then_some(Value::Object(change))
        }
        (current, wanted) => (!covers(current, wanted)).then(|| wanted.clone()),
    }
}

/// Whether `current` says everything that `wanted` says; the server's defaults may say more.
fn covers(current: &Value, wanted: &Value) -> bool {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => {
            wanted.iter().all(|(key, want)| current.get(key).is_some_and(|have| covers(have, want)))
        }
        (Value::Array(current), Value::Array(wanted)) => {
            current.len() == wanted.len() && current.iter().zip(wanted).all(|(have, want)| covers(have, want))
        }
        (current, wanted) => current == wanted,
    }
}

/// Drops objects that became empty.
fn prune(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(prune);
        fields.retain(|_, it| !it.as_object().is_some_and(Map::is_empty));
    }
}

fn annotated(mut wanted: Value) -> Value {
    let manifest = wanted.to_string();
    if !wanted["metadata"]["annotations"].is_object() {
        wanted["metadata"]["annotations"] = json!({});
    }
    wanted["metadata"]["annotations"][LAST_APPLIED] = json!(manifest);
    wanted
}

async fn resolve(client: &Client, object: &Value) -> Result<(ApiResource, Scope)> {
    let api_version = text(object, "/apiVersion").context("apiVersion is missing")?;
    let kind = text(object, "/kind").context("kind is missing")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let (resource, capabilities) = discovery::pinned_kind(client, &gvk)
        .await
        .with_context(|| format!("the server has no {kind} in {api_version}"))?;
    Ok((resource, capabilities.scope))
}

/// `kind namespace/name`, as far as they are known, for messages.
pub(crate) fn label(object: &Value) -> String {
    let part = |pointer| text(object, pointer).unwrap_or_else(|| "?".to_owned());
    match text(object, "/metadata/namespace") {
        Some(namespace) => format!("{} {namespace}/{}", part("/kind"), part("/metadata/name")),
        None => format!("{} {}", part("/kind"), part("/metadata/name")),
    }
}

fn text(object: &Value, pointer: &str) -> Option<String> {
    object.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(last: &str, current: &str, wanted: &str, want: Expect) {
        let read = |text| serde_saphyr::from_str::<Value>(text).unwrap();
        let mut current = read(current);
        current["metadata"]["annotations"][LAST_APPLIED] = json!(read(last).to_string());
        let mut change = patch(&current, &annotated(read(wanted))).unwrap_or(json!("unchanged"));
        if let Some(annotations) = change.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED).expect("a change carries the manifest it came from");
        }
        prune(&mut change);
        want.assert_eq(&change.to_string());
    }

    #[test]
    fn what_is_there_already_is_left_alone() {
        check("{a: 1}", "{a: 1, status: x, metadata: {uid: u}}", "{a: 1}", expect![[r#""unchanged""#]]);
        check("{l: [{n: x}]}", "{l: [{n: x, defaulted: 1}]}", "{l: [{n: x}]}", expect![[r#""unchanged""#]]);
    }

    #[test]
    fn what_changed_or_went_is_patched_and_what_others_set_stays() {
        check(
            "{s: {r: 1, p: 2}}",
            "{s: {r: 1, p: 2, other: 3}}",
            "{s: {r: 4}}",
            expect![[r#"{"s":{"p":null,"r":4}}"#]],
        );
        check("{l: [1]}", "{l: [1]}", "{l: [1, 2]}", expect![[r#"{"l":[1,2]}"#]]);
    }

    #[test]
    fn a_stream_and_a_list_give_their_objects() {
        let objects = parse("kind: A\n---\n# nothing\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n").unwrap();
        let kinds: Vec<_> = objects.iter().map(|it| it["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert!(parse("[1, 2]").is_err());
    }
}
