//! The advisor: chooses a technology stack for a scenario and says why.
//!
//! A [`Catalog`] knows technologies, rules and reference stacks; a [`Scenario`] says what somebody needs. [`advise`]
//! enumerates every combination of options that the constraints leave, scores each, and answers with a [`Decision`] that
//! holds the whole ranking, the rules that fired, what was ruled out, and how far the weights can move.
//!
//! Deliberately absent: files, clocks, measurements. Whoever calls reads the texts and prints the answer.

pub mod audit;
pub mod catalog;
mod condition;
pub mod flaw;
pub mod formal;
pub mod layer;
pub mod migrate;
pub mod reason;
pub mod render;
pub mod scenario;
pub mod solve;
pub mod text;
mod tree;
pub mod unit;
mod words;

pub use catalog::Catalog;
pub use condition::Condition;
pub use flaw::{Flaw, Severity};
pub use scenario::Scenario;
pub use solve::{Decision, NoAnswer, advise};
pub use text::{Lang, Named, Text};
pub use tree::Position;
