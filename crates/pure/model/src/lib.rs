//! Everything about Kubernetes objects, as [`serde_json::Value`]s, that needs no I/O.
//!
//! Start at [`kinds::builtin`]: the table of kinds names what is served; the other modules take a
//! [`kinds::Kind`] and a value. A write goes through [`schema`] (unknown fields, types), [`defaults`],
//! [`prepare`] and [`validate`]; a patch through [`patch`] first; a read through [`selector`], [`fields`] and
//! [`table`]. What goes wrong becomes a [`status::ApiError`].
//!
//! Deliberately absent: clocks, randomness, storage and sockets. Time arrives as an argument.

pub mod apply;
pub mod cidr;
pub mod convert;
pub mod cron;
pub mod custom;
pub mod defaults;
pub mod fields;
pub mod inert;
pub mod json;
pub mod kinds;
pub mod limits;
pub mod meta;
pub mod nodes;
pub mod patch;
pub mod pod_part;
pub mod podsecurity;
pub mod prepare;
pub mod quantity;
pub mod quota;
pub mod rbac;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
#[cfg(test)]
mod testing;
pub mod validate;
