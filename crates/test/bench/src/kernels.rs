//! Processor time: three kernels as a guest and as part of this native program.
//!
//! Both run the same source, `examples/kernels`. Start at [`run`].

#[path = "../../../../examples/kernels/src/kernels.rs"]
mod source;

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use eyot_runtime::{LogSink, LogStream, Runtime};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::runtime::spec;

/// Runs the guest in `file` and the same natively: milliseconds of each, and how many times as long the guest took.
pub(crate) async fn run(runtime: &Runtime, file: &Path) -> Result<Value> {
    let program = runtime.load(file, "bench:kernels").await?;
    let log = Arc::new(Lines::default());
    let mut spec = spec();
    spec.log = log.clone();
    let exit = program.spawn(spec)?.wait().await;
    ensure!(exit.code == 0, "the guest ended with {exit:?}");
    let text = String::from_utf8_lossy(&log.0.lock()).into_owned();
    let printed: HashMap<&str, &str> = text.lines().filter_map(|it| it.split_once(' ')).collect();
    let mut rows = Map::new();
    for (name, kernel, rounds) in source::ALL {
        let said = printed.get(name).and_then(|it| it.split_once(' '));
        let (result, nanos) = said.with_context(|| format!("the guest printed nothing of {name}"))?;
        let (native_result, native) = tokio::task::spawn_blocking(move || source::timed(kernel, rounds)).await?;
        ensure!(
            result == native_result.to_string(),
            "{name}: the guest computed {result}, this program {native_result}"
        );
        let (guest, native) = (nanos.parse::<f64>()? / 1e6, native.as_secs_f64() * 1e3);
        let round = |it: f64| (it * 100.0).round() / 100.0;
        rows.insert(
            name.to_owned(),
            json!({ "guest_ms": round(guest), "native_ms": round(native), "times_native": round(guest / native) }),
        );
    }
    Ok(Value::Object(rows))
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
