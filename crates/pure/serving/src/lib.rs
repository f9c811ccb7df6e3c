//! Knative Serving without I/O: what its objects mean, what is made of them, and how many instances a load asks for.
//!
//! Entry points: [`Serving`] defines, defaults and validates the kinds of `serving.knative.dev/v1` as an engine inside the
//! API server; [`object`] says which objects follow from a Service, a Configuration, a Revision and a Route, and what their
//! statuses tell; [`scale::Scaler`] is the autoscaler; [`rollout::State`] moves requests from one revision to the next; [`gc`]
//! says which revisions may go; [`openfaas`] reads and tells functions in the words of another platform.
//!
//! Deliberately absent: Kubernetes clients, time, and kinds that only Knative's own components exchange
//! (PodAutoscalers, ServerlessServices, Ingresses of `networking.internal.knative.dev`).

mod annotations;
mod conditions;
mod default;
mod definition;
mod duration;
mod engine;
mod flaw;
pub mod gc;
pub mod object;
pub mod openfaas;
pub mod rollout;
pub mod scale;
mod traffic;
mod validate;

pub use annotations::{Class, Metric, Scaling};
pub use conditions::{Conditions, Told, Truth};
pub use engine::Serving;
pub use flaw::Flaw;
pub use traffic::{Assigned, Candidates, Problem, assign, targets};

/// API group of the kinds.
pub const GROUP: &str = "serving.knative.dev";
/// `apiVersion` of the kinds.
pub const API_VERSION: &str = "serving.knative.dev/v1";

/// Labels, annotations and names that the objects carry.
pub mod label {
    /// Of a revision, and of what is made for it: its Configuration.
    pub const CONFIGURATION: &str = "serving.knative.dev/configuration";
    /// Of a revision: which generation of the Configuration it was made from.
    pub const GENERATION: &str = "serving.knative.dev/configurationGeneration";
    /// Of what is made for a revision: its name.
    pub const REVISION: &str = "serving.knative.dev/revision";
    /// Of what is made for a revision: its uid.
    pub const REVISION_UID: &str = "serving.knative.dev/revisionUID";
    /// The Knative Service that everything belongs to.
    pub const SERVICE: &str = "serving.knative.dev/service";
    /// Of an HTTPRoute: the Route that it was made for.
    pub const ROUTE: &str = "serving.knative.dev/route";
    /// Of a revision: `active` while a route leads to it, `reserve` afterwards, `pending` before.
    pub const ROUTING_STATE: &str = "serving.knative.dev/routingState";
    /// When that changed.
    pub const ROUTING_MODIFIED: &str = "serving.knative.dev/routingStateModified";
    /// Keeps a revision that nothing leads to.
    pub const NO_GC: &str = "serving.knative.dev/no-gc";
    /// Who made an object.
    pub const CREATOR: &str = "serving.knative.dev/creator";
    /// Who changed its spec last.
    pub const MODIFIER: &str = "serving.knative.dev/lastModifier";
    /// Of the Service of a revision: requests that one instance takes at once, 0 for any number.
    pub const CONCURRENCY: &str = "serving.knative.dev/containerConcurrency";
    /// Of the Service of a revision: seconds that a request may take.
    pub const TIMEOUT: &str = "serving.knative.dev/timeoutSeconds";
    /// Of the Service of a revision: seconds until a response must have begun.
    pub const START_TIMEOUT: &str = "serving.knative.dev/responseStartTimeoutSeconds";
}
