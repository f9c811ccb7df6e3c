//! Brings objects that rules make, or change, to what they should be.
//!
//! Entry points: [`settle`], [`write_back`], [`remove_for`].

use eyot_kyverno::{
    Generator,
    generate::{Made, label},
};
use eyot_policy::Look;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

/// A kind as the server serves it, and whether its objects have namespaces.
pub(crate) fn resource(api_version: &str, kind: &str, look: &dyn Look) -> Option<(ApiResource, bool)> {
    let (group, version) = eyot_model::kinds::split_api_version(api_version);
    let mut found = None;
    look.look(&mut |data| {
        found = data.kind(group, version, kind).ok().map(|it| {
            let named = GroupVersionKind::gvk(&it.group, &it.version, &it.kind);
            (ApiResource::from_gvk_with_plural(&named, &it.plural), it.namespaced)
        });
    });
    found
}

/// An API for objects at a place.
pub(crate) fn api(client: &Client, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    match namespace {
        "" => Api::all_with(client.clone(), resource),
        namespace => Api::namespaced_with(client.clone(), namespace, resource),
    }
}

fn place(object: &Value) -> (&str, &str, &str, &str) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/apiVersion"), text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

/// Refuses what a policy of a namespace would write elsewhere, or of a kind that is in no namespace.
///
/// The server writes what policies want with all of its own rights.
pub(crate) fn confine(generator: &Generator, look: &dyn Look, object: &Value) -> Result<(), String> {
    let Some((own, _)) = generator.policy.split_once('/') else { return Ok(()) };
    let (api_version, kind, namespace, name) = place(object);
    let is_inside = namespace == own && resource(api_version, kind, look).is_none_or(|it| it.1);
    match is_inside {
        true => Ok(()),
        false => Err(format!("{kind} {namespace}/{name}: a policy of namespace {own} writes nothing outside of it")),
    }
}

/// Makes an object, or brings it up to date where it follows its source; returns whether anything was written. `adopts`
/// tells whether one that somebody else made under that name becomes the rule's; one who does not adopt always brings its
/// own up to date.
pub(crate) async fn settle(client: &Client, look: &dyn Look, made: &Made, adopts: bool) -> Result<bool, String> {
    let (api_version, kind, namespace, name) = place(&made.object);
    let (resource, namespaced) =
        resource(api_version, kind, look).ok_or_else(|| format!("no kind {kind} is served in {api_version}"))?;
    let api = api(client, &resource, if namespaced { namespace } else { "" });
    let failed = |why: kube::Error| format!("{kind} {namespace}/{name}: {why}");
    let wanted: DynamicObject = serde_json::from_value(made.object.clone()).map_err(|it| it.to_string())?;
    let Some(existing) = api.get_opt(name).await.map_err(failed)? else {
        return match api.create(&PostParams::default(), &wanted).await {
            Ok(_) => Ok(true),
            // Somebody was faster.
            Err(kube::Error::Api(it)) if it.code == 409 => Ok(false),
            Err(why) => Err(failed(why)),
        };
    };
    if !made.synchronize && adopts {
        return Ok(false);
    }
    let mut current = serde_json::to_value(&existing).map_err(|it| it.to_string())?;
    if !adopts && !is_of_same(&current, &made.object) {
        tracing::info!(kind, namespace, name, "not generated: somebody else made an object of that name");
        return Ok(false);
    }
    if !bring_up_to_date(&mut current, &made.object) {
        return Ok(false);
    }
    let updated: DynamicObject = serde_json::from_value(current).map_err(|it| it.to_string())?;
    api.replace(name, &PostParams::default(), &updated).await.map(|_| true).map_err(failed)
}

/// Whether one policy made both objects for one trigger.
fn is_of_same(one: &Value, other: &Value) -> bool {
    [label::POLICY, label::POLICY_NAMESPACE, label::TRIGGER_UID]
        .iter()
        .all(|it| one["metadata"]["labels"].get(it) == other["metadata"]["labels"].get(it))
}

/// Gives an object everything that it should have; returns whether anything changed. What others added beside the
/// fields that are made stays.
fn bring_up_to_date(current: &mut Value, wanted: &Value) -> bool {
    let before = current.clone();
    if let Value::Object(fields) = wanted {
        for (name, value) in fields.iter().filter(|it| it.0 != "metadata") {
            current[name] = value.clone();
        }
    }
    for field in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            current["metadata"][field][key] = value.clone();
        }
    }
    *current != before
}

/// Writes a changed object back, if nobody else has changed it meanwhile; its identity and version then.
pub(crate) async fn write_back(client: &Client, look: &dyn Look, object: &Value) -> Result<(String, String), String> {
    let (api_version, kind, namespace, name) = place(object);
    let (resource, namespaced) =
        resource(api_version, kind, look).ok_or_else(|| format!("no kind {kind} is served in {api_version}"))?;
    let api = api(client, &resource, if namespaced { namespace } else { "" });
    let changed: DynamicObject = serde_json::from_value(object.clone()).map_err(|it| it.to_string())?;
    let written = api.replace(name, &PostParams::default(), &changed).await;
    let written = written.map_err(|why| format!("{kind} {namespace}/{name}: {why}"))?;
    Ok((written.metadata.uid.unwrap_or_default(), written.metadata.resource_version.unwrap_or_default()))
}

/// Removes what a rule made: all of it, or what has one more label, other than what is still `wanted`. Only rules that
/// synchronize take away.
pub(crate) async fn remove_for(
    client: &Client,
    kinds: &[(ApiResource, bool)],
    generator: &Generator,
    more: Option<(&str, &str)>,
    wanted: &[Made],
) -> Result<(), String> {
    // Policies of several namespaces may have one name.
    let (namespace, name) = generator.policy.split_once('/').unwrap_or(("", &generator.policy));
    let mut labels =
        format!("{}={name},{}={namespace},{}={}", label::POLICY, label::POLICY_NAMESPACE, label::RULE, generator.rule);
    if let Some((label, value)) = more {
        labels.push_str(&format!(",{label}={value}"));
    }
    for (resource, _) in kinds {
        let stays = |namespace: &str, name: &str| {
            wanted.iter().any(|it| place(&it.object) == (&resource.api_version, &resource.kind, namespace, name))
        };
        let all: Api<DynamicObject> = Api::all_with(client.clone(), resource);
        let found = all.list(&ListParams::default().labels(&labels)).await.map_err(|it| it.to_string())?;
        for object in found {
            let namespace = object.metadata.namespace.clone().unwrap_or_default();
            let name = object.metadata.name.clone().unwrap_or_default();
            if stays(&namespace, &name) {
                continue;
            }
            let gone = api(client, resource, &namespace).delete(&name, &DeleteParams::default()).await;
            match gone {
                Ok(_) => {}
                Err(kube::Error::Api(it)) if it.code == 404 => {}
                Err(why) => return Err(format!("{} {namespace}/{name}: {why}", resource.kind)),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_added_stays() {
        let wanted =
            json!({"kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": "1"}}, "data": {"k": "new"}});
        let mut current = json!({
            "kind": "ConfigMap",
            "metadata": {"name": "a", "uid": "u", "labels": {"theirs": "2"}},
            "data": {"k": "old"},
        });
        assert!(bring_up_to_date(&mut current, &wanted));
        assert_eq!(current["metadata"]["labels"], json!({"theirs": "2", "x": "1"}));
        assert_eq!((&current["data"], &current["metadata"]["uid"]), (&json!({"k": "new"}), &json!("u")));
        assert!(!bring_up_to_date(&mut current, &wanted));
    }
}
