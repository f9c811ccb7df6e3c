//! Policies that come as bundles: fetched, checked, kept, and put in force.
//!
//! Entry points: [`Opa::follow`], which looks at every source in its turn, and [`Opa::first_decider`], which takes what was
//! kept from before a restart. One bundle goes `fetch` → [`Bundle::read`] → [`Decider::of_bundle`] → `keep` → in force;
//! what fails on the way is told in the object's status and leaves everything as it was.

pub(crate) mod fetch;
mod keep;
mod status;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use eyot_rego::bundle::{Bounds, Bundle};
use tokio::sync::{
    Notify,
    broadcast::{self, error::RecvError},
};
use tokio_util::sync::CancellationToken;

pub(crate) use keep::Kept;

use crate::{
    Opa,
    admission::decisions,
    decider::Decider,
    spec::{At, BundleSource, Source, Spec},
};
use fetch::{Fetched, Fetcher};

/// The longest pause after failures; each doubles it.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// Tells when the policies have changed that bundles are wanted for.
#[derive(Debug, Default)]
pub(crate) struct Wanted(Notify);

impl Wanted {
    pub(crate) fn changed(&self) {
        self.0.notify_one();
    }
}

/// What is followed for one policy.
struct Followed {
    identity: String,
    generation: i64,
    stop: CancellationToken,
}

impl Opa {
    /// Keeps the policies that come as bundles up to date until `stop`, and tells of them in the objects' status.
    pub async fn follow(&self, client: kube::Client, stop: CancellationToken) {
        let fetcher = Arc::new(Fetcher::new(self.inner.images.clone()));
        let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
        loop {
            self.reconcile(&mut followed, &client, &fetcher, &stop);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.inner.wanted.0.notified() => {}
            }
        }
    }

    /// Follows what is wanted and not followed, and stops following the rest.
    fn reconcile(
        &self,
        followed: &mut BTreeMap<String, Followed>,
        client: &kube::Client,
        fetcher: &Arc<Fetcher>,
        stop: &CancellationToken,
    ) {
        let state = self.policies().load_full();
        let wanted: BTreeMap<&str, (&Arc<Spec>, i64, &BundleSource)> = state
            .policies
            .values()
            .filter_map(|it| match &it.spec.source {
                Source::Bundle(source) => Some((it.name.as_str(), (&it.spec, it.generation, source))),
                Source::Inline { .. } => None,
            })
            .collect();
        followed.retain(|name, it| {
            let stays = wanted
                .get(name.as_str())
                .is_some_and(|(_, generation, source)| source.identity == it.identity && *generation == it.generation);
            if !stays {
                it.stop.cancel();
            }
            stays
        });
        for (name, (spec, generation, source)) in wanted {
            if followed.contains_key(name) {
                continue;
            }
            let token = stop.child_token();
            let follower = Follower {
                opa: self.clone(),
                name: name.to_owned(),
                generation,
                spec: Arc::clone(spec),
                source: source.clone(),
                client: client.clone(),
                fetcher: Arc::clone(fetcher),
            };
            let following = follower.run(token.clone());
            tokio::spawn(following);
            let identity = source.identity.clone();
            followed.insert(name.to_owned(), Followed { identity, generation, stop: token });
        }
        self.inner.kept.forget_all_but(state.policies.keys().map(String::as_str));
    }

    /// What decides until the source has been looked at: what is in force from the same source, or what was kept of it.
    ///
    /// A write of the object's status is no reason to check a bundle again, another list of keys is one.
    pub(crate) fn first_decider(
        &self,
        name: &str,
        generation: i64,
        source: &BundleSource,
    ) -> Result<Arc<Decider>, String> {
        let state = self.policies().load();
        if let Some(policy) = state.policies.get(name)
            && matches!(&policy.spec.source, Source::Bundle(it) if it.identity == source.identity)
            && let Ok(decider) = &policy.decider
            && (source.verification.is_none() || policy.generation == generation)
        {
            return Ok(Arc::clone(decider));
        }
        let Some(kept) = self.inner.kept.read(name, &source.identity) else {
            return Err(format!("no bundle has come from {} yet", source.identity));
        };
        self.decider_of(&kept.bundle, source).map(Arc::new).map_err(|why| format!("the kept bundle: {why}"))
    }

    /// Checks and compiles. Blocks.
    fn decider_of(&self, archive: &[u8], source: &BundleSource) -> Result<Decider, String> {
        let bundle = Bundle::read(archive, source.verification.as_ref(), Bounds::default());
        Decider::of_bundle(bundle.map_err(|error| error.to_string())?, &self.inner.runtime)
    }
}

/// Looks at one policy's source, again and again.
struct Follower {
    opa: Opa,
    name: String,
    generation: i64,
    spec: Arc<Spec>,
    source: BundleSource,
    client: kube::Client,
    fetcher: Arc<Fetcher>,
}

impl Follower {
    async fn run(self, stop: CancellationToken) {
        // What was kept says which version the source need not send again.
        let kept = self.opa.inner.kept.read(&self.name, &self.source.identity);
        let mut etag = kept.as_ref().and_then(|it| it.etag.clone());
        let in_force = |this: &Follower| {
            let state = this.opa.policies().load();
            state.policies.get(&this.name).is_some_and(|it| it.decider.is_ok())
        };
        if !in_force(&self) {
            etag = None;
        }
        let mut failures = 0_u32;
        let mut pushes = self.opa.inner.images.pushed();
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look(&mut etag) => looked,
            };
            let pause = match looked {
                Ok(()) => {
                    failures = 0;
                    self.source.poll
                }
                Err(why) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(policy = self.name, why, "a bundle was not taken; the one before stays in force");
                    status::failed(&self.client, &self.name, self.generation, &why, in_force(&self)).await;
                    let pause = Duration::from_secs(1 << failures.min(7).saturating_sub(1));
                    pause.min(PAUSE_MAX).min(self.source.poll.max(Duration::from_secs(1)))
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.pushed(&mut pushes) => {}
            }
        }
    }

    /// Waits for a push to where the bundle comes from, as far as that is the embedded registry.
    async fn pushed(&self, pushes: &mut broadcast::Receiver<Arc<str>>) {
        let At::Oci(reference) = &self.source.at else { return std::future::pending().await };
        loop {
            match pushes.recv().await {
                Ok(repository) if !self.opa.inner.images.is_in(reference, &repository) => {}
                // Some pushes were missed: this may have been one of them.
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }

    /// Fetches what is new and puts it in force.
    async fn look(&self, etag: &mut Option<String>) -> Result<(), String> {
        let (archive, new_etag) = match self.fetcher.fetch(&self.source.at, etag.as_deref()).await? {
            Fetched::Unchanged => {
                status::looked(&self.client, &self.name, self.generation).await;
                return Ok(());
            }
            Fetched::New { archive, etag } => (archive, etag),
        };
        let (opa, source, name) = (self.opa.clone(), self.source.clone(), self.name.clone());
        let kept_etag = new_etag.clone();
        let work = move || {
            let decider = opa.decider_of(&archive, &source)?;
            if let Err(error) = opa.inner.kept.write(&name, &source.identity, kept_etag.as_deref(), &archive) {
                tracing::warn!(policy = name, %error, "a bundle cannot be kept for a restart");
            }
            Ok(Arc::new(decider))
        };
        let decider: Arc<Decider> =
            tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string()).and_then(|it| it)?;
        let missing: Vec<String> = decisions(&self.spec)
            .filter(|(_, path)| !decider.has(path))
            .map(|(_, path)| path.replace('/', "."))
            .collect();
        let revision = decider.revision.clone();
        if self.opa.policies().renew(&self.name, &self.source.identity, decider) {
            *etag = new_etag;
            tracing::info!(policy = self.name, revision, "a bundle is in force");
            status::activated(&self.client, &self.name, self.generation, &revision, etag.as_deref(), &missing).await;
        }
        Ok(())
    }
}
