//! Nothing is created in a namespace that does not exist or is on its way out.

use eyot_model::{
    kinds,
    status::{ApiError, Cause, CauseReason},
};
use eyot_store::Key;
use serde_json::Value;

use super::{Admitted, Attempt, Operation};
use crate::server::Shared;

/// Refuses what is created in a namespace that cannot take it.
pub(super) fn namespace(
    server: &Shared,
    attempt: &Attempt<'_>,
    _: &mut Value,
    _: &mut Admitted,
) -> Result<(), ApiError> {
    if attempt.operation != Operation::Create || attempt.namespace.is_empty() {
        return Ok(());
    }
    let namespace = attempt.namespace;
    let Some(entry) = server.store.get(&Key::new("/namespaces", "", namespace)) else {
        let namespaces = kinds::builtin().by_plural("", "v1", "namespaces");
        return Err(namespaces.map_or_else(ApiError::no_such_path, |it| ApiError::not_found(it, namespace)));
    };
    if entry.attributes().field("status.phase") != Some("Terminating") {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut error = ApiError::forbidden(attempt.kind, attempt.name, &why);
    // Controllers look for this cause to stop trying.
    let message = format!("namespace {namespace} is being terminated");
    let (reason, field) = (CauseReason::NamespaceTerminating, "metadata.namespace".to_owned());
    error.details.causes = vec![Cause { reason, message, field }];
    Err(error)
}
