//! Expressions of policies, evaluated without the interpreter where that is certain to come to the same.
//!
//! The interpreter copies lists and maps whenever a variable is named, a function returns or a loop goes on, so that a
//! short expression about a pod's containers takes tens of microseconds. Here values are shared. Entry points: [`Plan::of`]
//! when an expression is compiled, [`Run::plan`] when it is evaluated.
//!
//! What is not decided here — every failure, optional values in places where the interpreter has its own way with them,
//! values that have no order — is left to the interpreter, which then evaluates the expression from its
//! beginning. Its results and messages are therefore the only ones there are; `tests` hold both to that. Functions that are
//! not done here are the interpreter's.

mod call;
mod item;
mod plan;
mod run;
#[cfg(test)]
mod tests;
mod way;

pub(crate) use call::is_function;
pub(crate) use item::Item;
pub(crate) use plan::{Names, Plan};
pub(crate) use run::{Run, Surroundings};
pub(crate) use way::{End, Way};
