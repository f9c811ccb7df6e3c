//! What Kubernetes' conformance specs mean, asked of the API alone: `docs/conformance.md` says which test stands for
//! which spec. Specs that need containers, nodes or controllers are not here.

mod apps;
mod auth;
mod configuration;
mod devices;
mod kinds;
mod lifecycle;
mod machinery;
mod network;
mod policies;
mod selectable;
mod storage;
mod watchers;
mod webhooks;
