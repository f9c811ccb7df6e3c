//! Gatekeeper's suites: every YAML file that holds a `Suite`, as `gator verify` runs it.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use eyot_gatekeeper::suite;

use super::{End, Options, Report, Row};
use crate::policy::load::{files_of_tests, now_ns};

/// Runs the suites at or below `dir`.
pub(super) fn run(dir: &Path, options: &Options) -> Result<Vec<Report>> {
    let all = if dir.is_dir() { files_of_tests(dir)? } else { vec![dir.to_owned()] };
    let mut reports = Vec::new();
    for path in all.into_iter().filter(|it| it.extension().is_some_and(|it| it == "yaml" || it == "yml")) {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        // Only what may be one is parsed.
        if text.contains("test.gatekeeper.sh") && suite::is_suite(&text) {
            reports.push(one(&path, options));
        }
    }
    Ok(reports)
}

fn one(path: &Path, options: &Options) -> Report {
    let file = path.display().to_string();
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let row = |name: String, end: End, detail: String| Row { name, end, took: Duration::ZERO, detail };
    let rows = match suite::run(&file, &read, now_ns(), "") {
        Err(why) => vec![row(file.clone(), End::Error, why)],
        Ok(outcomes) => outcomes
            .into_iter()
            .map(|it| {
                let end = match &it.failure {
                    _ if it.skipped => End::Skipped,
                    None => End::Pass,
                    Some(_) => End::Fail,
                };
                let name = if it.case.is_empty() { it.test } else { format!("{}/{}", it.test, it.case) };
                row(name, end, it.failure.unwrap_or_default())
            })
            .filter(|it| options.wants(&it.name))
            .collect(),
    };
    Report { file, rows }
}
