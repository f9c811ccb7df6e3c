//! What policies do without a request: reports about stored objects, objects that they generate, objects that they
//! change.
//!
//! Entry points: [`run`] for Kyverno's policies, and [`Violations`] for Gatekeeper's constraints. For the first everything is
//! watched, nothing polled: policies tell which kinds matter, and only those are watched. A change of a policy starts anew
//! with the kinds that matter then, which lists all of their objects once. The second lists in chunks, at an interval.
//!
//! Objects and reports are read and written through a [`kube::Client`]; what a policy looks up beside its object comes
//! through [`Look`]. Deliberately absent: any policy's meaning, which is the engines' business.

mod generate;
mod pages;
mod plan;
mod report;
mod violations;
mod work;

use std::{sync::Arc, time::Duration};

use eyot_kyverno::Kyverno;
use eyot_policy::Look;
use futures::StreamExt;
use kube::{
    Api, Client,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use violations::{Config, Violations};

use work::Worker;

/// After a policy changed, how long to wait for more of the kind: `kubectl apply` of a directory is one change.
const SETTLE: Duration = Duration::from_millis(200);
/// Events that wait for the worker. Watches wait when it is full.
const EVENTS_MAX: usize = 64;

/// What happened to a watched object.
#[derive(Debug)]
enum Event {
    /// It was there when the watch began.
    Found(Arc<plan::Kind>, Box<DynamicObject>),
    /// It came to be or changed.
    Changed(Arc<plan::Kind>, Box<DynamicObject>),
    /// It is gone.
    Gone(Arc<plan::Kind>, Box<DynamicObject>),
}

/// Works until it is told to stop.
pub async fn run(client: Client, kyverno: Arc<Kyverno>, look: Arc<dyn Look>, stop: CancellationToken) {
    let (changed, mut changes) = mpsc::channel(1);
    let policies = watch_policies(client.clone(), changed);
    let work = async {
        let mut worker = Worker::new(client.clone(), kyverno.clone(), look.clone());
        loop {
            let plan = plan::Plan::of(&kyverno, &*look);
            tokio::select! {
                () = worker.follow(&plan) => {}
                _ = changes.recv() => {}
            }
            tokio::time::sleep(SETTLE).await;
            while changes.try_recv().is_ok() {}
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = policies => {}
        () = work => {}
    }
}

/// Says when a policy, or something that policies name, has changed.
async fn watch_policies(client: Client, changed: mpsc::Sender<()>) {
    let watch = |kind: &'static str, plural: &'static str, version: &'static str| {
        let kind = GroupVersionKind::gvk("kyverno.io", version, kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural));
        let changed = changed.clone();
        async move {
            let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
            events
                .for_each(|event| {
                    // What was there at the start is in force already; its list ends with `InitDone`.
                    if matches!(
                        event,
                        Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_) | watcher::Event::InitDone)
                    ) {
                        let _ = changed.try_send(());
                    }
                    std::future::ready(())
                })
                .await;
        }
    };
    tokio::join!(
        watch("ClusterPolicy", "clusterpolicies", "v1"),
        watch("Policy", "policies", "v1"),
        watch("PolicyException", "policyexceptions", "v2"),
        watch("GlobalContextEntry", "globalcontextentries", "v2alpha1"),
    );
}
