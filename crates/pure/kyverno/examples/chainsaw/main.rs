//! Runs tests of chainsaw, as kyverno/kyverno has them below `test/conformance/chainsaw`, against a server.
//!
//! `KUBECONFIG=… chainsaw DIR [-v] [--slow]`: one line for each test that does not pass, then the sums. `--slow` waits as long
//! as tests say, for schedules.
//!
//! Understood are the steps apply, create, assert, error, delete, patch, update, sleep, script, command and templates of
//! such. `kubectl` does the talking. A test is left out, and counted as such, where it says so itself or a script wants
//! another tool (helm, curl, Kyverno's own command line).

mod compare;
mod server;
mod steps;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use steps::{Failure, Run};

fn documents(path: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|it| format!("{}: {it}", path.display()))?;
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).map_err(|it| format!("{}: {it}", path.display()))?;
    Ok(all.into_iter().filter(|it| !it.is_null()).collect())
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn run(path: &Path, count: usize, is_slow: bool) -> Result<(), Failure> {
    let directory = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let tests = documents(path).map_err(Failure::Unknown)?;
    let mut result = Ok(());
    for test in tests {
        if test["spec"]["skip"] == true {
            return Err(Failure::Unknown("skipped by itself".to_owned()));
        }
        let wanted = test["spec"]["namespace"].as_str().map(str::to_owned);
        let namespace = wanted.unwrap_or_else(|| format!("chainsaw-{count}"));
        let made = server::kubectl(&["create", "namespace", &namespace], None).is_ok();
        let mut bindings = Map::from_iter([
            ("namespace".to_owned(), json!(namespace)),
            ("test.metadata.name".to_owned(), test["metadata"]["name"].clone()),
        ]);
        for binding in test["spec"]["bindings"].as_array().into_iter().flatten() {
            bindings.insert(text(binding, "/name").to_owned(), binding["value"].clone());
        }
        let mut run = Run::new(directory.clone(), namespace.clone(), bindings, is_slow);
        result = run.steps(&test["spec"]["steps"], &directory);
        run.clean_up();
        if made {
            let _ = server::kubectl(&["delete", "namespace", &namespace, "--wait=false"], None);
        }
    }
    result
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(directory).into_iter().flatten().flatten().map(|it| it.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.file_name().is_some_and(|it| it == "chainsaw-test.yaml") {
            found.push(path);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().unwrap_or_else(|| ".".to_owned()));
    let root = std::path::absolute(&root).unwrap_or(root);
    let options: Vec<String> = arguments.collect();
    let has = |name: &str| options.iter().any(|it| it == name);
    let verbose = has("-v");
    let mut found = Vec::new();
    collect(&root, &mut found);
    let (mut passed, mut unknown) = (0, 0);
    for (at, path) in found.iter().enumerate() {
        let name = path.parent().unwrap_or(path).strip_prefix(&root).unwrap_or(path).display().to_string();
        match run(path, at, has("--slow")) {
            Ok(()) => passed += 1,
            Err(Failure::Wrong(why)) => println!("FAIL {name}: {}", why.replace('\n', " ")),
            Err(Failure::Unknown(why)) => {
                unknown += 1;
                if verbose {
                    println!("LEFT OUT {name}: {why}");
                }
            }
        }
    }
    println!("{passed} of {} pass, {unknown} more are left out", found.len() - unknown);
}
