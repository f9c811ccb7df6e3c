//! Tells in a flow schema's status whether the priority level that it names is there. Entry points: [`complete`] for a
//! schema that is written, [`follow`] for levels.

use eyot_model::{kinds, meta, status::ApiError};
use eyot_store::{Key, Page, Scope};
use serde_json::{Value, json};

use super::config::{LEVELS, SCHEMAS};
use crate::{
    admit::{Admitted, Attempt, Operation},
    commit::{self, Stored},
    object,
    server::Shared,
};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Completes a schema that is written.
pub(crate) fn complete(
    server: &Shared,
    attempt: &Attempt<'_>,
    schema: &mut Value,
    _: &mut Admitted,
) -> Result<(), ApiError> {
    let written = matches!(attempt.operation, Operation::Create | Operation::Update);
    if written && attempt.kind.is(GROUP, "FlowSchema") {
        judge(server, schema);
    }
    Ok(())
}

/// Looks at all schemas in the background when a level came or went.
pub(crate) fn follow(server: &Shared, key: &Key) {
    if &*key.resource != LEVELS {
        return;
    }
    let Some(server) = server.quotas.server() else { return };
    tokio::spawn(async move {
        let found = server.store.list(&Scope::all(SCHEMAS), &Page::default()).map_or(Vec::new(), |it| it.entries);
        for entry in found {
            let Ok(mut schema) = object::parse(&entry) else { continue };
            if !judge(&server, &mut schema) {
                continue;
            }
            let kind = kinds::builtin().by_plural(GROUP, "v1", "flowschemas");
            let Some(stored) = kind.and_then(|it| Stored::new(it, schema).ok()) else { continue };
            // Who was faster has asked for a look too.
            let written = Box::pin(commit::replace(&server, entry.key.clone(), entry.revision, stored)).await;
            if let Err(error) = written {
                tracing::debug!(%error, schema = &*entry.key.name, "writing the status of a flow schema");
            }
        }
    });
}

/// Puts the condition into a schema, and says whether that changed anything. Other conditions stay.
fn judge(server: &Shared, schema: &mut Value) -> bool {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default();
    let there = server.store.get(&Key::new(LEVELS, "", level)).is_some();
    let condition = dangling(level, there);
    let mut conditions = meta::list(schema.pointer("/status/conditions")).to_vec();
    let known = conditions.iter().find(|it| it["type"] == condition["type"]);
    if known.is_some_and(|it| it["status"] == condition["status"] && it["message"] == condition["message"]) {
        return false;
    }
    conditions.retain(|it| it["type"] != condition["type"]);
    conditions.push(condition);
    meta::entry(schema, "status").insert("conditions".into(), conditions.into());
    true
}

/// The condition of a schema that names this level.
pub(super) fn dangling(level: &str, there: bool) -> Value {
    let lead = "This FlowSchema references the PriorityLevelConfiguration object named";
    let (status, reason, message) = match there {
        true => ("False", "Found", format!("{lead} {level:?} and it exists")),
        false => ("True", "NotFound", format!("{lead} {level:?} but there is no such object")),
    };
    let now = meta::format_time(jiff::Timestamp::now());
    json!({"type": "Dangling", "status": status, "reason": reason, "message": message, "lastTransitionTime": now})
}
