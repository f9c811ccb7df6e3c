//! Policies of every engine, and what admitting a pod costs under them: engine by engine, in this process, without a server.
//!
//! Start at [`Engines`] for the measuring and at [`policies`] for what is measured; `src/bin` prints both times and
//! allocations. Two programs, since counting allocations takes time itself.
//!
//! Deliberately absent: the server around it (that is `eyot-bench policy`), and OPA's host for WebAssembly: policies of OPA
//! are evaluated here by the interpreter that it uses, as it uses it.

mod engines;
pub mod policies;
mod summary;

pub use engines::{ENGINES, Engines, admitted_pod};
pub use summary::summary;
