//! Guests that nobody wrote: what the tests and the fuzz targets make of arbitrary bytes, and what must hold whatever they do.
//!
//! Start at [`command`], [`service`] and [`caller`], which make guests, and [`Arena`], which runs them.
#![allow(dead_code, reason = "each test uses its part")]

mod calls;
mod generate;
mod wrap;

use std::{sync::Arc, time::Duration};

pub(crate) use calls::caller;
use eyot_dispatch::{Body, CallError, Caller, Handler, Outbound};
use eyot_runtime::{
    ExitReason, GuestSpec, HttpGuest, LoadError, LoadedFrom, LogSink, LogStream, Program, Reuse, Runtime, RuntimeConfig,
};
use futures::future::BoxFuture;
pub(crate) use generate::{command, component, service};
use http::{Request, Response};
use http_body_util::BodyExt;
use tempfile::TempDir;

/// Most memory that a guest of the arena may have.
const MEMORY_MAX: u64 = 8 << 20;
/// How long a guest may take that has no end.
const PATIENCE: Duration = Duration::from_millis(100);

/// Where guests fight: a runtime, and one neighbour that must not notice.
pub(crate) struct Arena {
    runtime: Runtime,
    dir: TempDir,
    neighbour: Arc<HttpGuest>,
}

impl Arena {
    /// `hurried` guests run what the baseline compiler makes, the others what the optimising one does.
    pub(crate) async fn new(hurried: bool) -> Arena {
        let dir = tempfile::tempdir().unwrap();
        let mut config = RuntimeConfig::new(dir.path().join("cache"));
        config.instances_max = Some(16);
        config.early_code_bytes = hurried.then_some(0);
        config.improvements_max = 0;
        // What the guests compile to is wanted once.
        config.cache_bytes_max = 16 << 20;
        let runtime = Runtime::new(config).unwrap();
        let text = include_str!("../guests/http.wat").replace(";;HANDLE;;", "(call $hello (local.get $outparam))");
        let program = load(&runtime, &dir, "neighbour", &wat::parse_str(text).unwrap()).await.unwrap();
        let neighbour = program.serve(spec()).unwrap();
        Arena { runtime, dir, neighbour }
    }

    /// Runs a command to its end, or for as long as anyone's patience lasts. Whether it could be loaded at all.
    pub(crate) async fn run(&self, name: &str, wasm: &[u8]) -> bool {
        let Ok(program) = load(&self.runtime, &self.dir, name, wasm).await else { return false };
        let Ok(process) = program.spawn(spec()) else { return false };
        let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
        process.kill();
        let exit = tokio::time::timeout(Duration::from_secs(30), process.wait()).await.expect("a kill ends it");
        if let ExitReason::Trap(why) = &exit.reason {
            assert!(!why.contains("lost"), "{name}: the host fell: {exit:?} after {ended:?}");
        }
        let stats = process.stats();
        assert!(stats.memory_peak_bytes <= MEMORY_MAX, "{name}: {stats:?}");
        assert_eq!(stats.memory_bytes, 0, "{name}: what it had is released before its end is told");
        true
    }

    /// What a service answers to one request: status and body, or the error; and whether the baseline compiler made it.
    pub(crate) async fn ask(&self, name: &str, wasm: &[u8]) -> (Result<String, LoadError>, bool) {
        let program = match load(&self.runtime, &self.dir, name, wasm).await {
            Ok(program) => program,
            Err(error) => return (Err(error), false),
        };
        let is_early = program.loaded().from == LoadedFrom::CompiledEarly;
        let guest = match program.serve(spec()) {
            Ok(guest) => guest,
            Err(error) => return (Ok(error.to_string()), is_early),
        };
        let said = match answer(&guest).await {
            Ok((status, body)) => format!("{status} {}", hex::encode(body)),
            Err(error) => error.to_string(),
        };
        let gone = tokio::time::timeout(Duration::from_secs(30), guest.drain()).await;
        assert!(gone.is_ok(), "{name}: its instance does not end");
        let stats = guest.stats();
        assert!(stats.memory_peak_bytes <= MEMORY_MAX && stats.memory_bytes == 0, "{name}: {stats:?}");
        (Ok(said), is_early)
    }

    /// How many of several requests a service answers whose instances are reused, if it can be loaded.
    pub(crate) async fn ask_often(&self, name: &str, wasm: &[u8]) -> Option<usize> {
        let program = load(&self.runtime, &self.dir, name, wasm).await.ok()?;
        let mut spec = spec();
        spec.reuse = Some(Reuse { requests_max: 3, idle: Duration::from_secs(600) });
        let guest = program.serve(spec).ok()?;
        let mut answered = 0;
        for _ in 0..5 {
            answered += usize::from(answer(&guest).await.is_ok());
            let stats = guest.stats();
            assert!(stats.memory_bytes <= MEMORY_MAX, "{name}: {stats:?}");
        }
        let gone = tokio::time::timeout(Duration::from_secs(30), guest.drain()).await;
        assert!(gone.is_ok(), "{name}: an instance does not end");
        assert_eq!(guest.stats().memory_bytes, 0, "{name}: nothing is kept of a guest that has ended");
        Some(answered)
    }

    /// Asks the neighbour, which has seen nothing of all that.
    pub(crate) async fn neighbour_answers(&self) {
        let (status, body) = answer(&self.neighbour).await.unwrap();
        assert_eq!((status, &body[..]), (200, &b"hello, world"[..]));
        // Its instance may end a little after its answer.
        let gone = async {
            while self.neighbour.in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the neighbour's instances end");
        assert_eq!(self.neighbour.stats().failures, 0);
    }
}

async fn load(runtime: &Runtime, dir: &TempDir, name: &str, wasm: &[u8]) -> Result<Program, LoadError> {
    let file = dir.path().join("guest.wasm");
    std::fs::write(&file, wasm).unwrap();
    runtime.load(&file, name).await
}

fn spec() -> GuestSpec {
    let caller = Caller { namespace: "default".into(), pod: "hostile".into() };
    let mut spec = GuestSpec::new(caller, Arc::new(Answers), Arc::new(Forgets));
    spec.memory_bytes = Some(MEMORY_MAX);
    spec.request_deadline = PATIENCE;
    spec
}

async fn answer(guest: &Arc<HttpGuest>) -> Result<(u16, Vec<u8>), CallError> {
    let body = eyot_dispatch::full(bytes::Bytes::from(vec![b'x'; 10_000]));
    let request = Request::post("http://guest.test/").body(body).unwrap();
    let response = Arc::clone(guest).handle(request).await?;
    let status = response.status().as_u16();
    // A body that never ends is cut off by the guest's deadline, one that comes for ever here.
    let mut body = http_body_util::Limited::new(response.into_body(), 1 << 20);
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CallError::Broken(error.to_string()))?;
        content.extend(frame.into_data().unwrap_or_default());
    }
    Ok((status, content))
}

/// Answers whatever a guest sends out.
struct Answers;

impl Outbound for Answers {
    fn send(
        self: Arc<Self>,
        _: Caller,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async move {
            let _ = request.into_body().collect().await;
            Ok(Response::new(eyot_dispatch::full(bytes::Bytes::from_static(b"an answer"))))
        })
    }
}

struct Forgets;

impl LogSink for Forgets {
    fn write(&self, _: LogStream, bytes: &[u8]) {
        assert!(bytes.len() <= 64 << 10, "more at once than a sink is told to expect");
    }
}

/// Bytes that look random and are the same each time.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let words = len.div_ceil(8);
    (0..words).flat_map(|_| next()).take(len).collect()
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * rustix::param::page_size() as u64
}
