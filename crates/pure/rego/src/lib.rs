//! Rego: policies as OPA reads them, compiled once and evaluated under bounds.
//!
//! [`Program::compile`] takes modules and gives an immutable program, or every flaw with its file, line and column.
//! [`Program::value`] answers what a path below `data` is; [`Program::query`] and [`Program::eval`] answer any query.
//! An evaluation is charged for every step and every byte that it builds ([`Bounds`]) and for its depth; what exceeds a
//! bound is a [`Fault`], never an answer. There is no clock and no I/O: time is part of the [`Request`].
//!
//! [`bundle`] reads OPA's archives of policies and data, with their signatures.
//!
//! Both dialects are read: v0, in which Gatekeeper's templates are written, and v1.
//!
//! Deliberately absent: OPA's type checker (operands of the wrong type make a call undefined when it runs), metadata
//! annotations, partial evaluation, and the built-in functions that reach out to the network.

mod ast;
mod builtins;
pub mod bundle;
mod compile;
mod error;
mod eval;
mod ir;
pub mod jwt;
mod lexer;
mod notation;
mod number;
mod parser;
mod program;
mod value;

pub use builtins::{call_builtin, has_builtin};
pub use error::{Fault, Flaw, Place, Position};
pub use number::Number;
pub use program::{Bounds, Dialect, Outcome, Print, Program, Query, Request, RuleInfo, Solution, Source};
pub use value::Value;
