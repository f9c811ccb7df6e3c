//! Runs every suite below a folder: `gatekeeper_suites DIR [PART]`. Prints a line for each suite, each failure, and a
//! total. Ends with 1 when a case fails.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use eyot_gatekeeper::suite;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(dir) = arguments.next() else {
        eprintln!("usage: gatekeeper_suites DIR [PART]");
        return ExitCode::from(2);
    };
    let part = arguments.next().unwrap_or_default();
    let mut found = Vec::new();
    find(Path::new(&dir), &mut found);
    found.sort();
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (mut passed, mut failed) = (0, 0);
    for path in found {
        let path = path.to_string_lossy().into_owned();
        let outcomes = match suite::run(&path, &read, 1_700_000_000_000_000_000, &part) {
            Ok(outcomes) => outcomes,
            Err(error) => {
                println!("{path}: {error}");
                failed += 1;
                continue;
            }
        };
        let bad = outcomes.iter().filter(|it| it.failure.is_some()).count();
        println!("{} of {} {path}", outcomes.len() - bad, outcomes.len());
        for it in &outcomes {
            if let Some(failure) = &it.failure {
                println!("    FAIL {}/{}: {failure}", it.test, it.case);
            }
        }
        passed += outcomes.len() - bad;
        failed += bad;
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn find(dir: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path()) {
        if path.is_dir() {
            find(&path, found);
        } else if path.file_name().is_some_and(|it| it == "suite.yaml") {
            found.push(path);
        }
    }
}
