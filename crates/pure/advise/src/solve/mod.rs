//! The answer to a scenario: [`Decision`].

mod answer;

pub use answer::*;
