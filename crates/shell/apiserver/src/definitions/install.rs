//! Makes the definitions that the server itself needs. Entry point: [`install`], at start.

use std::sync::Arc;

use bytes::Bytes;
use eyot_model::{
    custom::{Definition, naming, prepare::remember_storage_version},
    defaults, kinds, meta, prepare,
    status::ApiError,
    validate,
};
use eyot_store::Key;
use serde_json::Value;

use super::{STORAGE, refresh, rules, status, table};
use crate::{
    commit::{self, Stored},
    server::Shared,
};

/// Makes those that are missing, in one write; those that are there stay as they are. Their kinds are served when it
/// returns.
///
/// # Errors
/// When one makes no sense, or the store does not take them.
pub(crate) async fn install(server: &Shared, objects: Vec<Value>) -> Result<(), ApiError> {
    let Some(kind) = kinds::builtin().by_plural("apiextensions.k8s.io", "v1", "customresourcedefinitions") else {
        return Err(ApiError::no_such_path());
    };
    let mut catalog = server.definitions.catalog.lock().await;
    let (mut writes, mut names) = (Vec::new(), Vec::new());
    for mut object in objects {
        let name = meta::name(&object).unwrap_or_default().to_owned();
        let key = Key::new(STORAGE, "", name.as_str());
        if server.store.get(&key).is_some() {
            continue;
        }
        defaults::apply(kind, &mut object);
        prepare::create(kind, &mut object, &uuid::Uuid::new_v4().to_string(), jiff::Timestamp::now());
        remember_storage_version(&mut object);
        if cfg!(debug_assertions) {
            let mut causes = validate::check(kind, &object, None);
            causes.extend(rules::flaws(&object, None));
            if !causes.is_empty() {
                return Err(ApiError::invalid(kind, &name, causes));
            }
        }
        let read = Definition::parse(&Bytes::from(object.to_string())).map_err(ApiError::internal)?;
        let others = catalog.values().filter(|it| it.group == read.group).map(|it| &*it.definition);
        let settled = naming::settle(&read, others, &meta::format_time(jiff::Timestamp::now()));
        status::note(&mut object, &settled);
        writes.push(commit::creation(key, Stored::new(kind, object)?));
        names.push(name);
    }
    if writes.is_empty() {
        return Ok(());
    }
    let written = server.store.write_all(writes).await;
    written.map_err(|it| ApiError::internal(format!("writing definitions: {it}")))?;
    names.iter().for_each(|name| refresh(server, &mut catalog, name));
    server.definitions.table.store(Arc::new(table(&catalog)));
    Ok(())
}
