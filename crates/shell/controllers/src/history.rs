//! Keeps the templates that a StatefulSet or DaemonSet has had, as ControllerRevisions.
//!
//! Entry points: [`History::settle`] finds or makes the revision of the present template, [`History::trim`] forgets old
//! ones. A revision's data is a patch of the workload, since `kubectl rollout undo` applies it as one.

use std::sync::Arc;

use eyot_plan::{
    revision::{self as plan, Revision, Update},
    selector::Selector,
    template,
};
use serde_json::{Map, Value, json};

use crate::{
    api::{ApiError, CONTROLLER_REVISIONS, DeleteOptions, Resource, Target},
    claim::{self, Claim},
    context::Context,
    view::{Meta, OwnerReference, View, apps, apps::RevisionView},
};

/// Label of pods that names their revision.
pub(crate) const HASH: &str = "controller-revision-hash";
/// Names tried before the pass is given up; a stranger has to own each of them.
const ATTEMPTS_MAX: usize = 8;

/// The revisions of one workload.
pub(crate) struct History<'a> {
    pub(crate) context: &'a Context,
    pub(crate) owner: &'a Meta,
    pub(crate) selector: &'a Selector,
    pub(crate) template: &'a Value,
    /// The label that gets the hash.
    pub(crate) label: &'static str,
    /// How often a name was taken by a stranger.
    pub(crate) collisions: Option<i32>,
    /// Resource of the owner.
    pub(crate) kind: &'a Resource,
}

/// What there is.
pub(crate) struct Settled {
    /// The revision of the present template.
    pub(crate) update: Arc<RevisionView>,
    /// All revisions, that one included.
    pub(crate) all: Vec<Arc<RevisionView>>,
    pub(crate) collisions: Option<i32>,
}

impl History<'_> {
    pub(crate) async fn settle(&self) -> Result<Settled, ApiError> {
        let claim = Claim {
            api: &self.context.api,
            store: &self.context.stores.revisions,
            resource: &CONTROLLER_REVISIONS,
            owner: self.owner,
            kind: self.kind,
            selector: self.selector,
            member: claim::anything,
        };
        let mut all = claim.settle().await?;
        let mut collisions = self.collisions;
        let rows: Vec<Revision<'_>> = all.iter().map(|it| self.row(it)).collect();
        let update = match plan::update(&rows) {
            Update::Present(index) => all[index].clone(),
            Update::Renumber { index, number } => {
                let renumbered = self.renumber(&all[index].meta, number).await?;
                all[index] = renumbered.clone();
                renumbered
            }
            Update::Create { number } => {
                let created = self.create(number, &mut collisions).await?;
                all.push(created.clone());
                created
            }
        };
        Ok(Settled { update, all, collisions })
    }

    fn row<'a>(&self, it: &'a RevisionView) -> Revision<'a> {
        let equal = template::same(&it.template(), self.template);
        Revision { name: &it.meta.name, number: it.revision, equal }
    }

    async fn renumber(&self, meta: &Meta, number: i64) -> Result<Arc<RevisionView>, ApiError> {
        let patch = json!({"metadata": {"resourceVersion": meta.resource_version}, "revision": number});
        let target = Target::object(&CONTROLLER_REVISIONS, &meta.namespace, &meta.name);
        let written: RevisionView = self.context.api.merge(target, &patch).await?;
        self.context.stores.revisions.absorb(written.clone());
        Ok(Arc::new(written))
    }

    async fn create(&self, number: i64, collisions: &mut Option<i32>) -> Result<Arc<RevisionView>, ApiError> {
        let namespace = &self.owner.namespace;
        let mut attempt = 1;
        loop {
            let hash = template::hash(self.template, *collisions);
            let name = format!("{}-{hash}", self.owner.name);
            let body = self.manifest(&name, &hash, number).to_string().into_bytes();
            let target = Target::collection(&CONTROLLER_REVISIONS, namespace);
            let error = match self.context.api.create_as::<RevisionView>(target, body).await {
                Ok(created) => return Ok(Arc::new(created)),
                Err(error) => error,
            };
            if !error.exists() || attempt == ATTEMPTS_MAX {
                return Err(error);
            }
            let target = Target::object(&CONTROLLER_REVISIONS, namespace, &name);
            let present: RevisionView = self.context.api.get(target, "").await?;
            let ours = present.meta.controller().is_some_and(|it| it.uid == self.owner.uid);
            if ours && self.row(&present).equal {
                return Ok(Arc::new(present));
            }
            *collisions = Some(collisions.unwrap_or(0) + 1);
            attempt += 1;
        }
    }

    fn manifest(&self, name: &str, hash: &str, number: i64) -> Value {
        let mut labels: Map<String, Value> =
            apps::labels(self.template).into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        labels.insert(self.label.to_owned(), hash.into());
        let annotations: Map<String, Value> =
            self.owner.annotations.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        let mut template = self.template.clone();
        template["$patch"] = "replace".into();
        json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision",
            "metadata": {
                "name": name, "namespace": self.owner.namespace, "labels": labels, "annotations": annotations,
                "ownerReferences": [OwnerReference::controller(self.kind, self.owner).to_json()],
            },
            "data": {"spec": {"template": template}},
            "revision": number,
        })
    }

    /// Deletes the oldest revisions beyond `limit` that nothing in `live` names.
    pub(crate) async fn trim(
        &self,
        all: &[Arc<RevisionView>],
        limit: Option<i32>,
        live: impl Fn(&str) -> bool,
    ) -> Result<(), ApiError> {
        let rows: Vec<Revision<'_>> = all.iter().map(|it| self.row(it)).collect();
        for at in plan::surplus(&rows, limit.unwrap_or(10), live) {
            let meta = all[at].meta();
            let target = Target::object(&CONTROLLER_REVISIONS, &meta.namespace, &meta.name);
            let options = DeleteOptions { uid: Some(&meta.uid), ..DeleteOptions::default() };
            self.context.api.delete(target, options).await?;
        }
        Ok(())
    }
}
