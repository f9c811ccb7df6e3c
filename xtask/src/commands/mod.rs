//! One module for each subcommand that is more than a call.

pub(crate) mod bench;
pub(crate) mod board;
pub(crate) mod demo;
pub(crate) mod fuzz;
pub(crate) mod lint;
pub(crate) mod test;
