//! Deletes objects, at once or in steps. Entry points: [`delete`], [`delete_collection`]; the decision is [`plan`].

use std::sync::Arc;

use bytes::Bytes;
use eyot_model::{
    kinds::Kind,
    meta, prepare,
    status::{self, ApiError},
};
use eyot_store::{Entry, WriteError};
use futures::{StreamExt, TryStreamExt, stream};
use http::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    list,
    update::{is_finished, is_version},
};
use crate::{
    Body,
    admit::{self, Attempt, Operation},
    call::Call,
    commit::{self, Stored},
    definitions,
    definitions::conversion,
    present,
    request::{query, query::Query},
    respond,
    select::Selection,
    strategy,
};

/// Attempts against concurrent writers before a conflict is answered.
const ATTEMPTS_MAX: usize = 32;
/// Deletes of one collection that wait for the disk together.
const DELETES_AT_ONCE: usize = 64;
/// A pod that says nothing gets this long to end.
const POD_GRACE_SECONDS: i64 = 30;

/// What becomes of dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// `metav1.DeleteOptions`, from the body and the query.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Options {
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
}

/// What a delete does to an object.
#[derive(Debug, PartialEq)]
enum Plan {
    /// It goes now.
    Remove,
    /// It is marked and goes when its finalizers are gone, or its grace is over.
    Mark(Value),
    /// It is being deleted already, and nothing changes.
    Wait,
}

/// Answers `DELETE` of one object.
pub(crate) async fn delete(call: &mut Call, name: &str, body: Bytes) -> Result<Response<Body>, ApiError> {
    let options = Options::read(call, &body)?;
    let deleted = delete_at(call, &call.key(name), &options, true).await?;
    call.warnings.extend(deleted.warnings.iter().cloned());
    deleted.respond(call, name)
}

/// Answers `DELETE` of a collection.
pub(crate) async fn delete_collection(call: &mut Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    let options = Options::read(call, &body)?;
    let selection = Selection::of(call)?;
    let found = list::find(call, &selection).await?;
    let call = &*call;
    let deletes = stream::iter(found.entries).map(|entry| {
        let options = options.clone();
        async move {
            // Names of different namespaces can be in one collection.
            match delete_at(call, &entry.key, &options, true).await {
                Err(error) if error.code == 404 => Ok(()),
                other => other.map(drop),
            }
        }
    });
    deletes.buffer_unordered(DELETES_AT_ONCE).try_collect::<()>().await?;
    let list = json!({
        "kind": call.kind.list_kind(), "apiVersion": call.kind.api_version(),
        "metadata": {"resourceVersion": call.shared().store.revision().to_string()}, "items": [],
    });
    Ok(respond::json(200, &list))
}

/// What a delete came to.
pub(crate) struct Deleted {
    value: Bytes,
    uid: String,
    removed: bool,
    warnings: Vec<String>,
}

impl Deleted {
    fn respond(&self, call: &Call, name: &str) -> Result<Response<Body>, ApiError> {
        // These kinds answer with the object even when it is gone.
        const RETURNED: [&str; 7] = [
            "Pod",
            "Service",
            "ServiceAccount",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "PodTemplate",
        ];
        if !self.removed || (call.kind.group.is_empty() && RETURNED.contains(&call.kind.kind.as_str())) {
            return present::respond(call, 200, &self.value);
        }
        Ok(respond::json(200, &status::success(&call.kind, name, &self.uid)))
    }
}

/// Deletes an object of the request's namespace, for a request that was admitted as what it is: an eviction.
pub(crate) async fn delete_one(call: &Call, name: &str, options: &Options) -> Result<Deleted, ApiError> {
    delete_at(call, &call.key(name), options, false).await
}

async fn delete_at(call: &Call, key: &eyot_store::Key, options: &Options, judged: bool) -> Result<Deleted, ApiError> {
    let (kind, name) = (&call.kind, &*key.name);
    protect(kind, name)?;
    for _ in 0..ATTEMPTS_MAX {
        let entry = call.shared().store.get(key).ok_or_else(|| ApiError::not_found(kind, name))?;
        call.prepare([&entry.value]).await?;
        let old = call.parse(&entry)?;
        check_preconditions(kind, name, options, &old, &entry)?;
        let warnings = if judged { judge(call, key, options, &old).await? } else { Vec::new() };
        let plan = plan(kind, &old, options, Timestamp::now());
        match carry_out(call, options, &entry, &old, plan).await? {
            Ok(deleted) => {
                call.prepare([&deleted.value]).await?;
                return Ok(Deleted { warnings, ..deleted });
            }
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(commit::error(kind, name, &error)),
        }
    }
    Err(ApiError::modified(kind, name))
}

/// Has the delete admitted, and returns what there is to warn of.
async fn judge(call: &Call, key: &eyot_store::Key, options: &Options, old: &Value) -> Result<Vec<String>, ApiError> {
    let attempt = Attempt {
        operation: Operation::Delete,
        kind: &call.kind,
        subresource: "",
        namespace: &key.namespace,
        name: &key.name,
        identity: &call.identity,
        options: admit::Options::Delete(options),
        old: Some(old),
    };
    Ok(admit::admit(call.shared(), &attempt, &mut Value::Null).await?.warnings)
}

/// Namespaces without which nothing works stay.
fn protect(kind: &Kind, name: &str) -> Result<(), ApiError> {
    const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
    if kind.is("", "Namespace") && IMMORTAL.contains(&name) {
        return Err(ApiError::forbidden(kind, name, "this namespace may not be deleted"));
    }
    Ok(())
}

fn check_preconditions(kind: &Kind, name: &str, options: &Options, old: &Value, entry: &Entry) -> Result<(), ApiError> {
    if let Some(uid) = options.uid.as_deref().filter(|it| Some(*it) != meta::uid(old)) {
        let found = meta::uid(old).unwrap_or_default();
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {found}");
        return Err(ApiError::conflict(kind, name, &why));
    }
    if let Some(version) = options.resource_version.as_deref().filter(|it| !is_version(it, entry.revision)) {
        let why = format!(
            "Precondition failed: ResourceVersion in precondition: {version}, ResourceVersion in object meta: {}",
            entry.revision
        );
        return Err(ApiError::conflict(kind, name, &why));
    }
    Ok(())
}

async fn carry_out(
    call: &Call,
    options: &Options,
    entry: &Arc<Entry>,
    old: &Value,
    plan: Plan,
) -> Result<Result<Deleted, WriteError>, ApiError> {
    let uid = meta::uid(old).unwrap_or_default().to_owned();
    match plan {
        Plan::Wait => Ok(Ok(Deleted { value: entry.value.clone(), uid, removed: false, warnings: Vec::new() })),
        Plan::Remove if options.dry_run => {
            Ok(Ok(Deleted { value: entry.value.clone(), uid, removed: true, warnings: Vec::new() }))
        }
        Plan::Remove => {
            let removed = commit::remove(call.shared(), entry, None).await;
            Ok(removed.map(|removed| {
                strategy::removed(call.shared(), &call.kind, old);
                Deleted { value: removed.value.clone(), uid, removed: true, warnings: Vec::new() }
            }))
        }
        Plan::Mark(marked) => {
            let marked = conversion::to_stored(call.shared(), &call.kind, marked).await?;
            let stored = Stored::new(&call.kind, marked)?;
            if options.dry_run {
                return Ok(Ok(Deleted {
                    value: stored.rehearsed(Some(entry.revision)),
                    uid,
                    removed: false,
                    warnings: Vec::new(),
                }));
            }
            let written = commit::replace(call.shared(), entry.key.clone(), entry.revision, stored).await;
            Ok(written.map(|it| Deleted { value: it.value.clone(), uid, removed: false, warnings: Vec::new() }))
        }
    }
}

/// Decides what a delete does.
fn plan(kind: &Kind, old: &Value, options: &Options, now: Timestamp) -> Plan {
    let mut new = old.clone();
    set_finalizers(kind, &mut new, options.propagation);
    let grace = grace_seconds(kind, old, options);
    let marked_before = meta::deleted(old).is_some();
    let deadline = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(Timestamp::MAX);
    // A second delete may shorten the grace, never lengthen it.
    let shorter = meta::deletion_grace_seconds(old).is_none_or(|it| grace < it);
    if !marked_before || shorter {
        let metadata = meta::metadata_mut(&mut new);
        metadata.insert("deletionTimestamp".into(), meta::format_time(deadline).into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace.into());
    }
    if !marked_before && prepare::has_generation(kind) {
        let next = meta::generation(old) + 1;
        meta::metadata_mut(&mut new).insert("generation".into(), next.into());
    }
    if kind.is("", "Namespace") {
        meta::entry(&mut new, "status").insert("phase".into(), "Terminating".into());
    }
    if definitions::is_definition(kind) && !marked_before {
        definitions::mark(&mut new, now);
    }
    if is_finished(&new) {
        return Plan::Remove;
    }
    if new == *old { Plan::Wait } else { Plan::Mark(new) }
}

/// How long the object gets to end: only pods that run somewhere get any time.
fn grace_seconds(kind: &Kind, old: &Value, options: &Options) -> i64 {
    let text = |pointer: &str| old.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let runs = kind.is("", "Pod")
        && !text("/spec/nodeName").is_empty()
        && !matches!(text("/status/phase"), "Succeeded" | "Failed");
    if !runs {
        return 0;
    }
    let own = old.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    let grace = options.grace_seconds.or(own).unwrap_or(POD_GRACE_SECONDS);
    // A negative value in a pod's spec once meant the shortest grace; so it still does.
    if grace < 0 { 1 } else { grace }
}

fn set_finalizers(kind: &Kind, object: &mut Value, propagation: Option<Propagation>) {
    const ORPHAN: &str = "orphan";
    const FOREGROUND: &str = "foregroundDeletion";
    // Two kinds orphan unless told otherwise, as they did before there was garbage collection.
    let orphans = kind.is("batch", "Job") || kind.is("", "ReplicationController");
    let decided =
        meta::deleted(object).is_some() || meta::finalizers(object).any(|it| [ORPHAN, FOREGROUND].contains(&it));
    let wanted = match propagation {
        Some(propagation) => propagation,
        None if decided || !orphans => return,
        None => Propagation::Orphan,
    };
    let mut finalizers: Vec<String> =
        meta::finalizers(object).filter(|it| ![ORPHAN, FOREGROUND].contains(it)).map(str::to_owned).collect();
    match wanted {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
    }
    let metadata = meta::metadata_mut(object);
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), finalizers.into());
    }
}

impl Options {
    /// What becomes of dependents, as `DeleteOptions` names it.
    pub(crate) fn propagation_policy(&self) -> Option<&'static str> {
        self.propagation.map(|it| match it {
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
            Propagation::Orphan => "Orphan",
        })
    }

    fn read(call: &Call, body: &Bytes) -> Result<Options, ApiError> {
        let sent = if body.is_empty() { Value::Null } else { call.decode(body)?.value };
        Options::from(&call.query, &sent)
    }

    /// Nothing is to happen.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Merges the options in a query with those in a body.
    pub(crate) fn from(query: &Query, body: &Value) -> Result<Options, ApiError> {
        if !body.is_object() && !body.is_null() {
            return Err(ApiError::bad_request("the body of a delete request is not a DeleteOptions object"));
        }
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).filter(|it| !it.is_empty());
        let bad = |what: String| ApiError::bad_request(format!("DeleteOptions: {what}"));
        let mut dry_run = query.dry_run;
        for value in meta::list(body.get("dryRun")) {
            dry_run |= query::dry_run(value.as_str().unwrap_or("?")).map_err(bad)?;
        }
        let grace_seconds = match body.get("gracePeriodSeconds").filter(|it| !it.is_null()) {
            Some(value) => Some(value.as_i64().ok_or_else(|| bad("gracePeriodSeconds is not an integer".to_owned()))?),
            None => query.grace_period_seconds,
        };
        let orphan = body.get("orphanDependents").and_then(Value::as_bool).or(query.orphan_dependents);
        let policy = text("/propagationPolicy").or(query.propagation_policy.as_deref());
        let propagation = match (policy, orphan) {
            (Some(_), Some(_)) => {
                return Err(bad("propagationPolicy and orphanDependents exclude each other".to_owned()));
            }
            (Some("Background"), _) => Some(Propagation::Background),
            (Some("Foreground"), _) => Some(Propagation::Foreground),
            (Some("Orphan"), _) => Some(Propagation::Orphan),
            (Some(other), _) => {
                return Err(bad(format!("propagationPolicy {other:?} is not one of Background, Foreground, Orphan")));
            }
            (None, Some(true)) => Some(Propagation::Orphan),
            (None, Some(false)) => Some(Propagation::Background),
            (None, None) => None,
        };
        let (uid, resource_version) = (text("/preconditions/uid"), text("/preconditions/resourceVersion"));
        let owned = |it: Option<&str>| it.map(str::to_owned);
        Ok(Options { grace_seconds, uid: owned(uid), resource_version: owned(resource_version), propagation, dry_run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, plural: &str) -> Arc<Kind> {
        eyot_model::kinds::builtin().by_plural(group, "v1", plural).unwrap().clone()
    }

    fn planned(kind: &Kind, object: &Value, options: Value) -> Plan {
        let options = Options::from(&Query::default(), &options).unwrap();
        plan(kind, object, &options, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn pods_get_grace_only_where_they_run() {
        let pods = kind("", "pods");
        let waiting = json!({"kind": "Pod", "metadata": {}, "spec": {}});
        assert_eq!(planned(&pods, &waiting, Value::Null), Plan::Remove);
        let running = json!({"kind": "Pod", "metadata": {}, "spec": {"nodeName": "n"}});
        let Plan::Mark(marked) = planned(&pods, &running, Value::Null) else { panic!("must wait") };
        assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
        assert_eq!(marked["metadata"]["deletionTimestamp"], "1970-01-01T00:00:30Z");
        assert_eq!(planned(&pods, &running, json!({"gracePeriodSeconds": 0})), Plan::Remove);
        assert_eq!(planned(&pods, &marked, Value::Null), Plan::Wait);
        assert_eq!(planned(&pods, &marked, json!({"gracePeriodSeconds": 60})), Plan::Wait);
        let done = json!({"kind": "Pod", "metadata": {}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
        assert_eq!(planned(&pods, &done, Value::Null), Plan::Remove);
    }

    #[test]
    fn propagation_becomes_finalizers() {
        let jobs = kind("batch", "jobs");
        let maps = kind("", "configmaps");
        let object = json!({"metadata": {"finalizers": ["a/b"]}});
        let finalizers = |plan: Plan| match plan {
            Plan::Mark(it) => it["metadata"]["finalizers"].clone(),
            _ => Value::Null,
        };
        assert_eq!(
            finalizers(planned(&maps, &object, json!({"propagationPolicy": "Orphan"}))),
            json!(["a/b", "orphan"])
        );
        assert_eq!(finalizers(planned(&jobs, &object, Value::Null)), json!(["a/b", "orphan"]));
        assert_eq!(finalizers(planned(&maps, &object, Value::Null)), json!(["a/b"]));
        let foreground = json!({"propagationPolicy": "Foreground"});
        assert_eq!(finalizers(planned(&maps, &json!({"metadata": {}}), foreground)), json!(["foregroundDeletion"]));
        let background = json!({"propagationPolicy": "Background"});
        assert_eq!(planned(&jobs, &json!({"metadata": {}}), background), Plan::Remove);
    }

    #[test]
    fn contradictory_options_are_refused() {
        for bad in [
            json!({"propagationPolicy": "Sometimes"}),
            json!({"propagationPolicy": "Orphan", "orphanDependents": true}),
            json!({"dryRun": ["Some"]}),
            json!({"gracePeriodSeconds": "x"}),
            json!([]),
        ] {
            assert_eq!(Options::from(&Query::default(), &bad).unwrap_err().code, 400, "{bad}");
        }
    }
}
