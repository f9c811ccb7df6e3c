//! What can be wrong with a policy, and what can stop its evaluation.

use std::fmt;

/// A place in a module. Lines and columns count from one, columns in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// One thing that is wrong with a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The module's name, as its [`Source`](crate::Source) gave it.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// OPA's name for this class of error, such as `rego_parse_error`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "{}:{line}:{column}: {}: {}", self.file, self.code, self.message)
    }
}

impl std::error::Error for Flaw {}

/// Why an evaluation ended without an answer. None of these means "no".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It took more steps than it may.
    #[error("{place}: evaluation stopped after {steps} steps")]
    Steps {
        /// Where it was.
        place: Place,
        /// How many it may take.
        steps: u64,
    },
    /// It made more data than it may.
    #[error("{place}: evaluation stopped: it built more than {bytes} bytes")]
    Bytes {
        /// Where it was.
        place: Place,
        /// How many it may build.
        bytes: u64,
    },
    /// Its calls and loops are nested too deeply.
    #[error("{place}: evaluation stopped: calls are nested too deeply")]
    Depth {
        /// Where it was.
        place: Place,
    },
    /// A rule or function has two different values for the same input.
    #[error("{place}: eval_conflict_error: {message}")]
    Conflict {
        /// Where the second value arose.
        place: Place,
        /// Which rule.
        message: String,
    },
    /// A built-in function failed, and the request asked that this be an error.
    #[error("{place}: {code}: {message}")]
    Builtin {
        /// `eval_type_error` or `eval_builtin_error`.
        code: &'static str,
        /// Where it was called.
        place: Place,
        /// What it said.
        message: String,
    },
}

impl Fault {
    /// OPA's name for this class of error.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::Steps { .. } | Fault::Bytes { .. } | Fault::Depth { .. } => "eval_cancel_error",
            Fault::Conflict { .. } => "eval_conflict_error",
            Fault::Builtin { code, .. } => code,
        }
    }
}

/// A position with the name of its module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The module.
    pub file: String,
    /// Where in it.
    pub position: Position,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.position.line, self.position.column)
    }
}
