//! Makes a revision ready: from its Deployment to a guest. Start at [`make`].

use std::{net::Ipv4Addr, sync::Arc};

use eyot_dispatch::Caller;
use eyot_registry::PullPolicy;
use eyot_runtime::GuestSpec;
use k8s_openapi::api::core::v1::{Container, Node, Pod};

use super::{
    fit, rehearse,
    table::{Made, Maker},
    voice::{Mounts, Voice},
};
use crate::{
    admit,
    api::{self, ApiError},
    buckets, env, links,
    pod::{self, Shared},
    sources,
};

/// Why a revision is not answered for before it has a pod.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// Its Deployment is gone.
    #[error("its Deployment is gone")]
    Gone,
    /// The API server did not answer.
    #[error("asking the API server: {0}")]
    Api(#[source] ApiError),
    /// A pod of it would not be admitted.
    #[error("a pod of it would be refused: {0}")]
    Refused(String),
    /// It needs a pod.
    #[error("{0}")]
    Pod(&'static str),
    /// This node cannot honour what it asks for.
    #[error("this node cannot honour {0}")]
    Fields(String),
    /// It cannot be loaded or started.
    #[error("starting it: {0}")]
    Start(String),
}

impl Unfit {
    fn start(error: impl ToString) -> Unfit {
        Unfit::Start(error.to_string())
    }
}

/// Makes the revision of `maker` ready, whose pods come from `deployment` and whose guests print to `voice`.
pub(super) async fn make(
    shared: &Arc<Shared>,
    maker: &Arc<Maker>,
    deployment: &str,
    voice: Arc<Voice>,
) -> Result<Made, Unfit> {
    let mut parts = maker.key.splitn(3, '/');
    let (Some(namespace), Some(revision), Some(uid)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Unfit::Gone);
    };
    let pod = rehearse::pod(shared, namespace, deployment, uid).await?;
    check(shared, &pod).await?;
    let Some(container) = pod.spec.as_ref().and_then(|it| it.containers.first()) else {
        return Err(Unfit::Pod("it has no container"));
    };
    let reference = container.image.clone().unwrap_or_default();
    let image = shared.images.pull(&reference, policy(shared, container, &reference)?, &[]).await;
    let image = image.map_err(Unfit::start)?;
    let names = sources::of_environment(container);
    // Subscribed before they are read, so that nothing that happens in between is missed.
    shared.sources.subscribe(namespace, &names, maker);
    let fetched = shared.sources.fetch(namespace, &names).await.map_err(Unfit::Api)?;
    let links = links::variables(&links::for_pod(shared.names.clone().services(namespace).await, false));
    let facts = shared.facts(Ipv4Addr::UNSPECIFIED);
    let env = env::environment(&pod, container, &facts, &fetched, &image.env, &links).map_err(Unfit::start)?;
    let args = env::arguments(container, &image.entrypoint, &image.cmd, &env);
    let file = pod::program(&shared.images, &image, container, &args).await.map_err(Unfit::start)?;
    let program = shared.runtime.load(&file.wasm, &file.digest).await.map_err(Unfit::start)?;
    if program.kind().is_command() {
        return Err(Unfit::Pod("it is a process"));
    }
    let caller = Caller { namespace: namespace.into(), pod: revision.into() };
    let mut spec = GuestSpec::new(caller, shared.outbound.clone(), voice.clone());
    spec.args = args;
    spec.env = env;
    pod::confine(&mut spec, shared, &pod, container).map_err(Unfit::Start)?;
    spec.buckets = buckets::of(shared, namespace, &program).await.map_err(Unfit::start)?;
    if pod::mounts_late(&pod, container) {
        let (container, key) = (container.name.as_str().into(), maker.key.clone());
        spec.late_mounts = Some(Arc::new(Mounts { voice, container, key, shared: maker.shared.clone() }));
    }
    let guest = program.serve(spec).map_err(Unfit::start)?;
    Ok(Made { guest, image: reference.into() })
}

/// Whether this node would take the pod, and its guests can do without it.
async fn check(shared: &Shared, pod: &Pod) -> Result<(), Unfit> {
    if let Some(why) = fit::unfit(pod, &shared.config.name) {
        return Err(Unfit::Pod(why));
    }
    let refusals = pod.spec.as_ref().map(admit::refusals).unwrap_or_default();
    if !refusals.is_empty() {
        return Err(Unfit::Fields(refusals.join(", ")));
    }
    let class = pod.spec.as_ref().and_then(|it| it.runtime_class_name.as_deref()).unwrap_or_default();
    if !matches!(class, "" | "wasm") {
        return Err(Unfit::Pod("its runtime class has to be looked up"));
    }
    let path = format!("/api/v1/nodes/{}", shared.config.name);
    let node = api::get::<Node>(&shared.client, &path).await.map_err(Unfit::Api)?;
    let Some(node) = node else { return Err(Unfit::Pod("the node is not registered")) };
    fit::repelled(pod, &node).map_or(Ok(()), |why| Err(Unfit::Pod(why)))
}

/// How the image is looked for: here alone. One that each start asks another registry for has to wait for the start.
fn policy(shared: &Shared, container: &Container, reference: &str) -> Result<PullPolicy, Unfit> {
    let named = container.image_pull_policy.as_deref().filter(|it| !it.is_empty());
    let policy = match named {
        Some(text) => text.parse::<PullPolicy>().map_err(Unfit::start)?,
        None => PullPolicy::default_for(reference),
    };
    match policy {
        PullPolicy::Always if !shared.images.is_own(reference) => {
            Err(Unfit::Pod("its image is asked for at each start"))
        }
        _ => Ok(PullPolicy::Never),
    }
}
