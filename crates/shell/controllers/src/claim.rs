//! Adoption: a controller takes what its selector matches and nobody controls, and lets go of what no longer matches.

use std::sync::Arc;

use eyot_plan::selector::Selector;

use crate::{
    api::{Api, ApiError, Resource, Target},
    pods::set_owners,
    store::Store,
    view::{Meta, OwnerReference, View, cluster::MetaView},
};

/// Who claims what.
pub(crate) struct Claim<'a, T> {
    pub(crate) api: &'a Api,
    pub(crate) store: &'a Arc<Store<T>>,
    /// Resource of what is claimed.
    pub(crate) resource: &'a Resource,
    pub(crate) owner: &'a Meta,
    /// Resource of the owner.
    pub(crate) kind: &'a Resource,
    pub(crate) selector: &'a Selector,
    /// What it must be beside matching the selector.
    pub(crate) member: fn(&Meta, &Meta) -> bool,
}

/// Whatever the selector matches may be claimed.
pub(crate) fn anything(_owner: &Meta, _object: &Meta) -> bool {
    true
}

impl<T: View> Claim<'_, T> {
    /// What is controlled and matches. Changes of ownership are asked for; the watch brings their effect.
    pub(crate) async fn settle(&self) -> Result<Vec<Arc<T>>, ApiError> {
        let (mine, strangers): (Vec<_>, Vec<_>) =
            self.store.controlled_by(&self.owner.uid).into_iter().partition(|it| self.matches(it.meta()));
        if self.owner.deleting() {
            return Ok(mine);
        }
        for stranger in strangers.iter().filter(|it| !it.meta().deleting()) {
            self.release(stranger.meta()).await?;
        }
        let mut orphans = self.store.free_in(&self.owner.namespace);
        orphans.retain(|it| self.matches(it.meta()) && !it.meta().deleting());
        if !orphans.is_empty() {
            self.stays().await?;
        }
        for orphan in &orphans {
            self.adopt(orphan.meta()).await?;
        }
        Ok(mine)
    }

    /// Asks the API whether the owner is there and not being deleted; a conflict says that it is not, whatever the cache
    /// says. Dependents that were orphaned on purpose are often seen before their owner's end is: adopted again they
    /// would be collected after it, and left alone they would be replaced.
    async fn stays(&self) -> Result<(), ApiError> {
        let target = Target::object(self.kind, &self.owner.namespace, &self.owner.name);
        match self.api.get::<MetaView>(target, "").await {
            Ok(owner) if owner.meta.uid == self.owner.uid && !owner.meta.deleting() => Ok(()),
            Err(error) if !error.is_not_found() => Err(error),
            _ => Err(ApiError::conflict("get", target.path(), "it is being deleted, or is gone")),
        }
    }

    fn matches(&self, meta: &Meta) -> bool {
        !self.selector.is_empty()
            && self.selector.matches(|key| meta.labels.get(key))
            && (self.member)(self.owner, meta)
    }

    async fn adopt(&self, meta: &Meta) -> Result<(), ApiError> {
        let mut owners = meta.owner_references.to_vec();
        owners.push(OwnerReference::controller(self.kind, self.owner));
        set_owners(self.api, self.resource, meta, &owners).await
    }

    async fn release(&self, meta: &Meta) -> Result<(), ApiError> {
        let mut owners = meta.owner_references.to_vec();
        owners.retain(|it| it.uid != self.owner.uid);
        set_owners(self.api, self.resource, meta, &owners).await
    }
}
