//! The objects that the watches have seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use eyot_route::slices::{self, Slice};
use kube::{Resource, runtime::watcher::Event};

use crate::kinds::{
    EndpointSlice, Gateway, GatewayClass, HTTPRoute, Ingress, Name, Namespace, NetworkPolicy, ReferenceGrant, Service,
};

/// Everything that routing reads. Owned by the one task that follows the watches.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) classes: Cache<GatewayClass>,
    pub(crate) gateways: Cache<Gateway>,
    pub(crate) routes: Cache<HTTPRoute>,
    pub(crate) grants: Cache<ReferenceGrant>,
    pub(crate) ingresses: Cache<Ingress>,
    pub(crate) namespaces: Cache<Namespace>,
    pub(crate) policies: Cache<NetworkPolicy>,
    pub(crate) services: Cache<Service>,
    pub(crate) slices: Slices,
}

/// Objects of one kind, by name.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    pub(crate) objects: BTreeMap<Name, T>,
    /// A list under way; it replaces `objects` when it is complete.
    listing: Option<BTreeMap<Name, T>>,
    /// Whether a list was ever complete.
    pub(crate) complete: bool,
}

/// An object that a change concerns, and what was there before.
pub(crate) type Change<T> = (Name, Option<T>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: None, complete: false }
    }
}

impl<T> Cache<T> {
    /// Takes one watch event in, keeping of each object what `keep` makes of it. Returns what may have changed.
    pub(crate) fn on<K: Resource>(&mut self, event: Event<K>, keep: impl Fn(K) -> T) -> Vec<Change<T>> {
        match event {
            Event::Apply(object) => {
                let name = Name::of(&object);
                let before = self.objects.insert(name.clone(), keep(object));
                vec![(name, before)]
            }
            Event::Delete(object) => {
                let name = Name::of(&object);
                let before = self.objects.remove(&name);
                vec![(name, before)]
            }
            Event::Init => {
                self.listing = Some(BTreeMap::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                let name = Name::of(&object);
                self.listing.get_or_insert_default().insert(name, keep(object));
                Vec::new()
            }
            Event::InitDone => {
                self.complete = true;
                let before = std::mem::replace(&mut self.objects, self.listing.take().unwrap_or_default());
                let added: BTreeSet<Name> =
                    self.objects.keys().filter(|it| !before.contains_key(*it)).cloned().collect();
                let before = before.into_iter().map(|(name, object)| (name, Some(object)));
                before.chain(added.into_iter().map(|name| (name, None))).collect()
            }
        }
    }
}

/// EndpointSlices by Service.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    cache: Cache<(Option<Name>, Slice)>,
    by_service: BTreeMap<Name, BTreeSet<Name>>,
}

impl Slices {
    /// Takes one watch event in. Returns the Services whose endpoints may have changed.
    pub(crate) fn on(&mut self, event: Event<EndpointSlice>) -> BTreeSet<Name> {
        let mut services = BTreeSet::new();
        for (slice, before) in self.cache.on(event, |it| (it.service(), it.routing())) {
            if let Some((Some(service), _)) = before {
                if let Some(slices) = self.by_service.get_mut(&service) {
                    slices.remove(&slice);
                    if slices.is_empty() {
                        self.by_service.remove(&service);
                    }
                }
                services.insert(service);
            }
            if let Some((Some(service), _)) = self.cache.objects.get(&slice) {
                self.by_service.entry(service.clone()).or_default().insert(slice);
                services.insert(service.clone());
            }
        }
        services
    }

    /// The addresses behind the port of `service` that is named `port`.
    pub(crate) fn addresses(&self, service: &Name, port: &str) -> Vec<SocketAddr> {
        let names = self.by_service.get(service).into_iter().flatten();
        slices::addresses(port, names.filter_map(|it| self.cache.objects.get(it)).map(|(_, slice)| slice))
    }

    pub(crate) fn complete(&self) -> bool {
        self.cache.complete
    }
}

impl World {
    /// Whether every kind was listed once.
    pub(crate) fn complete(&self) -> bool {
        self.classes.complete
            && self.gateways.complete
            && self.routes.complete
            && self.grants.complete
            && self.ingresses.complete
            && self.namespaces.complete
            && self.policies.complete
            && self.services.complete
            && self.slices.complete()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(name: &str, service: &str, ip: &str) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": name, "labels": {"kubernetes.io/service-name": service}},
            "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
            "ports": [{"name": "http", "port": 8080}],
        }))
        .unwrap()
    }

    fn addresses(slices: &Slices, service: &str) -> Vec<String> {
        slices.addresses(&Name::new("ns", service), "http").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn endpoints_follow_slices_that_come_move_and_go() {
        let mut slices = Slices::default();
        slices.on(Event::Apply(slice("a", "web", "10.42.0.1")));
        slices.on(Event::Apply(slice("b", "web", "10.42.0.2")));
        assert_eq!(addresses(&slices, "web"), ["10.42.0.1:8080", "10.42.0.2:8080"]);
        let changed = slices.on(Event::Apply(slice("b", "api", "10.42.0.2")));
        assert_eq!(changed.len(), 2, "both Services are told");
        assert_eq!(addresses(&slices, "web"), ["10.42.0.1:8080"]);
        slices.on(Event::Delete(slice("a", "web", "10.42.0.1")));
        assert!(addresses(&slices, "web").is_empty());
    }

    #[test]
    fn a_new_list_replaces_what_was_known() {
        let mut slices = Slices::default();
        slices.on(Event::Apply(slice("a", "web", "10.42.0.1")));
        slices.on(Event::Init);
        slices.on(Event::InitApply(slice("c", "web", "10.42.0.3")));
        assert_eq!(addresses(&slices, "web"), ["10.42.0.1:8080"], "until the list is complete");
        slices.on(Event::InitDone);
        assert_eq!(addresses(&slices, "web"), ["10.42.0.3:8080"]);
        assert!(slices.complete());
    }
}
