//! The pod's status as the API shows it.
//!
//! Start at [`Machine::compose`]. It is written as one strategic merge patch: conditions of others stay as they are.

use eyot_instance::{
    Moment, State, Terminated,
    pod::{self, Phase, Role},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Value, json};

use super::{
    machine::{Ending, Machine, Member},
    resume::moment,
};

/// The conditions that the node decides, in the order it writes them.
const CONDITIONS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"];
const INITIALIZED: usize = 1;

/// What the conditions were and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Conditions {
    known: [Option<(bool, Moment)>; 4],
    /// Which ones ever said why they did not hold: that has to be taken back when they do.
    blamed: [bool; 4],
}

impl Conditions {
    /// Takes over what the status says.
    pub(super) fn recall(&mut self, status: Option<&PodStatus>) {
        for condition in status.iter().flat_map(|it| it.conditions.iter().flatten()) {
            if let Some(index) = CONDITIONS.iter().position(|it| *it == condition.type_) {
                let since = moment(condition.last_transition_time.as_ref()).unwrap_or_default();
                self.known[index] = Some((condition.status == "True", since));
                self.blamed[index] |= condition.status != "True";
            }
        }
    }

    /// Whether every init container had done its part when last reported.
    pub(super) fn was_initialized(&self) -> bool {
        self.known[INITIALIZED].is_some_and(|(it, _)| it)
    }

    fn update(&mut self, values: [bool; 4], now: Moment) {
        for ((known, blamed), value) in self.known.iter_mut().zip(&mut self.blamed).zip(values) {
            *blamed |= !value;
            if known.is_none_or(|(was, _)| was != value) {
                *known = Some((value, now));
            }
        }
    }
}

impl Machine {
    /// The status now, as a patch.
    pub(super) fn compose(&mut self, now: Moment) -> Value {
        let members: Vec<_> = self.members.iter().map(Member::pure).collect();
        let phase = self.phase();
        let alive = !phase.is_final() && self.ending == Ending::No;
        let ready = alive && pod::are_ready(&members);
        let initialized = pod::is_initialized(&members) || self.conditions.was_initialized();
        self.conditions.update([self.ip.is_some() && !phase.is_final(), initialized, ready, ready], now);
        let conditions = self.conditions_value(phase);
        let list = |roles: &[Role]| -> Vec<Value> {
            let of_kind = self.members.iter().filter(|it| roles.contains(&it.role));
            of_kind.map(|it| self.container(it)).collect()
        };
        let (reason, message) = match &self.failure {
            Some(failure) => (json!(failure.0), json!(failure.1)),
            None => (Value::Null, Value::Null),
        };
        let mut status = json!({
            "phase": phase.to_string(),
            "reason": reason,
            "message": message,
            "conditions": conditions,
            "containerStatuses": list(&[Role::Main]),
            "startTime": self.began.map(time),
            "hostIP": self.host_ip.to_string(),
            "hostIPs": [{ "ip": self.host_ip.to_string() }],
        });
        for (field, roles) in [
            ("initContainerStatuses", &[Role::Init, Role::Sidecar][..]),
            ("ephemeralContainerStatuses", &[Role::Ephemeral][..]),
        ] {
            if self.members.iter().any(|it| roles.contains(&it.role)) {
                status[field] = json!(list(roles));
            }
        }
        if let Some(ip) = self.ip {
            status["podIP"] = json!(ip.to_string());
            status["podIPs"] = json!([{ "ip": ip.to_string() }]);
        }
        if self.generation > 0 {
            status["observedGeneration"] = json!(self.generation);
        }
        json!({ "status": status })
    }

    fn conditions_value(&mut self, phase: Phase) -> Vec<Value> {
        let unready: Vec<&str> = self
            .members
            .iter()
            .filter(|it| matches!(it.role, Role::Sidecar | Role::Main) && !(it.ready && it.container.is_running()))
            .map(|it| &*it.name)
            .collect();
        let uninitialized: Vec<&str> = self
            .members
            .iter()
            .filter(|it| matches!(it.role, Role::Init | Role::Sidecar) && !it.pure().is_past())
            .map(|it| &*it.name)
            .collect();
        let mut out = Vec::new();
        for (index, (kind, known)) in CONDITIONS.iter().zip(&self.conditions.known).enumerate() {
            let Some((value, since)) = known else { continue };
            let (reason, message) = match (value, index, phase) {
                (true, ..) | (false, 0, _) => (Value::Null, Value::Null),
                (false, _, Phase::Succeeded) => (json!("PodCompleted"), Value::Null),
                (false, _, Phase::Failed) => (json!("PodFailed"), Value::Null),
                (false, INITIALIZED, _) => (
                    json!("ContainersNotInitialized"),
                    json!(format!("containers with incomplete status: [{}]", uninitialized.join(" "))),
                ),
                (false, ..) if self.ending != Ending::No => (json!("PodTerminating"), Value::Null),
                (false, ..) => (
                    json!("ContainersNotReady"),
                    json!(format!("containers with unready status: [{}]", unready.join(" "))),
                ),
            };
            let mut condition = json!({
                "type": kind, "status": if *value { "True" } else { "False" }, "lastTransitionTime": time(*since),
            });
            if self.conditions.blamed[index] {
                condition["reason"] = reason;
                condition["message"] = message;
            }
            if self.generation > 0 {
                condition["observedGeneration"] = json!(self.generation);
            }
            out.push(condition);
        }
        out.extend(self.resize.conditions());
        out
    }

    fn container(&self, member: &Member) -> Value {
        let life = &member.container;
        let waits_for_init = member.role == Role::Main && !self.conditions.was_initialized();
        let state = match &life.state {
            State::Waiting(it) if waits_for_init && it.message.is_empty() => {
                json!({ "waiting": { "reason": "PodInitializing" } })
            }
            State::Waiting(it) if it.message.is_empty() => json!({ "waiting": { "reason": it.reason.to_string() } }),
            State::Waiting(it) => json!({ "waiting": { "reason": it.reason.to_string(), "message": &*it.message } }),
            State::Running { started } => json!({ "running": { "startedAt": time(*started) } }),
            State::Terminated(end) => json!({ "terminated": terminated(end) }),
        };
        let last = life.last.as_deref().map_or_else(|| json!({}), |end| json!({ "terminated": terminated(end) }));
        let has_run = !matches!(life.state, State::Waiting(_)) || life.last.is_some();
        let ready = match member.role {
            Role::Init => life.ended().is_some_and(|it| it.code == 0),
            Role::Ephemeral => false,
            Role::Sidecar | Role::Main => life.is_running() && member.ready && self.ending == Ending::No,
        };
        let mut status = json!({
            "name": &*member.name,
            "state": state,
            "lastState": last,
            "ready": ready,
            "started": life.is_running() && member.started,
            "restartCount": life.restarts,
            "image": &*member.image,
            "imageID": member.image_id.as_deref().unwrap_or_default(),
            "containerID": has_run.then(|| format!("eyot://{}/{}/{}", self.key.uid, member.name, life.restarts)),
        });
        if let Some(resources) = &member.resources {
            status["resources"] = json!(resources);
            status["allocatedResources"] = json!(resources.requests);
        }
        status
    }
}

fn terminated(end: &Terminated) -> Value {
    let mut value = json!({
        "exitCode": end.code, "reason": end.reason(), "startedAt": time(end.started), "finishedAt": time(end.finished),
    });
    if !end.message.is_empty() {
        value["message"] = json!(&*end.message);
    }
    value
}

/// A moment as the API writes times: whole seconds, UTC.
pub(crate) fn time(moment: Moment) -> String {
    let time =
        i64::try_from(moment.0).ok().and_then(|it| Timestamp::from_millisecond(it).ok()).unwrap_or(Timestamp::MAX);
    format!("{time:.0}")
}
