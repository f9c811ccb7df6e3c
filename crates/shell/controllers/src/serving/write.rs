//! Brings objects to what they shall be. Entry points: [`ensure`], [`status`].

use std::{sync::Arc, time::Duration};

use eyot_plan::Seconds;
use serde_json::{Map, Value, json};

use super::object::Object;
use crate::{
    api::{Api, ApiError, Resource, Target},
    store::Store,
    view::{Meta, now},
};

/// Between two looks at whether a first status still only says that something is about to happen.
const PATIENCE: Duration = Duration::from_millis(300);
/// How old an object may get without any status for that, in seconds: where thousands of functions are made at once, each of
/// them takes a while.
const PATIENCE_SECONDS: Seconds = 3;

/// What became of an object that shall be there.
pub(super) enum Ensured {
    /// It is as it shall be.
    Same,
    /// It was made, or changed; its cache will show it.
    Written,
    /// Somebody else's object has its name.
    Taken,
}

/// Makes `wanted`, or changes what is there in labels, annotations and spec.
pub(super) async fn ensure(
    api: &Api,
    resource: &Resource,
    present: Option<&Object>,
    owner: &Meta,
    wanted: Value,
    store: &Arc<Store<Object>>,
) -> Result<Ensured, ApiError> {
    let (namespace, name) = (&*owner.namespace, wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    let Some(present) = present else {
        let made = api.create(Target::collection(resource, namespace), wanted.to_string().into_bytes()).await;
        return match made {
            Ok(_) => Ok(Ensured::Written),
            // The watch will show it, and then it is seen whose it is.
            Err(error) if error.exists() => {
                let there: Object = api.get(Target::object(resource, namespace, &name), "").await?;
                Ok(if there.is_of(owner) { Ensured::Written } else { Ensured::Taken })
            }
            Err(error) => Err(error),
        };
    };
    if !present.is_of(owner) {
        return Ok(Ensured::Taken);
    }
    let mut next = present.json();
    let mut differs = false;
    // What a Service says no more is said no more by what it owns; to anything else others may add.
    let mirrors = matches!(&*resource.kind, "Configuration" | "Route");
    for field in ["labels", "annotations"] {
        if let Some(said) = next["metadata"][field].as_object_mut().filter(|_| mirrors) {
            let before = said.len();
            said.retain(|key, _| wanted["metadata"][field].get(key).is_some());
            differs |= said.len() != before;
        }
        for (key, value) in wanted["metadata"][field].as_object().into_iter().flatten() {
            if next["metadata"][field][key] != *value {
                next["metadata"][field][key] = value.clone();
                differs = true;
            }
        }
    }
    if !covers(&next["spec"], &wanted["spec"]) {
        next["spec"] = wanted["spec"].clone();
        differs = true;
    }
    if !differs {
        return Ok(Ensured::Same);
    }
    let written: Object = api.replace(Target::object(resource, namespace, &name), &next).await?;
    store.absorb(written);
    Ok(Ensured::Written)
}

/// Whether `present` says what `wanted` says; a server's defaults may say more in the objects of lists and below them.
fn covers(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            wanted.iter().all(|(key, it)| present.get(key).is_some_and(|there| covers(there, it)))
                && present.keys().all(|it| wanted.contains_key(it) || is_default(it))
        }
        (Value::Array(present), Value::Array(wanted)) => {
            present.len() == wanted.len() && present.iter().zip(wanted).all(|(present, wanted)| covers(present, wanted))
        }
        (present, wanted) => present == wanted,
    }
}

/// Fields that the server fills in where they are missing.
fn is_default(field: &str) -> bool {
    matches!(field, "containerConcurrency" | "timeoutSeconds" | "enableServiceLinks" | "name" | "resources")
        || matches!(field, "readinessProbe" | "latestRevision" | "filters" | "timeouts" | "group" | "kind" | "weight")
        || field == "creationTimestamp"
}

/// Writes the status of an object where it differs from what it has. The first one waits a moment where all it has to say is
/// that something is about to happen: mostly that has happened by then, and a write is spared at each of four levels. Comes to
/// when to look again.
pub(super) async fn status(
    api: &Api,
    resource: &Resource,
    of: &Object,
    wanted: Value,
    store: &Arc<Store<Object>>,
) -> Result<Option<Duration>, ApiError> {
    let json = of.json();
    let before = &json["status"];
    if *before == wanted {
        return Ok(None);
    }
    // A clock that was put back makes it younger than new.
    let is_young = (0..PATIENCE_SECONDS).contains(&(now() - of.meta.created()));
    if !before["conditions"].is_array() && is_open(&wanted) && is_young {
        return Ok(Some(PATIENCE));
    }
    let mut patch: Map<String, Value> = wanted.as_object().cloned().unwrap_or_default();
    for key in before.as_object().into_iter().flat_map(|it| it.keys()) {
        patch.entry(key.clone()).or_insert(Value::Null);
    }
    let target = Target::object(resource, &of.meta.namespace, &of.meta.name).sub("status");
    match api.merge::<Object>(target, &json!({"status": patch})).await {
        Ok(written) => store.absorb(written),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(None)
}

/// Whether a status says nothing but that it is not known yet how things go.
fn is_open(status: &Value) -> bool {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|it| it["type"] == "Ready");
    ready.all(|it| it["status"] == "Unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_fills_in_is_no_difference_and_what_is_gone_is_one() {
        let wanted = json!({"template": {"spec": {"containers": [{"image": "a", "env": [{"name": "x"}]}]}}});
        let mut present = wanted.clone();
        present["template"]["spec"]["timeoutSeconds"] = 300.into();
        assert!(covers(&present, &wanted));
        present["template"]["spec"]["containers"][0]["args"] = json!(["old"]);
        assert!(!covers(&present, &wanted));
        assert!(!covers(&json!({"a": [1, 2]}), &json!({"a": [1]})));
    }
}
