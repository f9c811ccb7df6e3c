//! Guests that call whatever there is with whatever arguments: the host must neither fall nor hang, and nothing outside the
//! guest's mount may change.
//!
//! `EYOT_HOSTILE_CASES=N` runs more cases than the usual few.

mod common;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use common::Bench;
use eyot_runtime::{ExitReason, Mount};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// Preview 1, each function with its parameters: `i` for 32 bits, `I` for 64.
const FUNCTIONS: &[(&str, &str)] = &[
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// What lies in the guest's memory: an iovec, paths that stay inside and paths that do not.
const TEXTS: [(u32, &str); 8] = [
    (16, "file"),
    (32, "link"),
    (48, "../canary"),
    (64, "../made"),
    (80, "/etc/passwd"),
    (96, "dir/../../canary"),
    (128, "dir"),
    (144, "link/../../made"),
];

type Call = (usize, Vec<u64>);

/// Numbers that mean something: descriptors, addresses of what is in memory, lengths, flags, edges; or nothing at all.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0u64..8,
        4 => prop::sample::select(TEXTS.map(|(at, _)| u64::from(at)).to_vec()),
        4 => prop::sample::select(TEXTS.map(|(_, text)| text.len() as u64).to_vec()),
        2 => prop::sample::select(vec![0xfff8, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 1 << 62]),
        1 => any::<u64>(),
    ]
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = (0..FUNCTIONS.len()).prop_flat_map(|function| {
        let arguments = prop::collection::vec(argument(), FUNCTIONS[function].1.len());
        arguments.prop_map(move |arguments| (function, arguments))
    });
    prop::collection::vec(call, 1..24)
}

fn module(calls: &[Call]) -> String {
    let imports: String = FUNCTIONS
        .iter()
        .map(|(name, parameters)| {
            let parameters: String = parameters.chars().map(|it| if it == 'i' { " i32" } else { " i64" }).collect();
            format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{parameters}) (result i32)))\n")
        })
        .collect();
    let data: String = TEXTS.iter().map(|(at, text)| format!("(data (i32.const {at}) \"{text}\")\n")).collect();
    let body: String = calls
        .iter()
        .map(|(function, arguments)| {
            let (name, parameters) = FUNCTIONS[*function];
            let arguments: String = parameters
                .chars()
                .zip(arguments)
                .map(|(kind, value)| match kind {
                    'i' => format!(" (i32.const {})", *value as u32),
                    _ => format!(" (i64.const {value})"),
                })
                .collect();
            format!("(drop (call ${name}{arguments}))\n")
        })
        .collect();
    format!(
        "(module {imports} (memory (export \"memory\") 1) (data (i32.const 0) \"\\10\\00\\00\\00\\04\\00\\00\\00\")
        {data} (func (export \"_start\") {body}))"
    )
}

async fn run(calls: &[Call]) -> Result<(), String> {
    let bench = Bench::new();
    let outside = bench.dir.path().join("outside");
    let root = outside.join("root");
    fs::create_dir_all(root.join("dir")).unwrap();
    fs::write(root.join("file"), "text").unwrap();
    fs::write(outside.join("canary"), "alive").unwrap();
    std::os::unix::fs::symlink("../canary", root.join("link")).unwrap();
    let before = listed(&outside);
    let mount = Mount { host: root, held: None, guest: "/".into(), read_only: false };
    let process = bench.spawn_with(&module(calls), |it| it.mounts = vec![mount]).await;
    // What waits, waits: it has been given no reason to end.
    let waited = tokio::time::timeout(Duration::from_millis(200), process.wait()).await;
    let killed = Instant::now();
    process.kill();
    let ended = tokio::time::timeout(Duration::from_secs(10), process.wait()).await;
    let Ok(exit) = ended else { return Err(format!("a kill does not end it; before: {waited:?}")) };
    if matches!(&exit.reason, ExitReason::Trap(why) if why.contains("lost")) {
        return Err(format!("the host fell: {exit:?}"));
    }
    if killed.elapsed() > Duration::from_secs(5) {
        return Err(format!("the kill took {:?}", killed.elapsed()));
    }
    let (after, canary) = (listed(&outside), fs::read_to_string(outside.join("canary")));
    match (after == before, canary.as_deref()) {
        (true, Ok("alive")) => Ok(()),
        _ => Err(format!("outside the mount there is {after:?} now, and the canary is {canary:?}")),
    }
}

fn listed(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn whatever_a_guest_calls_the_host_stands_and_its_files_stay() {
    let cases = std::env::var("EYOT_HOSTILE_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(24);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 64, ..Config::default() };
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = TestRunner::new(config).run(&calls(), |calls| {
        tokio.block_on(run(&calls)).map_err(|why| TestCaseError::fail(format!("{why}\n{}", module(&calls))))
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
