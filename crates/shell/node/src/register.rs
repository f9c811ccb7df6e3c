//! Tells the API what this node is, and that it lives.
//!
//! Start at [`run`]. The Node object is written once, then every five minutes, when it was deleted, and when the machine comes to be
//! short of something or is no more; the Lease shows life in between.

use std::time::Duration;

use eyot_instance::Moment;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use crate::{
    api::{self, ApiError},
    claims::provision,
    pod::{self, Shared, engine},
    pressure::Pressures,
};

/// Between two writes of an unchanged status, as the kubelet's.
const STATUS_PERIOD: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_millis(500);
/// What the control plane, gateway and registry of the same process are left with.
const RESERVED_BYTES: u64 = 256 << 20;

/// What the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) cpu_millis: u64,
    pub(crate) memory_bytes: u64,
}

impl Size {
    /// What pods may have of it.
    pub(crate) fn allocatable(self) -> Size {
        Size { memory_bytes: self.memory_bytes.saturating_sub(RESERVED_BYTES), ..self }
    }

    /// Asks the system.
    pub(crate) fn of_machine() -> Size {
        let cpus = std::thread::available_parallelism().map_or(1, |it| it.get() as u64);
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Size { cpu_millis: cpus * 1000, memory_bytes: memory(&meminfo, "MemTotal:").unwrap_or(1 << 30) }
    }
}

/// The bytes that `/proc/meminfo` has at `name`.
pub(crate) fn memory(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|it| it.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// Registers the node and keeps it alive in the API until it stops.
pub(crate) async fn run(shared: &Shared) {
    let work = async {
        let mut pressures = Pressures::default();
        pressures.look(&shared.config.data_dir, pod::now());
        let mut uid = loop {
            match register(shared, &pressures).await {
                Ok(uid) => break uid,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "registering the node");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        let mut since_status = Duration::ZERO;
        let mut due = false;
        loop {
            if let Err(error) = renew(shared, &uid).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "renewing the node's lease");
            }
            tokio::time::sleep(shared.config.lease_period).await;
            match remain(shared, &pressures).await {
                Ok(now) => uid = now,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "looking whether the node is registered");
                }
            }
            since_status += shared.config.lease_period;
            due |= pressures.look(&shared.config.data_dir, pod::now()) || since_status >= STATUS_PERIOD;
            if due {
                since_status = Duration::ZERO;
                match write_status(shared, &pressures).await {
                    Ok(()) => due = false,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "writing the node's status");
                    }
                }
            }
        }
    };
    tokio::select! {
        () = shared.token.cancelled() => {}
        () = work => {}
    }
}

/// Writes the Node, the RuntimeClasses and the StorageClass. Returns the node's uid.
async fn register(shared: &Shared, pressures: &Pressures) -> Result<String, ApiError> {
    // A class `wasmedge` is left to manifests: those that bring it may name another handler, which could not be changed.
    for handler in engine::HANDLERS.into_iter().filter(|it| *it != engine::WASMEDGE) {
        let class = json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": handler }, "handler": handler,
        });
        create_if_absent(&shared.client, "/apis/node.k8s.io/v1/runtimeclasses", &class).await?;
    }
    let node = node(shared);
    match api::create(&shared.client, "/api/v1/nodes", &node).await {
        Ok(()) => {}
        Err(ApiError::Exists { .. }) => {
            // Labels and taints that an operator added stay.
            let patch = json!({ "metadata": { "labels": node["metadata"]["labels"] }, "spec": node["spec"] });
            api::patch(&shared.client, &path(shared), api::MERGE, &patch).await?;
        }
        Err(error) => return Err(error),
    }
    write_status(shared, pressures).await?;
    // Pods do not wait for it.
    create_if_absent(&shared.client, "/apis/storage.k8s.io/v1/storageclasses", &provision::class()).await?;
    Ok(uid(shared).await?.unwrap_or_default())
}

/// Registers the node again if somebody deleted it: without a Node nothing is scheduled here. Returns the node's uid.
async fn remain(shared: &Shared, pressures: &Pressures) -> Result<String, ApiError> {
    if let Some(uid) = uid(shared).await? {
        return Ok(uid);
    }
    tracing::info!("the Node object was deleted: registering again");
    register(shared, pressures).await
}

/// The uid of the Node object, if there is one.
async fn uid(shared: &Shared) -> Result<Option<String>, ApiError> {
    #[derive(serde::Deserialize)]
    struct Written {
        metadata: Meta,
    }
    #[derive(serde::Deserialize)]
    struct Meta {
        uid: String,
    }
    let written: Option<Written> = api::get(&shared.client, &path(shared)).await?;
    Ok(written.map(|it| it.metadata.uid))
}

async fn create_if_absent(client: &Client, collection: &str, object: &Value) -> Result<(), ApiError> {
    match api::create(client, collection, object).await {
        Err(ApiError::Exists { .. }) => Ok(()),
        other => other,
    }
}

fn path(shared: &Shared) -> String {
    format!("/api/v1/nodes/{}", shared.config.name)
}

fn node(shared: &Shared) -> Value {
    let name = &shared.config.name;
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": arch(),
                "runtime.eyot.io/wasm": "true", "node-role.kubernetes.io/control-plane": "",
            },
        },
        "spec": { "podCIDR": shared.network.cidr().to_string(), "podCIDRs": [shared.network.cidr().to_string()] },
    })
}

/// The architecture as Go, and so Kubernetes, names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

async fn write_status(shared: &Shared, pressures: &Pressures) -> Result<(), ApiError> {
    let handlers = engine::handlers(&shared.runtime);
    let status = status(shared, pressures, &handlers);
    api::patch(&shared.client, &format!("{}/status", path(shared)), api::STRATEGIC, &status).await
}

fn status(shared: &Shared, pressures: &Pressures, handlers: &[&str]) -> Value {
    let now = pod::now();
    let amount = |memory_bytes: u64| {
        json!({
            "cpu": format!("{}m", shared.size.cpu_millis), "memory": format!("{}Ki", memory_bytes >> 10),
            "pods": shared.config.pods_max.to_string(),
        })
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let machine_id = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    json!({ "status": {
        "capacity": amount(shared.size.memory_bytes),
        "allocatable": amount(shared.size.allocatable().memory_bytes),
        "addresses": [{ "type": "InternalIP", "address": shared.host_ip.to_string() }, { "type": "Hostname", "address": shared.config.name }],
        "conditions": conditions(pressures, now),
        // The unnamed one is for pods that name no class.
        "runtimeHandlers": handlers.iter().map(|it| json!({ "name": it })).collect::<Vec<_>>(),
        "nodeInfo": {
            "architecture": arch(), "operatingSystem": "linux", "osImage": os_image(),
            "kernelVersion": kernel.trim(), "machineID": machine_id.trim(), "systemUUID": machine_id.trim(),
            "bootID": boot_id.trim(), "kubeletVersion": concat!("v1.37.0+eyot", env!("CARGO_PKG_VERSION")),
            "kubeProxyVersion": "", "containerRuntimeVersion": concat!("eyot://", env!("CARGO_PKG_VERSION")),
        },
    } })
}

fn conditions(pressures: &Pressures, now: Moment) -> Value {
    let condition = |kind: &str, value: &str, reason: &str, message: &str, since: Option<Moment>| {
        json!({
            "type": kind, "status": value, "reason": reason, "message": message,
            "lastHeartbeatTime": pod::time(now), "lastTransitionTime": pod::time(since.unwrap_or(now)),
        })
    };
    let Pressures { disk, memory } = pressures;
    let (short_memory, memory_reason, memory_message) = match memory.holds {
        true => ("True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        false => ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    };
    let (full, disk_reason, disk_message) = match disk.holds {
        true => ("True", "KubeletHasDiskPressure", "kubelet has disk pressure"),
        false => ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    };
    json!([
        condition("MemoryPressure", short_memory, memory_reason, memory_message, memory.since),
        condition("DiskPressure", full, disk_reason, disk_message, disk.since),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "guests are not processes of this machine", None),
        condition("Ready", "True", "KubeletReady", "eyot is ready to run WebAssembly", None),
    ])
}

fn os_image() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|it| it.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |it| it.trim_matches('"').to_owned())
}

async fn renew(shared: &Shared, uid: &str) -> Result<(), ApiError> {
    const COLLECTION: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let name = &shared.config.name;
    let now = format!("{:.6}", Timestamp::now());
    let patch = json!({ "spec": { "holderIdentity": name, "renewTime": now } });
    match api::patch(&shared.client, &format!("{COLLECTION}/{name}"), api::MERGE, &patch).await {
        Err(ApiError::Gone { .. }) => {}
        other => return other,
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name, "namespace": "kube-node-lease",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }],
        },
        "spec": { "holderIdentity": name, "leaseDurationSeconds": lease_seconds(shared.config.lease_period), "renewTime": now },
    });
    api::create(&shared.client, COLLECTION, &lease).await
}

/// A lease is good for four missed renewals.
fn lease_seconds(period: Duration) -> u64 {
    (period.as_secs() * 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_tell_what_is_short() {
        let mut pressures = Pressures::default();
        let told = |pressures: &Pressures| {
            let rows = conditions(pressures, Moment(60_000));
            let rows = rows.as_array().unwrap().iter().map(|it| format!("{} {}\n", it["type"], it["status"]));
            rows.collect::<String>().replace('"', "")
        };
        assert_eq!(told(&pressures), "MemoryPressure False\nDiskPressure False\nPIDPressure False\nReady True\n");
        (pressures.disk.holds, pressures.disk.since) = (true, Some(Moment(0)));
        assert_eq!(told(&pressures), "MemoryPressure False\nDiskPressure True\nPIDPressure False\nReady True\n");
        let disk = &conditions(&pressures, Moment(60_000))[1];
        assert_eq!(
            (&disk["reason"], &disk["lastTransitionTime"]),
            (&"KubeletHasDiskPressure".into(), &"1970-01-01T00:00:00Z".into())
        );
    }

    #[test]
    fn memory_is_read_from_the_system() {
        assert_eq!(memory("MemFree: 1 kB\nMemTotal:       16384 kB\n", "MemTotal:"), Some(16 << 20));
        assert_eq!(memory("nothing", "MemTotal:"), None);
    }
}
