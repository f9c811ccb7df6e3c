//! The programs that wasmtime tests its own `wasi:http` with, each as a pod's command or service would go: through
//! [`eyot_runtime::Runtime`], and out through the gateway to servers on real sockets.
//!
//! Run it with the compiled programs, components called as their sources are (docs/runtime.md says how to make them):
//! `EYOT_WASMTIME_GUESTS=DIR cargo nextest run -p eyot-gateway --run-ignored only -E 'binary(wasi_http)' --no-capture`
//!
//! [`case::CASES`] says what each is to do. `EYOT_WASMTIME_CASE=TEXT` runs only those whose name holds it.

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod case;
mod servers;
mod services;
mod stage;

use std::{collections::BTreeMap, path::PathBuf};

use case::{CASES, FAILING};
use stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the compiled test programs of wasmtime in the directory EYOT_WASMTIME_GUESTS"]
async fn the_wasi_http_programs_of_wasmtime_pass() {
    let dir = std::env::var("EYOT_WASMTIME_GUESTS").expect("EYOT_WASMTIME_GUESTS names the programs' directory");
    let only = std::env::var("EYOT_WASMTIME_CASE").unwrap_or_default();
    let stage = Stage::new(PathBuf::from(dir)).await;
    let mut failures = BTreeMap::new();
    for (title, prefix) in [("WASI 0.2", "p2_"), ("WASI 0.3", "p3_")] {
        let asked = |it: &&case::Case| it.name.starts_with(prefix) && it.name.contains(&only);
        let before = failures.len();
        for case in CASES.iter().filter(asked) {
            if let Err(why) = stage.play(case).await {
                failures.insert(case.name, format!("{why}; it is to {}", case.is_to));
            }
        }
        let all = CASES.iter().filter(asked).count();
        println!("{title}: {} of {all} pass", all - (failures.len() - before));
    }
    for (name, why) in &failures {
        println!("{name}: {why}");
    }
    let found: Vec<&str> = failures.into_keys().collect();
    let known: Vec<&str> = FAILING.iter().map(|(name, _)| *name).filter(|it| it.contains(&only)).collect();
    assert_eq!(found, known);
}

#[test]
fn every_case_has_its_own_name_and_what_is_known_to_fail_is_a_case() {
    let mut names: Vec<&str> = CASES.iter().map(|it| it.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|it| it[0] != it[1]), "two cases have one name");
    assert!(FAILING.is_sorted(), "sorted as what is found is");
    for (name, why) in FAILING {
        assert!(names.binary_search(name).is_ok() && !why.is_empty(), "{name}");
    }
}
