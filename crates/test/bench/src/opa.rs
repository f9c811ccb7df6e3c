//! What one decision of plain OPA costs, in process: by the interpreter, at the gateway's seam, and compiled to WebAssembly.
//!
//! Entry point: [`run`]. Compiled policies are OPA's to make: a module with its entry point and input is measured where
//! `EYOT_OPA_WASM` names one as `FILE:ENTRYPOINT:INPUT-FILE`.

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
use eyot_runtime::{OpaBounds, OpaBuiltins, Runtime, RuntimeConfig};
use serde_json::{Value, json};

/// Decisions that are timed.
const SAMPLES: usize = 20_000;

/// A policy of the usual kind: a method, a path with a variable, a header.
const GUARD: &str = r#"package envoy.authz

default allow := false

http := input.attributes.request.http

allow if {
  http.method == "GET"
  input.parsed_path == ["people", name]
  name == user
}

allow if user in {"root", "admin"}

user := name if {
  [_, name] := split(http.headers.authorization, " ")
}
"#;

/// Measures everything.
pub(crate) fn run() -> Result<Value> {
    let dir = tempfile::tempdir()?;
    let runtime = Runtime::new(RuntimeConfig::new(dir.path().join("cache")))?;
    let mut results = json!({"gateway": gateway(dir.path(), &runtime)?});
    if let Ok(named) = std::env::var("EYOT_OPA_WASM") {
        results["wasm"] = wasm(&runtime, &named)?;
    }
    Ok(results)
}

fn gateway(dir: &Path, runtime: &Runtime) -> Result<Value> {
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
    Ok(timed(|| drop(black_box(opa.authorize(black_box(&asking))))))
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

fn wasm(runtime: &Runtime, named: &str) -> Result<Value> {
    let mut parts = named.splitn(3, ':');
    let mut part = || parts.next().context("EYOT_OPA_WASM is FILE:ENTRYPOINT:INPUT-FILE");
    let (file, entrypoint, input) = (part()?, part()?, part()?);
    let input = std::fs::read_to_string(input).with_context(|| input.to_owned())?;
    let module = std::fs::read(file).with_context(|| file.to_owned())?;
    let policy = runtime.opa_policy(&module, "{}", Arc::new(Nothing), OpaBounds::default())?;
    policy.eval(entrypoint, Some(&input))?;
    Ok(timed(|| drop(black_box(policy.eval(entrypoint, Some(black_box(&input)))))))
}

/// Quantiles of one call, in microseconds.
fn timed(mut call: impl FnMut()) -> Value {
    (0..SAMPLES / 10).for_each(|_| call());
    let mut samples: Vec<Duration> = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let started = Instant::now();
        call();
        samples.push(started.elapsed());
    }
    samples.sort_unstable();
    let at = |share: f64| samples[((SAMPLES - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
    json!({"samples": SAMPLES, "p50_us": at(0.5), "p99_us": at(0.99)})
}
