//! Starts one container: resolves what it refers to, pulls and loads its program, and runs it.
//!
//! Start at [`start`]. It changes nothing of the pod's machine and may be dropped at any await: what it made goes with it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use eyot_dispatch::{Endpoints, Handler};
use eyot_instance::{WaitingReason, pod::Role};
use eyot_registry::{Credential, Image, ProgramFile, PullError, PullPolicy};
use eyot_runtime::{AllowedHosts, GuestSpec, LoadError, LoadedFrom, LogSink, Mount, Program};
use futures::FutureExt;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{
    Owner, Shared, alone, check, choose,
    engine::{self, Engine},
    late,
    machine::Running,
    message::Message,
    probe, serve,
    session::InputPipe,
};
use crate::{
    aliases,
    annotations::{ALLOWED_HOSTS, Runs},
    buckets, claims, deadline, early,
    env::{self, EnvError},
    fields, links,
    logs::{self, Log},
    network::{ListenError, Listener},
    reuse,
    sources::{self, Fetched, SourceKind},
    tokens,
    volumes::{self, Given, Part, Places, VolumeError},
};

/// The port of an HTTP guest that declares none.
const PORT_DEFAULT: u16 = 8080;

/// What a start begins with.
pub(super) struct Input {
    pub(super) pod: Arc<Pod>,
    pub(super) index: usize,
    pub(super) container: Box<str>,
    pub(super) ip: Ipv4Addr,
    /// How often the container was restarted before.
    pub(super) run: u32,
    /// Whether the container's status says that it runs, from before the node started.
    pub(super) resumed: bool,
}

/// How a start ended.
pub(super) enum Outcome {
    Running(Live),
    /// It ran when the node went down, and a process does not come back.
    Lost,
    Blocked {
        reason: WaitingReason,
        event: &'static str,
        message: String,
    },
}

/// A container that runs.
pub(super) struct Live {
    /// How often it was restarted before.
    pub(super) run: u32,
    pub(super) running: Running,
    pub(super) image_id: Arc<str>,
    pub(super) log: Arc<Log>,
    /// Where its process reads, when it asks for that.
    pub(super) input: Option<Arc<InputPipe>>,
    pub(super) probes: Option<Box<probe::Plan>>,
    /// Where its process leaves its last words.
    pub(super) message: Option<Box<Message>>,
    /// What its `postStart` hook failed with: it ends at once.
    pub(super) hook_failure: Option<String>,
}

/// Addresses at which a guest answers; dropping it withdraws them.
pub(super) struct Published {
    endpoints: Arc<Endpoints>,
    addresses: Box<[SocketAddr]>,
    listeners: Box<[Listener]>,
}

impl Published {
    /// The ports of those addresses.
    pub(super) fn ports(&self) -> Box<[u16]> {
        self.addresses.iter().map(SocketAddr::port).collect()
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // First, because whoever finds no handler dials the address, and must then be refused.
        self.listeners = Box::default();
        for address in &self.addresses {
            self.endpoints.remove(address);
        }
    }
}

/// Why a guest cannot start.
pub(super) struct Blocked {
    reason: WaitingReason,
    event: &'static str,
    pub(super) message: String,
}

impl Blocked {
    pub(super) fn new(reason: WaitingReason, event: &'static str, message: impl ToString) -> Blocked {
        Blocked { reason, event, message: message.to_string() }
    }

    pub(super) fn config(message: impl ToString) -> Blocked {
        Blocked::new(WaitingReason::CreateContainerConfigError, "Failed", message)
    }
}

/// Starts the container that `input` names.
pub(super) async fn start(owner: &Arc<Owner>, input: Input) -> Outcome {
    match try_start(owner, input).await {
        Ok(outcome) => outcome,
        Err(Blocked { reason, event, message }) => Outcome::Blocked { reason, event, message },
    }
}

async fn try_start(owner: &Arc<Owner>, input: Input) -> Result<Outcome, Blocked> {
    let Input { pod, index, container, ip, run, resumed } = input;
    let missing = || Blocked::config("the container is no longer in the pod");
    let container = env::container_named(&pod, &container).ok_or_else(missing)?;
    let container = &*container;
    let engine = engine::choose(owner, &pod).await?;
    let image = pull(owner, &pod, container).await?;
    if let Engine::WasmEdge(edge) = engine {
        return engine::start(owner, &edge, &pod, container, &image, Begin { ip, run, resumed }).await;
    }
    let not_loaded = |error: LoadError| {
        Blocked::new(WaitingReason::CreateContainerError, "Failed", format!("{}: {error}", image.reference))
    };
    let (env, mut mounts) = resolve(owner, &pod, container, ip, &image.env).await?;
    let args = env::arguments(container, &image.entrypoint, &image.cmd, &env);
    let asked = serve::asked(&pod, index, &env)?;
    let file = match &asked {
        // It names the program below, and a command is the watchdog's that would start it elsewhere.
        Some(_) => ProgramFile { wasm: image.wasm.clone(), digest: image.wasm_digest.clone() },
        None => choose::program(&owner.shared.images, &image, container, &args)
            .await
            .map_err(|error| Blocked::new(WaitingReason::RunContainerError, "Failed", error))?,
    };
    let program = owner.shared.runtime.load(&file.wasm, &file.digest).await.map_err(not_loaded)?;
    let served = serve::served(owner, container, &program, asked);
    let is_process = program.kind().is_command() && served.is_none();
    if resumed && is_process {
        return Ok(Outcome::Lost);
    }
    if !resumed {
        let runs = match (program.kind().is_command(), &served) {
            (false, _) => Runs::Service,
            (true, Some(_)) => Runs::PerRequest,
            (true, None) => Runs::Once,
        };
        serve::warn_unused(owner, &pod, container, runs);
    }
    let program = match &served {
        Some(served) => serve::program(owner, &image, served, program).await?,
        None => program,
    };
    let alone = match is_process {
        true => alone::command(owner, &pod, container, &file).await.map_err(not_loaded)?,
        false => None,
    };
    let message = match is_process {
        true => Some(message(owner, container, &mut mounts).await?),
        false => None,
    };
    let log = Log::new(
        &logs::run_file(&owner.shared.log_directory(&owner.key), &container.name, run),
        owner.shared.open_logs.clone(),
    );
    early::adopt(owner, &pod, &log);
    let args = match &served {
        Some(served) => served.words.clone(),
        None => args,
    };
    let mut spec = spec(owner, &pod, container, ip, args, env, mounts, log.clone())?;
    spec.stdin = container.stdin == Some(true);
    spec.buckets = buckets::of(&owner.shared, &owner.key.namespace, &program).await.map_err(Blocked::config)?;
    if let Some(served) = served {
        serve::answer_by(&mut spec, &pod, served);
    }
    let (loaded, place, running) = match alone {
        Some(command) => (command.loaded(), ", on a thread of its own", alone::spawn(command, spec)?),
        None => (program.loaded(), "", run_guest(owner, &pod, index, container, &program, spec, ip)?),
    };
    let mut hook_failure = None;
    if !resumed {
        let from = match loaded.from {
            LoadedFrom::Memory => "already loaded",
            LoadedFrom::Cache => "loaded from the cache",
            LoadedFrom::Compiled => "compiled",
            LoadedFrom::CompiledEarly => "compiled for an early answer",
        };
        let message = format!(
            "Started container {} from {}, {from} in {:?}{place}",
            container.name, image.reference, loaded.took
        );
        owner.note(Some(&container.name), "Started", message);
        hook_failure = post_start(owner, &pod, container, &image, &running, ip).await.err();
    }
    let live = live(container, &image, running, log, message, &Begin { ip, run, resumed });
    Ok(Outcome::Running(Live { hook_failure, ..live }))
}

/// What a start begins with, as far as it is no object.
pub(super) struct Begin {
    pub(super) ip: Ipv4Addr,
    pub(super) run: u32,
    pub(super) resumed: bool,
}

/// A container that runs now.
pub(super) fn live(
    container: &Container,
    image: &Image,
    running: Running,
    log: Arc<Log>,
    message: Option<Box<Message>>,
    begin: &Begin,
) -> Live {
    let repository = image.reference.split('@').next().unwrap_or_default();
    let image_id = format!("{}@{}", without_tag(repository), image.digest).into();
    let probes = probe::plan(container, &running, begin.ip, begin.resumed);
    let input = InputPipe::of(&running, container.stdin_once == Some(true));
    Live { run: begin.run, running, image_id, log, input, probes, message, hook_failure: None }
}

/// Makes a place for a process's last words.
pub(super) async fn message(
    owner: &Owner,
    container: &Container,
    mounts: &mut Vec<Mount>,
) -> Result<Box<Message>, Blocked> {
    let failed = |error: &dyn std::fmt::Display| {
        Blocked::new(WaitingReason::CreateContainerError, "Failed", format!("terminationMessagePath: {error}"))
    };
    let (directory, container) = (owner.shared.pod_directory(&owner.key), container.clone());
    let before = mounts.len();
    let mut list = std::mem::take(mounts);
    let work = move || Message::prepare(&container, &mut list, &directory).map(|it| (it, list));
    let (message, list) = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(made)) => made,
        Ok(Err(error)) => return Err(failed(&error)),
        Err(error) => return Err(failed(&error)),
    };
    if list.len() > before {
        owner.machine.lock().has_messages = true;
    }
    *mounts = list;
    Ok(Box::new(message))
}

fn without_tag(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

async fn pull(owner: &Owner, pod: &Pod, container: &Container) -> Result<Image, Blocked> {
    let reference = container.image.as_deref().unwrap_or_default();
    let policy = policy(container.image_pull_policy.as_deref(), reference)?;
    let credentials = credentials(owner, pod).await?;
    let pulled = owner.shared.images.pull(reference, policy, &credentials).await;
    pulled.map_err(|error| not_pulled(reference, &error))
}

fn policy(named: Option<&str>, reference: &str) -> Result<PullPolicy, Blocked> {
    match named {
        Some(text) if !text.is_empty() => text.parse::<PullPolicy>().map_err(Blocked::config),
        _ => Ok(PullPolicy::default_for(reference)),
    }
}

fn not_pulled(reference: &str, error: &PullError) -> Blocked {
    let reason = match error.reason() {
        "InvalidImageName" => WaitingReason::InvalidImageName,
        "ErrImageNeverPull" => WaitingReason::ErrImageNeverPull,
        "RegistryUnavailable" => WaitingReason::RegistryUnavailable,
        _ => WaitingReason::ErrImagePull,
    };
    Blocked::new(reason, "Failed", format!("Failed to pull image {reference:?}: {error}"))
}

/// What `imagePullSecrets` hold. As with the kubelet, a secret that is missing does not keep a public image away.
pub(super) async fn credentials(owner: &Owner, pod: &Pod) -> Result<Vec<Credential>, Blocked> {
    let secrets = pod.spec.iter().flat_map(|it| it.image_pull_secrets.iter().flatten());
    let names: Vec<_> =
        secrets.filter(|it| !it.name.is_empty()).map(|it| (SourceKind::Secret, it.name.clone())).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let fetched = owner.shared.sources.fetch(&owner.key.namespace, &names).await.map_err(Blocked::config)?;
    let mut out = Vec::new();
    for (kind, name) in &names {
        let config = fetched.get(*kind, name).and_then(|it| it.get(".dockerconfigjson"));
        match config.map(|it| Credential::from_docker_config(it)) {
            Some(Ok(credentials)) => out.extend(credentials),
            Some(Err(error)) => owner.warn(None, "FailedToRetrieveImagePullSecret", format!("secret {name}: {error}")),
            None => {
                owner.warn(None, "FailedToRetrieveImagePullSecret", format!("secret {name} has no .dockerconfigjson"))
            }
        }
    }
    Ok(out)
}

/// A container's environment and mounts, its volumes written.
pub(super) async fn resolve(
    owner: &Arc<Owner>,
    pod: &Arc<Pod>,
    container: &Container,
    ip: Ipv4Addr,
    image_env: &[(String, String)],
) -> Result<(Vec<(String, String)>, Vec<Mount>), Blocked> {
    let mut names = sources::of_environment(container);
    names.extend(sources::of_volumes(pod, Part::Early));
    let fetched = fetch(owner, pod, &names, Part::Early).await?;
    let facts = owner.shared.facts(ip);
    let services = owner.shared.names.clone().services(&owner.key.namespace).await;
    let wants_links = pod.spec.as_ref().is_none_or(|it| it.enable_service_links != Some(false));
    let links = links::variables(&links::for_pod(services, wants_links));
    let env = env::environment(pod, container, &facts, &fetched, image_env, &links).map_err(|error| match error {
        EnvError::Field { source, .. } => Blocked::new(WaitingReason::UnsupportedField, "UnsupportedField", source),
        other => Blocked::config(other),
    })?;
    let has_volumes = Part::Early.volumes(pod).next().is_some();
    let has_aliases = pod.spec.as_ref().is_some_and(|it| it.host_aliases.as_ref().is_some_and(|it| !it.is_empty()));
    if !has_volumes && !has_aliases {
        return Ok((env, Vec::new()));
    }
    let places = Places {
        pod: owner.shared.pod_directory(&owner.key),
        memory: owner.shared.memory_directory(&owner.key),
        given: given(owner, pod).await?,
    };
    let (pod, container) = (pod.clone(), container.clone());
    let work = move || {
        write_volumes(&pod, &facts, &fetched, &places.pod, Part::Early)?;
        let mut mounts = volumes::mounts(&pod, &container, &env, &places, Part::Early)?;
        aliases::mount(&pod, ip, &places.pod, &mut mounts).map_err(|source| VolumeError::Io {
            volume: "hostAliases".to_owned(),
            path: places.pod.clone(),
            source,
        })?;
        Ok((env, mounts))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(resolved)) => Ok(resolved),
        Ok(Err(error)) => Err(volume_blocked(&error)),
        Err(error) => Err(Blocked::new(WaitingReason::CreateContainerError, "FailedMount", error)),
    }
}

/// The directories of volumes that others made: of claims, and of images that are laid out here.
async fn given(owner: &Arc<Owner>, pod: &Pod) -> Result<Given, Blocked> {
    let mut out = images(owner, pod).await?;
    let names: Vec<_> = claims::names(pod).into_iter().map(|it| (SourceKind::Claim, it)).collect();
    if names.is_empty() {
        return Ok(out);
    }
    // Subscribed before they are read, so that no binding in between is missed.
    owner.shared.sources.subscribe(&owner.key.namespace, &names, owner);
    let shared = &owner.shared;
    let found = claims::directories(&shared.client, &shared.config.name, &owner.key, pod).await;
    out.extend(found.map_err(|error| match error.is_pending() {
        true => Blocked::new(WaitingReason::ContainerCreating, "", error),
        false => Blocked::new(WaitingReason::CreateContainerConfigError, "FailedMount", chain(&error)),
    })?);
    Ok(out)
}

async fn images(owner: &Owner, pod: &Pod) -> Result<Given, Blocked> {
    let mut out = Given::new();
    for volume in pod.spec.iter().flat_map(|it| it.volumes.iter().flatten()) {
        let Some(image) = &volume.image else { continue };
        let reference = image.reference.as_deref().unwrap_or_default();
        let policy = policy(image.pull_policy.as_deref(), reference)?;
        let credentials = credentials(owner, pod).await?;
        let parent = owner.shared.pod_directory(&owner.key).join("images").join(&volume.name);
        let laid = owner.shared.images.unpack(reference, policy, &credentials, &parent).await;
        out.insert(volume.name.clone(), laid.map_err(|error| not_pulled(reference, &error))?);
    }
    Ok(out)
}

pub(super) fn volume_blocked(error: &VolumeError) -> Blocked {
    let is_config = error.is_config();
    let reason =
        if is_config { WaitingReason::CreateContainerConfigError } else { WaitingReason::CreateContainerError };
    Blocked::new(reason, "FailedMount", error)
}

/// The objects that are named, and the tokens that volumes of this part ask for.
pub(super) async fn fetch(
    owner: &Arc<Owner>,
    pod: &Pod,
    names: &[(SourceKind, String)],
    part: Part,
) -> Result<Fetched, Blocked> {
    let mut fetched = Fetched::default();
    if !names.is_empty() {
        // Subscribed before they are read, so that nothing that happens in between is missed.
        owner.shared.sources.subscribe(&owner.key.namespace, names, owner);
        fetched = owner.shared.sources.fetch(&owner.key.namespace, names).await.map_err(Blocked::config)?;
    }
    let wanted = tokens::wanted(pod, part);
    if !wanted.is_empty() {
        let asked = tokens::fetch(&owner.shared.client, &owner.key, pod, wanted).await;
        let (tokens, renewal) = asked.map_err(|error| {
            let message = format!("asking for a token of the pod's service account: {}", chain(&error));
            Blocked::new(WaitingReason::CreateContainerConfigError, "FailedMount", message)
        })?;
        fetched.tokens = tokens;
        owner.machine.lock().renew_tokens_at(renewal, part);
        owner.shared.watched.add(owner);
    }
    Ok(fetched)
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |it| it.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Makes the directories of volumes whose content is the node's to write.
pub(super) fn write_volumes(
    pod: &Pod,
    facts: &fields::Facts,
    fetched: &Fetched,
    directory: &std::path::Path,
    part: Part,
) -> Result<(), VolumeError> {
    for volume in part.volumes(pod) {
        if let Some(files) = volumes::contents(volume, pod, facts, fetched)? {
            let root = volumes::directory(directory, &volume.name);
            volumes::write::sync(&root, &files).map_err(|(path, source)| VolumeError::Io {
                volume: volume.name.clone(),
                path,
                source,
            })?;
        }
    }
    Ok(())
}

/// Writes a running pod's volumes anew after an object they come from changed. On failure the old content stays.
pub(super) async fn refresh_volumes(owner: &Arc<Owner>, pod: &Arc<Pod>, ip: Ipv4Addr) {
    let part = owner.machine.lock().kept();
    let fetched = match fetch(owner, pod, &sources::of_volumes(pod, part), part).await {
        Ok(fetched) => fetched,
        Err(blocked) => return owner.warn(None, "FailedMount", blocked.message),
    };
    let (facts, directory) = (owner.shared.facts(ip), owner.shared.pod_directory(&owner.key));
    let pod = pod.clone();
    let shared = owner.shared.clone();
    let work = move || {
        // A guest may have the late part made at the same time.
        let _alone = (part == Part::All).then(|| shared.late_writes.lock());
        write_volumes(&pod, &facts, &fetched, &directory, part)
    };
    let written = tokio::task::spawn_blocking(work).await;
    if let Ok(Err(error)) = written {
        owner.warn(None, "FailedMount", error.to_string());
    }
}

/// What every guest of a container is given.
#[expect(clippy::too_many_arguments, reason = "each is a part of what a guest is given")]
pub(super) fn spec(
    owner: &Arc<Owner>,
    pod: &Pod,
    container: &Container,
    ip: Ipv4Addr,
    args: Vec<String>,
    env: Vec<(String, String)>,
    mounts: Vec<Mount>,
    log: Arc<dyn LogSink>,
) -> Result<GuestSpec, Blocked> {
    let mut spec = GuestSpec::new(owner.key.caller(), owner.shared.outbound.clone(), log);
    spec.args = args;
    spec.env = env;
    spec.mounts = mounts;
    spec.late_mounts = late::mounts(owner, pod, container);
    spec.ip = Some(IpAddr::V4(ip));
    confine(&mut spec, &owner.shared, pod, container).map_err(Blocked::config)?;
    Ok(spec)
}

/// Sets what bounds a guest, whichever pod of a template it is in, and even before there is one. The error names the field.
pub(crate) fn confine(spec: &mut GuestSpec, shared: &Shared, pod: &Pod, container: &Container) -> Result<(), String> {
    (spec.cpu_millis, spec.memory_bytes) = fields::limits(container).map_err(|error| error.to_string())?;
    spec.names = Some(aliases::names(pod, &shared.names));
    spec.allowed_hosts = allowed_hosts(pod)?;
    spec.reuse = reuse::of(pod)?;
    spec.request_deadline = deadline::of(pod)?;
    Ok(())
}

/// The hosts that the pod's annotation names: where policies and authors narrow what its guests may connect to.
fn allowed_hosts(pod: &Pod) -> Result<Option<Arc<AllowedHosts>>, String> {
    let annotation = pod.metadata.annotations.as_ref().and_then(|it| it.get(ALLOWED_HOSTS));
    let parsed = annotation.map(|it| it.parse::<AllowedHosts>()).transpose();
    Ok(parsed.map_err(|error| format!("annotation {ALLOWED_HOSTS}: {error}"))?.map(Arc::new))
}

fn run_guest(
    owner: &Owner,
    pod: &Pod,
    index: usize,
    container: &Container,
    program: &Program,
    spec: GuestSpec,
    ip: Ipv4Addr,
) -> Result<Running, Blocked> {
    let failed =
        |error: &dyn std::fmt::Display| Blocked::new(WaitingReason::RunContainerError, "Failed", error.to_string());
    if program.kind().is_command() && spec.per_request.is_none() {
        let process = program.spawn(spec).map_err(|error| failed(&error))?;
        return Ok(Running::Command(Arc::new(process)));
    }
    if role(pod, index) == Role::Init {
        return Err(failed(&"an init container must end, and a wasi:http component never does"));
    }
    let guest = program.serve(spec).map_err(|error| failed(&error))?;
    let published = publish(owner, guest.clone(), ip, &http_ports(container)).map_err(|error| failed(&error))?;
    Ok(Running::Http { guest, published, failures_seen: [0; 3] })
}

pub(super) fn role(pod: &Pod, index: usize) -> Role {
    let init = pod.spec.as_ref().and_then(|it| it.init_containers.as_deref()).unwrap_or_default();
    match init.get(index) {
        Some(it) if it.restart_policy.as_deref() == Some("Always") => Role::Sidecar,
        Some(_) => Role::Init,
        None => Role::Main,
    }
}

/// The ports that an HTTP guest answers at: every TCP port it declares.
fn http_ports(container: &Container) -> Vec<u16> {
    let declared = container.ports.iter().flatten().filter(|it| it.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let mut ports: Vec<u16> = declared.filter_map(|it| u16::try_from(it.container_port).ok()).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        ports.push(PORT_DEFAULT);
    }
    ports
}

fn publish(owner: &Owner, handler: Arc<dyn Handler>, ip: Ipv4Addr, ports: &[u16]) -> Result<Published, String> {
    let addresses: Box<[SocketAddr]> = ports.iter().map(|port| SocketAddr::from((ip, *port))).collect();
    for address in &addresses {
        if owner.shared.endpoints.get(address).is_some() {
            return Err(format!("port {} is used by another container of the pod", address.port()));
        }
    }
    let mut listeners = Vec::new();
    for address in &addresses {
        // First, because connections are passed to whoever is found there.
        owner.shared.endpoints.insert(*address, handler.clone());
        match owner.shared.front.listen(*address) {
            Ok(listener) => listeners.push(listener),
            // The gateway and other guests need no socket to reach this one.
            Err(ListenError::TooMany) => told_of_too_many(),
            Err(error) => {
                tracing::warn!(%address, error = &error as &dyn std::error::Error, "a pod address cannot be listened at");
            }
        }
    }
    Ok(Published { endpoints: owner.shared.endpoints.clone(), addresses, listeners: listeners.into() })
}

/// Once: it is so for every further pod.
fn told_of_too_many() {
    static TOLD: std::sync::Once = std::sync::Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            "the limit on open files leaves no more sockets for pod addresses: further pods answer to the gateway and to other \
             pods only; raise it (LimitNOFILE, ulimit -n)"
        );
    });
}

/// Runs the container's `postStart` hook, if it has one. The error is for the user.
pub(super) async fn post_start(
    owner: &Arc<Owner>,
    pod: &Arc<Pod>,
    container: &Container,
    image: &Image,
    running: &Running,
    ip: Ipv4Addr,
) -> Result<(), String> {
    let Some(hook) = container.lifecycle.as_ref().and_then(|it| it.post_start.as_ref()) else { return Ok(()) };
    let exec = |command: Vec<String>| owner.launch(pod, container, image, ip, command, false).boxed();
    check::hook(hook, container, &check::Target::of(running, ip), &owner.asker(), Duration::from_secs(60), &exec)
        .await
        .map_err(|error| format!("PostStart hook failed: {error}"))
}

/// Where a pod keeps what only it uses.
pub(super) fn directories(owner: &Owner) -> Vec<PathBuf> {
    let (shared, key) = (&owner.shared, &owner.key);
    shared.memory_directory(key).into_iter().chain([shared.pod_directory(key), shared.log_directory(key)]).collect()
}
