//! JMESPath as Kyverno speaks it.
//!
//! Entry points: [`Expression::compile`] and [`Expression::search`].
//!
//! The dialect differs from the standard where a field is missing: it is an error unless something around it (a
//! function, a comparison, `||`, a pipe, a projection) forgives it, so that a typo in a policy is noticed. A library
//! with the standard's semantics cannot tell a missing field from one that is null, and copies the whole input into its
//! own values before each search; this one borrows from the input.
//!
//! Every evaluation is bounded: nesting by [`DEPTH_MAX`] and
//! [`OPERATORS_MAX`], work and output by [`Env::steps`]. Deliberately absent: the
//! clock and chance. Both come with the [`Env`].

mod digest;
mod functions;
mod interpret;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, cell::Cell};

use jiff::Timestamp;
use serde_json::Value;

use parser::Node;

/// How deep expressions may nest.
pub const DEPTH_MAX: usize = 64;
/// Operators in one expression: chains of them nest as well.
pub const OPERATORS_MAX: usize = 400;
/// Bytes of an expression.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Steps of one admission: nodes visited and, at a sixty-fourth, bytes made. About a tenth of a second.
pub const STEPS: u64 = 4_000_000;

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Expression {
    root: Node,
}

/// What evaluation knows of the world, and what it may cost.
#[derive(Debug)]
pub struct Env {
    /// The time.
    pub now: Timestamp,
    /// Where `random` goes on.
    pub seed: Cell<u64>,
    /// Steps left.
    pub steps: Cell<u64>,
}

/// Why an expression does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at position {position}")]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// Where: bytes from the start.
    pub position: usize,
}

/// Why a search found nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// A field is not there.
    #[error("Unknown key \"{0}\" in path")]
    NotFound(String),
    /// A function does not take its arguments.
    #[error("{0}")]
    Failed(String),
    /// It took too long.
    #[error("the expression costs too much")]
    Cost,
}

impl Env {
    /// An environment at that time.
    pub fn new(now: Timestamp, seed: u64) -> Env {
        Env { now, seed: Cell::new(seed | 1), steps: Cell::new(STEPS) }
    }

    /// Takes steps, or says that none are left.
    pub fn charge(&self, steps: u64) -> Result<(), SearchError> {
        let left = self.steps.get().checked_sub(steps).ok_or(SearchError::Cost);
        self.steps.set(*left.as_ref().unwrap_or(&0));
        left.map(drop)
    }

    /// The next number of a sequence that depends on the seed only.
    pub fn random(&self) -> u64 {
        let mut it = self.seed.get();
        it ^= it << 13;
        it ^= it >> 7;
        it ^= it << 17;
        self.seed.set(it);
        it.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

impl Expression {
    /// Compiles an expression.
    pub fn compile(text: &str) -> Result<Expression, SyntaxError> {
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("the expression has more than {TEXT_BYTES_MAX} bytes");
            return Err(SyntaxError { message, position: TEXT_BYTES_MAX });
        }
        Ok(Expression { root: parser::parse(text)? })
    }

    /// Evaluates it on a value.
    pub fn search<'a>(&'a self, value: &'a Value, env: &Env) -> Result<Cow<'a, Value>, SearchError> {
        interpret::run(&self.root, Cow::Borrowed(value), env)
    }
}
