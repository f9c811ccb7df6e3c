//! What templates take in memory, and what an audit of many objects takes in memory and time. Entry point: [`run`].
//!
//! A node of its own gets 50 templates, then the objects, then a constraint of each template about all of them. The audit
//! begins by itself half a second after the last constraint; it has ended when every constraint's status says so.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eyot_testkit::{Node, Options};
use futures::future::try_join_all;
use http::Method;
use kube::Client;
use serde_json::{Value, json};

use super::{
    Progress,
    create::create,
    mixed::{LABELS, collection, constraint, template},
    round, send,
};
use crate::memory;

const TEMPLATES: usize = 50;
/// Of so many objects one breaks the constraints.
const BROKEN_EVERY: usize = 1000;
/// Requests under way at once.
const LANES: usize = 8;
/// Objects that are created in one go, between two words about how far it is.
const STRETCH: usize = 20_000;
/// An audit that has not ended by then is told as unfinished.
const AUDIT_MAX: Duration = Duration::from_secs(150);
/// How often memory and the status are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Memory is told when nothing is under way any more.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) async fn run(objects: usize, progress: &Progress) -> Result<Value> {
    // Only a change of policies begins an audit: the interval is longer than all of this.
    let options = Options { args: vec!["--audit-interval-seconds".into(), "3600".into()], ..Options::default() };
    let mut node = Node::start_with(options).await?;
    let pid = node.pid().context("the node has ended")?;
    let client = node.client().await?;
    // A first one brings in what all of them share.
    create(&client, &template(TEMPLATES, LABELS)).await?;
    tokio::time::sleep(SETTLE).await;
    let before = resident(pid);
    progress.tell("50 constraint templates");
    for at in 0..TEMPLATES {
        create(&client, &template(at, LABELS)).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let templates = resident(pid) - before;
    let began = Instant::now();
    for from in (0..objects).step_by(STRETCH) {
        progress.tell(&format!("creating objects to audit: {from} of {objects}"));
        fill(&client, from..objects.min(from + STRETCH)).await?;
    }
    let created = began.elapsed();
    tokio::time::sleep(SETTLE).await;
    progress.tell("auditing");
    let audit = audit(&client, pid, objects).await?;
    node.stop().await?;
    Ok(json!({
        "resident_mib_of_50_templates": round(templates),
        "resident_kib_of_a_template": round(templates * 1024.0 / TEMPLATES as f64),
        "objects": objects,
        "objects_created_per_second": (objects as f64 / created.as_secs_f64()).round(),
        "audit_with_50_constraints": audit,
    }))
}

async fn fill(client: &Client, which: std::ops::Range<usize>) -> Result<()> {
    let next = AtomicUsize::new(which.start);
    let lanes = (0..LANES).map(|_| async {
        loop {
            let at = next.fetch_add(1, Relaxed);
            if at >= which.end {
                return anyhow::Ok(());
            }
            send(client, Method::POST, "/api/v1/namespaces/default/configmaps", &object(at)).await?;
        }
    });
    try_join_all(lanes).await.context("creating objects")?;
    Ok(())
}

fn object(at: usize) -> Value {
    let mut labels = json!({"app": "shop", "tier": "front", "shard": (at % 64).to_string()});
    if !at.is_multiple_of(BROKEN_EVERY) {
        labels["team"] = "checkout".into();
    }
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("audited-{at:06}"), "labels": labels},
        "data": {"settings": "x".repeat(200)}})
}

async fn audit(client: &Client, pid: u32, objects: usize) -> Result<Value> {
    let constraints: Vec<Value> = (0..TEMPLATES).map(|at| constraint(at, "ConfigMap")).collect();
    let before = resident(pid);
    for constraint in &constraints {
        create(client, constraint).await?;
    }
    let began = Instant::now();
    let last = constraints.last().and_then(collection).context("a constraint")?;
    let (mut peak, mut found) = (before, None);
    while found.is_none() && began.elapsed() < AUDIT_MAX {
        tokio::time::sleep(LOOK).await;
        peak = peak.max(resident(pid));
        let stored: Value =
            serde_json::from_str(&send(client, Method::GET, &format!("{last}/team"), &Value::Null).await?)?;
        found = stored["status"]["auditTimestamp"].as_str().and(stored["status"]["totalViolations"].as_u64());
    }
    let took = began.elapsed();
    let Some(found) = found else {
        return Ok(json!({"unfinished_after_seconds": took.as_secs(), "grew_by_mib": round(peak - before)}));
    };
    // The node's own ConfigMap in each namespace has no such label either.
    let broken = objects.div_ceil(BROKEN_EVERY) as u64;
    ensure!(found >= broken, "{found} violations were found, of {broken}");
    Ok(json!({
        "seconds": round(took.as_secs_f64()),
        "evaluations_per_second": (objects as f64 * TEMPLATES as f64 / took.as_secs_f64()).round(),
        "violations_of_one_constraint": found,
        "resident_mib_before": round(before),
        "grew_by_mib": round(peak - before),
    }))
}

fn resident(pid: u32) -> f64 {
    memory::resident_mib(&[pid]).as_f64().unwrap_or(0.0)
}
