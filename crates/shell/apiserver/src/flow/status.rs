//! Tells in a flow schema's status whether the priority level that it names is there. Entry point: [`follow`].

use eyot_model::{kinds, meta};
use eyot_store::{Key, Page, Scope};
use serde_json::{Value, json};

use super::config::{LEVELS, SCHEMAS};
use crate::{
    commit::{self, Stored},
    object,
    server::Shared,
};

/// Looks at the schemas that a write of this key concerns, in the background.
pub(crate) fn follow(server: &Shared, key: &Key) {
    if &*key.resource != SCHEMAS && &*key.resource != LEVELS {
        return;
    }
    let Some(server) = server.quotas.server() else { return };
    let schema = (&*key.resource == SCHEMAS).then(|| key.name.clone());
    tokio::spawn(async move {
        let scope = Scope::all(SCHEMAS);
        let scope = schema.map_or(scope.clone(), |name| scope.named(name));
        let found = server.store.list(&scope, &Page::default()).map_or(Vec::new(), |it| it.entries);
        for entry in found {
            let Ok(object) = object::parse(&entry) else { continue };
            let Some(updated) = judged(&server, object) else { continue };
            let kind = kinds::builtin().by_plural("flowcontrol.apiserver.k8s.io", "v1", "flowschemas");
            let Some(stored) = kind.and_then(|it| Stored::new(it, updated).ok()) else { continue };
            // Who was faster has asked for a look too.
            let written = Box::pin(commit::replace(&server, entry.key.clone(), entry.revision, stored)).await;
            if let Err(error) = written {
                tracing::debug!(%error, schema = &*entry.key.name, "writing the status of a flow schema");
            }
        }
    });
}

/// The schema with its condition, if that is not what it says already.
fn judged(server: &Shared, mut schema: Value) -> Option<Value> {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default().to_owned();
    let there = server.store.get(&Key::new(LEVELS, "", level.as_str())).is_some();
    let known = meta::list(schema.pointer("/status/conditions")).iter().find(|it| it["type"] == "Dangling");
    let condition = dangling(&level, there);
    if known.is_some_and(|it| it["status"] == condition["status"] && it["message"] == condition["message"]) {
        return None;
    }
    schema["status"] = json!({"conditions": [condition]});
    Some(schema)
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
