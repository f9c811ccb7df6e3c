//! wasmtime's own test programs (its `crates/test-programs`), each as a command of a pod: what wasmtime expects of WASI and of
//! `wasi:http` holds here too.
//!
//! Run it with a directory of them, built for `wasm32-wasip2` (docs/runtime.md says how):
//! `EYOT_WASMTIME_PROGRAMS=DIR cargo nextest run -p eyot-runtime --run-ignored only -E 'binary(programs)' --no-capture`
//!
//! Programs that need something else than a directory, a network and a server that echoes are left out by name.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::Bench;
use eyot_dispatch::{Body, CallError, Caller, Outbound};
use eyot_runtime::{LogStream, Mount};
use futures::future::BoxFuture;
use http::{Request, Response, header::CONTENT_LENGTH};

/// Longest time for one; those that sleep take seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Parts of names of programs that are not run, each with what they would need.
const LEFT_OUT: &[(&str, &str)] = &[
    ("_serve", "is asked over HTTP"),
    ("_api_", "is called by an export of its own"),
    ("_cli_", "needs flags, standard input or an exit code of its own"),
    ("p3_http_echo", "is asked over HTTP"),
    ("p3_http_middleware", "is linked with another"),
    ("p3_http_proxy", "is asked over HTTP"),
    ("_adapter_", "is about the adapter it was built with"),
    ("_isatty", "needs a terminal"),
    ("_across_perms", "needs a second directory"),
    ("_readonly", "needs a directory that is read-only"),
    ("_stat_extreme", "needs a prepared directory"),
    ("_pollable_traps", "is to trap"),
    ("_unknown", "is no program"),
];

/// Programs that do not pass, each with the reason.
const FAILING: &[(&str, &str)] = &[];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs wasmtime's test programs in the directory EYOT_WASMTIME_PROGRAMS"]
async fn the_test_programs_of_wasmtime_pass() {
    let dir = std::env::var("EYOT_WASMTIME_PROGRAMS").expect("EYOT_WASMTIME_PROGRAMS names the programs' directory");
    let mut all: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|it| it.unwrap().path()).collect();
    all.retain(|it| it.extension().is_some_and(|it| it == "wasm"));
    all.retain(|it| !LEFT_OUT.iter().any(|(part, _)| name(it).contains(part)));
    all.sort();
    let mut failures = BTreeMap::new();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for wasm in &all {
        // `p2_http`, `p3_sockets`, …
        let group: Vec<&str> = name(wasm).split('_').take(2).collect();
        let count = counts.entry(group.join("_")).or_default();
        count.1 += 1;
        match run(wasm).await {
            Ok(()) => count.0 += 1,
            Err(why) => drop(failures.insert(name(wasm).to_owned(), why)),
        }
    }
    for (group, (passed, of)) in &counts {
        println!("{group}: {passed} of {of}");
    }
    for (name, why) in &failures {
        println!("{name}: {why}");
    }
    println!("{} of {} pass", all.len() - failures.len(), all.len());
    assert!(!all.is_empty(), "no program in {dir}");
    let found: Vec<&str> = failures.keys().map(String::as_str).collect();
    let known: Vec<&str> = FAILING.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known);
}

fn name(wasm: &Path) -> &str {
    wasm.file_stem().and_then(|it| it.to_str()).unwrap_or_default()
}

async fn run(wasm: &Path) -> Result<(), String> {
    let bench = Bench::new();
    let program = bench.load(&fs::read(wasm).unwrap()).await.map_err(|error| error.to_string())?;
    let mut spec = bench.spec();
    spec.args = vec![name(wasm).to_owned(), "/".to_owned()];
    let env = [("HTTP_SERVER", "echo.test:80"), ("DISABLE_IPV6", "1"), ("ERRNO_MODE_UNIX", "1")];
    spec.env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    spec.ip = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    spec.outbound = Arc::new(Echo);
    let host = bench.dir.path().join("root");
    fs::create_dir(&host).unwrap();
    spec.mounts = vec![Mount { host, guest: "/".into(), read_only: false }];
    let process = program.spawn(spec).map_err(|error| error.to_string())?;
    let exit = tokio::time::timeout(PATIENCE, process.wait()).await.map_err(|_| "it takes too long".to_owned())?;
    match exit.code {
        0 => Ok(()),
        code => Err(format!("exit code {code}: {:.600}", bench.log.text(LogStream::Stderr))),
    }
}

/// Gives a request's body back, and tells in headers what was asked.
struct Echo;

impl Outbound for Echo {
    fn send(
        self: Arc<Self>,
        _: Caller,
        request: Request<Body>,
    ) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        Box::pin(async move {
            match request.uri().host() {
                Some("echo.test") => {}
                // Nobody answers there.
                Some("10.255.255.1" | "10.0.0.0") => std::future::pending().await,
                _ => return Err(CallError::Connect("no such host".into())),
            }
            let (head, body) = request.into_parts();
            let uri = head.uri.path_and_query().map_or("/", |it| it.as_str());
            let mut response = Response::builder()
                .header("x-wasmtime-test-method", head.method.as_str())
                .header("x-wasmtime-test-uri", uri);
            if let Some(length) = head.headers.get(CONTENT_LENGTH) {
                response = response.header(CONTENT_LENGTH, length);
            }
            response.body(body).map_err(|error| CallError::Broken(error.to_string()))
        })
    }
}
