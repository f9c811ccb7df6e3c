//! The Kubernetes API of Eyot: a tower service over [`eyot_store`], driven by the kind table of [`eyot_model`].
//!
//! Start at [`ApiServer`]. [`ApiServer::service`] answers requests in process; [`ApiServer::serve`] answers them over
//! TLS. Verbs are generic over `serde_json::Value`; what one kind does differently lives in `strategy`. Objects are
//! stored as the bytes that clients get, so that reading never serialises.
//!
//! Who asks is told by a certificate, a token or nobody; `access` decides by roles what they may do.
//!
//! Deliberately absent: any typed Kubernetes object, any client, and any knowledge of Wasm.

mod access;
mod admit;
mod advertise;
mod backends;
mod body;
mod bootstrap;
mod call;
mod commit;
mod csr;
mod definitions;
mod discovery;
mod flow;
mod handle;
mod identity;
mod incoming;
mod inert;
mod kubelet;
mod memo;
mod metrics;
mod object;
mod owners;
pub mod pki;
mod policy;
mod present;
mod request;
mod respond;
mod review;
mod select;
mod serve;
mod server;
mod service;
mod shape;
mod strategy;
mod subresource;
mod sweep;
mod token;
mod verbs;
mod webhook;

pub use advertise::{advertise, stay_advertised};
pub use body::{Body, BoxError};
pub use bootstrap::{BootstrapError, bootstrap};
pub use commit::attributes;
pub use identity::{Identity, MASTERS};
pub use serve::ServeError;
pub use server::{ApiServer, Config};
pub use service::ApiService;
pub use token::file::TokenFileError;
