//! Plain OPA inside the node: `Policy` objects in Rego, for admission and for requests at the gateway.
//!
//! Start at [`Opa::new`]. [`Opa`] is an [`eyot_policy::Engine`], which the API server asks about writes, and an
//! [`eyot_dispatch::Authorize`], which the gateway asks about requests. [`Opa::follow`] keeps policies that come as bundles
//! up to date, and [`rest::router`] answers OPA's REST API. Decisions are noted in [`logs`].
//!
//! All of it decides by the same snapshot of policies (`state`), which changes as a whole. A bundle that is damaged, wrongly
//! signed, does not compile or cannot be fetched changes nothing but the object's status: the last good one decides, also
//! after a restart without a network.
//!
//! Deliberately absent: Rego itself (`eyot-rego`), the WebAssembly under it (`eyot-runtime`), mutation.

mod admission;
mod authorize;
mod builtins;
mod bundles;
mod decider;
mod definition;
mod envoy;
pub mod logs;
pub mod rest;
mod spec;
mod state;

use std::{path::PathBuf, sync::Arc};

use eyot_registry::Images;
use eyot_runtime::Runtime;

use bundles::{Kept, Wanted};
use logs::{Entry, Logs};
use state::{Policies, Policy};

/// What the engine is told when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where bundles are kept over restarts, and decisions noted.
    pub data_dir: PathBuf,
    /// What decisions are labelled with: the node's name.
    pub node: String,
}

/// Plain OPA. Clones are the same.
#[derive(Clone)]
pub struct Opa {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    policies: Policies,
    kept: Kept,
    wanted: Wanted,
    runtime: Runtime,
    images: Images,
    logs: Logs,
}

impl Opa {
    /// An engine without policies. Compiled policies run on `runtime`; bundles named by an image reference are pulled
    /// through `images`.
    pub fn new(config: Config, runtime: Runtime, images: Images) -> Opa {
        let (policies, wanted) = Default::default();
        let kept = Kept::new(config.data_dir.join("bundles"));
        let logs = Logs::new(config.data_dir.join("decisions"), &config.node);
        Opa { inner: Arc::new(Inner { config, policies, kept, wanted, runtime, images, logs }) }
    }

    /// Where decisions are noted.
    pub fn logs(&self) -> &Logs {
        &self.inner.logs
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.inner.policies
    }

    /// Notes a decision, if the policy asks for that.
    pub(crate) fn note(&self, policy: &Policy, entry: impl FnOnce() -> Entry) {
        if let Some(log) = &policy.spec.log {
            self.inner.logs.note(policy, log, entry());
        }
    }
}

impl std::fmt::Debug for Opa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opa").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
