//! The classes that claims and ingresses get when they name none.

use eyot_model::{meta, status::ApiError};
use eyot_store::{Page, Scope};
use serde_json::Value;

use super::{Admitted, Attempt};
use crate::{object, server::Shared};

/// Gives a new claim or ingress the default class, if there is one.
pub(super) fn complete(
    server: &Shared,
    attempt: &Attempt<'_>,
    object: &mut Value,
    _: &mut Admitted,
) -> Result<(), ApiError> {
    let (resource, mark, field, old_name) = if attempt.creates("", "PersistentVolumeClaim") {
        const OLD: &str = "volume.beta.kubernetes.io/storage-class";
        ("storage.k8s.io/storageclasses", "storageclass.kubernetes.io/is-default-class", "storageClassName", OLD)
    } else if attempt.creates("networking.k8s.io", "Ingress") {
        const OLD: &str = "kubernetes.io/ingress.class";
        ("networking.k8s.io/ingressclasses", "ingressclass.kubernetes.io/is-default-class", "ingressClassName", OLD)
    } else {
        return Ok(());
    };
    // An empty name is a choice: no class at all.
    if object["spec"].get(field).is_some_and(Value::is_string) || meta::annotation(object, old_name).is_some() {
        return Ok(());
    }
    let list = server.store.list(&Scope::all(resource), &Page::default()).map_err(ApiError::internal)?;
    let mut newest = None;
    for entry in &list.entries {
        let class = object::parse(entry)?;
        if meta::annotation(&class, mark) == Some("true") {
            let name = meta::name(&class).unwrap_or_default().to_owned();
            newest = newest.max(Some((meta::created(&class), std::cmp::Reverse(name))));
        }
    }
    if let Some((_, std::cmp::Reverse(name))) = newest {
        meta::entry(object, "spec").insert(field.to_owned(), name.into());
    }
    Ok(())
}
