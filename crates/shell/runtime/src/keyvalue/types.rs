//! The types of `wasi:keyvalue`, as components declare them.
#![allow(unsafe_code, reason = "what wasmtime's derive writes")]

use std::sync::Arc;

use eyot_bucket::Tenant;
use wasmtime::component::{ComponentType, Lower, Resource};

/// `store.bucket`.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) name: Arc<str>,
    pub(super) tenant: Arc<Tenant>,
}

/// `atomics.cas`: what a key had when its guest last looked. The value itself may be large, and a guest may hold thousands of
/// these: only its digest stays.
#[derive(Clone)]
pub(super) struct Cas {
    pub(super) bucket: Bucket,
    pub(super) key: String,
    pub(super) seen: Option<[u8; 32]>,
}

/// `store.error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(super) enum Refusal {
    #[component(name = "no-such-store")]
    #[allow(dead_code, reason = "every bucket is there")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

/// `atomics.cas-error`.
#[derive(ComponentType, Lower)]
#[component(variant)]
pub(super) enum CasError {
    #[component(name = "store-error")]
    Store(Refusal),
    #[component(name = "cas-failed")]
    Failed(Resource<Cas>),
}

/// `store.key-response` of the first draft, whose cursor counts.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct CountedKeys {
    pub(super) keys: Vec<String>,
    pub(super) cursor: Option<u64>,
}

/// `store.key-response` of the second draft, whose cursor is ours to choose.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct Keys {
    pub(super) keys: Vec<String>,
    pub(super) cursor: Option<String>,
}
