//! A node against the real API server, registry and runtime, in one process.

mod alone;
mod claims;
mod commands;
mod configuration;
mod conformance;
mod early;
mod forward;
mod http;
mod island;
mod proxy;
mod restart;
mod session;
mod wasmedge;
