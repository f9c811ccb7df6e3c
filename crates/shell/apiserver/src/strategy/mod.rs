//! What single kinds do differently when they are created, updated and deleted.
//!
//! Entry points: [`create`], [`update`], [`removed`]. Everything not named here follows from the kind table alone.

pub(crate) mod account;
mod addresses;
pub(crate) mod bind;
mod node_ports;
mod secret;
mod service;

pub(crate) use addresses::Addresses;
use eyot_model::{kinds::Kind, status::ApiError};
pub(crate) use node_ports::NodePorts;
use serde_json::Value;

use crate::{definitions, server::Shared, token::legacy};

/// Something taken for an object that is about to be written; dropping it returns it.
pub(crate) enum Claim {
    Address(addresses::Claim),
    /// Held until the Service that is stored speaks for itself.
    Ports(#[expect(dead_code, reason = "it works by being dropped")] node_ports::Claim),
}

impl Claim {
    /// The write happened.
    pub(crate) fn keep(self) {
        match self {
            Claim::Address(claim) => claim.keep(),
            Claim::Ports(_) => {}
        }
    }
}

/// What a strategy gives back: things taken on behalf of the object, returned unless the write happens, and warnings.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(crate) claims: Vec<Claim>,
    pub(crate) warnings: Vec<String>,
}

/// Puts what a client may write in short where it belongs, so that its owner owns the right field.
pub(crate) fn unfold(kind: &Kind, object: &mut Value) {
    if kind.is("", "Secret") {
        secret::merge_string_data(object);
    }
}

/// Completes a new object, after defaults and before admission.
pub(crate) fn create(server: &Shared, kind: &Kind, object: &mut Value) -> Result<Prepared, ApiError> {
    let mut prepared = Prepared::default();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") => service::create(server, kind, object, &mut prepared)?,
        ("", "Secret") => {
            secret::merge_string_data(object);
            legacy::fill(server, kind, object)?;
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            prepared.warnings.extend(definitions::warning_of(kind, object));
        }
        _ => {}
    }
    Ok(prepared)
}

/// Completes the new version of an object, after defaults and before admission.
pub(crate) fn update(server: &Shared, kind: &Kind, new: &mut Value, old: &Value) -> Result<Prepared, ApiError> {
    let mut prepared = Prepared::default();
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") => service::update(server, kind, new, old, &mut prepared)?,
        ("", "Secret") => {
            secret::merge_string_data(new);
            legacy::fill(server, kind, new)?;
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            prepared.warnings.extend(definitions::warning_of(kind, new));
        }
        _ => {}
    }
    Ok(prepared)
}

/// Returns what a removed object held.
pub(crate) fn removed(server: &Shared, kind: &Kind, object: &Value) {
    if kind.is("", "Service") {
        service::release(server, object);
    }
}
