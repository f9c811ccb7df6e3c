//! Which buckets a guest's `wasi:keyvalue` is: those of its namespace.
//!
//! They go by the namespace's uid, so that one which is made anew under an old name finds nothing of the old one's. What deleted
//! namespaces left is removed when the next guest asks for buckets.

use std::{collections::HashSet, sync::Arc, time::Duration};

use eyot_bucket::{BucketError, Tenant};
use eyot_runtime::Program;
use k8s_openapi::{List, api::core::v1::Namespace};

use crate::{
    api::{self, ApiError},
    pod::Shared,
};

/// How long the buckets of a namespace that is gone are left alone.
const IDLE: Duration = Duration::from_secs(3600);

/// Why a guest has no buckets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoBuckets {
    /// Namespaces cannot be read.
    #[error("reading namespaces for the pod's wasi:keyvalue: {0}")]
    Namespaces(#[from] ApiError),
    /// The pod's is not among them.
    #[error("namespace {0:?} is gone")]
    Gone(String),
    /// Its buckets cannot be used.
    #[error("opening the buckets of namespace {namespace:?}: {source}")]
    Buckets {
        /// The namespace.
        namespace: String,
        /// Cause.
        #[source]
        source: BucketError,
    },
}

/// The buckets of guests in `namespace`, if `program` is of those that ask for any.
pub(crate) async fn of(
    shared: &Arc<Shared>,
    namespace: &str,
    program: &Program,
) -> Result<Option<Arc<Tenant>>, NoBuckets> {
    if !program.keeps_values() {
        return Ok(None);
    }
    let list = api::get::<List<Namespace>>(&shared.client, "/api/v1/namespaces").await?;
    let named = |it: Namespace| Some((it.metadata.name?, it.metadata.uid?));
    let living: Vec<(String, String)> = list.into_iter().flat_map(|it| it.items).filter_map(named).collect();
    let uid = living.iter().find(|(name, _)| name == namespace).map(|(_, uid)| uid.clone());
    let uid = uid.ok_or_else(|| NoBuckets::Gone(namespace.to_owned()))?;
    let failed = |source| NoBuckets::Buckets { namespace: namespace.to_owned(), source };
    let tenant = shared.buckets.tenant(&uid).map_err(failed)?;
    let (living, shared): (HashSet<String>, _) = (living.into_iter().map(|(_, uid)| uid).collect(), shared.clone());
    let swept = tokio::task::spawn_blocking(move || shared.buckets.retain(&living, IDLE)).await;
    if let Ok(Err(error)) = swept {
        tracing::warn!(error = &error as &dyn std::error::Error, "removing buckets of namespaces that are gone");
    }
    Ok(Some(tenant))
}
