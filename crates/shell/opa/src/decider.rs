//! A policy that is ready to decide: a program in Rego with its data, or modules that OPA compiled. Entry points:
//! [`Decider::compile`], [`Decider::of_bundle`], [`Decider::decide`].

use std::{collections::BTreeMap, sync::Arc};

use eyot_rego::{Bounds, Dialect, Flaw, Program, Request, Source, Value, bundle::Bundle};
use eyot_runtime::{OpaBounds, OpaPolicy, Runtime};
use serde_json::Value as Json;

use crate::builtins::Builtins;

/// Decides. Never changes: what comes next is another one.
#[derive(Debug)]
pub(crate) struct Decider {
    program: Program,
    data: Value,
    /// Compiled policies by the decision they answer, as `a/b`.
    wasm: BTreeMap<String, OpaPolicy>,
    /// What its author calls this version.
    pub(crate) revision: String,
}

/// Why there is no decision. Fit for a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecideError {
    /// Nothing at the path is defined for this input.
    #[error("data.{0} is undefined")]
    Undefined(String),
    /// The evaluation ended without a decision.
    #[error("{0}")]
    Failed(String),
    /// There is no policy yet: its bundle never came.
    #[error("the policy is not there yet: {0}")]
    Absent(String),
}

/// Bounds of one decision: a request waits for it.
const BOUNDS: Bounds = Bounds { steps: 2_000_000, bytes: 64 << 20 };

impl Decider {
    /// Compiles modules.
    pub(crate) fn compile(modules: Vec<Source>, data: &Json, revision: String) -> Result<Decider, Vec<Flaw>> {
        let program = Program::compile(&modules)?;
        Ok(Decider { program, data: Value::from(data), wasm: BTreeMap::new(), revision })
    }

    /// Makes ready what is in a bundle. Blocks while its compiled policies are translated.
    pub(crate) fn of_bundle(bundle: Bundle, runtime: &Runtime) -> Result<Decider, String> {
        let sources = bundle.modules.into_iter().map(|it| {
            let dialect = if it.v0 { Dialect::V0 } else { Dialect::V1 };
            Source { name: it.path, text: it.source, dialect }
        });
        let compiled = Decider::compile(sources.collect(), &bundle.data, bundle.manifest.revision);
        let mut decider = compiled.map_err(|flaws| told(&flaws))?;
        let data = bundle.data.to_string();
        for file in bundle.wasm {
            let loaded = runtime.opa_policy(&file.content, &data, Arc::new(Builtins), OpaBounds::default());
            let policy = loaded.map_err(|error| format!("{}: {error}", file.path))?;
            let listed: Vec<String> = match file.entrypoints.is_empty() {
                true => policy.entrypoints().map(str::to_owned).collect(),
                false => file.entrypoints,
            };
            for entrypoint in listed {
                if !policy.entrypoints().any(|it| it == entrypoint) {
                    return Err(format!("{}: the module has no entry point {entrypoint:?}", file.path));
                }
                decider.wasm.insert(entrypoint, policy.clone());
            }
        }
        Ok(decider)
    }

    /// The document at `path` (`a/b`) for an input.
    pub(crate) fn decide(&self, path: &str, input: &Value, now_ns: i64) -> Result<Value, DecideError> {
        let undefined = || DecideError::Undefined(path.replace('/', "."));
        if let Some(policy) = self.wasm.get(path) {
            let answer = policy.eval(path, Some(&input.to_json().to_string()));
            let answer = answer.map_err(|error| DecideError::Failed(error.to_string()))?;
            let results: Json =
                serde_json::from_str(&answer).map_err(|error| DecideError::Failed(format!("the answer: {error}")))?;
            return results.get(0).and_then(|it| it.get("result")).map(Value::from).ok_or_else(undefined);
        }
        let request = Request {
            input: Some(input.clone()),
            data: self.data.clone(),
            now_ns,
            bounds: BOUNDS,
            strict: false,
        };
        let keys: Vec<Value> = path.split('/').map(Value::string).collect();
        let value = self.program.at(&keys, &request);
        value.map_err(|fault| DecideError::Failed(fault.to_string()))?.ok_or_else(undefined)
    }

    /// Whether there is anything at all at a path, for any input.
    pub(crate) fn has(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        self.wasm.contains_key(path)
            || self.program.rules().iter().any(|rule| {
                let known = rule.path.len().min(parts.len());
                (0..known).all(|at| rule.path[at] == parts[at])
            })
            || parts.iter().try_fold(&self.data, |value, part| value.field(part)).is_some()
    }
}

/// Flaws in one text, the first few of them.
pub(crate) fn told(flaws: &[Flaw]) -> String {
    const SHOWN: usize = 5;
    let mut lines: Vec<String> = flaws.iter().take(SHOWN).map(ToString::to_string).collect();
    if flaws.len() > SHOWN {
        lines.push(format!("and {} more", flaws.len() - SHOWN));
    }
    lines.join("; ")
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
