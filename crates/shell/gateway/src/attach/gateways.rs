//! GatewayClasses, Gateways and their listeners.

use std::collections::{BTreeMap, BTreeSet};

use eyot_route::HostPattern;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Site, Target,
    conditions::{Condition, merge},
    generation,
    spec::{AllowedRoutes, ClassSpec, GatewaySpec, ListenerSpec},
};
use crate::{
    CONTROLLER_NAME, DEFAULT_GATEWAY_NAME, DEFAULT_GATEWAY_NAMESPACE,
    kinds::{Name, labels},
    world::World,
};

pub(super) const GROUP: &str = "gateway.networking.k8s.io";

/// A Gateway of a class of ours.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) listeners: Vec<Listener>,
    /// Why the Gateway as a whole serves nothing.
    pub(super) refusal: Option<Condition>,
}

/// One listener of a Gateway.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) host: HostPattern,
    allowed: AllowedRoutes,
    /// Why the listener is not served.
    pub(super) refusal: Option<Condition>,
    /// Kinds asked for that are not served.
    foreign_kinds: bool,
    takes_routes: bool,
    pub(super) attached: u32,
}

/// The accepted classes.
pub(super) fn classes(world: &World, site: Site<'_>, statuses: &mut BTreeMap<Target, Value>) -> BTreeSet<String> {
    let mut accepted = BTreeSet::new();
    for (name, class) in &world.classes.objects {
        let Ok(spec) = ClassSpec::deserialize(&class.spec) else { continue };
        if spec.controller_name != CONTROLLER_NAME {
            continue;
        }
        let condition = match spec.parameters_ref {
            None => {
                accepted.insert(name.name.clone());
                Condition::yes("Accepted", "Accepted")
            }
            Some(_) => Condition::no("Accepted", "InvalidParameters", "parametersRef is not supported"),
        };
        let conditions = merge(&class.status["conditions"], &[condition], generation(class), site.now);
        if conditions != class.status["conditions"] {
            statuses.insert(Target::Class(name.clone()), json!({ "conditions": conditions }));
        }
    }
    accepted
}

/// The Gateways of accepted classes.
pub(super) fn gateways(world: &World, site: Site<'_>, classes: &BTreeSet<String>) -> BTreeMap<Name, Gateway> {
    let mut gateways = BTreeMap::new();
    for (name, object) in &world.gateways.objects {
        let class = object.spec["gatewayClassName"].as_str().unwrap_or("");
        if !classes.contains(class) {
            continue;
        }
        let gateway = match GatewaySpec::deserialize(&object.spec) {
            Ok(spec) => gateway(name, spec, site),
            Err(error) => refused(Condition::no("Accepted", "Invalid", format!("spec: {error}"))),
        };
        gateways.insert(name.clone(), gateway);
    }
    gateways
}

fn refused(condition: Condition) -> Gateway {
    Gateway { listeners: Vec::new(), refusal: Some(condition) }
}

fn gateway(name: &Name, spec: GatewaySpec, site: Site<'_>) -> Gateway {
    if !spec.addresses.is_empty() {
        let message = "spec.addresses is not supported: a Gateway has the addresses of the node's HTTP listener";
        return refused(Condition::no("Accepted", "UnsupportedAddress", message));
    }
    let default = name.namespace == DEFAULT_GATEWAY_NAMESPACE && name.name == DEFAULT_GATEWAY_NAME;
    let mut listeners: Vec<Listener> = Vec::new();
    for spec in spec.listeners {
        let mut next = listener(spec, default, site);
        let clash = listeners.iter().find(|it| it.refusal.is_none() && it.host == next.host);
        if let (None, Some(clash)) = (&next.refusal, clash) {
            let message = format!("listener {} has the same hostname and port", clash.name);
            next.refusal = Some(Condition::no("Accepted", "HostnameConflict", message));
        }
        listeners.push(next);
    }
    Gateway { listeners, refusal: None }
}

fn listener(spec: ListenerSpec, default: bool, site: Site<'_>) -> Listener {
    let host = HostPattern::parse(spec.hostname.as_deref().unwrap_or(""), false);
    let served = |kind: &super::spec::RouteKind| {
        kind.kind == "HTTPRoute" && kind.group.as_deref().is_none_or(|group| group == GROUP)
    };
    let kinds = &spec.allowed_routes.kinds;
    let refusal = if spec.protocol != "HTTP" {
        let message = format!("protocol {} is not supported, only HTTP is", spec.protocol);
        Some(Condition::no("Accepted", "UnsupportedProtocol", message))
    } else if spec.tls.is_some() {
        Some(Condition::no("Accepted", "UnsupportedValue", "tls is not supported on HTTP listeners"))
    } else if !default && spec.port != site.http_port {
        let message = format!("port {} is not served: the node's HTTP listener is on {}", spec.port, site.http_port);
        Some(Condition::no("Accepted", "PortUnavailable", message))
    } else {
        let invalid = |error: &eyot_route::HostError| Condition::no("Accepted", "UnsupportedValue", error.to_string());
        host.as_ref().err().map(invalid)
    };
    Listener {
        foreign_kinds: kinds.iter().any(|it| !served(it)),
        takes_routes: kinds.is_empty() || kinds.iter().any(served),
        name: spec.name,
        port: spec.port,
        host: host.unwrap_or(HostPattern::Any),
        allowed: spec.allowed_routes,
        refusal,
        attached: 0,
    }
}

impl Listener {
    /// Whether HTTPRoutes of `route_namespace` may attach to this listener of a Gateway in `namespace`.
    pub(super) fn allows(&self, namespace: &str, route_namespace: &str, world: &World) -> bool {
        let from = &self.allowed.namespaces;
        self.takes_routes
            && match from.from.as_deref() {
                None | Some("Same") => namespace == route_namespace,
                Some("All") => true,
                Some("Selector") => {
                    let object = world.namespaces.objects.get(&Name::new("", route_namespace));
                    let labels = object.map(labels).unwrap_or_default();
                    from.selector.as_ref().is_some_and(|it| it.matches(&labels))
                }
                Some(_) => false,
            }
    }

    fn conditions(&self) -> [Condition; 4] {
        let (accepted, programmed, conflicted) = match &self.refusal {
            None => (Condition::yes("Accepted", "Accepted"), Condition::yes("Programmed", "Programmed"), None),
            Some(refusal) => {
                let conflict = (refusal.reason == "HostnameConflict").then(|| refusal.message.clone());
                (refusal.clone(), Condition::no("Programmed", "Invalid", "the listener is not accepted"), conflict)
            }
        };
        let resolved = if self.foreign_kinds {
            Condition::no("ResolvedRefs", "InvalidRouteKinds", "only kind HTTPRoute is served")
        } else {
            Condition::yes("ResolvedRefs", "ResolvedRefs")
        };
        let conflicted = match conflicted {
            Some(message) => Condition { type_: "Conflicted", status: true, reason: "HostnameConflict", message },
            None => Condition::no("Conflicted", "NoConflicts", ""),
        };
        [accepted, programmed, resolved, conflicted]
    }
}

/// Statuses of the Gateways, once routes have attached.
pub(super) fn statuses(
    world: &World,
    site: Site<'_>,
    gateways: &BTreeMap<Name, Gateway>,
    statuses: &mut BTreeMap<Target, Value>,
) {
    for (name, gateway) in gateways {
        let Some(object) = world.gateways.objects.get(name) else { continue };
        let generation = generation(object);
        let listeners: Vec<Value> = gateway
            .listeners
            .iter()
            .map(|it| {
                let before = object.status["listeners"].as_array().into_iter().flatten();
                let before = before.into_iter().find(|before| before["name"] == it.name.as_str());
                let kinds = if it.takes_routes { json!([{ "group": GROUP, "kind": "HTTPRoute" }]) } else { json!([]) };
                json!({
                    "name": it.name,
                    "supportedKinds": kinds,
                    "attachedRoutes": it.attached,
                    "conditions": merge(before.map_or(&Value::Null, |it| &it["conditions"]), &it.conditions(), generation, site.now),
                })
            })
            .collect();
        let conditions = merge(&object.status["conditions"], &overall(gateway), generation, site.now);
        let addresses = site.addresses.iter().map(|it| json!({ "type": "IPAddress", "value": it.to_string() }));
        let addresses: Vec<Value> = if gateway.refusal.is_none() { addresses.collect() } else { Vec::new() };
        let wanted = json!({ "addresses": addresses, "conditions": conditions, "listeners": listeners });
        let parts = ["addresses", "conditions", "listeners"];
        if parts.iter().any(|part| object.status[part] != wanted[part]) {
            statuses.insert(Target::Gateway(name.clone()), wanted);
        }
    }
}

fn overall(gateway: &Gateway) -> [Condition; 2] {
    if let Some(refusal) = &gateway.refusal {
        return [refusal.clone(), Condition::no("Programmed", "Invalid", "the Gateway is not accepted")];
    }
    let refused: Vec<&str> =
        gateway.listeners.iter().filter(|it| it.refusal.is_some()).map(|it| it.name.as_str()).collect();
    if refused.is_empty() {
        return [Condition::yes("Accepted", "Accepted"), Condition::yes("Programmed", "Programmed")];
    }
    let message = format!("not accepted: listener {}", refused.join(", "));
    if refused.len() < gateway.listeners.len() {
        let accepted = Condition { type_: "Accepted", status: true, reason: "ListenersNotValid", message };
        return [accepted, Condition::yes("Programmed", "Programmed")];
    }
    [
        Condition::no("Accepted", "ListenersNotValid", message),
        Condition::no("Programmed", "Invalid", "no listener is accepted"),
    ]
}
