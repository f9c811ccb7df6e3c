//! Checks of `metadata`, the same for all kinds but for the grammar of names.

use std::collections::HashSet;

use super::{
    at::At,
    names::{self, Check},
};
use crate::{kinds::Kind, status::Cause};

/// Most bytes of all annotations together.
const ANNOTATIONS_MAX: usize = 256 << 10;

pub(super) fn check(kind: &Kind, object: &At<'_>, old: Option<&At<'_>>, causes: &mut Vec<Cause>) {
    let metadata = object.get("metadata");
    name(kind, &metadata, causes);
    for (key, value) in metadata.get("labels").entries() {
        let labels = metadata.get("labels");
        if let Err(why) = names::qualified_name(key) {
            causes.push(Cause::invalid(&labels.path, &key.into(), &why));
        }
        if let Err(why) = names::label_value(value.text()) {
            causes.push(Cause::invalid(&labels.path, value.value, &why));
        }
    }
    annotations(&metadata.get("annotations"), causes);
    for finalizer in metadata.get("finalizers").items() {
        let namespaced = finalizer.text().contains('/') || ["orphan", "foregroundDeletion"].contains(&finalizer.text());
        match names::qualified_name(finalizer.text()) {
            Err(why) => causes.push(finalizer.invalid(&why)),
            Ok(()) if !namespaced && kind.is("", "Namespace") => {
                causes.push(finalizer.invalid("name is neither a standard finalizer name nor is it fully qualified"));
            }
            Ok(()) => {}
        }
    }
    owners(&metadata.get("ownerReferences"), causes);
    if let Some(old) = old {
        update(&metadata, &old.get("metadata"), causes);
    }
}

fn name(kind: &Kind, metadata: &At<'_>, causes: &mut Vec<Cause>) {
    let (name, base) = (metadata.get("name"), metadata.get("generateName"));
    let grammar = grammar(kind);
    if name.is_empty() {
        causes.push(name.required("name or generateName is required"));
    }
    name.grammar(grammar, causes);
    // What will be appended is alphanumeric, so a dash may end the base.
    let stem = base.text().trim_end_matches('-');
    if let Some(Err(why)) = Some(stem).filter(|it| !it.is_empty()).map(grammar) {
        causes.push(base.invalid(&why));
    }
    const CRON_NAME_MAX: usize = 52;
    if kind.is("batch", "CronJob") && name.text().len() > CRON_NAME_MAX {
        causes.push(name.invalid("must be no more than 52 characters"));
    }
}

/// What names of a kind look like.
fn grammar(kind: &Kind) -> fn(&str) -> Check {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace" | "Service") => names::dns1123_label,
        ("rbac.authorization.k8s.io" | "certificates.k8s.io", _) | ("networking.k8s.io", "IPAddress") => {
            names::path_segment
        }
        _ => names::dns1123_subdomain,
    }
}

fn annotations(annotations: &At<'_>, causes: &mut Vec<Cause>) {
    let mut bytes = 0;
    for (key, value) in annotations.entries() {
        bytes += key.len() + value.text().len();
        if let Err(why) = names::qualified_name(&key.to_lowercase()) {
            causes.push(Cause::invalid(&annotations.path, &key.into(), &why));
        }
    }
    if bytes > ANNOTATIONS_MAX {
        causes.push(Cause::too_long(&annotations.path, ANNOTATIONS_MAX));
    }
}

fn owners(owners: &At<'_>, causes: &mut Vec<Cause>) {
    let mut controllers = 0;
    for owner in owners.items() {
        for (field, why) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner.get(field).is_empty() {
                causes.push(Cause::invalid(owner.get(field).path, &"".into(), why));
            }
        }
        controllers += usize::from(owner.get("controller").truth());
    }
    if controllers > 1 {
        causes.push(owners.invalid("Only one reference can have Controller set to true"));
    }
}

/// An object that is being deleted can lose finalizers but gain none.
fn update(new: &At<'_>, old: &At<'_>, causes: &mut Vec<Cause>) {
    if old.get("deletionTimestamp").is_absent() {
        return;
    }
    let kept: HashSet<&str> = old.get("finalizers").items().map(|it| it.text()).collect();
    let added: Vec<String> = new.get("finalizers").items().map(|it| it.text().to_owned()).collect();
    let added: Vec<String> =
        added.into_iter().filter(|it| !kept.contains(it.as_str())).map(|it| format!("{it:?}")).collect();
    if !added.is_empty() {
        let why = "no new finalizers can be added if the object is being deleted, found new finalizers";
        causes.push(new.get("finalizers").forbidden(&format!("{why} []string{{{}}}", added.join(", "))));
    }
}
