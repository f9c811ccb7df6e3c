//! Guests that answer for revisions at zero, before they have a pod.
//!
//! A `wasi:http` guest has an instance for each request and no process, so what a revision needs to answer is its code and
//! what its pods are given. Both are made ready here from the revision's Deployment: its template goes through admission as
//! a pod that is not kept ([`rehearse`]), what comes back is held to what this node can do without a pod ([`fit`]), resolved
//! and loaded ([`make`]). The gateway asks for it through [`eyot_dispatch::Early`]; the pod that follows takes over what was
//! printed ([`Voice`]).
//!
//! Start at [`run`] and [`Instances`]. What is ready is forgotten when anything changes that it was made of: the template, a
//! ConfigMap or Secret, the image, the node's taints. It is bounded, and costs nothing but its memory.
//!
//! Deliberately absent: commands, and guests whose environment or volumes depend on the pod they are in.

mod fit;
mod follow;
mod make;
mod rehearse;
mod table;
mod voice;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use eyot_dispatch::{Early, Handler};
use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::api::core::v1::Pod;

pub(crate) use table::Table;

use crate::{
    logs::Log,
    pod::{Owner, Shared},
};

/// Labels of what is made for a revision: its name, and its uid.
const REVISION: &str = "serving.knative.dev/revision";
const REVISION_UID: &str = "serving.knative.dev/revisionUID";
/// Between two revisions that are made ready before anybody asks: whoever asks for something goes first.
const AHEAD_PAUSE: Duration = Duration::from_millis(2);

/// A revision as the gateway names it.
fn key(namespace: &str, name: &str, uid: &str) -> Arc<str> {
    format!("{namespace}/{name}/{uid}").into()
}

/// Follows what the ready guests are made of, and makes some ready before anybody asks, until the node stops.
pub(crate) async fn run(shared: &Arc<Shared>) {
    tokio::join!(follow::deployments(shared), follow::node(shared), ahead(shared));
}

async fn ahead(shared: &Arc<Shared>) {
    loop {
        let key = shared.early.next_ahead().await;
        shared.early.clone().prepare(shared, &key).await;
        tokio::time::sleep(AHEAD_PAUSE).await;
    }
}

/// The revisions that this node answers for.
pub(crate) struct Instances(Weak<Shared>);

impl Instances {
    /// Those of a node, as long as that is there.
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Instances(Arc::downgrade(shared))
    }
}

impl Early for Instances {
    fn ready(&self, revision: &str) -> Option<Arc<dyn Handler>> {
        self.0.upgrade().filter(|it| !it.token.is_cancelled())?.early.ready(revision)
    }

    fn prepare(self: Arc<Self>, revision: &str) -> BoxFuture<'static, Option<Arc<dyn Handler>>> {
        match self.0.upgrade() {
            Some(shared) => shared.early.clone().prepare(&shared, revision),
            None => std::future::ready(None).boxed(),
        }
    }

    fn doubt(&self, revision: &str) {
        if let Some(shared) = self.0.upgrade() {
            shared.early.doubt(revision);
        }
    }
}

/// A pod starts a container that prints to `log`: where it is an instance of a revision, what was printed for that before
/// goes there first.
pub(crate) fn adopt(owner: &Arc<Owner>, pod: &Pod, log: &Arc<Log>) {
    let label = |name: &str| pod.metadata.labels.as_ref().and_then(|it| it.get(name));
    let (Some(name), Some(uid)) = (label(REVISION), label(REVISION_UID)) else { return };
    if let Some(voice) = owner.shared().early.voice(&key(&owner.key.namespace, name, uid)) {
        voice.adopt(owner, log);
    }
}
