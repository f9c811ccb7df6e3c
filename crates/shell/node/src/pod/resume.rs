//! A pod's machine from its object: new, or as its status remembers it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use eyot_instance::{
    Container as Life, ExitKind, Moment, RestartPolicy, State, Terminated, Waiting, WaitingReason, pod::Role,
};
use k8s_openapi::{
    api::core::v1::{Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    PodKey,
    machine::{Machine, Member, Running},
    shared::Shared,
};
use crate::{
    env, fields, sources,
    volumes::{self, Part},
};

/// The machine for `pod`. An address that the status names is claimed.
pub(super) fn machine(key: Arc<PodKey>, pod: &Pod, shared: &Shared, now: Moment) -> Machine {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let policy = match spec.and_then(|it| it.restart_policy.as_deref()) {
        Some("Never") => RestartPolicy::Never,
        Some("OnFailure") => RestartPolicy::OnFailure,
        _ => RestartPolicy::Always,
    };
    let init_statuses = status.and_then(|it| it.init_container_statuses.as_deref()).unwrap_or_default();
    let main_statuses = status.and_then(|it| it.container_statuses.as_deref()).unwrap_or_default();
    let init = spec.into_iter().flat_map(|it| it.init_containers.iter().flatten());
    let init = init.map(|it| {
        let role = if it.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init };
        member(it, role, init_statuses)
    });
    let main = spec.into_iter().flat_map(|it| &it.containers).map(|it| member(it, Role::Main, main_statuses));
    let joined_statuses = status.and_then(|it| it.ephemeral_container_statuses.as_deref()).unwrap_or_default();
    let joined = env::ephemeral(pod).map(|it| member(&it, Role::Ephemeral, joined_statuses));
    let members: Box<[Member]> = init.chain(main).chain(joined).collect();
    let mut machine = Machine::blank(key, members, policy, shared);
    machine.generation = pod.metadata.generation.unwrap_or(0);
    machine.has_sources = !sources::of_volumes(pod, Part::Early).is_empty();
    machine.metadata = fields::in_volumes(pod).then_some(0);
    machine.has_hooks =
        env::all_containers(pod).any(|it| it.lifecycle.as_ref().is_some_and(|it| it.pre_stop.is_some()));
    machine.size_limits = volumes::size_limits(pod);
    machine.began = status.and_then(|it| moment(it.start_time.as_ref())).or(Some(now));
    machine.deadline = deadline(pod, machine.began);
    machine.conditions.recall(status);
    // Every container waits and none ever ran: the pod is new, or a new start loses nothing.
    machine.news = machine.members.iter().all(|it| !it.resumed && it.container.ended().is_none());
    if machine.phase().is_final()
        || status.is_some_and(|it| matches!(it.phase.as_deref(), Some("Succeeded" | "Failed")))
    {
        machine.recall_failure(status.and_then(|it| it.phase.as_deref()), status.and_then(|it| it.reason.clone()), pod);
        machine.news = false;
        machine.deadline = None;
        return machine;
    }
    let before: Option<Ipv4Addr> = status.and_then(|it| it.pod_ip.as_ref()).and_then(|it| it.parse().ok());
    if let Some(ip) = before {
        if shared.network.claim(ip) {
            machine.ip = Some(ip);
        } else {
            machine.news = true;
        }
    }
    machine
}

/// When `activeDeadlineSeconds` ends the pod.
pub(super) fn deadline(pod: &Pod, began: Option<Moment>) -> Option<Moment> {
    let seconds = u64::try_from(pod.spec.as_ref()?.active_deadline_seconds?).ok()?;
    Some(began?.plus(Duration::from_secs(seconds)))
}

impl Machine {
    /// A pod that failed as a whole stays so, whatever its containers say.
    fn recall_failure(&mut self, phase: Option<&str>, reason: Option<String>, pod: &Pod) {
        if phase != Some("Failed") || self.phase() == eyot_instance::pod::Phase::Failed {
            return;
        }
        let message = pod.status.as_ref().and_then(|it| it.message.clone()).unwrap_or_default();
        let reason = match reason.as_deref() {
            Some("DeadlineExceeded") => "DeadlineExceeded",
            Some("Evicted") => "Evicted",
            _ => "Error",
        };
        self.failure = Some(Box::new((reason, message)));
    }
}

pub(super) fn member(container: &Container, role: Role, statuses: &[ContainerStatus]) -> Member {
    let status = statuses.iter().find(|it| it.name == container.name);
    let life = status.map(life).unwrap_or_default();
    let resumed = life.is_running();
    Member {
        name: container.name.as_str().into(),
        image: container.image.as_deref().unwrap_or_default().into(),
        image_id: status.filter(|it| !it.image_id.is_empty()).map(|it| it.image_id.as_str().into()),
        role,
        wanted: life.ended().is_none(),
        resumed,
        run: life.restarts,
        ready: resumed && status.is_some_and(|it| it.ready),
        started: resumed && status.is_some_and(|it| it.started != Some(false)),
        running: Running::Not,
        probes: None,
        log: None,
        input: None,
        extras: Vec::new(),
        message: None,
        resources: resources(container),
        container: life,
    }
}

/// The container's resources, if it names any.
pub(super) fn resources(container: &Container) -> Option<Box<ResourceRequirements>> {
    let named = container.resources.as_ref()?;
    let any = named.limits.as_ref().is_some_and(|it| !it.is_empty())
        || named.requests.as_ref().is_some_and(|it| !it.is_empty());
    any.then(|| {
        Box::new(ResourceRequirements { limits: named.limits.clone(), requests: named.requests.clone(), claims: None })
    })
}

fn life(status: &ContainerStatus) -> Life {
    let restarts = u32::try_from(status.restart_count).unwrap_or(0);
    let last = status.last_state.as_ref().and_then(|it| it.terminated.as_ref()).map(|it| Box::new(terminated(it)));
    let state = match &status.state {
        Some(ContainerState { running: Some(it), .. }) => {
            State::Running { started: moment(it.started_at.as_ref()).unwrap_or_default() }
        }
        Some(ContainerState { terminated: Some(it), .. }) => State::Terminated(Box::new(terminated(it))),
        _ => State::Waiting(Waiting { reason: WaitingReason::ContainerCreating, message: "".into(), until: None }),
    };
    Life::resume(state, restarts, last)
}

fn terminated(state: &ContainerStateTerminated) -> Terminated {
    Terminated {
        code: state.exit_code,
        kind: match state.reason.as_deref() {
            Some("OOMKilled") => ExitKind::OutOfMemory,
            Some("Unknown") => ExitKind::Lost,
            _ => ExitKind::Exited,
        },
        message: state.message.as_deref().unwrap_or_default().into(),
        started: moment(state.started_at.as_ref()).unwrap_or_default(),
        finished: moment(state.finished_at.as_ref()).unwrap_or_default(),
    }
}

pub(super) fn moment(time: Option<&Time>) -> Option<Moment> {
    u64::try_from(time?.0.as_millisecond()).ok().map(Moment)
}
