//! Turns Gateways, HTTPRoutes and Ingresses into routes for the table and statuses for their users. Pure.
//!
//! Entry point: [`attach`]. Statuses come out only where they differ from what the objects already say, so that writing
//! them ends the circle of watch and write.

mod conditions;
mod gateways;
mod ingress;
mod routes;
mod rules;
mod spec;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use eyot_route::Route;
use serde_json::Value;

use crate::{kinds::Name, world::World};

/// The listener that everything attaches to, and the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) http_port: u16,
    pub(crate) addresses: &'a [IpAddr],
    /// RFC 3339.
    pub(crate) now: &'a str,
}

/// Finds the backend for a port of a Service.
pub(crate) type Backends<'a, B> = &'a dyn Fn(&Name, u16) -> Option<B>;

/// What comes of the objects.
#[derive(Debug)]
pub(crate) struct Outcome<B> {
    pub(crate) routes: Vec<Route<B>>,
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
    let mut gateways = gateways::gateways(world, site, &classes);
    let mut routes = routes::routes(world, site, &mut gateways, backends, &mut statuses);
    gateways::statuses(world, site, &gateways, &mut statuses);
    let mut complaints = BTreeMap::new();
    ingress::ingresses(world, site, backends, &mut routes, &mut statuses, &mut complaints);
    Outcome { routes, statuses, complaints }
}

/// Creation time in seconds, 0 if the object has none.
fn created(object: &impl kube::Resource) -> i64 {
    object.meta().creation_timestamp.as_ref().map_or(0, |it| it.0.as_second())
}

fn generation(object: &impl kube::Resource) -> i64 {
    object.meta().generation.unwrap_or(0)
}
