//! The suite of WebAssembly/wasi-testsuite, each case through [`eyot_runtime::Runtime`] as a pod's command would go.
//!
//! Run it with the compiled cases (branch `prod/testsuite-base` of the suite):
//! `EYOT_WASI_TESTSUITE=DIR cargo nextest run -p eyot-runtime --run-ignored only -E 'binary(testsuite)' --no-capture`
//!
//! A case is a `.wasm` file, and beside it a `.json` file that says with what it is started and how it ends. Cases for WASI 0.3
//! must be refused by name, which is what this runtime says of them.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{Bench, Log};
use eyot_runtime::{LogStream, Mount, Process};
use serde_json::Value;

/// Cases that do not pass, each with the reason. Whoever repairs one takes it from this list.
const FAILING: &[(&str, &str)] = &[];

/// How long a case may run; the longest takes a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// One case of the suite.
struct Case {
    /// `language/name`.
    name: String,
    wasm: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    /// Directory that the guest sees as its root.
    root: Option<PathBuf>,
    exit_code: i32,
    stdout: Option<String>,
    stderr: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the compiled suite of WebAssembly/wasi-testsuite in the directory EYOT_WASI_TESTSUITE"]
async fn the_wasi_testsuite_passes() {
    let dir = std::env::var("EYOT_WASI_TESTSUITE").expect("EYOT_WASI_TESTSUITE names the suite's directory");
    let mut failures = BTreeMap::new();
    let cases = cases(Path::new(&dir), "wasm32-wasip1");
    for case in &cases {
        if let Err(why) = run(case).await {
            failures.insert(case.name.clone(), why);
        }
    }
    let later = cases_refused(Path::new(&dir)).await;
    println!("WASI preview 1: {} of {} pass", cases.len() - failures.len(), cases.len());
    println!("WASI 0.3: {later} cases, all refused by name");
    for (name, why) in &failures {
        println!("{name}: {why}");
    }
    assert!(!cases.is_empty(), "no case in {dir}");
    let found: Vec<&str> = failures.keys().map(String::as_str).collect();
    let known: Vec<&str> = FAILING.iter().map(|(name, _)| *name).collect();
    assert_eq!(found, known);
}

/// Every case of every language that was compiled for `target`, in order.
fn cases(dir: &Path, target: &str) -> Vec<Case> {
    let mut out = Vec::new();
    for language in entries(&dir.join("tests")) {
        for wasm in entries(&language.join("testsuite").join(target)) {
            if wasm.extension().is_some_and(|it| it == "wasm") {
                out.push(Case::read(&language, wasm));
            }
        }
    }
    out
}

/// What is in `dir`, sorted; nothing when it does not exist.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut out: Vec<_> = fs::read_dir(dir).into_iter().flatten().map(|it| it.unwrap().path()).collect();
    out.sort();
    out
}

impl Case {
    fn read(language: &Path, wasm: PathBuf) -> Case {
        let text = fs::read_to_string(wasm.with_extension("json")).unwrap_or_else(|_| "{}".to_owned());
        let said: Value = serde_json::from_str(&text).unwrap();
        let strings = |value: &Value| value.as_array().into_iter().flatten().map(text_of).collect();
        let env = said["env"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text_of(value)));
        let folder = wasm.parent().unwrap();
        Case {
            name: format!("{}/{}", stem(language), stem(&wasm)),
            args: strings(&said["args"]),
            env: env.collect(),
            root: said["root"].as_str().map(|it| folder.join(it)),
            exit_code: said["exit_code"].as_i64().unwrap_or(0).try_into().unwrap(),
            stdout: said["stdout"].as_str().map(str::to_owned),
            stderr: said["stderr"].as_str().map(str::to_owned),
            wasm,
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

async fn run(case: &Case) -> Result<(), String> {
    let bench = Bench::new();
    let program = bench.load(&fs::read(&case.wasm).unwrap()).await.map_err(|error| error.to_string())?;
    let mut spec = bench.spec();
    spec.args = [format!("{}.wasm", case.name)].into_iter().chain(case.args.clone()).collect();
    spec.env = case.env.clone();
    if let Some(root) = &case.root {
        // Cases change what they find.
        let host = bench.dir.path().join("root");
        copy(root, &host);
        spec.mounts = vec![Mount { host, guest: "/".into(), read_only: false }];
    }
    let process = program.spawn(spec).map_err(|error| error.to_string())?;
    judge(case, &process, &bench.log).await
}

async fn judge(case: &Case, process: &Process, log: &Log) -> Result<(), String> {
    let exit = tokio::time::timeout(PATIENCE, process.wait()).await.map_err(|_| "it does not end".to_owned())?;
    if exit.code != case.exit_code {
        let said = log.text(LogStream::Stderr);
        return Err(format!("exit code {} ({:?}) instead of {}; {said}", exit.code, exit.reason, case.exit_code));
    }
    for (stream, wanted) in [(LogStream::Stdout, &case.stdout), (LogStream::Stderr, &case.stderr)] {
        let found = log.text(stream);
        if wanted.as_ref().is_some_and(|it| *it != found) {
            return Err(format!("{stream:?} is {found:?} instead of {:?}", wanted.as_deref().unwrap_or_default()));
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&source, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source).unwrap(), &target).unwrap();
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// How many cases for WASI 0.3 there are. Each must be refused with words that name what is missing.
async fn cases_refused(dir: &Path) -> usize {
    let bench = Bench::new();
    let cases = cases(dir, "wasm32-wasip3");
    for case in &cases {
        let error = bench.load(&fs::read(&case.wasm).unwrap()).await.expect_err(&case.name).to_string();
        let named = error.contains("0.3") || error.contains("async");
        assert!(named, "{}: {error}", case.name);
    }
    cases.len()
}
