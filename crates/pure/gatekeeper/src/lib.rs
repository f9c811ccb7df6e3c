//! Gatekeeper: constraint templates in Rego and CEL, constraints, mutators and expansion templates, as an engine of
//! policies.
//!
//! [`Gatekeeper`] is the engine ([`eyot_policy::Engine`]): it keeps everything compiled in a snapshot that each write
//! swaps as a whole. [`suite`] runs Gatekeeper's own test suites, files given as text.
//!
//! Two things differ from the original on purpose. An evaluation that fails refuses the request, where Gatekeeper's usual
//! installation lets it pass. And `data.inventory` is read from the store inside the same write instead of a cache that
//! lags; a template that declares what it needs gets it without a `Config`.
//!
//! Deliberately absent: external data providers (a template or mutator that asks for one is refused), the generation of
//! ValidatingAdmissionPolicies from templates, and exemption of namespaces by label.

mod cel;
mod config;
mod constraint;
mod crd;
mod engine;
mod expand;
mod inventory;
mod judge;
mod matching;
mod mutate;
mod policy;
mod schema;
mod state;
mod status;
pub mod suite;
mod template;

pub use engine::Gatekeeper;
pub use status::{POD, Violation, constraint_status};

/// Group of the generated kinds of constraints.
pub const CONSTRAINTS: &str = "constraints.gatekeeper.sh";
/// Group of templates.
pub const TEMPLATES: &str = "templates.gatekeeper.sh";
/// Group of mutators.
pub const MUTATIONS: &str = "mutations.gatekeeper.sh";
/// Group of expansion templates.
pub const EXPANSION: &str = "expansion.gatekeeper.sh";
/// Group of `Config`.
pub const CONFIG: &str = "config.gatekeeper.sh";
/// Group of `SyncSet`.
pub const SYNCSET: &str = "syncset.gatekeeper.sh";
/// Group of providers of external data.
pub const EXTERNAL: &str = "externaldata.gatekeeper.sh";
