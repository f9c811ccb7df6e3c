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

/// Bounds of one decision: a request waits for it, and at the gateway a thread with all of its connections.
const BOUNDS: Bounds = Bounds { steps: 500_000, bytes: 64 << 20 };

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
        let request =
            Request { input: Some(input.clone()), data: self.data.clone(), now_ns, bounds: BOUNDS, strict: false };
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

#[cfg(test)]
mod tests {
    use eyot_runtime::RuntimeConfig;
    use serde_json::json;

    use super::*;

    /// A module by OPA's ABI whose values are their own text. Its answer is what `json.unmarshal` makes of a text, so that a
    /// built-in function is called on the way.
    fn module() -> Vec<u8> {
        module_of("(call $builtin1 (i32.const 3) (i32.const 0) (i32.const 128))")
    }

    /// The same with another way to an answer.
    fn module_of(eval: &str) -> Vec<u8> {
        let text = r#"(module
            (import "env" "memory" (memory 1))
            (import "env" "opa_builtin1" (func $builtin1 (param i32 i32 i32) (result i32)))
            (global (export "opa_wasm_abi_version") i32 (i32.const 1))
            (global (export "opa_wasm_abi_minor_version") i32 (i32.const 3))
            (global $top (mut i32) (i32.const 4096))
            (export "memory" (memory 0))
            (data (i32.const 16) "{\22app/allow\22: 0}\00")
            (data (i32.const 64) "{\22json.unmarshal\22: 3}\00")
            (data (i32.const 128) "\22[{\5c\22result\5c\22: {\5c\22allowed\5c\22: true}}]\22\00")
            (func (export "opa_malloc") (param i32) (result i32)
                (global.get $top)
                (global.set $top (i32.add (global.get $top) (i32.add (local.get 0) (i32.const 1)))))
            (func (export "opa_value_dump") (param i32) (result i32) (local.get 0))
            (func (export "opa_json_dump") (param i32) (result i32) (local.get 0))
            (func (export "opa_value_parse") (param i32 i32) (result i32)
                (i32.store8 (i32.add (local.get 0) (local.get 1)) (i32.const 0)) (local.get 0))
            (func (export "opa_json_parse") (param i32 i32) (result i32) (local.get 0))
            (func (export "opa_heap_ptr_get") (result i32) (global.get $top))
            (func (export "builtins") (result i32) (i32.const 64))
            (func (export "entrypoints") (result i32) (i32.const 16))
            (func (export "opa_eval") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
                EVAL))"#;
        wat::parse_str(text.replace("EVAL", eval)).unwrap()
    }

    fn bundle(files: &[(&str, &[u8])]) -> Bundle {
        let files = files.iter().map(|(path, content)| ((*path).to_owned(), content.to_vec()));
        Bundle::from_files(files.collect(), None).unwrap()
    }

    #[test]
    fn compiled_policies_answer_their_entry_points_and_rego_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(RuntimeConfig::new(dir.path())).unwrap();
        let manifest = br#"{"revision": "7", "wasm": [{"entrypoint": "app/allow", "module": "/policy.wasm"}]}"#;
        let module = module();
        let files: [(&str, &[u8]); 4] = [
            (".manifest", manifest),
            ("policy.wasm", &module),
            ("a.rego", b"package a\nlimit := data.most + input.more"),
            ("data.json", br#"{"most": 3}"#),
        ];
        let decider = Decider::of_bundle(bundle(&files), &runtime).unwrap();
        let input = Value::from(&json!({"more": 1}));
        let decide = |path: &str| decider.decide(path, &input, 0).map(|it| it.to_string());
        assert_eq!(decide("app/allow").unwrap(), r#"{"allowed": true}"#);
        assert_eq!(decide("a/limit").unwrap(), "4");
        assert_eq!(decide("a/none"), Err(DecideError::Undefined("a.none".into())));
        assert!(decider.has("app/allow") && decider.has("a/limit") && decider.has("most") && !decider.has("b"));
        assert_eq!(decider.revision, "7");
    }

    #[test]
    fn a_compiled_policy_that_never_ends_is_stopped_and_decides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(RuntimeConfig::new(dir.path())).unwrap();
        let endless = module_of("(loop $again (br $again)) (i32.const 128)");
        let files: [(&str, &[u8]); 1] = [("policy.wasm", &endless)];
        let decider = Decider::of_bundle(bundle(&files), &runtime).unwrap();
        let wanted = DecideError::Failed("the evaluation was stopped after 250ms".into());
        for _ in 0..2 {
            assert_eq!(decider.decide("app/allow", &Value::Null, 0), Err(wanted.clone()));
        }
    }

    #[test]
    fn a_bundle_that_names_what_its_module_does_not_answer_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(RuntimeConfig::new(dir.path())).unwrap();
        let manifest = br#"{"wasm": [{"entrypoint": "app/deny", "module": "/policy.wasm"}]}"#;
        let module = module();
        let files: [(&str, &[u8]); 2] = [(".manifest", manifest), ("policy.wasm", &module)];
        let error = Decider::of_bundle(bundle(&files), &runtime).unwrap_err();
        assert_eq!(error, r#"policy.wasm: the module has no entry point "app/deny""#);
        let garbage: [(&str, &[u8]); 1] = [("policy.wasm", b"\0asm\x02\0\0\0")];
        let error = Decider::of_bundle(bundle(&garbage), &runtime).unwrap_err();
        assert!(error.starts_with("policy.wasm: the policy module is not usable"), "{error}");
    }
}
