//! Commands that have whole CPUs to themselves, as Kubernetes' static CPU manager gives them: each runs on a thread of its own, by
//! code that need not take turns.
//!
//! Start at [`command`], then [`spawn`]. Who asks for whole CPUs and cannot have such a thread runs as all others do, and an event says why.

use std::sync::Arc;

use eyot_instance::WaitingReason;
use eyot_registry::ProgramFile;
use eyot_runtime::{GuestSpec, LoadError, StartError, Unshared};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Owner, machine::Running, start::Blocked};
use crate::fields;

/// Whether the container asks for whole CPUs: its pod is of the class Guaranteed, and its limit is a whole number of them.
fn asks(pod: &Pod, container: &Container) -> bool {
    let class = pod.status.as_ref().and_then(|it| it.qos_class.as_deref());
    class == Some("Guaranteed") && fields::limits(container).is_ok_and(|(cpu, _)| cpu.is_some_and(is_whole))
}

/// Whether so many thousandths of a CPU are a whole number of them.
pub(super) fn is_whole(cpu_millis: u32) -> bool {
    cpu_millis >= 1000 && cpu_millis.is_multiple_of(1000)
}

/// The command in `file` for a thread of its own. `None` where it is to share threads with others.
pub(super) async fn command(
    owner: &Owner,
    pod: &Pod,
    container: &Container,
    file: &ProgramFile,
) -> Result<Option<Unshared>, LoadError> {
    if !asks(pod, container) {
        return Ok(None);
    }
    let shares = |why: &str| {
        let message = format!("container {} asks for whole CPUs but shares threads: {why}", container.name);
        owner.note(Some(&container.name), "SharedThreads", message);
    };
    let thread = match owner.shared.runtime.own_thread() {
        Ok(thread) => thread,
        Err(error) => {
            shares(&error.to_string());
            return Ok(None);
        }
    };
    let command = owner.shared.runtime.load_unchecked(thread, &file.wasm, &file.digest).await?;
    if command.is_none() {
        shares("its program is of WASI 0.3, or uses garbage collection, exceptions or tail calls");
    }
    Ok(command)
}

/// Starts it there.
pub(super) fn spawn(command: Unshared, spec: GuestSpec) -> Result<Running, Blocked> {
    let failed = |error: StartError| Blocked::new(WaitingReason::RunContainerError, "Failed", error);
    Ok(Running::Command(Arc::new(command.spawn(spec).map_err(failed)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(class: &str, limits: serde_json::Value) -> bool {
        let container = json!({ "name": "one", "resources": { "limits": limits, "requests": limits } });
        let pod = json!({ "metadata": { "name": "p" }, "spec": { "containers": [container] }, "status": { "qosClass": class } });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        asks(&pod, &pod.spec.as_ref().unwrap().containers[0])
    }

    #[test]
    fn whole_cpus_are_asked_for_as_the_static_cpu_manager_has_it() {
        assert!(check("Guaranteed", json!({ "cpu": "1", "memory": "64Mi" })));
        assert!(check("Guaranteed", json!({ "cpu": "2000m", "memory": "64Mi" })));
        assert!(!check("Guaranteed", json!({ "cpu": "1500m", "memory": "64Mi" })));
        assert!(!check("Guaranteed", json!({ "cpu": "500m", "memory": "64Mi" })));
        assert!(!check("Burstable", json!({ "cpu": "1" })));
        assert!(!check("BestEffort", json!({})));
    }
}
