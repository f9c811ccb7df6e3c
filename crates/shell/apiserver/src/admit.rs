//! Admission: what happens to an object between decoding and storing. Entry point: [`admit`].
//!
//! Mutating steps run first, then validating ones, inside the write and before it is stored: what passes here is what
//! clients see. Policies will join the two lists; nothing else in the server needs to know them.

use eyot_model::{
    kinds::Kind,
    status::{ApiError, Cause},
    validate,
};
use serde_json::Value;

use crate::{Identity, server::Shared, strategy};

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
}

/// A write that wants to happen.
pub(crate) struct Attempt<'a> {
    pub(crate) operation: Operation,
    pub(crate) kind: &'a Kind,
    /// Empty for the object itself.
    pub(crate) subresource: &'a str,
    pub(crate) identity: &'a Identity,
    /// What is stored now, when it is an update.
    pub(crate) old: Option<&'a Value>,
}

/// A step that completes an object or refuses it.
type Mutate = fn(&Shared, &Attempt<'_>, &mut Value) -> Result<(), ApiError>;
/// A step that tells everything wrong with an object.
type Validate = fn(&Shared, &Attempt<'_>, &Value) -> Vec<Cause>;

/// Completes and judges an object about to be stored.
///
/// # Errors
/// The first refusal of a mutating step, or all causes of the validating ones together.
pub(crate) fn admit(server: &Shared, attempt: &Attempt<'_>, object: &mut Value) -> Result<(), ApiError> {
    const MUTATING: [Mutate; 2] = [strategy::account::complete, strategy::bind::place];
    const VALIDATING: [Validate; 1] = [schema];

    MUTATING.iter().try_for_each(|step| step(server, attempt, object))?;
    let causes: Vec<Cause> = VALIDATING.iter().flat_map(|step| step(server, attempt, object)).collect();
    if causes.is_empty() {
        return Ok(());
    }
    let name = eyot_model::meta::name(object).unwrap_or_default();
    let Attempt { identity, kind, subresource, .. } = attempt;
    tracing::debug!(user = identity.user, kind = kind.kind, subresource, name, "refused as invalid");
    Err(ApiError::invalid(attempt.kind, name, causes))
}

fn schema(_: &Shared, attempt: &Attempt<'_>, object: &Value) -> Vec<Cause> {
    match attempt.old {
        Some(old) if attempt.subresource == "status" => validate::check_status(attempt.kind, object, old),
        old => validate::check(attempt.kind, object, old),
    }
}
