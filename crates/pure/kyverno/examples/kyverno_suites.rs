//! Runs every `kyverno-test.yaml` below a directory and counts.
//!
//! `kyverno_suites DIR [-v]`: one line for each test that does not pass, then the sums. With `-v` also the rows that failed.

use std::path::{Path, PathBuf};

use eyot_kyverno::suite::{self, Files};

struct Directory(PathBuf);

impl Files for Directory {
    fn read(&self, path: &str) -> Result<String, String> {
        let path = self.0.join(path);
        if path.is_dir() {
            let mut all: Vec<PathBuf> = std::fs::read_dir(&path)
                .map_err(|it| it.to_string())?
                .filter_map(|it| Some(it.ok()?.path()))
                .filter(|it| it.extension().is_some_and(|it| it == "yaml" || it == "yml"))
                .collect();
            all.sort();
            let texts: Result<Vec<String>, _> = all.iter().map(std::fs::read_to_string).collect();
            return texts.map(|it| it.join("\n---\n")).map_err(|it| it.to_string());
        }
        std::fs::read_to_string(&path).map_err(|it| it.to_string())
    }
}

fn find(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, found);
        } else if path.file_name().is_some_and(|it| it == "kyverno-test.yaml") {
            found.push(path);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().unwrap_or_else(|| ".".to_owned());
    let verbose = arguments.next().is_some_and(|it| it == "-v");
    let mut found = Vec::new();
    find(Path::new(&directory), &mut found);
    found.sort();
    let (mut tests, mut passed, mut rows, mut good, mut excluded, mut unjudged) = (0, 0, 0, 0, 0, 0);
    for path in found {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let files = Directory(path.parent().map(Path::to_path_buf).unwrap_or_default());
        tests += 1;
        let name = path.parent().unwrap_or(&path).strip_prefix(&directory).unwrap_or(&path).display().to_string();
        match suite::run(&text, &files, jiff::Timestamp::now()) {
            Err(why) => println!("ERROR {name}: {why}"),
            Ok(report) => {
                rows += report.rows.len();
                good += report.rows.iter().filter(|it| it.ok).count();
                excluded += report.rows.iter().filter(|it| it.reason == "Excluded").count();
                if report.rows.iter().all(|it| it.reason == "Not judged") && !report.rows.is_empty() {
                    unjudged += 1;
                    if let Some(row) = report.rows.first().filter(|_| verbose) {
                        println!("NOT JUDGED {name}: {}", row.message);
                    }
                    continue;
                }
                if report.is_ok() {
                    passed += 1;
                    continue;
                }
                let bad = report.rows.iter().filter(|it| !it.ok).count();
                println!("FAIL {name}: {bad} of {}", report.rows.len());
                for row in report.rows.iter().filter(|it| verbose && !it.ok) {
                    println!("    {} {} {}: {} | {}", row.policy, row.rule, row.resource, row.reason, row.message);
                }
            }
        }
    }
    println!(
        "{passed} of {} tests pass, {unjudged} of other kinds; {good} of {rows} rows, {excluded} excluded",
        tests - unjudged
    );
}
