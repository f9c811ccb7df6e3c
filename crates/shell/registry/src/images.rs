//! Finds the WebAssembly file of an image, pulling what is missing.

use std::{collections::HashMap, fmt, sync::Arc};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use oci_client::Reference;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, broadcast};

use crate::{
    BlobError, Blobs, Credential, Digest, Image, PullError, PullPolicy, bundle, linked,
    remote::Remote,
    resolve::{self, ResolveError, Resolved},
};

/// Manifests whose outcome is kept in memory; more than any node runs.
const RESOLVED_MAX: usize = 4096;

/// References whose parts are kept in memory: pods of one image name it the same way.
const NAMES_MAX: usize = 1024;

/// Pulls at once; more would only share the same line.
const PULLS_MAX: usize = 4;
/// Images whose files are checked at once, at most.
const STRIPES: usize = 4;

/// How images are found.
#[derive(Clone, Debug)]
pub struct ImagesConfig {
    /// Hosts, with port, that stand for the [`Blobs`] themselves: no socket is opened for these.
    pub own_hosts: Vec<String>,
    /// Registries spoken to without TLS; loopback addresses always are.
    pub plain_http_hosts: Vec<String>,
    /// Whether `Always` is content with the image on disk when its registry cannot be reached, so that a node restarts
    /// with the network gone. Kubernetes would fail the pull.
    pub offline_fallback: bool,
}

impl ImagesConfig {
    /// No hosts but these are our own.
    pub fn new(own_hosts: impl IntoIterator<Item = impl Into<String>>) -> ImagesConfig {
        let own_hosts = own_hosts.into_iter().map(Into::into).collect();
        ImagesConfig { own_hosts, plain_http_hosts: Vec::new(), offline_fallback: true }
    }
}

type Pull = Shared<BoxFuture<'static, Result<Resolved, PullError>>>;

/// The images of one [`Blobs`]; clones are the same.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

struct Inner {
    blobs: Blobs,
    config: ImagesConfig,
    /// What manifests led to; a manifest's outcome never changes, except that files can be removed.
    resolved: Mutex<HashMap<Digest, Resolved>>,
    /// Held while an image's files are checked: after a restart thousands of pods ask for the same one.
    checking: [tokio::sync::Mutex<()>; STRIPES],
    turns: Semaphore,
    /// The parts of references that parsed.
    names: Mutex<HashMap<String, Arc<Reference>>>,
    /// Pulls under way, shared by all who want the same with the same credentials.
    pulls: Mutex<HashMap<(String, Vec<Credential>), Pull>>,
}

impl Images {
    /// Finds images in `blobs`, and pulls into it.
    pub fn new(blobs: Blobs, config: ImagesConfig) -> Images {
        let (resolved, checking, names, pulls) = Default::default();
        let turns = Semaphore::new(PULLS_MAX);
        Images { inner: Arc::new(Inner { blobs, config, resolved, checking, turns, names, pulls }) }
    }

    /// The image's file, on disk and checked.
    ///
    /// Of callers that want the same image at once, one pulls. A pull goes on for as long as one of them waits. What
    /// was resolved before takes microseconds and no disk read.
    pub async fn pull(
        &self,
        reference: &str,
        policy: PullPolicy,
        credentials: &[Credential],
    ) -> Result<Image, PullError> {
        let parsed = self.parse(reference)?;
        let own = self.inner.config.own_hosts.iter().any(|it| it == parsed.registry());
        let resolved = match (own, policy) {
            (true, _) => self.resolve_own(reference, &parsed).await?,
            (false, PullPolicy::Always) if parsed.digest().is_none() => {
                self.fetch(reference, &parsed, credentials).await?
            }
            (false, _) => match self.resolve_present(reference, &parsed).await? {
                Some(resolved) => resolved,
                None if policy == PullPolicy::Never => {
                    return Err(PullError::NeverPull { reference: reference.to_owned() });
                }
                None => self.fetch(reference, &parsed, credentials).await?,
            },
        };
        Ok(self.image(reference, resolved))
    }

    /// The policy bundle that an image reference names: its manifest's digest and the archive of its first layer. `None` when
    /// the manifest is still the one with digest `known`.
    ///
    /// # Errors
    /// As [`Images::pull`]; a layer that is no `tar+gzip` or larger than `bytes_max` is a bad answer.
    pub async fn pull_bundle(
        &self,
        reference: &str,
        known: Option<&str>,
        bytes_max: u64,
    ) -> Result<Option<(String, Vec<u8>)>, PullError> {
        let parsed = parse(reference)?;
        let own = self.inner.config.own_hosts.iter().any(|it| it == parsed.registry());
        let blobs = &self.inner.blobs;
        if own {
            let (blobs, named) = (blobs.clone(), parsed.clone());
            let found = blocking(reference, move || bundle::of_own(&blobs, &named, bytes_max)).await?;
            let missing =
                || PullError::NotFound { reference: reference.to_owned(), reason: "no such bundle".to_owned() };
            let (digest, archive) = found.ok_or_else(missing)?;
            return Ok((known != Some(digest.as_str())).then_some((digest, archive)));
        }
        Remote::new(blobs, &self.inner.config, reference, &parsed, None)?.bundle(known, bytes_max).await
    }

    /// How the parts of an image that was pulled are linked, in words: a line for each interface that one takes from another.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub async fn links(&self, image: &Image) -> Result<Vec<String>, PullError> {
        let (blobs, parts) = (self.inner.blobs.clone(), image.parts.clone());
        let found = blocking(&image.reference, move || Ok(linked::links(&blobs, &parts))).await?;
        found.map_err(|error| pull_error(&image.reference, error))
    }

    /// The parts of a reference, taken apart once.
    fn parse(&self, reference: &str) -> Result<Arc<Reference>, PullError> {
        if let Some(known) = self.inner.names.lock().get(reference) {
            return Ok(known.clone());
        }
        let parsed = Arc::new(parse(reference)?);
        let mut names = self.inner.names.lock();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.insert(reference.to_owned(), parsed.clone());
        Ok(parsed)
    }

    /// What was resolved may be gone from disk.
    pub(crate) fn forget_resolved(&self) {
        self.inner.resolved.lock().retain(|_, it| self.inner.blobs.size(&it.wasm).is_some());
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    /// The repositories of the embedded registry that something is pushed to from now on.
    pub fn pushed(&self) -> broadcast::Receiver<Arc<str>> {
        self.inner.blobs.pushed()
    }

    /// Whether `reference` names an image of the embedded registry.
    pub fn is_own(&self, reference: &str) -> bool {
        let parsed = reference.parse::<Reference>();
        parsed.is_ok_and(|it| self.inner.config.own_hosts.iter().any(|own| own == it.registry()))
    }

    /// Whether `reference` names an image in `repository` of the embedded registry.
    pub fn is_in(&self, reference: &str, repository: &str) -> bool {
        let parsed = reference.parse::<Reference>();
        parsed.is_ok_and(|it| {
            it.repository() == repository && self.inner.config.own_hosts.iter().any(|own| own == it.registry())
        })
    }

    fn image(&self, reference: &str, resolved: Resolved) -> Image {
        Image {
            reference: reference.to_owned(),
            digest: resolved.manifest.to_string(),
            wasm: self.inner.blobs.path(&resolved.wasm),
            wasm_digest: resolved.wasm.to_string(),
            entrypoint: resolved.launch.entrypoint,
            cmd: resolved.launch.cmd,
            env: resolved.launch.env,
            working_dir: resolved.launch.working_dir,
            size_bytes: resolved.size,
            parts: resolved.parts,
        }
    }

    /// The manifest of an image whose blobs are here, whatever is in it. Its registry is asked as `policy` says, and when `anew`
    /// holds in any case.
    pub(crate) async fn manifest(
        &self,
        reference: &str,
        parsed: &Reference,
        policy: PullPolicy,
        credentials: &[Credential],
        anew: bool,
    ) -> Result<Digest, PullError> {
        if self.inner.config.own_hosts.iter().any(|it| it == parsed.registry()) {
            return self.own(reference, parsed);
        }
        let known = self.inner.blobs.names(|it| it.pulled.get(&parsed.whole()).cloned());
        let fresh = policy == PullPolicy::Always && parsed.digest().is_none();
        match known.filter(|_| !fresh && !anew) {
            Some(manifest) => Ok(manifest),
            None if policy == PullPolicy::Never => Err(PullError::NeverPull { reference: reference.to_owned() }),
            None => {
                // Never closed, so that there is always a turn.
                let _turn = self.inner.turns.acquire().await;
                let credential = Credential::choose(credentials, parsed.registry(), parsed.repository()).cloned();
                let remote = Remote::new(&self.inner.blobs, &self.inner.config, reference, parsed, credential)?;
                let manifest = remote.pull().await?;
                self.remember(reference, parsed, &manifest).await?;
                Ok(manifest)
            }
        }
    }

    fn own(&self, reference: &str, parsed: &Reference) -> Result<Digest, PullError> {
        let name = parsed.digest().or(parsed.tag()).unwrap_or("latest");
        let digest = self.inner.blobs.names(|it| {
            let repository = it.repositories.get(parsed.repository())?;
            repository.find(name).map(|it| it.0.clone())
        });
        digest.ok_or_else(|| PullError::NotFound {
            reference: reference.to_owned(),
            reason: format!("the embedded registry has no {name:?} in repository {:?}", parsed.repository()),
        })
    }

    /// An image of the embedded registry.
    async fn resolve_own(&self, reference: &str, parsed: &Reference) -> Result<Resolved, PullError> {
        let digest = self.own(reference, parsed)?;
        let resolved = self.resolve(reference, digest).await?;
        self.remember(reference, parsed, &resolved.manifest).await?;
        Ok(resolved)
    }

    /// Notes what a reference led to, so that it is found without its registry: for an image of our own, after the
    /// endpoint has moved to another port.
    async fn remember(&self, reference: &str, parsed: &Reference, manifest: &Digest) -> Result<(), PullError> {
        let whole = parsed.whole();
        if self.inner.blobs.names(|it| it.pulled.get(&whole) == Some(manifest)) {
            return Ok(());
        }
        let (blobs, manifest) = (self.inner.blobs.clone(), manifest.clone());
        blocking(reference, move || blobs.rename(|it| it.pulled.insert(whole, manifest))).await?;
        Ok(())
    }

    /// An image that was pulled before; `None` when it is not, or no longer, complete on disk.
    async fn resolve_present(&self, reference: &str, parsed: &Reference) -> Result<Option<Resolved>, PullError> {
        let known = self.inner.blobs.names(|it| it.pulled.get(&parsed.whole()).cloned());
        let Some(digest) = known else { return Ok(None) };
        match self.resolve(reference, digest).await {
            Ok(resolved) => Ok(Some(resolved)),
            Err(PullError::Storage { source, .. })
                if matches!(*source, BlobError::Absent(_) | BlobError::Damaged { .. }) =>
            {
                tracing::warn!(reference, error = %source, "image on disk is incomplete");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn resolve(&self, reference: &str, manifest: Digest) -> Result<Resolved, PullError> {
        if let Some(known) = self.known(&manifest) {
            return Ok(known);
        }
        let _checking = self.inner.checking[manifest.stripe(STRIPES)].lock().await;
        if let Some(known) = self.known(&manifest) {
            return Ok(known);
        }
        let blobs = self.inner.blobs.clone();
        let wanted = manifest.clone();
        let resolved = blocking(reference, move || Ok(resolve::resolve(&blobs, &wanted))).await?;
        let resolved = resolved.map_err(|error| pull_error(reference, error))?;
        let mut all = self.inner.resolved.lock();
        if all.len() >= RESOLVED_MAX {
            all.clear();
        }
        all.insert(manifest, resolved.clone());
        Ok(resolved)
    }

    /// What was resolved before, while the file is there.
    fn known(&self, manifest: &Digest) -> Option<Resolved> {
        let known = self.inner.resolved.lock().get(manifest).cloned();
        known.filter(|it| self.inner.blobs.size(&it.wasm) == Some(it.size))
    }

    /// Asks the registry, together with whoever else is asking for the same.
    async fn fetch(
        &self,
        reference: &str,
        parsed: &Reference,
        credentials: &[Credential],
    ) -> Result<Resolved, PullError> {
        let key = (parsed.whole(), credentials.to_vec());
        let pull = {
            let mut pulls = self.inner.pulls.lock();
            // Those that ended, or that nobody waits for any more.
            pulls.retain(|_, it| it.peek().is_none() && it.strong_count().is_some_and(|it| it > 1));
            pulls.entry(key).or_insert_with(|| self.start(reference, parsed, credentials)).clone()
        };
        pull.await
    }

    fn start(&self, reference: &str, parsed: &Reference, credentials: &[Credential]) -> Pull {
        let (images, reference, parsed) = (self.clone(), reference.to_owned(), parsed.clone());
        let credential = Credential::choose(credentials, parsed.registry(), parsed.repository()).cloned();
        let pull = async move {
            // Never closed, so that there is always a turn.
            let _turn = images.inner.turns.acquire().await;
            let remote = Remote::new(&images.inner.blobs, &images.inner.config, &reference, &parsed, credential);
            let pulled = async { remote?.pull().await };
            let digest = match pulled.await {
                Ok(digest) => digest,
                Err(error @ PullError::Unavailable { .. }) if images.inner.config.offline_fallback => {
                    let present = images.resolve_present(&reference, &parsed).await?;
                    let present = present.ok_or_else(|| error.clone())?;
                    tracing::warn!(%error, digest = %present.manifest, "using the image on disk");
                    return Ok(present);
                }
                Err(error) => return Err(error),
            };
            let resolved = images.resolve(&reference, digest.clone()).await?;
            images.remember(&reference, &parsed, &digest).await?;
            Ok(resolved)
        };
        pull.boxed().shared()
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

pub(crate) fn parse(reference: &str) -> Result<Reference, PullError> {
    reference.parse().map_err(|it: oci_client::ParseError| PullError::InvalidName {
        reference: reference.to_owned(),
        reason: it.to_string(),
    })
}

/// Runs file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    reference: &str,
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, PullError> {
    let storage = |source| PullError::Storage { reference: reference.to_owned(), source: Arc::new(source) };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(storage),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => {
                Err(PullError::Unavailable { reference: reference.to_owned(), reason: "shutting down".to_owned() })
            }
        },
    }
}

pub(crate) fn pull_error(reference: &str, error: ResolveError) -> PullError {
    let reference = reference.to_owned();
    match error {
        ResolveError::Blob(source) => PullError::Storage { reference, source: Arc::new(source) },
        ResolveError::NotWasm(reason) => PullError::NotWasm { reference, reason },
        ResolveError::Malformed(reason) => PullError::BadAnswer { reference, reason },
    }
}
