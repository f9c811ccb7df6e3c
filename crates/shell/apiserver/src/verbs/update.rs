//! Changes stored objects: `PUT` and `PATCH`, of the whole object or of one aspect. Entry points: [`put`], [`patch`],
//! [`change`].
//!
//! A change reads, decides and writes against the version it read; when somebody else was faster it begins again,
//! unless the client named a version, which makes it a conflict. A change that changes nothing writes nothing.

use std::sync::Arc;

use bytes::Bytes;
use eyot_model::{
    defaults, meta,
    patch::{self, PatchType},
    pod_part, prepare,
    status::{ApiError, Cause},
};
use eyot_store::{Entry, Revision, WriteError};
use http::Response;
use serde_json::{Map, Value};

use crate::{
    Body,
    admit::{self, Attempt, Charge, Operation, Options},
    call::Call,
    commit::{self, Stored},
    definitions::conversion,
    incoming, owners, present,
    request::{
        accept::{self, Patching},
        decode,
    },
    strategy, subresource,
    verbs::apply,
};

/// Attempts against concurrent writers before a conflict is answered.
const ATTEMPTS_MAX: usize = 32;

/// What of the object a change may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aspect {
    /// Everything but status.
    Whole,
    /// Status alone, and labels, annotations and finalizers as sent.
    Status,
    /// The finalizers in a Namespace's spec.
    Finalize,
    /// Spec alone, through a subresource such as `resize` or `ephemeralcontainers`.
    Spec,
    /// Spec and status at once, as the server itself decided and admission agreed to: a binding.
    Own,
    /// The number of replicas, judged as the Scale that shows it.
    Scale,
}

/// What a change came to: the bytes of the version that is there now, or of the last one before it went.
pub(crate) struct Changed {
    pub(crate) value: Bytes,
}

/// Answers `PUT`.
pub(crate) async fn put(call: &mut Call, name: &str, aspect: Aspect, body: Bytes) -> Result<Response<Body>, ApiError> {
    let mut sent = incoming::object(call, &body)?;
    incoming::settle(call, &mut sent, Some(name))?;
    let changed = change(call, name, aspect, |_, _| Ok(sent.clone())).await?;
    present::respond(call, 200, &changed.value)
}

/// Answers `PATCH`.
pub(crate) async fn patch(
    call: &mut Call,
    name: &str,
    aspect: Aspect,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    let patch_type = match accept::patching(&call.headers)? {
        Patching::Patch(patch_type) => patch_type,
        Patching::Apply => return apply::apply(call, name, aspect, body).await,
    };
    if patch_type == PatchType::Strategic && call.kind.custom.is_some() {
        // Nothing says how lists of custom kinds merge by this kind of patch.
        return Err(ApiError::unsupported_media_type(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/apply-patch+yaml",
        ]));
    }
    let patch = read_patch(call, &body)?;
    let changed = change(call, name, aspect, |call, old| {
        let mut patched = patched(call, name, patch_type, old, &patch)?;
        let untouched = untouched(call, &mut patched, patch_type, &patch);
        let mut new = incoming::fields(call, patched, Vec::new())?;
        meta::as_map(&mut new).extend(untouched);
        incoming::settle(call, &mut new, Some(name))?;
        Ok(new)
    });
    let changed = changed.await?;
    present::respond(call, 200, &changed.value)
}

/// Takes out the fields of an object that a patch does not name: they are as they were stored, and need not be checked anew
/// with every status.
fn untouched(call: &Call, patched: &mut Value, patch_type: PatchType, patch: &Value) -> Map<String, Value> {
    let (Some(patch), Value::Object(object)) = (patch.as_object(), patched) else { return Map::new() };
    // A patch in JSON names its places elsewhere, directives speak of others, and custom objects are read as a whole.
    if patch_type == PatchType::Json || call.kind.custom.is_some() || patch.keys().any(|it| it.starts_with('$')) {
        return Map::new();
    }
    let names: Vec<String> = object.keys().filter(|it| !patch.contains_key(*it)).cloned().collect();
    names.into_iter().filter_map(|name| object.remove_entry(&name)).collect()
}

/// Reads the patch in a request's body. What it says twice counts as it is said last, which nobody is told.
pub(crate) fn read_patch(call: &Call, body: &Bytes) -> Result<Value, ApiError> {
    call.query.check_patch(false)?;
    decode::plain(body)
}

fn patched(call: &Call, name: &str, patch_type: PatchType, old: &Value, patch: &Value) -> Result<Value, ApiError> {
    let patched = patch::apply(&call.kind, patch_type, old, patch).map_err(|it| it.status(&call.kind, name))?;
    for field in ["apiVersion", "kind"] {
        if patched.get(field) != old.get(field) {
            let why = "a patch may not change it";
            let cause = Cause::invalid(field, patched.get(field).unwrap_or(&Value::Null), why);
            return Err(ApiError::invalid(&call.kind, name, vec![cause]));
        }
    }
    Ok(patched)
}

/// Replaces an object by what `make` makes of it. The writer owns what changes.
pub(crate) async fn change(
    call: &mut Call,
    name: &str,
    aspect: Aspect,
    make: impl FnMut(&mut Call, &Value) -> Result<Value, ApiError>,
) -> Result<Changed, ApiError> {
    change_noted(call, name, aspect, owners::updated, make).await
}

/// Replaces an object by what `make` makes of it; `note` notes who owns what.
pub(crate) async fn change_noted(
    call: &mut Call,
    name: &str,
    aspect: Aspect,
    note: owners::Note,
    mut make: impl FnMut(&mut Call, &Value) -> Result<Value, ApiError>,
) -> Result<Changed, ApiError> {
    let warnings = call.warnings.len();
    for _ in 0..ATTEMPTS_MAX {
        call.warnings.truncate(warnings);
        let entry = call.get(name)?;
        call.prepare([&entry.value]).await?;
        let old = call.parse(&entry)?;
        let new = make(call, &old)?;
        check_preconditions(call, name, &new, &old)?;
        match step(call, name, (aspect, note), &entry, old, new).await? {
            Ok(changed) => {
                call.prepare([&changed.value]).await?;
                return Ok(changed);
            }
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(commit::error(&call.kind, name, &error)),
        }
    }
    Err(ApiError::modified(&call.kind, name))
}

/// A version or uid in what the client sent must be the stored one.
fn check_preconditions(call: &Call, name: &str, new: &Value, old: &Value) -> Result<(), ApiError> {
    match meta::resource_version(new) {
        Some(version) if Some(version) != meta::resource_version(old) => {
            if version.parse::<u64>().is_err() {
                let value = Value::from(version);
                let cause = Cause::invalid("metadata.resourceVersion", &value, "must be an unsigned integer");
                return Err(ApiError::invalid(&call.kind, name, vec![cause]));
            }
            return Err(ApiError::modified(&call.kind, name));
        }
        _ => {}
    }
    match (meta::uid(new), meta::uid(old)) {
        (Some(wanted), Some(found)) if wanted != found => {
            let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}");
            Err(ApiError::conflict(&call.kind, name, &why))
        }
        _ => Ok(()),
    }
}

async fn step(
    call: &mut Call,
    name: &str,
    (aspect, note): (Aspect, owners::Note),
    entry: &Arc<Entry>,
    old: Value,
    mut new: Value,
) -> Result<Result<Changed, WriteError>, ApiError> {
    let claims = prepare(call, (aspect, note), &mut new, &old)?;
    let charge = judge(call, name, aspect, &mut new, &old).await?;
    check_finalizers(call, name, &new, &old)?;
    let version = old["metadata"]["resourceVersion"].clone();
    meta::metadata_mut(&mut new).insert("resourceVersion".into(), version);
    if owners::is_unchanged(&mut new, &old) && !call.is_outdated(&entry.value) {
        return Ok(Ok(Changed { value: entry.value.clone() }));
    }
    let gone = is_finished(&new);
    let new = conversion::to_stored(call.shared(), &call.kind, new).await?;
    let stored = Stored::new(&call.kind, new)?.charged(charge);
    if call.query.dry_run {
        return Ok(Ok(Changed { value: stored.rehearsed(Some(entry.revision)) }));
    }
    let written = if gone {
        commit::remove(call.shared(), entry, Some(stored)).await
    } else {
        commit::replace(call.shared(), entry.key.clone(), entry.revision, stored).await
    };
    Ok(written.map(|written| {
        claims.into_iter().for_each(strategy::Claim::keep);
        if gone {
            strategy::removed(call.shared(), &call.kind, &old);
        }
        Changed { value: written.value.clone() }
    }))
}

/// Settles what the aspect allows, and completes the object.
fn prepare(
    call: &mut Call,
    (aspect, note): (Aspect, owners::Note),
    new: &mut Value,
    old: &Value,
) -> Result<Vec<strategy::Claim>, ApiError> {
    let kind = call.kind.clone();
    let mut claims = Vec::new();
    if aspect == Aspect::Spec {
        pod_part::keep(&call.subresource, new, old);
    }
    defaults::apply(&kind, new);
    if !matches!(aspect, Aspect::Own | Aspect::Finalize) {
        note(call, new, old);
    }
    match aspect {
        Aspect::Whole | Aspect::Spec | Aspect::Scale => {
            prepare::update(&kind, new, old);
            let prepared = strategy::update(call.shared(), &kind, new, old)?;
            call.warnings.extend(prepared.warnings);
            claims = prepared.claims;
        }
        Aspect::Status => prepare::update_status(&kind, new, old),
        Aspect::Own => {}
        Aspect::Finalize => {
            let finalizers = new.pointer("/spec/finalizers").cloned();
            *new = old.clone();
            let spec = meta::entry(new, "spec");
            match finalizers {
                Some(finalizers) => spec.insert("finalizers".into(), finalizers),
                None => spec.remove("finalizers"),
            };
        }
    }
    Ok(claims)
}

/// Has the new version admitted.
async fn judge(
    call: &mut Call,
    name: &str,
    aspect: Aspect,
    new: &mut Value,
    old: &Value,
) -> Result<Option<Charge>, ApiError> {
    let attempt = Attempt {
        operation: Operation::Update,
        kind: &call.kind,
        subresource: &call.subresource,
        namespace: call.namespace.as_deref().unwrap_or_default(),
        name,
        identity: &call.identity,
        options: if call.verb == "patch" { Options::Patch(&call.query) } else { Options::Update(&call.query) },
        old: Some(old),
    };
    let admitted = match aspect {
        Aspect::Own => return Ok(None),
        Aspect::Scale => {
            let before = subresource::scale_of(&call.kind, old)?;
            let mut scale = subresource::scale_of(&call.kind, new)?;
            let admitted = admit::admit(call.shared(), &Attempt { old: Some(&before), ..attempt }, &mut scale).await?;
            subresource::set_replicas(&call.kind, new, scale["spec"]["replicas"].clone());
            admit::check(&Attempt { subresource: "", ..attempt }, new)?;
            admitted
        }
        _ => admit::admit(call.shared(), &attempt, new).await?,
    };
    call.warnings.extend(admitted.warnings);
    Ok(admitted.charge)
}

/// An object that is being deleted takes no new finalizers.
fn check_finalizers(call: &Call, name: &str, new: &Value, old: &Value) -> Result<(), ApiError> {
    if meta::deleted(old).is_none() {
        return Ok(());
    }
    let added = meta::finalizers(new).find(|it| !meta::finalizers(old).any(|known| known == *it));
    let Some(added) = added else { return Ok(()) };
    let why = format!("no new finalizers can be added if the object is being deleted, found new finalizers {added:?}");
    Err(ApiError::invalid(&call.kind, name, vec![Cause::forbidden("metadata.finalizers", &why)]))
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_finished(object: &Value) -> bool {
    meta::deleted(object).is_some()
        && meta::deletion_grace_seconds(object).unwrap_or(0) == 0
        && meta::finalizers(object).next().is_none()
        && !has_spec_finalizers(object)
}

/// Whether a Namespace still holds finalizers in its spec.
fn has_spec_finalizers(object: &Value) -> bool {
    object["kind"] == "Namespace" && !meta::list(object.pointer("/spec/finalizers")).is_empty()
}

/// A revision as clients write it.
pub(crate) fn is_version(text: &str, revision: Revision) -> bool {
    text.parse() == Ok(revision.0)
}
