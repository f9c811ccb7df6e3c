//! The seam between the API server and engines of policy: what an engine is asked, and what it may answer.
//!
//! Start at [`Engine`]. A [`Review`] is one request for admission; a [`Data`] is the store as it is at that moment. What
//! several engines need to tell whom a policy is about lies in [`glob`] and [`rule`]. [`Objects`] is a [`Data`] over a few
//! objects, for tests and for judging manifests without a server.
//!
//! Deliberately absent: any language of policies, any I/O and any clock. Engines keep their compiled policies themselves,
//! in a snapshot that they swap as a whole.

mod data;
mod engine;
pub mod glob;
mod objects;
mod review;
pub mod rule;
mod turns;

pub use data::{Authorizer, Data, DataError, Decision, Look};
pub use engine::{Denial, Engine, Finding, Mutation, Outcome, Power, Verdict};
pub use objects::Objects;
pub use review::{Operation, Options, Review, User, between};
pub use turns::Turns;
