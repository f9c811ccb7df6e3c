//! Deletes what cleanup policies say, when they say it. Entry point: [`Sweeper::run`].
//!
//! Without a policy nothing waits for a time. A run that was missed while the server was down is made up for once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use eyot_kyverno::{Background, Cleanup, Kyverno};
use eyot_policy::Look;
use jiff::{Timestamp, tz::TimeZone};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{events::Recorder, generate, work::namespace_of};

/// How long to sleep at most: clocks are set.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// Objects that are in memory at once.
const CHUNK: u32 = 500;
/// Objects that one run of a policy deletes; the next run goes on.
const DELETED_MAX: usize = 10_000;

pub(crate) struct Sweeper {
    client: Client,
    kyverno: Arc<Kyverno>,
    look: Arc<dyn Look>,
    recorder: Recorder,
    /// When each policy ran last, or began to be.
    ran: HashMap<String, Timestamp>,
}

impl Sweeper {
    pub(crate) fn new(client: Client, kyverno: Arc<Kyverno>, look: Arc<dyn Look>, recorder: Recorder) -> Sweeper {
        Sweeper { client, kyverno, look, recorder, ran: HashMap::new() }
    }

    /// Works until it is dropped.
    pub(crate) async fn run(mut self, mut changes: watch::Receiver<()>) {
        loop {
            let policies: Vec<Arc<Cleanup>> = self.kyverno.background().cleanups().cloned().collect();
            self.ran.retain(|key, _| policies.iter().any(|it| it.key() == *key));
            let due: Vec<(Timestamp, Arc<Cleanup>)> = policies
                .into_iter()
                .filter_map(|it| {
                    let last = *self.ran.entry(it.key()).or_insert_with(|| last_run(&it, &*self.look));
                    Some((it.schedule.next(last, &TimeZone::UTC)?, it))
                })
                .collect();
            let Some(next) = due.iter().map(|it| it.0).min() else {
                if changes.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let now = Timestamp::now();
            let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default().min(SLEEP_MAX);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {
                    let now = Timestamp::now();
                    for (_, policy) in due.into_iter().filter(|it| it.0 <= now) {
                        if self.is_in_force(&policy) {
                            self.sweep(&policy, now).await;
                        }
                    }
                }
            }
        }
    }

    /// Whether a policy is still there as it was when its run began.
    fn is_in_force(&self, policy: &Cleanup) -> bool {
        self.kyverno.background().cleanups().any(|it| std::ptr::eq(&**it, policy))
    }

    /// Runs one policy.
    async fn sweep(&mut self, policy: &Cleanup, now: Timestamp) {
        self.ran.insert(policy.key(), now);
        let mut kinds: Vec<(ApiResource, bool)> = Vec::new();
        self.look.look(&mut |data| {
            let table = data.kinds();
            for kind in table.iter() {
                let preferred = table.preferred(&kind.group, &kind.kind).is_some_and(|it| it.version == kind.version);
                let can = kind.allows("list") && kind.allows("delete");
                if preferred && can && Background::may_clean_up(policy, kind) {
                    let named = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
                    kinds.push((ApiResource::from_gvk_with_plural(&named, &kind.plural), kind.namespaced));
                }
            }
        });
        let mut deleted = 0;
        for (kind, _) in &kinds {
            match self.sweep_kind(policy, kind, now, DELETED_MAX - deleted).await {
                Ok(count) => deleted += count,
                Err(error) => {
                    tracing::warn!(error, policy = policy.key(), kind = kind.kind, "cleaning up");
                }
            }
        }
        tracing::debug!(policy = policy.key(), deleted, "cleaned up");
        self.note(policy, now).await;
    }

    /// Deletes up to `room` objects of one kind, and tells how many it were.
    async fn sweep_kind(
        &self,
        policy: &Cleanup,
        kind: &ApiResource,
        now: Timestamp,
        room: usize,
    ) -> Result<usize, String> {
        let api = generate::api(&self.client, kind, &policy.namespace);
        let (mut token, mut deleted): (Option<String>, usize) = (None, 0);
        loop {
            let page = ListParams { limit: Some(CHUNK), continue_token: token, ..ListParams::default() };
            let list = api.list(&page).await.map_err(|it| it.to_string())?;
            for object in &list.items {
                if !self.is_in_force(policy) {
                    return Ok(deleted);
                }
                if deleted < room && self.goes(policy, kind, object, now) {
                    let done = self.delete(policy, kind, object).await;
                    self.tell(policy, kind, object, done.as_ref().err().map(String::as_str));
                    match done {
                        Ok(()) => deleted += 1,
                        // One that is protected does not protect the others.
                        Err(error) => tracing::warn!(error, policy = policy.key(), kind = kind.kind, "cleaning up"),
                    }
                }
            }
            token = list.metadata.continue_.filter(|it| !it.is_empty());
            if token.is_none() || deleted >= room {
                return Ok(deleted);
            }
        }
    }

    /// Tells that an object was deleted, or why it was not.
    fn tell(&self, policy: &Cleanup, kind: &ApiResource, object: &DynamicObject, why: Option<&str>) {
        let metadata = &object.metadata;
        let object = json!({
            "apiVersion": kind.api_version, "kind": kind.kind,
            "metadata": {"namespace": metadata.namespace, "name": metadata.name, "uid": metadata.uid},
        });
        self.recorder.tell_all(Background::cleaned_up(policy, &object, why));
    }

    /// Whether an object is to go.
    fn goes(&self, policy: &Cleanup, kind: &ApiResource, object: &DynamicObject, now: Timestamp) -> bool {
        let Ok(mut object) = serde_json::to_value(object) else { return false };
        // Lists leave out what all their elements have in common.
        object["apiVersion"] = kind.api_version.clone().into();
        object["kind"] = kind.kind.clone().into();
        if object["metadata"]["deletionTimestamp"].is_string() {
            return false;
        }
        let background = self.kyverno.background();
        let mut found = Ok(false);
        self.look.look(&mut |data| {
            let namespace = namespace_of(&object, data).unwrap_or_default();
            found = background.cleans_up(policy, &object, &namespace, now, data);
        });
        found.unwrap_or_else(|error| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            tracing::warn!(error, policy = policy.key(), kind = kind.kind, name, "cannot tell whether to clean up");
            false
        })
    }

    async fn delete(&self, policy: &Cleanup, kind: &ApiResource, object: &DynamicObject) -> Result<(), String> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let propagation_policy = policy.propagation.as_deref().map(|it| match it {
            "Foreground" => PropagationPolicy::Foreground,
            "Orphan" => PropagationPolicy::Orphan,
            _ => PropagationPolicy::Background,
        });
        // Another object of that name was not looked at, nor was another version of this one.
        let preconditions = Some(Preconditions {
            uid: object.metadata.uid.clone(),
            resource_version: object.metadata.resource_version.clone(),
        });
        let how = DeleteParams { propagation_policy, preconditions, ..DeleteParams::default() };
        match generate::api(&self.client, kind, namespace).delete(name, &how).await {
            Ok(_) => {
                tracing::info!(policy = policy.key(), kind = kind.kind, namespace, name, "cleaned up");
                Ok(())
            }
            Err(kube::Error::Api(it)) if it.code == 404 || it.code == 409 => Ok(()),
            Err(why) => Err(format!("{namespace}/{name}: {why}")),
        }
    }

    /// Writes into a policy's status when it ran.
    async fn note(&self, policy: &Cleanup, now: Timestamp) {
        let (group, version) = policy.api_version();
        let named = GroupVersionKind::gvk(group, version, &policy.kind);
        let plural = policy.kind.to_lowercase().replacen("policy", "policies", 1);
        let resource = ApiResource::from_gvk_with_plural(&named, &plural);
        let api: Api<DynamicObject> = generate::api(&self.client, &resource, &policy.namespace);
        let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let status = Patch::Merge(json!({ "status": { "lastExecutionTime": time } }));
        match api.patch_status(&policy.name, &PatchParams::default(), &status).await {
            Ok(_) => {}
            Err(kube::Error::Api(it)) if it.code == 404 => {}
            Err(error) => tracing::warn!(%error, policy = policy.key(), "writing the status of a cleanup policy"),
        }
    }
}

/// When a policy ran last, as its status says, or when it came to be.
fn last_run(policy: &Cleanup, look: &dyn Look) -> Timestamp {
    let mut found = None;
    look.look(&mut |data| {
        let (group, version) = policy.api_version();
        let kind = (group, version, policy.kind.as_str());
        let stored = data.get(kind, &policy.namespace, &policy.name).ok().flatten();
        let time = |it: &Value| it.as_str().and_then(|it| it.parse::<Timestamp>().ok());
        found = stored.and_then(|it| {
            time(&it["status"]["lastExecutionTime"]).or_else(|| time(&it["metadata"]["creationTimestamp"]))
        });
    });
    found.unwrap_or_else(Timestamp::now)
}
