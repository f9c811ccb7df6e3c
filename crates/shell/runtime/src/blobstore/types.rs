//! The types of `wasi:blobstore`, as components declare them.
#![allow(unsafe_code, reason = "what wasmtime's derive writes")]

use std::sync::Arc;

use eyot_bucket::{ContainerInfo, Content, ObjectInfo, Tenant};
use wasmtime::component::{ComponentType, Lift, Lower};

use super::stream::Writer;

/// `types.outgoing-value`: content on its way to a name.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) body: Option<Writer>,
    /// Container and name of the object to be.
    pub(super) target: Option<(Arc<str>, String)>,
}

/// `types.incoming-value`: a part of an object's content.
pub(super) struct Incoming {
    pub(super) content: Content,
    pub(super) start: u64,
    /// The first byte that is not of it.
    pub(super) end: u64,
}

impl Incoming {
    /// The bytes from `first` to `last`, both included, as far as there are any.
    pub(super) fn new(content: Content, first: u64, last: u64) -> Incoming {
        let end = last.saturating_add(1).min(content.size());
        Incoming { start: first.min(end), end, content }
    }

    pub(super) fn size(&self) -> u64 {
        self.end - self.start
    }
}

/// `container.container`.
#[derive(Clone)]
pub(super) struct Container {
    pub(super) name: Arc<str>,
    pub(super) tenant: Arc<Tenant>,
}

/// `container.stream-object-names`.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) container: Container,
    /// The last name that was told.
    pub(super) after: String,
}

/// `types.container-metadata`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct ContainerMetadata {
    name: String,
    #[component(name = "created-at")]
    created_at: u64,
}

impl From<ContainerInfo> for ContainerMetadata {
    fn from(it: ContainerInfo) -> Self {
        ContainerMetadata { name: it.name, created_at: it.created_seconds }
    }
}

/// `types.object-metadata`.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(super) struct ObjectMetadata {
    name: String,
    container: String,
    #[component(name = "created-at")]
    created_at: u64,
    size: u64,
}

impl From<ObjectInfo> for ObjectMetadata {
    fn from(it: ObjectInfo) -> Self {
        let ObjectInfo { name, container, created_seconds, size } = it;
        ObjectMetadata { name, container, created_at: created_seconds, size }
    }
}

/// `types.object-id`.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct ObjectId {
    pub(super) container: String,
    pub(super) object: String,
}
