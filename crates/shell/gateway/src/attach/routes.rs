//! HTTPRoutes: which listeners they attach to, and where their rules lead.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use eyot_route::{Backend, HostPattern, HostScope, Route, Rule};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Backends, Site, claims,
    conditions::{Condition, merge},
    created,
    gateways::{GROUP, Gateway, Listener},
    generation, rules,
    spec::{BackendRef, GrantSpec, ParentRef, RouteSpec},
};
use crate::{
    CONTROLLER_NAME,
    kinds::{HTTPRoute, Name},
    world::World,
};

/// What came of one HTTPRoute.
#[derive(Debug)]
pub(super) struct Attachment<B> {
    /// As the table takes it; `None` where it attaches to nothing.
    pub(super) route: Option<Arc<Route<B>>>,
    /// Gateways and the places of their listeners that it attaches to, once for each time.
    pub(super) listeners: Vec<(Name, usize)>,
    /// The Services that it names, whether they are there or not.
    pub(super) services: Box<[Name]>,
}

/// Attaches a route. Comes to its status as well, if that changes.
pub(super) fn attachment<B: Clone>(
    name: &Name,
    object: &HTTPRoute,
    world: &World,
    site: Site<'_>,
    gateways: &BTreeMap<Name, Gateway>,
    backends: Backends<'_, B>,
) -> (Attachment<B>, Option<Value>) {
    let spec = object.spec.open();
    let (mut listeners, mut services) = (Vec::new(), BTreeSet::new());
    named_services(&spec, &name.namespace, &mut services);
    let read = read(name, &spec, world, site, backends);
    let (route, parents) = route(name, object, &spec, &read, world, gateways, &mut listeners);
    let status = status(object, &parents, site);
    let services = services.into_iter().collect();
    (Attachment { route: route.map(Arc::new), listeners, services }, status)
}

/// The Services that references to backends name, wherever in a spec they are.
fn named_services(spec: &Value, namespace: &str, into: &mut BTreeSet<Name>) {
    let mut name = |it: &Value| {
        if let Some(name) = it["name"].as_str() {
            into.insert(Name::new(it["namespace"].as_str().unwrap_or(namespace), name));
        }
    };
    match spec {
        Value::Object(fields) => {
            for (key, value) in fields {
                match key.as_str() {
                    "backendRef" => name(value),
                    "backendRefs" => value.as_array().into_iter().flatten().for_each(&mut name),
                    _ => {}
                }
            }
            fields.values().for_each(|it| named_services(it, namespace, into));
        }
        Value::Array(rows) => rows.iter().for_each(|it| named_services(it, namespace, into)),
        _ => {}
    }
}

/// A parent and what it says of the route.
type Parent = (ParentRef, [Condition; 2]);

fn route<B: Clone>(
    name: &Name,
    object: &HTTPRoute,
    spec: &Value,
    read: &Result<Read<B>, Condition>,
    world: &World,
    gateways: &BTreeMap<Name, Gateway>,
    listeners: &mut Vec<(Name, usize)>,
) -> (Option<Route<B>>, Vec<Parent>) {
    // Parents are read first and alone, so that a route with an unknown field can still be told about it.
    let parents = spec["parentRefs"].as_array().into_iter().flatten();
    let parents: Vec<ParentRef> = parents.filter_map(|it| ParentRef::deserialize(it).ok()).collect();
    let mut route: Option<Route<B>> = None;
    let mut told = Vec::new();
    for parent in parents {
        let gateway_name = Name::new(parent.namespace.as_deref().unwrap_or(&name.namespace), &parent.name);
        let foreign = parent.group.as_deref().is_some_and(|it| it != GROUP)
            || parent.kind.as_deref().is_some_and(|it| it != "Gateway")
            || (world.gateways.objects.contains_key(&gateway_name) && !gateways.contains_key(&gateway_name));
        if foreign {
            continue;
        }
        let (accepted, resolved) = match read {
            Err(refusal) => (Err(refusal.clone()), resolved(None)),
            Ok(read) => {
                let gateway = gateways.get(&gateway_name);
                let scopes = scopes(name, &read.hosts, &parent, gateway, &gateway_name, world, listeners);
                (scopes.map(|it| (it, read)), resolved(read.unresolved.as_ref()))
            }
        };
        let accepted = match accepted {
            Ok((scopes, read)) => {
                let created = created(object);
                let into = route.get_or_insert_with(|| Route {
                    name: name.to_string().into(),
                    created,
                    hosts: Vec::new(),
                    fallback: false,
                    rules: read.rules.clone(),
                });
                into.hosts.extend(scopes);
                Condition::yes("Accepted", "Accepted")
            }
            Err(refusal) => refusal,
        };
        told.push((parent, [accepted, resolved]));
    }
    (route, told)
}

/// A route's spec, read.
struct Read<B> {
    hosts: Vec<HostPattern>,
    rules: Vec<Rule<B>>,
    /// The first backend that does not resolve.
    unresolved: Option<Condition>,
}

/// Reads a spec, or comes to the condition that says why no parent accepts it.
fn read<B: Clone>(
    name: &Name,
    spec: &Value,
    world: &World,
    site: Site<'_>,
    backends: Backends<'_, B>,
) -> Result<Read<B>, Condition> {
    let unsupported = |why: String| Condition::no("Accepted", "UnsupportedValue", why);
    let spec = RouteSpec::deserialize(spec).map_err(|error| unsupported(format!("spec: {error}")))?;
    let hosts = spec.hostnames.iter().map(|it| HostPattern::parse(it, false));
    let mut hosts: Vec<HostPattern> =
        hosts.collect::<Result<_, _>>().map_err(|error| unsupported(error.to_string()))?;
    if let Some(refusal) = hosts.iter().find_map(|it| claims::refusal(it, &name.namespace, world, site)) {
        return Err(Condition::no("Accepted", "HostnameNotPermitted", refusal));
    }
    if hosts.is_empty() {
        hosts.push(HostPattern::Any);
    }
    let route: Arc<str> = name.to_string().into();
    let mut unresolved = None;
    let mut rules = Vec::new();
    for (at, rule) in spec.rules.iter().enumerate() {
        let mut resolve = |it: &BackendRef| {
            backend(name, it, world, backends).map_err(|condition| {
                let message: Arc<str> = condition.message.as_str().into();
                unresolved.get_or_insert(condition);
                message
            })
        };
        let refs = rule.backend_refs.iter();
        let found = refs.map(|it| Backend { weight: it.weight.unwrap_or(1), target: resolve(it) }).collect();
        let read = rules::rule(rule, &route, found, &mut |it| resolve(it).ok());
        rules.push(read.map_err(|why| unsupported(format!("rules[{at}].{why}")))?);
    }
    if rules.is_empty() {
        return Err(unsupported("rules: a route without rules serves nothing".to_owned()));
    }
    Ok(Read { hosts, rules, unresolved })
}

fn resolved(unresolved: Option<&Condition>) -> Condition {
    unresolved.cloned().unwrap_or_else(|| Condition::yes("ResolvedRefs", "ResolvedRefs"))
}

/// The backend that a reference names, or the condition that says why there is none.
fn backend<B>(route: &Name, spec: &BackendRef, world: &World, backends: Backends<'_, B>) -> Result<B, Condition> {
    let no = |reason, message: String| Condition::no("ResolvedRefs", reason, message);
    let group = spec.group.as_deref().unwrap_or("");
    let kind = spec.kind.as_deref().unwrap_or("Service");
    if !group.is_empty() || kind != "Service" {
        return Err(no("InvalidKind", format!("backend {} is of kind {kind}, only Services are served", spec.name)));
    }
    let service = Name::new(spec.namespace.as_deref().unwrap_or(&route.namespace), &spec.name);
    if service.namespace != route.namespace && !granted(route, &service, world) {
        let message =
            format!("no ReferenceGrant in {} lets HTTPRoutes of {} use {service}", service.namespace, route.namespace);
        return Err(no("RefNotPermitted", message));
    }
    let Some(object) = world.services.objects.get(&service) else {
        return Err(no("BackendNotFound", format!("Service {service} does not exist")));
    };
    if object.spec.type_.as_deref() == Some("ExternalName") {
        return Err(no(
            "UnsupportedProtocol",
            format!("Service {service} is of type ExternalName, which has no endpoints"),
        ));
    }
    let Some(port) = spec.port else {
        return Err(no("BackendNotFound", format!("backend {service} names no port")));
    };
    backends(&service, port).ok_or_else(|| no("BackendNotFound", format!("Service {service} has no TCP port {port}")))
}

fn granted(route: &Name, service: &Name, world: &World) -> bool {
    let grants = world.grants.objects.iter().filter(|(name, _)| name.namespace == service.namespace);
    grants.filter_map(|(_, grant)| GrantSpec::deserialize(&grant.spec).ok()).any(|grant| {
        let from = |it: &super::spec::GrantFrom| {
            it.group == GROUP && it.kind == "HTTPRoute" && it.namespace == route.namespace
        };
        let to = |it: &super::spec::GrantTo| {
            it.group.is_empty() && it.kind == "Service" && it.name.as_ref().is_none_or(|name| *name == service.name)
        };
        grant.from.iter().any(from) && grant.to.iter().any(to)
    })
}

/// The hosts that a route serves through one parent, or the condition that says why there are none.
fn scopes(
    route: &Name,
    hosts: &[HostPattern],
    parent: &ParentRef,
    gateway: Option<&Gateway>,
    gateway_name: &Name,
    world: &World,
    listeners: &mut Vec<(Name, usize)>,
) -> Result<Vec<HostScope>, Condition> {
    let no = |reason, message: String| Condition::no("Accepted", reason, message);
    let Some(gateway) = gateway else {
        return Err(no("NoMatchingParent", format!("Gateway {gateway_name} does not exist")));
    };
    if let Some(refusal) = &gateway.refusal {
        return Err(no("NoMatchingParent", format!("Gateway {gateway_name} is not accepted: {}", refusal.message)));
    }
    let named = |it: &Listener| {
        parent.section_name.as_ref().is_none_or(|name| *name == it.name)
            && parent.port.is_none_or(|port| port == it.port)
    };
    let named: Vec<usize> = (0..gateway.listeners.len()).filter(|at| named(&gateway.listeners[*at])).collect();
    if named.is_empty() {
        let message = format!("Gateway {gateway_name} has no listener with this sectionName and port");
        return Err(no("NoMatchingParent", message));
    }
    let allows = |at: &usize| gateway.listeners[*at].allows(&gateway_name.namespace, &route.namespace, world);
    let allowed: Vec<usize> = named.into_iter().filter(allows).collect();
    if allowed.is_empty() {
        let message =
            format!("no listener of Gateway {gateway_name} allows HTTPRoutes of namespace {}", route.namespace);
        return Err(no("NotAllowedByListeners", message));
    }
    let served: Vec<usize> = allowed.iter().copied().filter(|at| gateway.listeners[*at].refusal.is_none()).collect();
    if served.is_empty() {
        let why = allowed.iter().find_map(|at| gateway.listeners[*at].refusal.as_ref());
        let why = why.map_or("", |it| it.message.as_str());
        return Err(no("NoMatchingParent", format!("no accepted listener of Gateway {gateway_name}: {why}")));
    }
    let mut scopes = Vec::new();
    let via: Arc<str> = gateway_name.to_string().into();
    for at in served {
        let through = through(hosts, at, &gateway.listeners, &via);
        if !through.is_empty() {
            listeners.push((gateway_name.clone(), at));
        }
        scopes.extend(through);
    }
    if scopes.is_empty() {
        let message = format!("no listener of Gateway {gateway_name} shares a hostname with the route");
        return Err(no("NoMatchingListenerHostname", message));
    }
    Ok(scopes)
}

/// The hosts that a route serves through one listener, without those that a more specific listener takes.
fn through(hosts: &[HostPattern], at: usize, listeners: &[Listener], via: &Arc<str>) -> Vec<HostScope> {
    let listener = &listeners[at];
    let specific = listeners.iter().filter(|it| {
        it.refusal.is_none()
            && it.host.specificity() > listener.host.specificity()
            && it.host.intersect(&listener.host).is_some()
    });
    let specific: Vec<&HostPattern> = specific.map(|it| &it.host).collect();
    let shared = hosts.iter().filter_map(|it| it.intersect(&listener.host));
    shared
        .map(|pattern| {
            let except = specific.iter().filter(|it| it.intersect(&pattern).is_some()).map(|it| (*it).clone());
            HostScope { except: except.collect(), pattern, via: via.clone() }
        })
        .collect()
}

/// The status with what our parents say; what other controllers wrote stays. `None` if nothing changes.
fn status(object: &HTTPRoute, parents: &[Parent], site: Site<'_>) -> Option<Value> {
    let known = object.status.open();
    let before = known["parents"].as_array().map_or(&[][..], Vec::as_slice);
    let ours = |it: &&Value| it["controllerName"] == CONTROLLER_NAME;
    let others = before.iter().filter(|it| !ours(it)).cloned();
    let told = parents.iter().map(|(parent, conditions)| {
        let reference = reference(parent);
        let old = before.iter().filter(ours).find(|it| it["parentRef"] == reference);
        let old = old.map_or(&Value::Null, |it| &it["conditions"]);
        json!({
            "parentRef": reference,
            "controllerName": CONTROLLER_NAME,
            "conditions": merge(old, conditions, generation(object), site.now),
        })
    });
    let wanted: Vec<Value> = others.chain(told).collect();
    (wanted != before).then(|| json!({ "parents": wanted }))
}

fn reference(parent: &ParentRef) -> Value {
    let ParentRef { group, kind, namespace, name, section_name, port } = parent;
    let mut fields = Map::new();
    fields.insert("group".to_owned(), group.as_deref().unwrap_or(GROUP).into());
    fields.insert("kind".to_owned(), kind.as_deref().unwrap_or("Gateway").into());
    fields.insert("name".to_owned(), name.as_str().into());
    for (key, value) in [("namespace", namespace), ("sectionName", section_name)] {
        if let Some(value) = value {
            fields.insert(key.to_owned(), value.as_str().into());
        }
    }
    if let Some(port) = port {
        fields.insert("port".to_owned(), (*port).into());
    }
    Value::Object(fields)
}
