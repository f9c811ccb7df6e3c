//! Drives the API server in process through its tower service, on a real store.

mod access;
mod apply;
mod certificates;
mod conformance;
mod custom;
mod errors;
mod lists;
mod objects;
mod patches;
mod pods;
mod schema;
mod server;
mod tokens;
mod watches;
