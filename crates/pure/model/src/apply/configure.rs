//! Applies a configuration. Entry point: [`apply`].

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};

use super::{
    Writer,
    conflict::{self, Conflict},
    fieldset::{field_set, strict},
    kubectl,
    managed::{self, Entry, Operation},
    merge::merge,
    remove::remove,
    reset::{self, Ignored},
    set::Set,
    update::{self, Changes},
    versions::Versions,
};
use crate::{
    kinds::{Kind, Table, split_api_version},
    meta,
    schema::{self, FieldValidation},
    status::ApiError,
};

/// Why a configuration does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It contradicts the schema; each line names a field.
    #[error("{}", .0.join("\n"))]
    Schema(Vec<String>),
    /// It would change what others own.
    #[error("{} fields belong to others", .0.len())]
    Conflicts(Vec<Conflict>),
}

/// Merges a configuration into an object, or makes a new one of it when there is none.
///
/// What the same manager applied before and leaves out now is removed, unless somebody else owns it too. What changes
/// and belongs to others is a conflict, unless `force` takes it from them. The outcome carries its
/// `metadata.managedFields`, with the time of the write even if nothing else changed: compare with [`super::same`].
pub fn apply(
    table: &Table,
    kind: &Kind,
    writer: &Writer<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Value, ApplyError> {
    let versions = Versions::new(table, kind);
    let of = versions.own_schema().root();
    let wanted = strict(of, config).map_err(ApplyError::Schema)?;
    let ignored = Ignored::of(kind, writer.subresource);
    let mut held = live.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    let list = meta::metadata_mut(&mut held).remove("managedFields");
    let mut others = managed::decode(list.as_ref()).unwrap_or_default();
    update::settle(&versions, &mut others);
    if live.is_some() && others.is_empty() {
        others = unclaimed(&versions, &ignored, writer, &held);
    }
    let mut own = writer.entry(Operation::Apply, versions.own());
    let last = others.iter().position(|it| it.is_of(&own)).map(|at| others.remove(at));
    own.fields = wanted;
    ignored.strip(&mut own.fields);

    let merged = merge(of, held.clone(), config);
    let mut object = prune(&versions, merged, &own, &others, last.as_ref());
    let mut changes = Changes::new(&versions, &ignored, &held, &object);
    let mut conflicts = if force { Vec::new() } else { conflict::find(&mut changes, &others) };
    if !conflicts.is_empty() && writer.manager == kubectl::MANAGER {
        let taken_over = kubectl::taken_over(&versions, &held);
        conflicts.retain(|it| !taken_over.has(&it.path));
    }
    if !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflicts));
    }
    update::disown(&mut changes, &mut others);
    own.fields.subtract(&reset::UNOWNED);
    others.push(own);
    if writer.manager == kubectl::MANAGER {
        kubectl::remember(&mut object, config);
    }
    let list = managed::encode(others);
    if !meta::list(Some(&list)).is_empty() {
        meta::metadata_mut(&mut object).insert("managedFields".into(), list);
    }
    Ok(object)
}

/// A sent configuration with its quantities and times as they are stored, so that equal values look equal.
///
/// # Errors
/// 400 when a field has the wrong type.
pub fn canonical(kind: &Kind, config: Value) -> Result<Value, ApiError> {
    let mut tidy = schema::decode(kind, config.clone(), Vec::new(), FieldValidation::Ignore)?.object;
    restore(&mut tidy, config);
    Ok(tidy)
}

/// Puts back what tidying dropped: unknown fields, nulls and empty values mean something in a configuration.
fn restore(tidy: &mut Value, sent: Value) {
    match (tidy, sent) {
        (Value::Object(tidy), Value::Object(sent)) => {
            for (name, sent) in sent {
                match tidy.get_mut(&name) {
                    Some(tidy) => restore(tidy, sent),
                    None => drop(tidy.insert(name, sent)),
                }
            }
        }
        (Value::Array(tidy), Value::Array(sent)) => {
            tidy.iter_mut().zip(sent).for_each(|(tidy, sent)| restore(tidy, sent));
        }
        _ => {}
    }
}

/// Everything in an object that nobody owns belongs to one who came before.
fn unclaimed(versions: &Versions<'_>, ignored: &Ignored, writer: &Writer<'_>, held: &Value) -> Vec<Entry> {
    let before = Writer { manager: "before-first-apply", ..*writer };
    let (nothing, mut entries) = (Value::Object(Map::new()), Vec::new());
    let mut changes = Changes::new(versions, ignored, &nothing, held);
    update::record(&before, &mut changes, &mut entries);
    entries
}

/// Removes what `last` applied, `own` does not apply any more and nobody else owns.
fn prune(versions: &Versions<'_>, merged: Value, own: &Entry, others: &[Entry], last: Option<&Entry>) -> Value {
    let Some(last) = last.filter(|it| !it.fields.is_within(&own.fields)) else { return merged };
    let (at, here) = (last.api_version.as_str(), versions.own());
    let Some(schema) = versions.schema(at) else { return merged };
    let of = schema.root();
    let Some(merged) = versions.convert(Cow::Owned(merged), here, at).map(Cow::into_owned) else {
        return Value::Object(Map::new());
    };
    let gone = last.fields.clone().with_parents(of);
    let mut pruned = merged.clone();
    remove(of, &mut pruned, &gone);
    pruned = add_back_owned(versions, &merged, pruned, at, own, others);
    // What nobody owns and the last configuration did not set either stays, unless what holds it goes.
    let mut dangling = field_set(of, &merged).with_parents(of);
    dangling.subtract(&field_set(of, &pruned).with_parents(of));
    dangling.intersect(&gone);
    let mut kept = merged;
    remove(of, &mut kept, &dangling);
    versions.convert(Cow::Owned(kept), at, here).map(Cow::into_owned).unwrap_or_default()
}

/// Puts back what owners still own. `merged` and `pruned` are in version `at`, and so is the outcome.
fn add_back_owned(
    versions: &Versions<'_>,
    merged: &Value,
    mut pruned: Value,
    at: &str,
    own: &Entry,
    others: &[Entry],
) -> Value {
    let mut managed: BTreeMap<&str, Set> = BTreeMap::new();
    for entry in others.iter().chain([own]) {
        managed.entry(entry.api_version.as_str()).or_default().union(entry.fields.clone());
    }
    // The version at hand first: another may need what it puts back.
    let first = managed.remove_entry(at);
    for (version, managed) in first.into_iter().chain(managed) {
        let Some(schema) = versions.schema(version) else { continue };
        let of = schema.root();
        let whole = versions.convert(Cow::Borrowed(merged), at, version);
        let part = versions.convert(Cow::Borrowed(&pruned), at, version);
        let (Some(whole), Some(part)) = (whole, part) else { continue };
        let mut kept = field_set(of, &part).with_parents(of);
        kept.union(managed.with_parents(of));
        let mut gone = field_set(of, &whole).with_parents(of);
        gone.subtract(&kept);
        let mut restored = whole.into_owned();
        remove(of, &mut restored, &gone);
        if let Some(back) = versions.convert(Cow::Owned(restored), version, at) {
            pruned = back.into_owned();
        }
    }
    pruned
}

impl ApplyError {
    /// The answer a client gets.
    pub fn status(&self, kind: &Kind, config: &Value) -> ApiError {
        match self {
            Self::Conflicts(conflicts) => conflict::status(conflicts),
            Self::Schema(problems) => {
                let (group, version) = split_api_version(config["apiVersion"].as_str().unwrap_or_default());
                let (namespace, name) = (meta::namespace(config).unwrap_or(""), meta::name(config).unwrap_or(""));
                let problems = match problems.as_slice() {
                    [only] => only.clone(),
                    all => format!("errors:\n  {}", all.join("\n  ")),
                };
                ApiError::bad_request(format!(
                    "failed to create typed patch object ({namespace}/{name}; {group}/{version}, Kind={}): {problems}",
                    kind.kind
                ))
            }
        }
    }
}
