//! What an engine may look up while it judges. Entry point: [`Data`].

use std::sync::Arc;

use eyot_model::{
    kinds::{Kind, Table},
    rbac::Ask,
};
use serde_json::Value;

use crate::User;

/// Something could not be looked up. An engine must treat it as a failed evaluation, never as nothing found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// No such kind is served.
    #[error("no kind {kind:?} is served in {api_version:?}")]
    NotServed {
        /// `group/version` as asked for.
        api_version: String,
        /// As asked for.
        kind: String,
    },
    /// There are more objects than one request may look at.
    #[error("more than {max} objects of kind {kind}")]
    TooMany {
        /// What was listed.
        kind: String,
        /// The bound.
        max: usize,
    },
    /// A stored object makes no sense.
    #[error("{object} is damaged")]
    Damaged {
        /// Where it is stored.
        object: String,
    },
}

/// What was decided about somebody's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether they may.
    pub allowed: bool,
    /// Why; may be empty.
    pub reason: String,
}

/// Lets those who work in the background see the store as it is at one moment.
pub trait Look: Send + Sync {
    /// Runs something on the store. It blocks, and must not take long.
    fn look(&self, run: &mut dyn FnMut(&dyn Data));
}

/// Tells who may do what, as roles have it.
pub trait Authorizer: Send + Sync {
    /// Whether a user may do something. `groups` decide together with the name.
    fn decide(&self, user: &str, groups: &[String], ask: &Ask<'_>) -> Decision;
}

/// The store at the moment of a write: what was answered as written is seen.
pub trait Data: Sync {
    /// The kinds that are served now.
    fn kinds(&self) -> Arc<Table>;

    /// An object in the version of `kind`; `namespace` is empty for kinds without.
    ///
    /// # Errors
    /// When the stored object cannot be read.
    fn object(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, DataError>;

    /// The objects of a kind in its version, of one namespace or of all, by namespace and name.
    ///
    /// # Errors
    /// When one cannot be read, or there are too many: never less than all.
    fn objects(&self, kind: &Kind, namespace: Option<&str>) -> Result<Vec<Arc<Value>>, DataError>;

    /// The same store, for those who need to keep it for the time of a request. `None` when the server is shutting down.
    fn kept(&self) -> Option<Arc<dyn Data>>;

    /// Who may do what. It may be kept for the time of a request.
    fn authorizer(&self) -> Arc<dyn Authorizer>;

    /// The kind of an API version, or of the preferred one when that is empty.
    ///
    /// # Errors
    /// When it is not served.
    fn kind(&self, group: &str, version: &str, kind: &str) -> Result<Arc<Kind>, DataError> {
        let kinds = self.kinds();
        let found = match version {
            "" => kinds.preferred(group, kind),
            version => kinds.by_kind(group, version, kind),
        };
        found.cloned().ok_or_else(|| DataError::NotServed {
            api_version: eyot_model::kinds::api_version(group, version),
            kind: kind.to_owned(),
        })
    }

    /// [`Data::object`] of a kind by its names.
    ///
    /// # Errors
    /// When the kind is not served, or the object cannot be read.
    fn get(
        &self,
        (group, version, kind): (&str, &str, &str),
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Value>>, DataError> {
        self.object(&*self.kind(group, version, kind)?, namespace, name)
    }

    /// [`Data::objects`] of a kind by its names.
    ///
    /// # Errors
    /// When the kind is not served, an object cannot be read, or there are too many.
    fn list(
        &self,
        (group, version, kind): (&str, &str, &str),
        namespace: Option<&str>,
    ) -> Result<Vec<Arc<Value>>, DataError> {
        self.objects(&*self.kind(group, version, kind)?, namespace)
    }

    /// Whether a user may do something.
    fn may(&self, user: &User<'_>, ask: &Ask<'_>) -> Decision {
        self.authorizer().decide(user.name, user.groups, ask)
    }
}
