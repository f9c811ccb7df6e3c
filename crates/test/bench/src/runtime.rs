//! `runtime`: how fast guests start and answer, in process, without sockets.
//!
//! Start at [`run`]. Guests are the files it is given, and always the smallest `wasi:http` component there is, so that the
//! figures exist on a machine without sample guests.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use eyot_dispatch::{Body, CallError, Caller, Handler, Outbound, serving};
use eyot_runtime::{GuestSpec, HttpGuest, LoadedFrom, LogSink, LogStream, ProgramKind, Runtime, RuntimeConfig};
use futures::future::BoxFuture;
use hdrhistogram::Histogram;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use crate::{
    first, floor, kernels, neighbour,
    report::{self, Aim},
};

/// Microseconds that calls and cold starts of the samples may take: median and p99.
const AIMS: [(&str, [f64; 2], [f64; 2]); 2] =
    [("hello-c", [11.0, 20.0], [130.0, 200.0]), ("hello", [15.0, 40.0], [230.0, 380.0])];

/// Calls of each guest on one thread.
pub(crate) const CALLS: u64 = 20_000;

/// What to measure.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Wasm files to measure besides the built-in one; those that are no `wasi:http` components are commands.
    pub(crate) guests: Vec<PathBuf>,
    /// Calls of each `wasi:http` guest on one thread, and as many again on all.
    pub(crate) calls: u64,
    /// Loads of each guest from the disk cache, and runs of each command.
    pub(crate) loads: u64,
}

impl Options {
    /// Measures `guests`, or the built samples when there are none.
    pub(crate) fn new(guests: &[PathBuf]) -> Self {
        let samples =
            || ["hello", "hello-c", "wordcount"].iter().filter_map(|it| eyot_testkit::guest(it).ok()).collect();
        let guests = if guests.is_empty() { samples() } else { guests.to_vec() };
        Self { guests, calls: CALLS, loads: 300 }
    }
}

/// Measures every guest and returns medians and 99th percentiles, in microseconds, by guest.
pub(crate) async fn run(options: Options) -> anyhow::Result<Value> {
    let dir = tempfile::tempdir()?;
    let mut config = RuntimeConfig::new(dir.path().join("cache"));
    // How soon a large guest answers is measured apart.
    config.early_code_bytes = None;
    let runtime = Runtime::new(config)?;
    let built_in = dir.path().join("smallest.wasm");
    write_smallest(&built_in, "(call $hello (local.get $outparam))")?;
    let mut results = Map::new();
    for file in std::iter::once(&built_in).chain(&options.guests) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let result =
            measure(&runtime, file, &options).await.with_context(|| format!("measuring {}", file.display()))?;
        results.insert(name, result);
    }
    results.insert("aims".to_owned(), verdicts(&results));
    let program = runtime.load(&built_in, "bench:smallest").await?;
    let guest = program.serve(spec())?;
    let beside = neighbour::run(&runtime, &guest, options.calls).await.context("measuring beside neighbours")?;
    results.insert("beside".to_owned(), beside);
    let first = first::run().await.context("measuring first answers")?;
    results.insert("first answer".to_owned(), first);
    if let Ok(file) = eyot_testkit::guest("kernels") {
        let kernels = kernels::run(&runtime, &file).await.context("measuring processor time")?;
        results.insert("processor".to_owned(), kernels);
    }
    Ok(Value::Object(results))
}

/// Writes the smallest component there is that does this with each request.
pub(crate) fn write_smallest(file: &Path, does: &str) -> anyhow::Result<()> {
    let text = include_str!("../../../shell/runtime/tests/guests/http.wat").replace(";;HANDLE;;", does);
    Ok(std::fs::write(file, wat::parse_str(text)?)?)
}

/// Whether the samples that were measured are as fast as they should be. How calls scale over the cores is told beside them: on
/// cores that share a processor's units, and its memory, there is no number that it should come to.
fn verdicts(results: &Map<String, Value>) -> Value {
    let mut aims = Map::new();
    for (name, fresh, cold) in AIMS {
        let Some(result) = results.get(name) else { continue };
        for (what, [p50, p99]) in [("fresh_call_us", fresh), ("cold_from_cache_us", cold)] {
            for (quantile, most) in [("p50", p50), ("p99", p99)] {
                let came_to = result[what][quantile].as_f64().unwrap_or(f64::INFINITY);
                aims.insert(format!("{name} {what} {quantile}"), report::verdict(came_to, Aim::AtMost(most)));
            }
        }
    }
    Value::Object(aims)
}

async fn measure(runtime: &Runtime, file: &Path, options: &Options) -> anyhow::Result<Value> {
    let digest = format!("bench:{}", file.file_stem().unwrap_or_default().to_string_lossy());
    let program = runtime.load(file, &digest).await?;
    let compiled = program.loaded();
    if program.kind() != ProgramKind::HttpComponent {
        let runs = command_runs(runtime, file, &digest, options.loads).await?;
        let wasmedge = wasmedge_runs(file, options.loads).await.context("running it in wasmedge")?;
        return Ok(json!({ "kind": program.kind().to_string(), "compile_ms": compiled.took.as_millis() as u64,
            "start_to_exit_us": summary(&runs), "start_to_exit_in_wasmedge_us": wasmedge.as_ref().map(summary) }));
    }
    let guest = program.serve(spec())?;
    let began = Instant::now();
    let one = calls(&guest, options.calls).await?;
    let one_per_second = (options.calls + options.calls / 10) as f64 / began.elapsed().as_secs_f64();
    let (each, per_second) = calls_on_all_threads(&guest, options.calls).await?;
    drop((guest, program));
    let floor = floor::run(file, options.calls).await.context("calling it on wasmtime alone")?;
    let cold = cold_calls(runtime, file, &digest, options.loads).await?;
    Ok(json!({
        "kind": ProgramKind::HttpComponent.to_string(),
        "compile_ms": compiled.took.as_millis() as u64,
        "fresh_call_us": summary(&one),
        "fresh_call_on_wasmtime_alone_us": summary(&floor),
        "fresh_call_all_threads_us": summary(&each),
        "fresh_calls_per_second_one_thread": one_per_second as u64,
        "fresh_calls_per_second_all_threads": per_second,
        "all_threads_times_one": (per_second as f64 / one_per_second * 100.0).round() / 100.0,
        "cold_from_cache_us": summary(&cold),
    }))
}

/// One call after the other: fresh instance, whole response.
async fn calls(guest: &Arc<HttpGuest>, count: u64) -> anyhow::Result<Histogram<u64>> {
    let mut times = histogram();
    for index in 0..count + count / 10 {
        let started = Instant::now();
        call(guest).await?;
        // The first tenth warms pool and caches up.
        if index >= count / 10 {
            times.saturating_record(nanos(started.elapsed()));
        }
    }
    Ok(times)
}

/// As many calls on as many threads as there are cores, which serve as the gateway's do.
async fn calls_on_all_threads(guest: &Arc<HttpGuest>, count: u64) -> anyhow::Result<(Histogram<u64>, u64)> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let started = Instant::now();
    let work: Vec<_> = (0..threads)
        .map(|number| {
            let guest = Arc::clone(guest);
            std::thread::spawn(move || {
                serving::set_thread(number);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(calls(&guest, count))
            })
        })
        .collect();
    let mut all = histogram();
    for thread in work {
        all.add(thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??)?;
    }
    let made = (count + count / 10) * threads as u64;
    Ok((all, (made as f64 / started.elapsed().as_secs_f64()) as u64))
}

/// From a compiled file on disk to the end of the first response.
async fn cold_calls(runtime: &Runtime, file: &Path, digest: &str, count: u64) -> anyhow::Result<Histogram<u64>> {
    let mut times = histogram();
    let mut still_there = 0;
    while times.len() < count {
        let started = Instant::now();
        let program = runtime.load(file, digest).await?;
        let guest = program.serve(spec())?;
        call(&guest).await?;
        if program.loaded().from == LoadedFrom::Cache {
            times.saturating_record(nanos(started.elapsed()));
            continue;
        }
        // An instance of the last round was still ending in the background, and the program with it.
        still_there += 1;
        ensure!(still_there < count, "came from {:?} again and again", program.loaded().from);
        drop((guest, program));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(times)
}

async fn command_runs(runtime: &Runtime, file: &Path, digest: &str, count: u64) -> anyhow::Result<Histogram<u64>> {
    let mut times = histogram();
    let program = runtime.load(file, digest).await?;
    for _ in 0..count {
        let started = Instant::now();
        program.spawn(spec())?.wait().await;
        times.saturating_record(nanos(started.elapsed()));
    }
    Ok(times)
}

/// The same by the command `wasmedge`, compiled ahead by it; `None` where that is not installed, or compiles nothing.
async fn wasmedge_runs(file: &Path, count: u64) -> anyhow::Result<Option<Histogram<u64>>> {
    let dir = tempfile::tempdir()?;
    let compiled = dir.path().join("compiled.wasm");
    let wasmedge = || {
        let mut command = tokio::process::Command::new("wasmedge");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    match wasmedge().arg("compile").arg(file).arg(&compiled).status().await {
        Ok(status) if status.success() => {}
        Ok(status) => {
            eprintln!("  wasmedge compiles nothing ({status}): measured without it");
            return Ok(None);
        }
        Err(_) => {
            eprintln!("  wasmedge is not installed: measured without it");
            return Ok(None);
        }
    }
    let mut times = histogram();
    for _ in 0..count {
        let started = Instant::now();
        wasmedge().arg(&compiled).status().await?;
        times.saturating_record(nanos(started.elapsed()));
    }
    Ok(Some(times))
}

pub(crate) async fn call(guest: &Arc<HttpGuest>) -> anyhow::Result<()> {
    let request = Request::get("http://bench.test/").body(eyot_dispatch::empty())?;
    let response = Arc::clone(guest).handle(request).await?;
    ensure!(response.status().is_success(), "status {}", response.status());
    response.into_body().collect().await.map_err(|error| anyhow::anyhow!(error))?;
    Ok(())
}

pub(crate) fn histogram() -> Histogram<u64> {
    // 100 ns to 100 s, three digits.
    Histogram::new_with_bounds(100, 100_000_000_000, 3).expect("valid bounds")
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn summary(times: &Histogram<u64>) -> Value {
    let micros = |quantile| (times.value_at_quantile(quantile) as f64 / 100.0).round() / 10.0;
    json!({ "p50": micros(0.5), "p99": micros(0.99), "max": micros(1.0), "count": times.len() })
}

pub(crate) fn spec() -> GuestSpec {
    let caller = Caller { namespace: "bench".into(), pod: "bench".into() };
    GuestSpec::new(caller, Arc::new(Nowhere), Arc::new(Silent))
}

struct Nowhere;

impl Outbound for Nowhere {
    fn send(self: Arc<Self>, _: Caller, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async { Err(CallError::Connect("the benchmark has no network".into())) })
    }
}

struct Silent;

impl LogSink for Silent {
    fn write(&self, _: LogStream, _: &[u8]) {}
}
