//! Configurations: a Revision for each template they have had, and an end to those that nothing needs.

use std::{sync::Arc, time::Duration};

use eyot_serving::{
    gc::{self, Keep, Old},
    label,
    object::configuration,
};
use serde_json::{Value, json};

use super::{
    Object,
    write::{self, Ensured, ensure},
};
use crate::{
    api::{ApiError, DeleteOptions, KNATIVE_CONFIGURATIONS, KNATIVE_REVISIONS, Target},
    context::Context,
    queue::Outcome,
    view::{Key, now, rfc3339},
};

/// One pass over one Configuration: read, decide, write.
pub(super) async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    let (api, parts) = (&context.api, &context.serving);
    let Some(it) = parts.configurations.get(&key).filter(|it| !it.meta.deleting()) else { return Ok(None) };
    let json = it.json();
    let name = configuration::revision_name(&json);
    let present = parts.revisions.get(&Key::new(&it.meta.namespace, &name));
    let mut taken = false;
    match &present {
        // A revision never changes: only one that is missing is made.
        Some(present) => taken = !present.is_of(&it.meta),
        None => {
            let wanted = configuration::revision(&json, &rfc3339(now()));
            let made = ensure(api, &KNATIVE_REVISIONS, None, &it.meta, wanted, &parts.revisions).await?;
            taken |= matches!(made, Ensured::Taken);
        }
    }
    let revisions = parts.revisions.controlled_by(&it.meta.uid);
    let mut rows: Vec<Value> = revisions.iter().map(|it| it.json()).collect();
    if taken {
        let message = format!("the name {name} belongs to a revision of another configuration");
        let failed = json!([{"type": "Ready", "status": "False", "reason": "NotOwned", "message": message}]);
        rows.push(json!({"metadata": {"name": name}, "status": {"conditions": failed}}));
    }
    let status = configuration::status(&json, &rows, &rfc3339(now()));
    let latest = status["latestReadyRevisionName"].as_str().unwrap_or_default().to_owned();
    let wait = write::status(api, &KNATIVE_CONFIGURATIONS, &it, status, &parts.configurations).await?;
    let is_led_to = |it: &Arc<Object>| parts.index.is_led_to(&it.meta.key());
    for revision in &revisions {
        note_routing(&context, revision, is_led_to(revision)).await?;
    }
    let old = revisions.iter().map(|it| old(it, is_led_to(it), [&name, &latest])).collect();
    let (gone, again) = gc::collect(old, Keep::default(), now());
    for name in gone {
        let target = Target::object(&KNATIVE_REVISIONS, &it.meta.namespace, &name);
        let options = DeleteOptions { propagation: Some("Background"), ..DeleteOptions::default() };
        api.delete(target, options).await?;
    }
    Ok(wait.into_iter().chain(again.map(|it| Duration::from_secs(it.unsigned_abs()))).min())
}

fn old(revision: &Object, is_led_to: bool, newest: [&str; 2]) -> Old {
    let meta = &revision.meta;
    let modified = meta.annotations.get(label::ROUTING_MODIFIED).and_then(|it| it.parse::<jiff::Timestamp>().ok());
    Old {
        name: meta.name.to_string(),
        created: meta.created(),
        active: modified.map_or(meta.created(), jiff::Timestamp::as_second),
        stays: is_led_to
            || newest.contains(&&*meta.name)
            || meta.deleting()
            || meta.annotations.get(label::NO_GC) == Some("true"),
    }
}

/// Notes on a revision whether a route leads to it, and since when.
async fn note_routing(context: &Context, revision: &Object, is_led_to: bool) -> Result<(), ApiError> {
    let before = revision.meta.labels.get(label::ROUTING_STATE).unwrap_or_default();
    let state = match (is_led_to, before) {
        (true, _) => "active",
        (false, "active" | "reserve") => "reserve",
        (false, _) => "pending",
    };
    if state == before || revision.meta.deleting() {
        return Ok(());
    }
    let patch = json!({"metadata": {
        "labels": {label::ROUTING_STATE: state},
        "annotations": {label::ROUTING_MODIFIED: rfc3339(now())},
    }});
    let target = Target::object(&KNATIVE_REVISIONS, &revision.meta.namespace, &revision.meta.name);
    match context.api.merge::<Object>(target, &patch).await {
        Ok(written) => context.serving.revisions.absorb(written),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    Ok(())
}
