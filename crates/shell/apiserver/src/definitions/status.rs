//! Writes what became of a definition into its status. Entry point: [`settle`].

use std::sync::Arc;

use eyot_model::{
    custom::{
        Condition, Names,
        naming::{self, Settled},
    },
    meta,
    status::ApiError,
};
use eyot_store::{Key, Write, WriteError};
use serde_json::{Map, Value, json};

use super::{Catalog, Known, STORAGE, refresh, table};
use crate::{object, object::Encoded, server::Shared};

/// Attempts against concurrent writers of the same definition.
const ATTEMPTS_MAX: usize = 16;

/// A definition's status was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StatusError {
    /// The stored bytes make no sense.
    #[error("{0}")]
    Damaged(ApiError),
    /// The store refused.
    #[error("{0}")]
    Store(WriteError),
    /// Others wrote it again and again.
    #[error("it keeps changing")]
    Busy,
}

/// Decides a definition's names and conditions, serves it accordingly, and writes them down where they changed.
pub(super) async fn settle(server: &Shared, catalog: &mut Catalog, name: &str) -> Result<(), StatusError> {
    for _ in 0..ATTEMPTS_MAX {
        let Some(definition) = catalog.get(name).cloned() else { return Ok(()) };
        let others =
            catalog.values().filter(|it| it.group == definition.group && it.name != name).map(|it| &*it.definition);
        let now = meta::format_time(jiff::Timestamp::now());
        let settled = naming::settle(&definition, others, &now);
        if settled.accepted == definition.accepted && settled.conditions == definition.conditions {
            return Ok(());
        }
        let key = Key::new(STORAGE, "", name);
        let Some(entry) = server.store.get(&key) else { return Ok(()) };
        let mut object = object::parse(&entry).map_err(StatusError::Damaged)?;
        note(&mut object, &settled);
        let encoded = Encoded::new(&object).map_err(StatusError::Damaged)?;
        // Served before anybody can see that it is.
        let early = encoded.at(entry.revision);
        if let Ok(definition) = eyot_model::custom::Definition::parse(&early) {
            catalog.insert(name.to_owned(), Known::new(definition));
            server.definitions.table.store(Arc::new(table(catalog)));
        }
        let written = server.store.write(Write::update(key, entry.revision, move |it| encoded.at(it))).await;
        refresh(server, catalog, name);
        server.definitions.table.store(Arc::new(table(catalog)));
        match written {
            Ok(_) => return Ok(()),
            Err(WriteError::Conflict { .. } | WriteError::NotFound { .. }) => {}
            Err(error) => return Err(StatusError::Store(error)),
        }
    }
    Err(StatusError::Busy)
}

/// Writes into a definition's status what was decided.
pub(super) fn note(object: &mut Value, settled: &Settled) {
    let status = meta::entry(object, "status");
    status.insert("acceptedNames".into(), names(&settled.accepted));
    status.insert("conditions".into(), settled.conditions.iter().map(condition).collect());
}

fn names(names: &Names) -> Value {
    let mut map = Map::new();
    let texts = [("singular", &names.singular), ("listKind", &names.list_kind)];
    let lists = [("shortNames", &names.short_names), ("categories", &names.categories)];
    map.insert("plural".into(), names.plural.as_str().into());
    map.insert("kind".into(), names.kind.as_str().into());
    map.extend(texts.into_iter().filter(|it| !it.1.is_empty()).map(|it| (it.0.into(), it.1.as_str().into())));
    map.extend(lists.into_iter().filter(|it| !it.1.is_empty()).map(|it| (it.0.into(), it.1.clone().into())));
    Value::Object(map)
}

/// A condition as JSON.
pub(super) fn condition(condition: &Condition) -> Value {
    let mut value = json!({
        "type": condition.of_type, "status": condition.status,
        "reason": condition.reason, "message": condition.message,
    });
    if let Some(time) = &condition.last_transition_time {
        value["lastTransitionTime"] = time.as_str().into();
    }
    value
}
