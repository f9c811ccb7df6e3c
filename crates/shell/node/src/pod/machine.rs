//! What one pod is and needs next, as a value. Start at [`Machine::next`].
//!
//! Nothing here waits: methods record what happened, [`Machine::next`] says what to do. What follows from a start, an exit
//! or a probe is in `react.rs`, the status it amounts to in `status.rs`.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Weak},
    time::Duration,
};

use eyot_instance::{
    Container, Event, Moment, RestartPolicy, Rules, Schedule, State, WaitingReason,
    pod::{self, Member as PureMember, Phase, Role},
};
use eyot_runtime::{HttpGuest, Process};
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use tokio::task::AbortHandle;

use super::{
    PodKey,
    message::Message,
    probe,
    resize::Resize,
    resume,
    session::InputPipe,
    shared::Shared,
    start::{self, Published},
    status::Conditions,
};
use crate::{
    admit, env,
    logs::Log,
    register::Size,
    volumes::{Part, SizeLimit},
};

/// Between two tries to replace a pod's tokens.
const TOKEN_RETRY: Duration = Duration::from_secs(30);

/// The guest behind a container that runs.
pub(super) enum Running {
    /// None.
    Not,
    /// A component that answers requests.
    Http {
        guest: Arc<HttpGuest>,
        /// Its addresses; dropping this withdraws them.
        published: Published,
        /// Failed requests at the last look: past the memory limit, broken, too late.
        failures_seen: [u64; 3],
    },
    /// A process.
    Command(Arc<Process>),
}

/// One container of the pod, init containers included.
pub(super) struct Member {
    pub(super) name: Box<str>,
    pub(super) image: Box<str>,
    pub(super) image_id: Option<Arc<str>>,
    pub(super) role: Role,
    pub(super) container: Container,
    /// Whether it is to be started as soon as its turn comes.
    pub(super) wanted: bool,
    /// Whether its status says that it runs, from before the node started.
    pub(super) resumed: bool,
    /// How often it had been restarted when its present guest started.
    pub(super) run: u32,
    pub(super) ready: bool,
    pub(super) started: bool,
    pub(super) running: Running,
    pub(super) probes: Option<AbortHandle>,
    pub(super) log: Option<Arc<Log>>,
    /// Where its present guest reads, when its spec asks for that.
    pub(super) input: Option<Arc<InputPipe>>,
    /// Other programs that run beside its present guest.
    pub(super) extras: Vec<Weak<Process>>,
    /// Where its present guest leaves its last words, if it is a process.
    pub(super) message: Option<Box<Message>>,
    /// The resources it has, as its status shows them; `None` for none.
    pub(super) resources: Option<Box<ResourceRequirements>>,
}

impl Member {
    pub(super) fn pure(&self) -> PureMember<'_> {
        PureMember { container: &self.container, ready: self.ready, started: self.started, role: self.role }
    }

    /// Lets guest, addresses, probes and log go.
    pub(super) fn release(&mut self) {
        if let Some(probes) = self.probes.take() {
            probes.abort();
        }
        if let Some(log) = &self.log {
            log.close();
        }
        self.input = None;
        self.message = None;
        for extra in std::mem::take(&mut self.extras).iter().filter_map(Weak::upgrade) {
            extra.kill();
        }
        self.running = Running::Not;
        self.ready = false;
        self.started = false;
    }
}

/// What to do next.
pub(super) enum Step {
    /// Nothing; the task ends.
    Idle,
    /// Come back at this moment.
    Timer(Moment),
    /// Read the object again.
    Fetch,
    /// Say that these fields cannot be honoured.
    Refuse(Vec<String>),
    /// Take an address.
    Address,
    /// Start a container.
    Start(usize, start::Input),
    /// Write this status.
    Report(serde_json::Value),
    /// Write volumes anew.
    Refresh(Arc<Pod>, Ipv4Addr),
    /// Free what a finished pod no longer needs.
    Settle,
    /// Wind the pod down within this grace and let its object go; `None` when the object is gone.
    Stop(Option<Duration>),
}

/// What followed from the end of a start.
pub(super) enum Begun {
    Nothing,
    Blocked {
        container: Box<str>,
        event: &'static str,
        message: String,
    },
    /// Its hook failed, and so it ended; with `back_off` it waits before it starts again.
    Ended {
        container: Box<str>,
        message: String,
        back_off: Option<String>,
    },
    Running {
        process: Option<Arc<Process>>,
        probes: Option<Box<probe::Plan>>,
    },
}

/// How far the end of a pod has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    No,
    /// Its object was deleted.
    Asked(Duration),
    /// Its object is gone.
    Gone,
    /// Under way or done.
    Taken,
}

/// What others may know of a pod.
pub(crate) struct PodView {
    /// Its address, if it has one.
    pub(crate) ip: Option<Ipv4Addr>,
    /// Whether it will never run again.
    pub(crate) finished: bool,
    /// Its containers.
    pub(crate) containers: Vec<LogView>,
}

/// What others may know of a container.
pub(crate) struct LogView {
    pub(crate) name: Box<str>,
    pub(crate) restarts: u32,
    /// Whether any run of it has begun.
    pub(crate) has_run: bool,
    /// Why it waits, when it does.
    pub(crate) waiting: Option<String>,
    /// The log of the present run, if one is being written.
    pub(crate) log: Option<Arc<Log>>,
}

/// One pod.
pub(crate) struct Machine {
    pub(super) key: Arc<PodKey>,
    driving: bool,
    /// Whether the status differs from what was last written.
    pub(super) news: bool,
    pub(super) ending: Ending,
    /// Kept only while it is needed: an idle pod is read again when something happens to it.
    pub(super) pod: Option<Arc<Pod>>,
    pub(super) generation: i64,
    refetch: bool,
    admitted: bool,
    settled: bool,
    stale_volumes: bool,
    pub(super) has_sources: bool,
    /// What labels and annotations were when last seen, where volumes show them; zero when not seen yet.
    pub(super) metadata: Option<u64>,
    /// What the node can give to pods.
    pub(super) capacity: Size,
    /// A change of resources that has not been made yet.
    pub(super) resize: Resize,
    /// When tokens in its volumes are to be replaced.
    tokens_due: Option<Moment>,
    /// Whether a guest looked for the volumes that come late.
    late_made: bool,
    /// How much its files may come to.
    pub(super) size_limits: Box<[SizeLimit]>,
    /// Whether a process has a directory of its own for its last words.
    pub(super) has_messages: bool,
    /// Whether a container has a hook that runs before it stops.
    pub(super) has_hooks: bool,
    pub(super) ip: Option<Ipv4Addr>,
    pub(super) address_given_up: bool,
    pub(super) host_ip: Ipv4Addr,
    pub(super) policy: RestartPolicy,
    pub(super) schedule: Schedule,
    pub(super) members: Box<[Member]>,
    pub(super) conditions: Conditions,
    pub(super) began: Option<Moment>,
    /// When `activeDeadlineSeconds` ends the pod.
    pub(super) deadline: Option<Moment>,
    /// Why the pod as a whole failed, if it was not by its containers.
    pub(super) failure: Option<Box<(&'static str, String)>>,
    timer: Option<(Moment, AbortHandle)>,
}

impl Machine {
    /// The pod as the API has it. Addresses that it had before are claimed now, before any new pod can take them.
    pub(super) fn new(key: Arc<PodKey>, pod: Pod, shared: &Shared, now: Moment) -> Machine {
        let mut machine = resume::machine(key, &pod, shared, now);
        machine.admitted = machine.phase().is_final();
        machine.pod = (!machine.admitted).then(|| Arc::new(pod));
        machine
    }

    /// A machine with these members and no past.
    pub(super) fn blank(key: Arc<PodKey>, members: Box<[Member]>, policy: RestartPolicy, shared: &Shared) -> Machine {
        Machine {
            key,
            driving: false,
            news: false,
            ending: Ending::No,
            pod: None,
            generation: 0,
            refetch: false,
            admitted: false,
            settled: false,
            stale_volumes: false,
            has_sources: false,
            metadata: None,
            capacity: shared.size.allocatable(),
            resize: Resize::default(),
            tokens_due: None,
            late_made: false,
            size_limits: Box::default(),
            has_messages: false,
            has_hooks: false,
            ip: None,
            address_given_up: false,
            host_ip: shared.host_ip,
            policy,
            schedule: shared.config.back_off,
            members,
            conditions: Conditions::default(),
            began: None,
            deadline: None,
            failure: None,
            timer: None,
        }
    }

    /// Whether the caller should start a task that drives this pod.
    pub(super) fn begin_driving(&mut self) -> bool {
        !std::mem::replace(&mut self.driving, true)
    }

    /// What to do next. After [`Step::Idle`] nobody drives the pod.
    pub(super) fn next(&mut self, now: Moment) -> Step {
        match self.ending {
            Ending::No => {}
            Ending::Asked(grace) => {
                self.ending = Ending::Taken;
                return Step::Stop(Some(grace));
            }
            Ending::Gone => {
                self.ending = Ending::Taken;
                return Step::Stop(None);
            }
            Ending::Taken => return self.idle(),
        }
        if self.phase().is_final() {
            return self.next_of_finished(now);
        }
        let turn = self.turn();
        let needs_pod = self.refetch || !self.admitted || turn.is_some() || self.stale_volumes;
        let Some(pod) = self.pod.clone().filter(|_| !self.refetch) else {
            if needs_pod {
                return Step::Fetch;
            }
            return self.next_of_quiet(now);
        };
        if !self.admitted {
            self.admitted = true;
            let refusals = pod.spec.as_ref().map(admit::refusals).unwrap_or_default();
            if !refusals.is_empty() {
                return Step::Refuse(refusals);
            }
        }
        let turn = self.turn();
        if let Some(index) = turn {
            let Some(ip) = self.ip else { return Step::Address };
            let member = &mut self.members[index];
            member.wanted = false;
            let (container, run, resumed) = (member.name.clone(), member.container.restarts, member.resumed);
            return Step::Start(index, start::Input { pod, index, container, ip, run, resumed });
        }
        if let (true, Some(ip)) = (std::mem::take(&mut self.stale_volumes), self.ip) {
            return Step::Refresh(pod, ip);
        }
        self.next_of_quiet(now)
    }

    fn next_of_finished(&mut self, now: Moment) -> Step {
        if let Some(patch) = self.patch_if_news(now) {
            return Step::Report(patch);
        }
        if !std::mem::replace(&mut self.settled, true) {
            return Step::Settle;
        }
        self.idle()
    }

    fn next_of_quiet(&mut self, now: Moment) -> Step {
        if let Some(patch) = self.patch_if_news(now) {
            return Step::Report(patch);
        }
        let wakes = self.members.iter().filter_map(|it| match &it.container.state {
            State::Waiting(waiting) if !it.wanted => waiting.until,
            _ => None,
        });
        match wakes.chain(self.deadline).min() {
            Some(at) if self.timer.as_ref().is_none_or(|(armed, _)| *armed != at) => Step::Timer(at),
            _ => self.idle(),
        }
    }

    fn idle(&mut self) -> Step {
        self.pod = None;
        self.driving = false;
        Step::Idle
    }

    /// The container whose turn it is to start.
    fn turn(&self) -> Option<usize> {
        let initialized = self.conditions.was_initialized();
        let joined = self
            .members
            .iter()
            .position(|it| it.role == Role::Ephemeral && it.wanted && matches!(it.container.state, State::Waiting(_)));
        if joined.is_some() {
            return joined;
        }
        for (index, member) in self.members.iter().enumerate() {
            let is_waiting = matches!(member.container.state, State::Waiting(_)) || member.resumed;
            if member.wanted && is_waiting {
                return Some(index);
            }
            if !initialized && !member.pure().is_past() {
                return None;
            }
        }
        None
    }

    pub(super) fn phase(&self) -> Phase {
        if self.failure.is_some() {
            return Phase::Failed;
        }
        let members: Vec<_> = self.members.iter().map(Member::pure).collect();
        pod::phase(&members, self.policy)
    }

    /// The rules that a member lives by: init containers run until they succeed, sidecars always, what joined later once.
    pub(super) fn rules(&self, index: usize) -> Rules {
        let policy = match (self.members[index].role, self.policy) {
            (Role::Sidecar, _) => RestartPolicy::Always,
            (Role::Init, RestartPolicy::Always) => RestartPolicy::OnFailure,
            (Role::Ephemeral, _) => RestartPolicy::Never,
            (_, policy) => policy,
        };
        Rules { policy, schedule: self.schedule }
    }

    /// Whether nothing of it runs any more.
    pub(super) fn is_settled(&self) -> bool {
        self.settled || self.ending != Ending::No
    }

    /// The status to write, if it differs from what was last written.
    pub(super) fn patch_if_news(&mut self, now: Moment) -> Option<serde_json::Value> {
        std::mem::take(&mut self.news).then(|| self.compose(now))
    }

    /// The last status was not taken.
    pub(super) fn unreported(&mut self) {
        self.news = true;
    }

    /// The object was deleted. False when that is known.
    pub(super) fn stop(&mut self, grace: Duration) -> bool {
        let is_new = self.ending == Ending::No;
        if is_new {
            self.ending = Ending::Asked(grace);
        }
        is_new
    }

    /// The object is gone.
    pub(super) fn gone(&mut self) {
        if self.ending != Ending::Taken {
            self.ending = Ending::Gone;
        }
    }

    /// The object has this generation now, and labels and annotations of this fingerprint. True when it must be read again.
    pub(super) fn seen(&mut self, generation: i64, fingerprint: impl FnOnce() -> u64) -> bool {
        let mut moved = false;
        if let Some(known) = &mut self.metadata {
            let now = fingerprint();
            moved = *known != 0 && *known != now;
            *known = now;
        }
        let is_news = moved || generation > self.generation;
        self.stale_volumes |= moved;
        self.refetch |= is_news;
        is_news
    }

    /// Has the object read again.
    pub(super) fn refetch_if(&mut self, wanted: bool) {
        self.refetch |= wanted;
    }

    /// The object was read again.
    pub(super) fn fetched(&mut self, pod: Arc<Pod>, now: Moment) {
        self.refetch = false;
        let generation = pod.metadata.generation.unwrap_or(self.generation);
        // The status tells which generation it speaks of.
        self.news |= generation != self.generation;
        self.generation = generation;
        self.deadline = resume::deadline(&pod, self.began);
        let images: Vec<Option<String>> = env::all_containers(&pod).map(|it| it.image.clone()).collect();
        for (index, image) in images.into_iter().enumerate().take(self.members.len()) {
            let image = image.unwrap_or_default();
            if *self.members[index].image != *image && self.members[index].container.ended().is_none() {
                self.members[index].image = image.into();
                self.restart(index, "the image changed", now);
            }
        }
        self.resized(&pod, now);
        self.join(&pod, now);
        self.pod = Some(pod);
    }

    /// Takes in containers that joined the pod, in whatever order it lists them.
    fn join(&mut self, pod: &Pod, now: Moment) {
        for container in env::ephemeral(pod) {
            if self.members.iter().any(|it| *it.name == *container.name) {
                continue;
            }
            let mut members = std::mem::take(&mut self.members).into_vec();
            members.push(resume::member(&container, Role::Ephemeral, &[]));
            self.members = members.into();
            let spec = pod.spec.as_ref();
            let refusals = spec.map(|it| admit::refusals_of_joined(it, &container.name)).unwrap_or_default();
            if !refusals.is_empty() {
                let index = self.members.len() - 1;
                let message = format!("this node cannot honour {}", refusals.join(", "));
                self.members[index].wanted = false;
                self.block(index, WaitingReason::UnsupportedField, &message, now);
            }
        }
    }

    /// The pod asks for what this node does not offer.
    pub(super) fn refused(&mut self, message: &str, now: Moment) {
        for index in 0..self.members.len() {
            self.members[index].wanted = false;
            self.block(index, WaitingReason::UnsupportedField, message, now);
        }
        self.news = true;
    }

    /// The pod has an address.
    pub(super) fn addressed(&mut self, ip: Ipv4Addr) {
        self.ip = Some(ip);
        self.news = true;
    }

    /// The address will not be used any more. True once.
    pub(super) fn give_up_address(&mut self) -> bool {
        !std::mem::replace(&mut self.address_given_up, true)
    }

    /// There is no address.
    pub(super) fn unaddressed(&mut self, message: &str, now: Moment) {
        if let Some(index) = self.turn() {
            self.members[index].wanted = false;
            self.block(index, WaitingReason::CreateContainerError, message, now);
        }
        self.news = true;
    }

    pub(super) fn set_timer(&mut self, at: Moment, timer: AbortHandle) {
        if let Some((_, old)) = self.timer.replace((at, timer)) {
            old.abort();
        }
    }

    /// Tokens in this part of its volumes, which is all that is kept or the late one alone, are to be replaced then.
    pub(super) fn renew_tokens_at(&mut self, at: Option<Moment>, part: Part) {
        let others = self.tokens_due.filter(|_| part != self.kept());
        self.tokens_due = others.into_iter().chain(at).min();
    }

    /// Whether it has to be looked at from time to time: for its tokens, for what its volumes hold or its processes leave, or to
    /// try a change of resources again.
    pub(super) fn is_watched(&self) -> bool {
        let holds = !self.size_limits.is_empty() || self.has_messages;
        let wants = self.tokens_due.is_some() || holds || self.resize.is_retried();
        wants && !self.is_settled()
    }

    /// The volumes that come late are there, and follow their sources from now on.
    pub(super) fn made_late(&mut self) {
        self.late_made = true;
        self.has_sources = true;
    }

    /// The volumes that are kept up to date.
    pub(super) fn kept(&self) -> Part {
        if self.late_made { Part::All } else { Part::Early }
    }

    /// Whether tokens are to be replaced now.
    pub(super) fn renew_tokens(&mut self, now: Moment) -> bool {
        let is_due = self.tokens_due.is_some_and(|it| it <= now) && !self.is_settled();
        if is_due {
            // Should it fail, it is tried again, but not at once.
            self.tokens_due = Some(now.plus(TOKEN_RETRY));
            self.stale_volumes = true;
        }
        is_due
    }

    /// An object that the pod refers to appeared or changed.
    pub(super) fn source_changed(&mut self) {
        self.stale_volumes = self.has_sources;
        for member in &mut self.members {
            if let State::Waiting(it) = &member.container.state
                && (it.reason == WaitingReason::CreateContainerConfigError
                    // Which waits for a claim to be bound.
                    || (it.reason == WaitingReason::ContainerCreating && it.until.is_some()))
            {
                member.wanted = true;
            }
        }
    }

    /// Images for which `is_new` holds can be pulled now. Whether a container waited for one.
    pub(super) fn image_pushed(&mut self, is_new: impl Fn(&str) -> bool) -> bool {
        use WaitingReason::{ErrImageNeverPull, ErrImagePull, ImagePullBackOff};
        let mut any = false;
        for member in &mut self.members {
            if let State::Waiting(it) = &member.container.state
                && matches!(it.reason, ErrImagePull | ImagePullBackOff | ErrImageNeverPull)
                && is_new(&member.image)
            {
                member.wanted = true;
                any = true;
            }
        }
        any
    }

    pub(super) fn step(&mut self, index: usize, event: Event, now: Moment) -> Option<eyot_instance::Effect> {
        let rules = self.rules(index);
        let (container, effect) = std::mem::take(&mut self.members[index].container).step(event, &rules, now);
        self.members[index].container = container;
        self.news = true;
        effect
    }

    pub(super) fn block(&mut self, index: usize, reason: WaitingReason, message: &str, now: Moment) {
        self.step(index, Event::Blocked { reason, message: message.into() }, now);
    }

    /// What others may know.
    pub(super) fn view(&self) -> PodView {
        let containers = self.members.iter().map(|it| LogView {
            name: it.name.clone(),
            restarts: it.container.restarts,
            has_run: it.container.is_running() || it.container.ended().is_some() || it.container.last.is_some(),
            waiting: match &it.container.state {
                State::Waiting(waiting) => Some(waiting.reason.to_string()),
                _ => None,
            },
            log: it.log.clone(),
        });
        PodView { ip: self.ip, finished: self.phase().is_final(), containers: containers.collect() }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
        for member in &mut self.members {
            member.release();
        }
    }
}
