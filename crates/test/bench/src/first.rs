//! `runtime`, `first answer`: how soon a large guest answers that this machine has never seen, and how fast it then is.
//!
//! Each guest is loaded twice into runtimes of its own with empty caches: as a node does it, in a hurry first, and by the
//! optimising compiler alone. Guests are those of JavaScript and Python, when `cargo xtask guests --with-js` built them, and one
//! of many functions that is made here.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use eyot_runtime::{Program, Runtime, RuntimeConfig};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::runtime::{call, histogram, nanos, spec, summary};

/// How long optimising may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Calls of early code, and of optimised code.
const CALLS: u64 = 200;
/// Functions of the guest that is made here: some 3 MB of code.
const FUNCTIONS: usize = 60_000;

/// Measures every guest that is there.
pub(crate) async fn run() -> Result<Value> {
    let dir = tempfile::tempdir()?;
    let made = dir.path().join("many-functions.wasm");
    std::fs::write(&made, many_functions(FUNCTIONS)?)?;
    let mut files = vec![made];
    files.extend(["hello-js", "hello-py"].iter().filter_map(|it| eyot_testkit::guest(it).ok()));
    let mut rows = Map::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let row = measure(&file).await.with_context(|| format!("first answer of {}", file.display()))?;
        rows.insert(name, row);
    }
    Ok(Value::Object(rows))
}

async fn measure(file: &Path) -> Result<Value> {
    let bytes = std::fs::metadata(file)?.len();
    let (alone, ..) = first(file, None).await?;
    // What optimises the program behind it has to be there until then.
    let (early, program, _runtime) = first(file, RuntimeConfig::new("").early_code_bytes).await?;
    ensure!(!program.is_optimised(), "it was not compiled in a hurry");
    let before = calls(&program).await?;
    let since = Instant::now();
    while !program.is_optimised() {
        ensure!(since.elapsed() < PATIENCE, "it is not optimised after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let optimised_after = early + since.elapsed();
    let after = calls(&program).await?;
    Ok(json!({
        "megabytes": (bytes as f64 / 1e5).round() / 10.0,
        "first_answer_ms": early.as_millis() as u64,
        "first_answer_optimising_alone_ms": alone.as_millis() as u64,
        "optimised_after_ms": optimised_after.as_millis() as u64,
        "early_call_us": before,
        "optimised_call_us": after,
    }))
}

/// From a file that nobody has seen to the end of its first answer.
async fn first(file: &Path, early_code_bytes: Option<u64>) -> Result<(Duration, Program, (Runtime, TempDir))> {
    let dir = tempfile::tempdir()?;
    let mut config = RuntimeConfig::new(dir.path().join("cache"));
    config.early_code_bytes = early_code_bytes;
    let runtime = Runtime::new(config)?;
    let started = Instant::now();
    let program = runtime.load(file, "bench:first").await?;
    call(&program.serve(spec())?).await?;
    Ok((started.elapsed(), program, (runtime, dir)))
}

async fn calls(program: &Program) -> Result<Value> {
    let guest = program.serve(spec())?;
    let mut times = histogram();
    for _ in 0..CALLS {
        let started = Instant::now();
        call(&guest).await?;
        times.saturating_record(nanos(started.elapsed()));
    }
    Ok(summary(&times))
}

/// A component that says hello and has as many functions as a large one.
fn many_functions(count: usize) -> Result<Vec<u8>> {
    let one = |index: usize| {
        format!(
            "(func $f{index} (param i32) (result i32) (local i32)
                (loop $l (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const {index})) (i32.load8_u (local.get 0))))
                    (br_if $l (i32.lt_u (local.get 1) (i32.xor (local.get 0) (i32.const 77)))))
                (i32.rotl (local.get 1) (local.get 0)))\n"
        )
    };
    let functions: String = (0..count).map(one).collect();
    // The template closes one function: the last of these.
    let handle = format!("(call $hello (local.get $outparam))) {functions} (func $last");
    let text = include_str!("../../../shell/runtime/tests/guests/http.wat").replace(";;HANDLE;;", &handle);
    Ok(wat::parse_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_guest_of_many_functions_is_hurried_and_then_optimised() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("many.wasm");
        std::fs::write(&file, many_functions(4000).unwrap()).unwrap();
        let row = measure(&file).await.unwrap();
        assert!(row["first_answer_ms"].as_u64() <= row["optimised_after_ms"].as_u64(), "{row}");
        assert_eq!(
            (&row["early_call_us"]["count"], &row["optimised_call_us"]["count"]),
            (&json!(CALLS), &json!(CALLS))
        );
    }
}
