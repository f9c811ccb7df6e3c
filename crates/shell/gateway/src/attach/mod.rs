//! Turns Gateways, HTTPRoutes and Ingresses into routes for the table and statuses for their users. Pure.
//!
//! Entry points: [`attach`] for everything, [`Attached::change`] for single HTTPRoutes. Statuses come out only where they differ from what the objects already say, so that writing
//! them ends the circle of watch and write.

mod claims;
mod conditions;
mod gateways;
mod ingress;
mod routes;
mod rules;
mod spec;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use eyot_route::Route;
use serde_json::Value;

use crate::{kinds::Name, world::World};

/// The listener that everything attaches to, whose names are taken, and the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) http_port: u16,
    pub(crate) addresses: &'a [IpAddr],
    /// Where functions have names, from outside and from inside: `NAME.NAMESPACE.DOMAIN`.
    pub(crate) function_domains: [&'a str; 2],
    /// RFC 3339.
    pub(crate) now: &'a str,
}

/// Finds the backend for a port of a Service.
pub(crate) type Backends<'a, B> = &'a dyn Fn(&Name, u16) -> Option<B>;

/// What comes of the objects.
#[derive(Debug)]
pub(crate) struct Outcome<B> {
    pub(crate) routes: Vec<Arc<Route<B>>>,
    /// Kept, so that a change of single HTTPRoutes needs no other to be read again.
    pub(crate) attached: Attached<B>,
    /// Statuses to write.
    pub(crate) statuses: BTreeMap<Target, Value>,
    /// What is wrong with Ingresses, which have no conditions to say it in.
    pub(crate) complaints: BTreeMap<Name, String>,
}

/// An object whose status is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    Class(Name),
    Gateway(Name),
    Route(Name),
    Ingress(Name),
}

/// Attaches everything to the listener that it names.
pub(crate) fn attach<B: Clone>(world: &World, site: Site<'_>, backends: Backends<'_, B>) -> Outcome<B> {
    let mut statuses = BTreeMap::new();
    let classes = gateways::classes(world, site, &mut statuses);
    let gateways = gateways::gateways(world, site, &classes);
    let mut attached = Attached { gateways, routes: BTreeMap::new(), by_service: BTreeSet::new() };
    for name in world.routes.objects.keys() {
        attached.again(name, world, site, backends, &mut statuses);
    }
    gateways::statuses(world, site, &attached.gateways, &mut statuses);
    let mut routes: Vec<_> = attached.routes.values().filter_map(|it| it.route.clone()).collect();
    let (mut of_ingresses, mut complaints) = (Vec::new(), BTreeMap::new());
    ingress::ingresses(world, site, backends, &mut of_ingresses, &mut statuses, &mut complaints);
    routes.extend(of_ingresses.into_iter().map(Arc::new));
    Outcome { routes, attached, statuses, complaints }
}

/// What came of the HTTPRoutes when they were last read.
#[derive(Debug)]
pub(crate) struct Attached<B> {
    gateways: BTreeMap<Name, gateways::Gateway>,
    routes: BTreeMap<Name, routes::Attachment<B>>,
    /// Services, each with an HTTPRoute that names it.
    by_service: BTreeSet<(Name, Name)>,
}

/// An HTTPRoute before and after it was read again, as the table takes it.
pub(crate) type Replaced<B> = (Option<Arc<Route<B>>>, Option<Arc<Route<B>>>);

impl<B> Default for Attached<B> {
    fn default() -> Self {
        Self { gateways: BTreeMap::new(), routes: BTreeMap::new(), by_service: BTreeSet::new() }
    }
}

impl<B: Clone> Attached<B> {
    /// The HTTPRoutes that name a Service.
    pub(crate) fn naming<'a>(&'a self, service: &'a Name) -> impl Iterator<Item = &'a Name> {
        let from = (service.clone(), Name::default());
        self.by_service.range(from..).take_while(move |it| it.0 == *service).map(|it| &it.1)
    }

    /// Reads HTTPRoutes again that have changed, or whose Services have; everything else is as it was.
    pub(crate) fn change(
        &mut self,
        names: &BTreeSet<Name>,
        world: &World,
        site: Site<'_>,
        backends: Backends<'_, B>,
    ) -> (Vec<Replaced<B>>, BTreeMap<Target, Value>) {
        let mut statuses = BTreeMap::new();
        let replaced = names.iter().map(|it| self.again(it, world, site, backends, &mut statuses)).collect();
        gateways::statuses(world, site, &self.gateways, &mut statuses);
        (replaced, statuses)
    }

    fn again(
        &mut self,
        name: &Name,
        world: &World,
        site: Site<'_>,
        backends: Backends<'_, B>,
        statuses: &mut BTreeMap<Target, Value>,
    ) -> Replaced<B> {
        let before = self.routes.remove(name);
        if let Some(before) = &before {
            before.listeners.iter().for_each(|at| self.count(at, -1));
            for service in &before.services {
                self.by_service.remove(&(service.clone(), name.clone()));
            }
        }
        let before = before.and_then(|it| it.route);
        let Some(object) = world.routes.objects.get(name) else { return (before, None) };
        let (now, status) = routes::attachment(name, object, world, site, &self.gateways, backends);
        now.listeners.iter().for_each(|at| self.count(at, 1));
        for service in &now.services {
            self.by_service.insert((service.clone(), name.clone()));
        }
        if let Some(status) = status {
            statuses.insert(Target::Route(name.clone()), status);
        }
        let route = now.route.clone();
        self.routes.insert(name.clone(), now);
        (before, route)
    }

    /// Counts a route at a listener of a Gateway.
    fn count(&mut self, (gateway, listener): &(Name, usize), by: i32) {
        if let Some(listener) = self.gateways.get_mut(gateway).and_then(|it| it.listeners.get_mut(*listener)) {
            listener.attached = listener.attached.saturating_add_signed(by);
        }
    }
}

/// Creation time in seconds, 0 if the object has none.
fn created(object: &impl kube::Resource) -> i64 {
    object.meta().creation_timestamp.as_ref().map_or(0, |it| it.0.as_second())
}

fn generation(object: &impl kube::Resource) -> i64 {
    object.meta().generation.unwrap_or(0)
}
