//! Processor time: three kernels as a command that takes turns, as one with whole CPUs, and as part of this native program.
//!
//! All run the same source, `examples/kernels`. Start at [`run`].

#[path = "../../../../examples/kernels/src/kernels.rs"]
mod source;

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use eyot_runtime::{GuestSpec, LogSink, LogStream, Process, Runtime, StartError};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::runtime::spec;

const DIGEST: &str = "bench:kernels";

/// What a command found out of each kernel: its result, and its nanoseconds.
type Found = HashMap<String, (String, f64)>;

/// Runs the guest in `file` and the same natively: milliseconds of each, and how many times as long the guest took, also with
/// whole CPUs where this machine has such threads.
pub(crate) async fn run(runtime: &Runtime, file: &Path) -> Result<Value> {
    let program = runtime.load(file, DIGEST).await?;
    let guest = results(|spec| program.spawn(spec)).await.context("taking turns")?;
    let alone = with_whole_cpus(runtime, file).await.context("with whole CPUs")?;
    let mut rows = Map::new();
    for (name, kernel, rounds) in source::ALL {
        let (native_result, native) = tokio::task::spawn_blocking(move || source::timed(kernel, rounds)).await?;
        let native = native.as_secs_f64() * 1e3;
        let millis = |found: &Found| -> Result<f64> {
            let (result, nanos) = found.get(name).with_context(|| format!("the guest printed nothing of {name}"))?;
            ensure!(
                *result == native_result.to_string(),
                "{name}: the guest computed {result}, this program {native_result}"
            );
            Ok(nanos / 1e6)
        };
        let round = |it: f64| (it * 100.0).round() / 100.0;
        let mut row = json!({ "native_ms": round(native) });
        for (prefix, found) in std::iter::once(("guest", &guest)).chain(alone.as_ref().map(|it| ("whole_cpus", it))) {
            let took = millis(found)?;
            row[format!("{prefix}_ms")] = round(took).into();
            row[format!("{prefix}_times_native")] = round(took / native).into();
        }
        rows.insert(name.to_owned(), row);
    }
    Ok(Value::Object(rows))
}

/// `None` where this machine has no threads for code without checks.
async fn with_whole_cpus(runtime: &Runtime, file: &Path) -> Result<Option<Found>> {
    let Ok(thread) = runtime.own_thread() else { return Ok(None) };
    let command = runtime.load_unchecked(thread, file, DIGEST).await?.context("it cannot do without checks")?;
    results(|spec| command.spawn(spec)).await.map(Some)
}

/// Runs a command to its end.
async fn results(start: impl FnOnce(GuestSpec) -> Result<Process, StartError>) -> Result<Found> {
    let log = Arc::new(Lines::default());
    let mut spec = spec();
    spec.log = log.clone();
    let exit = start(spec)?.wait().await;
    ensure!(exit.code == 0, "the guest ended with {exit:?}");
    let text = String::from_utf8_lossy(&log.0.lock()).into_owned();
    let mut found = Found::new();
    for line in text.lines() {
        if let [name, result, nanos] = line.split(' ').collect::<Vec<_>>()[..] {
            found.insert(name.to_owned(), (result.to_owned(), nanos.parse()?));
        }
    }
    Ok(found)
}

/// What a guest printed.
#[derive(Default)]
struct Lines(Mutex<Vec<u8>>);

impl LogSink for Lines {
    fn write(&self, stream: LogStream, bytes: &[u8]) {
        if stream == LogStream::Stdout {
            self.0.lock().extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn kernels_compute_what_they_should() {
        // 64 KiB of 0x5a; what `head -c 65536 /dev/zero | tr '\0' Z | sha256sum` begins and ends with.
        assert_eq!(format!("{:016x}", source::sha256(1)), SHA256_OF_Z);
        assert_eq!(source::json(1), source::json(2), "what is written is read and written alike");
        assert_ne!(source::matrix(1), source::matrix(2));
    }

    const SHA256_OF_Z: &str = "944044fecd2a5b8d";
}
