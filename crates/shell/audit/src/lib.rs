//! What policies do without a request: reports about stored objects, objects that they generate, change or delete.
//!
//! Entry points: [`run`] for Kyverno's policies, their events and the label of when an object goes, and [`Violations`] for
//! Gatekeeper's constraints. For the first everything is watched, nothing polled: policies tell which kinds matter, and only
//! those are watched. A change of a policy starts anew with the kinds that matter then, which lists all of their objects
//! once. The second lists in chunks, at an interval.
//!
//! Objects and reports are read and written through a [`kube::Client`]; what a policy looks up beside its object comes
//! through [`Look`]. Deliberately absent: any policy's meaning, which is the engines' business.

mod events;
mod generate;
mod pages;
mod plan;
mod report;
mod seen;
mod sweep;
mod ttl;
mod violations;
mod work;

use std::{sync::Arc, time::Duration};

use eyot_kyverno::Kyverno;
use eyot_policy::Look;
use kube::{Client, api::DynamicObject};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use violations::{Config, Violations};

use sweep::Sweeper;
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
    let (tell, mut changes) = watch::channel(());
    let (recorder, writer) = events::recorder(client.clone(), kyverno.settings().events.clone());
    let sweeper = Sweeper::new(client.clone(), kyverno.clone(), look.clone(), recorder.clone()).run(tell.subscribe());
    let listener = recorder.clone();
    kyverno.on_note(move |note| listener.tell(note));
    kyverno.on_change(move || tell.send_replace(()));
    let work = async {
        let mut worker = Worker::new(client.clone(), kyverno.clone(), look.clone(), recorder);
        loop {
            // What comes after this is not in the plan.
            changes.mark_unchanged();
            let plan = plan::Plan::of(&kyverno, &*look, worker.learned());
            tokio::select! {
                () = worker.follow(&plan) => {}
                _ = changes.changed() => {}
            }
            worker.leave();
            tokio::time::sleep(SETTLE).await;
        }
    };
    let reaper = ttl::run(client.clone(), look.clone());
    tokio::select! {
        () = stop.cancelled() => {}
        () = reaper => {}
        () = sweeper => {}
        () = writer => {}
        () = work => {}
    }
}
