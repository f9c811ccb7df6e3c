//! Which engine runs a pod's containers, by its RuntimeClass.
//!
//! Start at [`choose`], before an image is pulled, and [`start`], after. A pod that names no class, or one whose handler is
//! `wasm` or `eyot`, runs in this process; `wasmedge` runs each container as a process of the program of that name.

use std::sync::Arc;

use eyot_instance::WaitingReason;
use eyot_registry::Image;
use eyot_runtime::{Runtime, StartError, WasmEdge};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{
    Owner, choose,
    machine::Running,
    serve,
    start::{self, Begin, Blocked, Live, Outcome},
};
use crate::{
    annotations::Runs,
    api, env,
    logs::{self, Log},
};

/// The handlers of this node.
pub(crate) const HANDLERS: [&str; 3] = ["wasm", "eyot", WASMEDGE];
pub(crate) const WASMEDGE: &str = "wasmedge";

/// The handlers that can run something now, and the one that needs no name.
pub(crate) fn handlers(runtime: &Runtime) -> Vec<&'static str> {
    let is_there = |it: &&str| *it != WASMEDGE || WasmEdge::find(runtime).is_ok();
    std::iter::once("").chain(HANDLERS.into_iter().filter(is_there)).collect()
}

/// What runs a container.
pub(super) enum Engine {
    /// This process.
    Wasmtime,
    /// A process of its own.
    WasmEdge(WasmEdge),
}

/// The engine that the pod asks for, if this node is such a runtime.
pub(super) async fn choose(owner: &Owner, pod: &Pod) -> Result<Engine, Blocked> {
    let name = pod.spec.as_ref().and_then(|it| it.runtime_class_name.as_deref()).unwrap_or_default();
    if matches!(name, "" | "wasm") {
        return Ok(Engine::Wasmtime);
    }
    #[derive(serde::Deserialize)]
    struct RuntimeClass {
        handler: String,
    }
    let path = format!("/apis/node.k8s.io/v1/runtimeclasses/{name}");
    let class = api::get::<RuntimeClass>(&owner.shared.client, &path).await.map_err(Blocked::config)?;
    let handler = match &class {
        // What manifests for other nodes say: there, this program is behind crun.
        Some(class) if name == WASMEDGE && class.handler == "crun" => WASMEDGE,
        Some(class) => &*class.handler,
        None if HANDLERS.contains(&name) => name,
        None => return Err(Blocked::config(format!("runtimeclass {name:?} not found"))),
    };
    match handler {
        WASMEDGE => WasmEdge::find(&owner.shared.runtime).map(Engine::WasmEdge).map_err(|error| {
            let message = format!("spec.runtimeClassName {name:?}: {error}");
            Blocked::new(WaitingReason::CreateContainerError, "FailedCreatePodSandBox", message)
        }),
        handler if HANDLERS.contains(&handler) => Ok(Engine::Wasmtime),
        handler => {
            let message =
                format!("spec.runtimeClassName: this node has no handler {handler:?} of runtime class {name:?}");
            Err(Blocked::new(WaitingReason::UnsupportedField, "UnsupportedField", message))
        }
    }
}

/// Starts a container as a process of WasmEdge. One that ran when the node went down does not come back.
pub(super) async fn start(
    owner: &Arc<Owner>,
    edge: &WasmEdge,
    pod: &Arc<Pod>,
    container: &Container,
    image: &Image,
    begin: Begin,
) -> Result<Outcome, Blocked> {
    if begin.resumed {
        return Ok(Outcome::Lost);
    }
    serve::warn_unused(owner, pod, container, Runs::Once);
    let (env, mut mounts) = start::resolve(owner, pod, container, begin.ip, &image.env).await?;
    let message = start::message(owner, container, &mut mounts).await?;
    let file = logs::run_file(&owner.shared.log_directory(&owner.key), &container.name, begin.run);
    let log = Log::new(&file, owner.shared.open_logs.clone());
    let not_run = |error: &dyn std::fmt::Display| Blocked::new(WaitingReason::RunContainerError, "Failed", error);
    let args = env::arguments(container, &image.entrypoint, &image.cmd, &env);
    let file = choose::program(&owner.shared.images, image, container, &args).await.map_err(|it| not_run(&it))?;
    let mut spec = start::spec(owner, pod, container, begin.ip, args, env, mounts, log.clone())?;
    spec.stdin = container.stdin == Some(true);
    let (edge, wasm) = (edge.clone(), file.wasm);
    // Its file is read first.
    let process = tokio::task::spawn_blocking(move || edge.spawn(&wasm, spec)).await;
    let process = process.unwrap_or_else(|error| Err(StartError::Invalid(error.to_string())));
    let running = Running::Command(Arc::new(process.map_err(|it| not_run(&it))?));
    let started = format!("Started container {} from {}, run by WasmEdge", container.name, image.reference);
    owner.note(Some(&container.name), "Started", started);
    let hook_failure = start::post_start(owner, pod, container, image, &running, begin.ip).await.err();
    let live = start::live(container, image, running, log, Some(message), &begin);
    Ok(Outcome::Running(Live { hook_failure, ..live }))
}
