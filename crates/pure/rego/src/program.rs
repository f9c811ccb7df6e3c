//! The face of the crate: programs, requests and outcomes.

use std::sync::Arc;

use crate::error::{Fault, Flaw, Place, Position};
use crate::eval::{Eval, Files};
use crate::ir::{Group, Slot, Step, Tree};
use crate::value::Value;
use crate::{compile, parser};

/// Which Rego a module is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Before OPA 1.0: `if` and `contains` are optional, and keywords only by import.
    V0,
    /// Since OPA 1.0.
    V1,
}

/// A module's text.
#[derive(Clone, Debug)]
pub struct Source {
    /// What messages call it.
    pub name: String,
    /// The module.
    pub text: String,
    /// What it is written in.
    pub dialect: Dialect,
}

/// Modules that were compiled together. Immutable; evaluations share it.
#[derive(Debug)]
pub struct Program {
    pub(crate) files: Files,
    pub(crate) groups: Vec<Group>,
    pub(crate) tree: Tree,
    pub(crate) rules: Vec<RuleInfo>,
    pub(crate) packages: Vec<Vec<Arc<str>>>,
}

/// A rule as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Its path below `data`.
    pub path: Vec<String>,
    /// The module it is in.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// How many arguments it takes, if it is a function.
    pub params: Option<usize>,
    /// Whether it makes members of a set or fields of an object.
    pub member: bool,
    /// Whether it is a `default`.
    pub default: bool,
}

/// What one evaluation may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Statements, elements of iterations and units of work of built-in functions.
    pub steps: u64,
    /// Bytes of data that are built, also if they are dropped again.
    pub bytes: u64,
}

impl Default for Bounds {
    /// A second or so of work, which no policy for one object comes near.
    fn default() -> Bounds {
        Bounds { steps: 5_000_000, bytes: 64 << 20 }
    }
}

/// What is asked of a program.
#[derive(Clone, Debug)]
pub struct Request {
    /// `input`.
    pub input: Option<Value>,
    /// `data`, as far as it does not come from rules: an object.
    pub data: Value,
    /// What time it is, in nanoseconds since 1970.
    pub now_ns: i64,
    /// What it may cost.
    pub bounds: Bounds,
    /// Whether a failing built-in function is a [`Fault`] instead of undefined.
    pub strict: bool,
}

impl Request {
    /// A request about `input`, without data, at the time `now_ns`.
    pub fn new(input: Option<Value>, now_ns: i64) -> Request {
        let data = Value::object([]);
        Request { input, data, now_ns, bounds: Bounds::default(), strict: false }
    }
}

/// A compiled query. It belongs to the program that made it.
#[derive(Debug)]
pub struct Query {
    pub(crate) steps: Vec<Step>,
    pub(crate) frame: u32,
    /// Each statement's text, the slot of its value unless that is always `true`, and its place.
    pub(crate) shown: Vec<(String, Option<Slot>, Position)>,
    pub(crate) bindings: Vec<(Arc<str>, Slot)>,
}

/// What a query evaluated to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// One for every way in which all statements hold; none if the query is undefined.
    pub results: Vec<Solution>,
    /// What `print` wrote.
    pub prints: Vec<Print>,
    /// How many steps it took.
    pub steps: u64,
}

/// One way in which a query holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The statements as they were written, their values and places.
    pub expressions: Vec<(String, Value, Position)>,
    /// The variables and their values.
    pub bindings: Vec<(String, Value)>,
}

/// A line that `print` wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Print {
    /// Where it was called.
    pub place: Place,
    /// What it wrote.
    pub text: String,
}

impl Program {
    /// Compiles `sources` together.
    ///
    /// # Errors
    /// Everything that is wrong with them that one pass finds.
    pub fn compile(sources: &[Source]) -> Result<Program, Vec<Flaw>> {
        compile::program(sources)
    }

    /// Compiles a query against this program, with all keywords of v1 whatever the dialect.
    ///
    /// # Errors
    /// What is wrong with it; its name in messages is `query`.
    pub fn query(&self, text: &str, dialect: Dialect) -> Result<Query, Vec<Flaw>> {
        compile::query(self, text, dialect)
    }

    /// Answers `query`.
    ///
    /// # Errors
    /// A bound was exceeded, or rules contradict each other.
    pub fn eval(&self, query: &Query, request: &Request) -> Result<Outcome, Fault> {
        Eval::new(self, request).query(query)
    }

    /// The document at `path`, such as `data.a.b`; nothing if it is undefined.
    ///
    /// # Errors
    /// As [`Program::eval`].
    pub fn value(&self, path: &str, request: &Request) -> Result<Option<Value>, Fault> {
        self.value_and_prints(path, request).map(|(value, _)| value)
    }

    /// The document at `path`, and what `print` wrote on the way.
    ///
    /// # Errors
    /// As [`Program::eval`].
    pub fn value_and_prints(&self, path: &str, request: &Request) -> Result<(Option<Value>, Vec<Print>), Fault> {
        let path = path.strip_prefix("data.").unwrap_or(if path == "data" { "" } else { path });
        let keys: Vec<Value> = path.split('.').filter(|part| !part.is_empty()).map(Value::string).collect();
        let mut eval = Eval::new(self, request);
        let value = eval.document_at(&keys)?;
        Ok((value, eval.take_prints()))
    }

    /// The document at the path `keys` below `data`.
    ///
    /// # Errors
    /// As [`Program::eval`].
    pub fn at(&self, keys: &[Value], request: &Request) -> Result<Option<Value>, Fault> {
        Eval::new(self, request).document_at(keys)
    }

    /// All rules, in the order in which they were written.
    pub fn rules(&self) -> &[RuleInfo] {
        &self.rules
    }

    /// The packages of the modules, in their order.
    pub fn packages(&self) -> impl Iterator<Item = String> + '_ {
        self.packages.iter().map(|package| package.join("."))
    }

    /// Whether `text` is a well-formed module; a flaw otherwise. Names are not looked up.
    ///
    /// # Errors
    /// The first flaw of its form.
    pub fn parse(source: &Source) -> Result<(), Flaw> {
        parser::module(&source.text, source.dialect).map(drop).map_err(|(position, message)| Flaw {
            file: source.name.clone(),
            position,
            code: compile::PARSE,
            message,
        })
    }
}
