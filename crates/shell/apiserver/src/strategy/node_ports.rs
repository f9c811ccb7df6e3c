//! Ports of the node that Services of the types NodePort and LoadBalancer get. Entry point: [`settle`].
//!
//! The stored Services are the record: who needs a port reads which ones they have. What is about to be written is kept
//! beside it, so that two writes at once do not get the same.

use std::{collections::HashSet, sync::Arc};

use eyot_model::{
    kinds::Kind,
    meta,
    status::{ApiError, Cause},
};
use eyot_store::{Page, Scope};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::server::Shared;

/// Kubernetes' own range.
const RANGE: std::ops::RangeInclusive<u16> = 30000..=32767;
/// Random guesses before the range is searched from its beginning.
const GUESSES_MAX: usize = 32;

/// Ports of Services that are being written.
#[derive(Clone, Default)]
pub(crate) struct NodePorts(Arc<Mutex<HashSet<u16>>>);

/// Ports taken for a Service that is about to be written.
pub(crate) struct Claim {
    ports: NodePorts,
    taken: Vec<u16>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut pending = self.ports.0.lock();
        pending.retain(|it| !self.taken.contains(it));
    }
}

/// Gives a Service the node ports that it lacks (those that it had are in it already), and takes away those that it may no longer have.
///
/// # Errors
/// 422 for a port that is out of range or another Service's.
pub(super) fn settle(
    server: &Shared,
    kind: &Kind,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<Option<Claim>, ApiError> {
    if !wants(service) {
        // What is left over from another type goes; what somebody asks for where it cannot be is refused.
        if old.is_some_and(wants) {
            ports_mut(service).for_each(|it| drop(it.remove("nodePort")));
        }
        return Ok(None);
    }
    let old_ports = old.map(|it| meta::list(it.pointer("/spec/ports")).to_vec()).unwrap_or_default();
    let had: HashSet<u16> = old_ports.iter().filter_map(node_port).collect();
    let asked: Vec<Option<u16>> = meta::list(service.pointer("/spec/ports")).iter().map(node_port).collect();
    if asked.iter().all(|it| it.is_some_and(|it| had.contains(&it))) {
        return Ok(None);
    }
    let mut pending = server.node_ports.0.lock();
    let mut used = stored(server)?;
    used.retain(|it| !had.contains(it));
    used.extend(pending.iter());
    let (mut given, mut taken) = (Vec::with_capacity(asked.len()), Vec::new());
    for (at, asked) in asked.into_iter().enumerate() {
        let port = match asked {
            Some(port) if had.contains(&port) || taken.contains(&port) => port,
            Some(port) => {
                check(kind, service, at, port, &used)?;
                port
            }
            None => free(&used).ok_or_else(|| ApiError::internal("allocating a node port: range is full"))?,
        };
        used.insert(port);
        taken.push(port);
        given.push(port);
    }
    pending.extend(&taken);
    drop(pending);
    ports_mut(service).zip(given).for_each(|(it, port)| drop(it.insert("nodePort".into(), port.into())));
    Ok(Some(Claim { ports: server.node_ports.clone(), taken }))
}

/// Services of these types have ports of the node.
fn wants(service: &Value) -> bool {
    let spec = &service["spec"];
    match spec["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

fn node_port(port: &Value) -> Option<u16> {
    port["nodePort"].as_u64().and_then(|it| u16::try_from(it).ok()).filter(|it| *it != 0)
}

fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut serde_json::Map<String, Value>> {
    let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    ports.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn check(kind: &Kind, service: &Value, at: usize, port: u16, used: &HashSet<u16>) -> Result<(), ApiError> {
    let why = match () {
        () if !RANGE.contains(&port) => {
            format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                RANGE.start(),
                RANGE.end()
            )
        }
        () if used.contains(&port) => "provided port is already allocated".to_owned(),
        () => return Ok(()),
    };
    let cause = Cause::invalid(format!("spec.ports[{at}].nodePort"), &json!(port), &why);
    Err(ApiError::invalid(kind, meta::name(service).unwrap_or_default(), vec![cause]))
}

/// A port that nobody has: anyone at random, so that a deleted Service's is not at once another's.
fn free(used: &HashSet<u16>) -> Option<u16> {
    let mut guesses = (0..GUESSES_MAX).map(|_| rand::random_range(RANGE));
    guesses.find(|it| !used.contains(it)).or_else(|| RANGE.into_iter().find(|it| !used.contains(it)))
}

/// The node ports of all stored Services.
fn stored(server: &Shared) -> Result<HashSet<u16>, ApiError> {
    let list = server.store.list(&Scope::all("/services"), &Page::default()).map_err(ApiError::internal)?;
    let mut used = HashSet::new();
    for entry in &list.entries {
        let service: Value = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
        used.extend(meta::list(service.pointer("/spec/ports")).iter().filter_map(node_port));
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_range_gives_nothing_and_the_last_port_is_found() {
        let mut used: HashSet<u16> = RANGE.collect();
        assert_eq!(free(&used), None);
        used.remove(&31999);
        assert_eq!(free(&used), Some(31999));
    }
}
