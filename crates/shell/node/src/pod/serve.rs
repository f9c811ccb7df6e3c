//! Commands that answer requests: which containers may have one, and which program of their image it is.

use eyot_instance::{WaitingReason, pod::Role};
use eyot_registry::Image;
use eyot_runtime::{GuestSpec, Program};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{
    Owner, choose,
    start::{Blocked, role},
};
use crate::{
    annotations::{self, Runs},
    deadline,
    served::Served,
};

/// Whether a command of this container could answer requests: not one that is meant to end.
fn may_be_served(pod: &Pod, index: usize) -> bool {
    let restarts = pod.spec.as_ref().and_then(|it| it.restart_policy.as_deref()).is_none_or(|it| it == "Always");
    match role(pod, index) {
        Role::Main => restarts,
        Role::Sidecar => true,
        _ => false,
    }
}

/// How the container's command would answer requests, if its environment says that it does.
pub(super) fn asked(pod: &Pod, index: usize, env: &[(String, String)]) -> Result<Option<Served>, Blocked> {
    if !may_be_served(pod, index) {
        return Ok(None);
    }
    Served::of(env).map_err(Blocked::config)
}

/// That of it which `program` needs: one that answers by itself is not served.
pub(super) fn served(owner: &Owner, container: &Container, program: &Program, asked: Option<Served>) -> Option<Served> {
    if asked.is_some() && !program.kind().is_command() {
        let message = format!("environment variable fprocess is not used: a {} answers by itself", program.kind());
        owner.warn(Some(&container.name), "UnusedVariable", message);
        return None;
    }
    asked
}

/// The program of the image that is named to be served.
pub(super) async fn program(owner: &Owner, image: &Image, served: &Served, own: Program) -> Result<Program, Blocked> {
    let name = served.words.first().map_or("", String::as_str);
    let failed = |error: &dyn std::fmt::Display| {
        Blocked::new(WaitingReason::CreateContainerError, "Failed", format!("fprocess {name}: {error}"))
    };
    let found = choose::named(&owner.shared.images, image, name).await.map_err(|error| failed(&error))?;
    if found.digest == own.digest() {
        return Ok(own);
    }
    owner.shared.runtime.load(&found.wasm, &found.digest).await.map_err(|error| failed(&error))
}

/// Tells of annotations that do nothing for the container.
pub(super) fn warn_unused(owner: &Owner, pod: &Pod, container: &Container, runs: Runs) {
    for message in annotations::unused(pod, &container.name, runs) {
        owner.warn(Some(&container.name), "UnusedAnnotation", message);
    }
}

/// Has the command answer requests as it was found.
pub(super) fn answer_by(spec: &mut GuestSpec, pod: &Pod, served: Served) {
    // An annotation that is wrong was refused before.
    let named = deadline::named(pod).ok().flatten();
    spec.request_deadline = served.terms.timeout.or(named).unwrap_or(deadline::OF_FUNCTIONS);
    spec.requests_max = served.requests_max.unwrap_or(spec.requests_max);
    spec.per_request = Some(served.terms);
}
