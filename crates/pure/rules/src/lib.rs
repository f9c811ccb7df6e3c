//! Expressions in CEL, as Kubernetes uses them, with a bound on what one write may cost.
//!
//! [`Program`] is any expression; [`Rules`] are those that a custom kind's schema holds. Evaluation charges a
//! [`Budget`]: each round of a loop, and what grows faster than its input, costs in proportion to the size of the
//! expression and of its input. An expression that would exceed it fails, and so does the write that it judges.
//!
//! An [`Environment`] is what the expressions of admission policies see. [`types`] finds what is certainly wrong by the
//! types that schemas give.
//!
//! Deliberately absent: a complete type checker (a definition is refused for fields that its schema does not have, not
//! for mismatched operands), and `sortBy`; rules that use it are refused by name.

mod authorize;
mod budget;
mod convert;
mod correlate;
mod direct;
mod estimate;
mod expand;
mod frame;
mod functions;
mod height;
mod instrument;
mod library;
mod numbers;
mod path;
mod program;
mod quantities;
mod regexes;
mod rules;
mod scope;
mod semver;
mod strings;
mod text;
pub mod types;

pub use authorize::{Asker, Decide};
pub use budget::Budget;
pub use convert::{json, map, timestamp, to_json, typed};
pub use frame::{Environment, ROOTS, Variable};
pub use kube_cel::cel::{self, Value};
pub use library::{Library, host};
pub use program::{CompileError, Dialect, Program, RunError};
pub use rules::{Flaw, Rules};
