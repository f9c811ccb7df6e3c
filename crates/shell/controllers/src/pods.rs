//! Creates and deletes a controller's pods, many at once, each announced to [`Expectations`] first.
//!
//! Entry points: [`Pods::create`], [`Pods::delete`].

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::{
    api::{Api, ApiError, DeleteOptions, PODS, Resource, Target},
    bounded::bounded,
    expect::Expectations,
    names,
    view::{Meta, OwnerReference, pod::PodView},
};

/// Requests of one pass that may be under way. More would only wait in the server: it commits writes in groups.
const IN_FLIGHT_MAX: usize = 64;
/// Names tried for a pod whose name is left to chance, as many as API servers try: among a hundred thousand pods of one owner
/// every hundredth finds its first one taken.
const NAMES_MAX: usize = 8;

/// The pods of one controller object.
pub(crate) struct Pods<'a> {
    pub(crate) api: &'a Api,
    pub(crate) expectations: &'a Expectations,
    pub(crate) resource: &'a Resource,
    pub(crate) owner: &'a Meta,
}

/// One pod to create: everything but its name.
pub(crate) struct Blueprint {
    base: String,
    /// The pod's name; made of `base` when there is none.
    name: Option<String>,
    /// JSON before and after the name.
    head: String,
    tail: String,
    index: Option<i32>,
}

impl Blueprint {
    /// The same with a name that is settled.
    pub(crate) fn named(self, name: String) -> Self {
        Self { name: Some(name), ..self }
    }
}

/// How far a batch came.
#[derive(Default)]
pub(crate) struct Batch {
    /// Names that were created or deleted.
    pub(crate) done: Vec<String>,
    /// The first failure.
    pub(crate) failed: Option<ApiError>,
}

impl Batch {
    /// True while all went well.
    fn take(&mut self, outcome: Result<String, ApiError>) -> bool {
        match outcome {
            Ok(name) => self.done.push(name),
            Err(error) if self.failed.is_none() => self.failed = Some(error),
            Err(_) => {}
        }
        self.failed.is_none()
    }
}

impl Pods<'_> {
    pub(crate) fn owner_reference(&self) -> OwnerReference {
        OwnerReference::controller(self.resource, self.owner)
    }

    /// Makes a pod of a template, owned by this controller; `adjust` may change its metadata and spec.
    pub(crate) fn blueprint(
        &self,
        template: &Value,
        base: String,
        index: Option<i32>,
        adjust: impl FnOnce(&mut Map<String, Value>, &mut Value),
    ) -> Blueprint {
        let mut meta = Map::new();
        for field in ["labels", "annotations", "finalizers"] {
            if let Some(value) = template["metadata"].get(field).filter(|it| !it.is_null()) {
                meta.insert(field.to_owned(), value.clone());
            }
        }
        meta.insert("generateName".into(), base.as_str().into());
        meta.insert("namespace".into(), (*self.owner.namespace).into());
        meta.insert("ownerReferences".into(), json!([self.owner_reference().to_json()]));
        let mut spec = template["spec"].clone();
        adjust(&mut meta, &mut spec);
        let meta = Value::Object(meta).to_string();
        // The metadata is never empty, so what follows the opening brace can follow a name.
        let rest = &meta[1..];
        Blueprint {
            base,
            name: None,
            head: r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":""#.to_owned(),
            tail: format!(r#"",{rest},"spec":{spec}}}"#),
            index,
        }
    }

    /// Creates pods: one, then two, then four at a time and so on, so that a refusal is met early. Where so many like them were
    /// made already that a refusal would surprise, that many at a time from the beginning.
    pub(crate) async fn create(&self, blueprints: &[Arc<Blueprint>], proven: usize) -> Batch {
        let mut batch = Batch::default();
        let (mut next, mut width) = (0, proven.clamp(1, IN_FLIGHT_MAX));
        while next < blueprints.len() && batch.failed.is_none() {
            // Once at full width nothing waits for the slowest of a round any more.
            let end = if width >= IN_FLIGHT_MAX { blueprints.len() } else { (next + width).min(blueprints.len()) };
            let round = blueprints[next..end].iter().map(|it| self.create_one(it)).collect();
            bounded(width, round, |made| batch.take(made)).await;
            (next, width) = (end, (width * 2).min(IN_FLIGHT_MAX));
        }
        batch
    }

    async fn create_one(&self, blueprint: &Blueprint) -> Result<String, ApiError> {
        for _ in 1..NAMES_MAX {
            match self.try_one(blueprint).await {
                Err(error) if error.exists() && blueprint.name.is_none() => {}
                outcome => return outcome,
            }
        }
        self.try_one(blueprint).await
    }

    async fn try_one(&self, blueprint: &Blueprint) -> Result<String, ApiError> {
        let name = blueprint.name.clone().unwrap_or_else(|| names::pod(&blueprint.base));
        let wish = Wish { pods: self, name, index: blueprint.index };
        self.expectations.creating(&self.owner.uid, &wish.name, wish.index);
        let body = [&blueprint.head, wish.name.as_str(), &blueprint.tail].concat().into_bytes();
        match self.api.create(Target::collection(&PODS, &self.owner.namespace), body).await {
            Err(error) if error.exists() && blueprint.name.is_some() => {
                let target = Target::object(&PODS, &self.owner.namespace, &wish.name);
                let present: PodView = self.api.get(target, "").await?;
                // Ours, but the cache did not know it yet: the watch will bring it.
                let ours = present.meta.controller().is_some_and(|it| it.uid == self.owner.uid);
                if ours { Ok(wish.name.clone()) } else { Err(error) }
            }
            Err(error) => Err(error),
            Ok(_) => Ok(wish.keep()),
        }
    }

    /// Deletes pods; the finalizer `release` is taken off first.
    pub(crate) async fn delete(&self, pods: &[Arc<PodView>], release: Option<&str>) -> Batch {
        let mut batch = Batch::default();
        let all = pods.iter().map(|it| self.delete_one(it, release)).collect();
        bounded(IN_FLIGHT_MAX, all, |deleted| {
            batch.take(deleted);
            true
        })
        .await;
        batch
    }

    async fn delete_one(&self, pod: &PodView, release: Option<&str>) -> Result<String, ApiError> {
        let target = Target::object(&PODS, &pod.meta.namespace, &pod.meta.name);
        if let Some(finalizer) = release {
            remove_finalizer(self.api, &PODS, &pod.meta, finalizer).await?;
        }
        self.expectations.deleting(&self.owner.uid, &pod.meta.uid);
        let options = DeleteOptions { uid: Some(&pod.meta.uid), ..DeleteOptions::default() };
        let deleted = self.api.delete(target, options).await;
        if deleted.is_err() {
            self.expectations.deleted(&self.owner.uid, &pod.meta.uid);
        }
        deleted.map(|()| pod.meta.name.to_string())
    }
}

/// An announced pod. Should its request fail or be dropped, the announcement is taken back; should the pod have been
/// made all the same, the watch will show it.
struct Wish<'a> {
    pods: &'a Pods<'a>,
    name: String,
    index: Option<i32>,
}

impl Wish<'_> {
    fn keep(mut self) -> String {
        std::mem::take(&mut self.name)
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            self.pods.expectations.created(&self.pods.owner.uid, &self.name);
        }
    }
}

/// Takes a finalizer off, if the object still is as last seen.
pub(crate) async fn remove_finalizer(
    api: &Api,
    resource: &Resource,
    meta: &Meta,
    finalizer: &str,
) -> Result<(), ApiError> {
    let left: Vec<&str> = meta.finalizers.iter().map(|it| &**it).filter(|it| *it != finalizer).collect();
    if left.len() == meta.finalizers.len() {
        return Ok(());
    }
    let left = if left.is_empty() { Value::Null } else { json!(left) };
    let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version, "finalizers": left}});
    match api.merge::<IgnoredAny>(Target::object(resource, &meta.namespace, &meta.name), &patch).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Replaces the owners of an object, if it still is as last seen.
pub(crate) async fn set_owners(
    api: &Api,
    resource: &Resource,
    meta: &Meta,
    owners: &[OwnerReference],
) -> Result<(), ApiError> {
    let owners: Vec<Value> = owners.iter().map(OwnerReference::to_json).collect();
    let patch = json!({"metadata": {
        "uid": meta.uid, "resourceVersion": meta.resource_version, "ownerReferences": owners,
    }});
    match api.merge::<IgnoredAny>(Target::object(resource, &meta.namespace, &meta.name), &patch).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}
