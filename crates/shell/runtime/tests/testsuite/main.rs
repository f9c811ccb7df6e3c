//! The suite of WebAssembly/wasi-testsuite, each case through [`eyot_runtime::Runtime`] as a pod's command or service would go.
//!
//! Run it with the compiled cases (branch `prod/testsuite-base` of the suite):
//! `EYOT_WASI_TESTSUITE=DIR cargo nextest run -p eyot-runtime --run-ignored only -E 'binary(testsuite)' --no-capture`
//!
//! A case is a `.wasm` file, and beside it a `.json` file that says with what it is started, what is done to it and how it ends.
//! `EYOT_WASI_TESTSUITE_CASE=TEXT` runs only those whose name holds it.

#[path = "../common/mod.rs"]
mod common;

mod case;
mod play;
mod servers;

use std::{collections::BTreeMap, path::Path};

use case::cases;

/// Cases that do not pass, each with the reason. Whoever repairs one takes it from this list.
const FAILING: &[(&str, &str)] = &[
    ("wasm32-wasip3/rust/http-client-sent", "wasmtime 48 calls a request that was dropped unsent transmitted"),
    ("wasm32-wasip3/rust/http-request", "wasmtime 48 refuses paths that do not begin with a slash"),
    ("wasm32-wasip3/rust/sockets-tcp-bind", IPV4_ONLY),
    ("wasm32-wasip3/rust/sockets-tcp-connect", IPV4_ONLY),
    ("wasm32-wasip3/rust/sockets-tcp-listen", IPV4_ONLY),
    ("wasm32-wasip3/rust/sockets-tcp-receive", IPV4_ONLY),
    ("wasm32-wasip3/rust/sockets-tcp-send", IPV4_ONLY),
    ("wasm32-wasip3/rust/sockets-udp-bind", IPV4_ONLY),
    ("wasm32-wasip3/rust/sockets-udp-connect", IPV4_ONLY),
    ("wasm32-wasip3/rust/sockets-udp-receive", IPV4_ONLY),
];

/// Each does the same with an IPv4 address first, which passes.
const IPV4_ONLY: &str = "it binds an IPv6 address too, and a pod has an IPv4 address only";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the compiled suite of WebAssembly/wasi-testsuite in the directory EYOT_WASI_TESTSUITE"]
async fn the_wasi_testsuite_passes() {
    let dir = std::env::var("EYOT_WASI_TESTSUITE").expect("EYOT_WASI_TESTSUITE names the suite's directory");
    let only = std::env::var("EYOT_WASI_TESTSUITE_CASE").unwrap_or_default();
    let mut failures = BTreeMap::new();
    let mut all = 0;
    for (title, target) in
        [("WASI preview 1", "wasm32-wasip1"), ("WASI 0.2", "wasm32-wasip2"), ("WASI 0.3", "wasm32-wasip3")]
    {
        let mut cases = cases(Path::new(&dir), target);
        cases.retain(|it| it.name.contains(&only));
        let before = failures.len();
        for case in &cases {
            if let Err(why) = play::run(case).await {
                failures.insert(format!("{target}/{}", case.name), why);
            }
        }
        all += cases.len();
        println!("{title}: {} of {} pass", cases.len() - (failures.len() - before), cases.len());
    }
    for (name, why) in &failures {
        println!("{name}: {why}");
    }
    assert!(all > 0, "no case in {dir}");
    let found: Vec<&str> = failures.keys().map(String::as_str).collect();
    let known: Vec<&str> = FAILING.iter().map(|(name, _)| *name).filter(|it| it.contains(&only)).collect();
    assert_eq!(found, known);
}
