//! Marks nodes that no longer renew their lease.
//!
//! Time is counted from when a renewal was seen here, on this machine's monotonic clock: neither a wrong clock on the
//! node nor a pause of this machine makes a node look dead.
//!
//! What follows for the node's taints and pods is in `lifecycle`. Ended pods are trimmed here too, since this is the one
//! thing that looks at the clock.

use std::{collections::HashMap, sync::Arc, time::Duration};

use eyot_plan::condition;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    api::{ApiError, NODES, Target},
    context::Context,
    events::Severity,
    view::{Key, cluster::NodeView, conditions, now, rfc3339},
};

const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Looks at all leases from time to time until `token` is cancelled.
pub(crate) async fn watch_over(context: Arc<Context>, token: CancellationToken) {
    let period = (context.config.node_grace / 4).max(Duration::from_millis(100));
    let mut seen: HashMap<Key, (Box<str>, Instant)> = HashMap::new();
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let leases = context.stores.leases.all();
        seen.retain(|key, _| leases.iter().any(|it| it.meta.key() == *key));
        for lease in &leases {
            let version = &lease.meta.resource_version;
            let last = seen.entry(lease.meta.key()).or_insert_with(|| (version.clone(), Instant::now()));
            if last.0 != *version {
                *last = (version.clone(), Instant::now());
            }
        }
        if let Err(error) = crate::lifecycle::trim_ended(&context).await {
            warn!(%error, cause = error.message(), "ended pods not trimmed");
        }
        for node in context.stores.nodes.all() {
            let lease = seen.get(&Key::new(LEASE_NAMESPACE, &node.meta.name));
            let silent = lease.is_some_and(|it| it.1.elapsed() > context.config.node_grace);
            if let Err(error) = judge(&context, &node, silent).await
                && !error.is_conflict()
            {
                warn!(node = %node.meta.name, %error, cause = error.message(), "node not marked");
            }
        }
    }
}

async fn judge(context: &Context, node: &NodeView, silent: bool) -> Result<(), ApiError> {
    if silent && node.ready() != Some("Unknown") { mark_unknown(context, node).await } else { Ok(()) }
}

async fn mark_unknown(context: &Context, node: &NodeView) -> Result<(), ApiError> {
    let mut all = conditions(&node.status.conditions);
    let message = "Kubelet stopped posting node status.";
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let known = condition::get(&all, kind).is_some() || kind == "Ready";
        if known {
            condition::set(&mut all, condition::Condition::new(kind, "Unknown", "NodeStatusUnknown", message, now()));
        }
    }
    let rows: Vec<Value> = all
        .iter()
        .map(|it| {
            json!({
                "type": it.kind, "status": it.status, "reason": it.reason, "message": it.message,
                "lastHeartbeatTime": rfc3339(now()), "lastTransitionTime": rfc3339(it.transitioned),
            })
        })
        .collect();
    let patch = json!({
        "metadata": {"resourceVersion": node.meta.resource_version},
        "status": {"conditions": rows},
    });
    let target = Target::object(&NODES, "", &node.meta.name).sub("status");
    let written: NodeView = context.api.merge(target, &patch).await?;
    context.stores.nodes.absorb(written);
    let text = format!("Node {} status is now: NodeNotReady", node.meta.name);
    context.recorder.of("node-controller").record(&NODES, &node.meta, Severity::Normal, "NodeNotReady", text);
    Ok(())
}
