//! Expressions in CEL, as Kubernetes uses them, with a bound on what one write may cost.
//!
//! [`Program`] is any expression; [`Rules`] are those that a custom kind's schema holds. Evaluation charges a
//! [`Budget`]: each round of a loop, and what grows faster than its input, costs in proportion to the size of the
//! expression and of its input. An expression that would exceed it fails, and so does the write that it judges.
//!
//! Deliberately absent: a type checker (fields that a schema does not have are found, mismatched operands are not until
//! a rule runs), and the macros that Kubernetes added beside the standard ones (`cel.bind`, `sortBy`, two-variable
//! comprehensions), and the semver library; rules that use them are refused by name.

mod budget;
mod convert;
mod functions;
mod program;
mod rules;
mod scope;

pub use budget::Budget;
pub use convert::{json, map, typed};
pub use kube_cel::cel::Value;
pub use program::{CompileError, Program, RunError};
pub use rules::{Flaw, Rules};
