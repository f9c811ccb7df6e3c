//! One owner per pod. Start at [`Owner::new`] and [`Owner::kick`].
//!
//! What a pod is and what it needs next is a [`Machine`], a plain value behind a lock that is held for moments only.
//! Whatever happens changes that value and kicks the owner; a kicked owner has a task that does one needed thing after
//! another ([`Owner::drive`]) and ends when nothing is needed. So an idle pod has no task, no timer and no queue.

mod alone;
mod check;
mod choose;
pub(crate) mod engine;
mod grpc;
mod late;
mod machine;
mod message;
mod probe;
mod react;
mod resize;
mod resume;
mod serve;
pub(crate) mod session;
mod shared;
mod start;
mod status;
mod stop;
mod usage;
mod watched;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use eyot_dispatch::Caller;
use eyot_instance::{Action, Moment};
use eyot_runtime::Process;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use choose::program;
pub(crate) use late::{late_mounts, mounts_late};
use machine::{Begun, Machine, Step};
pub(crate) use machine::{LogView, PodView};
pub(crate) use shared::Shared;
pub(crate) use start::confine;
pub(crate) use status::time;
pub(crate) use usage::Usage;
pub(crate) use watched::Watched;

use crate::{
    api,
    events::Level,
    sources::Referrer,
    volumes::{self, SizeLimit},
};

/// A start that takes longer shows `ContainerCreating` meanwhile.
const SLOW_START: Duration = Duration::from_millis(250);
/// Between two tries of a call that the API server did not take.
const RETRY: Duration = Duration::from_secs(1);

/// Which pod, and which incarnation of its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PodKey {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) uid: Box<str>,
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl PodKey {
    /// The pod as its guests' requests are told of.
    fn caller(&self) -> Caller {
        Caller { namespace: self.namespace.clone(), pod: self.name.clone() }
    }

    /// The object's path in the API.
    pub(crate) fn path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods/{}", self.namespace, self.name)
    }
}

/// Keeps one pod as its object asks.
pub(crate) struct Owner {
    pub(crate) key: Arc<PodKey>,
    shared: Arc<Shared>,
    machine: Mutex<Machine>,
    /// Breaks off a start when the pod is to stop.
    interrupt: Notify,
}

impl Owner {
    /// The owner of `pod` as it is in the API, which may have run before. Does nothing until it is kicked.
    pub(crate) fn new(key: PodKey, pod: Pod, shared: Arc<Shared>) -> Arc<Owner> {
        let key = Arc::new(key);
        let machine = Machine::new(key.clone(), pod, &shared, now());
        Arc::new(Owner { key, shared, machine: Mutex::new(machine), interrupt: Notify::new() })
    }

    /// Who asks when a check of this pod names another host.
    fn asker(&self) -> check::Asker {
        let (names, lookups) = (self.shared.names.clone(), self.shared.runtime.lookups());
        check::Asker { caller: self.key.caller(), names, lookups }
    }

    /// Does what the pod needs, in a task of its own if none is at it already.
    pub(crate) fn kick(self: &Arc<Self>) {
        if self.machine.lock().begin_driving() {
            tokio::spawn(self.clone().drive());
        }
    }

    /// The object was deleted with this much grace.
    pub(crate) fn stop(self: &Arc<Self>, grace: Duration) {
        if self.machine.lock().stop(grace) {
            self.interrupt.notify_one();
            self.kick();
        }
    }

    /// The object is gone: nothing is to be kept, and nobody to be told.
    pub(crate) fn gone(self: &Arc<Self>) {
        self.machine.lock().gone();
        self.interrupt.notify_one();
        self.kick();
    }

    /// The object may have changed: `generation` is what it has now, `fingerprint` stands for its labels and annotations.
    pub(crate) fn seen(self: &Arc<Self>, generation: i64, fingerprint: impl FnOnce() -> u64) {
        if self.machine.lock().seen(generation, fingerprint) {
            self.kick();
        }
    }

    /// A probe of the given run of a container decided something.
    fn probed(self: &Arc<Self>, index: usize, run: u32, action: Action) {
        self.machine.lock().probed(index, run, action, now());
        self.kick();
    }

    /// Notices what guests did since the last look: requests that trapped or passed the memory limit.
    pub(crate) fn inspect(self: &Arc<Self>) {
        let (noticed, retries) = {
            let mut machine = self.machine.lock();
            (machine.inspect_guests(now()), machine.retry_resize())
        };
        for failure in &noticed {
            self.warn(Some(&failure.container), failure.reason, failure.message.clone());
        }
        if retries || !noticed.is_empty() {
            self.kick();
        }
    }

    /// Manifests of the images that its containers run or ran.
    pub(crate) fn images(&self) -> Vec<String> {
        let machine = self.machine.lock();
        let ids = machine.members.iter().filter_map(|it| it.image_id.as_deref());
        ids.filter_map(|it| it.split_once('@')).map(|(_, digest)| digest.to_owned()).collect()
    }

    /// Images for which `is_new` holds can be pulled now.
    pub(crate) fn image_pushed(self: &Arc<Self>, is_new: impl Fn(&str) -> bool) {
        let wanted = self.machine.lock().image_pushed(is_new);
        if wanted {
            self.kick();
        }
    }

    /// Has tokens in its volumes replaced when it is time.
    pub(crate) fn inspect_tokens(self: &Arc<Self>) {
        let is_due = self.machine.lock().renew_tokens(now());
        if is_due {
            self.kick();
        }
    }

    /// Ends the pod when one of its empty directories, all that it wrote, or what its processes leave behind is more than it may be. Only
    /// pods with limits or processes cost anything here.
    pub(crate) async fn inspect_volumes(self: &Arc<Self>) {
        let limits = {
            let machine = self.machine.lock();
            let holds = !machine.size_limits.is_empty() || machine.has_messages;
            if !holds || machine.is_settled() {
                return;
            }
            machine.size_limits.clone()
        };
        let (memory, disk) = (self.shared.memory_directory(&self.key), self.shared.pod_directory(&self.key));
        let all = [disk.join("volumes"), self.shared.log_directory(&self.key)];
        let messages = message::directory(&disk);
        let work = move || {
            let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
            let size = |volume: &str| {
                sum(&mut memory.iter().chain([&disk]).map(|it| volumes::size(&volumes::directory(it, volume))))
            };
            let whole = || sum(&mut all.iter().map(|it| volumes::size(it)));
            let exceeded = limits.into_iter().find(|it| it.volume.as_deref().map_or_else(whole, size) > it.bytes);
            let exceeded = exceeded.map(|SizeLimit { volume, bytes }| match volume {
                Some(volume) => format!("Usage of EmptyDir volume \"{volume}\" exceeds the limit of {bytes} bytes."),
                None => {
                    format!("Pod ephemeral local storage usage exceeds the total limit of containers, {bytes} bytes.")
                }
            });
            exceeded.or_else(|| {
                const MAX: u64 = message::BYTES_MAX;
                let is_too_much = volumes::size(&messages) > MAX;
                is_too_much.then(|| format!("Files beside terminationMessagePath exceed the limit of {MAX} bytes."))
            })
        };
        let Ok(Some(message)) = tokio::task::spawn_blocking(work).await else { return };
        self.warn(None, "Evicted", message.clone());
        self.machine.lock().fail("Evicted", message, now());
        self.kick();
    }

    /// What others may know of it now.
    pub(crate) fn view(&self) -> PodView {
        self.machine.lock().view()
    }

    /// The node that it is on.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where its logs lie.
    pub(crate) fn log_directory(&self) -> std::path::PathBuf {
        self.shared.log_directory(&self.key)
    }

    fn warn(&self, container: Option<&str>, reason: &'static str, message: impl Into<String>) {
        self.shared.events.record(&self.key, container, Level::Warning, reason, message);
    }

    fn note(&self, container: Option<&str>, reason: &'static str, message: impl Into<String>) {
        self.shared.events.record(&self.key, container, Level::Normal, reason, message);
    }

    async fn drive(self: Arc<Self>) {
        loop {
            let (step, is_watched) = {
                let mut machine = self.machine.lock();
                (machine.next(now()), machine.is_watched())
            };
            if is_watched {
                self.shared.watched.add(&self);
            }
            match step {
                Step::Idle => return,
                Step::Timer(at) => self.arm(at),
                Step::Fetch => self.fetch().await,
                Step::Refuse(fields) => self.refuse(&fields),
                Step::Address => self.address(),
                Step::Start(index, input) => self.start(index, input).await,
                Step::Report(patch) => self.report(patch).await,
                Step::Refresh(pod, ip) => start::refresh_volumes(&self, &pod, ip).await,
                Step::Settle => stop::settle(&self).await,
                Step::Stop(grace) => stop::stop(&self, grace).await,
            }
        }
    }

    /// Sees to it that the owner is kicked at `at`.
    fn arm(self: &Arc<Self>, at: Moment) {
        let owner = Arc::downgrade(self);
        let wait = at.since(now());
        let timer = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(owner) = owner.upgrade() {
                owner.machine.lock().due(now().max(at));
                owner.kick();
            }
        });
        self.machine.lock().set_timer(at, timer.abort_handle());
    }

    async fn fetch(self: &Arc<Self>) {
        match api::get::<Pod>(&self.shared.client, &self.key.path()).await {
            Ok(Some(pod)) if pod.metadata.uid.as_deref() == Some(&*self.key.uid) => {
                self.machine.lock().fetched(Arc::new(pod), now());
            }
            Ok(_) => self.machine.lock().gone(),
            Err(error) => {
                tracing::warn!(pod = %self.key, error = &error as &dyn std::error::Error, "reading a pod");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn refuse(&self, fields: &[String]) {
        let message = format!("this node cannot honour {}", fields.join(", "));
        self.warn(None, "UnsupportedField", message.clone());
        self.machine.lock().refused(&message, now());
    }

    fn address(&self) {
        match self.shared.network.take() {
            Some(ip) => self.machine.lock().addressed(ip),
            None => {
                let message = "every pod address of this node is in use";
                self.warn(None, "FailedCreatePodSandBox", message);
                self.machine.lock().unaddressed(message, now());
            }
        }
    }

    async fn start(self: &Arc<Self>, index: usize, input: start::Input) {
        let run = input.run;
        let work = start::start(self, input);
        tokio::pin!(work);
        let outcome = tokio::select! {
            biased;
            () = self.interrupt.notified() => return,
            outcome = &mut work => outcome,
            () = tokio::time::sleep(SLOW_START) => {
                let patch = self.machine.lock().patch_if_news(now());
                if let Some(patch) = patch {
                    self.report(patch).await;
                }
                tokio::select! {
                    biased;
                    () = self.interrupt.notified() => return,
                    outcome = &mut work => outcome,
                }
            }
        };
        let begun = self.machine.lock().started(index, outcome, now());
        match begun {
            Begun::Nothing => {}
            // Without an event it is a matter of waiting.
            Begun::Blocked { event: "", .. } => {}
            Begun::Blocked { container, event, message } => self.warn(Some(&container), event, message),
            Begun::Ended { container, message, back_off } => {
                self.warn(Some(&container), "FailedPostStartHook", message);
                if let Some(message) = back_off {
                    self.warn(Some(&container), "BackOff", message);
                }
            }
            Begun::Running { process, probes } => {
                if let Some(process) = process {
                    self.watch_exit(index, run, process);
                }
                if let Some(plan) = probes {
                    let task = tokio::spawn(probe::run(Arc::downgrade(self), index, run, plan));
                    self.machine.lock().set_probes(index, run, task.abort_handle());
                }
            }
        }
    }

    /// Tells the machine when a command ends.
    fn watch_exit(self: &Arc<Self>, index: usize, run: u32, process: Arc<Process>) {
        let owner = Arc::downgrade(self);
        tokio::spawn(async move {
            let exit = process.wait().await;
            drop(process);
            let Some(owner) = owner.upgrade() else { return };
            let message = owner.machine.lock().take_message(index, run);
            let left = match message {
                Some((message, log)) => {
                    let code = exit.code;
                    tokio::task::spawn_blocking(move || message.read(code, &log)).await.unwrap_or_default()
                }
                None => String::new(),
            };
            let back_off = owner.machine.lock().exited(index, run, exit, left, now());
            if let Some((container, message)) = back_off {
                owner.warn(Some(&container), "BackOff", message);
            }
            owner.kick();
        });
    }

    /// Writes the pod's status. What the server does not take is tried again.
    async fn report(&self, mut patch: serde_json::Value) {
        // A pod of the same name that came after must not get the status of this one.
        patch["metadata"] = serde_json::json!({ "uid": &*self.key.uid });
        let path = format!("{}/status", self.key.path());
        match api::patch(&self.shared.client, &path, api::STRATEGIC, &patch).await {
            Ok(()) => {}
            Err(api::ApiError::Gone { .. }) => self.machine.lock().gone(),
            Err(error) => {
                tracing::warn!(pod = %self.key, error = &error as &dyn std::error::Error, "writing a pod's status");
                self.machine.lock().unreported();
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

impl Referrer for Owner {
    fn source_changed(self: Arc<Self>) {
        self.machine.lock().source_changed();
        self.kick();
    }
}

/// The present, for the pure parts.
pub(crate) fn now() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
