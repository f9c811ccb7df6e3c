//! Tells in a policy's status what became of its bundle. Written only where it says something new.

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::spec::{GROUP, KIND};

fn api(client: &Client) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: GROUP.into(),
        version: "v1alpha1".into(),
        api_version: format!("{GROUP}/v1alpha1"),
        kind: KIND.into(),
        plural: "policies".into(),
    };
    Api::all_with(client.clone(), &resource)
}

/// A bundle is in force.
pub(super) async fn activated(
    client: &Client,
    name: &str,
    generation: i64,
    revision: &str,
    etag: Option<&str>,
    missing: &[String],
) {
    let message = match missing {
        [] => "the bundle is in force".to_owned(),
        paths => format!("the bundle is in force, and no rule of it defines {}", paths.join(", ")),
    };
    let more = json!({"revision": revision, "etag": etag, "activatedAt": now()});
    write(client, name, generation, &[condition("Ready", true, "Activated", &message), fetched()], more).await;
}

/// The source was looked at and has nothing new.
pub(super) async fn looked(client: &Client, name: &str, generation: i64) {
    write(
        client,
        name,
        generation,
        &[condition("Ready", true, "Activated", "the bundle is in force"), fetched()],
        json!({}),
    )
    .await;
}

/// A look came to nothing.
pub(super) async fn failed(client: &Client, name: &str, generation: i64, why: &str, in_force: bool) {
    let ready = match in_force {
        true => condition("Ready", true, "Activated", "an earlier bundle is in force"),
        false => condition("Ready", false, "NoBundle", "no bundle has come yet; requests follow failurePolicy"),
    };
    write(client, name, generation, &[ready, condition("Fetched", false, "Failed", why)], json!({})).await;
}

fn fetched() -> Value {
    condition("Fetched", true, "Fetched", "the source was read")
}

fn condition(kind: &str, holds: bool, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": if holds { "True" } else { "False" }, "reason": reason, "message": message})
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn write(client: &Client, name: &str, generation: i64, conditions: &[Value], more: Value) {
    let api = api(client);
    let before = match api.get(name).await {
        Ok(object) => object.data["status"].clone(),
        // A policy that is gone needs no status.
        Err(error) => {
            tracing::debug!(policy = name, %error, "status not written");
            return;
        }
    };
    let Some(status) = changed(&before, generation, conditions, more) else { return };
    let patch = Patch::Merge(json!({"status": status}));
    if let Err(error) = api.patch_status(name, &PatchParams::default(), &patch).await {
        tracing::warn!(policy = name, %error, "writing a policy's status");
    }
}

/// The status to write; none where nothing changes but times.
fn changed(before: &Value, generation: i64, conditions: &[Value], more: Value) -> Option<Value> {
    let mut same = before["observedGeneration"] == generation && more.get("activatedAt").is_none();
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|it| {
            let mut condition = it.clone();
            let old = before["conditions"].as_array().into_iter().flatten().find(|old| old["type"] == it["type"]);
            let kept = old.filter(|old| old["status"] == it["status"]);
            same &= old.is_some_and(|old| ["status", "reason", "message"].iter().all(|field| old[field] == it[field]));
            condition["lastTransitionTime"] =
                kept.map_or_else(|| now().into(), |old| old["lastTransitionTime"].clone());
            condition["observedGeneration"] = generation.into();
            condition
        })
        .collect();
    if same {
        return None;
    }
    let mut status = more;
    status["observedGeneration"] = generation.into();
    status["conditions"] = conditions.into();
    Some(status)
}
