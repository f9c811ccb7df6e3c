//! Built-in functions.
//!
//! Each file offers a `TABLE` of name, number of arguments and function. A function that fails says why and makes its
//! call undefined, as in OPA; only an exceeded bound stops the evaluation.

mod aggregates;
mod arith;
mod aws;
mod chains;
mod collections;
mod compare;
mod convert;
mod crypto;
mod encoding;
mod format;
mod glob_sets;
mod globs;
mod graphs;
mod ids;
mod jwts;
mod layout;
mod net;
mod patches;
mod regexes;
mod schemas;
mod strings;
mod templates;
mod time;
mod units;
mod x509;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::program::Bounds;
use crate::value::Value;

pub(crate) use compare::is_member;

/// Why a call has no value.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The function can not do this with these arguments.
    Error(String),
    /// An argument is of a type that the function does not take.
    Type(String),
    /// The function does not exist here, though policies know it: no answer would be right.
    Refused(String),
    /// The evaluation took more steps than it may.
    Steps(u64),
    /// The evaluation built more bytes than it may.
    Bytes(u64),
}

impl From<&str> for Failure {
    fn from(message: &str) -> Failure {
        Failure::Error(message.to_owned())
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Error(message)
    }
}

/// What a call gives.
pub(crate) type Made = Result<Value, Failure>;
/// A function.
pub(crate) type Call = fn(&mut Cx, &[Value]) -> Made;
/// A row of a table: name, number of arguments, function.
pub(crate) type Row = (&'static str, usize, Call);

/// A built-in function.
#[derive(Debug)]
pub(crate) struct Builtin {
    pub(crate) name: &'static str,
    pub(crate) arity: usize,
    pub(crate) call: Call,
}

/// What functions may know of the evaluation, and where they account for what they cost.
#[derive(Debug)]
pub(crate) struct Cx {
    bounds: Bounds,
    steps: u64,
    bytes: u64,
    now_ns: i64,
}

impl Cx {
    pub(crate) fn new(bounds: Bounds, now_ns: i64) -> Cx {
        Cx { bounds, steps: 0, bytes: 0, now_ns }
    }

    /// Accounts for `n` units of work.
    pub(crate) fn step(&mut self, n: u64) -> Result<(), Failure> {
        self.steps = self.steps.saturating_add(n);
        if self.steps > self.bounds.steps { Err(Failure::Steps(self.bounds.steps)) } else { Ok(()) }
    }

    /// Accounts for `n` bytes that are about to be built.
    pub(crate) fn charge_bytes(&mut self, n: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(n as u64);
        if self.bytes > self.bounds.bytes { Err(Failure::Bytes(self.bounds.bytes)) } else { Ok(()) }
    }

    /// Accounts for the texts that a function is given: most go through them once.
    pub(crate) fn look_at(&mut self, args: &[Value]) -> Result<(), Failure> {
        /// Bytes that are gone through in the time of a step.
        const BYTES_PER_STEP: usize = 512;
        let bytes: usize = args.iter().filter_map(Value::as_str).map(str::len).sum();
        if bytes < BYTES_PER_STEP { Ok(()) } else { self.step((bytes / BYTES_PER_STEP) as u64) }
    }

    /// Accounts for a string and makes it a value.
    pub(crate) fn text(&mut self, text: &str) -> Made {
        self.charge_bytes(text.len() + 16)?;
        Ok(Value::string(text))
    }

    /// What time it is, in nanoseconds since 1970.
    pub(crate) fn now_ns(&self) -> i64 {
        self.now_ns
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }
}

/// The function called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Builtin> {
    static ALL: OnceLock<HashMap<&'static str, Builtin>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let tables: [&[Row]; 24] = [
            aggregates::TABLE,
            arith::TABLE,
            aws::TABLE,
            chains::TABLE,
            collections::TABLE,
            compare::TABLE,
            convert::TABLE,
            crypto::TABLE,
            encoding::TABLE,
            format::TABLE,
            glob_sets::TABLE,
            globs::TABLE,
            graphs::TABLE,
            ids::TABLE,
            jwts::TABLE,
            net::TABLE,
            patches::TABLE,
            regexes::TABLE,
            schemas::TABLE,
            strings::TABLE,
            templates::TABLE,
            time::TABLE,
            units::TABLE,
            x509::TABLE,
        ];
        let rows = tables.into_iter().flatten();
        rows.map(|(name, arity, call)| (*name, Builtin { name, arity: *arity, call: *call })).collect()
    });
    all.get(name)
}

/// Whether there is a built-in function of this name.
pub fn has_builtin(name: &str) -> bool {
    find(name).is_some()
}

/// Calls a built-in function outside of an evaluation, under the usual bounds. `None` is undefined: the function does not
/// accept these arguments.
///
/// # Errors
/// When there is no such function, or it exceeded a bound.
pub fn call_builtin(name: &str, arguments: &[Value], now_ns: i64) -> Result<Option<Value>, String> {
    let builtin = find(name).ok_or_else(|| format!("there is no function {name}"))?;
    if builtin.arity != arguments.len() {
        return Err(format!("{name} takes {} arguments, not {}", builtin.arity, arguments.len()));
    }
    match (builtin.call)(&mut Cx::new(Bounds::default(), now_ns), arguments) {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Steps(steps)) => Err(format!("{name} took more than {steps} steps")),
        Err(Failure::Bytes(bytes)) => Err(format!("{name} built more than {bytes} bytes")),
        Err(Failure::Refused(why)) => Err(why),
        Err(_) => Ok(None),
    }
}

/// The arguments as strings.
pub(crate) fn text(args: &[Value], at: usize) -> Result<&str, Failure> {
    args[at].as_str().ok_or_else(|| wrong_type(args, at, "string"))
}

/// An argument as a whole number.
pub(crate) fn whole(args: &[Value], at: usize) -> Result<i128, Failure> {
    match &args[at] {
        Value::Number(n) => n.as_whole().ok_or_else(|| Failure::Type(format!("operand {} must be an integer", at + 1))),
        _ => Err(wrong_type(args, at, "number")),
    }
}

pub(crate) fn wrong_type(args: &[Value], at: usize, wanted: &str) -> Failure {
    Failure::Type(format!("operand {} must be {wanted} but got {}", at + 1, args[at].type_name()))
}

/// The members of an array or a set of strings.
pub(crate) fn texts(args: &[Value], at: usize) -> Result<Vec<&str>, Failure> {
    let items: Vec<&Value> = match &args[at] {
        Value::Array(items) => items.iter().collect(),
        Value::Set(members) => members.iter().collect(),
        _ => return Err(wrong_type(args, at, "array or set")),
    };
    let all: Option<Vec<&str>> = items.into_iter().map(Value::as_str).collect();
    all.ok_or_else(|| wrong_type(args, at, "a collection of strings"))
}
