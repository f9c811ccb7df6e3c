//! Changes of a running container's resources.
//!
//! Start at [`Machine::resized`]. Limits are the runtime's to change while a guest runs. What the node does not have is
//! refused until it is asked for less; so is part of a CPU for a command on a thread of its own, and
//! less memory than a guest that answers requests starts with. A limit on memory below what a
//! guest uses waits until it uses less. All is told in a condition.

use eyot_instance::{Moment, pod::Role};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde_json::{Value, json};

use super::{
    alone,
    machine::{Machine, Running},
    resume,
    status::time,
};
use crate::{env, fields};

const PENDING: &str = "PodResizePending";
const IN_PROGRESS: &str = "PodResizeInProgress";

/// A change of resources that has not been made yet.
#[derive(Debug, Default)]
pub(super) struct Resize {
    /// Which condition tells of it, and what it says.
    waits: Option<(&'static str, Box<str>, Moment)>,
    /// The condition that the last status showed.
    told: Option<&'static str>,
}

impl Resize {
    fn wait(&mut self, condition: &'static str, message: String, now: Moment) {
        let since = self.waits.as_ref().filter(|it| it.0 == condition).map_or(now, |it| it.2);
        self.waits = Some((condition, message.into(), since));
    }

    /// Whether it is tried again from time to time.
    pub(super) fn is_retried(&self) -> bool {
        self.waits.as_ref().is_some_and(|it| it.0 == IN_PROGRESS)
    }

    /// What to add to the status: the condition, or that there is none any more.
    pub(super) fn conditions(&mut self) -> Vec<Value> {
        let now = self.waits.as_ref().map(|it| it.0);
        let mut out = Vec::new();
        if let Some(old) = self.told.filter(|it| now != Some(*it)) {
            out.push(json!({ "type": old, "$patch": "delete" }));
        }
        if let Some((condition, message, since)) = &self.waits {
            let reason = if *condition == PENDING { "Infeasible" } else { "Error" };
            out.push(json!({
                "type": condition, "status": "True", "reason": reason, "message": message,
                "lastProbeTime": null, "lastTransitionTime": time(*since),
            }));
        }
        self.told = now;
        out
    }
}

impl Machine {
    /// The object was read again: brings its containers to the resources that it names now.
    pub(super) fn resized(&mut self, pod: &Pod, now: Moment) {
        let containers: Vec<&Container> = env::all_containers(pod).collect();
        let changed = |machine: &Machine, index: usize, it: &Container| {
            machine.members.get(index).is_some_and(|member| member.resources != resume::resources(it))
        };
        if !containers.iter().enumerate().any(|(index, it)| changed(self, index, it)) {
            self.news |= self.resize.waits.take().is_some();
            return;
        }
        if let Some(message) = self.infeasible(&containers) {
            self.resize.wait(PENDING, message, now);
            self.news = true;
            return;
        }
        let mut waits = None;
        for (index, container) in containers.iter().enumerate() {
            if changed(self, index, container)
                && let Err(message) = self.resize_one(index, container, now)
            {
                waits = Some(message);
            }
        }
        match waits {
            Some(message) => self.resize.wait(IN_PROGRESS, message, now),
            None => self.resize.waits = None,
        }
        self.news = true;
    }

    /// Why what the containers ask for can never be.
    fn infeasible(&self, containers: &[&Container]) -> Option<String> {
        let found = self.too_much(containers).or_else(|| self.not_whole(containers));
        found.or_else(|| self.too_little(containers))
    }

    /// Why the node cannot ever give what the containers ask for together. Those that only prepare have ended by then.
    fn too_much(&self, containers: &[&Container]) -> Option<String> {
        let sum = containers
            .iter()
            .zip(&self.members)
            .filter(|(_, member)| member.role != Role::Init)
            .map(|(it, _)| fields::requests(it))
            .fold((0u64, 0u64), |sum, it| (sum.0.saturating_add(it.0), sum.1.saturating_add(it.1)));
        let (name, asked, has) = match () {
            () if sum.0 > self.capacity.cpu_millis => ("cpu", sum.0, self.capacity.cpu_millis),
            () if sum.1 > self.capacity.memory_bytes => ("memory", sum.1, self.capacity.memory_bytes),
            () => return None,
        };
        Some(format!("Node didn't have enough capacity: {name}, requested: {asked}, capacity: {has}"))
    }

    /// Why a command on a thread of its own cannot have what is asked for it: a part of a CPU.
    fn not_whole(&self, containers: &[&Container]) -> Option<String> {
        let asked = containers.iter().zip(&self.members).find(|(container, member)| {
            let wanted = resume::resources(container);
            matches!(&member.running, Running::Command(process) if process.is_alone())
                && !restarts(container, member.resources.as_deref(), wanted.as_deref())
                && fields::limits(container).is_ok_and(|(cpu, _)| cpu.is_some_and(|it| !alone::is_whole(it)))
        });
        let name = &asked?.0.name;
        Some(format!("container {name} has a thread of its own: only a whole number of CPUs is feasible while it runs"))
    }

    /// Why a guest that answers requests could not answer any: its instances start with more memory than it would have.
    fn too_little(&self, containers: &[&Container]) -> Option<String> {
        containers.iter().zip(&self.members).find_map(|(container, member)| {
            let Running::Http { guest, .. } = &member.running else { return None };
            let (least, limit) = (guest.memory_bytes_min(), fields::limits(container).ok()?.1?);
            let message =
                format!("container {} starts with {least} bytes of memory: no less is feasible", container.name);
            (limit < least).then_some(message)
        })
    }

    fn resize_one(&mut self, index: usize, container: &Container, now: Moment) -> Result<(), String> {
        let wanted = resume::resources(container);
        let restarts = restarts(container, self.members[index].resources.as_deref(), wanted.as_deref());
        let member = &mut self.members[index];
        if !restarts {
            let (cpu, memory) = fields::limits(container).map_err(|error| error.to_string())?;
            let taken = match &member.running {
                Running::Http { guest, .. } => guest.limit(cpu, memory),
                Running::Command(process) => process.limit(cpu, memory),
                Running::Not => true,
            };
            if !taken {
                return Err(format!("container {} uses more memory than its new limit", container.name));
            }
        }
        member.resources = wanted;
        if restarts {
            self.restart(index, "its resources changed", now);
        }
        Ok(())
    }

    /// Whether a change that waits is to be tried again.
    pub(super) fn retry_resize(&mut self) -> bool {
        let waits = self.resize.is_retried() && !self.is_settled();
        self.refetch_if(waits);
        waits
    }
}

/// Whether a resource changed for which the container asks to be restarted.
fn restarts(container: &Container, old: Option<&ResourceRequirements>, new: Option<&ResourceRequirements>) -> bool {
    let amount = |it: Option<&ResourceRequirements>, name: &str| {
        let lists = it.map(|it| [it.limits.as_ref(), it.requests.as_ref()]).unwrap_or_default();
        lists.map(|list| list.and_then(|it| it.get(name)).cloned())
    };
    container.resize_policy.iter().flatten().any(|it| {
        it.restart_policy == "RestartContainer" && amount(old, &it.resource_name) != amount(new, &it.resource_name)
    })
}
