//! Volumes that are made when a guest first looks for a directory: the token that every pod has unless it says otherwise.
//!
//! Start at [`mounts`]. A pod that is never asked anything, or never looks, has no token and no file. From then on the
//! volume is kept up to date like any other.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use eyot_instance::Moment;
use eyot_runtime::{LateMounts, Mount};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;

use super::{
    Owner, now,
    start::{self, Blocked},
};
use crate::{
    api, env, sources,
    volumes::{self, Part, Places},
};

/// How long a guest waits for an account or a ConfigMap that is about to be made, as in a new namespace.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between the first two tries; then twice as long each time.
const RETRY: Duration = Duration::from_millis(20);
/// Guests that come so soon after a failure do not wait again.
const PAUSE: Duration = Duration::from_secs(10);

/// Makes the volumes that come late, for one container.
struct Late {
    owner: Weak<Owner>,
    container: Box<str>,
    /// Not before this moment.
    again: Mutex<Moment>,
}

/// What makes the late volumes that `container` mounts, if it mounts any.
pub(super) fn mounts(owner: &Arc<Owner>, pod: &Pod, container: &Container) -> Option<Arc<dyn LateMounts>> {
    mounts_late(pod, container).then(|| late_mounts(owner, &container.name))
}

/// Whether `container` mounts any of them.
pub(crate) fn mounts_late(pod: &Pod, container: &Container) -> bool {
    let mut volumes = Part::Late.volumes(pod);
    volumes.any(|volume| container.volume_mounts.iter().flatten().any(|it| it.name == volume.name))
}

/// What makes them for a container that mounts some.
pub(crate) fn late_mounts(owner: &Arc<Owner>, container: &str) -> Arc<dyn LateMounts> {
    Arc::new(Late { owner: Arc::downgrade(owner), container: container.into(), again: Mutex::new(Moment(0)) })
}

impl LateMounts for Late {
    fn mounts(self: Arc<Self>) -> BoxFuture<'static, Option<Vec<Mount>>> {
        Box::pin(async move {
            if now() < *self.again.lock() {
                return None;
            }
            let (owner, container) = (self.owner.upgrade()?, self.container.clone());
            // A task of the node's own: what it computes is not for the guest to pay.
            let handle = owner.shared.handle.clone();
            let task = handle.spawn(async move {
                let made = patiently(&owner, &container).await;
                made.map_err(|blocked| owner.warn(Some(&container), "FailedMount", blocked.message)).ok()
            });
            let made = task.await.ok().flatten();
            if made.is_none() {
                *self.again.lock() = now().plus(PAUSE);
            }
            made
        })
    }
}

async fn patiently(owner: &Arc<Owner>, container: &str) -> Result<Vec<Mount>, Blocked> {
    let pod = api::get::<Pod>(&owner.shared.client, &owner.key.path()).await.map_err(Blocked::config)?;
    let pod = Arc::new(pod.filter(|it| it.metadata.uid.as_deref() == Some(&*owner.key.uid)).ok_or_else(gone)?);
    let container = env::container_named(&pod, container).ok_or_else(gone)?.into_owned();
    let (began, mut wait) = (Instant::now(), RETRY);
    loop {
        match make(owner, &pod, &container).await {
            Err(_) if began.elapsed() + wait < PATIENCE => tokio::time::sleep(wait).await,
            ended => return ended,
        }
        wait *= 2;
    }
}

fn gone() -> Blocked {
    Blocked::config("the pod is gone")
}

async fn make(owner: &Arc<Owner>, pod: &Arc<Pod>, container: &Container) -> Result<Vec<Mount>, Blocked> {
    let (ip, kept) = {
        let machine = owner.machine.lock();
        (machine.ip.ok_or_else(|| Blocked::config("the pod has no address"))?, machine.kept())
    };
    let fetched = match kept {
        // Another container of the pod was first.
        Part::All => None,
        _ => Some(start::fetch(owner, pod, &sources::of_volumes(pod, Part::Late), Part::Late).await?),
    };
    let (writer, pod, container) = (owner.clone(), pod.clone(), container.clone());
    let shared = &owner.shared;
    let places = Places { pod: shared.pod_directory(&owner.key), ..Places::default() };
    let work = move || {
        let shared = &writer.shared;
        // Two containers of one pod may be at it at once.
        let _alone = shared.late_writes.lock();
        // Whoever removes the directory gives the address up first, and waits for the lock once.
        if writer.machine.lock().address_given_up {
            return Ok(None);
        }
        if let Some(fetched) = fetched {
            start::write_volumes(&pod, &shared.facts(ip), &fetched, &places.pod, Part::Late)?;
        }
        volumes::mounts(&pod, &container, &[], &places, Part::Late).map(Some)
    };
    let made = tokio::task::spawn_blocking(work).await.map_err(Blocked::config)?;
    let made = made.map_err(|error| start::volume_blocked(&error))?.ok_or_else(gone)?;
    owner.machine.lock().made_late();
    Ok(made)
}
