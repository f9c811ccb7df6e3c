//! What one decision costs, in this process: in Rego, at the gateway's seam, and compiled to WebAssembly.
//!
//! Entry point: [`run`]. What a node adds to it — reading the request, the store, the network — is in the other parts.
//! Compiled policies are OPA's to make: here a module written by hand against OPA's ABI looks for a label in the text of
//! its input, which shows what a call costs and not what OPA's compiler makes of a policy. Where `EYOT_OPA_WASM` names a
//! module as `FILE:ENTRYPOINT:INPUT-FILE`, that is measured too.

use std::{
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eyot_dispatch::{Asking, Authorize, Decision, Sender, Way};
use eyot_opa::{Config, Opa};
use eyot_policy::Engine;
use eyot_registry::{Blobs, Images, ImagesConfig};
use eyot_rego::{Dialect, Program, Request, Source, Value as Rego};
use eyot_runtime::{OpaBounds, OpaBuiltins, Runtime, RuntimeConfig};
use serde_json::{Value, json};

use super::mixed::LABELS;

/// A policy of the usual kind: a method, a path with a variable, a header.
pub(super) const GUARD: &str = r#"package envoy.authz

default allow := false

http := input.attributes.request.http

allow if {
  http.method == "GET"
  ["people", name] = input.parsed_path
  name == user
}

allow if user in {"root", "admin"}

user := name if {
  [_, name] := split(http.headers.authorization, " ")
}
"#;

/// Measures everything, each decision forty times as often as what is measured on a node.
pub(super) fn run(samples: usize) -> Result<Value> {
    let samples = samples.max(1) * 40;
    let dir = tempfile::tempdir()?;
    let runtime = Runtime::new(RuntimeConfig::new(dir.path().join("cache")))?;
    let input = json!({"review": {"operation": "CREATE", "object": super::pod("a")},
        "parameters": {"labels": [{"key": "team", "allowedRegex": "^[a-z]+$"}, {"key": "owner"}]}});
    let (whole, converted) = labels(samples, &input)?;
    let text = input.to_string();
    let mut results = json!({
        "rego_from_json": whole,
        "rego": converted,
        "gateway_authorisation": gateway(samples, dir.path(), &runtime)?,
        "wasm_by_hand": wasm(samples, &runtime, &by_hand()?, "labels/allow", &text)?,
    });
    results["wasm"] = match std::env::var("EYOT_OPA_WASM") {
        Ok(named) => wasm_of_opa(samples, &runtime, &named)?,
        Err(_) => json!("skipped: EYOT_OPA_WASM names no FILE:ENTRYPOINT:INPUT-FILE"),
    };
    Ok(results)
}

/// A module that OPA's compiler made, named as `FILE:ENTRYPOINT:INPUT-FILE`.
fn wasm_of_opa(samples: usize, runtime: &Runtime, named: &str) -> Result<Value> {
    let mut parts = named.splitn(3, ':');
    let mut part = || parts.next().context("EYOT_OPA_WASM is FILE:ENTRYPOINT:INPUT-FILE");
    let (file, entrypoint, input) = (part()?, part()?, part()?);
    let input = std::fs::read_to_string(input).with_context(|| input.to_owned())?;
    let module = std::fs::read(file).with_context(|| file.to_owned())?;
    wasm(samples, runtime, &module, entrypoint, &input)
}

/// Required labels: from the JSON of a request to the violations, and with the input converted before.
fn labels(samples: usize, input: &Value) -> Result<(Value, Value)> {
    let source = Source { name: "labels.rego".to_owned(), text: LABELS.to_owned(), dialect: Dialect::V0 };
    let program = Program::compile(&[source]).map_err(|flaws| anyhow::anyhow!("{flaws:?}"))?;
    let path = [Rego::string("labels"), Rego::string("violation")];
    let decide = |input: Rego| program.at(&path, &Request::new(Some(input), 0));
    let found = decide(Rego::from(input))?;
    ensure!(found.is_some_and(|it| it.len() == Some(1)), "one violation is expected");
    let whole = timed(samples, || drop(black_box(decide(Rego::from(black_box(input))))));
    let converted = Rego::from(input);
    Ok((whole, timed(samples, || drop(black_box(decide(black_box(&converted).clone()))))))
}

fn gateway(samples: usize, dir: &Path, runtime: &Runtime) -> Result<Value> {
    let images = Images::new(Blobs::open(dir.join("oci"))?, ImagesConfig::new(Vec::<String>::new()));
    let opa = Opa::new(Config { data_dir: dir.join("opa"), node: "bench".into() }, runtime.clone(), images);
    opa.put(&json!({"metadata": {"name": "guard"}, "spec": {
        "rego": {"modules": {"authz.rego": GUARD}},
        "authorization": {"targetRefs": [{"kind": "Service", "name": "web"}]},
    }}));
    let request = http::Request::get("/people/ann?verbose=1")
        .header("authorization", "Bearer ann")
        .header("user-agent", "bench")
        .header("accept", "*/*");
    let head = request.body(())?.into_parts().0;
    let way = Way { service: Some("default/web"), ..Way::default() };
    let sender = Sender::Client("10.0.0.1:4000".parse()?);
    let asking = Asking { way, head: &head, host: "web.test", sender, listener: None };
    ensure!(opa.is_concerned(&way) && matches!(opa.authorize(&asking), Decision::Allow(_)), "the policy allows");
    Ok(timed(samples, || drop(black_box(opa.authorize(black_box(&asking))))))
}

/// No functions: what is measured must not need any.
struct Nothing;

impl OpaBuiltins for Nothing {
    fn knows(&self, _: &str) -> bool {
        false
    }

    fn call(&self, name: &str, _: &[&str]) -> Result<Option<String>, String> {
        Err(format!("{name} is not known"))
    }
}

fn wasm(samples: usize, runtime: &Runtime, module: &[u8], entrypoint: &str, input: &str) -> Result<Value> {
    let policy = runtime.opa_policy(module, "{}", Arc::new(Nothing), OpaBounds::default())?;
    ensure!(policy.eval(entrypoint, Some(input))?.contains("result"), "{entrypoint} decides");
    Ok(timed(samples, || drop(black_box(policy.eval(entrypoint, Some(black_box(input)))))))
}

/// A module by OPA's ABI 1.3 whose values are their own text. It allows what has a label `team`.
fn by_hand() -> Result<Vec<u8>> {
    // `"tea` and `am":` as the machine reads four bytes.
    let (first, second) = (u32::from_le_bytes(*b"\"tea"), u32::from_le_bytes(*b"am\":"));
    let text = format!(
        r#"(module
            (import "env" "memory" (memory 2))
            (global (export "opa_wasm_abi_version") i32 (i32.const 1))
            (global (export "opa_wasm_abi_minor_version") i32 (i32.const 3))
            (global $top (mut i32) (i32.const 4096))
            (export "memory" (memory 0))
            (data (i32.const 16) "{{\22labels/allow\22: 0}}\00")
            (data (i32.const 64) "{{}}\00")
            (data (i32.const 128) "[{{\22result\22: true}}]\00")
            (data (i32.const 192) "[{{\22result\22: false}}]\00")
            (func (export "opa_malloc") (param i32) (result i32)
                (global.get $top)
                (global.set $top (i32.add (global.get $top) (i32.add (local.get 0) (i32.const 1)))))
            (func (export "opa_value_dump") (param i32) (result i32) (local.get 0))
            (func (export "opa_json_dump") (param i32) (result i32) (local.get 0))
            (func (export "opa_value_parse") (param i32 i32) (result i32) (local.get 0))
            (func (export "opa_json_parse") (param i32 i32) (result i32) (local.get 0))
            (func (export "opa_heap_ptr_get") (result i32) (global.get $top))
            (func (export "builtins") (result i32) (i32.const 64))
            (func (export "entrypoints") (result i32) (i32.const 16))
            (func (export "opa_eval") (param i32 i32 i32) (param $input i32) (param $length i32) (param i32 i32)
                (result i32) (local $at i32) (local $end i32)
                (local.set $at (local.get $input))
                (local.set $end (i32.sub (i32.add (local.get $input) (local.get $length)) (i32.const 7)))
                (loop $next
                    (if (i32.ge_u (local.get $at) (local.get $end)) (then (return (i32.const 192))))
                    (if (i32.and
                            (i32.eq (i32.load (local.get $at)) (i32.const {first}))
                            (i32.eq (i32.load offset=3 (local.get $at)) (i32.const {second})))
                        (then (return (i32.const 128))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br $next))
                unreachable))"#
    );
    wat::parse_str(text).context("assembling the module")
}

/// Quantiles of one call, in microseconds.
fn timed(samples: usize, mut call: impl FnMut()) -> Value {
    (0..samples / 10).for_each(|_| call());
    let mut took: Vec<Duration> = Vec::with_capacity(samples);
    for _ in 0..samples {
        let started = Instant::now();
        call();
        took.push(started.elapsed());
    }
    took.sort_unstable();
    let at = |share: f64| took[((samples - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
    json!({"samples": samples, "p50_us": at(0.5), "p99_us": at(0.99)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_by_hand_tells_a_label_from_none() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(RuntimeConfig::new(dir.path())).unwrap();
        let policy = runtime.opa_policy(&by_hand().unwrap(), "{}", Arc::new(Nothing), OpaBounds::default()).unwrap();
        let allowed = |input: &str| policy.eval("labels/allow", Some(input)).unwrap();
        assert_eq!(allowed(r#"{"labels": {"team":"a"}}"#), r#"[{"result": true}]"#);
        assert_eq!(allowed(r#"{"labels": {"tear":"a"}}"#), r#"[{"result": false}]"#);
        assert_eq!(allowed("{}"), r#"[{"result": false}]"#);
    }
}
