//! Kyverno's policies, interpreted.
//!
//! Start at [`policy::Policy`]: a ClusterPolicy or a Policy, compiled from the object that a user wrote. [`suite`] runs
//! the tests of `kyverno test` on it. A policy's expressions are [`jmespath`]; the values that they see come from a
//! [`context`], which asks a [`source`] about the cluster.
//!
//! The crate does no I/O and knows no clock: time, chance and the cluster are arguments. Everything is bounded: the work
//! of expressions, rounds of loops, sizes of what is loaded and made.
//!
//! Refused by name, because the answer lies on another machine: `verifyImages`, `validate.manifests`, context entries
//! `imageRegistry` and `apiCall.service`. Deliberately absent: storing what is generated.

mod anchor;
mod assertion;
pub mod autogen;
mod cel;
mod celpolicy;
mod cleanup;
pub mod conditions;
pub mod context;
mod duration;
mod engine;
pub mod exception;
pub mod flaw;
pub mod generate;
mod gotime;
pub mod image;
pub mod jmespath;
mod library;
pub mod matching;
mod mutate;
mod note;
pub mod path;
mod pattern;
mod place;
mod podsecurity;
pub mod policy;
pub mod source;
pub mod spec;
pub mod suite;
mod text;
pub mod ttl;
mod unreadable;
mod validate;
pub mod variables;
mod version;
mod wildcard;
mod yaml;

pub use cleanup::Cleanup;
pub use engine::{Background, Generator, Kyverno, Settings, Work};
pub use exception::Exception;
pub use flaw::Flaw;
pub use note::{Component, Note, Reason, Reasons, Reference};
pub use policy::{Policy, Request, RuleKind, RuleResult, Status};
