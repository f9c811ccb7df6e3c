//! What StatefulSets and DaemonSets share: a pass over a workload that keeps the templates it has had.
//!
//! Entry point: [`Versioned::of`]. What pods there are, what history there is, what is told and how status is written is
//! the same for both; what is done about it is their own.

use std::{collections::HashSet, sync::Arc};

use eyot_plan::selector::Selector;
use serde_json::{Value, json};

use crate::{
    api::{ApiError, PODS, Resource, Target},
    claim::Claim,
    context::{Context, Stores},
    events::{Recorder, Severity},
    expect::Snapshot,
    history::History,
    pods::{Batch, Pods},
    store::Store,
    view::{LabelSelector, Meta, View, pod::PodView},
};

/// Pods named one by one in events of a pass.
const NAMED_MAX: usize = 10;

/// A workload that keeps its templates.
pub(crate) trait Workload: View {
    fn resource() -> &'static Resource;
    /// Its controller's name in events.
    const CONTROLLER: &'static str;
    /// Label of revisions that gets the hash of the template.
    const HASH_LABEL: &'static str;
    fn store(stores: &Stores) -> &Arc<Store<Self>>;
    /// What it says of its pods.
    fn asks(&self) -> Asks<'_>;
    /// Whether a pod that its selector matches can be one of its own.
    fn member(set: &Meta, pod: &Meta) -> bool;
}

/// What a workload says of its pods.
pub(crate) struct Asks<'a> {
    pub(crate) selector: &'a LabelSelector,
    pub(crate) template: &'a Value,
    /// How often the name of a revision was taken by a stranger.
    pub(crate) collisions: Option<i32>,
}

/// One workload in one pass.
pub(crate) struct Versioned<'a, W> {
    pub(crate) context: &'a Context,
    pub(crate) set: &'a W,
    pub(crate) owner: Pods<'a>,
    selector: Selector,
    recorder: Recorder,
}

impl<'a, W: Workload> Versioned<'a, W> {
    pub(crate) fn of(context: &'a Context, set: &'a W) -> Self {
        Versioned {
            selector: set.asks().selector.compile(),
            recorder: context.recorder.of(W::CONTROLLER),
            owner: Pods {
                api: &context.api,
                expectations: &context.expectations,
                resource: W::resource(),
                owner: set.meta(),
            },
            context,
            set,
        }
    }

    /// Its pods; those that match and nobody controls are adopted, those that no longer match are let go.
    pub(crate) async fn pods(&self) -> Result<Vec<Arc<PodView>>, ApiError> {
        let claim = Claim {
            api: &self.context.api,
            store: &self.context.stores.pods,
            resource: &PODS,
            owner: self.set.meta(),
            kind: W::resource(),
            selector: &self.selector,
            member: W::member,
        };
        claim.settle().await
    }

    /// The templates it has had.
    pub(crate) fn history(&self) -> History<'_> {
        let asks = self.set.asks();
        History {
            context: self.context,
            owner: self.set.meta(),
            selector: &self.selector,
            template: asks.template,
            label: W::HASH_LABEL,
            collisions: asks.collisions,
            kind: W::resource(),
        }
    }

    /// Indexes of pods that were asked for and have not shown up yet.
    pub(crate) fn creating(&self, pods: &[Arc<PodView>], wishes: &Snapshot) -> Vec<i32> {
        let known: HashSet<&str> = pods.iter().map(|it| &*it.meta.name).collect();
        wishes.creates.iter().filter(|it| !known.contains(it.0.as_str())).filter_map(|it| *it.1).collect()
    }

    /// Tells what became of pods: `well` says it of one, `badly` of an error.
    pub(crate) fn tell(
        &self,
        batch: &Batch,
        reasons: [&'static str; 2],
        well: impl Fn(&str) -> String,
        badly: impl Fn(&str) -> String,
    ) {
        for pod in batch.done.iter().take(NAMED_MAX) {
            self.record(Severity::Normal, reasons[0], well(pod));
        }
        if let Some(error) = &batch.failed {
            self.record(Severity::Warning, reasons[1], badly(&error.message()));
        }
    }

    pub(crate) fn record(&self, severity: Severity, reason: &'static str, message: String) {
        self.recorder.record(W::resource(), self.set.meta(), severity, reason, message);
    }

    /// Writes the fields of the status that this controller has a say in.
    pub(crate) async fn write_status(&self, status: Value) -> Result<(), ApiError> {
        let meta = self.set.meta();
        let target = Target::object(W::resource(), &meta.namespace, &meta.name).sub("status");
        match self.context.api.merge::<W>(target, &json!({"status": status})).await {
            Ok(written) => W::store(&self.context.stores).absorb(written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
