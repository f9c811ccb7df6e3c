//! What the tests of guests share: a runtime in a fresh directory, guests from text, a log in memory, an outbound stub.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use eyot_dispatch::{Body, CallError, Caller, Handler, Outbound};
use eyot_runtime::{GuestSpec, HttpGuest, LoadError, LogSink, LogStream, Process, Program, Runtime, RuntimeConfig};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tempfile::TempDir;

/// A runtime whose files go with it.
pub(crate) struct Bench {
    pub(crate) runtime: Runtime,
    pub(crate) log: Arc<Log>,
    pub(crate) dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut RuntimeConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = RuntimeConfig::new(dir.path().join("cache"));
        config.instances_max = Some(64);
        // The tests of that name see what the others see, on code that was compiled in a hurry and stays.
        if env!("CARGO_CRATE_NAME") == "early" {
            (config.early_code_bytes, config.improvements_max) = (Some(0), 0);
        }
        change(&mut config);
        Self { runtime: Runtime::new(config).unwrap(), log: Arc::default(), dir }
    }

    /// Writes `wasm` to a file and loads it under a digest of its content.
    pub(crate) async fn load(&self, wasm: &[u8]) -> Result<Program, LoadError> {
        let digest = format!("sha256:{:x}", sum(wasm));
        self.runtime.load(&self.file(&digest, wasm), &digest).await
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name.replace(':', "-"));
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn spec(&self) -> GuestSpec {
        GuestSpec::new(caller(), Arc::new(Refuse), self.log.clone())
    }

    pub(crate) async fn http(&self, handle: &str) -> Arc<HttpGuest> {
        self.http_with(handle, |_| {}).await
    }

    pub(crate) async fn http_with(&self, handle: &str, change: impl FnOnce(&mut GuestSpec)) -> Arc<HttpGuest> {
        let mut spec = self.spec();
        spec.request_deadline = Duration::from_secs(10);
        change(&mut spec);
        self.load(&http_component(handle)).await.unwrap().serve(spec).unwrap()
    }

    pub(crate) async fn spawn(&self, wat: &str) -> Process {
        self.spawn_with(wat, |_| {}).await
    }

    pub(crate) async fn spawn_with(&self, wat: &str, change: impl FnOnce(&mut GuestSpec)) -> Process {
        let mut spec = self.spec();
        change(&mut spec);
        self.load(&wat::parse_str(wat).unwrap()).await.unwrap().spawn(spec).unwrap()
    }
}

/// Not a digest, but as good for telling test guests apart.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, it| (sum ^ u64::from(*it)).wrapping_mul(0x100_0000_01b3))
}

pub(crate) fn caller() -> Caller {
    Caller { namespace: "default".into(), pod: "pod".into() }
}

/// A component that handles a request with `handle`: core instructions, see `guests/http.wat`.
pub(crate) fn http_component(handle: &str) -> Vec<u8> {
    wat::parse_str(include_str!("../guests/http.wat").replace(";;HANDLE;;", handle)).unwrap()
}

/// A preview-1 module with what most commands need: `fd_write` as $write, text at 16, its iovec at 0, results at 8.
pub(crate) fn command(body: &str) -> String {
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\06\00\00\00")
            (data (i32.const 16) "hello\n")
            (data (i32.const 32) "file.txt")
            (func $print (param $fd i32)
                (drop (call $write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func $main (export "_start") (local $i i32) {body}))"#
    )
}

/// Prints one of [`http_component`]'s texts to standard error.
pub(crate) const PRINT: &str = "(drop (call $put (call $get-stderr) (i32.const 1024) (i32.const 5)))";

/// Remembers which threads guests print on.
#[derive(Default)]
pub(crate) struct Threads(Mutex<Vec<String>>);

impl Threads {
    /// Whether that was a thread for guests that run long, each time.
    pub(crate) fn are_in_the_background(&self) -> Vec<bool> {
        self.0.lock().iter().map(|it| it == "eyot-guest").collect()
    }
}

impl LogSink for Threads {
    fn write(&self, _: LogStream, _: &[u8]) {
        self.0.lock().push(std::thread::current().name().unwrap_or_default().to_owned());
    }
}

/// Remembers what guests print.
#[derive(Default)]
pub(crate) struct Log(Mutex<Vec<(LogStream, Vec<u8>)>>);

impl Log {
    pub(crate) fn text(&self, wanted: LogStream) -> String {
        let all: Vec<u8> =
            self.0.lock().iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, it)| it.clone()).collect();
        String::from_utf8_lossy(&all).into_owned()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.lock().iter().map(|(_, it)| it.len()).sum()
    }
}

impl LogSink for Log {
    fn write(&self, stream: LogStream, bytes: &[u8]) {
        assert!(bytes.len() <= 64 << 10);
        self.0.lock().push((stream, bytes.to_vec()));
    }
}

struct Refuse;

impl Outbound for Refuse {
    fn send(self: Arc<Self>, _: Caller, _: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async { Err(CallError::Connect("no network in this test".into())) })
    }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(format!("http://guest.test{path}")).body(eyot_dispatch::empty()).unwrap()
}

/// Status and body of one request.
pub(crate) async fn ask(guest: &Arc<HttpGuest>) -> Result<(u16, Bytes), CallError> {
    let response = guest.clone().handle(get("/")).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| CallError::Broken(error.to_string()))?;
    Ok((status, body.to_bytes()))
}
