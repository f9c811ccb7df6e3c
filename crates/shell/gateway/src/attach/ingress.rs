//! Ingresses of our class, or of none.

use std::{collections::BTreeMap, sync::Arc};

use eyot_route::{Action, Backend, HostPattern, HostScope, Match, PathMatch, Route, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Backends, Site, Target, claims, created,
    spec::{IngressBackend, IngressPath, IngressSpec},
};
use crate::{
    CLASS_NAME,
    kinds::{Ingress, Name},
    world::World,
};

/// Annotation that named the class before `spec.ingressClassName` did.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Adds the routes of Ingresses.
pub(super) fn ingresses<B: Clone>(
    world: &World,
    site: Site<'_>,
    backends: Backends<'_, B>,
    routes: &mut Vec<Route<B>>,
    statuses: &mut BTreeMap<Target, Value>,
    complaints: &mut BTreeMap<Name, String>,
) {
    for (name, object) in &world.ingresses.objects {
        if !is_ours(object) {
            continue;
        }
        let mut reader = Reader { name, world, site, backends, complaints: Vec::new() };
        match IngressSpec::deserialize(&object.spec) {
            Ok(spec) => routes.extend(reader.routes(&spec, created(object))),
            Err(error) => reader.complaints.push(format!("not served: spec: {error}")),
        }
        if !reader.complaints.is_empty() {
            complaints.insert(name.clone(), reader.complaints.join("; "));
        }
        let ports = json!([{ "port": site.http_port, "protocol": "TCP" }]);
        let addresses = site.addresses.iter().map(|it| json!({ "ip": it.to_string(), "ports": ports }));
        let wanted = Value::Array(addresses.collect());
        if object.status["loadBalancer"]["ingress"] != wanted {
            statuses.insert(Target::Ingress(name.clone()), json!({ "loadBalancer": { "ingress": wanted } }));
        }
    }
}

fn is_ours(object: &Ingress) -> bool {
    let annotation = object.metadata.annotations.as_ref().and_then(|it| it.get(CLASS_ANNOTATION)).map(String::as_str);
    let class = object.spec["ingressClassName"].as_str().or(annotation);
    class.is_none_or(|it| it == CLASS_NAME)
}

struct Reader<'a, B> {
    name: &'a Name,
    world: &'a World,
    site: Site<'a>,
    backends: Backends<'a, B>,
    complaints: Vec<String>,
}

impl<B: Clone> Reader<'_, B> {
    fn routes(&mut self, spec: &IngressSpec, created: i64) -> Vec<Route<B>> {
        if !spec.tls.is_empty() {
            self.complaints.push("spec.tls is not supported: the hosts are served by plain HTTP".to_owned());
        }
        let mut routes = Vec::new();
        for rule in &spec.rules {
            let host = match HostPattern::parse(rule.host.as_deref().unwrap_or(""), true) {
                Ok(host) => host,
                Err(error) => {
                    self.complaints.push(format!("rule left out: {error}"));
                    continue;
                }
            };
            if let Some(refusal) = claims::refusal(&host, &self.name.namespace, self.world, self.site) {
                self.complaints.push(format!("rule left out: {refusal}"));
                continue;
            }
            let paths = rule.http.iter().flat_map(|it| &it.paths);
            let rules: Vec<Rule<B>> = paths.filter_map(|it| self.rule(it)).collect();
            if !rules.is_empty() {
                routes.push(self.route(host, created, false, rules));
            }
        }
        if let Some(backend) = &spec.default_backend {
            let rule = Rule { matches: Vec::new(), action: self.action(backend) };
            routes.push(self.route(HostPattern::Any, created, true, vec![rule]));
        }
        routes
    }

    fn route(&self, host: HostPattern, created: i64, fallback: bool, rules: Vec<Rule<B>>) -> Route<B> {
        Route { name: self.route_name(), created, hosts: vec![HostScope::all(host)], fallback, rules }
    }

    fn route_name(&self) -> Arc<str> {
        self.name.to_string().into()
    }

    fn rule(&mut self, spec: &IngressPath) -> Option<Rule<B>> {
        let path = spec.path.as_deref().unwrap_or("/");
        let path = match spec.path_type.as_str() {
            _ if !path.starts_with('/') => Err(format!("path {path:?} left out: it does not begin with /")),
            "Exact" => Ok(PathMatch::Exact(path.into())),
            "Prefix" | "ImplementationSpecific" => Ok(PathMatch::Prefix(path.into())),
            other => Err(format!("path {path} left out: pathType {other} is not known")),
        };
        match path {
            Ok(path) => Some(Rule { matches: vec![Match::path(path)], action: self.action(&spec.backend) }),
            Err(complaint) => {
                self.complaints.push(complaint);
                None
            }
        }
    }

    fn action(&mut self, spec: &IngressBackend) -> Arc<Action<B>> {
        let target = self.backend(spec).map_err(|complaint| {
            let shared: Arc<str> = complaint.as_str().into();
            self.complaints.push(complaint);
            shared
        });
        Arc::new(Action::forward(self.route_name(), vec![Backend { weight: 1, target }]))
    }

    fn backend(&self, spec: &IngressBackend) -> Result<B, String> {
        let Some(service) = &spec.service else {
            let what =
                if spec.resource.is_some() { "a resource backend is not supported" } else { "a backend is empty" };
            return Err(what.to_owned());
        };
        let name = Name::new(&self.name.namespace, &service.name);
        let Some(object) = self.world.services.objects.get(&name) else {
            return Err(format!("Service {name} does not exist"));
        };
        let number = match (&service.port.name, service.port.number) {
            (Some(port), None) => {
                let ports = object.spec.ports.iter().flatten();
                let found = ports.into_iter().find(|it| it.name.as_deref() == Some(port.as_str()));
                found.map(|it| it.port).ok_or_else(|| format!("Service {name} has no port named {port}"))?
            }
            (None, Some(number)) => number,
            _ => return Err(format!("backend {name} needs either a port name or a port number")),
        };
        (self.backends)(&name, number).ok_or_else(|| format!("Service {name} has no TCP port {number}"))
    }
}
