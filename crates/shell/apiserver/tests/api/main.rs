//! Drives the API server in process through its tower service, on a real store.

mod access;
mod admission;
mod apply;
mod certificates;
mod conformance;
mod conversion;
mod custom;
mod errors;
mod hooks;
mod lists;
mod nodes;
mod objects;
mod patches;
mod pods;
mod policies;
mod quotas;
mod schema;
mod server;
mod tokens;
mod watches;
mod webhooks;
